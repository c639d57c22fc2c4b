use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::{Changes, Coverage, Gap, Holder, Inventory, Listener, RawText, Shares, SocketId};

/// One thing that the sensor tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// A pass begins.
    Begin {
        /// The host's name.
        host: RawText,
        /// When the pass looked.
        taken_at: SystemTime,
        /// All listeners follow; otherwise only what differs from the pass before.
        whole: bool,
    },
    /// A holder; listeners that follow in this pass name it by its place among the holders told.
    Holder(Holder),
    /// A listener that was not there in the pass before, or any in a whole pass.
    Opened(Listener<u32>),
    /// A listener that was there and differs.
    Changed(Listener<u32>),
    /// A socket that is not there any more.
    Closed(SocketId),
    /// Something that was not seen; each pass tells all of them.
    Gap(Gap),
    /// The pass is whole.
    End {
        /// How much was seen.
        shares: Shares,
        /// How many listeners there are now: what the other end must arrive at.
        listeners: u32,
        /// How long the pass took.
        took: Duration,
    },
}

/// A pass that tells everything.
pub fn messages_of_inventory(inventory: &Inventory, took: Duration) -> impl Iterator<Item = Message> {
    let begin = begin(inventory, true);
    let mut told = HashMap::new();
    let listeners =
        inventory.listeners.iter().flat_map(move |listener| tell(&mut told, listener, Message::Opened));
    std::iter::once(begin).chain(listeners).chain(end(inventory, took))
}

/// A pass that tells what differs from the one before; `inventory` is what it arrives at.
pub fn messages_of_changes(
    changes: &Changes,
    inventory: &Inventory,
    took: Duration,
) -> impl Iterator<Item = Message> {
    let begin = begin(inventory, false);
    let closed = changes.closed.iter().copied().map(Message::Closed);
    let opened = changes.opened.iter().map(|listener| (listener, Message::Opened as fn(_) -> _));
    let changed = changes.changed.iter().map(|listener| (listener, Message::Changed as fn(_) -> _));
    let mut told = HashMap::new();
    let listeners =
        opened.chain(changed).flat_map(move |(listener, as_what)| tell(&mut told, listener, as_what));
    std::iter::once(begin).chain(closed).chain(listeners).chain(end(inventory, took))
}

fn begin(inventory: &Inventory, whole: bool) -> Message {
    Message::Begin { host: inventory.host.clone(), taken_at: inventory.taken_at, whole }
}

fn end(inventory: &Inventory, took: Duration) -> impl Iterator<Item = Message> {
    let Coverage { gaps, shares } = &inventory.coverage;
    let listeners = u32::try_from(inventory.listeners.len()).unwrap_or(u32::MAX);
    let end = Message::End { shares: *shares, listeners, took };
    gaps.iter().cloned().map(Message::Gap).chain(std::iter::once(end))
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
