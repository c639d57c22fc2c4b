use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use baseline::{ClosedBecause, ClosedBy, DriftEvent};
use inventory::{Holders, Protocol};
use ledger::{HostKeys, Position, Reader, Told, Verified};

use super::*;
use crate::fixtures::{self, now};
use crate::judge::tests::snapshot_of_the_fixture;

fn closed(cookie: u64) -> Entry {
    let holders = Holders::Known(vec![fixtures::holder(b"/bin/a")]);
    let listener = fixtures::listener(cookie, Protocol::Tcp, Ipv4Addr::LOCALHOST, 80, holders);
    let at = now() + std::time::Duration::from_micros(1_500);
    Entry::Closed { listener: listener.into(), at, service: None }
}

fn reload() -> Entry {
    Entry::Reload { at: now(), status: RulesStatus::default(), git: None, changed: 0 }
}

fn visit() -> Entry {
    Entry::Visit(Visit {
        detail: None,
        at: now(),
        event: "refused",
        peer: "192.0.2.1".to_owned(),
        user: Some("eve".to_owned()),
        why: Some("password"),
        times: 3,
        untold: 0,
    })
}

fn log_in(folder: &Path) -> EventLog {
    EventLog::new(folder, &Arc::default())
}

/// What writers said, without what the chain adds.
fn bodies(folder: &Path, name: &str) -> Vec<String> {
    let mut reader = Reader::new(folder, name, Position::default());
    let mut bodies = Vec::new();
    while let Some(told) = reader.read().unwrap() {
        if let Told::Line(line) = told {
            bodies.push(String::from_utf8(line.body).unwrap());
        }
    }
    bodies
}

fn cookies(folder: &Path) -> Vec<u64> {
    let value = |body: String| serde_json::from_str::<serde_json::Value>(&body).unwrap();
    bodies(folder, EVENTS).into_iter().map(|body| value(body)["cookie"].as_u64().unwrap()).collect()
}

fn verified(folder: &Path, name: &str) -> Verified {
    let keys = HostKeys::read(&folder.join("events.key.pub")).unwrap();
    ledger::verify(folder, name, &keys, |_| {}).unwrap()
}

#[test]
fn escapes_what_others_chose() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = fixtures::listeners().remove(1);
    let users = vec![Some("root".to_owned())];
    let opened = Entry::Opened {
        listener: hostile.into(),
        at: now(),
        verdict: "drift",
        drift: None,
        service: None,
        approval: None,
        users,
    };
    assert_eq!(log_in(folder.path()).write(&[opened, closed(1)]), 0);
    let text: String = bodies(folder.path(), EVENTS).iter().map(|body| body.clone() + "\n").collect();
    fixtures::assert_golden("events.jsonl", &text);
}

#[test]
fn what_is_closed_is_told_with_whose_word_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let snapshot = snapshot_of_the_fixture();
    let drift = Arc::new(snapshot.register.drifts().next().unwrap().clone());
    let by = ClosedBy { approval: "web".into(), by: Some("carol".into()) };
    let whys = [
        ClosedBecause::Approved(Some(by)),
        ClosedBecause::Approved(None),
        ClosedBecause::Dismissed { by: "dave".into() },
        ClosedBecause::Aged,
    ];
    let mut events: Vec<_> =
        whys.into_iter().map(|why| DriftEvent::Closed { drift: drift.clone(), why }).collect();
    events.push(DriftEvent::Gone(drift.clone()));
    let entries: Vec<Entry> = events.into_iter().map(|event| Entry::Drift { at: now(), event }).collect();
    assert_eq!(log_in(folder.path()).write(&entries), 0);
    let told = bodies(folder.path(), EVENTS).into_iter().map(|body| {
        let (_, told) = body.split_once("\"why\":").unwrap();
        told.to_owned()
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            r#""approved","approval":"web","by":"carol"}"#,
            r#""approved","approval":null,"by":null}"#,
            r#""dismissed","approval":null,"by":"dave"}"#,
            r#""aged","approval":null,"by":null}"#,
            r#"null,"approval":null,"by":null}"#,
        ]
    );
}

#[test]
fn what_is_taken_at_once_is_signed_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = log_in(folder.path());
    assert_eq!(log.write(&[closed(1), closed(2), reload(), closed(3)]), 0);
    assert_eq!(log.write(&[closed(4)]), 0);
    let text = fs::read_to_string(folder.path().join("events.jsonl")).unwrap();
    let signed: Vec<_> = text.lines().map(|line| line.contains("\"signature\"")).collect();
    assert_eq!(signed, [false, false, true, true]);
    assert_eq!(verified(folder.path(), EVENTS).records, 4);
}

#[test]
fn reloads_and_logins_have_logs_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let heads = Arc::default();
    let mut log = EventLog::new(folder.path(), &heads);
    log.open();
    let records = || {
        heads
            .told(std::time::Instant::now())
            .into_iter()
            .map(|(log, head)| (log, head.record))
            .collect::<Vec<_>>()
    };
    assert_eq!(records(), [(ALERTS, 0), (EVENTS, 0), (LOGINS, 0), (RELOADS, 0)]);
    log.write(&[closed(1), reload(), visit(), reload()]);
    assert_eq!(records(), [(ALERTS, 0), (EVENTS, 1), (LOGINS, 1), (RELOADS, 2)]);
    assert!(bodies(folder.path(), LOGINS)[0].contains("\"event\":\"refused\""));
    assert!(bodies(folder.path(), RELOADS).iter().all(|body| body.contains("\"event\":\"reload\"")));
    let keys =
        [EVENTS, RELOADS, LOGINS].map(|name| verified(folder.path(), name).keys.swap_remove(0).fingerprint);
    assert!(keys.iter().all(|key| *key == keys[0]));
}

#[test]
fn cuts_off_what_a_kill_left_half_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    log_in(folder.path()).write(&[closed(1)]);
    let mut torn = fs::read(&path).unwrap();
    torn.extend_from_slice(b"{\"time\":\"20");
    fs::write(&path, torn).unwrap();
    log_in(folder.path()).write(&[closed(2)]);
    assert_eq!(cookies(folder.path()), [1, 2]);
    verified(folder.path(), EVENTS);
}

#[test]
fn two_files_stay_and_no_record_is_lost_between_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = log_in(folder.path());
    assert_eq!(log.write(&[visit()]), 0);
    let entries: Vec<Entry> = (1..=150_000).map(closed).collect();
    for entries in entries.chunks(50_000) {
        assert_eq!(log.write(entries), 0);
    }
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap());
    let sizes: Vec<_> = names
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("events.jsonl"))
        .map(|entry| entry.metadata().unwrap().len())
        .collect();
    assert!(sizes.len() == 2 && sizes.iter().all(|size| *size <= KEEP_EVENTS.segment), "{sizes:?}");
    let cookies = cookies(folder.path());
    let oldest = cookies[0];
    assert!(oldest > 1);
    assert_eq!(cookies, (oldest..=150_000).collect::<Vec<_>>());
    assert_eq!(verified(folder.path(), EVENTS).first, oldest);
    assert_eq!(verified(folder.path(), LOGINS).first, 1, "no storm of sockets pushes out who came in");
}

#[test]
fn a_file_of_the_older_form_is_put_aside_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["events.jsonl", "events.jsonl.1"] {
        fs::write(path(name), format!("{{\"event\":\"{name}\"}}\n")).unwrap();
    }
    for cookie in [1, 2] {
        assert_eq!(log_in(folder.path()).write(&[closed(cookie)]), 0);
    }
    assert_eq!(cookies(folder.path()), [1, 2]);
    for name in ["events.jsonl", "events.jsonl.1"] {
        let aside = fs::read_to_string(path(&format!("{name}.before-chain"))).unwrap();
        assert_eq!(aside, format!("{{\"event\":\"{name}\"}}\n"));
    }
    // What is there already is not overwritten.
    fs::write(path("events.jsonl"), "{}\n").unwrap();
    assert_eq!(log_in(folder.path()).write(&[closed(3)]), 1);
    assert_eq!(fs::read_to_string(path("events.jsonl")).unwrap(), "{}\n");
}

#[test]
fn counts_what_it_cannot_write_and_goes_on_when_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut log = log_in(&state);
    assert_eq!(log.write(&[closed(1), closed(2)]), 2, "there is no such folder");
    assert_eq!(log.write(&[closed(1)]), 1);
    assert_eq!(log.logs[0].missing, 3);
    fs::create_dir(&state).unwrap();
    assert_eq!(log.write(&[closed(3)]), 0);
    assert_eq!(log.logs[0].missing, 0, "that is told");
    assert_eq!(cookies(&state), [3]);
}

#[test]
fn a_file_that_was_moved_away_loses_one_batch() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = log_in(folder.path());
    assert_eq!(log.write(&[closed(1)]), 0);
    fs::remove_file(folder.path().join("events.jsonl")).unwrap();
    assert_eq!(log.write(&[closed(2)]), 1);
    assert_eq!(log.write(&[closed(3)]), 0);
    assert_eq!(cookies(folder.path()), [3]);
}

#[test]
fn what_is_held_by_too_many_is_told_with_as_many_as_fit() {
    let folder = tempfile::tempdir().unwrap();
    let long = vec![b'\\'; 4000];
    let holders = Holders::Known((0..600).map(|_| fixtures::holder(&long)).collect());
    let listener = fixtures::listener(1, Protocol::Tcp, Ipv4Addr::LOCALHOST, 80, holders);
    let opened = Entry::Opened {
        listener: listener.into(),
        at: now(),
        verdict: "drift",
        drift: None,
        service: None,
        approval: None,
        users: Vec::new(),
    };
    assert_eq!(log_in(folder.path()).write(&[closed(1), opened, closed(2)]), 0);
    let body: serde_json::Value = serde_json::from_str(&bodies(folder.path(), EVENTS)[1]).unwrap();
    let told = body["holders"].as_array().unwrap().len();
    assert!(told > 0);
    assert_eq!(body["holders_left_out"], 600 - told);
}

#[test]
fn waits_for_nobody_and_follows_no_link_in_the_place_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert_eq!(log_in(folder.path()).write(&[closed(1), reload()]), 1);
    fs::remove_file(&path).unwrap();
    let target = folder.path().join("target");
    fs::write(&target, "somebody's").unwrap();
    std::os::unix::fs::symlink(&target, &path).unwrap();
    assert_eq!(log_in(folder.path()).write(&[closed(1), reload()]), 1);
    assert_eq!(fs::read_to_string(&target).unwrap(), "somebody's");
    fs::remove_file(&path).unwrap();
    assert_eq!(log_in(folder.path()).write(&[closed(1), reload()]), 0);
    assert_eq!(verified(folder.path(), RELOADS).records, 3);
}
