use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::{Coverage, Endpoint, Holder, Holders, NetNs, NetNsId, RawText, Reach};

/// A socket for as long as the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SocketId {
    /// The namespace it belongs to, which may differ from that of its holders.
    pub netns: NetNsId,
    /// `SO_COOKIE`; 0 where the collector cannot tell it.
    pub cookie: u64,
    /// The inode in sockfs, by which descriptors name it; 0 for a socket of the kernel's own.
    pub inode: u64,
}

/// A socket that waits for others: in LISTEN, or unconnected where the protocol has no connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Listener<H = Arc<Holder>> {
    /// Which socket.
    pub id: SocketId,
    /// Where it is bound.
    pub endpoint: Endpoint,
    /// The namespace that gives the address its meaning.
    pub netns: NetNs,
    /// The uid that the kernel accounts the socket to.
    pub uid: u32,
    /// Of a v6 socket: takes no v4 connections. `None` where the collector cannot tell.
    pub ipv6_only: Option<bool>,
    /// Shares its endpoint with twins. `None` where the collector cannot tell.
    pub reuse_port: Option<bool>,
    /// What `listen(2)` was given, as the kernel bounded it; `None` for protocols without connections.
    pub backlog: Option<u32>,
    /// Who has it open.
    pub holders: Holders<H>,
    /// Who can connect.
    pub reach: Reach,
    /// Who chose the port.
    pub port_choice: PortChoice,
    /// The only one it takes packets from: of a UDP socket that was bound and then connected.
    pub peer: Option<SocketAddr>,
    /// Endpoints of the host that a proxy process forwards to this one.
    pub published: Vec<Endpoint>,
    /// When it was first seen; `None` where it was there before the looking began.
    pub since: Option<SystemTime>,
}

impl<H> Listener<H> {
    /// The same with holders referred to in another way.
    pub fn with_holders<T>(self, holders: Holders<T>) -> Listener<T> {
        Listener {
            id: self.id,
            endpoint: self.endpoint,
            netns: self.netns,
            uid: self.uid,
            ipv6_only: self.ipv6_only,
            reuse_port: self.reuse_port,
            backlog: self.backlog,
            holders,
            reach: self.reach,
            port_choice: self.port_choice,
            peer: self.peer,
            published: self.published,
            since: self.since,
        }
    }
}

/// Who chose a port number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PortChoice {
    /// The program asked for it.
    Explicit,
    /// The kernel, because the program asked for port 0 or for none.
    Kernel,
    /// The collector cannot tell.
    Unknown {
        /// Whether the port lies in the namespace's `ip_local_port_range`, out of which the kernel chooses.
        ephemeral: bool,
    },
}

impl PortChoice {
    /// The word used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            PortChoice::Explicit => "explicit",
            PortChoice::Kernel => "kernel",
            PortChoice::Unknown { .. } => "unknown",
        }
    }

    /// The kernel chose it, or may have.
    pub const fn may_be_kernel(self) -> bool {
        matches!(self, PortChoice::Kernel | PortChoice::Unknown { ephemeral: true })
    }
}

/// Everything that listened on a host when one pass looked, and what that pass could not see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// The host's name.
    pub host: RawText,
    /// When the pass began.
    pub taken_at: SystemTime,
    /// Ordered by [`SocketId`], each once. Shared: of one inventory most is in the next.
    pub listeners: Vec<Arc<Listener>>,
    /// What was looked at and what was not.
    pub coverage: Coverage,
}
