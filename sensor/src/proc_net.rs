//! Socket tables as text, from /proc/PID/net (proc_pid_net(5)): slow, but neither a netlink socket nor a module is
//! needed, so it serves where everything else is refused.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use inventory::{Protocol, Scope};

use crate::collector::{Flaw, NO_ROOM, Refusal, Socket, SocketCollector, Table};
use crate::protocols::Family;

/// Some 150 bytes a socket in any state: a million sockets and a half.
const LONGEST: u64 = 256 * 1024 * 1024;

/// Reads the files of one folder.
#[derive(Debug)]
pub(crate) struct ProcNet {
    folder: PathBuf,
}

impl ProcNet {
    /// The tables of the namespace that the calling thread is in.
    pub(crate) fn of_this_thread() -> Self {
        ProcNet { folder: PathBuf::from("/proc/thread-self/net") }
    }
}

impl SocketCollector for ProcNet {
    fn name(&self) -> &'static str {
        "proc_net"
    }

    fn table(&mut self, protocol: Protocol, family: Family, room: usize) -> Result<Table, Refusal> {
        let name =
            file_name(protocol, family).ok_or_else(|| Refusal::here(format!("no text lists {protocol}")))?;
        let path = self.folder.join(name);
        let refuse = |error: io::Error| Refusal::here(format!("{}: {error}", path.display()));
        let file = File::open(&path).map_err(refuse)?;
        let mut table = read(BufReader::new(file.take(LONGEST)), protocol, room).map_err(refuse)?;
        // What it cannot tell of no socket is nothing that is lacking.
        if !table.found.is_empty() {
            table.flaws.push(Flaw {
                scope: Scope::Addresses,
                reason: "/proc/net tells neither bound devices nor v6-only sockets nor cookies".to_owned(),
            });
        }
        Ok(table)
    }
}

const fn file_name(protocol: Protocol, family: Family) -> Option<&'static str> {
    match (protocol, family) {
        (Protocol::Tcp, Family::V4) => Some("tcp"),
        (Protocol::Tcp, Family::V6) => Some("tcp6"),
        (Protocol::Udp, Family::V4) => Some("udp"),
        (Protocol::Udp, Family::V6) => Some("udp6"),
        (Protocol::Udplite, Family::V4) => Some("udplite"),
        (Protocol::Udplite, Family::V6) => Some("udplite6"),
        (Protocol::Raw, Family::V4) => Some("raw"),
        (Protocol::Raw, Family::V6) => Some("raw6"),
        (Protocol::Mptcp | Protocol::Sctp | Protocol::Dccp, _) => None,
    }
}

/// Reads a table line by line, its header passed over. One odd line is a flaw and not the end.
fn read(text: impl BufRead, protocol: Protocol, room: usize) -> io::Result<Table> {
    let mut table = Table::default();
    let mut odd = 0_usize;
    let mut full = false;
    for line in text.split(b'\n').skip(1) {
        match parse(&line?, protocol) {
            None => odd += 1,
            Some(None) => {}
            Some(Some(_)) if table.found.len() == room => full = true,
            Some(Some(socket)) => table.found.push(socket),
        }
    }
    let lacks = |reason| Flaw { scope: Scope::Sockets, reason };
    if odd > 0 {
        table.flaws.push(lacks(format!("{odd} lines were not understood")));
    }
    if full {
        table.flaws.push(lacks(NO_ROOM.to_owned()));
    }
    Ok(table)
}

/// Reads `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`, numbers in hexadecimal up to the
/// timer. `Some(None)` for a socket that does not listen.
fn parse(line: &[u8], protocol: Protocol) -> Option<Option<Socket>> {
    let mut fields = str::from_utf8(line).ok()?.split_ascii_whitespace().skip(1);
    let (address, port) = parse_address(fields.next()?)?;
    let (peer, peer_port) = parse_address(fields.next()?)?;
    let listens = match (protocol, fields.next()?) {
        (Protocol::Tcp, state) => state == "0A",
        (_, state) => state == "07" && peer.is_unspecified() && peer_port == 0,
    };
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    let socket = Socket {
        protocol,
        address,
        more_addresses: Vec::new(),
        port,
        device_index: 0,
        inode,
        cookie: 0,
        uid,
        ipv6_only: None,
        backlog: None,
        cgroup_id: None,
        reuse_port: None,
        asked_for_port: None,
        peer: None,
    };
    Some(listens.then_some(socket))
}

/// `0100007F:1F90`: the address as 32-bit words in the byte order of the machine, the port as a number.
fn parse_address(field: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = field.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let address = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for (index, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(index * 8)?);
            }
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some((address, u16::from_str_radix(port, 16).ok()?))
}

/// A table of the protocol that the first byte says. A line with the address that was read is read the same.
#[cfg(any(test, fuzzing))]
pub fn fuzzed(bytes: &[u8]) {
    const ROOM: usize = 16;
    let Some((protocol, text)) = bytes.split_first() else { return };
    let protocol = Protocol::ALL[usize::from(*protocol) % Protocol::ALL.len()];
    let Ok(table) = read(text, protocol, ROOM) else { return };
    assert!(table.found.len() <= ROOM && table.flaws.len() <= 2);
    for socket in table.found {
        let address = match socket.address {
            IpAddr::V4(v4) => format!("{:08X}", u32::from_ne_bytes(v4.octets())),
            IpAddr::V6(v6) => {
                let words = v6.octets();
                let words = words.as_chunks::<4>().0.iter();
                words.map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect()
            }
        };
        let written = format!("{address}:{:04X}", socket.port);
        assert_eq!(parse_address(&written), Some((socket.address, socket.port)));
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use inventory::Protocol;
    use proptest::prelude::{any, proptest};

    use super::{ProcNet, parse, read};
    use crate::collector::{NO_ROOM, SocketCollector};
    use crate::protocols::Family;

    /// Linux 6.18, little-endian: sshd on 0.0.0.0:22, a connection of it, a program on 127.0.0.1:8080.
    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7123 1 ffff 100 0 0 10 0
   1: 0100007F:0016 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 7200 1 ffff 20 4 30 10 -1
   2: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 8123 1 ffff 100 0 0 10 0
";

    /// A raw socket for ICMP (its number where the port would be), one for ICMPv6, one connected to a peer.
    const RAW6: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
   58: 00000000000000000000000000000000:003A 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 9001 2 ffff 0
   58: 000080FE00000000000000000100000A:003A 000080FE00000000000000000200000A:0000 01 00000000:00000000 00:00000000 00000000     0        0 9002 2 ffff 0
";

    #[test]
    #[cfg(target_endian = "little")]
    fn reads_listeners_only() {
        let table = read(TCP.as_bytes(), Protocol::Tcp, 10).unwrap();
        let seen: Vec<String> = table
            .found
            .iter()
            .map(|socket| format!("{} {} {} {}", socket.address, socket.port, socket.uid, socket.inode))
            .collect();
        assert_eq!(seen, ["0.0.0.0 22 0 7123", "127.0.0.1 8080 1000 8123"]);
        assert_eq!(table.flaws, []);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_raw_socket_with_a_peer_hears_nobody_else() {
        let table = read(RAW6.as_bytes(), Protocol::Raw, 10).unwrap();
        let seen: Vec<_> = table.found.iter().map(|socket| (socket.port, socket.inode)).collect();
        assert_eq!(seen, [(58, 9001)]);
    }

    #[test]
    fn an_odd_line_and_a_full_house_are_flaws() {
        let text = format!("{TCP}   3: nonsense\n");
        let table = read(text.as_bytes(), Protocol::Tcp, 1).unwrap();
        let reasons: Vec<&str> = table.flaws.iter().map(|flaw| flaw.reason.as_str()).collect();
        assert_eq!(reasons, ["1 lines were not understood", NO_ROOM]);
    }

    #[test]
    fn finds_real_sockets() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("[::1]:0").unwrap();
        let ports = [
            (Protocol::Tcp, Family::V4, tcp.local_addr().unwrap()),
            (Protocol::Udp, Family::V6, udp.local_addr().unwrap()),
        ];
        for (protocol, family, bound) in ports {
            let table = ProcNet::of_this_thread().table(protocol, family, 100_000).unwrap();
            let same = |socket: &&_| {
                let socket: &crate::collector::Socket = socket;
                socket.address == bound.ip() && socket.port == bound.port()
            };
            assert_eq!(table.found.iter().filter(same).count(), 1, "{protocol} {bound}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(line in any::<Vec<u8>>()) {
            drop(parse(&line, Protocol::Udp));
        }
    }
}
