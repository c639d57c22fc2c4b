//! Socket tables through sock_diag(7), the kernel's binary interface that filters by state before it answers.

mod counted;
mod dump;
mod fields;
mod query;
mod reply;
#[cfg(test)]
mod tests;

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use inventory::{Protocol, Scope};
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, getsockname, recvfrom, sendto,
    socket_with,
};

use crate::collector::{Flaw, NO_ROOM, Refusal, SocketCollector, Table};
use crate::protocols::Family;
use dump::{Broken, Dump, Step};
use query::Query;

/// How often a dump that was torn is repeated.
const ATTEMPTS: u32 = 5;
/// The kernel answers while we read, so this is reached only when something is badly wrong.
const PATIENCE: Duration = Duration::from_secs(5);
/// The kernel fills at most 32 KiB at a time.
const DATAGRAM: usize = 64 * 1024;

/// Asks through a netlink socket of the namespace that the thread was in when it was made.
#[derive(Debug)]
pub(crate) struct SockDiag {
    line: Result<Line, Errno>,
    buffer: Vec<u8>,
    sequence: u32,
    /// The v6 half of the TCP dump whose v4 half was asked for.
    other_half: Option<Dump>,
}

/// An open netlink socket and its port.
#[derive(Debug)]
struct Line {
    socket: OwnedFd,
    port: u32,
}

impl SockDiag {
    /// Opens a socket in the calling thread's namespace. A failure is told by each table that is asked for.
    pub(crate) fn open() -> Self {
        SockDiag { line: Line::open(), buffer: vec![0; DATAGRAM], sequence: 0, other_half: None }
    }

    /// The dump of one table. TCP is asked once for both families, as the kernel walks one table for them.
    fn of_table(&mut self, protocol: Protocol, family: Family, room: usize) -> (Dump, Result<(), Broken>) {
        let half = match (protocol, family) {
            (Protocol::Tcp, Family::V4) => self.v4_half(room),
            (Protocol::Tcp, Family::V6) => self.other_half.take(),
            _ => None,
        };
        half.map_or_else(|| self.dump(protocol, Some(family), room), |half| (half, Ok(())))
    }

    /// `None` where the question about both was not answered to the end: the newer one, about one, may be.
    fn v4_half(&mut self, room: usize) -> Option<Dump> {
        let (both, end) = self.dump(Protocol::Tcp, None, room);
        let (v4, v6) = both.split();
        self.other_half = end.is_ok().then_some(v6);
        end.is_ok().then_some(v4)
    }

    /// Dumps one table, again while it comes torn. What had come when a dump broke is kept.
    fn dump(
        &mut self,
        protocol: Protocol,
        family: Option<Family>,
        room: usize,
    ) -> (Dump, Result<(), Broken>) {
        let mut attempt = 1;
        loop {
            let (dump, end) = self.dump_once(protocol, family, room);
            if end.is_err() || !dump.torn || attempt == ATTEMPTS {
                return (dump, end);
            }
            attempt += 1;
        }
    }

    fn dump_once(
        &mut self,
        protocol: Protocol,
        family: Option<Family>,
        room: usize,
    ) -> (Dump, Result<(), Broken>) {
        self.sequence = self.sequence.wrapping_add(1);
        let query = Query { protocol, family, sequence: self.sequence };
        match &self.line {
            Ok(line) => {
                let mut dump = Dump::new(query, line.port, room);
                let end = line.ask(query).and_then(|()| line.hear(&mut dump, &mut self.buffer));
                if matches!(end, Err(Broken::Line(_) | Broken::Malformed(_))) {
                    // What is left of the answer must not meet the next question: the kernel runs one dump a socket.
                    self.line = Line::open();
                }
                (dump, end)
            }
            Err(errno) => (Dump::new(query, 0, room), Err(lost(*errno))),
        }
    }
}

impl SocketCollector for SockDiag {
    fn name(&self) -> &'static str {
        "sock_diag"
    }

    fn table(&mut self, protocol: Protocol, family: Family, room: usize) -> Result<Table, Refusal> {
        if protocol == Protocol::Mptcp && counted::is_without_mptcp(family) {
            return Ok(Table::default());
        }
        let (dump, end) = self.of_table(protocol, family, room);
        match end {
            Err(broken) if dump.found.is_empty() => Err(refusal(&broken, protocol, family)),
            end => Ok(table(dump, end.err(), family)),
        }
    }
}

/// A dump as a table, with what it lacks in words.
fn table(mut dump: Dump, broken: Option<Broken>, family: Family) -> Table {
    // A socket that moved within its bucket between two datagrams stands in both.
    dump.found.sort_unstable_by_key(|socket| socket.cookie);
    dump.found.dedup_by_key(|socket| socket.cookie);
    let lacks = |reason| Flaw { scope: Scope::Sockets, reason };
    let mut flaws = Vec::new();
    if let Some(broken) = broken {
        flaws
            .push(lacks(format!("the {family} dump broke off after {} sockets: {broken}", dump.found.len())));
    }
    if dump.torn {
        flaws.push(lacks(format!("the {family} table changed during each of {ATTEMPTS} dumps of it")));
    }
    if dump.full {
        flaws.push(lacks(NO_ROOM.to_owned()));
    }
    Table { found: dump.found, flaws }
}

fn refusal(broken: &Broken, protocol: Protocol, family: Family) -> Refusal {
    let reason = match broken {
        Broken::Refused(libc::ENOENT) => format!("the kernel lacks a module: modprobe {}", module(protocol)),
        Broken::Line(libc::EPERM | libc::EACCES | libc::EAFNOSUPPORT) => {
            format!("{broken}: allow the sensor sockets of the family AF_NETLINK")
        }
        broken => format!("{protocol} over {family}: {broken}"),
    };
    Refusal { reason, everywhere: matches!(broken, Broken::Refused(libc::ENOENT)) }
}

/// The module that dumps a protocol's table.
const fn module(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp_diag",
        Protocol::Mptcp => "mptcp_diag",
        Protocol::Udp | Protocol::Udplite => "udp_diag",
        Protocol::Sctp => "sctp_diag",
        Protocol::Dccp => "dccp_diag",
        Protocol::Raw => "raw_diag",
    }
}

impl Line {
    fn open() -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::SOCK_DIAG))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        let port = SocketAddrNetlink::try_from(getsockname(&socket)?)?.pid();
        Ok(Line { socket, port })
    }

    fn ask(&self, query: Query) -> Result<(), Broken> {
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.socket, &query.encode(), SendFlags::empty(), &kernel).map_err(lost)?;
        Ok(())
    }

    /// Reads datagrams until the dump ends.
    fn hear(&self, dump: &mut Dump, buffer: &mut [u8]) -> Result<(), Broken> {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            let (_, length, sender) = match recvfrom(&self.socket, &mut *buffer, RecvFlags::TRUNC) {
                Err(Errno::INTR) => continue,
                Err(Errno::NOBUFS) => {
                    dump.torn = true;
                    continue;
                }
                received => received.map_err(lost)?,
            };
            // Any process may send to our port; only the kernel is number 0.
            let sender = sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok());
            if sender.is_none_or(|sender| sender.pid() != 0) {
                continue;
            }
            let datagram = buffer.get(..length).ok_or(Broken::Malformed("a datagram above 64 KiB"))?;
            if dump.take(datagram)? == Step::End {
                return Ok(());
            }
        }
        Err(lost(Errno::TIMEDOUT))
    }
}

fn lost(errno: Errno) -> Broken {
    Broken::Line(errno.raw_os_error())
}

/// A datagram in answer to what the first byte says was asked: in its lower half a protocol, in the other a family.
#[cfg(any(test, fuzzing))]
pub fn fuzzed(bytes: &[u8]) {
    const ROOM: usize = 16;
    // A header and a `struct inet_diag_msg`.
    const LEAST: usize = 16 + 72;
    let Some((asked, datagram)) = bytes.split_first() else { return };
    let protocol = Protocol::ALL[usize::from(asked & 0xf) % Protocol::ALL.len()];
    let family = match asked >> 4 {
        0 if protocol == Protocol::Tcp => None,
        odd if odd % 2 == 1 => Some(Family::V6),
        _ => Some(Family::V4),
    };
    let mut dump = Dump::new(Query { protocol, family, sequence: 7 }, 24_622, ROOM);
    let end = dump.take(datagram);
    assert!(dump.found.len() <= ROOM.min(datagram.len() / LEAST), "{} sockets", dump.found.len());
    for socket in &dump.found {
        assert_eq!(socket.protocol, protocol);
        assert!(family.is_none_or(|family| (family == Family::V4) == socket.address.is_ipv4()));
        assert!(socket.more_addresses.len() * 8 <= datagram.len(), "an address takes more than 8 bytes");
    }
    if family.is_none() {
        let (v4, v6) = dump.split();
        assert!(v4.found.iter().all(|socket| socket.address.is_ipv4()));
        assert!(v6.found.iter().all(|socket| socket.address.is_ipv6()));
    } else {
        let table = table(dump, end.err(), family.unwrap_or(Family::V4));
        assert!(table.flaws.iter().all(|flaw| flaw.reason.chars().all(inventory::is_seen)));
    }
}
