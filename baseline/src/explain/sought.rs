use std::net::IpAddr;
use std::str::FromStr;

use inventory::{Inventory, Listener, Protocol, RawText};

use crate::view::Binding;
use crate::{AddressWord, Approval, Drift, Judged, PortWord, Subject, Verdict};

/// What somebody asks about: a service, a drift or an approval by its id, or whatever listens at an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sought {
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

/// Whether an id, or a beginning that is long enough to be one, means this one.
pub fn is_meant(known: &str, id: &str) -> bool {
    known == id || id.len() >= SHORTEST_ID && known.starts_with(id)
}

impl FromStr for Sought {
    type Err = &'static str;

    /// Reads `8443`, `tcp/8443`, `udp/127.0.0.1:53`, `[::1]:631`, `*:22`, also as `diff` prints it, `tcp *:8443`; all else
    /// that could be an id is one.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let endpoint = Endpoint::parse(text);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/@".contains(&byte);
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let names_protocol = text.split_once('/').is_some_and(|(word, _)| word.parse::<Protocol>().is_ok());
        let is_no_id = text.is_empty() || is_number || names_protocol || !text.bytes().all(is_plain);
        if endpoint.is_none() && is_no_id {
            return Err("it is an endpoint such as 8443, tcp/8443, udp/127.0.0.1:53 or [::1]:631, or an id");
        }
        Ok(Sought { id: text.to_owned(), endpoint })
    }
}

impl Sought {
    /// It names where something listens; it can be the id of an approval all the same.
    pub fn is_endpoint(&self) -> bool {
        self.endpoint.is_some()
    }

    /// A service that has this id, that drifts by it, or that takes what is sent there.
    pub fn is_service(&self, judged: &Judged, inventory: &Inventory) -> bool {
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

    /// A drift of this id, or that was found there.
    pub fn is_drift(&self, drift: &Drift) -> bool {
        let subject = &drift.finding.subject;
        let Subject { protocol, address, port, device, .. } = subject;
        self.is_id(drift.id().as_str())
            || self.is_bound(*protocol, *address, *port, device.as_ref())
            || self
                .endpoint
                .as_ref()
                .is_some_and(|endpoint| drift.listeners().iter().any(|listener| endpoint.is(listener)))
    }

    /// What has this id, or the one that begins so.
    pub fn is_named(&self, id: &str) -> bool {
        self.is_id(id)
    }

    /// What was bound there.
    pub fn is_bound(
        &self,
        protocol: Protocol,
        address: AddressWord,
        port: PortWord,
        device: Option<&RawText>,
    ) -> bool {
        self.endpoint.as_ref().is_some_and(|endpoint| {
            endpoint.protocol.is_none_or(|wanted| wanted == protocol)
                && endpoint.address.is_none_or(|wanted| wanted == address)
                && (endpoint.device.is_none() || endpoint.device.as_ref() == device)
                && port == PortWord::Number(endpoint.port)
        })
    }

    /// An approval of this id.
    pub fn is_approval(&self, approval: &Approval) -> bool {
        approval.id == self.id
    }

    /// It would let something listen there, or on a part of it.
    pub fn is_spoken_of_by(&self, approval: &Approval) -> bool {
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
        is_meant(known, &self.id)
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
        let is_own = |endpoint: &inventory::Endpoint, takes: &dyn Fn(IpAddr) -> bool| {
            let address = match self.address {
                None => true,
                Some(AddressWord::Any) => endpoint.is_wildcard(),
                Some(AddressWord::One(address)) => takes(address),
            };
            self.protocol.is_none_or(|protocol| protocol == endpoint.protocol)
                && address
                && (self.device.is_none() || self.device == endpoint.device)
                && self.port == endpoint.port
        };
        let published = |endpoint: &inventory::Endpoint| {
            is_own(endpoint, &|address| endpoint.is_wildcard() || address == endpoint.canonical_address())
        };
        is_own(&listener.endpoint, &|address| takes(listener, address))
            || listener.published.iter().any(published)
    }
}

/// Whether what is sent to an address reaches it.
fn takes(listener: &Listener, address: IpAddr) -> bool {
    match Binding::of(listener) {
        Binding::One(own) => own == address,
        Binding::AllV4 => address.is_ipv4(),
        Binding::AllV6 => address.is_ipv6(),
        Binding::All => true,
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
            assert_eq!(is_meant(known, asked), is, "{asked}");
        }
    }

    #[test]
    fn what_can_be_no_id_and_no_endpoint_is_refused() {
        for text in ["8443", "tcp *:8443", "s1-0123456789abcdef", "web/tls"] {
            assert!(text.parse::<Sought>().is_ok(), "{text}");
        }
        for text in ["", "70000", "a b", "tcp/web", "tcp/1.2.3.4:99999", "\u{1b}"] {
            assert!(text.parse::<Sought>().is_err(), "{text}");
        }
    }
}
