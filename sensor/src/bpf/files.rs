use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use super::hook;
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
    /// None: the task's descriptors were looked through.
    Task,
    /// None: the descriptors of the process are to be asked for by themselves, whatever was told of it.
    TaskInPart,
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
    /// To the open file, from everywhere; 0 where not known.
    pub(crate) references: u64,
    pub(crate) socket: SocketRecord,
}

pub(super) const RECORD: usize = 32 + 88;
/// Of what the kernel gathers before it hands it out (BPF_ITER_MAX_SEQ of kernel/bpf/bpf_iter.c is eight pages).
const CHUNK: usize = 64 << 10;
/// The kernel breaks off after a million files of which it had nothing to tell (MAX_ITER_OBJECTS there), to be asked
/// again: so often at most.
const MOST_BREAKS: u32 = 10_000;

/// The iterators over the descriptors of all tasks.
#[derive(Debug)]
pub(crate) struct Files {
    /// The one that reads the tables; `None` where the kernel is too old for it.
    tasks: Option<OwnedFd>,
    /// The one that is handed out each file.
    files: OwnedFd,
    program: Option<OwnedFd>,
}

impl Files {
    /// `program` is that of `files`; it is wanted to look at one process alone.
    pub(crate) fn new(tasks: Option<OwnedFd>, files: OwnedFd, program: Option<OwnedFd>) -> Self {
        Files { tasks, files, program }
    }

    /// Those that another process has loaded; `None` where there are none, or they may not be shared with us.
    pub(crate) fn shared() -> Option<Self> {
        let (mut tasks, mut files) = (None, None);
        let mut id = 0;
        while let Ok(Some(next)) = bpf::next_link(id) {
            id = next;
            let Some(iterator) = SharedIterator::by_id(id) else { continue };
            match iterator.name == hook::TASKS_PROGRAM.as_bytes() {
                true => tasks = Some(iterator.link),
                false if iterator.name == hook::FILES_PROGRAM.as_bytes() => files = Some(iterator),
                false => {}
            }
        }
        files.map(|files| Files::new(tasks, files.link, Some(files.program)))
    }

    /// Whether the kernel lets us read them with what we may now.
    pub(crate) fn probe(&self) -> Result<(), Errno> {
        bpf::iterate(self.files.as_fd()).map(drop)
    }

    /// Every descriptor of interest of every process that our pid namespace shows.
    pub(crate) fn all(&self) -> io::Result<Vec<FileRecord>> {
        let read_tables = |tasks: &OwnedFd| read(bpf::iterate(tasks.as_fd())?);
        match self.tasks.as_ref().map(read_tables) {
            Some(Ok(told)) => self.completed(told),
            Some(Err(error)) => {
                tracing::debug!("tables of descriptors cannot be read, so each file is asked for: {error}");
                self.handed_out()
            }
            None => self.handed_out(),
        }
    }

    /// The same by the slower way, which leaves nothing to be asked for.
    pub(crate) fn handed_out(&self) -> io::Result<Vec<FileRecord>> {
        read(bpf::iterate(self.files.as_fd())?)
    }

    /// With those of the processes that the tables told in part.
    fn completed(&self, mut told: Vec<FileRecord>) -> io::Result<Vec<FileRecord>> {
        let in_part = told.iter().filter(|file| file.kind == FileKind::TaskInPart);
        let in_part: BTreeSet<u32> = in_part.map(|file| file.pid).collect();
        told.retain(|file| !in_part.contains(&file.pid));
        for pid in in_part {
            match self.of_process(pid) {
                Ok(files) => told.extend(files),
                Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {}
                Err(_) => return self.handed_out(),
            }
        }
        Ok(told)
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

#[cfg(test)]
impl Files {
    /// Whether the faster way is had.
    pub(crate) fn reads_tables(&self) -> bool {
        self.tasks.is_some()
    }

    /// With the slower way alone.
    pub(crate) fn without_tables(self) -> Self {
        Files { tasks: None, ..self }
    }
}

/// An iterator that somebody has loaded.
struct SharedIterator {
    name: Vec<u8>,
    link: OwnedFd,
    program: OwnedFd,
}

impl SharedIterator {
    fn by_id(id: u32) -> Option<Self> {
        let link = bpf::link_by_id(id).ok()?;
        let info = bpf::link_info(link.as_fd()).ok()?;
        if info.kind != bpf::ITERATOR {
            return None;
        }
        let program = bpf::program_by_id(info.program).ok()?;
        let name = bpf::program_name(program.as_fd()).ok()?;
        Some(SharedIterator { name, link, program })
    }
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
        6 => FileKind::TaskInPart,
        _ => return None,
    };
    let (pid, tid, fd, kernel_pid, _) =
        (reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?);
    let references = reader.u64()?;
    let socket = reader.socket()?;
    Some(FileRecord { kind, pid, tid: (tid != pid).then_some(tid), fd, kernel_pid, references, socket })
}

/// What an iterator hands out: read in pieces it is the same as read at once.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzzed(bytes: &[u8]) {
    let whole = read_all(bytes);
    let (before, behind) = bytes.split_at(bytes.len() / 3);
    let pieces = read_all(before.chain(behind));
    assert_eq!(whole.is_ok(), bytes.len().is_multiple_of(RECORD));
    assert_eq!(whole.ok(), pieces.ok());
}
