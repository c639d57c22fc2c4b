use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use inventory::{
    Holder, Holders, Inventory, Listener, NetNsKind, PortChoice, Protocol, RawText, Unattributed,
};
use sha2::{Digest, Sha256};

use crate::baseline::hex;
use crate::in_parts::in_parts;
use crate::{Accounts, AddressWord, PortWord, Service, ServiceId, ServiceKey};

/// What makes listeners one service: a [`ServiceKey`] whose id is not made yet.
pub(crate) struct Key {
    protocol: Protocol,
    address: AddressWord,
    port: PortWord,
    device: Option<RawText>,
    netns_kind: NetNsKind,
    netns: RawText,
    programs: Arc<[RawText]>,
    users: Arc<[String]>,
    workloads: Arc<[RawText]>,
    connected: bool,
}

/// The order of services.
type Rank<'a> = (
    (Protocol, AddressWord, PortWord, &'a Option<RawText>, NetNsKind, &'a RawText),
    (&'a [RawText], &'a [String], &'a [RawText], bool),
);

impl ServiceKey {
    pub(crate) fn rank(&self) -> Rank<'_> {
        (
            (self.protocol, self.address, self.port, &self.device, self.netns_kind, &self.netns),
            (&self.programs, &self.users, &self.workloads, self.connected),
        )
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// Puts these listeners together, each a place in the inventory, in the order of services.
pub(crate) fn group(
    places: impl IntoIterator<Item = usize>,
    inventory: &Inventory,
    accounts: &Accounts,
) -> BTreeMap<Key, Vec<usize>> {
    let keyed = in_parts(places.into_iter().collect(), |part| {
        part.into_iter().map(|place| (Key::of(&inventory.listeners[place], accounts), place)).collect()
    });
    let mut groups: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
    for (key, place) in keyed {
        groups.entry(key).or_default().push(place);
    }
    groups
}

impl Key {
    pub(crate) fn rank(&self) -> Rank<'_> {
        (
            (self.protocol, self.address, self.port, &self.device, self.netns_kind, &self.netns),
            (&self.programs, &self.users, &self.workloads, self.connected),
        )
    }

    fn of(listener: &Listener, accounts: &Accounts) -> Self {
        let endpoint = &listener.endpoint;
        let address = match endpoint.is_wildcard() {
            true => AddressWord::Any,
            false => AddressWord::One(endpoint.canonical_address()),
        };
        let port = match listener.port_choice {
            PortChoice::Kernel => PortWord::Kernel,
            PortChoice::Explicit | PortChoice::Unknown { .. } => PortWord::Number(endpoint.port),
        };
        let holders = listener.holders.known();
        let program = |holder: &Arc<Holder>| Some(holder.program.as_ref()?.path.clone());
        let is_kernel = listener.holders == Holders::Unattributed(Unattributed::Kernel);
        let kernel = is_kernel.then(|| RawText::from("kernel"));
        Key {
            protocol: endpoint.protocol,
            address,
            port,
            device: endpoint.device.clone(),
            netns_kind: listener.netns.kind,
            netns: listener.netns.name.clone(),
            programs: in_order(holders.iter().filter_map(program).chain(kernel)),
            users: in_order(holders.iter().map(|holder| accounts.word(holder.uid))),
            workloads: in_order(holders.iter().filter_map(|holder| holder.workload.stable_name())),
            connected: listener.peer.is_some(),
        }
    }

    pub(crate) fn named(self) -> Arc<ServiceKey> {
        Arc::new(ServiceKey {
            id: self.id(),
            protocol: self.protocol,
            address: self.address,
            port: self.port,
            device: self.device,
            netns_kind: self.netns_kind,
            netns: self.netns,
            programs: self.programs,
            users: self.users,
            workloads: self.workloads,
            connected: self.connected,
        })
    }

    /// Every field but the last with its length before it, so that no two keys are written alike.
    fn id(&self) -> ServiceId {
        let mut hash = Sha256::new();
        let mut put = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        put(self.protocol.as_str().as_bytes());
        put(self.address.to_string().as_bytes());
        put(self.port.to_string().as_bytes());
        match &self.device {
            None => put(b"0"),
            Some(device) => {
                put(b"1");
                put(device.as_bytes());
            }
        }
        put(self.netns_kind.as_str().as_bytes());
        put(self.netns.as_bytes());
        for set in [&self.programs, &self.workloads] {
            put(&(set.len() as u64).to_be_bytes());
            set.iter().for_each(|name| put(name.as_bytes()));
        }
        put(&(self.users.len() as u64).to_be_bytes());
        self.users.iter().for_each(|user| put(user.as_bytes()));
        ServiceId(format!("s1-{}", hex(&hash.finalize()[..16])).into())
    }
}

/// Each once. Most are of one, for which a tree has eleven places.
fn in_order<T: Ord>(names: impl Iterator<Item = T>) -> Arc<[T]> {
    let mut names: Vec<T> = names.collect();
    names.sort_unstable();
    names.dedup();
    names.into()
}

/// The service that these listeners are.
pub(crate) fn service(key: Arc<ServiceKey>, members: Vec<usize>, inventory: &Inventory) -> Service {
    let listeners = || members.iter().map(|place| &inventory.listeners[*place]);
    let reason = |listener: &Arc<Listener>| match listener.holders {
        Holders::Unattributed(reason) if reason != Unattributed::Kernel => Some(reason),
        _ => None,
    };
    Service {
        reach: listeners().map(|listener| listener.reach).max().unwrap_or(inventory::Reach::Public),
        wildcard: listeners().any(|listener| listener.endpoint.is_wildcard()),
        // Of several reasons the one that excuses least.
        unattributed: listeners().filter_map(reason).max(),
        key,
        listeners: members,
    }
}
