use std::net::Ipv4Addr;

use inventory::Holders;

use super::*;
use crate::testing::{inventory_of, listener, sensor};

/// At this moment process 7 opens, or closes, the socket at this place in the kernel.
fn sample(at: u64, socket: u64, opened: bool, port: u16) -> Sample {
    Sample {
        boot_nanos: at,
        pid: Some(7),
        tid: Some(7),
        protocol: 6,
        opened,
        address: Ipv4Addr::LOCALHOST.into(),
        port,
        socket: SocketKey::of(socket),
    }
}

fn told(events: &[Event]) -> Vec<(bool, u64)> {
    let tell = |event: &Event| match event {
        Event::Opened(listener) | Event::Changed(listener) => (true, u64::from(listener.endpoint.port)),
        Event::Closed(id, _) => (false, id.cookie),
    };
    events.iter().map(tell).collect()
}

fn watcher(listeners: Vec<inventory::Listener>) -> Watcher {
    Watcher::new(sensor(), inventory_of(listeners))
}

#[test]
fn what_came_and_went_is_told_after_the_look() {
    let mut heard = Heard::default();
    heard.take(vec![sample(1, 100, true, 0), sample(2, 100, false, 8080)]);
    let events = heard.looked(&mut watcher(Vec::new()), 10);
    assert_eq!(told(&events), [(true, 8080), (false, 1)], "its port was chosen after it was told to open");
    assert_eq!(heard.looked(&mut watcher(Vec::new()), 20), []);
}

#[test]
fn nobody_is_made_up_for_who_is_gone() {
    let mut heard = Heard::default();
    let gone = |opened, at| Sample { pid: Some(u32::MAX >> 2), ..sample(at, 100, opened, 8080) };
    heard.take(vec![gone(true, 1), gone(false, 2)]);
    let events = heard.looked(&mut watcher(Vec::new()), 10);
    let Event::Opened(listener) = &events[0] else { panic!("{events:?}") };
    assert_eq!(listener.holders, Holders::Unattributed(inventory::Unattributed::Exited));
    // Nor is it somebody who has the pid by now: we began after the first second of this machine.
    let ours = |opened, at| Sample { pid: Some(std::process::id()), ..sample(at, 200, opened, 8080) };
    heard.take(vec![ours(true, 1), ours(false, 2)]);
    let events = heard.looked(&mut watcher(Vec::new()), 10);
    let Event::Opened(listener) = &events[0] else { panic!("{events:?}") };
    assert_eq!(listener.holders.known().len(), 0);
    let now = Clock::now().boot_nanos();
    heard.take(vec![ours(true, now), ours(false, now)]);
    let events = heard.looked(&mut watcher(Vec::new()), 10);
    let Event::Opened(listener) = &events[0] else { panic!("{events:?}") };
    assert_eq!(listener.holders.known()[0].id.pid, std::process::id());
}

#[test]
fn what_opened_while_a_look_was_under_way_waits_for_the_next() {
    let mut heard = Heard::default();
    heard.take(vec![sample(5, 100, true, 8080), sample(15, 200, true, 8081), sample(16, 300, true, 8082)]);
    // The look shows the last of them.
    let shown = listener(Protocol::Tcp, 1, 8082, &[7]);
    assert_eq!(heard.looked(&mut watcher(vec![shown]), 10), []);
    assert!(heard.waits_for_look());
    heard.take(vec![sample(20, 200, false, 8081), sample(21, 300, false, 8082)]);
    assert!(!heard.waits_for_look());
    let events = heard.looked(&mut watcher(Vec::new()), 30);
    assert_eq!(told(&events), [(true, 8081), (false, 15)]);
}

#[test]
fn a_close_alone_and_a_storm_are_bounded() {
    let mut heard = Heard::default();
    heard.take(vec![sample(1, 100, false, 8080)]);
    assert_eq!(heard.looked(&mut watcher(Vec::new()), 10), []);
    for socket in 0..u64::try_from(MOST).unwrap() + 10 {
        heard.take(vec![sample(20, socket, true, 8080)]);
    }
    assert_eq!(heard.open.len(), MOST);
    for turn in 0..2 {
        for socket in 0..u64::try_from(MOST).unwrap() {
            heard.take(vec![sample(20, socket, turn == 1, 8080), sample(20, socket, turn == 0, 8080)]);
        }
    }
    assert!(heard.passed.len() <= MOST);
}
