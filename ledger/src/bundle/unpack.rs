use std::fs::{self, DirBuilder, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};
use tar::{Archive, Entries, EntryType};

use super::{
    BundleError, BundledFile, BundledLog, FORMAT, Hashing, MANIFEST, Manifest, NAMESPACE, SIGNATURE, check,
    io,
};
use crate::error::fail;
use crate::keys::{HostKeys, disarm};
use crate::verify::{Verified, verify};

/// What a bundle held, once all of it was found as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// What it said it holds.
    pub manifest: Manifest,
    /// The logs, in the manifest's order.
    pub logs: Vec<Verified>,
}

const MAX_MANIFEST: u64 = 64 << 20;
const MAX_SIGNATURE: u64 = 16 << 10;

/// Unpacks a bundle that a believed key signed into a folder that it makes, and verifies the logs in it. All files
/// together have at most `most` bytes. Where anything is not as it should be, nothing stays.
pub fn unpack(from: impl Read, keys: &HostKeys, most: u64, into: &Path) -> Result<Contents, BundleError> {
    DirBuilder::new().mode(0o700).create(into).map_err(fail(into, "mkdir"))?;
    fill(from, keys, most, into).map_err(|why| match fs::remove_dir_all(into) {
        Ok(()) => why,
        Err(error) => BundleError::Left { folder: into.to_owned(), why: Box::new(why), error },
    })
}

fn fill(from: impl Read, keys: &HostKeys, most: u64, into: &Path) -> Result<Contents, BundleError> {
    let mut archive = Archive::new(from);
    // Raw: names and sizes are what the headers say, and nothing is read into memory for them.
    let mut entries = archive.entries().map_err(io("reading"))?.raw(true);
    let text = whole(&mut entries, MANIFEST, MAX_MANIFEST)?;
    let signature = whole(&mut entries, SIGNATURE, MAX_SIGNATURE)?;
    let signature = disarm(&signature).ok_or_else(|| {
        BundleError::Damaged(format!("{SIGNATURE} is not as ssh-keygen writes a signature"))
    })?;
    keys.verify(NAMESPACE, &text, &signature).map_err(BundleError::Unvouched)?;
    let manifest = read(&text, most)?;
    for file in &manifest.files {
        put(&mut entries, file, into)?;
    }
    if let Some(entry) = entries.next() {
        let entry = entry.map_err(io("reading"))?;
        let name = entry.path_bytes().escape_ascii().to_string();
        return Err(BundleError::Damaged(format!("{name} is not in its manifest")));
    }
    let logs = manifest.logs.iter().map(|log| check_log(log, keys, into)).collect::<Result<_, _>>()?;
    Ok(Contents { manifest, logs })
}

fn read(text: &[u8], most: u64) -> Result<Manifest, BundleError> {
    let manifest: Manifest =
        serde_json::from_slice(text).map_err(|error| BundleError::Damaged(format!("{MANIFEST}: {error}")))?;
    if manifest.format != FORMAT {
        let what = format!("its format is {}, this program reads {FORMAT}", manifest.format);
        return Err(BundleError::Damaged(what));
    }
    check(&manifest)?;
    let size = manifest.files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.size));
    if size > most {
        return Err(BundleError::Damaged(format!("its files have {size} bytes, more than {most}")));
    }
    Ok(manifest)
}

/// The next entry, which must be a regular file of this name and no longer.
fn next<'a, R: Read>(
    entries: &mut Entries<'a, R>,
    name: &str,
    most: u64,
) -> Result<tar::Entry<'a, R>, BundleError> {
    let damaged = |what: &str| BundleError::Damaged(format!("{name} {what}"));
    let entry = entries.next().ok_or_else(|| damaged("is missing"))?.map_err(io("reading"))?;
    if entry.path_bytes() != name.as_bytes() {
        return Err(damaged(&format!(
            "is not where it belongs: there is {}",
            entry.path_bytes().escape_ascii()
        )));
    }
    if entry.header().entry_type() != EntryType::Regular {
        return Err(damaged("is not a regular file"));
    }
    if entry.size() > most {
        return Err(damaged(&format!("is longer than {most} bytes")));
    }
    Ok(entry)
}

fn whole<R: Read>(entries: &mut Entries<'_, R>, name: &str, most: u64) -> Result<Vec<u8>, BundleError> {
    let mut content = Vec::new();
    next(entries, name, most)?.read_to_end(&mut content).map_err(io("reading"))?;
    Ok(content)
}

fn put<R: Read>(entries: &mut Entries<'_, R>, file: &BundledFile, into: &Path) -> Result<(), BundleError> {
    let entry = next(entries, &file.path, file.size)?;
    let place = into.join(&file.path);
    if let Some(folder) = place.parent() {
        DirBuilder::new().mode(0o700).recursive(true).create(folder).map_err(fail(folder, "mkdir"))?;
    }
    let mut to = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&place)
        .map_err(fail(&place, "create"))?;
    let mut content = Hashing { content: entry, hash: Sha256::new() };
    let size = std::io::copy(&mut content, &mut to).map_err(io("reading"))?;
    if size != file.size || content.hash.finalize().as_slice() != file.sha256.0 {
        return Err(BundleError::Damaged(format!("{} is not what was bundled", file.path)));
    }
    to.set_permissions(Permissions::from_mode(file.mode & 0o777)).map_err(fail(&place, "chmod"))?;
    to.sync_all().map_err(fail(&place, "sync"))?;
    Ok(())
}

fn check_log(log: &BundledLog, keys: &HostKeys, into: &Path) -> Result<Verified, BundleError> {
    let place = into.join(&log.name);
    let (Some(folder), Some(name)) = (place.parent(), place.file_name().and_then(|name| name.to_str()))
    else {
        return Err(BundleError::Damaged(format!("the log {} has no name", log.name)));
    };
    let verified = verify(folder, name, keys, |_| {})
        .map_err(|error| BundleError::Unverified { name: log.name.clone(), error: Box::new(error) })?;
    if (verified.first, verified.head) != (log.first, log.head) {
        let what = format!("the log {} ends with {}, not with {}", log.name, verified.head, log.head);
        return Err(BundleError::Damaged(what));
    }
    Ok(verified)
}
