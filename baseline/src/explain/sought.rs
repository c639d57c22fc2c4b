use std::net::IpAddr;
use std::str::FromStr;

use inventory::{Inventory, Listener, Protocol};

use crate::view::Binding;
use crate::{Approval, Judged, PortPattern, Verdict};

/// What somebody asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sought {
    /// Whatever takes connections or packets there.
    Endpoint {
        /// `None` for all.
        protocol: Option<Protocol>,
        /// `None` for all.
        address: Option<IpAddr>,
        /// In host byte order.
        port: u16,
    },
    /// A service, a drift or an approval, by its id or by how the id of a service begins.
    Id(String),
}

/// Shorter beginnings of an id are no id.
const SHORTEST_ID: usize = 11;

impl FromStr for Sought {
    type Err = String;

    /// Reads `8443`, `tcp/8443`, `udp/127.0.0.1:53`, `[::1]:631`, `*:22`; all else that could be an id is one.
    fn from_str(text: &str) -> Result<Self, String> {
        let (protocol, rest) = match text.split_once('/') {
            Some((word, rest)) => (word.parse().ok(), rest),
            None => (None, text),
        };
        let named_protocol = protocol.is_some();
        let rest = if named_protocol { rest } else { text };
        let (address, port) = rest.rsplit_once(':').unwrap_or(("*", rest));
        let v6 = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        let address = match address {
            "*" => Some(None),
            _ => v6.unwrap_or(address).parse().ok().map(|address: IpAddr| Some(address.to_canonical())),
        };
        if let (Some(address), Ok(port)) = (address, port.parse()) {
            return Ok(Sought::Endpoint { protocol, address, port });
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/@".contains(&byte);
        if named_protocol || text.is_empty() || !text.bytes().all(is_plain) || looks_like_a_port(text) {
            return Err("it is an endpoint such as 8443, tcp/8443, udp/127.0.0.1:53 or [::1]:631, or an id"
                .to_owned());
        }
        Ok(Sought::Id(text.to_owned()))
    }
}

fn looks_like_a_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Sought {
    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Sought::Id(id) => Some(id),
            Sought::Endpoint { .. } => None,
        }
    }

    pub(super) fn is(&self, judged: &Judged, inventory: &Inventory) -> bool {
        match self {
            Sought::Id(id) => {
                let service = judged.service.id.as_str();
                let begins = id.len() >= SHORTEST_ID && id.starts_with("s1-") && service.starts_with(id);
                begins || service == id || is_drift(&judged.verdict, id)
            }
            Sought::Endpoint { protocol, address, port } => {
                let listeners = judged.service.listeners.iter().map(|place| &inventory.listeners[*place]);
                protocol.is_none_or(|protocol| protocol == judged.service.protocol)
                    && listeners.into_iter().any(|listener| {
                        listener.endpoint.port == *port
                            && address.is_none_or(|address| takes(listener, address))
                    })
            }
        }
    }

    pub(super) fn is_spoken_of_by(&self, approval: &Approval) -> bool {
        match self {
            Sought::Id(id) => approval.id == *id,
            Sought::Endpoint { protocol, address, port } => approval.listen.iter().any(|listen| {
                let of_port = match listen.port {
                    PortPattern::Any => true,
                    PortPattern::Range(first, last) => (first..=last).contains(port),
                    PortPattern::Kernel => false,
                };
                of_port
                    && protocol.is_none_or(|protocol| protocol == listen.protocol)
                    && address.is_none_or(|address| listen.address.has(address))
            }),
        }
    }
}

fn is_drift(verdict: &Verdict, id: &str) -> bool {
    matches!(verdict, Verdict::Drift(finding) if finding.id.as_str() == id)
}

/// Whether what is sent to an address reaches it; of all addresses, whether it is bound to all.
fn takes(listener: &Listener, address: IpAddr) -> bool {
    match Binding::of(listener) {
        Binding::One(own) => own == address,
        Binding::AllV4 => address.is_ipv4(),
        Binding::AllV6 => address.is_ipv6(),
        Binding::All => true,
    }
}
