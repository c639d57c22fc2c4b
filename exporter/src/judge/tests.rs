use std::net::Ipv4Addr;
use std::path::Path;

use super::*;
use inventory::frame::{Closing, Message, messages_of_changes, messages_of_events, messages_of_inventory};
use inventory::{
    Changes, Discrepancies, Event, Gap, Holder, Holders, Listener, Protocol, RawText, Reach, Scope,
};

use crate::LoadOutcome;
use baseline::PortWord;

use crate::fixtures::{self, TOOK, now};
use crate::rules::tests::{good_baseline, no_baseline, rules};
use crate::scribe::{COVERAGE, REGISTER};

mod alerts;
mod days;
mod history;
mod time;

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

/// Likewise, where first these listened, and as of `later` those.
pub(crate) fn snapshot_after(first: Vec<Listener>, then: Vec<Listener>, later: SystemTime) -> Snapshot {
    let folder = tempfile::tempdir().unwrap();
    let (mut judge, snapshots) = judge_by(folder.path(), good_baseline);
    tell(&mut judge, first, now());
    tell(&mut judge, then, later);
    snapshots.borrow().clone()
}

fn judge(state: &Path) -> (Judge, watch::Receiver<Snapshot>) {
    judge_by(state, no_baseline)
}

fn judge_by(
    state: &Path,
    load: impl FnMut() -> LoadOutcome + Send + 'static,
) -> (Judge, watch::Receiver<Snapshot>) {
    Judge::new(rules(state, load), state.to_owned(), String::new()).unwrap()
}

/// Ids, and whether they are there.
fn open(snapshots: &watch::Receiver<Snapshot>) -> Vec<(String, bool)> {
    let snapshot = snapshots.borrow();
    let drifts = snapshot.register.drifts();
    drifts.map(|drift| (drift.finding.id.to_string(), drift.gone_since.is_none())).collect()
}

/// A drift that is a warning, and so ages.
fn lesser() -> Listener {
    let nobody = Holder { uid: 65_534, ..Holder::clone(&fixtures::holder(b"/usr/bin/x")) };
    let held = Holders::Known(vec![nobody.into()]);
    let listener = fixtures::listener(9, Protocol::Tcp, Ipv4Addr::new(10, 0, 0, 1), 8443, held);
    Listener { reach: Reach::Private, ..listener }
}

fn frames(listeners: Vec<Listener>) -> Vec<Vec<u8>> {
    let closing = Closing { took: TOOK, ..Closing::default() };
    encoded(messages_of_inventory(&fixtures::inventory(listeners), closing))
}

fn encoded(messages: impl Iterator<Item = Message>) -> Vec<Vec<u8>> {
    messages.map(|message| inventory::frame::encode(&message).unwrap()).collect()
}

/// A look.
fn tell(judge: &mut Judge, listeners: Vec<Listener>, now: SystemTime) {
    hear(judge, &frames(listeners), now);
}

/// A batch of events that arrives at these listeners.
fn tell_events(judge: &mut Judge, events: &[Event], listeners: Vec<Listener>, now: SystemTime) {
    let inventory = fixtures::inventory(listeners);
    hear(judge, &encoded(messages_of_events(events, &inventory, Closing::default())), now);
}

fn hear(judge: &mut Judge, frames: &[Vec<u8>], now: SystemTime) {
    frames.iter().for_each(|frame| judge.take(frame, now));
    judge.catch_up(now);
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// A socket of a service of its own, held by `/opt/PORT`.
fn stranger(cookie: u64, port: u16) -> Listener {
    let holders = Holders::Known(vec![fixtures::holder(format!("/opt/{port}").as_bytes())]);
    let address = std::net::Ipv4Addr::UNSPECIFIED;
    fixtures::listener(cookie, Protocol::Tcp, address, port, holders)
}

fn lived_shortly(listener: &Listener) -> [Event; 2] {
    [Event::Opened(listener.clone()), Event::Closed(listener.id, now())]
}

fn sum<K>(counts: &std::collections::BTreeMap<K, u64>) -> u64 {
    counts.values().sum()
}

#[test]
fn what_lived_a_moment_is_counted_and_open_as_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (mut judge, snapshots) = judge_by(folder.path(), good_baseline);
    let there: Vec<Listener> = fixtures::listeners().into_iter().take(1).collect();
    tell(&mut judge, there.clone(), now());
    assert_eq!(open(&snapshots).len(), 0);
    tell_events(&mut judge, &lived_shortly(&stranger(70, 7000)), there, now());
    let snapshot = snapshots.borrow().clone();
    assert_eq!((sum(&snapshot.counts.opened), sum(&snapshot.counts.closed)), (1, 1));
    assert_eq!(sum(&snapshot.counts.drift_events), 1);
    let drift = snapshot.register.drifts().next().unwrap();
    assert_eq!((drift.finding.subject.port, drift.is_present()), (baseline::PortWord::Number(7000), false));
    let json = snapshot.judged.unwrap().drift_json().unwrap();
    assert!(String::from_utf8_lossy(&json).contains("\"state\":\"gone\""));
    drop(judge);
    let kept = crate::open_drifts(folder.path()).unwrap().unwrap();
    assert_eq!(kept.len(), 1, "it is written down at the end");
}

#[test]
fn none_of_ten_thousand_is_missed_or_counted_twice() {
    for (batch, count) in [(1_usize, 200_u16), (3, 500), (4_000, 10_000)] {
        let folder = tempfile::tempdir().unwrap();
        let (mut judge, snapshots) = judge(folder.path());
        tell(&mut judge, Vec::new(), now());
        let events: Vec<Event> =
            (0..count).flat_map(|port| lived_shortly(&stranger(u64::from(port) + 1, port + 1))).collect();
        // Batches that tear pairs apart leave some open at their end.
        for events in events.chunks(batch) {
            let mut there: std::collections::BTreeMap<_, Listener> = judge
                .assembler
                .inventory()
                .unwrap()
                .listeners
                .into_iter()
                .map(|listener| (listener.id, Listener::clone(&listener)))
                .collect();
            for event in events {
                match event {
                    Event::Opened(listener) => drop(there.insert(listener.id, listener.clone())),
                    Event::Closed(id, _) => drop(there.remove(id)),
                    Event::Changed(_) => {}
                }
            }
            tell_events(&mut judge, events, there.into_values().collect(), now());
        }
        let snapshot = snapshots.borrow().clone();
        let count = u64::from(count);
        assert_eq!(
            (sum(&snapshot.counts.opened), sum(&snapshot.counts.closed)),
            (count, count),
            "by {batch}"
        );
        assert_eq!(sum(&snapshot.counts.drift_events), count, "by {batch}");
        assert_eq!(u64::try_from(snapshot.register.len()).unwrap(), count, "by {batch}");
        assert!(snapshot.register.drifts().all(|drift| !drift.is_present()));
        drop(judge);
        let log = std::fs::read_to_string(folder.path().join("events.jsonl")).unwrap();
        let unlogged = snapshot.unlogged.load(std::sync::atomic::Ordering::Relaxed);
        let told = log.lines().filter(|line| !line.contains("\"event\":\"reload\""));
        // An opening, a closing, and two turns of the drift each.
        assert_eq!(u64::try_from(told.count()).unwrap() + unlogged, 4 * count, "by {batch}");
    }
}

#[test]
fn a_service_that_flaps_is_one_drift() {
    let folder = tempfile::tempdir().unwrap();
    let (mut judge, snapshots) = judge(folder.path());
    tell(&mut judge, Vec::new(), now());
    let flaps: Vec<Event> = (1..=10_000).flat_map(|cookie| lived_shortly(&stranger(cookie, 7000))).collect();
    for events in flaps.chunks(5_000) {
        tell_events(&mut judge, events, Vec::new(), now());
    }
    let snapshot = snapshots.borrow().clone();
    assert_eq!((sum(&snapshot.counts.opened), snapshot.register.len()), (10_000, 1));
    assert_eq!(sum(&snapshot.counts.drift_events), 4, "opened, and came back once in each batch after it");
}

#[test]
fn a_look_finds_what_no_event_told_and_counts_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut judge, snapshots) = judge(folder.path());
    tell(&mut judge, Vec::new(), now());
    tell_events(&mut judge, &[Event::Opened(stranger(1, 7001))], vec![stranger(1, 7001)], now());
    tell(&mut judge, vec![stranger(1, 7001), stranger(2, 7002)], now());
    assert_eq!(sum(&snapshots.borrow().counts.opened), 2);
    tell(&mut judge, Vec::new(), now());
    assert_eq!(sum(&snapshots.borrow().counts.closed), 2);
}

/// A look that lacks a socket may not have seen its namespace.
#[test]
fn an_end_that_is_told_is_believed_where_a_look_is_not() {
    let closing = Closing::default;
    let (collector, reason) = ("namespaces".to_owned(), RawText::from("one was not seen"));
    let gap = Gap { collector, scope: Scope::Namespaces, protocol: None, netns: None, reason };
    let mut before = fixtures::inventory(vec![fixtures::listeners().remove(1)]);
    before.coverage.gaps.push(gap);
    let mut after = before.clone();
    let end = Event::Closed(after.listeners.remove(0).id, now());
    let changes = Changes::between(&before.listeners, &after.listeners);
    for (what, told, present) in [
        ("a look", encoded(messages_of_inventory(&after, closing())), true),
        ("what differs in a look", encoded(messages_of_changes(&changes, &after, closing())), true),
        ("an event", encoded(messages_of_events(&[end], &after, closing())), false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (mut judge, snapshots) = judge(folder.path());
        hear(&mut judge, &encoded(messages_of_inventory(&before, closing())), now());
        hear(&mut judge, &told, now());
        let open: Vec<bool> = open(&snapshots).into_iter().map(|(_, present)| present).collect();
        assert_eq!(open, [present], "{what}");
    }
}

#[test]
fn a_sign_of_life_changes_nothing_but_when_it_was_heard() {
    let folder = tempfile::tempdir().unwrap();
    let (mut judge, snapshots) = judge(folder.path());
    tell(&mut judge, fixtures::listeners(), now());
    let before = snapshots.borrow().clone();
    let later = now() + seconds(10);
    tell_events(&mut judge, &[], fixtures::listeners(), later);
    judge.tick(later);
    let after = snapshots.borrow().clone();
    assert!(
        Arc::ptr_eq(&before.judged.unwrap(), &after.judged.unwrap()),
        "nothing was judged or written anew"
    );
    assert_eq!(after.sensor.last_frame, Some(later));
    assert_eq!(after.sensor.looked_at, before.sensor.looked_at, "events are no look");
}

#[test]
fn what_is_missing_is_told_between_two_looks_while_the_sensor_lives() {
    let required = || {
        let mut loaded = no_baseline();
        let text = "[[approval]]\nid = \"db\"\nlisten = \"tcp/*:5432\"\nprogram = \"/db\"\nrequired = true\n";
        let source = baseline::SourceText { path: "b.toml".into(), text: text.to_owned() };
        let baseline = baseline::parse(&[source], &fixtures::everybody()).unwrap();
        if let Ok(policy) = &mut loaded.policy {
            policy.mode = baseline::Mode::Enforce;
            policy.baseline = baseline;
        }
        loaded
    };
    let folder = tempfile::tempdir().unwrap();
    let (mut judge, snapshots) = judge_by(folder.path(), required);
    tell(&mut judge, Vec::new(), now());
    judge.tick(now() + seconds(300));
    assert_eq!(open(&snapshots).len(), 0, "a sensor that is silent tells nothing");
    for second in (10..=290).step_by(10) {
        tell_events(&mut judge, &[], Vec::new(), now() + seconds(second));
        judge.tick(now() + seconds(second));
    }
    assert_eq!(open(&snapshots).len(), 0);
    judge.tick(now() + seconds(300));
    assert_eq!(open(&snapshots), [("db".to_owned(), true)]);
}

#[test]
fn what_was_lost_never_falls_and_what_looks_find_is_summed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut judge, snapshots) = judge(folder.path());
    let inventory = fixtures::inventory(Vec::new());
    for (lost, expected) in [(0, 0), (3, 3), (5, 5), (0, 5), (2, 7)] {
        let discrepancies = Discrepancies { unannounced: 1, lingering: 0, altered: 2 };
        let closing = Closing { lost, discrepancies, ..Closing::default() };
        hear(&mut judge, &encoded(messages_of_inventory(&inventory, closing)), now());
        assert_eq!(snapshots.borrow().sensor.lost, expected);
    }
    let found = snapshots.borrow().sensor.discrepancies;
    assert_eq!(found, [("unannounced", 5), ("lingering", 0), ("altered", 10)]);
}

/// What its keeper tells is no word of the sensor: one that ends before it has looked must not seem to live.
#[test]
fn a_sensor_that_ends_again_and_again_is_counted_and_not_heard_of() {
    let folder = tempfile::tempdir().unwrap();
    let (mut judge, snapshots) = judge(folder.path());
    tell(&mut judge, fixtures::listeners(), now());
    for (times, expected) in [(1, 1), (3, 3), (2, 3)] {
        let told = encoded(std::iter::once(Message::StartedAgain(times)));
        hear(&mut judge, &told, now() + seconds(60));
        let sensor = snapshots.borrow().sensor;
        assert_eq!((sensor.restarts, sensor.last_frame), (expected, Some(now())));
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
    assert_eq!(count(&snapshots), 4);
    hear(&mut judge, &[torn[1].clone(), torn.last().unwrap().clone()], now());
    assert_eq!(count(&snapshots), 0, "the pass went on after the noise and is whole");
}

#[test]
fn remembers_the_best_coverage_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, _snapshots) = judge(folder.path());
    tell(&mut first, Vec::new(), now());
    drop(first);
    let (_, snapshots) = judge(folder.path());
    let best = snapshots.borrow().best;
    assert_eq!((best.of(inventory::Scope::Sockets), best.of(inventory::Scope::Holders)), (1.0, 0.75));
}

#[test]
fn remembers_what_matched_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let known = |id: &str| crate::matched(folder.path()).unwrap().unwrap()[id].clone();
    let (mut judge, _) = judge_by(folder.path(), good_baseline);
    let sshd = || fixtures::listeners().into_iter().take(1).collect::<Vec<_>>();
    tell(&mut judge, sshd(), now());
    tell(&mut judge, sshd(), now() + seconds(60));
    tell(&mut judge, Vec::new(), now() + seconds(60) + Duration::from_millis(500));
    judge.end(now() + seconds(70));
    drop(judge);
    let id = good_baseline().baseline.unwrap().unwrap().baseline.approvals()[0].id.clone();
    let at = |after: u64| jiff::Timestamp::try_from(now() + seconds(after)).unwrap();
    let before = known(&id);
    assert_eq!((before.since, before.last), (at(0), Some(at(60))));
    assert_eq!((before.watched, before.idle), (70, 10));

    let (mut judge, _) = judge_by(folder.path(), good_baseline);
    tell(&mut judge, Vec::new(), now() + seconds(1_000));
    drop(judge);
    assert_eq!(known(&id), before, "nobody watched in between");
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
    tell(&mut first, fixtures::listeners().into_iter().chain([lesser()]).collect(), now());
    let before = open(&snapshots);
    assert_eq!(before.len(), 3);
    drop(first);
    let (mut second, snapshots) = judge_by(folder.path(), good_baseline);
    assert_eq!(open(&snapshots), before);
    assert!(snapshots.borrow().judged.is_none());
    tell(&mut second, Vec::new(), now());
    assert!(open(&snapshots).iter().all(|(_, present)| !present));
    let long_after = now() + Register::KEPT_GONE * 3;
    second.reload(long_after);
    second.tick(long_after);
    assert_eq!(open(&snapshots).len(), 3, "nobody has looked since");
    tell(&mut second, Vec::new(), long_after);
    let critical: Vec<_> = before[..2].iter().map(|(id, _)| (id.clone(), false)).collect();
    assert_eq!(open(&snapshots), critical, "they wait for somebody");
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
    let pass = snapshots.borrow().judged.clone().unwrap();
    assert_eq!(pass.due_in(now()), Register::SETTLING);
    assert!(pass.is_due(now() - Duration::from_secs(1)), "the clock was set back");
    judge.tick(now() + Duration::from_secs(1));
    assert_eq!(open(&snapshots).len(), 0);
    judge.tick(now() + Duration::from_secs(2));
    assert_eq!(open(&snapshots).len(), 1);
    let json = snapshots.borrow().judged.as_ref().unwrap().drift_json().unwrap();
    assert!(String::from_utf8_lossy(&json).contains("unapproved"), "the API says so too");
}
