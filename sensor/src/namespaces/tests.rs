use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use inventory::{Gap, NetNs, NetNsId, NetNsKind, RawText};
use rustix::process::Uid;
use rustix::thread::set_thread_res_uid;

use super::visit::told_once;
use super::{Descriptor, Leads, Limits, NamespaceView, Namespaces, Through, Visits};
use crate::protocols::Protocols;
use crate::testing::{Actor, Named, PRELUDE, Sleeper, enter_new_namespace, in_new_namespace, ip, is_root};

const PROC: &str = "/proc";

fn protocols() -> Protocols {
    Protocols::read(Path::new(PROC)).0
}

fn with_limits(limits: Limits) -> Namespaces {
    Namespaces::new(Path::new(PROC), limits)
}

fn visit() -> Visits {
    with_limits(Limits::default()).visit(&protocols())
}

fn listens<'a>(visits: &'a Visits, listener: &TcpListener) -> Option<&'a NamespaceView> {
    let inode = rustix::fs::fstat(listener).unwrap().st_ino;
    visits.views.iter().find(|view| view.sockets.iter().any(|socket| socket.inode == inode))
}

fn own_inode() -> u64 {
    let link = fs::read_link("/proc/thread-self/ns/net").unwrap();
    super::mounts::inode_of_link(link.as_os_str().as_encoded_bytes()).unwrap()
}

fn own_descriptor(of: &impl AsRawFd) -> Descriptor {
    Descriptor { pid: std::process::id(), tid: None, fd: u32::try_from(of.as_raw_fd()).unwrap() }
}

#[test]
fn the_host_comes_first_and_has_all_that_it_needs() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let visits = visit();
    let host = &visits.views[0];
    assert_eq!(host.netns.kind, NetNsKind::Host);
    assert_eq!(listens(&visits, &listener).unwrap(), host);
    assert!(matches!(host.netns.id, NetNsId::Cookie(_)));
    assert!(!host.pids.is_empty());
    assert!(host.interfaces.as_ref().unwrap().iter().any(|interface| interface.loopback));
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    assert_eq!(
        range.split_ascii_whitespace().collect::<Vec<_>>(),
        [host.local_ports.start().to_string(), host.local_ports.end().to_string()]
    );
}

#[test]
fn named_and_anonymous_namespaces_are_visited() {
    if !is_root("named_and_anonymous_namespaces_are_visited") {
        return;
    }
    let named = Named::add("named");
    let (sleeper, listener, inode) = in_new_namespace(|| {
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "20000 20100").unwrap();
        ip("link add name dummy-to type veth peer name dummy-fro");
        ip("addr add 10.9.8.7/24 dev dummy-to");
        (Sleeper::start(), TcpListener::bind("127.0.0.1:0").unwrap(), own_inode())
    });
    let visits = visit();
    let anonymous = listens(&visits, &listener).unwrap();
    assert_eq!((anonymous.netns.kind, anonymous.inode), (NetNsKind::Anonymous, inode));
    assert_eq!(anonymous.pids, [sleeper.pid()]);
    assert_eq!(anonymous.local_ports, 20_000..=20_100);
    let interfaces = anonymous.interfaces.as_ref().unwrap();
    let interface = interfaces.iter().find(|interface| interface.name == RawText::from("dummy-to")).unwrap();
    assert_eq!(interface.addresses, ["10.9.8.7".parse::<std::net::IpAddr>().unwrap()]);
    assert!(!interface.up);

    let found = visits.views.iter().find(|view| view.netns.name == RawText::from(named.0.as_str())).unwrap();
    assert_eq!((found.netns.kind, found.pids.as_slice()), (NetNsKind::Named, &[][..]));
    let ranks: Vec<NetNsKind> = visits.views.iter().map(|view| view.netns.kind).collect();
    assert!(ranks.is_sorted(), "{ranks:?}");
    let ids: BTreeSet<NetNsId> = visits.views.iter().map(|view| view.netns.id).collect();
    assert_eq!(ids.len(), visits.views.len());
}

#[test]
fn a_second_look_in_the_same_pass_is_into_those_that_are_wanted() {
    if !is_root("a_second_look_in_the_same_pass_is_into_those_that_are_wanted") {
        return;
    }
    let (_sleeper, listener, inode) =
        in_new_namespace(|| (Sleeper::start(), TcpListener::bind("127.0.0.1:0").unwrap(), own_inode()));
    let mut namespaces = with_limits(Limits::default());
    let first = namespaces.visit(&protocols());
    let again = namespaces.visit_again(&protocols(), &BTreeSet::from([inode]));
    assert_eq!(again.views.len(), 1);
    assert_eq!(again.views[0], *listens(&first, &listener).unwrap());
    drop(listener);
    let host = namespaces.visit_again(&protocols(), &BTreeSet::from([own_inode(), inode]));
    assert_eq!(host.views[0].netns, first.views[0].netns);
    assert_eq!((host.views[1].inode, host.views[1].sockets.len()), (inode, 0));
}

#[test]
fn one_that_a_socket_alone_keeps_alive_is_found_through_it() {
    if !is_root("one_that_a_socket_alone_keeps_alive_is_found_through_it") {
        return;
    }
    let (listener, inode) = in_new_namespace(|| (TcpListener::bind("127.0.0.1:0").unwrap(), own_inode()));
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut namespaces = with_limits(Limits::default());
    let visits = namespaces.visit(&protocols());
    assert!(visits.views.iter().all(|view| view.inode != inode));
    let before = visits.views.len();
    let closed = Descriptor { pid: std::process::id(), tid: None, fd: 999_999 };
    let ended = Descriptor { pid: 4_000_000, tid: None, fd: 0 };
    let file = fs::File::open("/dev/null").unwrap();
    let sockets =
        vec![closed, ended, own_descriptor(&file), own_descriptor(&other), own_descriptor(&listener)];
    let leads = leads_by(&visits, &sockets);
    let visits = namespaces.visit_unlived(&protocols(), &leads, visits);
    let found = listens(&visits, &listener).unwrap();
    assert_eq!(found.inode, inode);
    assert_eq!(
        (found.pids.as_slice(), found.through),
        (&[][..], Some(Through::Socket(own_descriptor(&listener))))
    );
    assert_eq!(visits.views.len(), before + 1);
    // A process that would not tell its namespace counts as one that was not seen.
    let hidden = u32::from(!visits.gaps.is_empty());
    assert_eq!(visits.namespaces().seen + hidden, visits.namespaces().of, "{:?}", visits.gaps);
}

#[test]
fn one_that_a_descriptor_alone_keeps_alive_is_found_through_it() {
    if !is_root("one_that_a_descriptor_alone_keeps_alive_is_found_through_it") {
        return;
    }
    let (door, inode) =
        in_new_namespace(|| (fs::File::open("/proc/thread-self/ns/net").unwrap(), own_inode()));
    let mut namespaces = with_limits(Limits::default());
    let visits = namespaces.visit(&protocols());
    let lying = fs::File::open("/dev/null").unwrap();
    let mut leads = Leads::beyond(&visits);
    leads.namespace(own_descriptor(&lying), 77);
    leads.namespace(own_descriptor(&door), 78);
    leads.namespace(own_descriptor(&door), inode);
    let visits = namespaces.visit_unlived(&protocols(), &leads, visits);
    let found = visits.views.iter().find(|view| view.inode == inode).unwrap();
    assert_eq!(found.through, Some(Through::Namespace(own_descriptor(&door))));
    assert!(visits.views.iter().all(|view| ![77, 78].contains(&view.inode)));
}

fn leads_by(visits: &Visits, sockets: &[Descriptor]) -> Leads {
    let mut leads = Leads::beyond(visits);
    sockets.iter().for_each(|socket| leads.socket(*socket));
    leads
}

/// Says the inode of its listener, which listens in a namespace of the thread alone, with a descriptor table of its own.
const IN_A_THREAD: &str = "
def run():
    libc.unshare(0x40000000 | 0x400)
    s, inode = listener()
    say(inode)
    forever()
threading.Thread(target=run).start()
";

/// The same in a namespace of the whole process, whose first thread exits.
const WITHOUT_LEADER: &str = "
libc.unshare(0x40000000)
s, inode = listener()
def run():
    while open(f'/proc/{os.getpid()}/stat').read().split()[2] != 'Z': time.sleep(0.01)
    say(inode)
    forever()
threading.Thread(target=run).start()
libc.pthread_exit(None)
";

#[test]
fn the_namespace_of_a_thread_is_found() {
    if !is_root("the_namespace_of_a_thread_is_found") {
        return;
    }
    for script in [IN_A_THREAD, WITHOUT_LEADER] {
        let (actor, said) = Actor::python(&format!("{PRELUDE}{script}"));
        let mut namespaces = with_limits(Limits::default());
        for pass in 1..=10 {
            let visits = namespaces.visit(&protocols());
            let view =
                visits.views.iter().find(|view| view.sockets.iter().any(|socket| socket.inode == said[0]));
            assert_eq!(
                view.map(|view| view.pids.as_slice()),
                Some(&[actor.pid()][..]),
                "pass {pass}: {script}"
            );
        }
        actor.end();
    }
}

/// Waits until the veth of `near` is gone, which goes with the namespace of its peer.
fn wait_until_gone(near: &Named, veth: &str) {
    let patience = Instant::now() + Duration::from_secs(60);
    while Command::new("ip").args(["-n", &near.0, "link", "show", veth]).output().unwrap().status.success() {
        assert!(Instant::now() < patience, "something keeps the namespace of {veth}'s peer alive");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_deleted_namespace_and_its_veth_go_away() {
    if !is_root("a_deleted_namespace_and_its_veth_go_away") {
        return;
    }
    let (near, far) = (Named::add("near"), Named::add("far"));
    ip(&format!("-n {} link add v-near type veth peer name v-far netns {}", near.0, far.0));
    let mut namespaces = with_limits(Limits::default());
    let sees = |visits: &Visits, named: &Named| {
        visits.views.iter().any(|view| view.netns.name == RawText::from(named.0.as_str()))
    };
    let visits = namespaces.visit(&protocols());
    assert!(sees(&visits, &near) && sees(&visits, &far));
    far.delete();
    wait_until_gone(&near, "v-near");
    let visits = namespaces.visit(&protocols());
    assert!(sees(&visits, &near) && !sees(&visits, &far));
}

#[test]
fn one_that_a_socket_kept_alive_goes_away_with_it() {
    if !is_root("one_that_a_socket_kept_alive_goes_away_with_it") {
        return;
    }
    let near = Named::add("kept");
    let (listener, inode) = in_new_namespace(|| {
        ip(&format!("link add v-far type veth peer name v-near netns {}", near.0));
        (TcpListener::bind("127.0.0.1:0").unwrap(), own_inode())
    });
    let mut namespaces = with_limits(Limits::default());
    let visits = namespaces.visit(&protocols());
    let leads = leads_by(&visits, &[own_descriptor(&listener)]);
    let visits = namespaces.visit_unlived(&protocols(), &leads, visits);
    assert!(visits.views.iter().any(|view| view.inode == inode));
    drop(listener);
    wait_until_gone(&near, "v-near");
}

#[test]
fn the_rest_beyond_the_cap_is_one_gap_with_its_number() {
    if !is_root("the_rest_beyond_the_cap_is_one_gap_with_its_number") {
        return;
    }
    let doors: Vec<(fs::File, u64)> = std::thread::scope(|scope| {
        let make = || {
            let one = || {
                enter_new_namespace();
                (fs::File::open("/proc/thread-self/ns/net").unwrap(), own_inode())
            };
            (0..60).map(|_| one()).collect()
        };
        scope.spawn(make).join().unwrap()
    });
    let mut namespaces = with_limits(Limits { namespaces: 20, ..Limits::default() });
    let visits = namespaces.visit(&protocols());
    let mut leads = Leads::beyond(&visits);
    doors.iter().for_each(|(door, inode)| leads.namespace(own_descriptor(door), *inode));
    let visits = namespaces.visit_unlived(&protocols(), &leads, visits);
    assert_eq!(visits.views.len(), 20);
    assert!(visits.namespaces().of >= 60);
    let told: Vec<String> = visits.gaps.iter().map(|gap| gap.reason.escaped()).collect();
    let beyond: Vec<&String> = told.iter().filter(|reason| reason.contains("beyond the 20")).collect();
    assert_eq!(beyond.len(), 1, "{told:?}");
}

#[test]
fn room_for_sockets_is_shared_by_all_namespaces() {
    if !is_root("room_for_sockets_is_shared_by_all_namespaces") {
        return;
    }
    let (_sleeper, _listeners) =
        in_new_namespace(|| (Sleeper::start(), [0; 3].map(|_| TcpListener::bind("127.0.0.1:0").unwrap())));
    let mut namespaces = with_limits(Limits { sockets: 2, ..Limits::default() });
    let visits = namespaces.visit(&protocols());
    assert!(visits.views.iter().map(|view| view.sockets.len()).sum::<usize>() <= 2);
    let told = visits.gaps.iter().any(|gap| gap.reason == RawText::from(crate::collector::NO_ROOM));
    assert!(told, "{:?}", visits.gaps);
}

#[test]
fn the_first_in_order_have_the_room_whoever_looks_first() {
    if !is_root("the_first_in_order_have_the_room_whoever_looks_first") {
        return;
    }
    let make = || {
        let listeners = [0; 3].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        (Sleeper::start(), listeners, own_inode())
    };
    let ours: Vec<_> = (0..8).map(|_| in_new_namespace(make)).collect();
    let inodes: Vec<u64> = ours.iter().map(|(_, _, inode)| *inode).collect();
    let counts = |visits: &Visits| {
        let views = visits.views.iter().filter(|view| inodes.contains(&view.inode));
        views.map(|view| (view.inode, view.sockets.len())).collect::<Vec<_>>()
    };
    let mut namespaces = with_limits(Limits { sockets: 10, ..Limits::default() });
    namespaces.visit(&protocols());
    let visits = namespaces.visit_again(&protocols(), &inodes.iter().copied().collect());
    let mut by_pid = ours.iter().map(|(sleeper, _, inode)| (sleeper.pid(), *inode)).collect::<Vec<_>>();
    by_pid.sort_unstable();
    let expected = by_pid.iter().zip([3, 3, 3, 1, 0, 0, 0, 0]).map(|((_, inode), count)| (*inode, count));
    assert_eq!(counts(&visits), expected.collect::<Vec<_>>());
    // Tables that are cut are those of the namespaces beyond.
    assert!(visits.tables().seen < visits.tables().of);
    assert_eq!(visits.views[2].tables.seen, visits.views[2].tables.of);
}

/// Runs on a thread that is an ordinary user for good: the others stay root.
fn as_an_ordinary_user<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    let nobody = Uid::from_raw(65_534);
    let run = || {
        set_thread_res_uid(nobody, nobody, nobody).unwrap();
        run()
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}

#[test]
fn an_ordinary_user_sees_the_host_and_says_what_else_there_may_be() {
    if !is_root("an_ordinary_user_sees_the_host_and_says_what_else_there_may_be") {
        return;
    }
    let named = Named::add("closed");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let visits = as_an_ordinary_user(visit);
    assert_eq!(listens(&visits, &listener).unwrap().netns.kind, NetNsKind::Host);
    let told: Vec<String> = visits.gaps.iter().map(|gap| gap.reason.escaped()).collect();
    assert!(told.iter().any(|reason| reason.contains("/proc/PID/ns/net of ")), "{told:?}");
    assert!(told.iter().any(|reason| reason.contains("could not be entered")), "{told:?}");
    assert!(visits.namespaces().seen < visits.namespaces().of);
    drop(named);
}

#[test]
fn an_unreadable_proc_leaves_the_host_and_gaps() {
    let visits = Namespaces::new(Path::new("/nowhere"), Limits::default()).visit(&protocols());
    assert_eq!(visits.views.len(), 1);
    assert_eq!(visits.views[0].netns.kind, NetNsKind::Host);
    let told: Vec<String> = visits.gaps.iter().map(|gap| gap.reason.escaped()).collect();
    for path in ["/nowhere/self/ns/net", "/nowhere:", "/nowhere/self/mountinfo", "ip_local_port_range"] {
        assert!(told.iter().any(|reason| reason.contains(path)), "{path} in {told:?}");
    }
}

#[test]
fn what_several_namespaces_lack_is_told_once() {
    let gap = |reason: &str, cookie| Gap {
        netns: Some(NetNs::anonymous(NetNsId::Cookie(cookie))),
        ..super::gap(reason.to_owned())
    };
    let of_all = Gap { netns: None, ..gap("a", 0) };
    let told = told_once(vec![gap("a", 1), gap("b", 1), gap("a", 2), gap("b", 1)]);
    assert_eq!(told, [of_all.clone(), gap("b", 1)]);
    assert_eq!(told_once(vec![of_all.clone(), gap("a", 3)]), [of_all]);
}
