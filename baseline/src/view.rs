use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use inventory::{
    Holder, Holders, Inventory, Listener, NetNsKind, PortChoice, ProgramFile, Protocol, Unattributed,
    Workload,
};

use crate::{AddressPattern, Service, command_line};

/// A holder with its names escaped, once for all approvals that it is held against.
pub(crate) struct HolderView<'a> {
    pub(crate) holder: &'a Holder,
    pub(crate) program: String,
    pub(crate) unit: Option<String>,
    pub(crate) image: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) command_line: String,
}

impl<'a> HolderView<'a> {
    fn of(holder: &'a Holder) -> Self {
        let (unit, container) = match &holder.workload {
            Workload::Unit(unit) => (Some(unit.escaped()), None),
            Workload::Container(container) => (None, Some(container)),
            Workload::Session(_) | Workload::None => (None, None),
        };
        HolderView {
            holder,
            program: holder.program.as_ref().map(|program| program.path.escaped()).unwrap_or_default(),
            unit,
            image: container.and_then(|container| Some(container.image.as_ref()?.escaped())),
            service: container.and_then(|container| Some(container.service.as_ref()?.escaped())),
            command_line: command_line(&holder.arguments),
        }
    }

    pub(crate) fn file(&self) -> Option<ProgramFile> {
        self.holder.program.as_ref().map(|program| program.file)
    }

    /// The file that runs is the host's own at its path, or was until a package upgrade put another there.
    pub(crate) fn runs_host_file(&self) -> bool {
        matches!(self.file(), Some(ProgramFile::Host | ProgramFile::Deleted { replaced: true }))
    }

    /// Systemd itself, which holds what its socket units opened.
    pub(crate) fn is_systemd(&self) -> bool {
        self.holder.id.pid == 1 && self.runs_host_file() && self.program.ends_with("/systemd")
    }
}

/// All holders of an inventory; many listeners share one.
pub(crate) type HolderViews<'a> = HashMap<*const Holder, HolderView<'a>>;

pub(crate) fn view_holders<'a>(listeners: impl IntoIterator<Item = &'a Arc<Listener>>) -> HolderViews<'a> {
    let mut views = HashMap::new();
    for holder in listeners.into_iter().flat_map(|listener| listener.holders.known()) {
        views.entry(Arc::as_ptr(holder)).or_insert_with(|| HolderView::of(holder));
    }
    views
}

/// What a socket is bound to, as the set of addresses that it takes connections for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Binding {
    One(IpAddr),
    AllV4,
    AllV6,
    /// A dual-stack `::`, or a `::` that may be one.
    All,
}

impl Binding {
    pub(crate) fn of(listener: &Listener) -> Self {
        match listener.endpoint.canonical_address() {
            address if !address.is_unspecified() => Binding::One(address),
            IpAddr::V4(_) => Binding::AllV4,
            // A raw v6 socket never takes v4 packets.
            IpAddr::V6(_) if listener.endpoint.protocol == Protocol::Raw => Binding::AllV6,
            IpAddr::V6(_) if listener.ipv6_only == Some(true) => Binding::AllV6,
            IpAddr::V6(_) => Binding::All,
        }
    }

    /// The set of bindings that holds this one alone, of sets that a baseline can name.
    pub(crate) fn exact_pattern(self) -> AddressPattern {
        match self {
            Binding::One(address) => AddressPattern::One(address),
            Binding::AllV4 => AddressPattern::AnyV4,
            Binding::AllV6 => AddressPattern::AnyV6,
            Binding::All => AddressPattern::Any,
        }
    }

    /// Whether all addresses of the binding are in these sets together.
    pub(crate) fn is_within(self, sets: impl Iterator<Item = AddressPattern> + Clone) -> bool {
        let all_v4 = || sets.clone().any(AddressPattern::has_all_v4);
        let all_v6 = || sets.clone().any(AddressPattern::has_all_v6);
        match self {
            Binding::One(address) => sets.clone().any(|set| set.has(address)),
            Binding::AllV4 => all_v4(),
            Binding::AllV6 => all_v6(),
            Binding::All => all_v4() && all_v6(),
        }
    }
}

/// Where one listener of a service is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    pub(crate) binding: Binding,
    pub(crate) port: u16,
    pub(crate) port_choice: PortChoice,
}

/// A service as approvals are held against it.
pub(crate) struct ServiceView<'a> {
    pub(crate) service: &'a Service,
    pub(crate) netns: String,
    pub(crate) device: Option<String>,
    /// Each once, in their order.
    pub(crate) spots: Vec<Spot>,
    /// Each once, ordered by pid.
    pub(crate) holders: Vec<&'a HolderView<'a>>,
    /// Why listeners have no known holder, each reason once.
    pub(crate) unattributed: BTreeSet<Unattributed>,
}

impl<'a> ServiceView<'a> {
    pub(crate) fn of(service: &'a Service, inventory: &'a Inventory, views: &'a HolderViews<'a>) -> Self {
        let mut spots = Vec::with_capacity(service.listeners.len());
        let mut holders: Vec<&HolderView<'_>> = Vec::new();
        let mut seen = HashSet::new();
        let mut unattributed = BTreeSet::new();
        for listener in service.listeners.iter().map(|place| &inventory.listeners[*place]) {
            let endpoint = &listener.endpoint;
            let binding = Binding::of(listener);
            spots.push(Spot { binding, port: endpoint.port, port_choice: listener.port_choice });
            if let Holders::Unattributed(reason) = &listener.holders {
                unattributed.insert(*reason);
            }
            let new = listener.holders.known().iter().map(Arc::as_ptr).filter(|holder| seen.insert(*holder));
            holders.extend(new.filter_map(|holder| views.get(&holder)));
        }
        spots.sort_unstable();
        spots.dedup();
        holders.sort_by_key(|view| view.holder.id);
        ServiceView {
            service,
            netns: service.netns.escaped(),
            device: service.device.as_ref().map(|device| device.escaped()),
            spots,
            holders,
            unattributed,
        }
    }

    pub(crate) fn programs(&self) -> BTreeSet<&str> {
        self.holders.iter().map(|view| view.program.as_str()).collect()
    }

    /// Looking for its holders was refused, or came too late.
    pub(crate) fn is_unseen(&self) -> bool {
        self.unattributed.iter().any(|reason| matches!(reason, Unattributed::Denied | Unattributed::Exited))
    }

    /// A UDP socket whose port the kernel is known to have chosen: it asks, nobody asks it.
    pub(crate) fn is_udp_client(&self) -> bool {
        matches!(self.service.protocol, Protocol::Udp | Protocol::Udplite)
            && self.spots.iter().all(|spot| spot.port_choice == PortChoice::Kernel)
    }

    /// A socket that takes packets of one peer alone; only what it was before it had one is judged.
    pub(crate) fn is_connected(&self) -> bool {
        self.service.connected
    }

    pub(crate) fn is_published(&self, inventory: &Inventory) -> bool {
        self.service.listeners.iter().any(|place| !inventory.listeners[*place].published.is_empty())
    }

    pub(crate) fn is_container(&self) -> bool {
        self.service.netns_kind == NetNsKind::Container
    }
}
