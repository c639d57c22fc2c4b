//! A look held against what events had told.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use inventory::{
    Discrepancies, Event, Gap, Holders, Inventory, Listener, NetNsId, PortChoice, Protocol, RawText, Scope,
    Unattributed,
};

use super::{Key, Watcher, key_of};
use crate::bpf::{EventKind, EventRecord};
use crate::events::clock::Clock;
use crate::events::source::Taken;

/// What a look found.
#[derive(Debug)]
pub(crate) struct Reconciled {
    /// What had been known, and what is told before this look.
    pub(crate) before: Inventory,
    /// What that is: who opened what this look found with nobody.
    pub(crate) opened: Vec<Event>,
    /// In what the look differs from it although events should have told.
    pub(crate) discrepancies: Discrepancies,
    /// What came and went without an end being told.
    pub(crate) passed: Vec<Event>,
    /// What happened during the look, to be taken next.
    pub(crate) records: Vec<EventRecord>,
    /// How many events found no room during the look.
    pub(crate) lost: u64,
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
    pub(crate) fn reconcile(&mut self, announced: Announced, during: impl FnOnce() -> Taken) -> Reconciled {
        let look = self.sensor.pass();
        let Taken { mut records, lost, .. } = during();
        records.iter_mut().for_each(|record| self.described.complete(record));
        let told = Told {
            sockets: records.iter().map(key_of).chain(self.awaited()).collect(),
            processes: records.iter().filter_map(|record| record.pid).chain(self.due.pids()).collect(),
        };
        self.sensor.kernel_pids.extend(holders_since(&records));
        let mut before = std::mem::replace(&mut self.now, look);
        self.let_go.clear();
        let opened = self.name_openers(&before, &records);
        self.keep_unseen(&before, announced);
        // After a loss nothing that was told is a reason to doubt what is seen.
        let expected = if lost == 0 { announced } else { Announced::default() };
        let discrepancies = differences(&before.listeners, &self.now.listeners, expected, &told);
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
        before.listeners.extend(opened.iter().filter_map(|event| match event {
            Event::Opened(listener) => Some(listener.clone().into()),
            Event::Changed(_) | Event::Closed(..) => None,
        }));
        before.listeners.sort_by_key(|listener| listener.id);
        Reconciled { before, opened, discrepancies, passed, records, lost }
    }

    /// What is new and was found with nobody was opened by whom an event named: gives the news of that, which comes before
    /// the look. What is closed by now had no other holder.
    fn name_openers(&mut self, before: &Inventory, records: &[EventRecord]) -> Vec<Event> {
        let known: HashSet<_> = before.listeners.iter().map(|listener| listener.id).collect();
        let awaited = self.openings.values().chain(self.sought.values()).chain(self.unfound.values());
        let of_kind = |kind| records.iter().filter(move |record| record.kind == kind);
        let opened: HashMap<Key, EventRecord> = awaited
            .chain(of_kind(EventKind::Opened))
            .map(|record| (key_of(record), record.clone()))
            .collect();
        let closed: HashSet<Key> = of_kind(EventKind::Closed).map(key_of).collect();
        let clock = Clock::now();
        let mut news = Vec::new();
        for listener in self.now.listeners.iter_mut().filter(|listener| !known.contains(&listener.id)) {
            let is_unheld =
                matches!(listener.holders, Holders::Unattributed(why) if why != Unattributed::Kernel);
            let Some(key) = key(listener).filter(|_| is_unheld) else { continue };
            let Some(record) = opened.get(&key) else { continue };
            let (holders, since) = (self.sensor.holder_of(record), clock.wall(record.boot_nanos));
            let Some(told) = self.sensor.listener(&record.socket, None, holders, since) else { continue };
            let listener = Arc::make_mut(listener);
            listener.since = told.since;
            if matches!(listener.port_choice, PortChoice::Unknown { .. }) {
                listener.port_choice = told.port_choice;
            }
            let named = Listener { holders: told.holders, ..listener.clone() };
            if closed.contains(&key) {
                *listener = named;
            } else {
                news.push(Event::Opened(named));
            }
            self.sensor.remember(listener);
        }
        news
    }

    /// What listens in a namespace that this look did not see still does, unless an event tells otherwise: nothing may
    /// lead to one that only a socket keeps which is on its way between two processes.
    fn keep_unseen(&mut self, before: &Inventory, announced: Announced) {
        let surroundings = &self.sensor.surroundings;
        let is_unseen = |listener: &&Arc<Listener>| matches!(listener.id.netns, NetNsId::Cookie(cookie) if !surroundings.contains_key(&cookie));
        let unseen = before.listeners.iter().filter(|listener| announced.has(listener)).filter(is_unseen);
        let kept: Vec<Arc<Listener>> = unseen.cloned().collect();
        if !kept.is_empty() {
            self.now.coverage.gaps.push(unseen_gap(kept.len()));
            let namespaces = &mut self.now.coverage.shares.namespaces;
            namespaces.of = namespaces.of.max(namespaces.seen.saturating_add(1));
            self.now.listeners.extend(kept);
            self.now.listeners.sort_by_key(|listener| listener.id);
        }
    }
}

fn unseen_gap(listeners: usize) -> Gap {
    let reason = format!(
        "{listeners} listeners are told as they were: this look found no way into their network namespaces, and no event \
         told that they closed"
    );
    Gap {
        collector: "events".to_owned(),
        scope: Scope::Namespaces,
        protocol: None,
        netns: None,
        reason: RawText::from(reason.as_str()),
    }
}

/// In how much `now` differs from `before` although events should have told; both in any order.
fn differences(
    before: &[Arc<Listener>],
    now: &[Arc<Listener>],
    announced: Announced,
    told: &Told,
) -> Discrepancies {
    let mut found = Discrepancies::default();
    let is_told = |listener: &Listener| key(listener).is_some_and(|key| told.sockets.contains(&key));
    let expected = |listener: &&Arc<Listener>| announced.has(listener) && !is_told(listener);
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
