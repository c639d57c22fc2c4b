//! Which socket tables this kernel has.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use inventory::{Gap, Protocol, RawText, Scope};

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    const BOTH: [Family; 2] = [Family::V4, Family::V6];
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// The protocols that the kernel has registered. Asking for any other would load its module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Protocols(Vec<(Protocol, Vec<Family>)>);

/// Far above the 2 KiB that a kernel with every protocol prints.
const LONGEST: u64 = 256 * 1024;
/// With room for it all, one read suffices.
const USUAL: usize = 8 * 1024;

impl Protocols {
    /// Reads `net/protocols` under `proc` (proc(5)). Where that cannot be read, TCP and UDP are taken for granted, and
    /// the gap says so.
    pub(crate) fn read(proc: &Path) -> (Self, Option<Gap>) {
        let path = proc.join("self/net/protocols");
        match read_bounded(&path) {
            Ok(table) => (Self::parse(&table), None),
            Err(error) => (Self::taken_for_granted(), Some(unreadable(&path, &error))),
        }
    }

    /// Reads the table: a header, then one protocol a line, its name first.
    pub(crate) fn parse(table: &[u8]) -> Self {
        let lines = table.split(|byte| *byte == b'\n').skip(1);
        let names: Vec<&[u8]> =
            lines.map(|line| line.split(|byte| *byte == b' ').next().unwrap_or_default()).collect();
        Self::where_had(|protocol, family| names.contains(&kernel_name(protocol, family).as_bytes()))
    }

    /// Each protocol that the kernel has, with the families that it has it in, in the order of [`Protocol::ALL`].
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Protocol, &[Family])> {
        self.0.iter().map(|(protocol, families)| (*protocol, families.as_slice()))
    }

    fn taken_for_granted() -> Self {
        Self::where_had(|protocol, _| matches!(protocol, Protocol::Tcp | Protocol::Udp))
    }

    fn where_had(had: impl Fn(Protocol, Family) -> bool) -> Self {
        let families = |protocol| Family::BOTH.into_iter().filter(|family| had(protocol, *family)).collect();
        let all = Protocol::ALL.into_iter().map(|protocol| (protocol, families(protocol)));
        Protocols(all.filter(|(_, families): &(_, Vec<_>)| !families.is_empty()).collect())
    }
}

/// How many sockets of a protocol the namespace has whose table this is; `None` where that is not told.
pub(crate) fn in_use(table: &[u8], protocol: Protocol, family: Family) -> Option<u64> {
    let table = str::from_utf8(table).ok()?;
    let mut rows = table.lines().map(str::split_ascii_whitespace);
    let mut row =
        rows.find_map(|mut row| (row.next() == Some(kernel_name(protocol, family))).then_some(row))?;
    // After the size of a socket.
    row.nth(1)?.parse().ok()
}

/// `struct proto.name` in the kernel.
const fn kernel_name(protocol: Protocol, family: Family) -> &'static str {
    let (v4, v6) = match protocol {
        Protocol::Tcp => ("TCP", "TCPv6"),
        Protocol::Mptcp => ("MPTCP", "MPTCPv6"),
        Protocol::Udp => ("UDP", "UDPv6"),
        Protocol::Udplite => ("UDP-Lite", "UDPLITEv6"),
        Protocol::Sctp => ("SCTP", "SCTPv6"),
        Protocol::Dccp => ("DCCP", "DCCPv6"),
        Protocol::Raw => ("RAW", "RAWv6"),
    };
    match family {
        Family::V4 => v4,
        Family::V6 => v6,
    }
}

/// The whole of a text as long as `net/protocols` can be.
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut table = Vec::with_capacity(USUAL);
    File::open(path)?.take(LONGEST).read_to_end(&mut table)?;
    Ok(table)
}

fn unreadable(path: &Path, error: &io::Error) -> Gap {
    let reason = format!(
        "{}: {error}; only TCP and UDP are looked for, other protocols are not known to exist: mount /proc",
        path.display()
    );
    Gap {
        collector: "sock_diag".to_owned(),
        scope: Scope::Sockets,
        protocol: None,
        netns: None,
        reason: RawText::new(reason.into_bytes()),
    }
}

/// A table of protocols.
#[cfg(any(test, fuzzing))]
pub fn fuzzed(table: &[u8]) {
    let known = Protocols::parse(table);
    assert!(known.iter().all(|(_, families)| matches!(families.len(), 1 | 2)));
    for protocol in Protocol::ALL {
        let told = Family::BOTH.map(|family| in_use(table, protocol, family));
        assert!(told.iter().flatten().count() <= table.split(|byte| *byte == b'\n').count());
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use inventory::Protocol;

    use super::{Family, Protocols, in_use};

    /// Linux 6.18 without SCTP, columns cut.
    const TABLE: &[u8] = b"protocol  size sockets  memory press maxhdr  slab module
AF_VSOCK  1240      0      -1   NI       0   yes  kernel
PACKET    1600      0      -1   NI       0   no   kernel
MPTCPv6   2064      0     371   no       0   yes  kernel
PINGv6    1344      0      -1   NI       0   yes  kernel
RAWv6     1344      0      -1   NI       0   yes  kernel
UDPLITEv6 1472      0       0   NI       0   yes  kernel
UDPv6     1472      0       0   NI       0   yes  kernel
TCPv6     2432      0     371   no     192   yes  kernel
UNIX      1152      0      -1   NI       0   yes  kernel
UDP-Lite  1344      0       0   NI       0   yes  kernel
MPTCP     1936      0     371   no       0   yes  kernel
PING      1016      0      -1   NI       0   yes  kernel
RAW       1152      0      -1   NI       0   yes  kernel
UDP       1344      0       0   NI       0   yes  kernel
TCP       2304      1     371   no     192   yes  kernel
";

    fn listed(protocols: &Protocols) -> Vec<(Protocol, &[Family])> {
        protocols.iter().collect()
    }

    #[test]
    fn names_what_the_kernel_has_and_nothing_else() {
        let has = [Protocol::Tcp, Protocol::Mptcp, Protocol::Udp, Protocol::Udplite, Protocol::Raw];
        let expected = has.map(|protocol| (protocol, &Family::BOTH[..]));
        assert_eq!(listed(&Protocols::parse(TABLE)), expected);
    }

    #[test]
    fn counts_the_sockets_of_one_protocol() {
        assert_eq!(in_use(TABLE, Protocol::Tcp, Family::V4), Some(1));
        assert_eq!(in_use(TABLE, Protocol::Tcp, Family::V6), Some(0));
        assert_eq!(in_use(TABLE, Protocol::Sctp, Family::V4), None);
        assert_eq!(in_use(b"", Protocol::Tcp, Family::V4), None);
        assert_eq!(in_use(b"protocol  size\nTCP       2304\n", Protocol::Tcp, Family::V4), None);
    }

    #[test]
    fn tells_a_kernel_without_ipv6() {
        let parsed = Protocols::parse(b"protocol  size\nTCP       2304\nSCTP      1800\n");
        let v4 = &[Family::V4][..];
        assert_eq!(listed(&parsed), [(Protocol::Tcp, v4), (Protocol::Sctp, v4)]);
    }

    #[test]
    fn an_unreadable_table_is_a_gap_and_loads_no_module() {
        let (protocols, gap) = Protocols::read(Path::new("/nowhere"));
        let both = &Family::BOTH[..];
        assert_eq!(listed(&protocols), [(Protocol::Tcp, both), (Protocol::Udp, both)]);
        assert!(gap.unwrap().reason.escaped().contains("/nowhere/self/net/protocols"));
    }
}
