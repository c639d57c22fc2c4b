//! Listeners that no kernel has.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::SystemTime;

use inventory::{
    Coverage, Endpoint, EventSource, Holder, Holders, Inventory, Listener, NetNs, NetNsId, PortChoice,
    ProcessId, Protocol, RawText, Reach, Share, Shares, SocketId, Workload,
};

/// One on 127.0.0.1, of the namespace with the cookie 1, held by these processes.
pub(crate) fn listener(protocol: Protocol, cookie: u64, port: u16, pids: &[u32]) -> Listener {
    let netns = NetNs::anonymous(NetNsId::Cookie(1));
    Listener {
        id: SocketId { netns: netns.id, cookie, inode: cookie + 1_000 },
        endpoint: Endpoint { protocol, address: Ipv4Addr::LOCALHOST.into(), port, device: None },
        netns,
        uid: 0,
        ipv6_only: None,
        reuse_port: Some(false),
        backlog: None,
        holders: Holders::Known(pids.iter().map(|pid| holder(*pid)).collect()),
        reach: Reach::Loopback,
        port_choice: PortChoice::Explicit,
        peer: None,
        published: Vec::new(),
        since: None,
    }
}

fn holder(pid: u32) -> Arc<Holder> {
    Arc::new(Holder {
        id: ProcessId { pid, start_ticks: 7 },
        started_at: SystemTime::UNIX_EPOCH,
        program: None,
        name: RawText::from("nc"),
        arguments: Vec::new(),
        uid: 0,
        workload: Workload::None,
        parents: Vec::new(),
    })
}

/// With nothing to be said of how it was taken.
pub(crate) fn inventory_of(listeners: Vec<Listener>) -> Inventory {
    let all = Share { seen: 1, of: 1 };
    let shares = Shares { sockets: all, holders: all, namespaces: all, addresses: all, events: all };
    let coverage = Coverage { gaps: Vec::new(), shares, events: EventSource::Bpf };
    let listeners = listeners.into_iter().map(Arc::new).collect();
    Inventory { host: RawText::from("here"), taken_at: SystemTime::UNIX_EPOCH, listeners, coverage }
}
