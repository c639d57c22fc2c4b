use std::collections::HashMap;
use std::net::IpAddr;

use inventory::{
    Endpoint, Holders, Listener, NetNs, NetNsId, PortChoice, Protocol, RawText, Reach, SocketId,
};
use ipnet::IpNet;

use crate::collector::Socket;
use crate::holders::Attribution;
use crate::interfaces::device_name;
use crate::namespaces::{NamespaceView, Visits};
use crate::published;
use crate::reach::reach;

/// What one pass has seen, before it is put together.
pub(crate) struct Seen<'a> {
    pub(crate) visits: &'a Visits,
    /// The names of the namespaces, in the order of the visits.
    pub(crate) netns: &'a [NetNs],
    pub(crate) attribution: &'a Attribution,
    pub(crate) public: &'a [IpNet],
}

/// The listeners, each once, ordered by their ids.
pub(crate) fn listeners(seen: &Seen<'_>) -> Vec<Listener> {
    let views = seen.visits.views.iter().zip(seen.netns);
    let of_view = |(view, netns)| {
        let view: &NamespaceView = view;
        let held = |socket: &Socket| (seen.attribution.holders(socket.inode), seen.public);
        view.sockets.iter().map(move |socket| {
            let (holders, public) = held(socket);
            listener(view, netns, socket, holders, public)
        })
    };
    let mut listeners: Vec<Listener> = views.flat_map(of_view).collect();
    listeners.sort_by_key(|listener| listener.id);
    listeners.dedup_by_key(|listener| listener.id);
    tell_twins(&mut listeners);
    published::tie(&mut listeners, &seen.visits.views);
    listeners
}

/// One of them. Nothing is known of twins, of what is published as it, nor since when.
pub(crate) fn listener(
    view: &NamespaceView,
    netns: &NetNs,
    socket: &Socket,
    holders: Holders,
    public: &[IpNet],
) -> Listener {
    let interfaces = view.interfaces.as_deref();
    let device = device_name(socket.device_index, interfaces);
    let endpoint = Endpoint { protocol: socket.protocol, address: socket.address, port: socket.port, device };
    let widest = std::iter::once(&socket.address)
        .chain(&socket.more_addresses)
        .map(|address| {
            let bound = Endpoint { address: *address, ..endpoint.clone() };
            reach(&bound, socket.ipv6_only, interfaces, public)
        })
        .max();
    Listener {
        id: SocketId { netns: netns.id, cookie: socket.cookie, inode: socket.inode },
        netns: netns.clone(),
        uid: socket.uid,
        ipv6_only: socket.ipv6_only,
        reuse_port: socket.reuse_port,
        backlog: socket.backlog,
        holders,
        reach: widest.unwrap_or(Reach::Public),
        port_choice: port_choice(view, socket),
        peer: socket.peer,
        published: Vec::new(),
        since: None,
        endpoint,
    }
}

fn port_choice(view: &NamespaceView, socket: &Socket) -> PortChoice {
    match socket.asked_for_port {
        // Nobody chooses the number of a protocol.
        _ if socket.protocol == Protocol::Raw => PortChoice::Explicit,
        Some(true) => PortChoice::Explicit,
        Some(false) => PortChoice::Kernel,
        None => PortChoice::Unknown { ephemeral: may_be_ephemeral(view, socket) },
    }
}

/// The port of a raw socket is the number of a protocol: nobody chooses it from a range.
fn may_be_ephemeral(view: &NamespaceView, socket: &Socket) -> bool {
    socket.protocol != Protocol::Raw && view.local_ports.contains(&socket.port)
}

/// The kernel tells `SO_REUSEPORT` to nobody but the holder, and lets two sockets listen at one endpoint only with it.
fn tell_twins(listeners: &mut [Listener]) {
    type Place = (NetNsId, Protocol, IpAddr, u16, Option<RawText>);
    let place = |listener: &Listener| -> Option<Place> {
        let Endpoint { protocol, address, port, device } = listener.endpoint.clone();
        let may_have_twins = !matches!(protocol, Protocol::Raw);
        may_have_twins.then_some((listener.id.netns, protocol, address, port, device))
    };
    let mut count: HashMap<Place, u32> = HashMap::new();
    for place in listeners.iter().filter_map(place) {
        *count.entry(place).or_default() += 1;
    }
    for listener in listeners {
        if place(listener).is_some_and(|place| count.get(&place).is_some_and(|count| *count > 1)) {
            listener.reuse_port = Some(true);
        }
    }
}
