//! What BPF programs tell of sockets: all of them with their holders in one pass, and opens and closes as they happen.
//!
//! The programs are in `sensor/bpf/`, source and object side by side. They are loaded by a process of their own
//! ([`load`]), for that takes much memory for a moment, and handed over as descriptors.

mod choice;
mod files;
mod handover;
mod hook;
mod load;
mod record;
mod ring;
#[cfg(test)]
mod tests;

pub use choice::{Bpf, Loader, Wanted};
pub use load::{LoadError, load};

pub(crate) use choice::{Chosen, choose};
pub(crate) use files::{FileKind, FileRecord, Files};
#[cfg(test)]
pub(crate) use handover::load_here;
pub(crate) use handover::{Loading, Programs};
pub(crate) use hook::Hook;
pub(crate) use record::{EventKind, EventRecord, ProgramSeen, SocketRecord};
pub(crate) use ring::Ring;

/// What programs in the kernel tell, by the ring and by the iterators.
#[cfg(any(test, fuzzing))]
pub fn fuzzed(bytes: &[u8]) {
    record::fuzzed(bytes);
    files::fuzzed(bytes);
}
