use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use super::record::{Reader, SocketRecord};
use crate::sys::bpf::{self, Whose};

/// What a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A socket that waits for others.
    Socket,
    /// Some socket of a network namespace; once in a pass for each.
    NamespaceSeen,
    /// A namespace of any kind, by the inode that the record has as that of the socket.
    NamespaceHeld,
    /// An io_uring, which may hold sockets of its own.
    Ring,
    /// The first of its task: that task's descriptors were looked through.
    Task,
}

/// A descriptor of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileRecord {
    pub(crate) kind: FileKind,
    /// As our pid namespace counts.
    pub(crate) pid: u32,
    /// The thread, where it is not the first.
    pub(crate) tid: Option<u32>,
    pub(crate) fd: u32,
    /// As the initial pid namespace counts.
    pub(crate) kernel_pid: u32,
    /// To the open file, from everywhere, less the one that looking at it takes; 0 where not known.
    pub(crate) references: u64,
    pub(crate) socket: SocketRecord,
}

pub(super) const RECORD: usize = 32 + 88;
/// Of what the kernel gathers before it hands it out (BPF_ITER_MAX_SEQ of kernel/bpf/bpf_iter.c is eight pages).
const CHUNK: usize = 64 << 10;
/// The kernel breaks off after a million files of which it had nothing to tell (MAX_ITER_OBJECTS there), to be asked
/// again: so often at most.
const MOST_BREAKS: u32 = 10_000;

/// The iterator over the files of all tasks.
#[derive(Debug)]
pub(crate) struct Files {
    link: OwnedFd,
    program: Option<OwnedFd>,
}

impl Files {
    /// `program` is wanted to look at one process alone.
    pub(crate) fn new(link: OwnedFd, program: Option<OwnedFd>) -> Self {
        Files { link, program }
    }

    /// One that another process has loaded; `None` where there is none, or it may not be shared with us.
    pub(crate) fn shared() -> Option<Self> {
        let mut id = 0;
        while let Ok(Some(next)) = bpf::next_link(id) {
            id = next;
            if let Some(link) = is_ours(id) {
                return Some(Files { link, program: None });
            }
        }
        None
    }

    /// Every descriptor of interest of every process that our pid namespace shows.
    pub(crate) fn all(&self) -> io::Result<Vec<FileRecord>> {
        read(bpf::iterate(self.link.as_fd())?)
    }

    /// Those of one process.
    ///
    /// # Errors
    /// Where the kernel cannot look at one alone (before Linux 6.1), and where the process is gone (`ESRCH`).
    pub(crate) fn of_process(&self, pid: u32) -> io::Result<Vec<FileRecord>> {
        let program = self.program.as_ref().ok_or(Errno::NOTSUP)?;
        let link = bpf::attach_iterator(program.as_fd(), Whose::Process(pid))?;
        read(bpf::iterate(link.as_fd())?)
    }
}

fn is_ours(id: u32) -> Option<OwnedFd> {
    let link = bpf::link_by_id(id).ok()?;
    let info = bpf::link_info(link.as_fd()).ok()?;
    if info.kind != bpf::ITERATOR {
        return None;
    }
    let program = bpf::program_by_id(info.program).ok()?;
    let name = bpf::program_name(program.as_fd()).ok()?;
    (name == super::hook::ITERATOR_PROGRAM.as_bytes()).then_some(link)
}

fn read(pass: OwnedFd) -> io::Result<Vec<FileRecord>> {
    read_all(File::from(pass))
}

pub(super) fn read_all(mut pass: impl Read) -> io::Result<Vec<FileRecord>> {
    let mut breaks = 0;
    let mut records = Vec::new();
    let mut buffer = vec![0; CHUNK];
    let mut kept = 0;
    loop {
        let length = match pass.read(&mut buffer[kept..]) {
            Ok(0) => break,
            Ok(length) => kept + length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && breaks < MOST_BREAKS => {
                breaks += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        let whole = length - length % RECORD;
        records.extend(buffer[..whole].chunks_exact(RECORD).filter_map(parse));
        buffer.copy_within(whole..length, 0);
        kept = length - whole;
    }
    if kept == 0 { Ok(records) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) }
}

pub(super) fn parse(bytes: &[u8]) -> Option<FileRecord> {
    let mut reader = Reader(bytes);
    let kind = match reader.u32()? {
        1 => FileKind::Socket,
        2 => FileKind::NamespaceSeen,
        3 => FileKind::NamespaceHeld,
        4 => FileKind::Ring,
        5 => FileKind::Task,
        _ => return None,
    };
    let (pid, tid, fd, kernel_pid, _) =
        (reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?);
    let references = reader.u64()?.saturating_sub(1);
    let socket = reader.socket()?;
    Some(FileRecord { kind, pid, tid: (tid != pid).then_some(tid), fd, kernel_pid, references, socket })
}
