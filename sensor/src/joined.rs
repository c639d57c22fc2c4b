//! What socket tables and descriptors tell together. A table shows sockets that nobody holds; a descriptor shows sockets
//! that stand in no table of those who wait, and knows more of each.

use std::collections::HashMap;

use inventory::{NetNsId, Protocol};

use crate::bpf::{FileKind, FileRecord, SocketRecord};
use crate::collector::Socket;
use crate::namespaces::NamespaceView;

/// Completes the sockets of each namespace with what their descriptors tell.
pub(crate) fn join(views: &mut [NamespaceView], files: &[FileRecord]) {
    let mut told: HashMap<u64, HashMap<u64, &SocketRecord>> = HashMap::new();
    for file in files.iter().filter(|file| file.kind == FileKind::Socket) {
        told.entry(file.socket.netns_cookie).or_default().insert(file.socket.cookie, &file.socket);
    }
    for view in views {
        if let NetNsId::Cookie(cookie) = view.netns.id
            && let Some(told) = told.remove(&cookie)
        {
            join_one(view, told);
        }
    }
}

fn join_one(view: &mut NamespaceView, mut told: HashMap<u64, &SocketRecord>) {
    let by_inode: HashMap<u64, &SocketRecord> = told.values().map(|record| (record.inode, *record)).collect();
    for socket in &mut view.sockets {
        let same = told.remove(&socket.cookie);
        // A collector without cookies, or a subflow of MPTCP, which shares the file of its parent.
        let Some(record) = same.or_else(|| by_inode.get(&socket.inode).copied()) else { continue };
        complete(socket, record);
        told.remove(&socket.cookie);
    }
    let known: std::collections::HashSet<u64> = view.sockets.iter().map(|socket| socket.cookie).collect();
    let others = told.values().filter(|record| !known.contains(&record.cookie));
    view.sockets.extend(others.filter_map(|record| record.as_socket()));
}

fn complete(socket: &mut Socket, record: &SocketRecord) {
    if socket.cookie == 0 && record.protocol == Some(socket.protocol) {
        socket.cookie = record.cookie;
        socket.device_index = record.device;
        if socket.address.is_ipv6() {
            socket.ipv6_only = Some(record.v6_only);
        }
    }
    socket.reuse_port = Some(record.reuse_port);
    socket.asked_for_port = record.asked_for_port;
    socket.peer = record.peer;
}

/// What a descriptor and the event that its socket was opened tell of it.
pub(crate) fn as_opened(held: &SocketRecord, opened: &SocketRecord) -> SocketRecord {
    if held.cookie != opened.cookie {
        // A subflow of MPTCP has the file of its parent.
        return SocketRecord { inode: held.inode, ..opened.clone() };
    }
    // `__inet_bind` of net/ipv4/af_inet.c notes that a port was named only after it has told that it is bound.
    let asked_for_port = match opened.asked_for_port {
        Some(true) => Some(true),
        _ => held.asked_for_port,
    };
    SocketRecord { asked_for_port, ..held.clone() }
}

impl SocketRecord {
    /// As a collector would have found it; `None` of a protocol that is not inventoried.
    pub(crate) fn as_socket(&self) -> Option<Socket> {
        let protocol = self.protocol?;
        let connects = matches!(protocol, Protocol::Tcp | Protocol::Mptcp | Protocol::Sctp | Protocol::Dccp);
        Some(Socket {
            protocol,
            address: self.address,
            more_addresses: Vec::new(),
            port: self.port,
            device_index: self.device,
            inode: self.inode,
            cookie: self.cookie,
            uid: self.uid,
            ipv6_only: (self.whole && self.address.is_ipv6()).then_some(self.v6_only),
            backlog: (self.whole && connects).then_some(self.backlog),
            cgroup_id: None,
            reuse_port: self.whole.then_some(self.reuse_port),
            asked_for_port: self.asked_for_port,
            peer: self.peer,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn record(cookie: u64, inode: u64, asked_for_port: Option<bool>) -> SocketRecord {
        let nameless = SocketRecord::nameless(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);
        SocketRecord { cookie, inode, asked_for_port, protocol: Some(Protocol::Udp), ..nameless }
    }

    #[test]
    fn a_port_was_named_where_either_tells_so() {
        for (held, opened, expected) in [
            (Some(false), Some(true), Some(true)),
            (Some(true), Some(false), Some(true)),
            (Some(true), None, Some(true)),
            (Some(false), None, Some(false)),
            (Some(false), Some(false), Some(false)),
            (None, Some(true), Some(true)),
        ] {
            let held = record(1, 7, held);
            let joined = as_opened(&held, &record(1, 0, opened));
            assert_eq!(joined, SocketRecord { asked_for_port: expected, ..held });
        }
    }

    #[test]
    fn a_socket_with_the_file_of_another_is_as_it_was_opened() {
        let joined = as_opened(&record(1, 7, Some(true)), &record(2, 0, Some(false)));
        assert_eq!(joined, record(2, 7, Some(false)));
    }
}
