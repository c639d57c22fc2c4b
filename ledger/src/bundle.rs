//! One archive for two uses: logs for an auditor, and a backup. A plain tar: `manifest.json`, which says what follows;
//! `manifest.sig`, by which the host vouches for it (`ssh-keygen -Y verify -n bundle@portledger`); then the files in order.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::error::LogError;
use crate::files::{self, LogFiles};
use crate::head::{Head, LineHash};
use crate::host_key::HostKey;
use crate::keys::Distrust;
use crate::tail;
use crate::verify::Unverified;

mod unpack;

pub use unpack::{Contents, unpack};

const NAMESPACE: &str = "bundle@portledger";
const MANIFEST: &str = "manifest.json";
const SIGNATURE: &str = "manifest.sig";
/// The one that there is.
const FORMAT: u32 = 1;

/// What a bundle holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// 1.
    pub format: u32,
    /// Whose it is.
    pub host: String,
    /// RFC 3339.
    pub made_at: String,
    /// The public key of the signature, as a `.pub` file has it.
    pub key: String,
    /// The logs among the files.
    pub logs: Vec<BundledLog>,
    /// In their order.
    pub files: Vec<BundledFile>,
}

/// A log in a bundle, as far as it went when that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundledLog {
    /// The path of its current file in the bundle, without `.jsonl`.
    pub name: String,
    /// Its oldest record; 0 where there is none.
    pub first: u64,
    /// Its newest.
    pub head: Head,
}

/// A file in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundledFile {
    /// Relative; letters, digits, `.`, `_`, `-`, and `/` between.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// Permissions.
    pub mode: u32,
    /// Of its content.
    pub sha256: LineHash,
}

/// Why there is no bundle, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A call of the system failed.
    #[error("{step} failed: {error}")]
    Io {
        /// What was done.
        step: &'static str,
        /// Why it failed.
        error: io::Error,
    },
    /// A file of this host cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// It must not, or cannot, be in a bundle.
    #[error("{path:?} cannot be in a bundle: {why}")]
    Refused {
        /// Its path in the bundle.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Somebody wrote to it between its hash and its copy.
    #[error("{0} was changed while it was copied: try again")]
    Changed(String),
    /// The host's key cannot sign.
    #[error("the host's key cannot sign: {0}")]
    Signing(ssh_key::Error),
    /// Nobody who is believed vouches for it.
    #[error("the bundle cannot be vouched for: {0}")]
    Unvouched(Distrust),
    /// It is not what its manifest says, or no bundle at all.
    #[error("the bundle is damaged: {0}")]
    Damaged(String),
    /// A log in it is broken, or cannot be read.
    #[error("the log {name} in the bundle: {error}")]
    Unverified {
        /// As the manifest has it.
        name: String,
        /// What is wrong with it.
        error: Box<Unverified>,
    },
    /// Besides, what was unpacked could not be removed.
    #[error("{why}; and what was unpacked to {folder} cannot be removed: {error}: remove it")]
    Left {
        /// What was made for it.
        folder: PathBuf,
        /// Why it is of no use.
        why: Box<BundleError>,
        /// Why it is still there.
        error: io::Error,
    },
}

fn io(step: &'static str) -> impl FnOnce(io::Error) -> BundleError {
    move |error| BundleError::Io { step, error }
}

/// A file that is to be bundled, opened.
#[derive(Debug)]
pub struct Source {
    path: String,
    file: File,
    size: u64,
    mode: u32,
}

impl Source {
    /// `None` where no such file is. What is no regular file is an error.
    pub fn open(from: &Path, path: &str) -> Result<Option<Self>, BundleError> {
        check_path(path)?;
        let Some(file) = files::open_to_read(from)? else {
            return Ok(None);
        };
        let meta = files::meta(from, &file)?;
        let mode = meta.permissions().mode() & 0o777;
        Ok(Some(Source { path: path.to_owned(), file, size: meta.len(), mode }))
    }
}

/// The files of a log up to its newest record, and what there is of it. `name` is where it is to be in the bundle:
/// `state/events` for `events` of the folder.
pub fn log(folder: &Path, log: &str, name: &str) -> Result<(BundledLog, Vec<Source>), BundleError> {
    let files = LogFiles::new(folder, log);
    loop {
        let current = Source::open(&files.current(), &format!("{name}.jsonl"))?;
        let segments = files.segments()?;
        let mut sources = Vec::new();
        for first in &segments {
            sources.extend(Source::open(&files.segment(*first), &format!("{name}.jsonl.{first}"))?);
        }
        let begins = current
            .as_ref()
            .map_or(Ok(None), |current| tail::first_record(&files.current(), &current.file))?;
        // The writer dropped or made a segment meanwhile.
        if sources.len() < segments.len()
            || segments.last().is_some_and(|last| begins.is_some_and(|begins| begins <= *last))
        {
            continue;
        }
        let mut head = Head::default();
        if let Some(last) = sources.last() {
            head = tail::of_file(&files.folder, &last.file)?.map(|end| end.head).unwrap_or_default();
        }
        if let Some(mut current) = current {
            let end = tail::of_file(&files.current(), &current.file)?;
            current.size = end.as_ref().map_or(0, |end| end.length);
            head = end.map_or(head, |end| end.head);
            sources.push(current);
        }
        let first = segments.first().copied().or(begins).unwrap_or_default();
        return Ok((BundledLog { name: name.to_owned(), first, head }, sources));
    }
}

/// Writes a bundle, and returns what it holds. `made_at` is a time as RFC 3339 has it. A private key is refused.
pub fn write(
    to: impl Write,
    host: &str,
    made_at: &str,
    logs: Vec<BundledLog>,
    sources: &mut [Source],
    key: &HostKey,
) -> Result<Manifest, BundleError> {
    let files = sources.iter_mut().map(describe).collect::<Result<Vec<_>, _>>()?;
    let (host, made_at) = (host.to_owned(), made_at.to_owned());
    let line = key.public_line().map_err(BundleError::Signing)?;
    let manifest = Manifest { format: FORMAT, host, made_at, key: line, logs, files };
    check(&manifest)?;
    let mut text = serde_json::to_vec_pretty(&manifest).map_err(|error| io("writing")(error.into()))?;
    text.push(b'\n');
    let signature = key.sign_armored(NAMESPACE, &text).map_err(BundleError::Signing)?;
    let mut tar = Builder::new(to);
    append(&mut tar, MANIFEST, 0o644, &text[..], length(&text))?;
    append(&mut tar, SIGNATURE, 0o644, signature.as_bytes(), length(signature.as_bytes()))?;
    for (source, file) in sources.iter_mut().zip(&manifest.files) {
        source.file.seek(SeekFrom::Start(0)).map_err(io("reading"))?;
        let mut content = Hashing { content: (&source.file).take(source.size), hash: Sha256::new() };
        append(&mut tar, &file.path, file.mode, &mut content, file.size)?;
        if content.hash.finalize().as_slice() != file.sha256.0 {
            return Err(BundleError::Changed(file.path.clone()));
        }
    }
    tar.into_inner().and_then(|mut to| to.flush()).map_err(io("writing"))?;
    Ok(manifest)
}

fn describe(source: &mut Source) -> Result<BundledFile, BundleError> {
    source.file.seek(SeekFrom::Start(0)).map_err(io("reading"))?;
    let mut content = (&source.file).take(source.size);
    let (mut hash, mut lines) = (Sha256::new(), KeyLines::default());
    let mut chunk = vec![0; 64 << 10];
    loop {
        let read = content.read(&mut chunk).map_err(io("reading"))?;
        if read == 0 {
            break;
        }
        hash.update(&chunk[..read]);
        if lines.see(&chunk[..read]) {
            return Err(BundleError::Refused { path: source.path.clone(), why: "it holds a private key" });
        }
    }
    if content.limit() > 0 {
        return Err(BundleError::Changed(source.path.clone()));
    }
    let Source { path, size, mode, .. } = source;
    Ok(BundledFile { path: path.clone(), size: *size, mode: *mode, sha256: LineHash(hash.finalize().into()) })
}

fn append(
    tar: &mut Builder<impl Write>,
    path: &str,
    mode: u32,
    content: impl Read,
    size: u64,
) -> Result<(), BundleError> {
    let mut header = Header::new_ustar();
    header.set_path(path).map_err(io("writing"))?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    tar.append(&header, content).map_err(io("writing"))
}

struct Hashing<R> {
    content: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

/// Looks for a line that begins a private key. What a log quotes stands within a line.
#[derive(Default)]
struct KeyLines {
    /// How the present line begins.
    start: Vec<u8>,
}

impl KeyLines {
    fn see(&mut self, chunk: &[u8]) -> bool {
        let mut lines = chunk.split(|byte| *byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            let room = 64_usize.saturating_sub(self.start.len());
            self.start.extend_from_slice(&line[..line.len().min(room)]);
            if is_key_line(&self.start) {
                return true;
            }
            if lines.peek().is_some() {
                self.start.clear();
            }
        }
        false
    }
}

/// OpenSSH's own form, and those of PEM.
fn is_key_line(line: &[u8]) -> bool {
    let wanted = b"PRIVATE KEY-----";
    line.trim_ascii_start().starts_with(b"-----BEGIN ")
        && line.windows(wanted.len()).any(|part| part == wanted)
}

/// How many files a bundle has at most.
const MAX_FILES: usize = 100_000;

/// Names that lead nowhere else, each once.
fn check(manifest: &Manifest) -> Result<(), BundleError> {
    let refused = |path: &str, why| Err(BundleError::Refused { path: path.to_owned(), why });
    if manifest.files.len() > MAX_FILES {
        return refused("", "there are more than 100,000 files");
    }
    let mut seen = BTreeSet::new();
    for file in &manifest.files {
        check_path(&file.path)?;
        if !seen.insert(&file.path) {
            return refused(&file.path, "it is named twice");
        }
    }
    manifest.logs.iter().try_for_each(|log| check_path(&log.name))
}

fn check_path(path: &str) -> Result<(), BundleError> {
    let refused = |why| Err(BundleError::Refused { path: path.to_owned(), why });
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let name = |name: &str| !matches!(name, "" | "." | "..") && name.bytes().all(plain);
    if !path.split('/').all(name) {
        return refused("its path is not a plain relative one");
    }
    // As long as the oldest form of a tar has room for.
    if path.len() > 100 {
        return refused("its path is longer than 100 bytes");
    }
    if path == MANIFEST || path == SIGNATURE {
        return refused("its name is the bundle's own");
    }
    match path.rsplit_once('.') {
        Some((_, "key")) => refused("it is named like a private key"),
        _ => Ok(()),
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
