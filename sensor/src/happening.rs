//! Listeners between two looks: read from the kernel and described while their process is still there, else by what
//! the event itself tells.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use inventory::{Holder, Holders, Listener, NetNs, NetNsId, ProcessId, RawText, Unattributed};
use rustix::io::Errno;

use crate::Sensor;
use crate::assemble;
use crate::bpf::{EventRecord, FileKind, FileRecord, SocketRecord};
use crate::holders::Hold;
use crate::namespaces::{Descriptor, NamespaceView};
use crate::pass::Surroundings;
use crate::process::Unreadable;
use crate::protocols::Protocols;

/// /proc/PID/stat counts the start of a process in these: `nsec_to_clock_t` of kernel/time/time.c.
const NANOS_PER_TICK: u64 = 10_000_000;
/// Namespaces that are visited between two looks; more wait for the next.
const MOST_NEW: usize = 10_000;

/// What a process holds, as the kernel has just told.
#[derive(Debug)]
pub(crate) struct Held {
    /// Its sockets that wait for others.
    pub(crate) files: Vec<FileRecord>,
    pub(crate) holds: Vec<Hold>,
    /// `None` where it holds none, or has ended.
    pub(crate) holder: Option<Arc<Holder>>,
}

impl Sensor {
    /// What a process holds now: nothing where it has ended, `None` where the kernel does not tell of one alone.
    /// With `anew` it is described again where it was long ago, as a pass would.
    pub(crate) fn held_by(&mut self, pid: u32, anew: bool) -> Option<Held> {
        let files = match self.files.as_ref()?.of_process(pid) {
            Ok(files) => files,
            Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Vec::new(),
            Err(error) => {
                tracing::debug!("what process {pid} holds is left to a look: {error}");
                return None;
            }
        };
        let (mut holds, _) = self.holders.holds_in(&files, |_| true);
        let holds = holds.remove(&pid).unwrap_or_default();
        let holder = match holds.is_empty() {
            true => None,
            false => match self.holders.hold_told(pid, holds.clone(), Instant::now(), &mut usize::from(anew))
            {
                Ok(holder) => Some(holder),
                Err(Unreadable::Gone) => None,
                Err(error) => {
                    tracing::debug!("process {pid}, which holds sockets, is left to a look: {error}");
                    return None;
                }
            },
        };
        let files =
            files.into_iter().filter(|file| file.kind == FileKind::Socket && file.pid == pid).collect();
        Some(Held { files, holds, holder })
    }

    /// A listener as its socket and its holder are now.
    pub(crate) fn listener(
        &mut self,
        record: &SocketRecord,
        descriptor: Option<Descriptor>,
        holders: Holders,
        since: SystemTime,
    ) -> Option<Listener> {
        let socket = record.as_socket()?;
        self.surround(record.netns_cookie, descriptor);
        let unknown;
        let around = match self.surroundings.get(&record.netns_cookie) {
            Some(around) => around,
            None => {
                unknown = Surroundings::unknown(record);
                &unknown
            }
        };
        let mut listener = assemble::listener(&around.view, &around.netns, &socket, holders, &self.public);
        listener.since = Some(since);
        Some(listener)
    }

    /// Sees to it that the namespace is known, through the process or its socket.
    fn surround(&mut self, netns: u64, descriptor: Option<Descriptor>) {
        let Some(descriptor) = descriptor else { return };
        if self.surroundings.contains_key(&netns) || self.surroundings.len() >= MOST_NEW {
            return;
        }
        let (protocols, _) = Protocols::read(Path::new("/proc"));
        let found = self.namespaces.visit_new(&protocols, netns, descriptor.pid, Some(descriptor));
        if let Some(view) = found {
            let netns_named = crate::naming::Names::of_one(&view, &mut self.holders);
            let view = NamespaceView { sockets: Vec::new(), ..view };
            self.surroundings.insert(netns, Surroundings { view, netns: netns_named });
        }
    }

    /// Whoever caused an event, by what is left of it.
    pub(crate) fn holder_of(&mut self, record: &EventRecord) -> Holders {
        let Some(pid) = record.pid else { return Holders::Unattributed(Unattributed::Exited) };
        if record.start_nanos == 0 {
            return self.holder_before(pid, record.boot_nanos);
        }
        let id = ProcessId { pid, start_ticks: record.start_nanos / NANOS_PER_TICK };
        match self.holders.describe_now(id) {
            Ok(holder) if is_as_told(&holder, record) => Holders::Known(vec![holder]),
            // It has ended, or executes another program by now, or has another user.
            Ok(_) | Err(_) => Holders::Known(vec![Arc::new(self.holders.as_told(id, record))]),
        }
    }

    /// The opener as the event tells it, where it is not that any more: it is ending, or executes another program, or
    /// has another user. If it still holds the socket, the news of that follows.
    pub(crate) fn as_it_was(&mut self, holder: Arc<Holder>, record: &EventRecord) -> Arc<Holder> {
        match is_as_told(&holder, record) {
            true => holder,
            false => Arc::new(self.holders.as_told(holder.id, record)),
        }
    }

    /// The process with this pid, if it is one that was there at that moment.
    fn holder_before(&mut self, pid: u32, boot_nanos: u64) -> Holders {
        let there = self.holders.id_of(pid).filter(|id| id.start_ticks <= boot_nanos / NANOS_PER_TICK);
        let holder = there.and_then(|id| self.holders.describe_now(id).ok());
        holder.map_or(Holders::Unattributed(Unattributed::Exited), |holder| Holders::Known(vec![holder]))
    }

    /// Describes sockets that came and went. A process that caused many is described once.
    pub(crate) fn passing(
        &mut self,
        record: &EventRecord,
        since: SystemTime,
        described: &mut HashMap<Opener, Holders>,
    ) -> Option<Listener> {
        let process = Opener::of(record);
        let holders = match described.get(&process) {
            Some(holders) => holders.clone(),
            None => {
                let holders = self.holder_of(record);
                described.insert(process, holders.clone());
                holders
            }
        };
        // Where its process and its namespace are gone, so they are for all that came and went with it.
        let netns = record.socket.netns_cookie;
        let pid = record.pid.filter(|_| !self.vanished.contains(&netns));
        let descriptor = pid.map(|pid| Descriptor { pid, tid: None, fd: u32::MAX });
        let listener = self.listener(&record.socket, descriptor, holders, since);
        if !self.surroundings.contains_key(&netns) && self.vanished.len() < MOST_NEW {
            self.vanished.insert(netns);
        }
        listener
    }

    /// The cookie of the namespace that a process lives in, or lived in where there is only one; 0 where it is not known.
    pub(crate) fn netns_of(&self, pid: u32) -> u64 {
        let inode = rustix::fs::stat(format!("/proc/{pid}/ns/net")).map(|stat| stat.st_ino);
        let is_it = |view: &NamespaceView| match inode {
            Ok(inode) => view.inode == inode,
            Err(_) => self.surroundings.len() == 1,
        };
        let found = self.surroundings.iter().find(|(_, around)| is_it(&around.view));
        found.map_or(0, |(cookie, _)| *cookie)
    }

    /// Whether an event is of a namespace that we look into, or of a process that we see.
    pub(crate) fn concerns_us(&self, record: &EventRecord) -> bool {
        record.pid.is_some() || self.surroundings.contains_key(&record.socket.netns_cookie)
    }
}

impl Surroundings {
    /// Of a namespace that was gone before it could be looked into: its wildcards may reach anything.
    fn unknown(record: &SocketRecord) -> Self {
        let netns = NetNs::anonymous(NetNsId::Cookie(record.netns_cookie));
        Surroundings { view: NamespaceView::unknown(netns.clone(), record.netns_inode.into()), netns }
    }
}

/// A process as it was when it opened a socket: another program and another user make it another opener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Opener {
    pid: Option<u32>,
    start_nanos: u64,
    uid: u32,
    program: Option<(RawText, u64)>,
}

impl Opener {
    fn of(record: &EventRecord) -> Self {
        let EventRecord { pid, start_nanos, uid, program, .. } = record;
        let program = program.as_ref().map(|seen| (seen.path.clone(), seen.inode));
        Opener { pid: *pid, start_nanos: *start_nanos, uid: *uid, program }
    }
}

/// Whether a process still is what the event says of it. Pid and start stay the same over execve(2).
fn is_as_told(holder: &Holder, record: &EventRecord) -> bool {
    let path = holder.program.as_ref().map(|program| &program.path);
    let told = record.program.as_ref().map(|seen| &seen.path);
    holder.uid == record.uid && told.is_none_or(|told| path == Some(told))
}
