//! Socket tables through the `netstat2` crate, for where ours is refused: TCP and UDP, and less of each.

use std::net::IpAddr;

use inventory::{Protocol, Scope};
use netstat2::{
    AddressFamilyFlags, ProtocolFlags, ProtocolSocketInfo, SocketInfo, TcpState,
    iterate_sockets_info_without_pids,
};

use crate::collector::{Flaw, NO_ROOM, Refusal, Socket, SocketCollector, Table};
use crate::protocols::Family;

/// `netstat2` 0.11. On Linux it asks sock_diag too, in its own way: where the kernel refuses that to everybody, it
/// fails as well.
#[derive(Debug)]
pub(crate) struct Portable;

/// The crate ends its list at an error as if that were the end, and tells no peers of UDP sockets.
const LIMITS: &str = "netstat2 does not tell whether its list is whole, nor cookies, bound devices, v6-only sockets \
                      and which UDP sockets are connected";

impl SocketCollector for Portable {
    fn name(&self) -> &'static str {
        "netstat2"
    }

    fn table(&mut self, protocol: Protocol, family: Family, room: usize) -> Result<Table, Refusal> {
        let refuse = |reason: String| Refusal::here(format!("{protocol} over {family}: {reason}"));
        let flag = match protocol {
            Protocol::Tcp => ProtocolFlags::TCP,
            Protocol::Udp => ProtocolFlags::UDP,
            _ => return Err(refuse("only TCP and UDP can be listed".to_owned())),
        };
        let families = match family {
            Family::V4 => AddressFamilyFlags::IPV4,
            Family::V6 => AddressFamilyFlags::IPV6,
        };
        let infos =
            iterate_sockets_info_without_pids(families, flag).map_err(|error| refuse(error.to_string()))?;
        let table = read(infos, protocol, room);
        if table.found.is_empty() {
            return Err(refuse("an empty list, which is what an error would look like".to_owned()));
        }
        Ok(table)
    }
}

fn read(
    infos: impl Iterator<Item = Result<SocketInfo, netstat2::error::Error>>,
    protocol: Protocol,
    room: usize,
) -> Table {
    let mut found = Vec::new();
    let mut flaws = vec![lacks(LIMITS.to_owned())];
    for info in infos {
        match info {
            Ok(info) if !listens(&info) => {}
            Ok(_) if found.len() == room => {
                flaws.push(lacks(NO_ROOM.to_owned()));
                break;
            }
            Ok(info) => found.push(socket(&info, protocol)),
            Err(error) => {
                flaws.push(lacks(format!("the list broke off: {error}")));
                break;
            }
        }
    }
    Table { found, flaws }
}

fn lacks(reason: String) -> Flaw {
    Flaw { scope: Scope::Sockets, reason }
}

fn listens(info: &SocketInfo) -> bool {
    match &info.protocol_socket_info {
        ProtocolSocketInfo::Tcp(tcp) => tcp.state == TcpState::Listen,
        ProtocolSocketInfo::Udp(_) => true,
    }
}

fn socket(info: &SocketInfo, protocol: Protocol) -> Socket {
    let address: IpAddr = info.local_addr();
    Socket {
        protocol,
        address,
        more_addresses: Vec::new(),
        port: info.local_port(),
        device_index: 0,
        inode: u64::from(info.inode),
        cookie: 0,
        uid: info.uid,
        ipv6_only: None,
        backlog: None,
        cgroup_id: None,
        reuse_port: None,
        asked_for_port: None,
        peer: None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use inventory::Protocol;

    use super::Portable;
    use crate::collector::SocketCollector;
    use crate::protocols::Family;

    #[test]
    fn lists_what_listens_and_owns_up_to_what_it_cannot_tell() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("[::1]:0").unwrap();
        let ports = [
            (Protocol::Tcp, Family::V4, tcp.local_addr().unwrap().port()),
            (Protocol::Udp, Family::V6, udp.local_addr().unwrap().port()),
        ];
        for (protocol, family, port) in ports {
            let table = Portable.table(protocol, family, 100_000).unwrap();
            assert!(table.found.iter().any(|socket| socket.port == port), "{protocol} {port}");
            assert!(table.flaws[0].reason.contains("whether its list is whole"));
        }
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(Portable.table(Protocol::Raw, Family::V4, 10).is_err());
    }

    #[test]
    fn says_that_there_was_no_room() {
        let listeners = [0, 0].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
        let table = Portable.table(Protocol::Tcp, Family::V4, listeners.len() - 1).unwrap();
        assert_eq!(table.found.len(), 1);
        assert_eq!(table.flaws.len(), 2);
    }
}
