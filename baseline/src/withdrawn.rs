use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::diagnostic::shown_path;
use crate::store::{read_plain, write_whole};

/// What was revoked could not be remembered or had back.
#[derive(Debug, thiserror::Error)]
pub enum WithdrawnError {
    /// The file could not be read or written.
    #[error("{}: {source}", shown_path(.path))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what this release writes.
    #[error("{}: it does not hold what was revoked: {source}", shown_path(.path))]
    Content {
        /// The file.
        path: PathBuf,
        /// In which respect.
        source: serde_json::Error,
    },
}

/// What `serve` read in a baseline.
const SERVES: &str = "withdrawn.json";
/// What was revoked on this host: root's, as the ledger is.
const ROOTS: &str = "ledger.revoked.json";
/// Some hundred thousand approvals.
const MAX: u64 = 32 << 20;

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    /// The highest serial by id.
    revoked: BTreeMap<String, u64>,
}

const VERSION: u32 = 1;
/// Of serials, as a baseline may have them.
const HIGHEST: u64 = 1_000_000_000;

/// Remembers in the state folder which approvals a baseline said to be revoked, whatever becomes of the baseline.
pub fn keep_withdrawn(state: &Path, revoked: &BTreeMap<String, u64>) -> Result<(), WithdrawnError> {
    keep(state.join(SERVES), revoked)
}

/// Remembers there what is revoked on this host, whether or not a `serve` ever reads it.
pub fn keep_revoked(state: &Path, id: &str, serial: u64) -> Result<(), WithdrawnError> {
    let path = state.join(ROOTS);
    let mut revoked = load(path.clone())?;
    let known = revoked.entry(id.to_owned()).or_default();
    *known = serial.max(*known);
    keep(path, &revoked)
}

fn keep(path: PathBuf, revoked: &BTreeMap<String, u64>) -> Result<(), WithdrawnError> {
    let kept = Kept { version: VERSION, revoked: revoked.clone() };
    let json =
        serde_json::to_vec(&kept).map_err(|source| WithdrawnError::Content { path: path.clone(), source })?;
    write_whole(&path, &json).map_err(|source| WithdrawnError::Io { path, source })
}

/// The highest serial that was revoked, by id; empty where nothing ever was, or where the folder is not for us to read.
pub fn load_withdrawn(state: &Path) -> Result<BTreeMap<String, u64>, WithdrawnError> {
    let mut revoked = load(state.join(SERVES))?;
    for (id, serial) in load(state.join(ROOTS))? {
        let known = revoked.entry(id).or_default();
        *known = serial.max(*known);
    }
    Ok(revoked)
}

fn load(path: PathBuf) -> Result<BTreeMap<String, u64>, WithdrawnError> {
    let bytes = match read_plain(&path, MAX) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            return Ok(BTreeMap::new());
        }
        read => read.map_err(|source| WithdrawnError::Io { path: path.clone(), source })?,
    };
    let kept: Kept =
        serde_json::from_slice(&bytes).map_err(|source| WithdrawnError::Content { path, source })?;
    // A serial that no baseline can have was not written by us: it counts as all that there can be.
    Ok(kept.revoked.into_iter().map(|(id, serial)| (id, serial.min(HIGHEST))).collect())
}
