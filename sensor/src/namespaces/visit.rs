//! Visiting namespaces one after the other, within the limits of a pass.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use inventory::{Gap, NetNs, NetNsId};

use super::find::{Found, bound, find, namespace_of, open_door};
use super::identity::Identities;
use super::observe::{Ahead, Observed, Outcome, enter, observe};
use super::threads::Threads;
use super::{Limits, NamespaceView, Visits, gap};
use crate::collector::Pass;
use crate::privileges::cure;
use crate::protocols::Protocols;

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
        let gone = self.visit_together(others);
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
    pub(super) fn visit_all(&mut self, all: Vec<Found>) -> BTreeSet<u64> {
        self.take_all(all, Vec::new())
    }

    /// The same by two threads that look ahead: what came of it is taken in order, as if one had looked at all.
    fn visit_together(&mut self, all: Vec<Found>) -> BTreeSet<u64> {
        let free = self.limits.namespaces.saturating_sub(self.visits.views.len()).min(all.len());
        let ahead = Ahead { proc: self.proc, protocols: self.protocols, pass: &self.pass, room: self.room() };
        let outcomes = ahead.look_into(&all[..free]);
        self.take_all(all, outcomes)
    }

    /// Visits those of which there is no outcome, or none that fits in the room that is left.
    fn take_all(&mut self, all: Vec<Found>, outcomes: Vec<Option<Outcome>>) -> BTreeSet<u64> {
        let mut gone = BTreeSet::new();
        let outcomes = outcomes.into_iter().chain(std::iter::repeat_with(|| None));
        for (found, outcome) in all.into_iter().zip(outcomes) {
            let inode = found.inode;
            self.visits.known.insert(inode);
            if self.is_full() {
                continue;
            }
            let visited = match outcome {
                Some(Outcome::Gone) => Visited::Gone,
                Some(Outcome::Refused(error)) => {
                    self.refuse(error);
                    Visited::Done
                }
                Some(Outcome::Seen(observed)) if observed.sockets.len() <= self.room() => {
                    self.take(found, *observed);
                    Visited::Done
                }
                Some(Outcome::Seen(_)) | None => self.visit_one(found),
            };
            if visited == Visited::Gone {
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
        match enter(door) {
            Ok(()) => self.look(found),
            Err(error) => self.refuse(error),
        }
    }

    pub(super) fn refuse(&mut self, error: io::Error) {
        self.refused.push(error);
    }

    /// Looks around where this thread is.
    fn look(&mut self, found: Found) {
        let room = self.room();
        let observed = observe(self.proc, self.protocols, &mut self.pass, room);
        self.take(found, observed);
    }

    /// How many sockets more may be kept.
    fn room(&self) -> usize {
        let kept: usize = self.visits.views.iter().map(|view| view.sockets.len()).sum();
        self.limits.sockets.saturating_sub(kept)
    }

    fn take(&mut self, found: Found, observed: Observed) {
        let id = self.identities.identify(observed.cookie, found.inode);
        if !self.ids.insert(id) {
            self.visits.known.remove(&found.inode);
            return;
        }
        let netns = NetNs { id, kind: found.kind, name: found.name };
        let here = |gap| Gap { netns: Some(netns.clone()), ..gap };
        self.gaps.extend(observed.gaps.into_iter().map(here));
        self.visits.views.push(NamespaceView {
            netns,
            inode: found.inode,
            pids: found.pids,
            through: found.through,
            sockets: observed.sockets,
            tables: observed.tables,
            interfaces: observed.interfaces,
            local_ports: observed.local_ports,
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
