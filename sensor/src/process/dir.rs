use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use inventory::{ProcessId, RawText};
use procfs::FromRead;
use procfs::process::Stat;
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, fstat, openat, readlinkat, stat, statat};
use rustix::io::Errno;

use super::file_id::{FileId, UserNamespace};
use super::root::decimal;

/// `stat` has 52 numbers and a name of at most 64 bytes.
const STAT_BYTES: u64 = 4 << 10;
/// `TASK_COMM_LEN` is 16; a name of a worker thread may be longer.
const COMM_BYTES: u64 = 128;
/// One line for each of at most some twenty hierarchies; a path has at most 4 KiB.
const CGROUP_BYTES: u64 = 128 << 10;
/// A thread that has exited is listed no longer, unless it is the first or somebody traces it.
const OTHER_THREADS: usize = 256;

const EXE: &str = "exe";

/// `PF_EXITING` of include/linux/sched.h, in the ninth field of /proc/PID/stat.
const EXITING: u32 = 0x4;

/// The folder of one process, through which everything is read: once that process is gone nothing answers any more,
/// not even for another one that was given its pid.
#[derive(Debug)]
pub(crate) struct ProcessDir {
    pid: u32,
    dir: OwnedFd,
}

/// Why something of a process could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// It has ended, or `hidepid` hides it.
    #[error("the process is gone")]
    Gone,
    /// It belongs to somebody else.
    #[error("reading it is refused: run as root or give CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE")]
    Denied,
    /// Neither of these.
    #[error("{file}: {errno}")]
    Failed {
        /// Which file of its folder.
        file: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
}

impl Unreadable {
    pub(crate) fn new(file: &'static str, errno: Errno) -> Self {
        match errno {
            Errno::SRCH | Errno::NOENT => Unreadable::Gone,
            Errno::ACCESS | Errno::PERM => Unreadable::Denied,
            errno => Unreadable::Failed { file, errno },
        }
    }
}

/// What one line of /proc/PID/stat tells that is of use here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) id: ProcessId,
    pub(crate) parent: u32,
    /// Its first thread has exited: nothing is left of the process but its exit code and its other threads, if any.
    pub(crate) is_zombie: bool,
    /// Its first thread exits, or has exited.
    is_exiting: bool,
}

/// What a descriptor's owner is made of, as far as it tells a program from its successor in the same process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Of the folder: see [`super::Entry`].
    pub(crate) inode: u64,
    /// The effective uid: `task_dump_owner` of fs/proc/base.c gives it to the folder even of a process that may not be
    /// dumped. Of a process that is gone it is 0.
    pub(crate) uid: u32,
}

impl ProcessDir {
    pub(super) fn open(proc_root: BorrowedFd<'_>, pid: u32) -> Result<Self, Unreadable> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(proc_root, pid.to_string(), flags, Mode::empty());
        Ok(ProcessDir { pid, dir: dir.map_err(|errno| Unreadable::new(".", errno))? })
    }

    /// The pid by which it was opened.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Pid and start time.
    ///
    /// # Errors
    /// Where the file `stat` cannot be read or understood.
    pub(crate) fn id(&self) -> Result<ProcessId, Unreadable> {
        self.origin().map(|origin| origin.id)
    }

    pub(crate) fn origin(&self) -> Result<Origin, Unreadable> {
        let bytes = self.read("stat", STAT_BYTES)?;
        let stat = parse_stat(&bytes).ok_or(Unreadable::Failed { file: "stat", errno: Errno::INVAL })?;
        let id = ProcessId { pid: self.pid, start_ticks: stat.starttime };
        // A parent outside of our pid namespace is 0.
        let (is_zombie, is_exiting) = (stat.state == 'Z', stat.flags & EXITING != 0);
        Ok(Origin { id, parent: u32::try_from(stat.ppid).unwrap_or(0), is_zombie, is_exiting })
    }

    /// The same of a process that has its memory still: `do_exit` of kernel/exit.c takes that away, and with it program and
    /// arguments, before it closes what the process has open.
    ///
    /// # Errors
    /// [`Unreadable::Gone`] also where it is that far with each of its threads.
    pub(crate) fn id_alive(&self) -> Result<ProcessId, Unreadable> {
        let origin = self.origin()?;
        let is_ending = || {
            // One that has more threads than are looked at may run on in another.
            self.program_path() == Err(Unreadable::Gone)
                && self.other_threads().map_or(true, |threads| threads.len() < OTHER_THREADS)
        };
        match origin.is_exiting && is_ending() {
            true => Err(Unreadable::Gone),
            false => Ok(origin.id),
        }
    }

    /// Only to be believed where something else is read of the process afterwards: see [`Owner::uid`].
    pub(crate) fn owner(&self) -> Result<Owner, Unreadable> {
        let stat = fstat(&self.dir).map_err(|errno| Unreadable::new(".", errno))?;
        Ok(Owner { inode: stat.st_ino, uid: stat.st_uid })
    }

    /// How many descriptors its table has; `None` where the kernel does not tell (before Linux 6.2).
    pub(crate) fn open_files(&self) -> Option<u64> {
        let stat = statat(&self.dir, "fd", AtFlags::empty()).ok()?;
        let links_tell_nothing = stat.st_size == 0 && !counts_descriptors();
        (!links_tell_nothing).then(|| u64::try_from(stat.st_size).unwrap_or(0))
    }

    pub(crate) fn name(&self) -> Result<RawText, Unreadable> {
        let mut bytes = self.read("comm", COMM_BYTES)?;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        Ok(RawText::new(bytes))
    }

    pub(crate) fn cgroup(&self) -> Result<Vec<u8>, Unreadable> {
        self.read("cgroup", CGROUP_BYTES)
    }

    /// At most so many bytes of one of its files.
    pub(crate) fn read(&self, file: &'static str, bytes: u64) -> Result<Vec<u8>, Unreadable> {
        read_at(self.dir.as_fd(), file, bytes).map_err(|errno| Unreadable::new(file, errno))
    }

    /// At most so many bytes of its arguments, each with a zero after it; none of a kernel thread.
    pub(crate) fn command_line(&self, bytes: u64) -> Result<Vec<u8>, Unreadable> {
        let file = "cmdline";
        let is_empty = |read: &Result<Vec<u8>, Errno>| read.as_ref().is_ok_and(Vec::is_empty);
        self.shared(file, |path| read_at(self.fd(), path, bytes), is_empty)
            .map_err(|errno| Unreadable::new(file, errno))
    }

    /// The path that the kernel shows for the file that runs.
    pub(crate) fn program_path(&self) -> Result<Vec<u8>, Unreadable> {
        let link = self.program(|exe| readlinkat(&self.dir, exe, Vec::new()));
        link.map(CString::into_bytes).map_err(|errno| Unreadable::new(EXE, errno))
    }

    /// The file that runs, wherever its path now points.
    pub(crate) fn program_file(&self) -> Result<FileId, Unreadable> {
        self.program(|exe| FileId::at(self.fd(), exe.as_bytes())).map_err(|errno| Unreadable::new(EXE, errno))
    }

    /// The file that runs, to be read.
    pub(crate) fn open_program(&self) -> Result<File, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        self.program(|exe| openat(&self.dir, exe, flags, Mode::empty())).map(File::from)
    }

    /// The user namespace in which it lives.
    pub(crate) fn user_namespace(&self) -> Result<UserNamespace, Unreadable> {
        let link = "ns/user";
        UserNamespace::at(self.fd(), link).map_err(|errno| Unreadable::new(link, errno))
    }

    fn program<T>(&self, look: impl Fn(&str) -> Result<T, Errno>) -> Result<T, Errno> {
        self.shared(EXE, look, |found| matches!(found, Err(Errno::NOENT)))
    }

    /// Looks at a file that tells of the memory which all threads of a process share. The folder of the process shows
    /// its first thread, from which the memory is gone once that has exited, though others may run on.
    fn shared<T>(
        &self,
        file: &str,
        look: impl Fn(&str) -> Result<T, Errno>,
        is_missing: impl Fn(&Result<T, Errno>) -> bool,
    ) -> Result<T, Errno> {
        let own = look(file);
        if !is_missing(&own) {
            return own;
        }
        let others = self.other_threads().unwrap_or_default();
        let mut found = others.iter().map(|thread| look(&format!("task/{thread}/{file}")));
        found.find(|found| found.is_ok() && !is_missing(found)).unwrap_or(own)
    }

    /// The first few after the first.
    fn other_threads(&self) -> Result<Vec<u32>, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let tasks = openat(&self.dir, "task", flags, Mode::empty())?;
        let mut buffer = [MaybeUninit::uninit(); 1 << 10];
        let mut entries = RawDir::new(&tasks, &mut buffer);
        let mut threads = Vec::new();
        while let Some(entry) = entries.next().filter(|_| threads.len() < OTHER_THREADS) {
            threads.extend(decimal(entry?.file_name().to_bytes()).filter(|thread| *thread != self.pid));
        }
        Ok(threads)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Whether this kernel tells it: of ourselves, who have some.
fn counts_descriptors() -> bool {
    static COUNTS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *COUNTS.get_or_init(|| stat("/proc/self/fd").is_ok_and(|own| own.st_size > 0))
}

/// The name stands between the first `(` and the last `)`, and may hold both.
fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let opened = bytes.iter().position(|byte| *byte == b'(')?;
    let closed = bytes.iter().rposition(|byte| *byte == b')')?;
    // The parser of procfs slices around both without looking.
    let pid = bytes[..opened].strip_suffix(b" ");
    let starts_well = pid.is_some_and(|pid| !pid.is_empty() && pid.iter().all(u8::is_ascii_digit));
    let goes_on_well =
        matches!(bytes.get(closed + 1..), Some([b' ', state, ..]) if state.is_ascii_alphabetic());
    if !starts_well || !goes_on_well || closed < opened {
        return None;
    }
    Stat::from_read(bytes).ok()
}

/// What stands between the outer brackets is the name, whatever it holds.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzzed(bytes: &[u8]) {
    if let Some(stat) = parse_stat(bytes) {
        assert!(stat.comm.len() <= 3 * bytes.len(), "a byte becomes one character at most");
    }
}

/// At most so many bytes of a file beneath an opened folder.
pub(crate) fn read_at(dir: BorrowedFd<'_>, file: &str, bytes: u64) -> Result<Vec<u8>, Errno> {
    let opened = openat(dir, file, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?;
    let mut read = Vec::with_capacity(1024);
    File::from(opened).take(bytes).read_to_end(&mut read).map_err(|error| errno_of(&error))?;
    Ok(read)
}

pub(crate) fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
