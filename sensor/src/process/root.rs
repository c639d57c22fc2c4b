use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
use rustix::io::Errno;

use super::dir::{ProcessDir, Unreadable, read_at};

/// Enough for the counters of a machine with thousands of processors and interrupts.
const STAT_BYTES: u64 = 4 << 20;

/// Some 100,000 mounts.
const MOUNTINFO_BYTES: u64 = 16 << 20;

/// An opened proc(5) file system, or a folder that looks like one.
#[derive(Debug)]
pub(crate) struct ProcRoot {
    dir: OwnedFd,
    path: PathBuf,
    booted_at: SystemTime,
    ticks_per_second: u64,
    counts_as_we_do: bool,
}

/// A process that stands in the list of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// Its pid.
    pub pid: u32,
    /// The inode of its folder. proc(5) gives each folder the next number of a counter (`get_next_ino` of fs/inode.c)
    /// and drops it with the process: an inode that stayed the same is the same process, another one may be.
    pub inode: u64,
}

impl ProcRoot {
    /// Opens it, usually `/proc`, and reads when the machine was booted.
    ///
    /// # Errors
    /// Where the folder or its file `stat` cannot be read, or `stat` has no line `btime`.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(CWD, path, flags, Mode::empty()).map_err(|errno| named(path, errno.into()))?;
        let stat = read_at(dir.as_fd(), "stat", STAT_BYTES)
            .map_err(|errno| named(&path.join("stat"), errno.into()))?;
        let booted = boot_time(&stat).ok_or_else(|| {
            named(&path.join("stat"), io::Error::new(io::ErrorKind::InvalidData, "no line `btime`"))
        })?;
        let own_pid = rustix::process::getpid().as_raw_nonzero().get().to_string();
        let self_link = rustix::fs::readlinkat(&dir, "self", Vec::new());
        Ok(ProcRoot {
            counts_as_we_do: self_link.is_ok_and(|link| link.as_bytes() == own_pid.as_bytes()),
            dir,
            path: path.to_owned(),
            booted_at: SystemTime::UNIX_EPOCH + Duration::from_secs(booted),
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
        })
    }

    /// Every process that it shows.
    ///
    /// # Errors
    /// Where the folder cannot be listed.
    pub(crate) fn processes(&self) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        self.list(|entry| found.push(entry)).map_err(|errno| named(&self.path, errno.into()))?;
        Ok(found)
    }

    /// Opens the folder of one process.
    ///
    /// # Errors
    /// [`Unreadable::Gone`] where there is none, or where `hidepid` hides it.
    pub(crate) fn process(&self, pid: u32) -> Result<ProcessDir, Unreadable> {
        ProcessDir::open(self.dir.as_fd(), pid)
    }

    /// The wall clock at so many clock ticks after boot.
    pub(crate) fn time_of(&self, ticks: u64) -> SystemTime {
        let seconds = Duration::from_secs(ticks / self.ticks_per_second);
        let nanos = (ticks % self.ticks_per_second).saturating_mul(1_000_000_000) / self.ticks_per_second;
        self.booted_at.checked_add(seconds + Duration::from_nanos(nanos)).unwrap_or(self.booted_at)
    }

    /// True where a pid in this folder is the pid that system calls of ours mean.
    pub(crate) fn counts_as_we_do(&self) -> bool {
        self.counts_as_we_do
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The mount option that hides other users' processes from us: then even the first process is not to be seen.
    pub(crate) fn hidden_by(&self) -> Option<String> {
        // The folder of a hidden process can still be opened as a path; nothing beneath it can.
        match self.process(1).and_then(|first| first.name()) {
            Err(Unreadable::Gone) => {
                let mounts = read_at(self.dir.as_fd(), "self/mountinfo", MOUNTINFO_BYTES).ok()?;
                hidepid_option(&mounts, self.path.as_os_str().as_encoded_bytes())
            }
            _ => None,
        }
    }

    fn list(&self, mut each: impl FnMut(Entry)) -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(&self.dir, ".", flags, Mode::empty())?;
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut entries = RawDir::new(&dir, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            if let Some(pid) = decimal(entry.file_name().to_bytes()) {
                each(Entry { pid, inode: entry.ino() });
            }
        }
        Ok(())
    }
}

/// A pid, a tid or the number of a descriptor, as a name in a folder of proc(5).
pub(crate) fn decimal(name: &[u8]) -> Option<u32> {
    if name.is_empty() || name.len() > 10 {
        return None;
    }
    name.iter().try_fold(0_u32, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u32::from(digit))
    })
}

/// Of the last file system mounted at that path, which covers those before: proc_pid_mountinfo(5).
pub(super) fn hidepid_option(mountinfo: &[u8], path: &[u8]) -> Option<String> {
    let mut lines = mountinfo.split(|byte| *byte == b'\n');
    let line = lines.rfind(|line| line.split(|byte| *byte == b' ').nth(4) == Some(path))?;
    let options = line.rsplit(|byte| *byte == b' ').next()?;
    let hidepid = options.split(|byte| *byte == b',').find(|option| option.starts_with(b"hidepid="))?;
    Some(String::from_utf8_lossy(hidepid).into_owned())
}

fn boot_time(stat: &[u8]) -> Option<u64> {
    let line = stat.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"btime "))?;
    std::str::from_utf8(line).ok()?.trim().parse().ok()
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
