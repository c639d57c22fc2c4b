use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use inventory::{NetNsKind, Protocol};

use crate::view::{Binding, ServiceView, Spot};
use crate::{AddressPattern, Approval, Listen, NetNsPattern, Pattern, PortPattern, ProgramPattern};

/// Finds the approvals that may speak of an endpoint without trying all of them. Places are those in the baseline's
/// list, so that their order is that of the ids.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Index {
    /// By the nodes of a binary tree over all ports: a range stands at the few that make it up, and a port is found at
    /// those above it.
    of_node: HashMap<(Protocol, u32), Bucket>,
    /// The depths at which there is a node, a bit each.
    depths: HashMap<Protocol, u32>,
    of_kernel_program: HashMap<(Protocol, String), Vec<usize>>,
    of_kernel_glob: HashMap<Protocol, Vec<usize>>,
}

/// One port in thousands of namespaces is common where containers are.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Bucket {
    of_host: Places,
    of_name: HashMap<String, Places>,
    other: Places,
}

/// One port on thousands of addresses is common where many sites are.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Places {
    of_address: HashMap<IpAddr, Vec<usize>>,
    others: Vec<usize>,
}

/// Of a tree whose leaves are the ports; the root is node 1, and below each node stand twice its number and one more.
const LEAVES: u32 = 1 << 16;
const DEPTH: u32 = 16;

impl Index {
    pub(crate) fn over(approvals: &[Approval]) -> Self {
        let mut index = Index::default();
        for (place, approval) in approvals.iter().enumerate() {
            for listen in &approval.listen {
                index.add(place, approval, listen);
            }
        }
        index
    }

    fn add(&mut self, place: usize, approval: &Approval, listen: &Listen) {
        let protocol = listen.protocol;
        let (first, last) = match listen.port {
            PortPattern::Range(first, last) => (first, last),
            PortPattern::Any => (0, u16::MAX),
            PortPattern::Kernel => return self.add_kernel(place, approval, protocol),
        };
        for node in nodes(first, last) {
            *self.depths.entry(protocol).or_default() |= 1 << node.ilog2();
            let bucket = self.of_node.entry((protocol, node)).or_default();
            bucket.add(place, &approval.netns, listen.address);
        }
    }

    fn add_kernel(&mut self, place: usize, approval: &Approval, protocol: Protocol) {
        for program in &approval.program {
            let ProgramPattern::Path(pattern) = program else { continue };
            let places = match pattern.literal() {
                Some(path) => self.of_kernel_program.entry((protocol, path.to_owned())).or_default(),
                None => self.of_kernel_glob.entry(protocol).or_default(),
            };
            places.push(place);
        }
    }

    /// Adds to `found` what may speak of this spot of a service; whether it does is for the caller to see.
    pub(crate) fn find(&self, view: &ServiceView<'_>, spot: Spot, bound: Bound, found: &mut BTreeSet<usize>) {
        let protocol = view.service.protocol;
        let depths = self.depths.get(&protocol).copied().unwrap_or_default();
        let leaf = LEAVES + u32::from(spot.port);
        for depth in (0..=DEPTH).filter(|depth| depths & (1 << depth) != 0) {
            if let Some(bucket) = self.of_node.get(&(protocol, leaf >> (DEPTH - depth))) {
                bucket.find(view, bound, found);
            }
        }
        if spot.port_choice.may_be_kernel() {
            self.find_of_kernel(view, found);
        }
    }

    fn find_of_kernel(&self, view: &ServiceView<'_>, found: &mut BTreeSet<usize>) {
        let protocol = view.service.protocol;
        for program in view.programs() {
            let key = (protocol, program.to_owned());
            found.extend(self.of_kernel_program.get(&key).into_iter().flatten());
        }
        found.extend(self.of_kernel_glob.get(&protocol).into_iter().flatten());
        if view.is_unseen() {
            let of_protocol = self.of_kernel_program.iter().filter(|(key, _)| key.0 == protocol);
            found.extend(of_protocol.flat_map(|(_, places)| places));
        }
    }
}

/// Which approvals are of interest, by where they let something be bound.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    /// Those that may take in this binding.
    To(Binding),
    /// All: they are held against it to see in what it differs.
    Anyhow,
}

/// The fewest nodes under which these ports stand, and no others.
fn nodes(first: u16, last: u16) -> Vec<u32> {
    let (mut first, mut end) = (LEAVES + u32::from(first), LEAVES + u32::from(last) + 1);
    let mut nodes = Vec::new();
    while first < end {
        if first % 2 == 1 {
            nodes.push(first);
            first += 1;
        }
        if end % 2 == 1 {
            end -= 1;
            nodes.push(end);
        }
        (first, end) = (first / 2, end / 2);
    }
    nodes
}

impl Bucket {
    fn add(&mut self, place: usize, patterns: &[NetNsPattern], address: AddressPattern) {
        for pattern in patterns {
            let places = match pattern {
                NetNsPattern::Host => &mut self.of_host,
                NetNsPattern::Name(name) => match Pattern::literal(name) {
                    Some(name) => self.of_name.entry(name.to_owned()).or_default(),
                    None => &mut self.other,
                },
                NetNsPattern::Container | NetNsPattern::Any => &mut self.other,
            };
            places.add(place, address);
        }
    }

    fn find(&self, view: &ServiceView<'_>, bound: Bound, found: &mut BTreeSet<usize>) {
        match view.service.netns_kind {
            NetNsKind::Host => self.of_host.find(bound, found),
            _ => {
                if let Some(places) = self.of_name.get(&view.netns) {
                    places.find(bound, found);
                }
            }
        }
        self.other.find(bound, found);
    }
}

impl Places {
    fn add(&mut self, place: usize, address: AddressPattern) {
        match address {
            AddressPattern::One(address) => self.of_address.entry(address).or_default().push(place),
            _ => self.others.push(place),
        }
    }

    fn find(&self, bound: Bound, found: &mut BTreeSet<usize>) {
        found.extend(&self.others);
        match bound {
            Bound::Anyhow => found.extend(self.of_address.values().flatten()),
            Bound::To(Binding::One(address)) => {
                found.extend(self.of_address.get(&address).into_iter().flatten());
            }
            Bound::To(Binding::AllV4 | Binding::AllV6 | Binding::All) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_range_is_its_nodes(one: u16, other: u16, port: u16) {
            let (first, last) = (one.min(other), one.max(other));
            let nodes = nodes(first, last);
            prop_assert!(nodes.len() <= 2 * DEPTH as usize);
            for port in [port, first, last, first.saturating_sub(1), last.saturating_add(1)] {
                let leaf = LEAVES + u32::from(port);
                let above = (0..=DEPTH).filter(|depth| nodes.contains(&(leaf >> depth))).count();
                prop_assert_eq!(above, usize::from((first..=last).contains(&port)), "{}", port);
            }
        }
    }
}
