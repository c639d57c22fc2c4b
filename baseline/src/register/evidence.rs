use std::cmp::Reverse;
use std::collections::HashMap;
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

/// The evidence of one inventory: drifts of one process share what is known of it.
pub(super) struct Witnesses<'a> {
    inventory: &'a Inventory,
    orphans: HashMap<*const Holder, Arc<Holder>>,
}

impl<'a> Witnesses<'a> {
    pub(super) fn of(inventory: &'a Inventory) -> Self {
        Witnesses { inventory, orphans: HashMap::new() }
    }

    pub(super) fn evidence(&mut self, places: &[usize]) -> Evidence {
        let inventory = self.inventory;
        let mut listeners: Vec<&Listener> = places.iter().map(|place| &inventory.listeners[*place]).collect();
        listeners.sort_by_key(|listener| Reverse(listener.reach));
        Evidence { listeners: listeners.into_iter().take(EVIDENCE).map(|kept| self.keep(kept)).collect() }
    }

    /// Without the chain of parents: no approval heeds it.
    fn keep(&mut self, listener: &Listener) -> Listener {
        let holders = listener.holders.map(|holder| match holder.parents.is_empty() {
            true => Arc::clone(holder),
            false => self.orphans.entry(Arc::as_ptr(holder)).or_insert_with(|| orphan(holder)).clone(),
        });
        listener.clone().with_holders(holders)
    }
}

fn orphan(holder: &Holder) -> Arc<Holder> {
    Arc::new(Holder { parents: Vec::new(), ..holder.clone() })
}

impl Evidence {
    pub(crate) fn netns_kind(&self) -> NetNsKind {
        self.listeners.first().map_or(NetNsKind::Host, |listener| listener.netns.kind)
    }
}
