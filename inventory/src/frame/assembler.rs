use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::{Closing, Message, Tells};
use crate::{
    Changes, Coverage, Event, EventSource, Gap, Holder, Inventory, Listener, RawText, Shares, SocketId,
};

/// Bounds on what a sensor that lies can make the other end keep.
const MAX_LISTENERS: usize = 262_144;
const MAX_EVENTS: usize = 2 * MAX_LISTENERS;
const MAX_HOLDERS: usize = 262_144;
const MAX_GAPS: usize = 4_096;

/// Messages that do not make a pass. The reader must wait for a whole pass after any of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum BrokenPass {
    #[error("{0} came outside a pass")]
    Outside(&'static str),
    #[error("a listener names holder {0}, which was not told")]
    Holder(u32),
    #[error("the pass holds more than {0} {1}")]
    TooMany(usize, &'static str),
    #[error("changes came before the inventory that they change")]
    NoBase,
    #[error("the sensor counts {told} listeners, {have} arrived")]
    Count { told: u32, have: usize },
}

/// A pass that arrived whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// What listens now.
    pub inventory: Inventory,
    /// What differs from the pass before; all of it after the first.
    pub changes: Changes,
    /// It was the first since this end began to read.
    pub first: bool,
    /// What it was told as. Only a look tells gaps; of events those of the look before hold.
    pub tells: Tells,
    /// Of a batch of events: what happened, in its order, what opened and closed within it too.
    pub events: Vec<Event>,
    /// How long the sensor took, what it lost, in what the look differs from what events had told.
    pub closing: Closing,
}

/// Puts messages together to passes.
#[derive(Default)]
pub struct Assembler {
    /// What listened at the end of the pass before.
    base: Option<BTreeMap<SocketId, Listener>>,
    /// False after a break: `base` is kept to compare with, changes to it are refused.
    in_step: bool,
    open: Option<Open>,
    /// Of the look before.
    gaps: Vec<Gap>,
}

/// A pass of which the end has not come.
struct Open {
    host: RawText,
    taken_at: SystemTime,
    tells: Tells,
    holders: Vec<Arc<Holder>>,
    events: Vec<Event>,
    gaps: Vec<Gap>,
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

    fn step(&mut self, message: Message) -> Result<Option<Pass>, BrokenPass> {
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
        let first = self.base.is_none();
        let before = self.base.take().unwrap_or_default();
        let mut after = if open.tells == Tells::Everything { BTreeMap::new() } else { before.clone() };
        for event in &open.events {
            match event {
                Event::Opened(listener) | Event::Changed(listener) => {
                    after.insert(listener.id, listener.clone());
                }
                Event::Closed(id, _) => drop(after.remove(id)),
            }
        }
        let have = after.len();
        let broken = if have != told as usize {
            Some(BrokenPass::Count { told, have })
        } else {
            (have > MAX_LISTENERS).then_some(BrokenPass::TooMany(MAX_LISTENERS, "listeners"))
        };
        if let Some(broken) = broken {
            self.base = (!first).then_some(before);
            return Err(broken);
        }
        let changes = Changes::between(before.values(), after.values());
        let listeners = after.values().cloned().collect();
        self.base = Some(after);
        self.in_step = true;
        let events = if open.tells == Tells::Events {
            open.events
        } else {
            self.gaps = open.gaps;
            Vec::new()
        };
        let coverage = Coverage { gaps: self.gaps.clone(), shares, events: source };
        let inventory = Inventory { host: open.host, taken_at: open.taken_at, listeners, coverage };
        Ok(Pass { inventory, changes, first, tells: open.tells, events, closing })
    }
}

impl Open {
    fn new(host: RawText, taken_at: SystemTime, tells: Tells) -> Self {
        let (holders, events, gaps) = Default::default();
        Open { host, taken_at, tells, holders, events, gaps }
    }

    fn add(&mut self, message: Message) -> Result<(), BrokenPass> {
        match message {
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
            Message::Begin { .. } | Message::End { .. } => Err(BrokenPass::Outside("a begin or an end")),
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
