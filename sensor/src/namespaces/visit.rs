//! Entering a namespace and looking around. All of this runs on the thread of one pass.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use inventory::{Gap, NetNs, NetNsId, RawText, Scope};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::find::{Found, bound, find, namespace_of, open_door};
use super::identity::Identities;
use super::threads::Threads;
use super::{Limits, NamespaceView, Visits, gap};
use crate::collector::{Pass, Sockets, collectors};
use crate::interfaces::interfaces;
use crate::privileges::cure;
use crate::protocols::Protocols;
use crate::sys;

/// What the kernel starts with (ip(7)), taken where the range cannot be read.
pub(super) const USUAL_PORTS: RangeInclusive<u16> = 32768..=60999;

/// One round of visits under way.
pub(super) struct Visitor<'a> {
    pub(super) proc: &'a Path,
    protocols: &'a Protocols,
    limits: Limits,
    identities: &'a mut Identities,
    pub(super) visits: Visits,
    ids: BTreeSet<NetNsId>,
    pass: Pass,
    refused: Vec<io::Error>,
    capped_before: usize,
    /// Of each namespace visited, to be told once where they are alike.
    gaps: Vec<Gap>,
}

/// What came of trying to visit a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Visited {
    Done,
    Gone,
}

impl<'a> Visitor<'a> {
    pub(super) fn new(
        proc: &'a Path,
        protocols: &'a Protocols,
        limits: Limits,
        identities: &'a mut Identities,
        visits: Visits,
    ) -> Self {
        let ids = visits.views.iter().map(|view| view.netns.id).collect();
        Visitor {
            proc,
            protocols,
            limits,
            identities,
            ids,
            pass: Pass::default(),
            refused: Vec::new(),
            capped_before: visits.capped,
            visits,
            gaps: Vec::new(),
        }
    }

    /// Finds them all, by their inodes keeps those that are wanted, and visits the one that this thread is in; gives
    /// back the others.
    pub(super) fn visit_own(&mut self, threads: &mut Threads, wanted: impl Fn(u64) -> bool) -> Vec<Found> {
        let (mut found, gaps) = find(self.proc, threads);
        found.retain(|found| wanted(found.inode));
        self.visits.hidden |= !gaps.is_empty();
        self.visits.gaps.extend(gaps);
        let (own, others): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|found| found.kind == inventory::NetNsKind::Host);
        self.visit_all(own);
        others
    }

    /// Visits those. What was gone when its turn came is looked for once more: its processes may have been followed by
    /// others.
    pub(super) fn visit_others(&mut self, others: Vec<Found>, threads: &mut Threads) {
        let gone = self.visit_all(others);
        if gone.is_empty() {
            return;
        }
        let (mut again, _) = find(self.proc, threads);
        again.retain(|found| gone.contains(&found.inode));
        let changing = self.visit_all(again).len();
        if changing > 0 {
            let reason =
                format!("{changing} network namespaces changed hands while they were looked for, twice");
            self.visits.gaps.push(gap(reason));
        }
    }

    /// Visits the one that a process lives in.
    pub(super) fn visit_that_of(&mut self, pid: u32) {
        if let Ok(inode) = namespace_of(&self.proc.join(pid.to_string())) {
            let mut lived_in = Found { pids: vec![pid], ..Found::anonymous(inode) };
            let names = bound(self.proc).unwrap_or_default();
            names.into_iter().filter(|one| one.inode == inode).for_each(|one| lived_in.add_path(one));
            self.visit_all(vec![lived_in]);
        }
    }

    /// Visits in order, and returns the inodes of those that were gone.
    fn visit_all(&mut self, all: Vec<Found>) -> BTreeSet<u64> {
        let mut gone = BTreeSet::new();
        for found in all {
            let inode = found.inode;
            self.visits.known.insert(inode);
            if self.is_full() {
                continue;
            }
            if self.visit_one(found) == Visited::Gone {
                self.visits.known.remove(&inode);
                gone.insert(inode);
            }
        }
        gone
    }

    /// No more may be visited in this pass; the one at hand is counted.
    pub(super) fn is_full(&mut self) -> bool {
        let full = self.visits.views.len() >= self.limits.namespaces;
        self.visits.capped += usize::from(full);
        full
    }

    fn visit_one(&mut self, found: Found) -> Visited {
        // The thread starts there.
        if found.kind == inventory::NetNsKind::Host {
            self.look(found);
            return Visited::Done;
        }
        match open_door(self.proc, &found) {
            Ok(None) => Visited::Gone,
            Ok(Some(door)) => {
                self.enter(found, &door);
                Visited::Done
            }
            Err(error) => {
                self.refuse(error);
                Visited::Done
            }
        }
    }

    /// Moves this thread to a namespace and looks.
    pub(super) fn enter(&mut self, found: Found, door: &OwnedFd) {
        match move_into_link_name_space(door.as_fd(), Some(LinkNameSpaceType::Network)) {
            Ok(()) => self.look(found),
            Err(errno) => self.refuse(errno.into()),
        }
    }

    pub(super) fn refuse(&mut self, error: io::Error) {
        self.refused.push(error);
    }

    /// Looks around where this thread is.
    fn look(&mut self, found: Found) {
        let id = self.identities.identify(own_cookie(), found.inode);
        if !self.ids.insert(id) {
            self.visits.known.remove(&found.inode);
            return;
        }
        let netns = NetNs { id, kind: found.kind, name: found.name };
        let kept: usize = self.visits.views.iter().map(|view| view.sockets.len()).sum();
        let room = self.limits.sockets.saturating_sub(kept);
        let Sockets { found: sockets, gaps, tables } =
            self.pass.collect(&mut collectors(), &netns, self.protocols, room);
        self.gaps.extend(gaps);
        let interfaces = interfaces().map_err(|error| self.lacks(&netns, error.to_string())).ok();
        let local_ports = local_ports(self.proc).unwrap_or_else(|error| {
            self.lacks(&netns, format!("ip_local_port_range: {error}; 32768 to 60999 is taken instead"));
            USUAL_PORTS
        });
        self.visits.views.push(NamespaceView {
            netns,
            inode: found.inode,
            pids: found.pids,
            through: found.through,
            sockets,
            tables,
            interfaces,
            local_ports,
        });
    }

    fn lacks(&mut self, netns: &NetNs, reason: String) {
        self.gaps.push(Gap {
            collector: "namespaces".to_owned(),
            scope: Scope::Addresses,
            protocol: None,
            netns: Some(netns.clone()),
            reason: RawText::new(reason.into_bytes()),
        });
    }

    /// What the round saw, with its gaps told once each.
    pub(super) fn into_visits(mut self) -> Visits {
        if let Some(first) = self.refused.first() {
            let reason = format!(
                "{} network namespaces could not be entered ({first}): {}",
                self.refused.len(),
                cure()
            );
            self.visits.gaps.push(gap(reason));
        }
        let beyond = |number| capped(number, self.limits.namespaces);
        let before = beyond(self.capped_before);
        self.visits.gaps.retain(|gap| *gap != before);
        if self.visits.capped > 0 {
            self.visits.gaps.push(beyond(self.visits.capped));
        }
        self.visits.gaps.append(&mut self.gaps);
        self.visits.gaps = told_once(self.visits.gaps);
        self.visits
    }
}

/// Beyond the limit: one gap, whose number grows with the rounds of a pass.
fn capped(number: usize, limit: usize) -> Gap {
    gap(format!("{number} network namespaces are beyond the {limit} that one pass looks into"))
}

/// What several namespaces lack alike becomes one gap of all namespaces.
pub(super) fn told_once(gaps: Vec<Gap>) -> Vec<Gap> {
    let mut alike: BTreeMap<Gap, Option<NetNs>> = BTreeMap::new();
    for mut gap in gaps {
        let netns = gap.netns.take();
        let told = alike.entry(gap).or_insert_with(|| netns.clone());
        if *told != netns {
            *told = None;
        }
    }
    alike.into_iter().map(|(gap, netns)| Gap { netns, ..gap }).collect()
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
