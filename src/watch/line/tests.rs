use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::SystemTime;

use inventory::{
    Endpoint, Holder, Holders, Listener, NetNs, NetNsId, PortChoice, ProcessId, Protocol, RawText, Reach,
    SocketId, Unattributed,
};

use super::*;

/// 2026-11-21T09:00:00.123Z.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_251_600_123)
}

fn ncat() -> Listener {
    let id = NetNsId::Cookie(1);
    let holder = Holder {
        id: ProcessId { pid: 43, start_ticks: 7 },
        started_at: now(),
        program: None,
        name: RawText::from("ncat"),
        arguments: Vec::new(),
        uid: 65_533,
        workload: Workload::None,
        parents: Vec::new(),
    };
    Listener {
        id: SocketId { netns: id, cookie: 1, inode: 101 },
        endpoint: Endpoint {
            protocol: Protocol::Tcp,
            address: Ipv4Addr::UNSPECIFIED.into(),
            port: 8443,
            device: None,
        },
        netns: NetNs::host(id),
        uid: 0,
        ipv6_only: None,
        reuse_port: None,
        backlog: None,
        holders: Holders::Known(vec![holder.into()]),
        reach: Reach::Public,
        port_choice: PortChoice::Explicit,
        peer: None,
        published: Vec::new(),
        since: Some(now()),
    }
}

fn line(what: Happening, by_look: bool) -> String {
    let (verdict, accounts) = (Verdict::Unjudged, Arc::default());
    let witnessed = Witnessed { what, by_look, verdict, service: None, accounts, seen_at: now() };
    Lines { coloured: false, zone: TimeZone::UTC }.line(&witnessed)
}

fn closed(listener: Listener, after: Duration) -> String {
    line(Happening::Closed { listener: listener.into(), at: now() + after }, false)
}

#[test]
fn fit_eighty_columns_under_their_header() {
    let opened = line(Happening::Opened(ncat().into()), false);
    let header = Lines::header();
    assert_eq!(header, "TIME          WHAT    PROTO LISTENS ON         REACH    VERDICT    HELD BY");
    assert_eq!(opened, "09:00:00.123  opened  tcp   0.0.0.0:8443       public   unjudged   ncat[43] 65533");
}

#[test]
fn tell_how_long_it_lived_or_that_it_was_there_before() {
    let lived = closed(ncat(), Duration::from_micros(1_234));
    assert_eq!(
        lived,
        "09:00:00.124  closed  tcp   0.0.0.0:8443       public   unjudged   ncat[43] 65533, lived 1.2 ms"
    );
    assert!(closed(Listener { since: None, ..ncat() }, Duration::ZERO).ends_with(", before"));
}

#[test]
fn mark_the_time_of_a_look() {
    let opened = line(Happening::Opened(ncat().into()), true);
    assert!(opened.starts_with("09:00:00.123~ opened  tcp "), "{opened}");
}

#[test]
fn tell_what_changed_and_where() {
    let netns = NetNs { name: RawText::from("a\nb"), ..NetNs::anonymous(NetNsId::Cookie(2)) };
    let peer = Some((Ipv4Addr::new(192, 0, 2, 1), 53).into());
    let holders = Holders::Unattributed(Unattributed::InFlight);
    let after = Listener { netns, peer, holders, ..ncat() };
    let changed = line(Happening::Changed { before: ncat().into(), after: after.into() }, false);
    assert!(changed.contains("0.0.0.0:8443 → 192.0.2.1:53 public"), "{changed}");
    assert!(changed.ends_with("(in flight), in a\\x0ab, changed peer holders netns"), "{changed}");
}

#[test]
fn spans_are_short() {
    let cases = [
        (Duration::from_nanos(900), "0 µs"),
        (Duration::from_micros(999), "999 µs"),
        (Duration::from_micros(1_049), "1.0 ms"),
        (Duration::from_millis(999), "999 ms"),
        (Duration::from_millis(59_940), "59.9 s"),
        (Duration::from_secs(61), "1 min 1 s"),
        (Duration::from_secs(3_660), "1 h 1 min"),
        (Duration::from_secs(90_000), "1 d 1 h"),
    ];
    for (lasted, expected) in cases {
        assert_eq!(span(lasted), expected);
    }
}
