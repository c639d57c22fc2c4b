use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use inventory::{NetNsKind, Protocol, RawText, Reach, Unattributed};
use serde::{Deserialize, Serialize};

/// Names a service: `s1-` and 32 hexadecimal digits, the `1` being the version of what is hashed. Shorter ones could be
/// made to collide, and a drift would hide behind the name of another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServiceId(pub(crate) Arc<str>);

impl ServiceId {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The bound address as people speak of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressWord {
    /// 0.0.0.0, `::` and `::ffff:0.0.0.0`; of something absent, that no single address was approved.
    Any,
    /// One address, v4-mapped ones as v4.
    One(IpAddr),
}

impl fmt::Display for AddressWord {
    /// `*`, `127.0.0.1`, `::1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressWord::Any => f.pad("*"),
            AddressWord::One(address) => f.pad(&address.to_string()),
        }
    }
}

/// The port as people speak of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortWord {
    /// The kernel is known to have chosen it, so that its number says nothing.
    Kernel,
    /// A number.
    Number(u16),
    /// Only of something absent: several were approved.
    Any,
}

impl fmt::Display for PortWord {
    /// `kernel`, `22`, `*`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PortWord::Kernel => f.pad("kernel"),
            PortWord::Number(port) => f.pad(&port.to_string()),
            PortWord::Any => f.pad("*"),
        }
    }
}

/// What makes listeners one thing to people. Shared by all judgements in which the service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceKey {
    /// A hash of the nine fields below it.
    pub id: ServiceId,
    /// Their protocol.
    pub protocol: Protocol,
    /// Their bound address.
    pub address: AddressWord,
    /// Their port.
    pub port: PortWord,
    /// The device they are bound to.
    pub device: Option<RawText>,
    /// What sort of namespace they are in.
    pub netns_kind: NetNsKind,
    /// The name of their namespace.
    pub netns: RawText,
    /// The paths of all their holders' programs, `kernel` for a socket of the kernel; like the next two in order, each once.
    pub programs: Arc<[RawText]>,
    /// The users of all their holders: the account's name where it has one, else the number.
    pub users: Arc<[String]>,
    /// The stable names of all their holders' workloads.
    pub workloads: Arc<[RawText]>,
    /// They have a peer, and take packets from nobody else. Kept apart from those that have none under the same id:
    /// they are not judged.
    pub connected: bool,
}

/// The listeners that are one thing to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// What they have in common; its fields can be had of the service itself.
    pub key: Arc<ServiceKey>,
    /// Places in the inventory's list of listeners; at least one.
    pub listeners: Vec<usize>,
    /// The widest reach among them.
    pub reach: Reach,
    /// One of them is bound to all addresses.
    pub wildcard: bool,
    /// Why the holders of one of them are not known, where that is so; never `Kernel`.
    pub unattributed: Option<Unattributed>,
}

impl Deref for Service {
    type Target = ServiceKey;

    fn deref(&self) -> &ServiceKey {
        &self.key
    }
}
