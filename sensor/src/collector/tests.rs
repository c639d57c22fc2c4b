use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Command;

use inventory::{Protocol, Scope};
use rustix::net::sockopt::set_ipv6_v6only;
use rustix::net::{AddressFamily, SocketType, bind, ipproto, listen};

use super::{Flaw, Pass, Refusal, Socket, SocketCollector, Sockets, Table, collectors};
use crate::proc_net::ProcNet;
use crate::protocols::{Family, Protocols};
use crate::sock_diag::SockDiag;
use crate::testing::{in_new_namespace, is_root, socket};
use crate::{portable, sys};

const V4: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080));
const V6: SocketAddr = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 8080, 0, 0));
const V6_ANY: SocketAddr = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 9090, 0, 0));

fn protocols() -> Protocols {
    let (protocols, gap) = Protocols::read(Path::new("/proc"));
    assert_eq!(gap, None);
    protocols
}

fn all() -> Sockets {
    Pass::default().collect(&mut collectors(), &protocols(), 10_000)
}

/// `tcp 127.0.0.1 8080`
fn shown(found: &[Socket]) -> Vec<String> {
    let mut shown: Vec<String> = found
        .iter()
        .map(|socket| format!("{} {} {}", socket.protocol, socket.address, socket.port))
        .collect();
    shown.sort();
    shown
}

fn stream(at: SocketAddr, protocol: Option<rustix::net::Protocol>, prepare: impl Fn(&OwnedFd)) -> OwnedFd {
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let stream = socket(family, SocketType::STREAM, protocol);
    prepare(&stream);
    bind(&stream, &at).unwrap();
    listen(&stream, 5).unwrap();
    stream
}

#[test]
fn every_protocol_of_the_kernel_is_found() {
    if !is_root("every_protocol_of_the_kernel_is_found") {
        return;
    }
    in_new_namespace(|| {
        let _tcp = stream(V4, None, |_| {});
        let mptcp_at = SocketAddr::new(V4.ip(), 8081);
        let _mptcp = stream(mptcp_at, Some(ipproto::MPTCP), |_| {});
        let _udp = UdpSocket::bind(V6).unwrap();
        let connected = UdpSocket::bind(SocketAddr::new(V4.ip(), 7070)).unwrap();
        connected.connect(V4).unwrap();
        let udplite = socket(AddressFamily::INET, SocketType::DGRAM, Some(ipproto::UDPLITE));
        bind(&udplite, &V4).unwrap();
        let _raw = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP));

        let sockets = all();
        assert_eq!(
            shown(&sockets.found),
            [
                "mptcp 127.0.0.1 8081",
                "raw 0.0.0.0 1",
                "tcp 127.0.0.1 8080",
                "tcp 127.0.0.1 8081",
                "udp ::1 8080",
                "udplite 127.0.0.1 8080",
            ]
        );
        assert_eq!(sockets.tables.seen, sockets.tables.of);
        // Where the kernel has no raw_diag the text serves, and says what it cannot tell.
        assert!(sockets.gaps.iter().all(|gap| gap.scope == Scope::Addresses), "{:?}", sockets.gaps);
    });
}

#[test]
fn an_empty_namespace_is_empty_and_seen_whole() {
    if !is_root("an_empty_namespace_is_empty_and_seen_whole") {
        return;
    }
    let sockets = in_new_namespace(all);
    assert_eq!(sockets.found, []);
    assert_eq!(sockets.tables.seen, sockets.tables.of);
}

#[test]
fn v6_only_dual_stack_device_and_backlog_are_told() {
    if !is_root("v6_only_dual_stack_device_and_backlog_are_told") {
        return;
    }
    in_new_namespace(|| {
        let _dual = stream(V6_ANY, None, |_| {});
        let only_at = SocketAddr::new(V6_ANY.ip(), 9091);
        let _only = stream(only_at, None, |fd| set_ipv6_v6only(fd, true).unwrap());
        let _device = stream(V4, None, |fd| sys::bind_to_device(fd.as_fd(), "lo").unwrap());
        let mut found = all().found;
        found.sort_by_key(|socket| socket.port);
        let told: Vec<_> =
            found.iter().map(|socket| (socket.port, socket.ipv6_only, socket.device_index)).collect();
        assert_eq!(told, [(8080, None, 1), (9090, Some(false), 0), (9091, Some(true), 0)]);
        assert!(
            found.iter().all(|socket| socket.backlog == Some(5) && socket.cookie != 0 && socket.inode != 0)
        );
    });
}

#[test]
fn reuse_port_twins_are_two() {
    if !is_root("reuse_port_twins_are_two") {
        return;
    }
    in_new_namespace(|| {
        let twin = || stream(V4, None, |fd| rustix::net::sockopt::set_socket_reuseport(fd, true).unwrap());
        let _twins = (twin(), twin());
        let found = all().found;
        assert_eq!(found.len(), 2);
        assert_ne!(found[0].cookie, found[1].cookie);
    });
}

/// Refuses everything, as a seccomp filter without AF_NETLINK makes sock_diag do.
struct Refuses;

impl SocketCollector for Refuses {
    fn name(&self) -> &'static str {
        "sock_diag"
    }

    fn table(&mut self, _: Protocol, _: Family, _: usize) -> Result<Table, Refusal> {
        Err(Refusal::here("Permission denied".to_owned()))
    }
}

#[test]
fn where_sock_diag_is_refused_netstat2_serves_and_the_text_does_the_rest() {
    if !is_root("where_sock_diag_is_refused_netstat2_serves_and_the_text_does_the_rest") {
        return;
    }
    in_new_namespace(|| {
        let _tcp = stream(V4, None, |_| {});
        let _udp = UdpSocket::bind(V6).unwrap();
        let mut collectors: [Box<dyn SocketCollector>; 3] =
            [Box::new(Refuses), Box::new(portable::Portable), Box::new(ProcNet::of_this_thread())];
        let sockets = Pass::default().collect(&mut collectors, &protocols(), 100);
        assert_eq!(shown(&sockets.found), ["tcp 127.0.0.1 8080", "udp ::1 8080"]);
        let of = |protocol| sockets.gaps.iter().filter(move |gap| gap.protocol == Some(protocol));
        let netstat2 = of(Protocol::Tcp).find(|gap| gap.collector == "netstat2").unwrap();
        assert!(netstat2.reason.escaped().ends_with("; asked because sock_diag failed: Permission denied"));
        assert_eq!(netstat2.scope, Scope::Sockets);
        // Nobody tells MPTCP: that is no empty table.
        let untold = of(Protocol::Mptcp).next().unwrap();
        assert_eq!((untold.collector.as_str(), untold.scope), ("sock_diag", Scope::Sockets));
        assert!(sockets.tables.seen < sockets.tables.of);
    });
}

/// Serves what it is given.
struct Serves(Vec<Socket>);

impl SocketCollector for Serves {
    fn name(&self) -> &'static str {
        "given"
    }

    fn table(&mut self, protocol: Protocol, family: Family, room: usize) -> Result<Table, Refusal> {
        let mine = |socket: &&Socket| {
            socket.protocol == protocol && socket.address.is_ipv4() == (family == Family::V4)
        };
        let found: Vec<Socket> = self.0.iter().filter(mine).take(room).cloned().collect();
        let flaws = vec![Flaw { scope: Scope::Addresses, reason: format!("room {room}") }];
        Ok(Table { found, flaws })
    }
}

fn given(protocol: Protocol, inode: u64, cookie: u64) -> Socket {
    Socket {
        protocol,
        address: V4.ip(),
        more_addresses: Vec::new(),
        port: 80,
        device_index: 0,
        inode,
        cookie,
        uid: 0,
        ipv6_only: None,
        backlog: None,
        cgroup_id: None,
        reuse_port: None,
        asked_for_port: None,
        peer: None,
    }
}

#[test]
fn a_subflow_is_told_beside_its_parent() {
    let protocols = Protocols::parse(b"\nMPTCP \nTCP \n");
    let sockets = vec![given(Protocol::Tcp, 5, 1), given(Protocol::Mptcp, 5, 2)];
    let mut collectors: [Box<dyn SocketCollector>; 1] = [Box::new(Serves(sockets))];
    let found = Pass::default().collect(&mut collectors, &protocols, 100).found;
    let told: Vec<_> = found.iter().map(|socket| (socket.protocol, socket.cookie)).collect();
    assert_eq!(told, [(Protocol::Tcp, 1), (Protocol::Mptcp, 2)]);
}

#[test]
fn mptcp_is_not_asked_for_where_no_tcp_listens() {
    let protocols = Protocols::parse(b"\nMPTCP \nTCP \nTCPv6 \nMPTCPv6 \n");
    let ask = |sockets: Vec<Socket>| {
        let mut collectors: [Box<dyn SocketCollector>; 1] = [Box::new(Serves(sockets))];
        let sockets = Pass::default().collect(&mut collectors, &protocols, 100);
        assert_eq!(sockets.tables.seen, 2);
        sockets.gaps.iter().filter(|gap| gap.protocol == Some(Protocol::Mptcp)).count()
    };
    assert_eq!(ask(Vec::new()), 0);
    assert_eq!(ask(vec![given(Protocol::Tcp, 1, 1)]), 1);
}

/// Refuses everywhere, and must not be asked again.
struct Lacks(bool);

impl SocketCollector for Lacks {
    fn name(&self) -> &'static str {
        "lacks"
    }

    fn table(&mut self, _: Protocol, _: Family, _: usize) -> Result<Table, Refusal> {
        assert!(!std::mem::replace(&mut self.0, true), "asked again");
        Err(Refusal { reason: "no module".to_owned(), everywhere: true })
    }
}

#[test]
fn what_is_refused_everywhere_is_asked_for_once_a_pass() {
    let protocols = Protocols::parse(b"\nRAW \n");
    let mut pass = Pass::default();
    let mut collectors: [Box<dyn SocketCollector>; 1] = [Box::new(Lacks(false))];
    let mut gaps = || pass.collect(&mut collectors, &protocols, 100).gaps;
    let first = gaps();
    assert_eq!(first[0].reason.escaped(), "lacks: no module");
    assert_eq!(gaps(), first);
}

#[test]
fn room_is_shared_by_all_tables() {
    let protocols = Protocols::parse(b"\nTCP \nUDP \n");
    let sockets = vec![given(Protocol::Tcp, 1, 1), given(Protocol::Udp, 2, 2), given(Protocol::Udp, 3, 3)];
    let mut collectors: [Box<dyn SocketCollector>; 1] = [Box::new(Serves(sockets))];
    let sockets = Pass::default().collect(&mut collectors, &protocols, 2);
    assert_eq!(sockets.found.len(), 2);
    let reasons: Vec<String> = sockets.gaps.iter().map(|gap| gap.reason.escaped()).collect();
    assert_eq!(reasons, ["room 2", "room 1"]);
}

#[test]
fn a_thousand_listeners_and_room_for_fewer() {
    let listeners: Vec<TcpListener> = (0..500).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let mut sock_diag = SockDiag::open();
    let table = sock_diag.table(Protocol::Tcp, Family::V4, 10_000).unwrap();
    for listener in &listeners {
        let port = listener.local_addr().unwrap().port();
        assert!(table.found.iter().any(|socket| socket.port == port));
    }
    assert_eq!(table.flaws, []);
    let cut = sock_diag.table(Protocol::Tcp, Family::V4, 400).unwrap();
    assert_eq!((cut.found.len(), cut.flaws.len()), (400, 1));
}

#[test]
fn one_dump_of_tcp_serves_each_family_once() {
    if !is_root("one_dump_of_tcp_serves_each_family_once") {
        return;
    }
    in_new_namespace(|| {
        let _v4 = stream(V4, None, |_| {});
        let _v6 = stream(V6, None, |_| {});
        let mut sock_diag = SockDiag::open();
        let mut of = |family, room| sock_diag.table(Protocol::Tcp, family, room).unwrap();
        assert_eq!(shown(&of(Family::V4, 2).found), ["tcp 127.0.0.1 8080"]);
        let _later = stream(V6_ANY, None, |_| {});
        assert_eq!(shown(&of(Family::V6, 1).found), ["tcp ::1 8080"]);
        assert_eq!(shown(&of(Family::V6, 2).found), ["tcp :: 9090", "tcp ::1 8080"]);
        // What was cut is cut of both.
        assert_eq!([of(Family::V4, 1).flaws.len(), of(Family::V6, 1).flaws.len()], [1, 1]);
    });
}

#[test]
fn mptcp_is_found_from_the_first_to_the_last() {
    if !is_root("mptcp_is_found_from_the_first_to_the_last") {
        return;
    }
    in_new_namespace(|| {
        let shows = || {
            let mut all = shown(&all().found);
            all.retain(|line| line.starts_with("mptcp"));
            all
        };
        let _tcp = [stream(V4, None, |_| {}), stream(V6, None, |_| {})];
        assert_eq!(shows(), Vec::<String>::new());
        let over = |at: SocketAddr| stream(SocketAddr::new(at.ip(), 8081), Some(ipproto::MPTCP), |_| {});
        let (v4, v6) = (over(V4), over(V6));
        assert_eq!(shows(), ["mptcp 127.0.0.1 8081", "mptcp ::1 8081"]);
        drop(v4);
        assert_eq!(shows(), ["mptcp ::1 8081"]);
        drop(v6);
        assert_eq!(shows(), Vec::<String>::new());
    });
}

/// `ss` prints `127.0.0.1:8080`, `[::1]:53`, `*:22` for dual-stack, `0.0.0.0%lo:68`.
fn as_ss_prints(socket: &Socket) -> String {
    let protocol = if socket.protocol == Protocol::Tcp { "tcp" } else { "udp" };
    match socket.address {
        std::net::IpAddr::V6(any) if any.is_unspecified() && socket.ipv6_only == Some(false) => {
            format!("{protocol} *:{}", socket.port)
        }
        std::net::IpAddr::V6(address) => format!("{protocol} [{address}]:{}", socket.port),
        std::net::IpAddr::V4(address) if socket.device_index == 1 => {
            format!("{protocol} {address}%lo:{}", socket.port)
        }
        std::net::IpAddr::V4(address) => format!("{protocol} {address}:{}", socket.port),
    }
}

#[test]
fn lists_what_ss_lists() {
    if !is_root("lists_what_ss_lists") {
        return;
    }
    in_new_namespace(|| {
        let _tcp = [stream(V4, None, |_| {}), stream(V6, None, |_| {}), stream(V6_ANY, None, |_| {})];
        let _udp = [UdpSocket::bind(V4).unwrap(), UdpSocket::bind(V6).unwrap()];
        let _device = stream(SocketAddr::new(V4.ip(), 99), None, |fd| {
            sys::bind_to_device(fd.as_fd(), "lo").unwrap();
        });
        let Ok(ss) = Command::new("ss").arg("-Htuln").output() else {
            eprintln!("SKIP lists_what_ss_lists: no ss (apt install iproute2)");
            return;
        };
        let text = String::from_utf8(ss.stdout).unwrap();
        let line = |line: &str| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            format!("{} {}", words[0], words[4])
        };
        let mut theirs: Vec<String> = text.lines().map(line).collect();
        theirs.sort();
        let mut ours: Vec<String> = all().found.iter().map(as_ss_prints).collect();
        ours.sort();
        assert_eq!(ours, theirs);
        assert_eq!(ours.len(), 6);
    });
}
