use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::{
    Changes, Coverage, Discrepancies, Event, EventSource, Gap, Holder, Inventory, Listener, RawText, Shares,
    SocketId,
};

/// One thing that the sensor tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// A pass begins.
    Begin {
        /// The host's name.
        host: RawText,
        /// When the pass looked.
        taken_at: SystemTime,
        /// What follows.
        tells: Tells,
    },
    /// A holder; listeners that follow in this pass name it by its place among the holders told.
    Holder(Holder),
    /// A listener that was not there in the pass before, or any in a whole pass.
    Opened(Listener<u32>),
    /// A listener that was there and differs.
    Changed(Listener<u32>),
    /// A socket that is not there any more, as of this moment.
    Closed(SocketId, SystemTime),
    /// Something that was not seen; each pass tells all of them, events none.
    Gap(Gap),
    /// The pass is whole.
    End {
        /// How much was seen.
        shares: Shares,
        /// How many listeners there are now: what the other end must arrive at.
        listeners: u32,
        /// How long the pass took.
        took: Duration,
        /// Events that were lost since the sensor began: what they would have told only the next look finds.
        lost: u64,
        /// What this look found that events should have told.
        discrepancies: Discrepancies,
        /// How what happens between two looks is learned.
        events: EventSource,
    },
    /// The sensor ended and was started again, so many times since this socket is written to. Its keeper tells so,
    /// between any two frames of a sensor.
    StartedAgain(u32),
}

/// What stands between a begin and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tells {
    /// A look: all listeners.
    Everything,
    /// A look: what differs from what was told before.
    Differences,
    /// What happened since, in its order; a socket may open and close in it. The gaps told before still hold.
    Events,
}

/// What a look or a batch of events ends with, besides its inventory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closing {
    /// How long it took.
    pub took: Duration,
    /// Events that were lost since the sensor began.
    pub lost: u64,
    /// What this look found that events should have told.
    pub discrepancies: Discrepancies,
}

/// A look that tells everything.
pub fn messages_of_inventory(inventory: &Inventory, closing: Closing) -> impl Iterator<Item = Message> {
    let begin = begin(inventory, Tells::Everything);
    let mut told = HashMap::new();
    let listeners =
        inventory.listeners.iter().flat_map(move |listener| tell(&mut told, listener, Message::Opened));
    std::iter::once(begin).chain(listeners).chain(gaps(inventory)).chain(end(inventory, closing))
}

/// A look that tells what differs from what was told before; `inventory` is what it arrives at.
pub fn messages_of_changes(
    changes: &Changes,
    inventory: &Inventory,
    closing: Closing,
) -> impl Iterator<Item = Message> {
    let begin = begin(inventory, Tells::Differences);
    let at = inventory.taken_at;
    let closed = changes.closed.iter().map(move |id| Message::Closed(*id, at));
    let opened = changes.opened.iter().map(|listener| (listener, Message::Opened as fn(_) -> _));
    let changed = changes.changed.iter().map(|listener| (listener, Message::Changed as fn(_) -> _));
    let mut told = HashMap::new();
    let listeners =
        opened.chain(changed).flat_map(move |(listener, as_what)| tell(&mut told, listener, as_what));
    std::iter::once(begin)
        .chain(closed)
        .chain(listeners)
        .chain(gaps(inventory))
        .chain(end(inventory, closing))
}

/// What happened, in its order; `inventory` is what it arrives at.
pub fn messages_of_events(
    events: &[Event],
    inventory: &Inventory,
    closing: Closing,
) -> impl Iterator<Item = Message> {
    let mut told = HashMap::new();
    let messages = events.iter().flat_map(move |event| match event {
        Event::Opened(listener) => tell(&mut told, listener, Message::Opened),
        Event::Changed(listener) => tell(&mut told, listener, Message::Changed),
        Event::Closed(id, at) => vec![Message::Closed(*id, *at)],
    });
    std::iter::once(begin(inventory, Tells::Events)).chain(messages).chain(end(inventory, closing))
}

fn begin(inventory: &Inventory, tells: Tells) -> Message {
    Message::Begin { host: inventory.host.clone(), taken_at: inventory.taken_at, tells }
}

fn gaps(inventory: &Inventory) -> impl Iterator<Item = Message> {
    inventory.coverage.gaps.iter().cloned().map(Message::Gap)
}

fn end(inventory: &Inventory, closing: Closing) -> impl Iterator<Item = Message> {
    let Coverage { shares, events, .. } = &inventory.coverage;
    let (shares, events) = (*shares, *events);
    let Closing { took, lost, discrepancies } = closing;
    let listeners = u32::try_from(inventory.listeners.len()).unwrap_or(u32::MAX);
    std::iter::once(Message::End { shares, listeners, took, lost, discrepancies, events })
}

/// The holders of a listener that were not told yet, then the listener.
fn tell(
    told: &mut HashMap<*const Holder, u32>,
    listener: &Listener,
    as_what: fn(Listener<u32>) -> Message,
) -> Vec<Message> {
    let mut messages = Vec::new();
    let holders = listener.holders.map(|holder| {
        let next = u32::try_from(told.len()).unwrap_or(u32::MAX);
        *told.entry(Arc::as_ptr(holder)).or_insert_with(|| {
            messages.push(Message::Holder(Holder::clone(holder)));
            next
        })
    });
    messages.push(as_what(listener.clone().with_holders(holders)));
    messages
}
