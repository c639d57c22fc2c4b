use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ledger::Position;
use tracing::warn;

use super::receiver::Log;
use crate::state::{self, StateError};

/// Three positions are a few hundred bytes.
const MAX_FILE: u64 = 64 << 10;

/// How far each log has arrived at a receiver, kept over restarts in `export-RECEIVER.json`.
#[derive(Debug)]
pub(crate) struct Positions {
    folder: PathBuf,
    file: String,
    settled: BTreeMap<Log, Position>,
    is_kept: bool,
}

impl Positions {
    /// What cannot be read is told and begun anew: the receiver has some records twice then, and none is missing.
    pub(crate) fn restore(folder: &Path, receiver: &str) -> Self {
        let file = format!("export-{receiver}.json");
        let read = state::read(folder, &file, MAX_FILE).map_err(|error| error.to_string());
        let parsed = read.and_then(|content| match content {
            Some(content) => serde_json::from_slice::<BTreeMap<String, Position>>(&content)
                .map_err(|error| format!("{file}: {error}")),
            None => Ok(BTreeMap::new()),
        });
        let named = parsed.unwrap_or_else(|error| {
            warn!("how far receiver {receiver} was told is not known, it is told all again: {error}");
            BTreeMap::new()
        });
        let of = |log: Log| named.get(log.as_str()).map(|position| (log, *position));
        let settled = Log::ALL.into_iter().filter_map(of).collect();
        Positions { folder: folder.to_owned(), file, settled, is_kept: true }
    }

    pub(crate) fn of(&self, log: Log) -> Position {
        self.settled.get(&log).copied().unwrap_or_default()
    }

    pub(crate) fn set(&mut self, log: Log, position: Position) {
        self.settled.insert(log, position);
        self.is_kept = false;
    }

    /// Writes them down, if there is something new.
    pub(crate) fn keep(&mut self) -> Result<(), StateError> {
        if self.is_kept {
            return Ok(());
        }
        let named: BTreeMap<&str, Position> =
            self.settled.iter().map(|(log, position)| (log.as_str(), *position)).collect();
        state::write_by(&self.folder, &self.file, |file| Ok(serde_json::to_writer(file, &named)?))?;
        self.is_kept = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut positions = Positions::restore(folder.path(), "siem");
        let mut there = Position { segment: 4, offset: 17, ..Position::default() };
        there.after.record = 9;
        positions.set(Log::Events, there);
        positions.keep().unwrap();
        let restored = Positions::restore(folder.path(), "siem");
        assert_eq!((restored.of(Log::Events), restored.of(Log::Ledger)), (there, Position::default()));
        assert_eq!(Positions::restore(folder.path(), "other").of(Log::Events), Position::default());
    }

    #[test]
    fn a_damaged_file_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("export-siem.json"), "{\"events\":{}}").unwrap();
        assert_eq!(Positions::restore(folder.path(), "siem").of(Log::Events), Position::default());
    }
}
