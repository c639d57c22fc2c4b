//! One process, read from its folder under /proc.

mod arguments;
mod describe;
mod dir;
mod file_id;
mod hashing;
mod program;
mod redaction;
mod root;

pub(crate) use describe::Describer;
pub(crate) use dir::{ProcessDir, Unreadable};
pub use hashing::Hashing;
pub(crate) use redaction::Redaction;
pub(crate) use root::ProcRoot;

pub(crate) use describe::Described;
pub(crate) use dir::{errno_of, read_at};
pub(crate) use root::decimal;

#[cfg(test)]
mod tests;

/// A file of a process: its stat, and its command line.
#[cfg(any(test, fuzzing))]
pub fn fuzzed(bytes: &[u8]) {
    dir::fuzzed(bytes);
    arguments::fuzzed(bytes);
}
