use std::collections::HashSet;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Mode, OFlags, PROC_SUPER_MAGIC, RawDir, SeekFrom, fstat, fstatfs, openat, readlinkat_raw, seek,
    statat,
};
use rustix::io::Errno;

use super::ring;
use crate::process::{ProcRoot, ProcessDir, Unreadable, decimal};
use crate::sys;

/// Some 1,300 descriptors a call.
const BUFFER_BYTES: usize = 32 << 10;
/// `socket:[` with twenty digits and `]` has 29 bytes; what is longer is none.
const LINK_BYTES: usize = 40;
/// Numbers without a descriptor that are tried before a list is asked for; most tables have no gap, or one far gap.
const FEWEST_MISSES: u32 = 4;
/// With so many different tables in one process each other thread is compared; the rest are walked without.
const COMPARED: usize = 8;
/// Threads walked in one process where the kernel does not say which tables differ.
const UNCOMPARED: usize = 16;

/// A descriptor that has a socket open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Hold {
    /// The socket's inode.
    pub inode: u64,
    /// The thread whose table it stands in; `None` for the table of the process.
    pub tid: Option<u32>,
    /// Its number there.
    pub fd: u32,
    /// What it is.
    pub via: Via,
}

/// What a descriptor is that has a socket open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Via {
    /// The socket itself.
    Descriptor,
    /// An io_uring among whose registered files the socket is.
    Ring,
}

/// Where a descriptor was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// The process.
    pub pid: u32,
    /// The thread, where its table is not that of the process.
    pub tid: Option<u32>,
    /// The number of the descriptor.
    pub fd: u32,
}

/// Is told of what a walk passes by and was not asked to find. Costs nothing where it does nothing.
pub(crate) trait Sightings: Sized + Send {
    /// One for another thread, with nothing seen yet.
    fn another(&self) -> Self;
    /// Takes over what the other has seen.
    fn join(&mut self, other: Self);
    /// A socket that is not wanted; not those inside an io_uring.
    fn other_socket(&mut self, _place: Place, _inode: u64) {}
    /// A descriptor of a network namespace, by that namespace's inode.
    fn namespace(&mut self, _place: Place, _inode: u64) {}
}

impl Sightings for () {
    fn another(&self) -> Self {}
    fn join(&mut self, (): Self) {}
}

/// What was found in one process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Walked {
    /// One for each wanted socket that it has open.
    pub holds: Vec<Hold>,
    /// Threads whose tables could neither be compared with that of the process nor walked within the bound.
    pub unsure_threads: usize,
    /// io_urings that were at work, and did not show which files are registered.
    pub busy_rings: usize,
}

/// Looks through the descriptors of processes, with buffers that it uses again.
pub(crate) struct Walk {
    buffer: Vec<MaybeUninit<u8>>,
    compares_tables: bool,
    /// It is the kernel's own, whose folders of descriptors tell their number and can be read from any of them.
    is_procfs: bool,
}

struct Search<'a, S> {
    pid: u32,
    wanted: &'a HashSet<u64>,
    sightings: &'a mut S,
    walked: Walked,
}

impl std::fmt::Debug for Walk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walk").field("compares_tables", &self.compares_tables).finish_non_exhaustive()
    }
}

impl Walk {
    /// For processes of that folder.
    pub(crate) fn new(proc: &ProcRoot) -> Self {
        // Aligned as getdents64(2) wants it by RawDir itself.
        Walk {
            buffer: vec![MaybeUninit::uninit(); BUFFER_BYTES],
            compares_tables: proc.counts_as_we_do(),
            is_procfs: fstatfs(proc.fd()).is_ok_and(|found| found.f_type == PROC_SUPER_MAGIC),
        }
    }

    /// Finds which of the `wanted` inodes a process has open: in its own table, in those of threads that have one of
    /// their own, and among the registered files of its io_urings.
    ///
    /// # Errors
    /// [`Unreadable::Denied`] where the kernel refuses to list or to resolve its descriptors.
    pub(crate) fn process<S: Sightings>(
        &mut self,
        process: &ProcessDir,
        wanted: &HashSet<u64>,
        sightings: &mut S,
    ) -> Result<Walked, Unreadable> {
        let mut search = Search { pid: process.pid(), wanted, sightings, walked: Walked::default() };
        let own = match self.table(process.fd(), None, &mut search) {
            // What an exited thread leaves behind belongs to root and holds nothing.
            Err(Unreadable::Denied) if process.origin()?.is_zombie => Ok(()),
            read => read,
        };
        let read = own.and_then(|()| self.threads(process, &mut search));
        // Resolving a descriptor of a process that is gone is refused with EACCES as well: `proc_pid_readlink` of
        // fs/proc/base.c.
        if let Err(error) = read {
            return Err(process.id().err().unwrap_or(error));
        }
        let mut walked = search.walked;
        walked.holds.sort_unstable();
        walked.holds.dedup_by_key(|hold| hold.inode);
        Ok(walked)
    }

    fn table<S: Sightings>(
        &mut self,
        owner: BorrowedFd<'_>,
        tid: Option<u32>,
        search: &mut Search<'_, S>,
    ) -> Result<(), Unreadable> {
        let failed = |errno| Unreadable::new("fd", errno);
        let dir = open_dir(owner, "fd").map_err(failed)?;
        let mut link = [0_u8; LINK_BYTES];
        if self.is_procfs {
            let next =
                probe(&dir, &mut link, |fd, link| search.take(owner, tid, fd, link)).map_err(failed)?;
            // `proc_readfd_common` of fs/proc/fd.c: the position of a descriptor is its number and two.
            seek(&dir, SeekFrom::Start(u64::from(next) + 2)).map_err(failed)?;
        }
        let mut entries = RawDir::new(&dir, &mut self.buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(failed)?;
            let Some(fd) = decimal(entry.file_name().to_bytes()) else { continue };
            match readlinkat_raw(&dir, entry.file_name(), &mut link[..]) {
                Ok(length) => search.take(owner, tid, fd, &link[..length]),
                // Closed since it was listed.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(())
    }

    /// After unshare(2) with `CLONE_FILES`, or once the first thread has exited, a thread's descriptors stand in its own
    /// folder alone.
    fn threads<S: Sightings>(
        &mut self,
        process: &ProcessDir,
        search: &mut Search<'_, S>,
    ) -> Result<(), Unreadable> {
        let failed = |errno| Unreadable::new("task", errno);
        let links = statat(process.fd(), "task", AtFlags::empty()).map_err(failed)?.st_nlink;
        // Two for the folder itself and one for each thread: `proc_task_getattr` of fs/proc/base.c.
        if links <= 3 {
            return Ok(());
        }
        let tasks = open_dir(process.fd(), "task").map_err(failed)?;
        let mut tables = Tables { walked: vec![process.pid()], uncompared: 0 };
        for tid in threads_in(&tasks).map_err(failed)? {
            if tid == process.pid() || !tables.is_new(tid, self.compares_tables) {
                continue;
            }
            if tables.uncompared > UNCOMPARED {
                search.walked.unsure_threads += 1;
                continue;
            }
            let Ok(thread) = open_dir(tasks.as_fd(), &tid.to_string()) else { continue };
            match self.table(thread.as_fd(), Some(tid), search) {
                Ok(()) | Err(Unreadable::Gone) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Which different tables of descriptors the threads of a process have.
struct Tables {
    walked: Vec<u32>,
    uncompared: usize,
}

impl Tables {
    fn is_new(&mut self, tid: u32, compares: bool) -> bool {
        let shared = self
            .walked
            .iter()
            .map(|other| if compares { sys::share_descriptors(*other, tid) } else { Err(Errno::NOSYS) });
        let mut compared_with_all = true;
        for answer in shared {
            match answer {
                Ok(true) => return false,
                Ok(false) => {}
                // One of the two has exited.
                Err(Errno::SRCH) => {}
                Err(_) => compared_with_all = false,
            }
        }
        if !compared_with_all {
            self.uncompared += 1;
        } else if self.walked.len() < COMPARED {
            self.walked.push(tid);
        }
        true
    }
}

impl<S: Sightings> Search<'_, S> {
    fn take(&mut self, owner: BorrowedFd<'_>, tid: Option<u32>, fd: u32, link: &[u8]) {
        if let Some(inode) = numbered(link, b"socket:[") {
            if self.wanted.contains(&inode) {
                self.walked.holds.push(Hold { inode, tid, fd, via: Via::Descriptor });
            } else {
                self.sightings.other_socket(Place { pid: self.pid, tid, fd }, inode);
            }
        } else if let Some(inode) = numbered(link, b"net:[") {
            self.sightings.namespace(Place { pid: self.pid, tid, fd }, inode);
        } else if link == ring::LINK {
            let (wanted, holds) = (self.wanted, &mut self.walked.holds);
            let read = ring::each_socket(owner, fd, |inode| {
                if wanted.contains(&inode) {
                    holds.push(Hold { inode, tid, fd, via: Via::Ring });
                }
            });
            // One that is closed meanwhile keeps nothing open any more.
            self.walked.busy_rings += usize::from(read == Err(Errno::BUSY));
        }
    }
}

/// Reads the links of the lowest descriptors by number, which spares the kernel to list them first; it tells how many
/// are open since Linux 6.2. Gives back the first number that was not looked at: from there on so few are open that a
/// list is cheaper, or none.
fn probe(dir: &OwnedFd, link: &mut [u8; LINK_BYTES], mut take: impl FnMut(u32, &[u8])) -> Result<u32, Errno> {
    let (mut fd, mut found, mut missed) = (0_u32, 0_u32, 0_u32);
    let open = u32::try_from(fstat(dir)?.st_size).unwrap_or(0);
    let mut name = Name::default();
    while found < open && missed < FEWEST_MISSES + found / 8 {
        match readlinkat_raw(dir, name.of(fd), &mut link[..]) {
            Ok(length) => {
                found += 1;
                take(fd, &link[..length]);
            }
            Err(Errno::NOENT) => missed += 1,
            Err(errno) => return Err(errno),
        }
        fd += 1;
    }
    Ok(fd)
}

/// The name of a descriptor, written without asking for memory.
#[derive(Default)]
struct Name([u8; 11]);

impl Name {
    fn of(&mut self, fd: u32) -> &CStr {
        let mut at = self.0.len() - 1;
        let mut rest = fd;
        loop {
            at -= 1;
            self.0[at] = b"0123456789"[(rest % 10) as usize];
            rest /= 10;
            if rest == 0 {
                return CStr::from_bytes_until_nul(&self.0[at..]).unwrap_or_default();
            }
        }
    }
}

/// `None` once it is no longer so.
pub(super) fn still_holds(process: &ProcessDir, hold: &Hold) -> Result<bool, Unreadable> {
    let Hold { inode, tid, fd, via } = *hold;
    let owner = tid.map_or_else(|| ".".to_owned(), |tid| format!("task/{tid}"));
    if via == Via::Ring {
        let Ok(owner) = open_dir(process.fd(), &owner) else { return Ok(false) };
        let mut found = false;
        let read = ring::each_socket(owner.as_fd(), fd, |each| found |= each == inode);
        return Ok(found || read == Err(Errno::BUSY));
    }
    let mut link = [0_u8; LINK_BYTES];
    match readlinkat_raw(process.fd(), format!("{owner}/fd/{fd}"), &mut link[..]) {
        Ok(length) => Ok(numbered(&link[..length], b"socket:[") == Some(inode)),
        Err(errno) => match Unreadable::new("fd", errno) {
            Unreadable::Gone => Ok(false),
            error => Err(error),
        },
    }
}

/// The number in `socket:[N]` or `net:[N]`.
pub(super) fn numbered(link: &[u8], kind: &[u8]) -> Option<u64> {
    let digits = link.strip_prefix(kind)?.strip_suffix(b"]")?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn threads_in(tasks: &OwnedFd) -> Result<Vec<u32>, Errno> {
    let mut buffer = [MaybeUninit::uninit(); 4 << 10];
    let mut entries = RawDir::new(tasks, &mut buffer);
    let mut threads = Vec::new();
    while let Some(entry) = entries.next() {
        threads.extend(decimal(entry?.file_name().to_bytes()));
    }
    Ok(threads)
}

pub(super) fn open_dir(dir: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    openat(dir, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}
