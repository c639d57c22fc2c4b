//! The records of `sensor/bpf/records.h`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use inventory::{Protocol, RawText};

/// What a record says of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SocketRecord {
    pub(crate) cookie: u64,
    pub(crate) netns_cookie: u64,
    /// In sockfs; 0 where not known.
    pub(crate) inode: u64,
    /// Of the namespace; 0 where not known.
    pub(crate) netns_inode: u32,
    pub(crate) uid: u32,
    pub(crate) device: u32,
    pub(crate) backlog: u32,
    /// `None` of a protocol that is not inventoried.
    pub(crate) protocol: Option<Protocol>,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    /// Where it is connected.
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) v6_only: bool,
    pub(crate) reuse_port: bool,
    /// Whether the program named the port; `None` where it cannot be told.
    pub(crate) asked_for_port: Option<bool>,
    /// Device, uid, backlog, v6-only and reuse-port were read.
    pub(crate) whole: bool,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// A socket began to wait for others.
    Opened,
    /// It ended.
    Closed,
    /// A process that holds one has this child.
    Forked,
    /// One executes another program.
    Executed,
    /// One has ended.
    Exited,
    /// A bound UDP socket is given a peer.
    Connected,
}

/// An event with the process that caused it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventRecord {
    pub(crate) kind: EventKind,
    /// CLOCK_BOOTTIME.
    pub(crate) boot_nanos: u64,
    /// When the process began, CLOCK_BOOTTIME.
    pub(crate) start_nanos: u64,
    /// As our pid namespace counts; `None` if it is not in it.
    pub(crate) pid: Option<u32>,
    /// As the initial pid namespace counts.
    pub(crate) kernel_pid: u32,
    /// Effective.
    pub(crate) uid: u32,
    pub(crate) name: RawText,
    pub(crate) socket: SocketRecord,
    /// Of an open, where the process has one.
    pub(crate) program: Option<ProgramSeen>,
    /// The path in the unified hierarchy; of an open.
    pub(crate) cgroup: Vec<u8>,
    /// Program and cgroup are those that an earlier open of this process told.
    pub(crate) described_before: bool,
}

/// The program of a process as the kernel itself knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProgramSeen {
    pub(crate) path: RawText,
    pub(crate) inode: u64,
    pub(crate) device_major: u32,
    pub(crate) device_minor: u32,
    pub(crate) deleted: bool,
}

const V6_ONLY: u8 = 1;
const REUSE_PORT: u8 = 2;
const PORT_ASKED_FOR: u8 = 4;
const PORT_CHOICE_KNOWN: u8 = 8;
const WHOLE: u8 = 16;

const CUT: u8 = 1;
const DELETED: u8 = 2;
const CGROUP_CUT: u8 = 4;
const DESCRIBED_BEFORE: u8 = 8;

const AF_INET6: u16 = 10;
const SOCK_RAW: u16 = 3;
const TCP_ESTABLISHED: u8 = 1;

/// Reads integers of the machine's order one after the other.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes<const SIZE: usize>(&mut self) -> Option<[u8; SIZE]> {
        let (first, rest) = self.0.split_first_chunk::<SIZE>()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_ne_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_ne_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_ne_bytes)
    }

    fn u8(&mut self) -> Option<u8> {
        self.bytes().map(|[byte]| byte)
    }

    /// `struct socket_record`.
    pub(super) fn socket(&mut self) -> Option<SocketRecord> {
        let (cookie, netns_cookie, inode) = (self.u64()?, self.u64()?, self.u64()?);
        let (uid, device, backlog, netns_inode) = (self.u32()?, self.u32()?, self.u32()?, self.u32()?);
        let (family, protocol, kind) = (self.u16()?, self.u16()?, self.u16()?);
        let (port, peer_port) = (self.u16()?, self.u16()?);
        let (state, flags) = (self.u8()?, self.u8()?);
        let (address, peer) = (address(family, self.bytes()?), address(family, self.bytes()?));
        self.u32()?;
        let has = |flag: u8| flags & flag != 0;
        Some(SocketRecord {
            cookie,
            netns_cookie,
            inode,
            netns_inode,
            uid,
            device,
            backlog,
            protocol: protocol_of(kind, protocol),
            address,
            port,
            peer: (state == TCP_ESTABLISHED).then(|| SocketAddr::new(peer, peer_port)),
            v6_only: has(V6_ONLY),
            reuse_port: has(REUSE_PORT),
            asked_for_port: has(PORT_CHOICE_KNOWN).then(|| has(PORT_ASKED_FOR)),
            whole: has(WHOLE),
        })
    }
}

fn address(family: u16, bytes: [u8; 16]) -> IpAddr {
    if family == AF_INET6 {
        IpAddr::V6(Ipv6Addr::from(bytes))
    } else {
        let [a, b, c, d, ..] = bytes;
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    }
}

fn protocol_of(kind: u16, number: u16) -> Option<Protocol> {
    match number {
        _ if kind == SOCK_RAW => Some(Protocol::Raw),
        6 => Some(Protocol::Tcp),
        17 => Some(Protocol::Udp),
        33 => Some(Protocol::Dccp),
        132 => Some(Protocol::Sctp),
        136 => Some(Protocol::Udplite),
        262 => Some(Protocol::Mptcp),
        _ => None,
    }
}

impl EventRecord {
    /// Reads `struct event_record`. `None` of one that is shorter than it says or of a kind that is not known.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let (boot_nanos, start_nanos, _cgroup_id) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (inode, device, kind) = (reader.u64()?, reader.u32()?, reader.u32()?);
        let (pid, kernel_pid, uid) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let (program_length, cgroup_length) = (reader.u16()?, reader.u16()?);
        let [flags, ..] = reader.bytes::<8>()?;
        let name: [u8; 16] = reader.bytes()?;
        let mut socket = reader.socket()?;
        if !socket.whole {
            // It is accounted to whoever made it, who nearly always is who binds it.
            socket.uid = uid;
        }
        let program = reader.slice(program_length.into())?;
        let cgroup = reader.slice(cgroup_length.into())?;
        let kind = match kind {
            1 => EventKind::Opened,
            2 => EventKind::Closed,
            3 => EventKind::Forked,
            4 => EventKind::Executed,
            5 => EventKind::Exited,
            6 => EventKind::Connected,
            _ => return None,
        };
        let seen = || ProgramSeen {
            path: RawText::new(path(program, flags & CUT != 0)),
            inode,
            device_major: device >> 20,
            device_minor: device & 0xf_ffff,
            deleted: flags & DELETED != 0,
        };
        Some(EventRecord {
            kind,
            boot_nanos,
            start_nanos,
            pid: (pid != 0).then_some(pid),
            kernel_pid,
            uid,
            name: RawText::new(until_zero(&name)),
            socket,
            program: (inode != 0).then(seen),
            cgroup: path(cgroup, flags & CGROUP_CUT != 0),
            described_before: flags & DESCRIBED_BEFORE != 0,
        })
    }
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    &bytes[..end]
}

/// Components from the leaf up, each ended by a zero, as a path from the root. What was cut off above is told by three
/// dots, which no path from the root begins with.
fn path(components: &[u8], cut: bool) -> Vec<u8> {
    let mut path = if cut { b"...".to_vec() } else { Vec::new() };
    let components = components.strip_suffix(b"\0").unwrap_or(components);
    if components.is_empty() {
        path.push(b'/');
        return path;
    }
    for component in components.rsplit(|byte| *byte == 0) {
        path.push(b'/');
        path.extend(component);
    }
    path
}

/// A record of an event. What it tells of texts is no longer than it is.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzzed(bytes: &[u8]) {
    let Some(record) = EventRecord::parse(bytes) else { return };
    let path = record.program.as_ref().map_or(0, |program| program.path.as_bytes().len());
    assert!(record.name.as_bytes().len() <= 16 && path + record.cgroup.len() <= bytes.len());
    assert!(record.cgroup.starts_with(b"/") || record.cgroup.starts_with(b".../"));
    assert!(record.pid != Some(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_put_together_from_the_leaf_up() {
        assert_eq!(path(b"sshd\0sbin\0usr\0", false), b"/usr/sbin/sshd");
        assert_eq!(path(b"sshd\0sbin\0", true), b".../sbin/sshd");
        assert_eq!(path(b"", false), b"/");
    }
}
