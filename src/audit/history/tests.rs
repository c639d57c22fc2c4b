use std::collections::BTreeSet;

use inventory::RawText;
use serde_json::json;

use super::*;

fn question(endpoint: &str, at: &str) -> Question {
    let host = Host { name: RawText::from("web-17"), groups: BTreeSet::new() };
    Question {
        wanted: endpoint.parse().unwrap(),
        at: at.parse().unwrap(),
        host: Some(host),
        zone: TimeZone::UTC,
    }
}

fn record(number: u64, value: Value) -> Record {
    Record { number, vouched: true, fields: value.as_object().unwrap().clone() }
}

fn web(serial: u64, listen: &str) -> Value {
    json!({"id": "web", "serial": serial, "listen": [listen], "program": ["/usr/bin/web"], "reason": "wanted"})
}

fn act(number: u64, time: &str, act: &str, old: Value, new: Value) -> (Source, Record) {
    let who = json!({"user": "alice", "uid": 0});
    let fields = json!({
        "time": time, "act": act, "approval": "web", "who": who, "old": old, "new": new, "reason": "because",
        "revision": "r1",
    });
    (Source::Ledger, record(number, fields))
}

fn undone(number: u64, time: &str, of: u64) -> (Source, Record) {
    (Source::Ledger, record(number, json!({"time": time, "act": "undone", "approval": "web", "of": of})))
}

fn reload(number: u64, time: &str, old: Value, new: Value) -> (Source, Record) {
    let fields = json!({
        "time": time, "event": "approval", "approval": "web", "old": old, "new": new, "revision": "r1", "git": "c1",
    });
    (Source::Reloads, record(number, fields))
}

fn answer(question: Question, records: &[(Source, Record)]) -> Answer {
    let mut history = History::new(question);
    for (source, record) in records {
        history.take(*source, record);
    }
    history.answer()
}

const NULL: Value = Value::Null;
const JANUARY: &str = "2026-01-05T09:00:00Z";
const JANUARY_READ: &str = "2026-01-05T09:00:01Z";
const MARCH: &str = "2026-03-01T00:00:00Z";
const MAY: &str = "2026-05-01T00:00:00Z";

fn approved() -> Vec<(Source, Record)> {
    let new = web(1, "tcp/*:8443");
    vec![act(1, JANUARY, "approve", NULL, new.clone()), reload(7, JANUARY_READ, NULL, new)]
}

#[test]
fn who_approved_it_and_since_when_it_was_in_force() {
    let answer = answer(question("tcp/8443", MARCH), &approved());
    assert_eq!(answer.not_known, Vec::<String>::new());
    let [found] = &answer.approvals[..] else { panic!("{answer:#?}") };
    assert!(found.covers_all && !found.expired && found.later.is_empty());
    assert_eq!((found.written[0].record, &*found.written[0].act), (1, "approve"));
    assert_eq!(found.written[0].who.as_ref().unwrap()["user"], "alice");
    assert_eq!((found.in_force[0].record, &*found.in_force[0].time), (7, JANUARY_READ));
    assert_eq!(found.in_force[0].git.as_deref(), Some("c1"));
}

/// Each case: what is asked, more records, and the ids that are found with whether they cover all of it.
#[test]
fn what_counts_is_what_stood_at_the_time() {
    let new = || web(1, "tcp/*:8443");
    type Case = (&'static str, &'static str, &'static str, Vec<(Source, Record)>, Option<bool>);
    let cases: Vec<Case> = vec![
        ("another port", "tcp/443", MARCH, vec![], None),
        ("another protocol", "udp/8443", MARCH, vec![], None),
        ("before", "tcp/8443", "2026-01-05T08:59:59Z", vec![], None),
        ("the very second", "tcp/8443", JANUARY, vec![], Some(true)),
        ("revoked before", "tcp/8443", MAY, vec![act(2, MARCH, "revoke", new(), NULL)], None),
        (
            "revoked later",
            "tcp/8443",
            "2026-02-01T00:00:00Z",
            vec![act(2, MARCH, "revoke", new(), NULL)],
            Some(true),
        ),
        ("taken out by hand", "tcp/8443", MAY, vec![reload(8, MARCH, new(), NULL)], None),
        (
            "revoked, which was taken back",
            "tcp/8443",
            MAY,
            vec![act(2, MARCH, "revoke", new(), NULL), undone(3, MARCH, 2)],
            Some(true),
        ),
        ("moved by hand", "tcp/8443", MAY, vec![reload(8, MARCH, new(), web(1, "tcp/*:9443"))], None),
        (
            "narrowed by hand",
            "tcp/8443",
            MAY,
            vec![reload(8, MARCH, new(), web(1, "tcp/loopback:8443"))],
            Some(false),
        ),
        (
            "moved, and asked where it was moved to",
            "tcp/9443",
            MAY,
            vec![reload(8, MARCH, new(), web(1, "tcp/*:9443"))],
            Some(true),
        ),
    ];
    for (what, endpoint, at, more, expected) in cases {
        let records: Vec<_> = approved().into_iter().chain(more).collect();
        let answer = answer(question(endpoint, at), &records);
        let found = answer.approvals.first().map(|found| found.covers_all);
        assert_eq!(found, expected, "{what}: {answer:#?}");
    }
}

#[test]
fn an_approval_that_was_taken_back_never_was() {
    let records = [act(1, JANUARY, "approve", NULL, web(1, "tcp/*:8443")), undone(2, JANUARY, 1)];
    assert!(answer(question("tcp/8443", MARCH), &records).approvals.is_empty());
}

#[test]
fn what_became_of_it_is_told_field_by_field() {
    let old = web(1, "tcp/*:8443");
    let new = web(2, "tcp/10.0.0.1:8443");
    let more = [
        act(2, MAY, "approve", old.clone(), new.clone()),
        reload(8, MAY, old, new.clone()),
        act(3, MAY, "revoke", new, NULL),
    ];
    let records: Vec<_> = approved().into_iter().chain(more).collect();
    let answer = answer(question("tcp/8443", MARCH), &records);
    let later = &answer.approvals[0].later;
    let told: Vec<_> =
        later.iter().map(|later| (later.trace.log, later.trace.record, later.removed)).collect();
    assert_eq!(told, [(Source::Ledger, 2, false), (Source::Reloads, 8, false), (Source::Ledger, 3, true)]);
    let fields: Vec<_> = later[0].changed.iter().map(|field| (field.field.as_str(), &field.new)).collect();
    assert_eq!(fields, [("listen", &json!(["tcp/10.0.0.1:8443"])), ("serial", &json!(2))]);
}

#[test]
fn what_it_was_before_it_was_approved_anew_is_another_decision() {
    let (old, new) = (web(1, "tcp/*:8443"), web(2, "tcp/*:8443"));
    let records: Vec<_> = approved()
        .into_iter()
        .chain([act(2, MARCH, "approve", old.clone(), new.clone()), reload(8, MARCH, old, new)])
        .collect();
    let answer = answer(question("tcp/8443", MAY), &records);
    let found = &answer.approvals[0];
    let numbers = |traces: &[Trace]| traces.iter().map(|trace| trace.record).collect::<Vec<_>>();
    assert_eq!((numbers(&found.written), numbers(&found.in_force)), (vec![2], vec![8]));
}

#[test]
fn what_had_expired_is_said_to_have() {
    let mut new = web(1, "tcp/*:8443");
    new["expires"] = json!("2026-02-01T00:00:00Z");
    let records = [act(1, JANUARY, "approve", NULL, new)];
    let expired = |at| answer(question("tcp/8443", at), &records).approvals[0].expired;
    assert!(!expired("2026-01-31T23:59:59Z"));
    assert!(expired("2026-02-01T00:00:00Z"));
}

#[test]
fn hosts_and_groups_decide_whether_it_counts_here() {
    for (hosts, found, known) in [
        (json!(["web-*"]), true, true),
        (json!(["db-*"]), false, true),
        (json!(["@web"]), true, false),
        (json!(["db-*", "@web"]), true, false),
    ] {
        let mut new = web(1, "tcp/*:8443");
        new["hosts"] = hosts.clone();
        let records = [act(1, JANUARY, "approve", NULL, new.clone()), reload(7, JANUARY, NULL, new)];
        let answer = answer(question("tcp/8443", MARCH), &records);
        assert_eq!((!answer.approvals.is_empty(), answer.not_known.is_empty()), (found, known), "{hosts}");
    }
}

#[test]
fn what_is_not_known_is_said() {
    let told =
        |records: &[(Source, Record)], at| answer(question("tcp/8443", at), records).not_known.join("\n");
    let none = told(&[], MARCH);
    assert!(
        none.contains("the ledger has no record") && none.contains("log of reloads has no record"),
        "{none}"
    );
    let later = told(&approved(), "2025-01-01T00:00:00Z");
    assert!(later.contains("the ledger begins on 2026-01-05T09:00:00Z"), "{later}");
    let mut forged = approved();
    forged[0].1.vouched = false;
    assert!(told(&forged, MARCH).contains("no signature vouches"), "{forged:?}");
    let mut learned = approved();
    learned.push((
        Source::Ledger,
        record(2, json!({"time": JANUARY, "act": "learn", "endpoints": ["tcp/*:8443"]})),
    ));
    assert!(told(&learned, MARCH).contains("ledger record 2 learned"), "{learned:?}");
    let mut odd = approved();
    odd[1].1.fields["new"]["quantum"] = json!(true);
    assert!(told(&odd, MARCH).contains("unknown key"), "{odd:?}");
}

#[test]
fn a_signature_of_something_else_is_told() {
    let mut new = web(1, "tcp/*:8443");
    new["signature"] = json!("AAAA");
    new["by"] = json!("alice@example.org");
    let answer = answer(question("tcp/8443", MARCH), &[act(1, JANUARY, "approve", NULL, new)]);
    let [signed] = &answer.approvals[0].signatures[..] else { panic!("{answer:#?}") };
    assert_eq!((&*signed.by, &signed.key), ("alice@example.org", &None));
    assert!(signed.wrong.is_some());
}
