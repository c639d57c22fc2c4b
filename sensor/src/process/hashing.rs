use std::collections::HashMap;
use std::io::Read;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::dir::ProcessDir;
use super::file_id::FileId;

/// Whether programs are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Hashing {
    Off,
    On,
}

/// A larger program goes without: reading it would take seconds.
const FILE_BYTES: u64 = 256 << 20;
/// What is read at most in so long; what is left over waits until its process is described again.
const PERIOD_BYTES: u64 = 512 << 20;
const PERIOD: Duration = Duration::from_secs(10);
/// 100 bytes each; more different programs than that hold no sockets on one host.
const REMEMBERED: usize = 1024;

/// Takes the hash of each program once, for as long as its file is not touched.
#[derive(Debug)]
pub(crate) struct Hasher {
    hashing: Hashing,
    known: HashMap<FileId, [u8; 32]>,
    left: u64,
    renewed: Instant,
}

impl Hasher {
    pub(crate) fn new(hashing: Hashing) -> Self {
        Hasher { hashing, known: HashMap::new(), left: PERIOD_BYTES, renewed: Instant::now() }
    }

    /// Of the file that the process runs. `None` where it was not asked for, is beyond the bounds or cannot be read.
    pub(crate) fn of(&mut self, process: &ProcessDir, file: &FileId) -> Option<[u8; 32]> {
        self.of_at(process, file, Instant::now())
    }

    fn of_at(&mut self, process: &ProcessDir, file: &FileId, now: Instant) -> Option<[u8; 32]> {
        if self.hashing == Hashing::Off {
            return None;
        }
        if let Some(hash) = self.known.get(file) {
            return Some(*hash);
        }
        if now.saturating_duration_since(self.renewed) >= PERIOD {
            (self.left, self.renewed) = (PERIOD_BYTES, now);
        }
        if !file.is_regular || file.size > FILE_BYTES.min(self.left) {
            return None;
        }
        self.left -= file.size;
        // A link made to it or taken away meanwhile changes its time, and nothing of its content.
        let hash = (0..TRIES).find_map(|_| hash_of(process, file))?;
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(*file, hash);
        Some(hash)
    }
}

/// How often a file is read that changes while it is read.
const TRIES: usize = 3;

/// `None` where the file is no longer the one that was looked at, or is written to meanwhile.
fn hash_of(process: &ProcessDir, file: &FileId) -> Option<[u8; 32]> {
    let mut reader = process.open_program().ok()?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let begun = FileId::at(reader.as_fd(), b"").ok()?;
    if !begun.is_same_file(file) {
        return None;
    }
    let mut left = begun.size;
    loop {
        let count = reader.read(&mut buffer).ok()?;
        if count == 0 {
            break;
        }
        left = left.checked_sub(u64::try_from(count).ok()?)?;
        hasher.update(&buffer[..count]);
    }
    let unchanged = left == 0 && FileId::at(reader.as_fd(), b"").ok()? == begun;
    unchanged.then(|| hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::process::ProcRoot;

    #[test]
    fn what_there_was_no_time_for_is_hashed_later() {
        let own = ProcRoot::open(Path::new("/proc")).unwrap().process(std::process::id()).unwrap();
        let file = own.program_file().unwrap();
        let mut hasher = Hasher::new(Hashing::On);
        hasher.left = file.size - 1;
        let began = hasher.renewed;
        assert_eq!(hasher.of_at(&own, &file, began), None);
        assert_eq!(hasher.of_at(&own, &file, began + PERIOD - Duration::from_millis(1)), None);
        assert!(hasher.of_at(&own, &file, began + PERIOD).is_some());
        assert_eq!(hasher.left, PERIOD_BYTES - file.size);
        assert!(hasher.of_at(&own, &file, began).is_some(), "it is known by now");
        assert_eq!(hasher.left, PERIOD_BYTES - file.size, "and not read again");
    }
}
