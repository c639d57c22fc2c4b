use std::net::Ipv4Addr;

use inventory::frame::{
    Closing, Message, encode, messages_of_changes, messages_of_events, messages_of_inventory,
};
use inventory::{Changes, Event, EventSource, Holders, Protocol, Unattributed};

use super::*;
use crate::fixtures::{self, assert_golden, now};
use crate::rules::tests::{good_baseline, no_baseline, rules};
use crate::{missing_document, standing_document, witnessed_document};

fn follower() -> Follower {
    let folder = tempfile::tempdir().unwrap();
    Follower::new(rules(folder.path(), good_baseline).policy().clone())
}

fn hear(follower: &mut Follower, messages: impl Iterator<Item = Message>) -> News {
    messages.for_each(|message| follower.take(&encode(&message).unwrap()).unwrap());
    follower.news(now()).unwrap()
}

fn look(follower: &mut Follower, listeners: &[Listener]) -> News {
    hear(follower, messages_of_inventory(&fixtures::inventory(listeners.to_vec()), Closing::default()))
}

fn events(follower: &mut Follower, events: &[Event], listeners: &[Listener]) -> News {
    let inventory = fixtures::inventory(listeners.to_vec());
    hear(follower, messages_of_events(events, &inventory, Closing::default()))
}

fn socket(cookie: u64, port: u16, program: &str) -> Listener {
    let holders = Holders::Known(vec![fixtures::holder(program.as_bytes())]);
    fixtures::listener(cookie, Protocol::Tcp, Ipv4Addr::UNSPECIFIED, port, holders)
}

fn sshd(cookie: u64) -> Listener {
    socket(cookie, 22, "/usr/sbin/sshd")
}

/// `open 22 approved`.
fn told(news: &News) -> Vec<String> {
    let words = |witnessed: &Witnessed| {
        let document = serde_json::to_value(witnessed_document(witnessed)).unwrap();
        let word = |field: &str| document[field].as_str().unwrap_or("-").to_owned();
        let said = if document["kind"].is_null() { word("verdict") } else { word("kind") };
        format!("{} {} {said}", word("event"), document["port"])
    };
    news.happened.iter().map(words).collect()
}

#[test]
fn what_was_there_before_did_not_happen() {
    let mut follower = follower();
    let news = look(&mut follower, &[sshd(1), socket(2, 80, "/bin/nc")]);
    assert!(news.first && news.happened.is_empty());
    let (inventory, assessment, _) = follower.present().unwrap();
    assert_eq!((inventory.listeners.len(), assessment.findings().count()), (2, 1));
    assert!(follower.news(now()).is_none(), "it is told once");
}

#[test]
fn each_is_judged_as_it_was_when_it_happened() {
    let mut follower = follower();
    let before = Listener { since: None, ..socket(1, 80, "/bin/nc") };
    look(&mut follower, std::slice::from_ref(&before));
    let short = socket(2, 4444, "/bin/nc");
    let (approved, forked) = (sshd(3), socket(3, 22, "/bin/nc"));
    let batch = [
        Event::Opened(short.clone()),
        Event::Closed(short.id, now()),
        Event::Opened(approved),
        Event::Changed(forked.clone()),
        Event::Closed(before.id, now()),
    ];
    let news = events(&mut follower, &batch, std::slice::from_ref(&forked));
    let expected = [
        "open 4444 unapproved",
        "close 4444 unapproved",
        "open 22 approved",
        "change 22 program_changed",
        "close 80 unapproved",
    ];
    assert_eq!(told(&news), expected);
    let lived: Vec<_> = news.happened.iter().map(Witnessed::lived).collect();
    assert_eq!(lived, [None, Some(Duration::ZERO), None, None, None]);
    let before: Vec<_> = news.happened.iter().map(Witnessed::was_before).collect();
    assert_eq!(before, [false, false, false, false, true]);
    assert!(news.happened.iter().all(|witnessed| !witnessed.by_look));
    let news = events(&mut follower, &[Event::Closed(forked.id, now())], &[]);
    assert_eq!(told(&news), ["close 22 program_changed"], "as it was before it closed");
}

/// A socket that is told before it is known who holds it is no socket of nobody.
#[test]
fn a_socket_is_judged_by_who_was_found_to_hold_it() {
    let mut follower = follower();
    look(&mut follower, &[]);
    let unknown = Listener { holders: Holders::Unattributed(Unattributed::Unknown), ..sshd(1) };
    let batch = [Event::Opened(unknown), Event::Changed(sshd(1)), Event::Closed(sshd(1).id, now())];
    let news = events(&mut follower, &batch, &[]);
    assert_eq!(told(&news), ["open 22 approved", "change 22 approved", "close 22 approved"]);
}

#[test]
fn what_a_look_finds_is_said_to_be_found_by_a_look() {
    let mut follower = follower();
    let (old, new) =
        (fixtures::inventory(vec![sshd(1)]), fixtures::inventory(vec![socket(2, 80, "/bin/nc")]));
    look(&mut follower, &[sshd(1)]);
    let changes = Changes::between(&old.listeners, &new.listeners);
    let news = hear(&mut follower, messages_of_changes(&changes, &new, Closing::default()));
    assert_eq!(told(&news), ["close 22 approved", "open 80 unapproved"]);
    assert!(news.happened.iter().all(|witnessed| witnessed.by_look));
}

/// A sensor that tells everything anew has not seen since when what it tells is there.
#[test]
fn what_differs_in_its_age_alone_did_not_change() {
    let mut follower = follower();
    look(&mut follower, &[sshd(1)]);
    let news = look(&mut follower, &[Listener { since: None, ..sshd(1) }]);
    assert_eq!(told(&news), [""; 0]);
    let news = look(&mut follower, &[Listener { backlog: Some(1), ..sshd(1) }]);
    assert_eq!(news.happened[0].differences(), ["backlog"]);
}

#[test]
fn another_policy_holds_for_what_happens_after_it() {
    let mut follower = follower();
    look(&mut follower, &[sshd(1)]);
    let folder = tempfile::tempdir().unwrap();
    follower.judge_by(rules(folder.path(), no_baseline).policy().clone(), now());
    assert_eq!(follower.present().unwrap().1.findings().count(), 1);
    let news = events(&mut follower, &[Event::Closed(sshd(1).id, now())], &[]);
    assert_eq!(told(&news), ["close 22 unapproved"]);
}

#[test]
fn losses_are_told_once_and_a_sensor_out_of_step_is_refused() {
    let mut follower = follower();
    let inventory = fixtures::inventory(vec![]);
    let lossy = |lost| Closing { lost, ..Closing::default() };
    assert_eq!(hear(&mut follower, messages_of_inventory(&inventory, lossy(2))).lost, 2);
    assert_eq!(hear(&mut follower, messages_of_events(&[], &inventory, lossy(5))).lost, 3);
    assert_eq!(hear(&mut follower, messages_of_events(&[], &inventory, lossy(5))).lost, 0);
    let opened = [Event::Opened(sshd(1))];
    let torn = messages_of_events(&opened, &inventory, lossy(5));
    let taken: Result<Vec<()>, OutOfStep> =
        torn.map(|message| follower.take(&encode(&message).unwrap())).collect();
    assert!(matches!(taken, Err(OutOfStep::Pass(_))), "it counts none");
    assert!(matches!(follower.take(b"PLGR"), Err(OutOfStep::Frame(_))));
}

/// A public interface.
#[test]
fn writes_lines_that_programs_know() {
    let mut follower = follower();
    let before = Listener { since: None, ..fixtures::listeners().remove(1) };
    let mut inventory = fixtures::inventory(vec![before.clone()]);
    hear(&mut follower, messages_of_inventory(&inventory, Closing::default()));
    let sshd = sshd(1);
    let changed = Listener { reach: inventory::Reach::Loopback, ..before.clone() };
    let later = now() + Duration::from_micros(1_500);
    let batch = [
        Event::Opened(sshd.clone()),
        Event::Closed(sshd.id, later),
        Event::Changed(changed),
        Event::Closed(before.id, later),
    ];
    let news = events(&mut follower, &batch, &[]);
    inventory.coverage.events = EventSource::Bpf;
    let mut lines = vec![serde_json::to_string(&standing_document("began", &inventory, 1)).unwrap()];
    lines.extend(news.happened.iter().map(|each| serde_json::to_string(&witnessed_document(each)).unwrap()));
    lines.push(serde_json::to_string(&missing_document("lost", 3, now())).unwrap());
    assert_golden("watch.jsonl", &(lines.join("\n") + "\n"));
}
