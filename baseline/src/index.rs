use std::collections::{BTreeSet, HashMap};

use inventory::{NetNsKind, PortChoice, Protocol};

use crate::{Approval, Listen, NetNsPattern, Pattern, PortPattern, ProgramPattern};

/// Finds the approvals that may speak of an endpoint without trying all of them. Places are those in the baseline's
/// list, so that their order is that of the ids.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Index {
    of_port: HashMap<(Protocol, u16), Bucket>,
    of_range: HashMap<Protocol, Vec<(u16, u16, usize)>>,
    of_kernel_program: HashMap<(Protocol, String), Vec<usize>>,
    of_kernel_glob: HashMap<Protocol, Vec<usize>>,
}

/// One port in thousands of namespaces is common where containers are.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Bucket {
    of_host: Vec<usize>,
    of_name: HashMap<String, Vec<usize>>,
    other: Vec<usize>,
}

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
        match listen.port {
            PortPattern::Range(first, last) if first == last => {
                self.of_port.entry((protocol, first)).or_default().add(place, &approval.netns);
            }
            PortPattern::Range(first, last) => {
                self.of_range.entry(protocol).or_default().push((first, last, place));
            }
            PortPattern::Any => self.of_range.entry(protocol).or_default().push((0, u16::MAX, place)),
            PortPattern::Kernel => self.add_kernel(place, approval, protocol),
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

    /// Adds to `found` what may speak of an endpoint; whether it does is for the caller to see.
    pub(crate) fn find(&self, wanted: &Wanted<'_>, found: &mut BTreeSet<usize>) {
        if let Some(bucket) = self.of_port.get(&(wanted.protocol, wanted.port)) {
            bucket.find(wanted, found);
        }
        for (first, last, place) in self.of_range.get(&wanted.protocol).into_iter().flatten() {
            if (*first..=*last).contains(&wanted.port) {
                found.insert(*place);
            }
        }
        if wanted.port_choice.may_be_kernel() {
            for program in wanted.programs {
                let key = (wanted.protocol, (*program).to_owned());
                found.extend(self.of_kernel_program.get(&key).into_iter().flatten());
            }
            found.extend(self.of_kernel_glob.get(&wanted.protocol).into_iter().flatten());
            if wanted.unseen {
                let of_protocol = self.of_kernel_program.iter().filter(|(key, _)| key.0 == wanted.protocol);
                found.extend(of_protocol.flat_map(|(_, places)| places));
            }
        }
    }
}

/// What is asked of an [`Index`].
pub(crate) struct Wanted<'a> {
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
    pub(crate) port_choice: PortChoice,
    pub(crate) netns_kind: NetNsKind,
    pub(crate) netns: &'a str,
    pub(crate) programs: &'a BTreeSet<&'a str>,
    /// Its holders could not be seen: any program may be behind it.
    pub(crate) unseen: bool,
}

impl Bucket {
    fn add(&mut self, place: usize, patterns: &[NetNsPattern]) {
        for pattern in patterns {
            let places = match pattern {
                NetNsPattern::Host => &mut self.of_host,
                NetNsPattern::Name(name) => match Pattern::literal(name) {
                    Some(name) => self.of_name.entry(name.to_owned()).or_default(),
                    None => &mut self.other,
                },
                NetNsPattern::Container | NetNsPattern::Any => &mut self.other,
            };
            places.push(place);
        }
    }

    fn find(&self, wanted: &Wanted<'_>, found: &mut BTreeSet<usize>) {
        match wanted.netns_kind {
            NetNsKind::Host => found.extend(&self.of_host),
            _ => found.extend(self.of_name.get(wanted.netns).into_iter().flatten()),
        }
        found.extend(&self.other);
    }
}
