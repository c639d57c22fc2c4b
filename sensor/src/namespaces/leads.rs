//! Namespaces that no process lives in and no path names: a descriptor of some process alone keeps them alive.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use inventory::NetNsId;
use rustix::fs::{OFlags, fstat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::find::{Found, open_door};
use super::visit::Visitor;
use super::{Descriptor, Through, Visits, gap};
use crate::bpf::{FileKind, FileRecord};
use crate::privileges::cure;
use crate::sys;

/// Namespaces that are new in one pass beyond which no more are noted: 16 times what a pass visits by default.
const NOTED: usize = 16_384;

/// Sockets noted of one namespace: whoever has the first may have it for a moment only, as somebody who asks it the same.
const WAYS: u8 = 3;

/// include/uapi/linux/pidfd.h, since Linux 6.9, as `O_EXCL`.
const PIDFD_THREAD: PidfdFlags = PidfdFlags::from_bits_retain(OFlags::EXCL.bits());

/// Threads asked for the table of a process whose first thread has exited.
const TRIED: usize = 8;

/// Descriptors that may lead to namespaces in which no process lives. Each socket is asked at once where it was made,
/// at some 2 µs, so that only those are kept which lead somewhere new.
#[derive(Debug, Default)]
pub(crate) struct Leads {
    /// Cookies of namespaces that are known, or that a lead was kept to.
    cookies: BTreeSet<u64>,
    /// How many were kept to each other one.
    ways: HashMap<u64, u8>,
    task: Option<(u32, OwnedFd)>,
    sockets: Vec<Descriptor>,
    namespaces: Vec<(Descriptor, u64)>,
    denied: usize,
    denied_by: Option<Errno>,
    /// Sockets in tables of threads, on a kernel that does not reach those.
    of_threads: usize,
    beyond: usize,
}

impl Leads {
    /// None yet; later ones count only where they lead out of what was seen.
    pub(crate) fn beyond(seen: &Visits) -> Self {
        let ids = seen.views.iter().map(|view| view.netns.id);
        let cookies = ids.filter_map(|id| if let NetNsId::Cookie(cookie) = id { Some(cookie) } else { None });
        Leads { cookies: cookies.collect(), ..Leads::default() }
    }

    /// Those among descriptors that the kernel told, which tells the namespace with them.
    pub(crate) fn told(seen: &Visits, files: &[FileRecord]) -> Self {
        let mut leads = Leads::beyond(seen);
        let known = leads.cookies.clone();
        let mut ways: HashMap<u64, u8> = HashMap::new();
        for file in files.iter().filter(|file| file.pid != 0) {
            let lead = Descriptor { pid: file.pid, tid: file.tid, fd: file.fd };
            match file.kind {
                FileKind::NamespaceSeen | FileKind::Socket if !known.contains(&file.socket.netns_cookie) => {
                    let ways = ways.entry(file.socket.netns_cookie).or_default();
                    if *ways < WAYS && leads.sockets.len() < NOTED {
                        *ways += 1;
                        leads.cookies.insert(file.socket.netns_cookie);
                        leads.sockets.push(lead);
                    } else if *ways == 0 {
                        leads.beyond += 1;
                    }
                }
                FileKind::NamespaceHeld if !seen.known.contains(&file.socket.inode) => {
                    leads.of_unknown_kind(lead, file.socket.inode);
                }
                _ => {}
            }
        }
        leads
    }

    /// A namespace of some kind; only one of the network is a lead.
    fn of_unknown_kind(&mut self, lead: Descriptor, inode: u64) {
        let thread = lead.tid.map_or_else(String::new, |tid| format!("task/{tid}/"));
        let link = fs::read_link(format!("/proc/{}/{thread}fd/{}", lead.pid, lead.fd));
        if link.is_ok_and(|link| link.as_os_str() == format!("net:[{inode}]").as_str()) {
            self.namespace(lead, inode);
        }
    }

    /// None yet, beyond the same namespaces.
    pub(crate) fn another(&self) -> Self {
        Leads { cookies: self.cookies.clone(), ..Leads::default() }
    }

    /// Takes over the other's.
    pub(crate) fn join(&mut self, other: Self) {
        self.cookies.extend(other.cookies);
        self.sockets.extend(other.sockets);
        self.namespaces.extend(other.namespaces);
        self.denied += other.denied;
        self.denied_by = self.denied_by.or(other.denied_by);
        self.of_threads += other.of_threads;
        self.beyond += other.beyond;
    }

    /// Nothing leads anywhere, and nothing was refused.
    pub(crate) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
            && self.namespaces.is_empty()
            && self.denied_by.is_none()
            && self.of_threads == 0
    }

    /// What led to the namespace of that inode at an earlier pass.
    pub(crate) fn again(&mut self, through: Through, inode: u64) {
        match through {
            Through::Socket(lead) => self.socket(lead),
            Through::Namespace(lead) => self.namespace(lead, inode),
        }
    }

    /// A socket, of any family: it was made in some namespace.
    pub(crate) fn socket(&mut self, lead: Descriptor) {
        match self.leads_out(lead) {
            Ok(true) if self.sockets.len() < NOTED => self.sockets.push(lead),
            Ok(true) => self.beyond += 1,
            // It ended, or closed the descriptor, or has another thing there by now.
            Ok(false) | Err(Errno::SRCH | Errno::BADF | Errno::NOTSOCK) => {}
            // `PIDFD_THREAD` is unknown to it.
            Err(Errno::INVAL) if lead.tid.is_some() => self.of_threads += 1,
            Err(errno) => {
                self.denied += 1;
                self.denied_by.get_or_insert(errno);
            }
        }
    }

    /// A descriptor whose link reads `net:[INODE]`, with that inode.
    pub(crate) fn namespace(&mut self, lead: Descriptor, inode: u64) {
        if self.namespaces.len() < NOTED {
            self.namespaces.push((lead, inode));
        } else {
            self.beyond += 1;
        }
    }

    /// Where the kernel has no cookies every socket may lead out.
    fn leads_out(&mut self, lead: Descriptor) -> Result<bool, Errno> {
        let socket = duplicate(lead, &mut self.task)?;
        match sys::netns_cookie(socket.as_fd()) {
            Ok(cookie) if self.cookies.contains(&cookie) => Ok(false),
            Ok(cookie) => {
                let ways = self.ways.entry(cookie).or_default();
                *ways = ways.saturating_add(1);
                Ok(*ways <= WAYS)
            }
            Err(error) if error.raw_os_error() == Some(Errno::NOTSOCK.raw_os_error()) => Err(Errno::NOTSOCK),
            Err(_) => Ok(true),
        }
    }
}

impl Visitor<'_> {
    /// Follows every lead that does not end in a namespace known before.
    pub(super) fn visit_leads(&mut self, leads: &Leads) {
        for (descriptor, inode) in &leads.namespaces {
            self.follow_namespace(*descriptor, *inode);
        }
        let mut task: Option<(u32, OwnedFd)> = None;
        let (mut denied, mut denied_by) = (leads.denied, leads.denied_by);
        for lead in &leads.sockets {
            match self.follow_socket(*lead, &mut task) {
                Ok(()) | Err(Errno::SRCH | Errno::BADF | Errno::NOTSOCK) => {}
                Err(errno) => {
                    denied += 1;
                    denied_by.get_or_insert(errno);
                }
            }
        }
        if let Some(errno) = denied_by {
            let reason =
                format!("{denied} sockets could not be asked for their namespace ({errno}): {}", cure());
            self.visits.gaps.push(gap(reason));
        }
        if leads.of_threads > 0 {
            let reason = format!(
                "{} sockets in tables of threads could not be asked for their namespace: Linux 6.9 and later can",
                leads.of_threads
            );
            self.visits.gaps.push(gap(reason));
        }
        if leads.beyond > 0 {
            let reason = format!("{} descriptors are beyond the {NOTED} that one pass follows", leads.beyond);
            self.visits.gaps.push(gap(reason));
        }
    }

    fn follow_namespace(&mut self, through: Descriptor, inode: u64) {
        if !self.visits.known.insert(inode) || self.is_full() {
            return;
        }
        let found = Found { through: Some(Through::Namespace(through)), ..Found::anonymous(inode) };
        match open_door(self.proc, &found) {
            Ok(Some(door)) => self.enter(found, &door),
            Ok(None) => drop(self.visits.known.remove(&inode)),
            Err(error) => self.refuse(error),
        }
    }

    /// Enters the namespace that a socket was made in. The duplicate of it, and the namespace's descriptor, live only
    /// in here.
    fn follow_socket(&mut self, lead: Descriptor, task: &mut Option<(u32, OwnedFd)>) -> Result<(), Errno> {
        let socket = duplicate(lead, task)?;
        let (door, inode) = netns_of(socket.as_fd())?;
        if self.visits.known.insert(inode) && !self.is_full() {
            self.enter(Found { through: Some(Through::Socket(lead)), ..Found::anonymous(inode) }, &door);
        }
        Ok(())
    }
}

/// Duplicates a descriptor of another process; consecutive leads of one task share its handle. Where the first thread
/// has exited, and with it has left the table of the process, another one has it still.
fn duplicate(lead: Descriptor, task: &mut Option<(u32, OwnedFd)>) -> Result<OwnedFd, Errno> {
    match duplicate_of(lead, task) {
        Err(Errno::SRCH) if lead.tid.is_none() => {
            let mut threads = threads_of(lead.pid).into_iter();
            let of_thread = |tid| duplicate_of(Descriptor { tid: Some(tid), ..lead }, task).ok();
            threads.find_map(of_thread).ok_or(Errno::SRCH)
        }
        answer => answer,
    }
}

fn duplicate_of(lead: Descriptor, task: &mut Option<(u32, OwnedFd)>) -> Result<OwnedFd, Errno> {
    let id = lead.tid.unwrap_or(lead.pid);
    let handle = match task.take() {
        Some((other, handle)) if other == id => handle,
        _ => {
            let pid = i32::try_from(id).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
            pidfd_open(pid, if lead.tid.is_some() { PIDFD_THREAD } else { PidfdFlags::empty() })?
        }
    };
    let (_, handle) = task.insert((id, handle));
    let fd = i32::try_from(lead.fd).map_err(|_| Errno::BADF)?;
    pidfd_getfd(handle, fd, PidfdGetfdFlags::empty())
}

/// Some threads of a process other than the first; none of one that has ended.
fn threads_of(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let tids = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok());
    tids.filter(|tid| *tid != pid).take(TRIED).collect()
}

fn netns_of(socket: BorrowedFd<'_>) -> Result<(OwnedFd, u64), Errno> {
    let door = sys::netns_of_socket(socket)
        .map_err(|error| error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error))?;
    let inode = fstat(&door)?.st_ino;
    Ok((door, inode))
}
