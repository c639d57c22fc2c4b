use std::collections::HashMap;
use std::io::Read;
use std::os::fd::AsFd;

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
/// What one pass reads at most; what is left over waits for the next.
const PASS_BYTES: u64 = 512 << 20;
/// 100 bytes each; more different programs than that hold no sockets on one host.
const REMEMBERED: usize = 1024;

/// Takes the hash of each program once, for as long as its file is not touched.
#[derive(Debug)]
pub(crate) struct Hasher {
    hashing: Hashing,
    known: HashMap<FileId, [u8; 32]>,
    left_in_pass: u64,
}

impl Hasher {
    pub(crate) fn new(hashing: Hashing) -> Self {
        Hasher { hashing, known: HashMap::new(), left_in_pass: PASS_BYTES }
    }

    pub(crate) fn begin_pass(&mut self) {
        self.left_in_pass = PASS_BYTES;
    }

    /// Of the file that the process runs. `None` where it was not asked for, is beyond the bounds or cannot be read.
    pub(crate) fn of(&mut self, process: &ProcessDir, file: &FileId) -> Option<[u8; 32]> {
        if self.hashing == Hashing::Off {
            return None;
        }
        if let Some(hash) = self.known.get(file) {
            return Some(*hash);
        }
        if !file.is_regular || file.size > FILE_BYTES.min(self.left_in_pass) {
            return None;
        }
        self.left_in_pass -= file.size;
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
