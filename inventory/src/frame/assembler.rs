use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Message;
use crate::{Changes, Coverage, Gap, Holder, Inventory, Listener, RawText, Shares, SocketId};

/// Bounds on what a sensor that lies can make the other end keep.
const MAX_LISTENERS: usize = 262_144;
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
    /// How long the sensor took.
    pub took: Duration,
}

/// Puts messages together to passes.
#[derive(Default)]
pub struct Assembler {
    /// What listened at the end of the pass before.
    base: Option<BTreeMap<SocketId, Listener>>,
    /// False after a break: `base` is kept to compare with, changes to it are refused.
    in_step: bool,
    open: Option<Open>,
}

/// A pass of which the end has not come.
struct Open {
    host: RawText,
    taken_at: SystemTime,
    whole: bool,
    holders: Vec<Arc<Holder>>,
    listeners: Vec<Listener>,
    closed: Vec<SocketId>,
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
        if let Message::Begin { host, taken_at, whole } = message {
            if !whole && !self.in_step {
                return Err(BrokenPass::NoBase);
            }
            self.open = Some(Open::new(host, taken_at, whole));
            return Ok(None);
        }
        if let Message::End { shares, listeners, took } = message {
            let open = self.open.take().ok_or(BrokenPass::Outside("an end"))?;
            return self.close(open, shares, listeners, took).map(Some);
        }
        let open = self.open.as_mut().ok_or(BrokenPass::Outside("a part of a pass"))?;
        open.add(message).map(|()| None)
    }

    fn close(&mut self, open: Open, shares: Shares, told: u32, took: Duration) -> Result<Pass, BrokenPass> {
        let first = self.base.is_none();
        let before = self.base.take().unwrap_or_default();
        let mut after = if open.whole { BTreeMap::new() } else { before.clone() };
        for id in &open.closed {
            after.remove(id);
        }
        after.extend(open.listeners.into_iter().map(|listener| (listener.id, listener)));
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
        let coverage = Coverage { gaps: open.gaps, shares };
        let inventory = Inventory { host: open.host, taken_at: open.taken_at, listeners, coverage };
        Ok(Pass { inventory, changes, first, took })
    }
}

impl Open {
    fn new(host: RawText, taken_at: SystemTime, whole: bool) -> Self {
        let (holders, listeners, closed, gaps) = Default::default();
        Open { host, taken_at, whole, holders, listeners, closed, gaps }
    }

    fn add(&mut self, message: Message) -> Result<(), BrokenPass> {
        match message {
            Message::Holder(holder) => push(&mut self.holders, Arc::new(holder), MAX_HOLDERS, "holders"),
            Message::Opened(listener) | Message::Changed(listener) => {
                let listener = self.resolve(listener)?;
                push(&mut self.listeners, listener, MAX_LISTENERS, "listeners")
            }
            Message::Closed(id) => push(&mut self.closed, id, MAX_LISTENERS, "closed sockets"),
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
