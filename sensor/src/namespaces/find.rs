//! Which network namespaces there are: those that processes live in, and those bound to a path.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use inventory::{Gap, NetNsKind, RawText};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, fstat, fstatfs, open, statat};
use rustix::io::Errno;

use super::mounts::{self, Bound};
use super::threads::Threads;
use super::{Through, gap};
use crate::privileges::cure;

/// How many processes of a namespace are remembered: as doors to it, and to name it by.
const PIDS: usize = 8;

/// 5,000 namespaces bound by Docker make half a megabyte.
const LONGEST_MOUNTINFO: u64 = 16 * 1024 * 1024;

/// include/uapi/linux/magic.h.
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// A namespace as it looks from outside, and the ways in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) inode: u64,
    pub(super) kind: NetNsKind,
    pub(super) name: RawText,
    pub(super) path: Option<PathBuf>,
    /// Lowest first.
    pub(super) pids: Vec<u32>,
    /// Threads in it, with their pids, of processes that are not.
    pub(super) threads: Vec<(u32, u32)>,
    pub(super) through: Option<Through>,
}

impl Found {
    pub(super) fn anonymous(inode: u64) -> Self {
        Found {
            inode,
            kind: NetNsKind::Anonymous,
            name: RawText::from("anonymous"),
            path: None,
            pids: Vec::new(),
            threads: Vec::new(),
            through: None,
        }
    }

    pub(super) fn host(inode: u64) -> Self {
        Found { kind: NetNsKind::Host, name: RawText::from("host"), ..Found::anonymous(inode) }
    }

    /// A path under /run/netns names it; of two the lower one, so that the name does not depend on who mounted last.
    pub(super) fn add_path(&mut self, bound: Bound) {
        let name = bound.name().filter(|_| self.kind != NetNsKind::Host);
        if let Some(name) = name.filter(|name| self.kind == NetNsKind::Anonymous || *name < self.name) {
            self.kind = NetNsKind::Named;
            self.name = name;
            self.path = Some(bound.path);
        } else if self.path.is_none() {
            self.path = Some(bound.path);
        }
    }

    /// The host first, then those with a name, then by the lowest pid: who came later comes later.
    fn rank(&self) -> (u8, RawText, u32, u64) {
        let (class, name) = match self.kind {
            NetNsKind::Host => (0, RawText::default()),
            NetNsKind::Named => (1, self.name.clone()),
            _ => (2, RawText::default()),
        };
        (class, name, self.pids.first().copied().unwrap_or(u32::MAX), self.inode)
    }
}

/// Finds them all, in the order in which they are to be visited.
pub(super) fn find(proc: &Path, threads: &mut Threads) -> (Vec<Found>, Vec<Gap>) {
    let mut gaps = Vec::new();
    let host = namespace_of(&proc.join("self")).unwrap_or_else(|error| {
        gaps.push(gap(format!("{}/self/ns/net: {error}", proc.display())));
        0
    });
    let mut found = HashMap::from([(host, Found::host(host))]);
    if let Err(error) = add_lived_in(proc, threads, &mut found, &mut gaps) {
        let reason = format!("{}: {error}: the namespaces of processes are not known", proc.display());
        gaps.push(gap(reason));
    }
    match bound(proc) {
        Ok(all) => {
            for one in all {
                at(&mut found, one.inode).add_path(one);
            }
        }
        Err(error) => {
            let reason =
                format!("{}/self/mountinfo: {error}: named namespaces are not known", proc.display());
            gaps.push(gap(reason));
        }
    }
    let mut found: Vec<Found> = found.into_values().collect();
    found.sort_by_cached_key(Found::rank);
    (found, gaps)
}

pub(super) fn namespace_of(process: &Path) -> io::Result<u64> {
    let folder = open(process, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    Ok(statat(&folder, c"ns/net", AtFlags::empty())?.st_ino)
}

fn add_lived_in(
    proc: &Path,
    threads: &mut Threads,
    found: &mut HashMap<u64, Found>,
    gaps: &mut Vec<Gap>,
) -> io::Result<()> {
    let folder = open(proc, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let pids = pids(&folder)?;
    if pids.first() != Some(&1) {
        let reason =
            format!("{} hides processes (hidepid), and so their namespaces: run as root", proc.display());
        gaps.push(gap(reason));
    }
    let mut denied = 0_usize;
    for pid in pids {
        match add_process(&folder, pid, threads, found) {
            Err(Errno::ACCESS | Errno::PERM) => denied += 1,
            // It ended.
            Ok(()) | Err(Errno::NOENT | Errno::SRCH) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    // Threads pass through the namespaces of others: only where no process lives do they tell whose it is.
    for found in found.values_mut().filter(|found| found.pids.is_empty()) {
        found.pids = found.threads.iter().map(|(pid, _)| *pid).collect();
    }
    if threads.beyond > 0 {
        let reason =
            format!("{} processes have more threads than one pass looks at for namespaces", threads.beyond);
        gaps.push(gap(reason));
    }
    if denied > 0 {
        let reason =
            format!("{}/PID/ns/net of {denied} processes: permission denied: {}", proc.display(), cure());
        gaps.push(gap(reason));
    }
    Ok(())
}

fn add_process(
    folder: &OwnedFd,
    pid: u32,
    threads: &mut Threads,
    found: &mut HashMap<u64, Found>,
) -> Result<(), Errno> {
    let own = match statat(folder, format!("{pid}/ns/net"), AtFlags::empty()) {
        Ok(status) => Some(status.st_ino),
        // Its first thread has exited, and with it has left its namespaces.
        Err(Errno::NOENT | Errno::SRCH) => None,
        Err(errno) => return Err(errno),
    };
    if let Some(pids) = own.map(|inode| &mut at(found, inode).pids).filter(|pids| pids.len() < PIDS) {
        pids.push(pid);
    }
    // Our own threads only pass through.
    if pid == std::process::id() {
        return Ok(());
    }
    for (inode, tid) in threads.elsewhere(folder, pid, own)? {
        let threads = &mut at(found, *inode).threads;
        if threads.len() < PIDS {
            threads.push((pid, *tid));
        }
    }
    Ok(())
}

fn at(found: &mut HashMap<u64, Found>, inode: u64) -> &mut Found {
    found.entry(inode).or_insert_with(|| Found::anonymous(inode))
}

/// Lowest first.
fn pids(folder: &OwnedFd) -> io::Result<Vec<u32>> {
    let mut pids = Vec::<u32>::new();
    for entry in Dir::read_from(folder)? {
        pids.extend(entry?.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok()));
    }
    pids.sort_unstable();
    Ok(pids)
}

pub(super) fn bound(proc: &Path) -> io::Result<Vec<Bound>> {
    let mut text = Vec::new();
    File::open(proc.join("self/mountinfo"))?.take(LONGEST_MOUNTINFO).read_to_end(&mut text)?;
    if u64::try_from(text.len()) == Ok(LONGEST_MOUNTINFO) {
        return Err(io::Error::other("longer than 16 MiB"));
    }
    Ok(mounts::parse(&text))
}

/// Opens a namespace by one of the ways in. `Ok(None)` where each leads elsewhere by now: it ended, or everybody has
/// left it.
pub(super) fn open_door(proc: &Path, found: &Found) -> io::Result<Option<OwnedFd>> {
    let of_pids = found.pids.iter().map(|pid| proc.join(format!("{pid}/ns/net")));
    let of_threads = found.threads.iter().map(|(pid, tid)| proc.join(format!("{pid}/task/{tid}/ns/net")));
    let of_descriptor = match found.through {
        Some(Through::Namespace(at)) => Some(proc.join(match at.tid {
            Some(tid) => format!("{}/task/{tid}/fd/{}", at.pid, at.fd),
            None => format!("{}/fd/{}", at.pid, at.fd),
        })),
        // It is no door itself: who found it asks it for one.
        Some(Through::Socket(_)) | None => None,
    };
    let mut refused = None;
    for path in found.path.iter().cloned().chain(of_pids).chain(of_threads).chain(of_descriptor) {
        match open_if(proc, &path, found.inode) {
            Ok(Some(door)) => return Ok(Some(door)),
            Ok(None) => {}
            Err(errno) => {
                refused = Some(io::Error::other(format!("{}: {}", path.display(), io::Error::from(errno))));
            }
        }
    }
    refused.map_or(Ok(None), Err)
}

/// Looks before it opens, for a descriptor of somebody else's may be a pipe or a device by now, and opening those does
/// things. What was looked at is what is opened.
fn open_if(proc: &Path, path: &Path, inode: u64) -> Result<Option<OwnedFd>, Errno> {
    let place = match open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT | Errno::SRCH | Errno::NOTDIR) => return Ok(None),
        place => place?,
    };
    if fstat(&place)?.st_ino != inode || u64::try_from(fstatfs(&place)?.f_type) != Ok(NSFS_MAGIC) {
        return Ok(None);
    }
    let itself = proc.join(format!("self/fd/{}", place.as_raw_fd()));
    open(itself, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map(Some)
}
