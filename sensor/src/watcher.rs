//! What listens, kept true by events between two looks, and held against each look.

mod batch;
mod described;
mod due;
mod reconcile;
mod refreshed;
#[cfg(test)]
mod tests;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use inventory::{Event, Holder, Holders, Inventory, Listener, NetNsKind, SocketId};

use crate::Sensor;
use crate::bpf::{EventKind, EventRecord, FileRecord};
use crate::events::clock::Clock;
use crate::happening::{Held, Opener};
use crate::joined;
use crate::namespaces::Descriptor;
use crate::published;
use crate::workload::published_by;
use batch::Batch;
use described::Described;
pub(crate) use due::Due;
pub(crate) use reconcile::{Announced, Reconciled};
use refreshed::Refreshed;

/// A socket as the kernel names it between two looks: the cookies of its namespace and its own.
type Key = (u64, u64);

/// After so long a socket that opened and is not found with its process is looked for everywhere.
const UNFOUND: Duration = Duration::from_millis(200);
/// How long until it is looked for with its process again.
const AGAIN: Duration = Duration::from_millis(10);
/// What began later ago is described for good.
const YOUNG: Duration = Duration::from_secs(10);
/// As many processes are asked whether they have what another one left.
const MOST_HEIRS: usize = 256;
/// More openings than these wait for no socket: they are left to a look.
const MOST_OPENINGS: usize = 100_000;

/// What listens now, and what is on its way to be known.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) sensor: Sensor,
    pub(crate) now: Inventory,
    /// What the batch at hand changes in it.
    batch: Batch,
    described: Described,
    /// Opened, and their sockets were not read yet.
    openings: HashMap<Key, EventRecord>,
    /// Opened, and not found with their process so far.
    sought: HashMap<Key, EventRecord>,
    /// When these are looked for again.
    seek_at: Instant,
    /// Opened, not found with their process, and not told to be closed: the next look tells.
    unfound: HashMap<Key, EventRecord>,
    pub(crate) due: Due,
    /// What was seen once to be held by nobody any more since the last look. It may be closed, and that not be taken yet.
    let_go: HashSet<SocketId>,
    /// Why somebody should look at everything soon.
    look_wanted: bool,
}

impl Watcher {
    /// Starts from a look.
    pub(crate) fn new(sensor: Sensor, now: Inventory) -> Self {
        Watcher {
            sensor,
            now,
            batch: Batch::default(),
            described: Described::default(),
            openings: HashMap::new(),
            sought: HashMap::new(),
            seek_at: Instant::now(),
            unfound: HashMap::new(),
            due: Due::default(),
            let_go: HashSet::new(),
            look_wanted: false,
        }
    }

    /// Takes what the kernel told, in its order, and gives what came of it.
    pub(crate) fn take(&mut self, records: Vec<EventRecord>) -> Vec<Event> {
        let clock = Clock::now();
        let now = Instant::now();
        let mut events = Vec::new();
        let mut described = HashMap::new();
        for mut record in records {
            if !self.sensor.concerns_us(&record) {
                continue;
            }
            self.described.complete(&mut record);
            match (record.kind, record.pid) {
                (EventKind::Opened, _) => self.open(record),
                (EventKind::Closed, _) => self.close(&record, &clock, &mut described, &mut events),
                (EventKind::Forked, Some(pid)) => self.due.forked(pid, now),
                (EventKind::Executed, Some(pid)) => self.due.executed(pid, now),
                (EventKind::Exited, Some(pid)) => self.due.exited(pid, now),
                (EventKind::Connected, Some(pid)) => self.due.connected(pid, now),
                (_, None) => {}
            }
        }
        self.settle(&clock, &mut events);
        self.batch.apply(&mut self.now.listeners);
        events
    }

    /// Does what has come due meanwhile.
    pub(crate) fn catch_up(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        self.settle(&Clock::now(), &mut events);
        self.batch.apply(&mut self.now.listeners);
        let pids = self.due.take(Instant::now());
        if !pids.is_empty() {
            self.refresh(&pids, &mut events);
        }
        events
    }

    /// When there is something to catch up with.
    pub(crate) fn next(&self) -> Option<Instant> {
        let again = (!self.sought.is_empty()).then_some(self.seek_at);
        again.into_iter().chain(self.due.next()).min()
    }

    /// Whether something was seen that only a look at everything explains; asked once.
    pub(crate) fn wants_look(&mut self) -> bool {
        let crowded = self.due.was_crowded();
        std::mem::take(&mut self.look_wanted) || crowded
    }

    /// What opened and is not known yet.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = Key> {
        self.openings.keys().chain(self.sought.keys()).chain(self.unfound.keys()).copied()
    }

    fn open(&mut self, record: EventRecord) {
        let key = key_of(&record);
        if let Some(known) = self.sought.get_mut(&key) {
            known.socket = record.socket;
            return;
        }
        let crowded = self.openings.len() + self.sought.len() >= MOST_OPENINGS;
        match self.openings.entry(key) {
            // The parent of MPTCP subflows is told twice; at first it had no port yet.
            Entry::Occupied(mut known) => known.get_mut().socket = record.socket,
            Entry::Vacant(_) if crowded => self.look_wanted = true,
            Entry::Vacant(new) => drop(new.insert(record)),
        }
    }

    fn close(
        &mut self,
        record: &EventRecord,
        clock: &Clock,
        described: &mut HashMap<Opener, Holders>,
        events: &mut Vec<Event>,
    ) {
        let key = key_of(record);
        let at = clock.wall(record.boot_nanos);
        let opening = self.openings.remove(&key).or_else(|| self.sought.remove(&key));
        let opening = opening.or_else(|| self.unfound.remove(&key));
        if let Some(id) = self.known(key).map(|listener| listener.id) {
            self.batch.remove(id);
            events.push(Event::Closed(id, at));
        } else if let Some(mut opening) = opening {
            if opening.socket.port == 0 {
                opening.socket.port = record.socket.port;
            }
            let since = clock.wall(opening.boot_nanos);
            let Some(listener) = self.sensor.passing(&opening, since, described) else { return };
            let id = listener.id;
            events.extend([Event::Opened(listener), Event::Closed(id, at)]);
        }
    }

    /// Reads the sockets that opened, with the processes that opened them.
    fn settle(&mut self, clock: &Clock, events: &mut Vec<Event>) {
        let mut read: BTreeMap<u32, Option<Held>> = BTreeMap::new();
        let mut openings: Vec<EventRecord> = std::mem::take(&mut self.openings).into_values().collect();
        if Instant::now() >= self.seek_at {
            openings.extend(std::mem::take(&mut self.sought).into_values());
            self.seek_at = Instant::now() + AGAIN;
        }
        openings.sort_by_key(|record| record.boot_nanos);
        for record in openings {
            let held = record.pid.and_then(|pid| {
                let read = read.entry(pid).or_insert_with(|| self.sensor.held_by(pid, false));
                read.as_ref()
            });
            let found = held.and_then(|held| Some((file_of(held, &record)?, held)));
            match found {
                Some((file, held)) => {
                    let since = clock.wall(record.boot_nanos);
                    let (file, holder, shared) = (file.clone(), held.holder.clone(), is_shared(file, held));
                    self.look_wanted |= shared;
                    self.opened(&record, &file, holder, since, events);
                }
                None => self.not_found(record, clock),
            }
        }
    }

    fn not_found(&mut self, record: EventRecord, clock: &Clock) {
        let key = key_of(&record);
        if clock.age(record.boot_nanos) < UNFOUND {
            self.sought.insert(key, record);
        } else if self.known(key).is_none() {
            self.look_wanted = true;
            if self.unfound.len() < MOST_OPENINGS {
                self.unfound.insert(key, record);
            }
        }
    }

    fn opened(
        &mut self,
        record: &EventRecord,
        file: &FileRecord,
        holder: Option<Arc<Holder>>,
        since: SystemTime,
        events: &mut Vec<Event>,
    ) {
        let socket = joined::as_opened(&file.socket, &record.socket);
        // It may have ended since its descriptors were read: then the event tells of it.
        let holders = match holder {
            Some(holder) => Holders::Known(vec![self.sensor.as_it_was(holder, record)]),
            None => self.sensor.holder_of(record),
        };
        let descriptor = Descriptor { pid: file.pid, tid: file.tid, fd: file.fd };
        let known = self.known(key_of(record)).cloned();
        let since = known.as_ref().map_or(Some(since), |known| known.since).unwrap_or(since);
        let Some(mut listener) = self.sensor.listener(&socket, Some(descriptor), holders, since) else {
            return;
        };
        match known {
            Some(known) => {
                listener.since = known.since;
                listener.holders = known.holders.clone();
                listener.published = known.published.clone();
                if listener != known {
                    self.put(listener.clone());
                    events.push(Event::Changed(listener));
                }
            }
            None => {
                self.look_again_where_young(&listener);
                self.publish(&mut listener);
                self.put(listener.clone());
                events.push(Event::Opened(listener));
            }
        }
    }

    fn look_again_where_young(&mut self, listener: &Listener) {
        let now = SystemTime::now();
        for holder in listener.holders.known() {
            if now.duration_since(holder.started_at).is_ok_and(|age| age < YOUNG) {
                self.due.opened(holder.id.pid, Instant::now());
            }
        }
    }

    /// Ties it to what a proxy on the host forwards. A new proxy may forward to any that is there.
    fn publish(&mut self, listener: &mut Listener) {
        self.look_wanted |= listener.holders.known().iter().any(|holder| published_by(holder).is_some());
        if listener.netns.kind != NetNsKind::Host {
            let views = self.sensor.surroundings.values().map(|around| &around.view);
            let others = self.now.listeners.iter().map(|other| &**other);
            published::tie_one(listener, others, views);
        }
    }

    /// Looks again at what some processes hold, after they forked, executed another program or ended.
    fn refresh(&mut self, pids: &BTreeSet<u32>, events: &mut Vec<Event>) {
        let mut seen = Refreshed::default();
        pids.iter().for_each(|pid| self.read(*pid, &mut seen));
        if self.now.listeners.iter().any(|listener| seen.leaves_unheld(listener)) {
            // Who ended may have left it to a child that is to be looked at later.
            let others = self.due.pids().filter(|pid| !seen.looked_at.contains(pid));
            let others: BTreeSet<u32> = others.take(MOST_HEIRS).collect();
            others.iter().for_each(|pid| self.read(*pid, &mut seen));
        }
        for listener in &mut self.now.listeners {
            if seen.leaves_unheld(listener) && self.let_go.insert(listener.id) {
                let now = Instant::now();
                listener.holders.known().iter().for_each(|holder| self.due.let_go(holder.id.pid, now));
                continue;
            }
            let (holders, peer) = (seen.holders_of(listener), seen.peer_of(listener));
            if holders != listener.holders || peer != listener.peer {
                self.look_wanted |= matches!(holders, Holders::Unattributed(_));
                let changed = Listener { holders, peer, ..Listener::clone(listener) };
                self.sensor.remember(&changed);
                events.push(Event::Changed(changed.clone()));
                *listener = changed.into();
            }
        }
    }

    fn read(&mut self, pid: u32, seen: &mut Refreshed) {
        match self.sensor.held_by(pid, true) {
            Some(held) => seen.add(pid, held),
            None => self.look_wanted = true,
        }
    }

    fn put(&mut self, listener: Listener) {
        self.sensor.remember(&listener);
        self.batch.put(listener);
    }

    fn known(&self, key: Key) -> Option<&Listener> {
        self.batch.get(&self.now.listeners, key)
    }
}

fn key_of(record: &EventRecord) -> Key {
    (record.socket.netns_cookie, record.socket.cookie)
}

fn file_of<'a>(held: &'a Held, record: &EventRecord) -> Option<&'a FileRecord> {
    let same = |file: &&FileRecord| {
        (file.socket.netns_cookie, file.socket.cookie) == key_of(record)
            || record.socket.inode != 0 && file.socket.inode == record.socket.inode
    };
    held.files.iter().find(same)
}

/// Others may have it open too: the file is referred to more often than this process has it.
fn is_shared(file: &FileRecord, held: &Held) -> bool {
    let own = held.files.iter().filter(|other| other.socket.inode == file.socket.inode).count();
    file.references > u64::try_from(own).unwrap_or(u64::MAX)
}
