use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::HIGHEST_SERIAL;
use crate::diagnostic::shown_path;
use crate::store::{open_plain, write_whole};

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
    #[error(
        "{}: it does not hold what was revoked, and what may count is not known without it: put it back from a backup. \
         Where there is none remove it, revoke anew what the ledger says was revoked, and restart `portledger serve`",
        shown_path(.path)
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// In which respect.
        source: serde_json::Error,
    },
    /// Not root's: somebody else could take away what was revoked.
    #[error(
        "{0}: it belongs to uid {owner}, who could take it away, and nothing in it is believed: look whose that is, and \
         remove it, as in `rm {0}`",
        shown_path(.path)
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
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

/// Remembers in the state folder which approvals a baseline said to be revoked, whatever becomes of the baseline.
pub fn keep_withdrawn(state: &Path, revoked: &BTreeMap<String, u64>) -> Result<(), WithdrawnError> {
    keep(state.join(SERVES), revoked)
}

/// Remembers there what is revoked on this host, whether or not a `serve` ever reads it. As for who may have written what
/// is there, see [`load_revoked`].
pub fn keep_revoked(state: &Path, trusted_uid: u32, id: &str, serial: u64) -> Result<(), WithdrawnError> {
    let mut revoked = load_revoked(state, trusted_uid)?;
    let known = revoked.entry(id.to_owned()).or_default();
    *known = serial.max(*known);
    keep(state.join(ROOTS), &revoked)
}

/// Puts a file that somebody else left in the place of this host's own memory aside, as `ledger.revoked.json.refused`.
/// Gives its owner.
pub fn refuse_foreign(state: &Path, trusted_uid: u32) -> Result<Option<u32>, WithdrawnError> {
    let path = state.join(ROOTS);
    let owner = match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found.and_then(|meta| foreign_owner(state, &meta, trusted_uid)),
    };
    let refuse = |owner| fs::rename(&path, state.join(format!("{ROOTS}.refused"))).map(|()| owner);
    let refused = owner.and_then(|owner| owner.map(refuse).transpose());
    refused.map_err(|source| WithdrawnError::Io { path, source })
}

fn keep(path: PathBuf, revoked: &BTreeMap<String, u64>) -> Result<(), WithdrawnError> {
    let kept = Kept { version: VERSION, revoked: revoked.clone() };
    let json =
        serde_json::to_vec(&kept).map_err(|source| WithdrawnError::Content { path: path.clone(), source })?;
    write_whole(&path, &json).map_err(|source| WithdrawnError::Io { path, source })
}

/// The highest serial that was revoked, by id, whoever remembers it; empty where nothing ever was.
pub fn load_withdrawn(state: &Path, trusted_uid: u32) -> Result<BTreeMap<String, u64>, WithdrawnError> {
    let mut revoked = load(state.join(SERVES), |_| Ok(None))?;
    for (id, serial) in load_revoked(state, trusted_uid)? {
        let known = revoked.entry(id).or_default();
        *known = serial.max(*known);
    }
    Ok(revoked)
}

/// Likewise, what was revoked on this host, by its own memory: a file of root's, or of
/// `trusted_uid`'s in a folder of that user's own.
pub fn load_revoked(state: &Path, trusted_uid: u32) -> Result<BTreeMap<String, u64>, WithdrawnError> {
    load(state.join(ROOTS), |meta| foreign_owner(state, meta, trusted_uid))
}

fn foreign_owner(state: &Path, meta: &Metadata, trusted_uid: u32) -> io::Result<Option<u32>> {
    // Who has dropped privileges is not to believe what it could write itself.
    let is_trusted =
        meta.uid() == 0 || meta.uid() == trusted_uid && fs::metadata(state)?.uid() == trusted_uid;
    Ok((!is_trusted).then(|| meta.uid()))
}

fn load(
    path: PathBuf,
    foreign: impl FnOnce(&Metadata) -> io::Result<Option<u32>>,
) -> Result<BTreeMap<String, u64>, WithdrawnError> {
    let failed = |source| WithdrawnError::Io { path: path.clone(), source };
    let file = match open_plain(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        opened => opened.map_err(failed)?,
    };
    if let Some(owner) = file.metadata().and_then(|meta| foreign(&meta)).map_err(failed)? {
        return Err(WithdrawnError::Foreign { path, owner });
    }
    let mut bytes = Vec::new();
    file.take(MAX).read_to_end(&mut bytes).map_err(failed)?;
    read(&bytes).map_err(|source| WithdrawnError::Content { path, source })
}

fn read(bytes: &[u8]) -> serde_json::Result<BTreeMap<String, u64>> {
    let kept: Kept = serde_json::from_slice(bytes)?;
    // A serial that no baseline can have was not written by us: it counts as all that there can be.
    Ok(kept.revoked.into_iter().map(|(id, serial)| (id, serial.min(HIGHEST_SERIAL))).collect())
}

/// What was revoked, as a file says it.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzzed(bytes: &[u8]) {
    let Ok(revoked) = read(bytes) else { return };
    assert!(revoked.len() <= bytes.len() && revoked.values().all(|serial| *serial <= HIGHEST_SERIAL));
    let kept = serde_json::to_vec(&Kept { version: VERSION, revoked: revoked.clone() });
    assert_eq!(kept.and_then(|json| read(&json)).ok(), Some(revoked));
}
