//! What opens, closes and changes hands between two looks.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Instant;

use rustix::process::Signal;

use crate::world::{Drifts, Host, Row, Serve, eventually, send};

#[test]
fn what_listens_for_a_moment_is_logged_counted_and_drifts() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let serve = host.serve();
    if !serve.follows_events() {
        return;
    }
    serve.settles();
    let (opened, closed) = serve.opened_and_closed();
    let began = Instant::now();
    let pid = host.listen("tcp 0.0.0.0:8080").user(101).for_a_moment_by("mayfly");
    let took = began.elapsed();
    // Its opening may be told alone, and its end a moment later.
    let is_gone = |row: &Row| *row.get("state") == "gone";
    let drift = eventually("it is gone", || serve.drifts().find(8080).filter(is_gone));
    let drift = drift.shows("unapproved").has("severity", "critical").id();
    assert_eq!(serve.opened_and_closed(), (opened + 1.0, closed + 1.0));

    let open = eventually("its opening is logged", || serve.logged("open", 8080).pop());
    let program = host.path("bin/mayfly");
    open.clone()
        .has("holders/0/pid", pid)
        .has("holders/0/name", "mayfly")
        .has("holders/0/program", program.to_str().unwrap())
        .has("holders/0/uid", 101)
        .has("netns/kind", "host")
        .has("port_choice", "explicit")
        .has("reach", "public")
        .has("verdict", "drift")
        .has("drift", drift.clone());
    let close = eventually("its end is logged", || serve.logged("close", 8080).pop());
    assert_ne!(*open.get("cookie"), 0);
    assert_eq!(close.get("cookie"), open.get("cookie"));
    assert!(close.get("lived").as_f64().unwrap() < took.as_secs_f64(), "{took:?}: {close:?}");
    assert_eq!((serve.logged("open", 8080).len(), serve.logged("close", 8080).len()), (1, 1));

    host.approves_by_hand(8080, "mayfly");
    serve.running.signal(Signal::HUP);
    let present = format!("portledger_drift_present{{drift=\"{drift}\"}}");
    eventually("it is closed", || serve.metric(&present).is_none().then_some(()));
}

/// Whatever the sensor is doing when their processes end.
#[test]
fn of_many_moments_each_is_told_once_with_its_process() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let serve = host.serve();
    if !serve.follows_events() {
        return;
    }
    let pids: Vec<(u16, u32)> = (9000..9040)
        .map(|port| (port, host.listen(&format!("tcp 0.0.0.0:{port}")).for_a_moment_by("mayfly")))
        .collect();
    for (port, pid) in pids {
        eventually("its end is logged", || serve.logged("close", port).pop());
        let opened = serve.logged("open", port);
        assert_eq!((opened.len(), serve.logged("close", port).len()), (1, 1), "{opened:#?}");
        opened[0].clone().has("holders/0/pid", pid).has("holders/0/name", "mayfly");
    }
}

#[test]
fn what_listened_in_a_namespace_of_a_moment_is_told() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let serve = host.serve();
    if !serve.follows_events() {
        return;
    }
    host.namespace("brief");
    let pid = host.listen("udp 127.0.0.1:8080").inside("brief").for_a_moment_by("mayfly");
    host.sh("ip netns delete brief");
    let open = eventually("its opening is logged", || serve.logged("open", 8080).pop());
    assert_ne!(*open.get("netns/kind"), "host");
    open.has("holders/0/pid", pid).has("protocol", "udp");
    eventually("its end is logged", || serve.logged("close", 8080).pop());
}

/// Its end was told, and no look will ever see its namespace.
#[test]
fn what_ended_in_a_namespace_that_no_look_sees_is_gone() {
    let Some(host) = Host::new() else { return };
    host.write("etc/portledger.toml", "[sensor]\nnamespaces = 1\n");
    host.learn();
    host.namespace("unseen");
    host.namespace("brief");
    let serve = host.serve();
    if !serve.follows_events() {
        return;
    }
    serve.settles();
    let stays = host.listen("tcp 0.0.0.0:8081").inside("unseen").by("stays");
    let ends = host.listen("tcp 0.0.0.0:8080").inside("brief").by("ends");
    for port in [8080, 8081] {
        eventually("it drifts", || serve.drifts().find(port)).has("state", "present");
    }
    ends.ends();
    host.sh("ip netns delete brief");
    eventually("its end is logged", || serve.logged("close", 8080).pop());
    let is_gone = |row: &Row| *row.get("state") == "gone";
    eventually("it is gone", || serve.drifts().find(8080).filter(is_gone));
    eventually("the other is there", || serve.drifts().find(8081)).has("state", "present");
    drop(stays);
}

/// The kernel tells a sensor what happens on the whole machine.
#[test]
fn a_host_is_told_nothing_of_another() {
    let (Some(here), Some(there)) = (Host::new(), Host::new()) else { return };
    let (serve, other) = (here.serve(), there.serve());
    if !serve.follows_events() {
        return;
    }
    there.listen("tcp 0.0.0.0:8080; udp 0.0.0.0:8080").for_a_moment_by("theirs");
    here.listen("tcp 0.0.0.0:8081").for_a_moment_by("ours");
    eventually("the other tells its own", || other.logged("close", 8080).pop());
    eventually("we tell our own", || serve.logged("close", 8081).pop());
    assert!(serve.logged("open", 8080).is_empty() && other.logged("open", 8081).is_empty());
    assert!(serve.drifts().find(8080).is_none());
}

#[test]
fn a_sensor_that_was_killed_counts_nothing_twice() {
    let Some(host) = Host::new() else { return };
    let _stays = host.listen("tcp 0.0.0.0:8080").by("stays");
    let goes = host.listen("tcp 0.0.0.0:8081").by("goes");
    host.learn();
    let serve = host.serve();
    serve.settles();
    let (opened, closed) = serve.opened_and_closed();
    let sensor = serve.sensor();
    send(sensor, Signal::KILL);
    goes.ends();
    let comes = host.listen("tcp 0.0.0.0:8082").by("comes");
    eventually("there is another sensor", || (serve.sensor() != sensor).then_some(()));
    eventually("the one that opened is known", || serve.listeners_on(8082).pop())
        .has("holders/0/pid", comes.pid);
    eventually("the one that closed is gone", || serve.listeners_on(8081).is_empty().then_some(()));
    assert_eq!(serve.opened_and_closed(), (opened + 1.0, closed + 1.0));
    assert_eq!(serve.listeners_on(8080).len(), 1);
    // It is served before it is written.
    eventually("its end is logged", || serve.logged("close", 8081).pop());
    eventually("the opening is logged", || serve.logged("open", 8082).pop());
    assert!(serve.logged("open", 8080).is_empty());
    assert_eq!((serve.logged("close", 8081).len(), serve.logged("open", 8082).len()), (1, 1));
}

/// The names of who holds the one listener on a port.
fn names(serve: &Serve<'_>, port: u16) -> Option<Vec<String>> {
    let row = serve.listeners_on(port).pop()?;
    let holders = row.get("holders").as_array().unwrap();
    Some(holders.iter().map(|holder| holder["name"].as_str().unwrap().to_owned()).collect())
}

/// As a supervisor does that opens the sockets of its services.
#[test]
fn who_inherits_a_socket_and_executes_another_program_holds_it() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let serve = host.serve();
    if !serve.follows_events() {
        return;
    }
    let parent = host.python(
        "import os, socket, sys\n\
         s = socket.socket(); s.bind(('0.0.0.0', 7000)); s.listen(); s.set_inheritable(True)\n\
         if os.fork() == 0: os.execvp('sleep', ['sleep', '1000'])\n\
         sys.stdin.read()",
    );
    let both = eventually("both hold it", || names(&serve, 7000).filter(|names| names.len() == 2));
    assert!(both[0].starts_with("python"), "{both:?}");
    eventually("the child is what it executes", || names(&serve, 7000).filter(|names| names[1] == "sleep"));
    let child = serve.listeners_on(7000).remove(0).pids()[1];
    parent.kill();
    eventually("the child holds it alone", || names(&serve, 7000).filter(|names| *names == ["sleep"]));
    assert_eq!(serve.listeners_on(7000).remove(0).pids(), [child]);
    assert!(serve.logged("close", 7000).is_empty());
    host.sh(&format!("kill {child}"));
    eventually("it is closed", || serve.logged("close", 7000).pop());
    assert_eq!((serve.logged("open", 7000).len(), serve.logged("close", 7000).len()), (1, 1));
}

/// No event tells of a descriptor that is sent; that its first holder ended does.
#[test]
fn who_was_sent_a_socket_holds_it_when_the_sender_ends() {
    let Some(host) = Host::new() else { return };
    let sender = host.python(
        "import os, socket, sys, time\n\
         a, b = socket.socketpair()\n\
         if os.fork() == 0:\n  \
           kept = socket.recv_fds(b, 1, 1); b.send(b'x'); time.sleep(1000)\n\
         s = socket.socket(); s.bind(('0.0.0.0', 7000)); s.listen()\n\
         socket.send_fds(a, [b'x'], [s.fileno()]); a.recv(1)\n\
         sys.stdin.read()",
    );
    eventually("both hold it", || host.list().all_on(7000).pop().filter(|row| row.pids().len() == 2));
    host.learn();
    let serve = host.serve();
    let pids = eventually("it is listed", || serve.listeners_on(7000).pop()).pids();
    let inner = u64::from(sender.inner());
    sender.kill();
    let left: Vec<_> = pids.into_iter().filter(|pid| *pid != inner).collect();
    eventually("it is held by who was sent it", || {
        serve.listeners_on(7000).pop().filter(|row| row.pids() == left)
    });
    assert!(serve.logged("close", 7000).is_empty());
    serve.drifts().nothing_on(7000);
}

fn ids(drifts: &Drifts) -> BTreeSet<String> {
    let drifts = drifts.document["drifts"].as_array().unwrap();
    drifts.iter().map(|drift| Row { value: drift.clone() }.id()).collect()
}

/// Both know who chose a port, where the kernel tells it.
#[test]
fn diff_tells_the_ids_that_serve_tells() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let serve = host.serve();
    if !serve.follows_events() {
        return;
    }
    let _app = host.python(
        "import socket, sys\n\
         chosen = socket.socket(); chosen.listen()\n\
         tcp = socket.socket(); tcp.bind(('127.0.0.1', 8080)); tcp.listen()\n\
         udp = socket.socket(type=socket.SOCK_DGRAM); udp.bind(('0.0.0.0', 5353))\n\
         sys.stdin.read()",
    );
    // `serve` itself is the fourth.
    let served = eventually("all drift", || Some(ids(&serve.drifts())).filter(|ids| ids.len() == 4));
    let drifts = host.diff();
    assert_eq!(ids(&drifts), served, "{:#}", drifts.document);
    let of_kernel = drifts.document["drifts"].as_array().unwrap().iter().find(|row| row["port"] == "kernel");
    let id = of_kernel.expect("one is on a port that the kernel chose")["id"].as_str().unwrap();
    let told = host.approve(id, "wanted");
    assert_eq!(told.code, 0, "{told:?}");
    let left = eventually("it is closed", || Some(ids(&serve.drifts())).filter(|ids| ids.len() == 3));
    assert_eq!(left, ids(&host.diff()));
}

#[test]
fn udp_clients_are_counted_and_are_no_drift() {
    let Some(host) = Host::new() else { return };
    host.write("etc/portledger.toml", "[sensor]\nreconcile = \"1s\"\n");
    host.learn();
    let serve = host.serve();
    if !serve.follows_events() {
        return;
    }
    let _client = host.python(
        "import socket, sys\n\
         sends = socket.socket(type=socket.SOCK_DGRAM); sends.sendto(b'x', ('127.0.0.1', 9))\n\
         binds = socket.socket(type=socket.SOCK_DGRAM); binds.bind(('0.0.0.0', 0))\n\
         sys.stdin.read()",
    );
    let clients = || serve.metric("portledger_udp_clients").filter(|clients| *clients == 2.0);
    eventually("both are counted", clients);
    let _server = host.listen("udp 0.0.0.0:5353").by("resolver");
    eventually("who asked for its port drifts", || serve.drifts().find(5353));
    let drifts = serve.drifts().document;
    let udp = drifts["drifts"].as_array().unwrap().iter().filter(|drift| drift["protocol"] == "udp");
    assert_eq!(udp.count(), 1, "{drifts:#}");
    assert_eq!(serve.metric("portledger_udp_clients"), Some(2.0));
}

/// That a UDP socket lets go of its peer is told by no event.
#[test]
fn a_look_counts_and_logs_what_no_event_had_told() {
    let Some(host) = Host::new() else { return };
    host.write("etc/portledger.toml", "[sensor]\nreconcile = \"1s\"\n");
    let mut peer = host.python(
        "import ctypes, socket, sys\n\
         s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('0.0.0.0', 5353)); s.connect(('127.0.0.1', 9))\n\
         while sys.stdin.readline():\n\
         \x20 ctypes.CDLL(None).connect(s.fileno(), bytes(16), 16)\n\
         \x20 if sys.stdin.readline(): s.connect(('127.0.0.1', 9))",
    );
    host.learn();
    let serve = host.serve();
    if !serve.follows_events() {
        return;
    }
    let has_peer = |peer: bool| move |row: &Row| row.get("peer").is_null() != peer;
    eventually("it has a peer", || serve.listeners_on(5353).pop().filter(has_peer(true)));
    let altered = "portledger_reconcile_discrepancies_total{kind=\"altered\"}";
    assert_eq!(serve.metric(altered), Some(0.0));
    let mut turns = peer.entered.stdin.take().unwrap();
    // What was lost on a busy machine accounts for what differs.
    eventually("it is counted", || {
        turns.write_all(b"\n").unwrap();
        eventually("it has none", || serve.listeners_on(5353).pop().filter(has_peer(false)));
        let is_counted = serve.metric(altered) == Some(1.0);
        if !is_counted {
            turns.write_all(b"\n").unwrap();
            eventually("it has one", || serve.listeners_on(5353).pop().filter(has_peer(true)));
        }
        is_counted.then_some(())
    });
    assert!(serve.log().contains("udp/0.0.0.0:5353 has other holders, or another peer"), "{}", serve.log());
    eventually("it drifts", || serve.drifts().find(5353)).shows("unapproved");
}
