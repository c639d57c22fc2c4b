//! Where the ledger of acts goes on with another key: what its records say must agree with who signed them.

use std::path::Path;

use serde_json::Value;

use crate::error::LogError;
use crate::files::LogFiles;
use crate::keys::{Distrust, HostKeys};
use crate::reader::{Position, Reader, Told};
use crate::scan::{Scan, Step};
use crate::verify::{Broken, Unverified, Verified, Why, verify};

/// As [`verify`](crate::verify()), of a ledger of acts. Its first record is by the first of the keys, and a key that
/// `restore` says to be new signed nothing before: else whoever has the newest could write anew what is older.
pub fn verify_acts(
    folder: &Path,
    name: &str,
    keys: &HostKeys,
    progress: impl FnMut(u64),
) -> Result<Verified, Unverified> {
    let verified = verify(folder, name, keys, progress)?;
    let Some(begins) = verified.keys.first() else { return Ok(verified) };
    let first = keys.fingerprints().next();
    let early = match verified.first {
        1 if first.as_ref() != Some(&begins.fingerprint) => Some((begins.fingerprint.clone(), 1)),
        _ => early(folder, name, &verified, first.as_deref())?,
    };
    match early {
        None => Ok(verified),
        Some((key, record)) => {
            Err(Unverified::Broken(Box::new(broken(folder, name, &verified, key, record)?)))
        }
    }
}

/// A key, and its first record, which stands before the `restore` that brought it. The host's first key needs none.
fn early(
    folder: &Path,
    name: &str,
    verified: &Verified,
    first: Option<&str>,
) -> Result<Option<(String, u64)>, Unverified> {
    let later = verified.keys.iter().filter(|key| Some(&*key.fingerprint) != first);
    let mut unseen: Vec<_> = later.collect();
    if unseen.is_empty() {
        return Ok(None);
    }
    let mut reader = Reader::new(folder, name, Position::default());
    while let Some(told) = reader.read()? {
        let Told::Line(line) = told else { continue };
        let Some(brought) = brought(&line.body) else { continue };
        if let Some(place) = unseen.iter().position(|key| key.fingerprint == brought) {
            let key = unseen.swap_remove(place);
            if key.from < line.record {
                return Ok(Some((brought, key.from)));
            }
        }
    }
    Ok(None)
}

/// The key that a `restore` says to begin with it.
fn brought(body: &[u8]) -> Option<String> {
    const WORD: &[u8] = b"restore";
    if !body.windows(WORD.len()).any(|word| word == WORD) {
        return None;
    }
    let act: Value = serde_json::from_slice(body).ok()?;
    (act["act"] == "restore").then(|| act["new"]["key"].as_str().map(str::to_owned))?
}

/// Where this record stands, for what is wrong with its key.
fn broken(
    folder: &Path,
    name: &str,
    verified: &Verified,
    key: String,
    record: u64,
) -> Result<Broken, LogError> {
    let files = LogFiles::new(folder, name);
    let mut scan = Scan::new(files.clone());
    let (mut path, mut line) = (files.current(), None);
    while let Step::Line(parts, place) = scan.step()? {
        if parts.record == record {
            (path, line) = (place.path().to_owned(), place.line);
            break;
        }
    }
    let good = (record > verified.first).then(|| record - 1);
    Ok(Broken { path, line, record, why: Why::Signature(Distrust::OutOfTurn(key)), good })
}

#[cfg(test)]
mod tests;
