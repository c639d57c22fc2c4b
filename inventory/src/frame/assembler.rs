use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use postcard::ser_flavors::Size;
use serde::Serialize;

use super::{Closing, Message, Tells};
use crate::{
    Coverage, Event, EventSource, Gap, Happening, Holder, Inventory, Listener, RawText, Shares, SocketId,
};

/// Bounds on what a sensor that lies can make the other end keep.
const MAX_LISTENERS: usize = 262_144;
const MAX_EVENTS: usize = 2 * MAX_LISTENERS;
const MAX_HOLDERS: usize = 262_144;
const MAX_GAPS: usize = 4_096;
/// Of one pass: so many bytes of messages, and words for holders that listeners name. What it is in memory is a few times
/// as much.
const MAX_WEIGHT: usize = 64 << 20;
/// Of all that listens, likewise.
const MAX_KEPT: usize = 2 * MAX_WEIGHT;

/// Messages that do not make a pass. The reader must wait for a whole pass after any of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum BrokenPass {
    #[error("{0} came outside a pass")]
    Outside(&'static str),
    #[error("a listener names holder {0}, which was not told")]
    Holder(u32),
    #[error("a listener has no holder, and no reason why")]
    NoHolder,
    #[error("{0} holds what nobody sees")]
    Unseen(&'static str),
    #[error("the pass holds more than {0} {1}")]
    TooMany(usize, &'static str),
    #[error("changes came before the inventory that they change")]
    NoBase,
    #[error("the sensor counts {told} listeners, {have} arrived")]
    Count { told: u32, have: usize },
}

/// A pass that arrived whole. What listens now is to be had of [`Assembler::inventory`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// What it was told as. Only a look tells gaps; of events those of the look before hold.
    pub tells: Tells,
    /// When it looked, or what it tells ended.
    pub taken_at: SystemTime,
    /// It was the first since this end began to read: nothing is known to have happened.
    pub first: bool,
    /// What it did to the inventory, in its order; of events what opened and closed within it too.
    pub happened: Vec<Happening>,
    /// Something else is seen or not seen than before.
    pub covers_otherwise: bool,
    /// How long the sensor took, what it lost, in what the look differs from what events had told.
    pub closing: Closing,
}

type Listeners = BTreeMap<SocketId, Arc<Listener>>;

/// Puts messages together to passes. What a pass costs follows what it tells, not what listens.
#[derive(Default)]
pub struct Assembler {
    /// Of the last pass that was whole.
    now: Option<Now>,
    /// False after a break: what was there is kept to compare with, changes to it are refused.
    in_step: bool,
    open: Option<Open>,
    /// What was told since a look told everything, in bytes: at least what is kept.
    grown: usize,
    /// The next look is the first of another sensor.
    resumed: bool,
    /// Events since the last look that whoever reads had to leave out.
    left_out: u64,
}

/// What is known at the end of a pass.
struct Now {
    host: RawText,
    taken_at: SystemTime,
    listeners: Listeners,
    coverage: Coverage,
}

/// A pass of which the end has not come.
struct Open {
    host: RawText,
    taken_at: SystemTime,
    tells: Tells,
    holders: Vec<Arc<Holder>>,
    events: Vec<Event>,
    gaps: Vec<Gap>,
    weight: usize,
}

impl Assembler {
    /// Takes the next message. Gives out a pass at its end. A `Begin` in the middle of a pass is a sensor that was
    /// started again: what the dead one had told of its last pass is forgotten.
    pub fn take(&mut self, message: Message) -> Result<Option<Pass>, BrokenPass> {
        let taken = self.step(message);
        if taken.is_err() {
            self.open = None;
            self.in_step = false;
        }
        taken
    }

    /// The sensor ended, and another tells what follows: what happened in between nobody saw, which the first look of the
    /// other one then says. What is open of the one before is forgotten.
    pub fn resume(&mut self) {
        self.open = None;
        self.in_step = false;
        self.resumed = true;
    }

    /// So many events were told and are left out by whoever reads: until the next look the inventory says so.
    pub fn leave_out(&mut self, events: u64) {
        self.left_out = self.left_out.saturating_add(events);
    }

    /// What the last pass that was whole arrived at; `None` until there was one. A copy of everything: ask for it when
    /// it is needed, not for each pass.
    pub fn inventory(&self) -> Option<Inventory> {
        let now = self.now.as_ref()?;
        let mut coverage = now.coverage.clone();
        if self.left_out > 0 {
            coverage.shares.events.seen = 0;
            coverage.gaps.push(Gap::of_haste(self.left_out));
            coverage.gaps.sort();
        }
        Some(Inventory {
            host: now.host.clone(),
            taken_at: now.taken_at,
            listeners: now.listeners.values().cloned().collect(),
            coverage,
        })
    }

    fn step(&mut self, message: Message) -> Result<Option<Pass>, BrokenPass> {
        if let Message::StartedAgain(_) = message {
            return Ok(None);
        }
        if let Message::Begin { host, taken_at, tells } = message {
            if tells != Tells::Everything && !self.in_step {
                return Err(BrokenPass::NoBase);
            }
            self.open = Some(Open::new(host, taken_at, tells));
            return Ok(None);
        }
        if let Message::End { shares, listeners, took, lost, discrepancies, events } = message {
            let open = self.open.take().ok_or(BrokenPass::Outside("an end"))?;
            let closing = Closing { took, lost, discrepancies };
            return self.close(open, shares, events, listeners, closing).map(Some);
        }
        let open = self.open.as_mut().ok_or(BrokenPass::Outside("a part of a pass"))?;
        open.add(message).map(|()| None)
    }

    fn close(
        &mut self,
        open: Open,
        shares: Shares,
        source: EventSource,
        told: u32,
        closing: Closing,
    ) -> Result<Pass, BrokenPass> {
        let first = self.now.is_none();
        self.make_room(&open)?;
        let Open { host, taken_at, tells, events, gaps, .. } = open;
        let before = self.now.as_mut().map(|now| std::mem::take(&mut now.listeners)).unwrap_or_default();
        let arrived = match tells {
            Tells::Everything => replace(before, events, told, taken_at),
            Tells::Differences | Tells::Events => apply(before, events, told),
        };
        let (listeners, happened) = match arrived {
            Ok(arrived) => arrived,
            Err((before, broken)) => {
                if let Some(now) = &mut self.now {
                    now.listeners = before;
                }
                return Err(broken);
            }
        };
        let known = self.now.take().map(|now| now.coverage);
        let gaps = match &known {
            Some(known) if tells == Tells::Events => known.gaps.clone(),
            _ => gaps,
        };
        let mut coverage = Coverage { gaps, shares, events: source };
        if std::mem::take(&mut self.resumed) {
            coverage.shares.events.seen = 0;
            coverage.gaps.push(Gap::of_restart());
            coverage.gaps.sort();
        }
        let mut covers_otherwise = known.as_ref() != Some(&coverage);
        if tells != Tells::Events {
            covers_otherwise |= std::mem::take(&mut self.left_out) > 0;
        }
        self.now = Some(Now { host, taken_at, listeners, coverage });
        self.in_step = true;
        let happened = if first { Vec::new() } else { happened };
        Ok(Pass { tells, taken_at, first, happened, covers_otherwise, closing })
    }
}

impl Assembler {
    fn make_room(&mut self, open: &Open) -> Result<(), BrokenPass> {
        if open.tells == Tells::Everything {
            self.grown = 0;
        }
        if self.grown + open.weight > MAX_KEPT {
            // Most of it may have closed since.
            self.grown = self.now.as_ref().map_or(0, |now| weight_of_all(&now.listeners));
        }
        if self.grown + open.weight > MAX_KEPT {
            return Err(BrokenPass::TooMany(MAX_KEPT, "bytes"));
        }
        self.grown += open.weight;
        Ok(())
    }
}

/// A holder that many listeners share counts once.
fn weight_of_all(listeners: &Listeners) -> usize {
    let mut seen = HashSet::new();
    let mut weight = 0;
    for listener in listeners.values() {
        let crate::Holders::Known(holders) = &listener.holders else {
            weight += weight_of(&**listener);
            continue;
        };
        let alone = Listener::clone(listener).with_holders::<Arc<Holder>>(crate::Holders::Known(Vec::new()));
        weight += weight_of(&alone) + holders.len() * WORD;
        weight += holders
            .iter()
            .filter(|one| seen.insert(Arc::as_ptr(one)))
            .map(|one| weight_of(&**one))
            .sum::<usize>();
    }
    weight
}

const WORD: usize = size_of::<usize>();

/// In bytes of a frame.
fn weight_of(part: &impl Serialize) -> usize {
    // What cannot be encoded never came in a frame.
    postcard::serialize_with_flavor(part, Size::default()).unwrap_or(MAX_WEIGHT)
}

/// What a pass arrives at and how, or all as it was and what is wrong.
type Arrival = Result<(Listeners, Vec<Happening>), (Listeners, BrokenPass)>;

fn count(told: u32, have: usize) -> Result<(), BrokenPass> {
    if have != told as usize {
        Err(BrokenPass::Count { told, have })
    } else if have > MAX_LISTENERS {
        Err(BrokenPass::TooMany(MAX_LISTENERS, "listeners"))
    } else {
        Ok(())
    }
}

fn apply(mut listeners: Listeners, events: Vec<Event>, told: u32) -> Arrival {
    let happened: Vec<Happening> =
        events.into_iter().filter_map(|event| happen(&mut listeners, event)).collect();
    match count(told, listeners.len()) {
        Ok(()) => Ok((listeners, happened)),
        Err(broken) => {
            happened.into_iter().rev().for_each(|happening| undo(&mut listeners, happening));
            Err((listeners, broken))
        }
    }
}

/// What an event makes of what is known: a socket that is known already cannot open, and none closes twice.
fn happen(listeners: &mut Listeners, event: Event) -> Option<Happening> {
    match event {
        Event::Opened(listener) | Event::Changed(listener) => {
            let after = Arc::new(listener);
            match listeners.insert(after.id, after.clone()) {
                None => Some(Happening::Opened(after)),
                Some(before) if before == after => None,
                Some(before) => Some(Happening::Changed { before, after }),
            }
        }
        Event::Closed(id, at) => Some(Happening::Closed { listener: listeners.remove(&id)?, at }),
    }
}

fn undo(listeners: &mut Listeners, happening: Happening) {
    match happening {
        Happening::Opened(listener) => drop(listeners.remove(&listener.id)),
        Happening::Changed { before: listener, .. } | Happening::Closed { listener, .. } => {
            listeners.insert(listener.id, listener);
        }
    }
}

/// A look that tells everything: what differs from before it happened at some time until then.
fn replace(before: Listeners, events: Vec<Event>, told: u32, at: SystemTime) -> Arrival {
    let mut listeners = Listeners::new();
    for event in events {
        happen(&mut listeners, event);
    }
    if let Err(broken) = count(told, listeners.len()) {
        return Err((before, broken));
    }
    let mut happened = Vec::new();
    for (id, listener) in &before {
        if !listeners.contains_key(id) {
            happened.push(Happening::Closed { listener: listener.clone(), at });
        }
    }
    for (id, after) in &mut listeners {
        match before.get(id) {
            None => happened.push(Happening::Opened(after.clone())),
            Some(same) if same == after => *after = same.clone(),
            Some(other) => {
                happened.push(Happening::Changed { before: other.clone(), after: after.clone() });
            }
        }
    }
    Ok((listeners, happened))
}

impl Open {
    fn new(host: RawText, taken_at: SystemTime, tells: Tells) -> Self {
        let (holders, events, gaps) = Default::default();
        Open { host, taken_at, tells, holders, events, gaps, weight: 0 }
    }

    fn add(&mut self, message: Message) -> Result<(), BrokenPass> {
        let named = match &message {
            Message::Opened(listener) | Message::Changed(listener) => match &listener.holders {
                crate::Holders::Known(holders) => holders.len(),
                crate::Holders::Unattributed(_) => 0,
            },
            _ => 0,
        };
        self.weight += weight_of(&message) + named * WORD;
        if self.weight > MAX_WEIGHT {
            return Err(BrokenPass::TooMany(MAX_WEIGHT, "bytes"));
        }
        match message {
            Message::Holder(Holder { workload: crate::Workload::Container(container), .. })
                if !container.id.chars().all(crate::is_seen) =>
            {
                Err(BrokenPass::Unseen("the id of a container"))
            }
            Message::Gap(gap) if !gap.collector.chars().all(crate::is_seen) => {
                Err(BrokenPass::Unseen("the collector of a gap"))
            }
            Message::Holder(holder) => push(&mut self.holders, Arc::new(holder), MAX_HOLDERS, "holders"),
            Message::Opened(listener) => {
                let opened = Event::Opened(self.resolve(listener)?);
                push(&mut self.events, opened, MAX_EVENTS, "listeners")
            }
            Message::Changed(listener) => {
                let changed = Event::Changed(self.resolve(listener)?);
                push(&mut self.events, changed, MAX_EVENTS, "listeners")
            }
            Message::Closed(id, at) => {
                push(&mut self.events, Event::Closed(id, at), MAX_EVENTS, "closed sockets")
            }
            Message::Gap(gap) => push(&mut self.gaps, gap, MAX_GAPS, "gaps"),
            Message::Begin { .. } | Message::End { .. } | Message::StartedAgain(_) => {
                Err(BrokenPass::Outside("what is no part of one"))
            }
        }
    }

    fn resolve(&self, listener: Listener<u32>) -> Result<Listener, BrokenPass> {
        let mut unknown = None;
        let holders = listener.holders.map(|index| {
            let holder = usize::try_from(*index).ok().and_then(|index| self.holders.get(index));
            if holder.is_none() {
                unknown = Some(*index);
            }
            holder.cloned()
        });
        if let Some(index) = unknown {
            return Err(BrokenPass::Holder(index));
        }
        if matches!(&holders, crate::Holders::Known(known) if known.is_empty()) {
            return Err(BrokenPass::NoHolder);
        }
        let holders = match holders {
            crate::Holders::Known(known) => crate::Holders::Known(known.into_iter().flatten().collect()),
            crate::Holders::Unattributed(reason) => crate::Holders::Unattributed(reason),
        };
        Ok(listener.with_holders(holders))
    }
}

fn push<T>(list: &mut Vec<T>, item: T, bound: usize, what: &'static str) -> Result<(), BrokenPass> {
    if list.len() == bound {
        return Err(BrokenPass::TooMany(bound, what));
    }
    list.push(item);
    Ok(())
}
