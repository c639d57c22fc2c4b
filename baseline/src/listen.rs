use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use inventory::{Endpoint, PortChoice, Protocol};
use ipnet::IpNet;

use crate::Pattern;

/// A set of endpoints: `tcp/*:22`, `udp/[fe80::/10]%eth0:5353`, `tcp/loopback:8000-8999`, `tcp/*:kernel`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Listen {
    /// The protocol.
    pub protocol: Protocol,
    /// The bound addresses.
    pub address: AddressPattern,
    /// The bound device; `None` for any and for none.
    pub device: Option<Pattern>,
    /// The ports.
    pub port: PortPattern,
}

/// A set of bindings to addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AddressPattern {
    /// `*`: every binding, a dual-stack `::` among them.
    Any,
    /// `0.0.0.0`: every binding to v4.
    AnyV4,
    /// `[::]`: every binding of a socket that takes v6 alone.
    AnyV6,
    /// One address.
    One(IpAddr),
    /// The addresses of a network.
    Net(IpNet),
    /// 127.0.0.0/8 and `::1`.
    Loopback,
    /// 169.254.0.0/16, `fe80::/10`, and multicast that no router forwards.
    Link,
    /// RFC 1918, RFC 4193 and RFC 6598.
    Private,
}

/// A set of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortPattern {
    /// `*`.
    Any,
    /// `kernel`: those that the kernel chose, or may have.
    Kernel,
    /// From the first to the last, both included; one port where they are equal.
    Range(u16, u16),
}

impl PortPattern {
    pub(crate) fn matches(self, port: u16, choice: PortChoice) -> bool {
        match self {
            PortPattern::Any => true,
            PortPattern::Kernel => choice.may_be_kernel(),
            PortPattern::Range(first, last) => (first..=last).contains(&port),
        }
    }
}

impl AddressPattern {
    pub(crate) fn has_all_v4(self) -> bool {
        match self {
            AddressPattern::Any | AddressPattern::AnyV4 => true,
            AddressPattern::Net(IpNet::V4(net)) => net.prefix_len() == 0,
            _ => false,
        }
    }

    pub(crate) fn has_all_v6(self) -> bool {
        match self {
            AddressPattern::Any | AddressPattern::AnyV6 => true,
            AddressPattern::Net(IpNet::V6(net)) => net.prefix_len() == 0,
            _ => false,
        }
    }

    /// It takes in sockets that are bound to all addresses, at least of one family.
    pub(crate) fn is_wildcard(self) -> bool {
        self.has_all_v4() || self.has_all_v6()
    }

    /// Nothing in it can be reached from beyond the link.
    pub(crate) fn is_confined(self) -> bool {
        let confined = |address: IpAddr| is_link(address) || address.is_loopback();
        match self {
            AddressPattern::Any | AddressPattern::AnyV4 | AddressPattern::AnyV6 | AddressPattern::Private => {
                false
            }
            AddressPattern::One(address) => confined(address),
            // Each of these classes is made of whole networks: what begins and ends in one may still leave it between.
            AddressPattern::Net(net) => {
                let classes: [fn(IpAddr) -> bool; 2] = [is_link, |address| address.is_loopback()];
                classes.iter().any(|class| class(net.network()) && class(net.broadcast()))
                    && net.prefix_len() >= 8
            }
            AddressPattern::Loopback | AddressPattern::Link => true,
        }
    }

    pub(crate) fn has(self, address: IpAddr) -> bool {
        match self {
            AddressPattern::Any => true,
            AddressPattern::AnyV4 => address.is_ipv4(),
            AddressPattern::AnyV6 => address.is_ipv6(),
            AddressPattern::One(own) => own == address,
            AddressPattern::Net(net) => net.contains(&address),
            AddressPattern::Loopback => address.is_loopback(),
            AddressPattern::Link => is_link(address),
            AddressPattern::Private => is_private(address),
        }
    }
}

fn is_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local() || matches!(address.octets(), [224, 0, 0, _]),
        IpAddr::V6(address) => {
            address.is_unicast_link_local() || matches!(address.segments()[0], 0xff01 | 0xff02)
        }
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || matches!(address.octets(), [100, 64..=127, _, _]),
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

impl Listen {
    /// The endpoints that share this one's protocol, address, port and device: all that its binding takes.
    pub(crate) fn exactly(endpoint: &Endpoint, address: AddressPattern, port: PortPattern) -> Self {
        let device = endpoint.device.as_ref().map(Pattern::exactly);
        Listen { protocol: endpoint.protocol, address, device, port }
    }
}

impl Listen {
    /// A socket bound there is one of them, devices and who chose the port apart: `kernel` names no number.
    pub fn names(&self, protocol: Protocol, address: IpAddr, port: u16) -> bool {
        self.protocol == protocol && self.has_port(port) && self.address.has(address.to_canonical())
    }

    /// A port of this number is one of them, whoever chose it.
    pub fn has_port(&self, port: u16) -> bool {
        match self.port {
            PortPattern::Any => true,
            PortPattern::Kernel => false,
            PortPattern::Range(first, last) => (first..=last).contains(&port),
        }
    }
}

impl FromStr for PortPattern {
    type Err = String;

    /// Reads `*`, `kernel`, `22` or `8000-8999`. Fails with a sentence about what is wrong.
    fn from_str(text: &str) -> Result<Self, String> {
        parse_port(text)
    }
}

impl FromStr for Listen {
    type Err = String;

    /// Fails with a sentence about what is wrong with it.
    fn from_str(text: &str) -> Result<Self, String> {
        let (protocol, rest) =
            text.split_once('/').ok_or("it wants a protocol before the address, as in `tcp/*:22`")?;
        let protocol = protocol.parse().map_err(|_| unknown_protocol(protocol))?;
        let (bound, port) = rest
            .rsplit_once(':')
            .filter(|(_, port)| !port.contains(']'))
            .ok_or("it wants a port after the address, as in `tcp/*:22`")?;
        let (address, device) = match bound.split_once('%') {
            Some((address, device)) => (address, Some(parse_device(device)?)),
            None => (bound, None),
        };
        Ok(Listen { protocol, address: parse_address(address)?, device, port: parse_port(port)? })
    }
}

fn unknown_protocol(word: &str) -> String {
    let known: Vec<&str> = Protocol::ALL.iter().map(|protocol| protocol.as_str()).collect();
    format!("`{word}` is no protocol: it may be one of {}", known.join(", "))
}

fn parse_device(device: &str) -> Result<Pattern, String> {
    if device.is_empty() {
        return Err("a device wants a name after `%`".to_owned());
    }
    Pattern::new(device).map_err(|wrong| format!("`{device}` is no pattern of devices: {wrong}"))
}

fn parse_address(text: &str) -> Result<AddressPattern, String> {
    match text {
        "*" => return Ok(AddressPattern::Any),
        "loopback" => return Ok(AddressPattern::Loopback),
        "link" => return Ok(AddressPattern::Link),
        "private" => return Ok(AddressPattern::Private),
        "::" => return Err("a v6 address stands in brackets, as in `tcp/[::]:22`".to_owned()),
        _ => {}
    }
    let (plain, bracketed) = match text.strip_prefix('[') {
        None => (text.to_owned(), false),
        Some(inner) => (inner.replacen(']', "", 1), inner.contains(']')),
    };
    if let Ok(address) = plain.parse::<IpAddr>() {
        return match address {
            IpAddr::V6(_) if !bracketed => {
                Err(format!("a v6 address stands in brackets, as in `tcp/[{address}]:22`"))
            }
            IpAddr::V4(_) if bracketed => Err("only v6 addresses stand in brackets".to_owned()),
            address => Ok(one(address.to_canonical())),
        };
    }
    match plain.parse::<IpNet>() {
        Ok(IpNet::V6(net)) if !bracketed => {
            Err(format!("a v6 network stands in brackets, as in `tcp/[{net}]:22`"))
        }
        Ok(IpNet::V4(_)) if bracketed => Err("only v6 networks stand in brackets".to_owned()),
        Ok(net) if net.addr() != net.network() => {
            Err(format!("`{text}` has bits set beyond its prefix: the network is {}", net.trunc()))
        }
        Ok(net) => Ok(AddressPattern::Net(net)),
        Err(_) => Err(format!(
            "`{text}` is no address: it may be `*`, an address, a network, `loopback`, `link` or `private`"
        )),
    }
}

fn one(address: IpAddr) -> AddressPattern {
    match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => AddressPattern::AnyV4,
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => AddressPattern::AnyV6,
        address => AddressPattern::One(address),
    }
}

fn parse_port(text: &str) -> Result<PortPattern, String> {
    let wrong = || format!("`{text}` is no port: it may be a number up to 65535, a range, `*` or `kernel`");
    let number = |digits: &str| match digits.as_bytes() {
        [b'0'..=b'9', ..] => digits.parse::<u16>().map_err(|_| wrong()),
        _ => Err(wrong()),
    };
    match text {
        "*" => Ok(PortPattern::Any),
        "kernel" => Ok(PortPattern::Kernel),
        _ => match text.split_once('-') {
            None => number(text).map(|port| PortPattern::Range(port, port)),
            Some((first, last)) => match (number(first)?, number(last)?) {
                (first, last) if first > last => {
                    Err(format!("the range `{text}` is empty: {first} comes after {last}"))
                }
                (first, last) => Ok(PortPattern::Range(first, last)),
            },
        },
    }
}

impl fmt::Display for AddressPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressPattern::Any => f.write_str("*"),
            AddressPattern::AnyV4 => f.write_str("0.0.0.0"),
            AddressPattern::AnyV6 => f.write_str("[::]"),
            AddressPattern::One(IpAddr::V4(address)) => write!(f, "{address}"),
            AddressPattern::One(IpAddr::V6(address)) => write!(f, "[{address}]"),
            AddressPattern::Net(IpNet::V4(net)) => write!(f, "{net}"),
            AddressPattern::Net(IpNet::V6(net)) => write!(f, "[{net}]"),
            AddressPattern::Loopback => f.write_str("loopback"),
            AddressPattern::Link => f.write_str("link"),
            AddressPattern::Private => f.write_str("private"),
        }
    }
}

impl fmt::Display for PortPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PortPattern::Any => f.write_str("*"),
            PortPattern::Kernel => f.write_str("kernel"),
            PortPattern::Range(first, last) if first == last => write!(f, "{first}"),
            PortPattern::Range(first, last) => write!(f, "{first}-{last}"),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol, self.address)?;
        if let Some(device) = &self.device {
            write!(f, "%{device}")?;
        }
        write!(f, ":{}", self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_what_it_holds() {
        for (listen, address, is) in [
            ("tcp/*:443", "0.0.0.0", true),
            ("tcp/*:443", "::", true),
            ("tcp/0.0.0.0:400-500", "127.0.0.1", true),
            ("tcp/127.0.0.1:*", "127.0.0.1", true),
            ("tcp/127.0.0.1:*", "::ffff:127.0.0.1", true),
            ("tcp/127.0.0.1:443", "0.0.0.0", false),
            ("tcp/loopback:443", "10.0.0.1", false),
            ("tcp/*:442", "0.0.0.0", false),
            ("tcp/*:kernel", "0.0.0.0", false),
            ("udp/*:443", "0.0.0.0", false),
        ] {
            let pattern: Listen = listen.parse().unwrap();
            assert_eq!(pattern.names(Protocol::Tcp, address.parse().unwrap(), 443), is, "{listen} {address}");
        }
    }
}
