use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::RawText;

/// The protocols whose sockets the collectors of today can list. For `Raw` the port is the IP protocol number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Protocol {
    Tcp,
    Mptcp,
    Udp,
    Udplite,
    Sctp,
    Dccp,
    Raw,
}

/// A word that stands for nothing in the set it was looked up in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no {set}")]
pub struct UnknownWord {
    /// What was given.
    pub word: String,
    /// What it should have been one of.
    pub set: &'static str,
}

impl Protocol {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Protocol; 7] = [
        Protocol::Tcp,
        Protocol::Mptcp,
        Protocol::Udp,
        Protocol::Udplite,
        Protocol::Sctp,
        Protocol::Dccp,
        Protocol::Raw,
    ];

    /// The word used in files, labels and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Mptcp => "mptcp",
            Protocol::Udp => "udp",
            Protocol::Udplite => "udplite",
            Protocol::Sctp => "sctp",
            Protocol::Dccp => "dccp",
            Protocol::Raw => "raw",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let found = Protocol::ALL.into_iter().find(|protocol| protocol.as_str() == word);
        found.ok_or_else(|| UnknownWord { word: word.to_owned(), set: "protocol" })
    }
}

/// Where a socket is bound, in the kernel's own words: `0.0.0.0` and `::` stay apart here.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// Which socket table it stands in.
    pub protocol: Protocol,
    /// The bound address, v4-mapped ones as the kernel gives them.
    pub address: IpAddr,
    /// The bound port in host byte order; 0 where the kernel gave none.
    pub port: u16,
    /// `SO_BINDTODEVICE`: only packets that come in by this interface.
    pub device: Option<RawText>,
}

impl Endpoint {
    /// The address with `::ffff:a.b.c.d` as the v4 address that it means.
    pub fn canonical_address(&self) -> IpAddr {
        self.address.to_canonical()
    }

    /// Bound to all addresses of a family.
    pub fn is_wildcard(&self) -> bool {
        self.canonical_address().is_unspecified()
    }

    /// True for an IPv6 socket, also where it is bound to a v4-mapped address.
    pub fn is_ipv6_socket(&self) -> bool {
        self.address.is_ipv6()
    }

    /// True for `::`, which takes v4 connections too unless the socket is v6-only.
    pub fn is_ipv6_wildcard(&self) -> bool {
        self.address == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    }
}

impl fmt::Display for Endpoint {
    /// `tcp/127.0.0.1:8080`, `udp/[::1]:53`, `tcp/0.0.0.0%eth0:22`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.protocol)?;
        match self.address {
            IpAddr::V4(address) => write!(f, "{address}")?,
            IpAddr::V6(address) => write!(f, "[{address}]")?,
        }
        if let Some(device) = &self.device {
            write!(f, "%{device}")?;
        }
        write!(f, ":{}", self.port)
    }
}
