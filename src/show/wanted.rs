use std::net::IpAddr;

use baseline::{AddressWord, Approval, Drift, Judged, PortWord, Verdict};
use inventory::{Inventory, Listener, Protocol, RawText};

/// What somebody asks to be shown: an id of a service, a drift or an approval, or an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    id: String,
    endpoint: Option<Endpoint>,
}

/// `tcp/8443`, `8443`, `udp/127.0.0.1:53`, `[::1]:631`, `tcp/*:443`; what is left out may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    protocol: Option<Protocol>,
    address: Option<AddressWord>,
    device: Option<RawText>,
    port: u16,
}

/// Shorter beginnings of an id are no id.
const SHORTEST_ID: usize = 11;

impl Wanted {
    pub(super) fn new(argument: &str) -> Self {
        Wanted { id: argument.to_owned(), endpoint: Endpoint::parse(argument) }
    }

    pub(super) fn is_endpoint(&self) -> bool {
        self.endpoint.is_some()
    }

    pub(super) fn is_service(&self, judged: &Judged, inventory: &Inventory) -> bool {
        let drift = match &judged.verdict {
            Verdict::Drift(finding) => Some(finding.id.as_str()),
            _ => None,
        };
        // An approval that expired lends its drifts its id, which is its own first of all.
        let drift = drift.filter(|id| id.starts_with("s1-"));
        let mut listeners = judged.service.listeners.iter().map(|place| &inventory.listeners[*place]);
        self.is_id(judged.service.id.as_str())
            || drift.is_some_and(|id| self.is_id(id))
            || self.endpoint.as_ref().is_some_and(|endpoint| listeners.any(|listener| endpoint.is(listener)))
    }

    pub(super) fn is_drift(&self, drift: &Drift) -> bool {
        let subject = &drift.finding.subject;
        let is_subject = |endpoint: &Endpoint| {
            endpoint.protocol.is_none_or(|protocol| protocol == subject.protocol)
                && endpoint.address.is_none_or(|address| address == subject.address)
                && (endpoint.device.is_none() || endpoint.device == subject.device)
                && subject.port == PortWord::Number(endpoint.port)
        };
        self.is_id(drift.id().as_str())
            || self.endpoint.as_ref().is_some_and(|endpoint| {
                is_subject(endpoint) || drift.listeners().iter().any(|listener| endpoint.is(listener))
            })
    }

    pub(super) fn is_approval(&self, approval: &Approval) -> bool {
        approval.id == self.id
    }

    /// It would let something listen there, or on a part of it.
    pub(super) fn is_spoken_of_by(&self, approval: &Approval) -> bool {
        let Some(endpoint) = &self.endpoint else { return false };
        let addresses = match endpoint.address {
            None | Some(AddressWord::Any) => Vec::new(),
            Some(AddressWord::One(address)) => vec![address],
        };
        approval.listen.iter().any(|listen| {
            let protocol = endpoint.protocol.unwrap_or(listen.protocol);
            let names = |address| listen.names(protocol, address, endpoint.port);
            match addresses[..] {
                // The address is the least of what it may differ in.
                [] => protocol == listen.protocol && listen.has_port(endpoint.port),
                _ => addresses.iter().copied().any(names),
            }
        })
    }

    fn is_id(&self, known: &str) -> bool {
        known == self.id || self.id.len() >= SHORTEST_ID && known.starts_with(&self.id)
    }
}

impl Endpoint {
    /// Also as `diff` and `list` print it: `tcp *:8443`.
    fn parse(text: &str) -> Option<Self> {
        let (protocol, bound) = match text.split_once(['/', ' ']) {
            Some((protocol, bound)) => (Some(protocol.parse().ok()?), bound),
            None => (None, text),
        };
        let (bound, port) = match bound.rsplit_once(':') {
            Some((bound, port)) => (Some(bound), port),
            None => (None, bound),
        };
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits)?;
        let (address, device) = match bound {
            None => (None, None),
            Some(bound) => {
                let (address, device) = match bound.split_once('%') {
                    Some((address, device)) => (address, Some(RawText::from_escaped(device)?)),
                    None => (bound, None),
                };
                (Some(address_word(address)?), device)
            }
        };
        Some(Endpoint { protocol, address, device, port })
    }

    fn is(&self, listener: &Listener) -> bool {
        let is_own = |endpoint: &inventory::Endpoint| {
            let address = match self.address {
                None => true,
                Some(AddressWord::Any) => endpoint.is_wildcard(),
                Some(AddressWord::One(address)) => address == endpoint.canonical_address(),
            };
            self.protocol.is_none_or(|protocol| protocol == endpoint.protocol)
                && address
                && (self.device.is_none() || self.device == endpoint.device)
                && self.port == endpoint.port
        };
        is_own(&listener.endpoint) || listener.published.iter().any(is_own)
    }
}

fn address_word(text: &str) -> Option<AddressWord> {
    if text == "*" {
        return Some(AddressWord::Any);
    }
    let address: IpAddr = match text.strip_prefix('[') {
        Some(inner) => IpAddr::V6(inner.strip_suffix(']')?.parse().ok()?),
        None => IpAddr::V4(text.parse().ok()?),
    };
    Some(AddressWord::One(address.to_canonical()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_people_write_them() {
        for (text, protocol, address, port) in [
            ("8443", None, None, 8443),
            ("tcp/8443", Some(Protocol::Tcp), None, 8443),
            ("udp/127.0.0.1:53", Some(Protocol::Udp), Some("127.0.0.1"), 53),
            ("[::1]:631", None, Some("::1"), 631),
            ("[::ffff:10.0.0.1]:80", None, Some("10.0.0.1"), 80),
            ("tcp/*:443", Some(Protocol::Tcp), Some("*"), 443),
            ("tcp *:443", Some(Protocol::Tcp), Some("*"), 443),
        ] {
            let read = Endpoint::parse(text).unwrap_or_else(|| panic!("{text}"));
            let shown = read.address.map(|address| address.to_string());
            assert_eq!((read.protocol, shown.as_deref(), read.port), (protocol, address, port), "{text}");
        }
        let read = Endpoint::parse("tcp/0.0.0.0%eth0:22").unwrap();
        assert_eq!(read.device, Some(RawText::from("eth0")));
        for text in
            ["", "s1-0123456789", "web", "tcp/", "65536", "+22", "::1:53", "[1.2.3.4]:5", "x/22", "tcp/a:1"]
        {
            assert_eq!(Endpoint::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_a_long_beginning_is_an_id() {
        let known = "s1-0123456789abcdef";
        for (asked, is) in [
            ("s1-0123456789abcdef", true),
            ("s1-01234567", true),
            ("s1-0123456", false),
            ("s1-0123456789abcdef0", false),
            ("s1-01234568", false),
        ] {
            assert_eq!(Wanted::new(asked).is_id(known), is, "{asked}");
        }
    }
}
