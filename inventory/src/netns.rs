use std::fmt;

use serde::{Deserialize, Serialize};

use crate::RawText;

/// What tells two network namespaces apart for as long as the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NetNsId {
    /// `SO_NETNS_COOKIE` (Linux 5.14): never given twice.
    Cookie(u64),
    /// Where the kernel has no cookie: the inode of `/proc/PID/ns/net`, which comes back within seconds of a deletion,
    /// with a number that grows each time it is seen again after an absence.
    Inode {
        /// The inode.
        inode: u64,
        /// How often it was seen to come back.
        generation: u32,
    },
}

/// Why a namespace has the name it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum NetNsKind {
    Host,
    /// Bound under /run/netns.
    Named,
    /// A container or a pod lives in it.
    Container,
    /// A systemd unit lives in it (`PrivateNetwork=`).
    Unit,
    Anonymous,
}

impl NetNsKind {
    /// The word used in files and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            NetNsKind::Host => "host",
            NetNsKind::Named => "named",
            NetNsKind::Container => "container",
            NetNsKind::Unit => "unit",
            NetNsKind::Anonymous => "anonymous",
        }
    }
}

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NetNs {
    /// Its identity on this host until the next boot.
    pub id: NetNsId,
    /// Why it is called so.
    pub kind: NetNsKind,
    /// `host`, the name under /run/netns, of the container, pod or unit, or `anonymous`. The same after a restart.
    pub name: RawText,
}

impl NetNs {
    /// The namespace that the sensor itself was started in.
    pub fn host(id: NetNsId) -> Self {
        NetNs { id, kind: NetNsKind::Host, name: RawText::from("host") }
    }

    /// A namespace of which nothing but its identity is known.
    pub fn anonymous(id: NetNsId) -> Self {
        NetNs { id, kind: NetNsKind::Anonymous, name: RawText::from("anonymous") }
    }
}

impl fmt::Display for NetNs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}
