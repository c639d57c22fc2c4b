//! Entering a namespace and looking around. All of this but the look into our own runs on threads that end with the pass.

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use inventory::{Gap, RawText, Scope, Share};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::find::{Found, open_door};
use crate::collector::{Pass, Socket, Sockets, collectors};
use crate::interfaces::{Interface, interfaces};
use crate::protocols::Protocols;
use crate::sys;

/// What the kernel starts with (ip(7)), taken where the range cannot be read.
pub(super) const USUAL_PORTS: RangeInclusive<u16> = 32768..=60999;

/// What is seen from inside one namespace.
#[derive(Debug)]
pub(super) struct Observed {
    /// `None` before Linux 5.14.
    pub(super) cookie: Option<u64>,
    pub(super) sockets: Vec<Socket>,
    pub(super) tables: Share,
    pub(super) interfaces: Option<Vec<Interface>>,
    pub(super) local_ports: RangeInclusive<u16>,
    /// All of this namespace, which they do not name.
    pub(super) gaps: Vec<Gap>,
}

/// What came of looking into a namespace.
#[derive(Debug)]
pub(super) enum Outcome {
    Gone,
    Refused(io::Error),
    Seen(Box<Observed>),
}

/// Looks into namespaces before their turn comes.
#[derive(Clone, Copy)]
pub(super) struct Ahead<'a> {
    pub(super) proc: &'a Path,
    pub(super) protocols: &'a Protocols,
    /// What was refused everywhere is known before either thread begins.
    pub(super) pass: &'a Pass,
    pub(super) room: usize,
}

impl Ahead<'_> {
    /// Shares them between this thread, which is elsewhere afterwards, and another, in the same processor time. The
    /// outcomes are in order; `None` where nobody looked, as when there are more sockets than room for them all.
    pub(super) fn look_into(self, all: &[Found]) -> Vec<Option<Outcome>> {
        let (next, kept) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let share = || self.look_into_share(all, &next, &kept);
        let looked = thread::scope(|scope| {
            let other = (all.len() > 1)
                .then(|| thread::Builder::new().name("namespaces".to_owned()).spawn_scoped(scope, share));
            let mut looked = share();
            let others = other.and_then(Result::ok).and_then(|other| other.join().ok());
            looked.extend(others.unwrap_or_default());
            looked
        });
        let mut outcomes: Vec<Option<Outcome>> = all.iter().map(|_| None).collect();
        for (at, outcome) in looked {
            outcomes[at] = Some(outcome);
        }
        outcomes
    }

    fn look_into_share(self, all: &[Found], next: &AtomicUsize, kept: &AtomicUsize) -> Vec<(usize, Outcome)> {
        let mut pass = self.pass.clone();
        let mut looked = Vec::new();
        while kept.load(Ordering::Relaxed) <= self.room {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(found) = all.get(at) else { break };
            let outcome = self.look_into_one(found, &mut pass);
            if let Outcome::Seen(observed) = &outcome {
                kept.fetch_add(observed.sockets.len(), Ordering::Relaxed);
            }
            looked.push((at, outcome));
        }
        looked
    }

    fn look_into_one(self, found: &Found, pass: &mut Pass) -> Outcome {
        match open_door(self.proc, found).and_then(|door| door.as_ref().map(enter).transpose()) {
            Ok(Some(())) => Outcome::Seen(Box::new(observe(self.proc, self.protocols, pass, self.room))),
            Ok(None) => Outcome::Gone,
            Err(error) => Outcome::Refused(error),
        }
    }
}

/// Moves this thread to a namespace.
pub(super) fn enter(door: &OwnedFd) -> io::Result<()> {
    Ok(move_into_link_name_space(door.as_fd(), Some(LinkNameSpaceType::Network))?)
}

/// Looks around where this thread is.
pub(super) fn observe(proc: &Path, protocols: &Protocols, pass: &mut Pass, room: usize) -> Observed {
    let cookie = own_cookie();
    let Sockets { found, mut gaps, tables } = pass.collect(&mut collectors(), protocols, room);
    let interfaces = interfaces().map_err(|error| gaps.push(lacks(error.to_string()))).ok();
    let local_ports = local_ports(proc).unwrap_or_else(|error| {
        gaps.push(lacks(format!("ip_local_port_range: {error}; 32768 to 60999 is taken instead")));
        USUAL_PORTS
    });
    Observed { cookie, sockets: found, tables, interfaces, local_ports, gaps }
}

fn lacks(reason: String) -> Gap {
    Gap {
        collector: "namespaces".to_owned(),
        scope: Scope::Addresses,
        protocol: None,
        netns: None,
        reason: RawText::new(reason.into_bytes()),
    }
}

/// The cookie of the namespace that this thread is in; `None` before Linux 5.14.
fn own_cookie() -> Option<u64> {
    let any = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
    sys::netns_cookie(any.as_fd()).ok()
}

/// Under /proc/sys/net each thread reads its own namespace's.
fn local_ports(proc: &Path) -> io::Result<RangeInclusive<u16>> {
    let text = fs::read_to_string(proc.join("sys/net/ipv4/ip_local_port_range"))?;
    let mut ports = text.split_ascii_whitespace().map(str::parse);
    match (ports.next(), ports.next()) {
        (Some(Ok(first)), Some(Ok(last))) => Ok(first..=last),
        _ => Err(io::Error::other(format!("`{}` is no range", text.trim()))),
    }
}
