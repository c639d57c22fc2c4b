use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ledger::{Head, Position};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::book::Book;
use super::cursor;
use super::turn::Turn;
use crate::outbox::{Log, LogStatus, Source};
use crate::state::{self, StateError};

/// The book as it was after some record of its log.
const FILE: &str = "alerts.json";
/// As many alerts as there can be drifts, and as many that were resolved of late.
const MAX_FILE: u64 = 256 << 20;

#[derive(Serialize)]
struct Keeping<'a> {
    after: Head,
    book: &'a Book,
}

#[derive(Deserialize)]
struct Kept {
    /// What the log has up to here the book has.
    after: Head,
    book: Book,
}

/// The log of turns, as it is read.
pub(crate) struct History(Source);

impl History {
    pub(crate) fn new(folder: &Path, after: Head) -> Self {
        let status = Arc::new(LogStatus::new(Log::Alerts));
        History(Source::new(folder, status, Position { after, ..Position::default() }))
    }

    /// The next turn, be some before it damaged; `None` where nothing is left that can be read now.
    pub(crate) fn next(&mut self) -> Option<Turn> {
        loop {
            let item = self.0.next(Instant::now())?;
            if let Ok(turn) = serde_json::from_str(&item.event.json) {
                return Some(turn);
            }
        }
    }
}

/// Replaces what is kept. `after` is the head of a log in which no turn is newer than the book.
pub(crate) fn keep(folder: &Path, after: Head, book: &Book) -> Result<(), StateError> {
    state::write_by(folder, FILE, |file| {
        let mut buffered = BufWriter::new(file);
        serde_json::to_writer(&mut buffered, &Keeping { after, book })?;
        buffered.flush()
    })
}

/// What was told before: what is kept, and the log behind it. What cannot be read is told and the log read from its start.
pub(crate) fn restore(folder: &Path) -> Book {
    let read = state::read(folder, FILE, MAX_FILE).map_err(|error| error.to_string());
    let parsed = read.and_then(|content| match content {
        Some(content) => {
            serde_json::from_slice::<Kept>(&content).map(Some).map_err(|error| format!("{FILE}: {error}"))
        }
        None => Ok(None),
    });
    let kept = parsed.unwrap_or_else(|error| {
        warn!("which alerts fire is read from alerts.jsonl: {error}");
        None
    });
    let (after, mut book) = kept.map(|kept| (kept.after, kept.book)).unwrap_or_default();
    let mut history = History::new(folder, after);
    while let Some(turn) = history.next() {
        book.take_in(turn);
    }
    book.share();
    book.seq = book.seq.max(cursor::highest(folder));
    book
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use ledger::{HostKey, Keeping, Writer};

    use super::*;

    fn writer(folder: &Path) -> Writer {
        let key = HostKey::load_or_create(&folder.join("events.key")).unwrap();
        let keeping = Keeping { segment: 16 << 20, segments: Some(4), mode: 0o640, synced: false };
        Writer::open(folder, "alerts", key, keeping, Duration::ZERO).unwrap()
    }

    #[test]
    fn what_was_told_is_known_from_any_of_what_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path());
        let mut book = Book::default();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_251_600);
        let mut log =
            |turn: Option<Arc<Turn>>| writer.append(&[serde_json::to_vec(&*turn.unwrap()).unwrap()]).unwrap();
        let turn = book.sensor_is_silent("web", at, at);
        let head = log(turn);
        keep(folder.path(), head, &book).unwrap();
        let turn = book.sensor_is_heard(at);
        log(turn);
        assert_eq!(restore(folder.path()), book, "the record behind what is kept");
        let turn = book.sensor_is_silent("web", at, at);
        log(turn);
        assert_eq!(restore(folder.path()), book);
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert_eq!(restore(folder.path()), book, "all records");
        keep(folder.path(), Head::default(), &book).unwrap();
        std::fs::write(folder.path().join("alerts.jsonl"), "damage\n").unwrap();
        assert_eq!(restore(folder.path()), book, "what is kept alone");
    }

    #[test]
    fn what_stands_behind_a_damaged_turn_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path());
        let mut book = Book::default();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_251_600);
        for heard in [false, true, false] {
            let turn = if heard { book.sensor_is_heard(at) } else { book.sensor_is_silent("web", at, at) };
            writer.append(&[serde_json::to_vec(&*turn.unwrap()).unwrap()]).unwrap();
        }
        let log = folder.path().join("alerts.jsonl");
        let whole = std::fs::read_to_string(&log).unwrap();
        // Its chain's fields can be read, and it cannot.
        let (first, others) = whole.split_once('\n').unwrap();
        let damaged = others.replacen("alert_resolved", "alert\0\0solved", 1);
        std::fs::write(&log, format!("{first}\n{damaged}")).unwrap();
        let restored = restore(folder.path());
        assert_eq!((restored.seq, restored.says_silent()), (3, true));
    }
}
