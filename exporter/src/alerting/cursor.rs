use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use baseline::Register;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::state::{self, StateError};

/// As many numbers as can be refused have some 160 KiB.
const MAX_FILE: u64 = 1 << 20;
/// No turn has this number, nor a greater one.
pub(super) const MOST: u64 = 1 << 53;
const MOST_REFUSED: usize = Register::ROOM;

/// Up to which turn a receiver was told, and what it refused of these, kept over restarts in `alerts-RECEIVER.json`.
#[derive(Debug)]
pub(crate) struct Cursor {
    folder: PathBuf,
    file: String,
    /// `None` of a receiver that is new: what was over before it came is not told to it.
    seq: Option<u64>,
    /// Turns that fire and that it did not take as they are.
    refused: BTreeSet<u64>,
    is_kept: bool,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    seq: u64,
    #[serde(default)]
    refused: BTreeSet<u64>,
}

impl Cursor {
    /// What cannot be read is told, and the receiver taken for a new one: what fires it is told again.
    pub(crate) fn restore(folder: &Path, receiver: &str) -> Self {
        let file = format!("alerts-{receiver}.json");
        let read = state::read(folder, &file, MAX_FILE).map_err(|error| error.to_string());
        let parsed = read.and_then(|content| match content {
            Some(content) => {
                serde_json::from_slice::<Kept>(&content).map(Some).map_err(|error| format!("{file}: {error}"))
            }
            None => Ok(None),
        });
        let kept = parsed.unwrap_or_else(|error| {
            warn!(
                "what receiver {receiver} was told is not known, it is told again of all that fires: {error}"
            );
            None
        });
        // No host tells so many in its life: it was changed, and would have all numbers behind it.
        let kept = kept.filter(|kept| kept.seq < MOST);
        let (seq, refused) = kept.map(|kept| (kept.seq, kept.refused)).unzip();
        let refused = refused.unwrap_or_default();
        Cursor { folder: folder.to_owned(), file, seq, refused, is_kept: true }
    }

    pub(crate) fn seq(&self) -> Option<u64> {
        self.seq
    }

    pub(crate) fn set(&mut self, seq: u64) {
        self.is_kept &= self.seq == Some(seq);
        self.seq = Some(seq);
    }

    pub(crate) fn refused(&self) -> &BTreeSet<u64> {
        &self.refused
    }

    /// It refuses this one: no more than can fire.
    pub(crate) fn refuses(&mut self, seq: u64) {
        if self.refused.len() < MOST_REFUSED {
            self.is_kept &= !self.refused.insert(seq);
        }
    }

    /// Of what it refused only this much is left.
    pub(crate) fn refuses_only(&mut self, is_left: impl Fn(u64) -> bool) {
        let before = self.refused.len();
        self.refused.retain(|seq| is_left(*seq));
        self.is_kept &= self.refused.len() == before;
    }

    /// All of it is written down.
    pub(crate) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Writes it down, if it moved.
    pub(crate) fn keep(&mut self) -> Result<(), StateError> {
        if let Some(seq) = self.seq.filter(|_| !self.is_kept) {
            let kept = Kept { seq, refused: self.refused.clone() };
            state::write_by(&self.folder, &self.file, |file| Ok(serde_json::to_writer(file, &kept)?))?;
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
        cursor.refuses(5);
        cursor.refuses(6);
        cursor.refuses_only(|seq| seq == 6);
        cursor.keep().unwrap();
        let restored = Cursor::restore(folder.path(), "pager");
        assert_eq!((restored.seq(), restored.refused()), (Some(7), &BTreeSet::from([6])));
        // As an older release wrote it, and as nobody does.
        std::fs::write(folder.path().join("alerts-pager.json"), r#"{"seq":3}"#).unwrap();
        assert_eq!(Cursor::restore(folder.path(), "pager").seq(), Some(3));
        for broken in ["{}", "{", r#"{"seq":9007199254740992,"refused":[1]}"#] {
            std::fs::write(folder.path().join("alerts-pager.json"), broken).unwrap();
            let restored = Cursor::restore(folder.path(), "pager");
            assert_eq!((restored.seq(), restored.refused().len()), (None, 0), "{broken}");
        }
    }
}
