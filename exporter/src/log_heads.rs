use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ledger::Head;

use crate::muffler::Muffler;

/// Root's log of what admins did; it stands in the same folder.
const LEDGER: &str = "ledger";
/// How long what was found is told before it is looked at again.
const FRESH: Duration = Duration::from_secs(1);

/// The newest record of each log: of our own as their writer last knew it, of root's as its file tells.
#[derive(Default)]
pub(crate) struct LogHeads {
    own: Mutex<BTreeMap<&'static str, Head>>,
    folder: Option<PathBuf>,
    ledger: Mutex<Looked>,
}

/// What was found the last time.
#[derive(Default)]
struct Looked {
    at: Option<Instant>,
    file: Option<Seen>,
    /// `None` where it cannot be read.
    head: Option<Head>,
    unread: Muffler,
}

/// By what a file that was written to differs from what it was.
#[derive(PartialEq, Eq)]
struct Seen {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl LogHeads {
    pub(crate) fn new(folder: &Path) -> Self {
        LogHeads { folder: Some(folder.to_owned()), ..LogHeads::default() }
    }

    /// `None` where it is not known.
    pub(crate) fn set(&self, log: &'static str, head: Option<Head>) {
        let mut own = lock(&self.own);
        match head {
            Some(head) => own.insert(log, head),
            None => own.remove(log),
        };
    }

    /// That of one of our own, where it is known.
    pub(crate) fn of(&self, log: &str) -> Option<Head> {
        lock(&self.own).get(log).copied()
    }

    /// Those that are known, by the names of their logs.
    pub(crate) fn told(&self, now: Instant) -> BTreeMap<&'static str, Head> {
        let mut heads = lock(&self.own).clone();
        if let Some(head) = self.folder.as_deref().and_then(|folder| lock(&self.ledger).look(folder, now)) {
            heads.insert(LEDGER, head);
        }
        heads
    }
}

impl Looked {
    fn look(&mut self, folder: &Path, now: Instant) -> Option<Head> {
        if self.at.is_some_and(|at| now.saturating_duration_since(at) < FRESH) {
            return self.head;
        }
        self.at = Some(now);
        let path = folder.join(format!("{LEDGER}.jsonl"));
        let file = std::fs::symlink_metadata(&path).ok().map(|meta| Seen::of(&meta));
        if file.is_some() && file == self.file && self.head.is_some() {
            return self.head;
        }
        self.file = file;
        self.head = match ledger::head(folder, LEDGER) {
            Ok(head) => Some(head.unwrap_or_default()),
            Err(error) => {
                self.unread.say(|| format!("how far the ledger is cannot be told: {error}"));
                None
            }
        };
        self.head
    }
}

impl Seen {
    fn of(meta: &Metadata) -> Self {
        Seen { inode: meta.ino(), size: meta.size(), changed: (meta.mtime(), meta.mtime_nsec()) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done under the lock can leave it half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::{HostKey, Keeping, Writer};

    const KEEPING: Keeping = Keeping { segment: 1 << 20, segments: None, mode: 0o644, synced: false };

    #[test]
    fn the_ledger_is_looked_at_once_a_second() {
        let folder = tempfile::tempdir().unwrap();
        let heads = LogHeads::new(folder.path());
        let start = Instant::now();
        let told = |seconds| heads.told(start + Duration::from_secs(seconds)).get("ledger").copied();
        assert_eq!(told(0), Some(Head::default()));
        let key = HostKey::load_or_create(&folder.path().join("ledger.key")).unwrap();
        let mut writer = Writer::open(folder.path(), "ledger", key, KEEPING, Duration::ZERO).unwrap();
        writer.append(&["{}"]).unwrap();
        assert_eq!(told(0), Some(Head::default()));
        assert_eq!(told(1), Some(writer.head()));
        writer.append(&["{}"]).unwrap();
        assert_eq!(told(2), Some(writer.head()));
        std::fs::write(folder.path().join("ledger.jsonl"), "damaged\n").unwrap();
        assert_eq!(told(3), None);
        // Whoever rewrites it need not change its size.
        std::fs::remove_file(folder.path().join("ledger.jsonl")).unwrap();
        assert_eq!(told(4), Some(Head::default()));
    }
}
