use std::collections::{BTreeMap, BTreeSet};

use inventory::{Holders, Inventory, Listener, NetNsKind, PortChoice, Protocol, RawText, Unattributed};
use sha2::{Digest, Sha256};

use crate::baseline::hex;
use crate::{Accounts, AddressWord, PortWord, Service, ServiceId};

/// What makes listeners one service.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    protocol: Protocol,
    address: AddressWord,
    port: PortWord,
    device: Option<RawText>,
    netns_kind: NetNsKind,
    netns: RawText,
    programs: BTreeSet<RawText>,
    users: BTreeSet<String>,
    workloads: BTreeSet<RawText>,
}

/// Puts listeners together: the services in the order of protocol, address, port, and for each listener the place
/// of its service.
pub(crate) fn group(inventory: &Inventory, accounts: &Accounts) -> (Vec<Service>, Vec<usize>) {
    let mut groups: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
    for (place, listener) in inventory.listeners.iter().enumerate() {
        groups.entry(Key::of(listener, accounts)).or_default().push(place);
    }
    let mut service_of = vec![0; inventory.listeners.len()];
    let mut services = Vec::with_capacity(groups.len());
    for (key, members) in groups {
        for place in &members {
            service_of[*place] = services.len();
        }
        services.push(service(key, members, inventory));
    }
    (services, service_of)
}

impl Key {
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
        let mut programs: BTreeSet<RawText> =
            holders.iter().filter_map(|holder| Some(holder.program.as_ref()?.path.clone())).collect();
        if listener.holders == Holders::Unattributed(Unattributed::Kernel) {
            programs.insert(RawText::from("kernel"));
        }
        Key {
            protocol: endpoint.protocol,
            address,
            port,
            device: endpoint.device.clone(),
            netns_kind: listener.netns.kind,
            netns: listener.netns.name.clone(),
            programs,
            users: holders.iter().map(|holder| accounts.word(holder.uid)).collect(),
            workloads: holders.iter().filter_map(|holder| holder.workload.stable_name()).collect(),
        }
    }

    /// Every field with its length before it, so that no two keys are written alike.
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
        ServiceId(format!("s1-{}", hex(&hash.finalize()[..16])))
    }
}

fn service(key: Key, members: Vec<usize>, inventory: &Inventory) -> Service {
    let listeners = || members.iter().map(|place| &inventory.listeners[*place]);
    let reason = |listener: &Listener| match listener.holders {
        Holders::Unattributed(reason) if reason != Unattributed::Kernel => Some(reason),
        _ => None,
    };
    Service {
        id: key.id(),
        reach: listeners().map(|listener| listener.reach).max().unwrap_or(inventory::Reach::Public),
        wildcard: listeners().any(|listener| listener.endpoint.is_wildcard()),
        // Of several reasons the one that excuses least.
        unattributed: listeners().filter_map(reason).max(),
        protocol: key.protocol,
        address: key.address,
        port: key.port,
        device: key.device,
        netns_kind: key.netns_kind,
        netns: key.netns,
        programs: key.programs,
        users: key.users,
        workloads: key.workloads,
        listeners: members,
    }
}
