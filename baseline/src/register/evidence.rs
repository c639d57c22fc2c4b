use std::cmp::Reverse;
use std::sync::Arc;

use inventory::{Holder, Inventory, Listener, NetNsKind};

/// Listeners of one service differ in little that an approval heeds.
const EVIDENCE: usize = 4;

/// What a drift was found on, kept to judge it again when it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Evidence {
    /// The farthest-reaching of its listeners, at most [`EVIDENCE`]; none for `missing`.
    pub(crate) listeners: Vec<Listener>,
}

impl Evidence {
    pub(super) fn of(places: &[usize], inventory: &Inventory) -> Self {
        let mut listeners: Vec<&Listener> = places.iter().map(|place| &inventory.listeners[*place]).collect();
        listeners.sort_by_key(|listener| Reverse(listener.reach));
        Evidence { listeners: listeners.into_iter().take(EVIDENCE).map(Evidence::keep).collect() }
    }

    /// Without the chain of parents: no approval heeds it.
    fn keep(listener: &Listener) -> Listener {
        let holders = listener.holders.map(|holder| match holder.parents.is_empty() {
            true => Arc::clone(holder),
            false => Arc::new(Holder { parents: Vec::new(), ..Holder::clone(holder) }),
        });
        listener.clone().with_holders(holders)
    }

    pub(crate) fn netns_kind(&self) -> NetNsKind {
        self.listeners.first().map_or(NetNsKind::Host, |listener| listener.netns.kind)
    }
}
