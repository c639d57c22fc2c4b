use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::state::{self, StateError};

const MAX_FILE: u64 = 4096;
/// No turn has this number, nor a greater one.
pub(super) const MOST: u64 = 1 << 53;

/// Up to which turn a receiver was told, kept over restarts in `alerts-RECEIVER.json`.
#[derive(Debug)]
pub(crate) struct Cursor {
    folder: PathBuf,
    file: String,
    /// `None` of a receiver that is new: what was over before it came is not told to it.
    seq: Option<u64>,
    is_kept: bool,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    seq: u64,
}

impl Cursor {
    /// What cannot be read is told, and the receiver taken for a new one: what fires it is told again.
    pub(crate) fn restore(folder: &Path, receiver: &str) -> Self {
        let file = format!("alerts-{receiver}.json");
        let read = state::read(folder, &file, MAX_FILE).map_err(|error| error.to_string());
        let parsed = read.and_then(|content| match content {
            Some(content) => serde_json::from_slice::<Kept>(&content)
                .map(|kept| Some(kept.seq))
                .map_err(|error| format!("{file}: {error}")),
            None => Ok(None),
        });
        let seq = parsed.unwrap_or_else(|error| {
            warn!(
                "what receiver {receiver} was told is not known, it is told again of all that fires: {error}"
            );
            None
        });
        // No host tells so many in its life: it was changed, and would have all numbers behind it.
        let seq = seq.filter(|seq| *seq < MOST);
        Cursor { folder: folder.to_owned(), file, seq, is_kept: true }
    }

    pub(crate) fn seq(&self) -> Option<u64> {
        self.seq
    }

    pub(crate) fn set(&mut self, seq: u64) {
        self.is_kept &= self.seq == Some(seq);
        self.seq = Some(seq);
    }

    /// Writes it down, if it moved.
    pub(crate) fn keep(&mut self) -> Result<(), StateError> {
        if let Some(seq) = self.seq.filter(|_| !self.is_kept) {
            state::write_by(&self.folder, &self.file, |file| {
                Ok(serde_json::to_writer(file, &Kept { seq })?)
            })?;
            self.is_kept = true;
        }
        Ok(())
    }
}

/// The highest of all in this folder: no number that a receiver was told is given again, be its record lost.
pub(crate) fn highest(folder: &Path) -> u64 {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let of = |name: std::ffi::OsString| {
        let receiver = name.to_str()?.strip_prefix("alerts-")?.strip_suffix(".json")?.to_owned();
        Cursor::restore(folder, &receiver).seq
    };
    names.filter_map(of).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut cursor = Cursor::restore(folder.path(), "pager");
        assert_eq!(cursor.seq(), None);
        cursor.set(7);
        cursor.keep().unwrap();
        assert_eq!(Cursor::restore(folder.path(), "pager").seq(), Some(7));
        assert_eq!(Cursor::restore(folder.path(), "other").seq(), None);
        assert_eq!(highest(folder.path()), 7);
        std::fs::write(folder.path().join("alerts-pager.json"), "{}").unwrap();
        assert_eq!(Cursor::restore(folder.path(), "pager").seq(), None);
    }
}
