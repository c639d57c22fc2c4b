mod entries;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use baseline::{Accounts, Host, HostInventory};
use inventory::{Coverage, EventSource, Holder, Inventory, Listener, Scope, Share, Shares};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use self::entries::{GapEntry, ListenerEntry, Moment, Unescaped};
use super::SCHEMA;

/// Bytes that are no inventory as `list --format json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum NoInventory {
    #[error("it is larger than {MAX_INVENTORY} bytes")]
    TooLarge,
    #[error("it holds more than {MAX_VALUES} values")]
    TooMany,
    /// With line and column.
    #[error("it is no inventory as `portledger list --format json` prints it: {0}")]
    Content(String),
    #[error("it is of schema {0}, and this release reads {SCHEMA}: take the release that printed it")]
    Schema(u32),
    #[error("it tells no name of its host: give it one, by `host` in its portledger.toml")]
    Nameless,
    #[error("it was printed with --filter, and what is not in it would be taken for gone: print it without")]
    Filtered,
}

/// The largest document that is read, in bytes.
pub const MAX_INVENTORY: usize = 256 << 20;
/// The smallest values take some thirty times their length in memory, so that bytes alone are no bound.
const MAX_VALUES: usize = 16_000_000;
const MAX_LISTENERS: usize = 1_000_000;
/// Processes, each counted once however many sockets it holds.
const MAX_HOLDERS: usize = 1_000_000;

/// Reads what [`super::listeners_document`] wrote, also that of earlier releases, which told less: without `groups` the
/// host is in none, without `name` it has its kernel's, a port of which nobody knows who chose it is taken for one out of
/// the kernel's range where it lies in the default one (ip(7)), and a program that was deleted for one that nothing
/// replaced. Verdicts, drift and fields that nobody knows are passed over.
pub fn read_listeners(bytes: &[u8]) -> Result<HostInventory, NoInventory> {
    if bytes.len() > MAX_INVENTORY {
        return Err(NoInventory::TooLarge);
    }
    if bytes.iter().filter(|byte| **byte == b',').count() > MAX_VALUES {
        return Err(NoInventory::TooMany);
    }
    let document: Document =
        serde_json::from_slice(bytes).map_err(|error| NoInventory::Content(escaped(&error.to_string())))?;
    match (document.schema, document.filtered) {
        (SCHEMA, false) => {
            let whole = document.inventory();
            if whole.host.name.is_empty() { Err(NoInventory::Nameless) } else { Ok(whole) }
        }
        (SCHEMA, true) => Err(NoInventory::Filtered),
        (other, _) => Err(NoInventory::Schema(other)),
    }
}

/// What is wrong may quote the document.
fn escaped(text: &str) -> String {
    inventory::RawText::from(text).escaped()
}

#[derive(Deserialize)]
struct Document {
    schema: u32,
    host: Unescaped,
    name: Option<Unescaped>,
    #[serde(default)]
    groups: BTreeSet<String>,
    taken_at: Moment,
    #[serde(default)]
    filtered: bool,
    listeners: Listeners,
    #[serde(default)]
    members: BTreeMap<String, BTreeSet<u32>>,
    gaps: Vec<GapEntry>,
    #[serde(default)]
    shares: BTreeMap<String, Share>,
    events: Option<EventsEntry>,
}

#[derive(Deserialize)]
struct EventsEntry {
    source: String,
}

impl Document {
    fn inventory(self) -> HostInventory {
        let Listeners { mut listeners, users, .. } = self.listeners;
        listeners.sort_by_key(|listener| listener.id);
        let listeners = listeners.into_iter().map(Arc::new).collect();
        let members = self.members.into_iter();
        let accounts =
            members.fold(Accounts::default(), |accounts, (name, uids)| accounts.with_group(&name, uids));
        let accounts = users.iter().fold(accounts, |accounts, (name, uid)| accounts.with_user(name, *uid));
        let share = |scope: Scope| {
            let told = self.shares.get(scope.as_str()).copied();
            told.unwrap_or(Share { seen: 0, of: 0 })
        };
        let source = self.events.map(|events| events.source);
        let events = EventSource::ALL.into_iter().find(|known| source.as_deref() == Some(known.as_str()));
        let coverage = Coverage {
            gaps: self.gaps.into_iter().map(GapEntry::gap).collect(),
            shares: Shares {
                sockets: share(Scope::Sockets),
                holders: share(Scope::Holders),
                namespaces: share(Scope::Namespaces),
                addresses: share(Scope::Addresses),
                events: share(Scope::Events),
            },
            events: events.unwrap_or_default(),
        };
        let host = self.host.0;
        let name = self.name.map_or_else(|| host.clone(), |name| name.0);
        HostInventory {
            host: Host { name, groups: self.groups },
            inventory: Inventory { host, taken_at: self.taken_at.0, listeners, coverage },
            accounts,
        }
    }
}

/// The listeners as they are in an inventory, made one by one: as text they take several times the room.
#[derive(Default)]
struct Listeners {
    listeners: Vec<Listener>,
    /// Each process once, as a look shares it among its sockets.
    holders: HashSet<Arc<Holder>>,
    users: BTreeMap<String, u32>,
}

impl<'de> Deserialize<'de> for Listeners {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListenersVisitor)
    }
}

struct ListenersVisitor;

impl<'de> Visitor<'de> for ListenersVisitor {
    type Value = Listeners;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of listeners")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Listeners, A::Error> {
        let mut all = Listeners::default();
        while let Some(entry) = entries.next_element::<ListenerEntry>()? {
            all.add(entry).map_err(A::Error::custom)?;
        }
        Ok(all)
    }
}

impl Listeners {
    fn add(&mut self, entry: ListenerEntry) -> Result<(), String> {
        let listener = entry.listener(|holder, user| {
            if let Some(user) = user {
                self.users.insert(user, holder.uid);
            }
            if let Some(known) = self.holders.get(&holder) {
                return known.clone();
            }
            let holder = Arc::new(holder);
            self.holders.insert(holder.clone());
            holder
        })?;
        self.listeners.push(listener);
        if self.listeners.len() > MAX_LISTENERS {
            return Err(format!("there are more than {MAX_LISTENERS} listeners"));
        }
        if self.holders.len() > MAX_HOLDERS {
            return Err(format!("there are more than {MAX_HOLDERS} holders"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
