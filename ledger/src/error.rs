use std::io;
use std::path::{Path, PathBuf};

use crate::Head;
use crate::keys::Distrust;

/// Why a log was not written or read. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A call of the system failed.
    #[error("{path}: {step} failed: {error}")]
    Io {
        /// On what.
        path: PathBuf,
        /// What was done.
        step: &'static str,
        /// Why it failed.
        error: io::Error,
    },
    /// A symbolic link, a FIFO, a folder or a device stands where a file of the log belongs.
    #[error("{0} is not a regular file: look who put it there, and remove it")]
    NoFile(PathBuf),
    /// Another user's file, which he may change at any time.
    #[error(
        "{path} belongs to uid {owner}, its writer is uid {uid}: look who put it there, and chown or remove it"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Whose it must be.
        uid: u32,
    },
    /// It has a second name, by which it may be changed.
    #[error("{0} has more than one hard link: look for the other with `find -samefile`, and remove one")]
    Linked(PathBuf),
    /// Another process writes to this log.
    #[error("{0} is being written by another process: end it or try again when it is done")]
    Busy(PathBuf),
    /// What stands there is no record, too long for one, or out of order.
    #[error("{path}, {line}: {what}: verify the log, and move its files aside to begin it anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which.
        line: LineNumber,
        /// A sentence's end.
        what: String,
    },
    /// Its last record was not signed by this host: what is appended would vouch for it.
    #[error(
        "{path}: its last record, {record}, cannot be vouched for: {why}: put the key that signed it among the public keys \
         of this host, or move the log's files aside to begin it anew"
    )]
    Unvouched {
        /// The file.
        path: PathBuf,
        /// The record's number.
        record: u64,
        /// What is wrong with the signature.
        why: Distrust,
    },
    /// The host had another key since then: keys only go forward.
    #[error(
        "{path}: its last record, {record}, is signed by {newer}, which is newer than this host's key {ours}: put the newer \
         key back, or move the older one aside, and a new one is made"
    )]
    GivenUp {
        /// The file.
        path: PathBuf,
        /// The record's number.
        record: u64,
        /// The key that signed it.
        newer: String,
        /// The one that is there.
        ours: String,
    },
    /// Somebody moved, cut or replaced the log while it was written.
    #[error(
        "{path}: the log ended with {ours} and now ends with {found}: put its files back as they were, or start the writer again"
    )]
    Torn {
        /// The current file.
        path: PathBuf,
        /// What was written last.
        ours: Head,
        /// What is there.
        found: Head,
    },
    /// What was read before is not what stands there now.
    #[error("{path}: record {record} is not the one that was read before: the log was rewritten or replaced")]
    Rewritten {
        /// The file.
        path: PathBuf,
        /// The first record that contradicts.
        record: u64,
    },
    /// What was to be appended is no JSON object on one line that fits.
    #[error("the {}. body of a batch is not a JSON object on one line of at most {} bytes", .0 + 1, crate::line::MAX_BODY)]
    Body(usize),
    /// The host's key cannot sign.
    #[error("the host's key cannot sign: {0}")]
    Signing(ssh_key::Error),
}

/// Which line of a file is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineNumber {
    /// Counted from 1.
    At(u64),
    /// The one that begins at this byte, where lines were not counted.
    AtByte(u64),
    /// The last one.
    Last,
}

impl std::fmt::Display for LineNumber {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LineNumber::At(number) => write!(to, "line {number}"),
            LineNumber::AtByte(byte) => write!(to, "the line at byte {byte}"),
            LineNumber::Last => to.write_str("the last line"),
        }
    }
}

pub(crate) fn fail(path: &Path, step: &'static str) -> impl FnOnce(io::Error) -> LogError {
    move |error| LogError::Io { path: path.to_owned(), step, error }
}
