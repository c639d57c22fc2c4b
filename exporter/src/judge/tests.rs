use std::path::Path;

use super::*;
use inventory::Protocol;
use inventory::frame::Closing;

use crate::LoadOutcome;

use crate::fixtures::{self, TOOK, now};
use crate::rules::tests::{good_baseline, no_baseline, rules};

/// What is published of the fixture's host, where sshd is approved and nothing else.
pub(crate) fn snapshot_of_the_fixture() -> Snapshot {
    snapshot_of(fixtures::listeners())
}

/// Likewise, where these listen.
pub(crate) fn snapshot_of(listeners: Vec<Listener>) -> Snapshot {
    let folder = tempfile::tempdir().unwrap();
    let (mut judge, snapshots) = judge_by(folder.path(), good_baseline);
    tell(&mut judge, listeners, now());
    snapshots.borrow().clone()
}

fn judge(state: &Path) -> (Judge, watch::Receiver<Snapshot>) {
    judge_by(state, no_baseline)
}

fn judge_by(
    state: &Path,
    load: impl FnMut() -> LoadOutcome + Send + 'static,
) -> (Judge, watch::Receiver<Snapshot>) {
    Judge::new(rules(state, load), state.to_owned())
}

/// Ids, and whether they are there.
fn open(snapshots: &watch::Receiver<Snapshot>) -> Vec<(String, bool)> {
    let snapshot = snapshots.borrow();
    let drifts = snapshot.register.drifts();
    drifts.map(|drift| (drift.finding.id.to_string(), drift.gone_since.is_none())).collect()
}

fn frames(listeners: Vec<inventory::Listener>) -> Vec<Vec<u8>> {
    let inventory = fixtures::inventory(listeners);
    let messages =
        inventory::frame::messages_of_inventory(&inventory, Closing { took: TOOK, ..Closing::default() });
    messages.map(|message| inventory::frame::encode(&message).unwrap()).collect()
}

fn tell(judge: &mut Judge, listeners: Vec<inventory::Listener>, now: SystemTime) {
    for frame in frames(listeners) {
        judge.take(&frame, now);
    }
}

#[test]
fn counts_what_opens_and_closes_after_the_first_pass() {
    let folder = tempfile::tempdir().unwrap();
    let (mut judge, snapshots) = judge(folder.path());
    let mut listeners = fixtures::listeners();
    tell(&mut judge, listeners.clone(), now());
    assert!(snapshots.borrow().counts.opened.is_empty(), "what was there before is not opened");
    let udp = listeners.pop().unwrap();
    tell(&mut judge, listeners.clone(), now());
    listeners.push(udp);
    tell(&mut judge, listeners, now());
    let counts = snapshots.borrow().counts.clone();
    assert_eq!(counts.closed, [(Protocol::Udp, 1)].into());
    assert_eq!(counts.opened, [(Protocol::Udp, 1)].into());
}

#[test]
fn keeps_the_last_inventory_when_the_stream_is_torn() {
    let folder = tempfile::tempdir().unwrap();
    let (mut judge, snapshots) = judge(folder.path());
    tell(&mut judge, fixtures::listeners(), now());
    let torn = frames(Vec::new());
    judge.take(&torn[0], now());
    judge.take(b"PLGR no frame at all", now());
    judge.take(&[0xff; 40], now());
    judge.take(&torn[0][..torn[0].len() - 1], now());
    let count = |snapshots: &watch::Receiver<Snapshot>| {
        snapshots.borrow().judged.as_ref().unwrap().inventory.listeners.len()
    };
    assert_eq!(count(&snapshots), 3);
    judge.take(&torn[1], now());
    judge.take(torn.last().unwrap(), now());
    assert_eq!(count(&snapshots), 0, "the pass went on after the noise and is whole");
}

#[test]
fn remembers_the_best_coverage_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, _snapshots) = judge(folder.path());
    tell(&mut first, Vec::new(), now());
    let (_, snapshots) = judge(folder.path());
    let best = snapshots.borrow().best;
    assert_eq!((best.of(inventory::Scope::Sockets), best.of(inventory::Scope::Holders)), (1.0, 0.75));
}

#[test]
fn begins_anew_where_its_files_are_damaged() {
    let folder = tempfile::tempdir().unwrap();
    for name in [REGISTER, COVERAGE] {
        std::fs::write(folder.path().join(name), b"{\"half").unwrap();
    }
    let (mut judge, snapshots) = judge(folder.path());
    tell(&mut judge, fixtures::listeners(), now());
    assert!(snapshots.borrow().judged.is_some());
}

#[test]
fn keeps_open_drift_over_a_restart_and_without_a_sensor() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, snapshots) = judge_by(folder.path(), good_baseline);
    tell(&mut first, fixtures::listeners(), now());
    let before = open(&snapshots);
    assert_eq!(before.len(), 2);
    let (mut second, snapshots) = judge_by(folder.path(), good_baseline);
    assert_eq!(open(&snapshots), before);
    assert!(snapshots.borrow().judged.is_none());
    tell(&mut second, Vec::new(), now());
    assert!(open(&snapshots).iter().all(|(_, present)| !present));
    let long_after = now() + Register::KEPT_GONE * 3;
    second.reload(long_after);
    second.settle(long_after);
    assert_eq!(open(&snapshots).len(), 2, "nobody has looked since");
    tell(&mut second, Vec::new(), long_after);
    assert_eq!(open(&snapshots).len(), 0);
}

#[test]
fn closes_what_a_reload_approves_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut loads = 0;
    let load = move || {
        loads += 1;
        if loads == 1 { no_baseline() } else { good_baseline() }
    };
    let (mut judge, snapshots) = judge_by(folder.path(), load);
    tell(&mut judge, fixtures::listeners(), now());
    assert_eq!(open(&snapshots).len(), 3);
    judge.reload(now());
    assert_eq!(open(&snapshots).len(), 2);
    let events: u64 = snapshots.borrow().counts.drift_events.values().sum();
    assert_eq!(events, 3, "what stays open is not counted again");
}

#[test]
fn tells_what_had_to_settle_within_the_next_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let (mut judge, snapshots) = judge(folder.path());
    tell(&mut judge, Vec::new(), now());
    let in_flight = inventory::Holders::Unattributed(inventory::Unattributed::InFlight);
    let address = std::net::Ipv4Addr::LOCALHOST;
    tell(&mut judge, vec![fixtures::listener(1, Protocol::Tcp, address, 80, in_flight)], now());
    assert_eq!(open(&snapshots).len(), 0);
    judge.settle(now() + Duration::from_secs(1));
    assert_eq!(open(&snapshots).len(), 0);
    judge.settle(now() + Duration::from_secs(2));
    assert_eq!(open(&snapshots).len(), 1);
    let json = snapshots.borrow().judged.as_ref().unwrap().drift_json().unwrap();
    assert!(String::from_utf8_lossy(&json).contains("unapproved"), "the API says so too");
}
