//! A look held against what events had told.

use std::collections::{BTreeSet, HashMap, HashSet};

use inventory::{Discrepancies, Event, Inventory, Listener, NetNsId, PortChoice, Protocol};

use super::{Key, Watcher, key_of};
use crate::bpf::{EventKind, EventRecord};
use crate::events::clock::Clock;

/// What a look found.
#[derive(Debug)]
pub(crate) struct Reconciled {
    /// What had been known.
    pub(crate) before: Inventory,
    /// In what the look differs from it although events should have told.
    pub(crate) discrepancies: Discrepancies,
    /// What came and went without an end being told.
    pub(crate) passed: Vec<Event>,
    /// What happened during the look, to be taken next.
    pub(crate) records: Vec<EventRecord>,
}

/// Of which sockets the kernel tells opens and closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Announced {
    /// Those with connections.
    pub(crate) streams: bool,
    /// UDP, where the program bound it.
    pub(crate) datagrams: bool,
    pub(crate) raw: bool,
}

/// What events told, and what did not come to the inventory before a look.
struct Told {
    sockets: HashSet<Key>,
    processes: BTreeSet<u32>,
}

impl Announced {
    fn has(self, listener: &Listener) -> bool {
        match listener.endpoint.protocol {
            Protocol::Tcp | Protocol::Mptcp | Protocol::Sctp | Protocol::Dccp => self.streams,
            Protocol::Udp | Protocol::Udplite => {
                self.datagrams && listener.port_choice == PortChoice::Explicit && listener.peer.is_none()
            }
            Protocol::Raw => self.raw,
        }
    }
}

impl Watcher {
    /// Looks at everything. `during` gives what the kernel told while the look was under way.
    pub(crate) fn reconcile(
        &mut self,
        announced: Announced,
        during: impl FnOnce() -> Vec<EventRecord>,
    ) -> Reconciled {
        let look = self.sensor.pass();
        let records = during();
        let told = Told {
            sockets: records.iter().map(key_of).chain(self.awaited()).collect(),
            processes: records.iter().filter_map(|record| record.pid).chain(self.due.pids()).collect(),
        };
        self.sensor.kernel_pids.extend(holders_since(&records));
        let before = std::mem::replace(&mut self.now, look);
        self.keep_unseen(&before, announced);
        let discrepancies = differences(&before.listeners, &self.now.listeners, announced, &told);
        let clock = Clock::now();
        let mut passed = Vec::new();
        for (key, record) in std::mem::take(&mut self.unfound) {
            if self.known(key).is_none() {
                let since = clock.wall(record.boot_nanos);
                let passing = self.sensor.passing(&record, since, &mut Default::default());
                if let Some(listener) = passing {
                    let id = listener.id;
                    passed.extend([Event::Opened(listener), Event::Closed(id, self.now.taken_at)]);
                }
            }
        }
        Reconciled { before, discrepancies, passed, records }
    }

    /// What listens in a namespace that this look did not see still does, unless an event tells otherwise.
    fn keep_unseen(&mut self, before: &Inventory, announced: Announced) {
        let seen = self.now.coverage.shares.namespaces;
        if seen.seen >= seen.of {
            return;
        }
        let surroundings = &self.sensor.surroundings;
        let is_unseen = |listener: &&Listener| matches!(listener.id.netns, NetNsId::Cookie(cookie) if !surroundings.contains_key(&cookie));
        let unseen = before.listeners.iter().filter(|listener| announced.has(listener)).filter(is_unseen);
        let kept: Vec<Listener> = unseen.cloned().collect();
        if !kept.is_empty() {
            self.now.listeners.extend(kept);
            self.now.listeners.sort_by_key(|listener| listener.id);
        }
    }
}

/// In how much `now` differs from `before` although events should have told; both in any order.
fn differences(before: &[Listener], now: &[Listener], announced: Announced, told: &Told) -> Discrepancies {
    let mut found = Discrepancies::default();
    let is_told = |listener: &Listener| key(listener).is_some_and(|key| told.sockets.contains(&key));
    let expected = |listener: &&Listener| announced.has(listener) && !is_told(listener);
    let known: HashMap<_, _> = before.iter().map(|listener| (listener.id, listener)).collect();
    let there: HashSet<_> = now.iter().map(|listener| listener.id).collect();
    for listener in now.iter().filter(expected) {
        match known.get(&listener.id) {
            None => {
                found.unannounced += 1;
                log("listens, and no event told that it opened", listener);
            }
            Some(known) if differ(known, listener, &told.processes) => {
                found.altered += 1;
                log("has other holders, or another peer, than events told", listener);
            }
            Some(_) => {}
        }
    }
    for listener in before.iter().filter(expected).filter(|listener| !there.contains(&listener.id)) {
        found.lingering += 1;
        log("is gone, and no event told that it closed", listener);
    }
    found
}

/// In what events tell, but for processes of which they did and that are to be looked at yet.
fn differ(one: &Listener, other: &Listener, but: &BTreeSet<u32>) -> bool {
    let holders = |listener: &Listener| -> Vec<_> {
        let ids = listener.holders.known().iter().map(|holder| holder.id);
        ids.filter(|id| !but.contains(&id.pid)).collect()
    };
    holders(one) != holders(other) || one.peer != other.peer || one.port_choice != other.port_choice
}

/// The processes, as the initial pid namespace counts, that came to hold sockets.
fn holders_since(records: &[EventRecord]) -> impl Iterator<Item = u32> {
    let hold = |record: &&EventRecord| matches!(record.kind, EventKind::Opened | EventKind::Forked);
    records.iter().filter(hold).map(|record| record.kernel_pid)
}

fn key(listener: &Listener) -> Option<Key> {
    match listener.id.netns {
        NetNsId::Cookie(netns) => Some((netns, listener.id.cookie)),
        NetNsId::Inode { .. } => None,
    }
}

fn log(what: &str, listener: &Listener) {
    tracing::warn!("{} {what} (socket cookie {})", listener.endpoint, listener.id.cookie);
}

#[cfg(test)]
mod tests;
