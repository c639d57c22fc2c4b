//! What is asked of sock_diag(7), as bytes.

use inventory::Protocol;

use crate::protocols::Family;

/// include/uapi/linux/sock_diag.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// include/uapi/linux/inet_diag.h.
const TCPDIAG_GETSOCK: u16 = 18;
const INET_DIAG_REQ_PROTOCOL: u16 = 3;

/// netlink(7).
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;

/// include/net/tcp_states.h. An unconnected datagram or raw socket is in CLOSE.
const TCP_CLOSE: u8 = 7;
const TCP_LISTEN: u8 = 10;

/// include/uapi/linux/in.h.
const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;
const IPPROTO_DCCP: u32 = 33;
const IPPROTO_SCTP: u32 = 132;
const IPPROTO_UDPLITE: u32 = 136;
const IPPROTO_RAW: u32 = 255;
const IPPROTO_MPTCP: u32 = 262;

/// One dump of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) protocol: Protocol,
    /// `None` for both at once, which only TCP can be asked for.
    pub(super) family: Option<Family>,
    /// By which the replies are known: unique among the dumps of one socket.
    pub(super) sequence: u32,
}

impl Query {
    /// The one state that is asked for.
    pub(super) const fn state(self) -> u8 {
        match self.protocol {
            Protocol::Tcp | Protocol::Mptcp | Protocol::Sctp | Protocol::Dccp => TCP_LISTEN,
            Protocol::Udp | Protocol::Udplite | Protocol::Raw => TCP_CLOSE,
        }
    }

    /// The type of the question, which its answers bear too.
    pub(super) const fn kind(self) -> u16 {
        match self.family {
            Some(_) => SOCK_DIAG_BY_FAMILY,
            None => TCPDIAG_GETSOCK,
        }
    }

    /// The family that an answer with this address family speaks of; `None` for one that was not asked for.
    pub(super) fn family_of(self, address_family: u8) -> Option<Family> {
        let told = [Family::V4, Family::V6].into_iter().find(|family| number(*family) == address_family)?;
        self.family.is_none_or(|asked| asked == told).then_some(told)
    }

    /// The question as one netlink message.
    pub(super) fn encode(self) -> Vec<u8> {
        match self.family {
            Some(family) => self.encode_of(family),
            None => self.encode_of_both(),
        }
    }

    /// A `struct nlmsghdr`, a `struct inet_diag_req_v2`, and an attribute for a protocol number above 255. With it the
    /// old field says 0: a kernel that does not know the attribute then refuses instead of dumping something else.
    fn encode_of(self, family: Family) -> Vec<u8> {
        let protocol = protocol_number(self.protocol);
        let attribute_length: u32 = if protocol > 255 { 8 } else { 0 };
        let mut bytes = self.header(72 + attribute_length);
        // Family, protocol, and neither extensions nor padding: v6-only and the cgroup id come unasked.
        bytes.extend([number(family), u8::try_from(protocol).unwrap_or(0), 0, 0]);
        bytes.extend((1_u32 << self.state()).to_ne_bytes());
        // A `struct inet_diag_sockid` of zeros matches every socket.
        bytes.extend([0; 48]);
        if attribute_length > 0 {
            bytes.extend(8_u16.to_ne_bytes());
            bytes.extend(INET_DIAG_REQ_PROTOCOL.to_ne_bytes());
            bytes.extend(protocol.to_ne_bytes());
        }
        bytes
    }

    /// The older question of TCP alone, a `struct inet_diag_req`: its dump passes over no family, so that the kernel
    /// walks its table of listeners once, which is most of the work where few of them are in the namespace.
    fn encode_of_both(self) -> Vec<u8> {
        let mut bytes = self.header(76);
        // No family, lengths of prefixes or extensions; then a `struct inet_diag_sockid`.
        bytes.extend([0; 4 + 48]);
        bytes.extend((1_u32 << self.state()).to_ne_bytes());
        // A field of the kernel's own.
        bytes.extend([0; 4]);
        bytes
    }

    fn header(self, length: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(80);
        bytes.extend(length.to_ne_bytes());
        bytes.extend(self.kind().to_ne_bytes());
        bytes.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
        bytes.extend(self.sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes
    }
}

/// `AF_INET` or `AF_INET6`.
const fn number(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

const fn protocol_number(protocol: Protocol) -> u32 {
    match protocol {
        Protocol::Tcp => IPPROTO_TCP,
        Protocol::Mptcp => IPPROTO_MPTCP,
        Protocol::Udp => IPPROTO_UDP,
        Protocol::Udplite => IPPROTO_UDPLITE,
        Protocol::Sctp => IPPROTO_SCTP,
        Protocol::Dccp => IPPROTO_DCCP,
        Protocol::Raw => IPPROTO_RAW,
    }
}
