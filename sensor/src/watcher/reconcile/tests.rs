use inventory::Holders;

use super::*;
use crate::testing::listener;

const ALL: Announced = Announced { streams: true, datagrams: true, raw: true };

fn tcp(cookie: u64, pids: &[u32]) -> Listener {
    listener(Protocol::Tcp, cookie, 80, pids)
}

fn udp(cookie: u64) -> Listener {
    listener(Protocol::Udp, cookie, 53, &[1])
}

fn told(sockets: &[Key], processes: &[u32]) -> Told {
    Told { sockets: sockets.iter().copied().collect(), processes: processes.iter().copied().collect() }
}

/// Unannounced, lingering, altered.
fn found(before: &[Listener], now: &[Listener], announced: Announced, told: &Told) -> [u32; 3] {
    let shared = |listeners: &[Listener]| listeners.iter().cloned().map(Arc::new).collect::<Vec<_>>();
    differences(&shared(before), &shared(now), announced, told).by_kind().map(|(_, count)| count)
}

#[test]
fn each_difference_counts_as_what_it_is() {
    let nothing = told(&[], &[]);
    let peer = Listener { peer: Some(([127, 0, 0, 1], 9).into()), ..udp(1) };
    let chosen = Listener { port_choice: PortChoice::Kernel, ..tcp(1, &[1]) };
    let orphan =
        Listener { holders: Holders::Unattributed(inventory::Unattributed::InFlight), ..tcp(1, &[]) };
    type Case<'a> = (&'a str, &'a [Listener], &'a [Listener], [u32; 3]);
    let table: [Case<'_>; 9] = [
        ("the same", &[tcp(1, &[1]), udp(2)], &[tcp(1, &[1]), udp(2)], [0, 0, 0]),
        ("one more", &[tcp(1, &[1])], &[tcp(1, &[1]), tcp(2, &[1])], [1, 0, 0]),
        ("one less", &[tcp(1, &[1]), udp(2)], &[udp(2)], [0, 1, 0]),
        ("another", &[tcp(1, &[1])], &[tcp(2, &[1])], [1, 1, 0]),
        ("one holder more", &[tcp(1, &[1])], &[tcp(1, &[1, 2])], [0, 0, 1]),
        ("none that is known", &[tcp(1, &[1])], &[orphan], [0, 0, 1]),
        ("another port choice", &[tcp(1, &[1])], &[chosen], [0, 0, 1]),
        ("connected since", &[udp(1)], &[peer], [0, 0, 0]),
        ("in no order", &[udp(2), tcp(1, &[1])], &[tcp(1, &[1]), udp(2)], [0, 0, 0]),
    ];
    for (what, before, now, expected) in table {
        assert_eq!(found(before, now, ALL, &nothing), expected, "{what}");
    }
}

#[test]
fn what_events_do_not_tell_is_no_difference() {
    let kinds = [
        (tcp(1, &[1]), Announced { streams: false, ..ALL }),
        (udp(1), Announced { datagrams: false, ..ALL }),
        (listener(Protocol::Raw, 1, 1, &[1]), Announced { raw: false, ..ALL }),
        // Nobody tells of a port that sendto(2) took.
        (Listener { port_choice: PortChoice::Kernel, ..udp(1) }, ALL),
    ];
    for (listener, announced) in kinds {
        let one = std::slice::from_ref(&listener);
        assert_eq!(found(&[], one, announced, &told(&[], &[])), [0, 0, 0], "{listener:?}");
        assert_eq!(found(one, &[], announced, &told(&[], &[])), [0, 0, 0], "{listener:?}");
    }
}

#[test]
fn what_is_told_and_only_not_taken_yet_is_no_difference() {
    let one = [tcp(1, &[1])];
    for (before, now) in [(&one[..], &[][..]), (&[][..], &one[..])] {
        assert_eq!(found(before, now, ALL, &told(&[(1, 1)], &[])), [0, 0, 0]);
        assert_ne!(found(before, now, ALL, &told(&[(2, 1)], &[])), [0, 0, 0], "of another namespace");
    }
    let forked = [tcp(1, &[1, 2])];
    assert_eq!(found(&one, &forked, ALL, &told(&[], &[2])), [0, 0, 0]);
    assert_eq!(found(&forked, &one, ALL, &told(&[], &[2])), [0, 0, 0]);
    assert_eq!(found(&one, &forked, ALL, &told(&[], &[1])), [0, 0, 1]);
}

#[test]
fn the_programs_follow_who_came_to_hold_a_socket_during_a_look() {
    let record = |kind: u8, pid: u32| {
        let mut bytes = vec![0; 168];
        bytes[36] = kind;
        bytes[44..48].copy_from_slice(&pid.to_ne_bytes());
        EventRecord::parse(&bytes).unwrap()
    };
    let records = [record(1, 10), record(2, 20), record(3, 30), record(4, 40), record(5, 50)];
    assert_eq!(holders_since(&records).collect::<Vec<_>>(), [10, 30]);
}
