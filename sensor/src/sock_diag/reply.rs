//! What sock_diag answers: one `struct inet_diag_msg` with attributes for each socket (include/uapi/linux/inet_diag.h).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use inventory::Protocol;

use super::fields::{array_at, cut, u16_at, u16_be_at, u32_at, u64_at};
use super::query::Query;
use crate::collector::Socket;
use crate::protocols::Family;

const INET_DIAG_MSG_LENGTH: usize = 72;

const INET_DIAG_SKV6ONLY: u16 = 11;
const INET_DIAG_LOCALS: u16 = 12;
const INET_DIAG_CGROUP_ID: u16 = 21;

/// `nla_type` without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const NLA_TYPE_MASK: u16 = 0x3fff;

/// sizeof(struct sockaddr_storage).
const SOCKADDR_LENGTH: usize = 128;

/// Reads one reply. `Ok(None)` for a socket that was not asked for: another family or state, or a datagram socket with
/// a peer, which hears nobody else.
pub(super) fn read(payload: &[u8], query: Query) -> Result<Option<Socket>, &'static str> {
    let Some((message, attributes)) = payload.split_at_checked(INET_DIAG_MSG_LENGTH) else {
        return Err("a socket shorter than a struct inet_diag_msg");
    };
    let Some(family) = query.family_of(message[0]).filter(|_| message[1] == query.state()) else {
        return Ok(None);
    };
    let socket = header(message, query, family).ok_or("a socket cut short")?;
    if has_peer(message) && !has_connections(query.protocol) {
        return Ok(None);
    }
    read_attributes(socket, attributes, query).map(Some)
}

/// Family, state, timer and retransmits (a byte each); `struct inet_diag_sockid`: source and destination port (2 each,
/// big-endian), source (8) and destination (24) address (16 each), device (40), cookie (44); then at 52 expiry, receive
/// queue, send queue, uid and inode (4 each).
fn header(message: &[u8], query: Query, family: Family) -> Option<Socket> {
    // In LISTEN the kernel puts the backlog where the send queue is otherwise.
    let backlog = if has_connections(query.protocol) { Some(u32_at(message, 60)?) } else { None };
    Some(Socket {
        protocol: query.protocol,
        address: address_at(message, 8, family)?,
        more_addresses: Vec::new(),
        port: u16_be_at(message, 4)?,
        device_index: u32_at(message, 40)?,
        // Two 32-bit halves, the lower first, whatever the byte order of the machine.
        cookie: u64::from(u32_at(message, 44)?) | u64::from(u32_at(message, 48)?) << 32,
        uid: u32_at(message, 64)?,
        inode: u64::from(u32_at(message, 68)?),
        ipv6_only: None,
        backlog,
        cgroup_id: None,
        reuse_port: None,
        asked_for_port: None,
        peer: None,
    })
}

fn has_peer(message: &[u8]) -> bool {
    let port = message.get(6..8);
    let address = message.get(24..40);
    [port, address].into_iter().flatten().flatten().any(|byte| *byte != 0)
}

const fn has_connections(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Tcp | Protocol::Mptcp | Protocol::Sctp | Protocol::Dccp)
}

fn read_attributes(mut socket: Socket, mut rest: &[u8], query: Query) -> Result<Socket, &'static str> {
    while !rest.is_empty() {
        let length = u16_at(rest, 0).ok_or("an attribute cut short")?;
        let attribute = cut(&mut rest, usize::from(length), 4).ok_or("an attribute with a wrong length")?;
        let kind = u16_at(attribute, 2).ok_or("an attribute cut short")? & NLA_TYPE_MASK;
        let value = attribute.get(4..).unwrap_or_default();
        match kind {
            INET_DIAG_SKV6ONLY => {
                let only = value.first().ok_or("an empty INET_DIAG_SKV6ONLY")?;
                socket.ipv6_only = Some(*only != 0);
            }
            INET_DIAG_CGROUP_ID => {
                let id = u64_at(value, 0).ok_or("a short INET_DIAG_CGROUP_ID")?;
                // 0 where cgroup2 is not in use.
                socket.cgroup_id = (id != 0).then_some(id);
            }
            INET_DIAG_LOCALS if query.protocol == Protocol::Sctp => add_locals(&mut socket, value)?,
            _ => {}
        }
    }
    Ok(socket)
}

/// SCTP's addresses as an array of `struct sockaddr_storage`; the header repeats one of them.
fn add_locals(socket: &mut Socket, value: &[u8]) -> Result<(), &'static str> {
    for storage in value.chunks(SOCKADDR_LENGTH) {
        let address = match u16_at(storage, 0).ok_or("a short INET_DIAG_LOCALS")? {
            2 => address_at(storage, 4, Family::V4),
            10 => address_at(storage, 8, Family::V6),
            _ => return Err("an INET_DIAG_LOCALS of an unknown family"),
        };
        let address = address.ok_or("a short INET_DIAG_LOCALS")?;
        if address != socket.address && !socket.more_addresses.contains(&address) {
            socket.more_addresses.push(address);
        }
    }
    Ok(())
}

fn address_at(bytes: &[u8], at: usize, family: Family) -> Option<IpAddr> {
    Some(match family {
        Family::V4 => Ipv4Addr::from(array_at::<4>(bytes, at)?).into(),
        Family::V6 => Ipv6Addr::from(array_at::<16>(bytes, at)?).into(),
    })
}
