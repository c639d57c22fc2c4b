use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::{RawText, Workload};

/// A process for as long as the machine runs: pids come back, pids with their start time do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId {
    /// As the host's initial pid namespace counts.
    pub pid: u32,
    /// Field 22 of /proc/PID/stat: clock ticks since boot.
    pub start_ticks: u64,
}

/// A process that has the socket open.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Holder {
    /// Which process.
    pub id: ProcessId,
    /// The start time on the wall clock.
    pub started_at: SystemTime,
    /// What it executes; `None` where /proc/PID/exe could not be read.
    pub program: Option<Program>,
    /// /proc/PID/comm: at most 15 bytes, which the process can set itself.
    pub name: RawText,
    /// The command line, secrets redacted and cut to a bound.
    pub arguments: Vec<RawText>,
    /// The effective uid, as the host's initial user namespace counts.
    pub uid: u32,
    /// What started it.
    pub workload: Workload,
    /// The chain of parents, nearest first, without pid 1.
    pub parents: Vec<Parent>,
}

/// A process above a holder.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Parent {
    /// Its pid when the chain was read.
    pub pid: u32,
    /// /proc/PID/comm.
    pub name: RawText,
    /// The path of its program, where it could be read.
    pub program: Option<RawText>,
}

/// The file that a process executes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Program {
    /// What /proc/PID/exe says, without the kernel's ` (deleted)`. A mount namespace can make it say anything.
    pub path: RawText,
    /// Whether that path can be believed.
    pub file: ProgramFile,
    /// Of the file that runs, not of the file at `path`; `None` where it was not asked for, or too large.
    pub sha256: Option<[u8; 32]>,
}

impl Program {
    /// It never was a file: `memfd_create` and `fexecve`.
    pub fn is_memfd(&self) -> bool {
        matches!(self.file, ProgramFile::Deleted { .. }) && self.path.as_bytes().starts_with(b"/memfd:")
    }
}

/// What the path of a program is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ProgramFile {
    /// The file that runs is the one at this path in the host's root.
    Host,
    /// Another file stands at this path in the host's root, or none: a container, a chroot, or a lie.
    Foreign,
    /// The file that runs has no name any more.
    Deleted {
        /// A package upgrade looks like this: a file of the same file system stands at this path in the host's root, both
        /// belong to root, nobody else may write to the one that runs, and the process lives in the initial user
        /// namespace. Without the owners it would prove nothing: anybody can have a deleted file of his own shown at any
        /// path.
        replaced: bool,
    },
    /// It could not be compared.
    Unknown,
}

impl ProgramFile {
    /// The word used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            ProgramFile::Host => "host",
            ProgramFile::Foreign => "foreign",
            ProgramFile::Deleted { .. } => "deleted",
            ProgramFile::Unknown => "unknown",
        }
    }
}

/// Who has a socket open. `H` is a reference to a [`Holder`]: shared in memory, an index in a frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Holders<H = Arc<Holder>> {
    /// Every process that was found to hold it: at least one, ordered by pid.
    Known(Vec<H>),
    /// Nobody was found, for this reason.
    Unattributed(Unattributed),
}

impl<H> Holders<H> {
    /// The holders; none where the socket is unattributed.
    pub fn known(&self) -> &[H] {
        match self {
            Holders::Known(holders) => holders,
            Holders::Unattributed(_) => &[],
        }
    }

    /// Refers to each holder in another way.
    pub fn map<T>(&self, refer: impl FnMut(&H) -> T) -> Holders<T> {
        match self {
            Holders::Known(holders) => Holders::Known(holders.iter().map(refer).collect()),
            Holders::Unattributed(reason) => Holders::Unattributed(*reason),
        }
    }
}

/// Why no process is named as the holder of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Unattributed {
    /// Some process's descriptors could not be read.
    Denied,
    /// It was gone before its holder could be looked for.
    Exited,
    /// Every descriptor was read and none is it, though it belongs to a process: sent by `SCM_RIGHTS` and not yet received.
    InFlight,
    /// A socket of the kernel itself (WireGuard, NFS): it has no file.
    Kernel,
    /// None of the others can be told.
    Unknown,
}

impl Unattributed {
    /// All of them.
    pub const ALL: [Unattributed; 5] = [
        Unattributed::Denied,
        Unattributed::Exited,
        Unattributed::InFlight,
        Unattributed::Kernel,
        Unattributed::Unknown,
    ];

    /// The word used in labels and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Unattributed::Denied => "denied",
            Unattributed::Exited => "exited",
            Unattributed::InFlight => "in_flight",
            Unattributed::Kernel => "kernel",
            Unattributed::Unknown => "unknown",
        }
    }
}
