use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use inventory::{Holder, Inventory, Listener, NetNsKind};

use super::started_by::StartedBy;
use crate::Accounts;

/// Listeners of one service differ in little that an approval heeds.
const EVIDENCE: usize = 4;

/// What a drift was found on, kept to judge it again when it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Evidence {
    /// The farthest-reaching of its listeners, at most [`EVIDENCE`]; none for `missing`.
    pub(crate) listeners: Vec<Arc<Listener>>,
}

/// The evidence of one inventory: drifts of one process share what is known of it.
pub(super) struct Witnesses<'a> {
    inventory: &'a Inventory,
    accounts: &'a Accounts,
    orphans: HashMap<*const Holder, Arc<Holder>>,
    starters: HashMap<*const Holder, Option<Arc<StartedBy>>>,
}

impl<'a> Witnesses<'a> {
    pub(super) fn of(inventory: &'a Inventory, accounts: &'a Accounts) -> Self {
        Witnesses { inventory, accounts, orphans: HashMap::new(), starters: HashMap::new() }
    }

    pub(super) fn evidence(&mut self, places: &[usize]) -> Evidence {
        let mut listeners: Vec<&Arc<Listener>> = self.listeners(places).collect();
        listeners.sort_by_key(|listener| Reverse(listener.reach));
        Evidence { listeners: listeners.into_iter().take(EVIDENCE).map(|kept| self.keep(kept)).collect() }
    }

    /// Who started the first holder of the farthest-reaching of them.
    pub(super) fn started_by(&mut self, places: &[usize]) -> Option<Arc<StartedBy>> {
        let farthest = self.listeners(places).min_by_key(|listener| Reverse(listener.reach))?;
        let holder = farthest.holders.known().first()?;
        let told = || StartedBy::of(holder, self.accounts).map(Arc::new);
        self.starters.entry(Arc::as_ptr(holder)).or_insert_with(told).clone()
    }

    fn listeners<'p>(&self, places: &'p [usize]) -> impl Iterator<Item = &'a Arc<Listener>> + use<'a, 'p> {
        let inventory = self.inventory;
        places.iter().map(|place| &inventory.listeners[*place])
    }

    /// Without the chain of parents: no approval heeds it.
    fn keep(&mut self, listener: &Arc<Listener>) -> Arc<Listener> {
        if listener.holders.known().iter().all(|holder| holder.parents.is_empty()) {
            return listener.clone();
        }
        let holders = listener.holders.map(|holder| match holder.parents.is_empty() {
            true => Arc::clone(holder),
            false => self.orphans.entry(Arc::as_ptr(holder)).or_insert_with(|| orphan(holder)).clone(),
        });
        Arc::new(Listener::clone(listener).with_holders(holders))
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
