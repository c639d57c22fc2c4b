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
        "revision": "r1", "counts": act != "propose",
    });
    (Source::Ledger, record(number, fields))
}

fn undone(number: u64, time: &str, of: u64) -> (Source, Record) {
    (Source::Ledger, record(number, json!({"time": time, "act": "undone", "approval": "web", "of": of})))
}

fn reload(number: u64, time: &str, old: Value, new: Value) -> (Source, Record) {
    let fields = json!({
        "time": time, "event": "approval", "approval": "web", "old": old, "new": new, "revision": "r1", "git": "c1",
        "distrust": null,
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

/// What is found after these records: whether it counted, why not and since when.
fn counted(records: &[(Source, Record)]) -> (Option<bool>, String, String) {
    let answer = answer(question("tcp/8443", MAY), records);
    let [found] = &answer.approvals[..] else { panic!("{answer:#?}") };
    let is_open = answer.not_known.iter().any(|note| note.contains("whether approval `web` counted"));
    assert_eq!(is_open, found.counts.is_none(), "{answer:#?}");
    (found.counts, found.why_not.clone().unwrap_or_default(), found.not_since.clone().unwrap_or_default())
}

fn with(mut record: (Source, Record), field: &str, value: Value) -> (Source, Record) {
    record.1.fields.insert(field.to_owned(), value);
    record
}

fn without(mut record: (Source, Record), field: &str) -> (Source, Record) {
    record.1.fields.remove(field);
    record
}

fn signed_web() -> Value {
    let mut web = web(1, "tcp/*:8443");
    web["signature"] = json!("AAAA");
    web
}

#[test]
fn what_never_counted_covers_nothing() {
    let new = || web(1, "tcp/*:8443");
    let read = || reload(7, MARCH, NULL, new());
    let half = with(act(1, JANUARY, "approve", NULL, signed_web()), "counts", false.into());
    let whole = {
        let mut whole = signed_web();
        whole["countersigned"] = json!([{"by": "bob", "signature": "AAAA"}]);
        act(2, MARCH, "countersign", signed_web(), whole)
    };
    let not = |why: &'static str, since: &'static str| (Some(false), why, since);
    type Case = (&'static str, Vec<(Source, Record)>, (Option<bool>, &'static str, &'static str));
    let cases: Vec<Case> = vec![
        ("approved", approved(), (Some(true), "", "")),
        ("approved, and not read yet", vec![approved().remove(0)], (Some(true), "", "")),
        ("proposed", vec![act(1, JANUARY, "propose", NULL, new())], not("nobody had signed", JANUARY)),
        (
            "proposed, as an older record has it",
            vec![without(act(1, JANUARY, "propose", NULL, new()), "counts")],
            not("nobody had signed", JANUARY),
        ),
        (
            "proposed, and read",
            vec![
                act(1, JANUARY, "propose", NULL, new()),
                with(read(), "distrust", json!("nobody signed approval `web`")),
            ],
            not("nobody signed approval `web`", JANUARY),
        ),
        ("one of two signatures", vec![half.clone()], not("did not suffice", JANUARY)),
        ("both", vec![half, whole], (Some(true), "", "")),
        (
            "learned, where signatures are required",
            vec![with(read(), "distrust", json!("nobody signed approval `web`"))],
            not("nobody signed", MARCH),
        ),
        ("learned", vec![read()], (Some(true), "", "")),
        ("read, as an older record has it", vec![without(read(), "distrust")], (None, "", "")),
        (
            "approved, as an older record has it",
            vec![without(act(1, JANUARY, "approve", NULL, new()), "counts")],
            (None, "", ""),
        ),
        (
            "approved, and read by an older `serve`",
            vec![approved().remove(0), without(read(), "distrust")],
            (Some(true), "", ""),
        ),
        (
            "changed by hand, and read by an older `serve`",
            vec![approved().remove(0), without(reload(7, MARCH, new(), web(1, "tcp/*:1-9999")), "distrust")],
            (None, "", ""),
        ),
    ];
    for (what, records, (counts, why, since)) in cases {
        let found = counted(&records);
        assert_eq!((found.0, &*found.2), (counts, since), "{what}: {found:?}");
        assert!(found.1.contains(why), "{what}: {found:?}");
    }
}

#[test]
fn what_was_revoked_does_not_count_again() {
    let revoke = |number| act(number, MARCH, "revoke", signed_web(), NULL);
    let pasted = |serial: u64| {
        let mut pasted = signed_web();
        pasted["serial"] = json!(serial);
        without(reload(9, MARCH, NULL, pasted), "distrust")
    };
    let found = counted(&[revoke(2), pasted(1)]);
    assert_eq!((found.0, &*found.2), (Some(false), MARCH), "{found:?}");
    assert!(found.1.contains("ledger record 2 revoked it, up to serial 1"), "{found:?}");
    assert_eq!(counted(&[revoke(2), with(pasted(1), "distrust", NULL)]).0, Some(false));
    assert_eq!(counted(&[revoke(2), pasted(2)]).0, None, "a later serial");
    assert_eq!(counted(&[revoke(2), undone(3, MARCH, 2), with(pasted(1), "distrust", NULL)]).0, Some(true));
    let away = with(revoke(2), "away", true.into());
    assert_eq!(counted(&[away, with(pasted(1), "distrust", NULL)]).0, Some(true));
    // Nobody signed it: it is written anew with the serial that it had.
    let (old, new) = (web(1, "tcp/*:8443"), web(1, "tcp/*:8443"));
    assert_eq!(
        counted(&[act(2, MARCH, "revoke", old, NULL), act(3, MARCH, "approve", NULL, new)]).0,
        Some(true)
    );
    let read = with(pasted(1), "distrust", json!("approval `web` was revoked, up to serial 1"));
    assert!(counted(&[read]).1.contains("was revoked"));
}

#[test]
fn what_was_written_to_a_checkout_binds_no_host() {
    let away = |number, serial| {
        with(act(number, JANUARY, "approve", NULL, web(serial, "tcp/*:8443")), "away", true.into())
    };
    let mut forged = away(1, 1);
    forged.1.vouched = false;
    let learned = (
        Source::Ledger,
        record(3, json!({"time": JANUARY, "act": "learn", "endpoints": ["tcp/*:8443"], "away": true})),
    );
    let only = answer(question("tcp/8443", MAY), &[forged, learned, reload(7, JANUARY, NULL, NULL)]);
    assert_eq!((&only.approvals[0].counts, only.not_known.len()), (&Some(false), 0), "{only:#?}");
    let why = only.approvals[0].why_not.as_deref().unwrap();
    assert!(why.contains("checkout") && only.approvals[0].not_since.as_deref() == Some(JANUARY), "{why}");

    let arrived = [away(1, 1), reload(7, MARCH, NULL, web(1, "tcp/*:8443"))];
    let answer = |records: &[(Source, Record)]| answer(question("tcp/8443", MAY), records).approvals;
    let [found] = &answer(&arrived)[..] else { panic!("it is one decision") };
    assert_eq!((found.counts, found.written[0].away), (Some(true), true), "{found:#?}");
    assert_eq!(found.said.as_ref().unwrap().reason.as_deref(), Some("because"));

    let another: Vec<_> = approved().into_iter().chain([away(2, 2)]).collect();
    let found: Vec<_> = answer(&another).iter().map(|found| found.counts).collect();
    assert_eq!(found, [Some(true), Some(false)]);
}

#[test]
fn a_later_act_is_told_as_what_it_was() {
    let new = || web(1, "tcp/*:8443");
    let more = [
        act(2, MAY, "revoke", new(), NULL),
        undone(3, MAY, 2),
        act(4, MAY, "revoke", new(), NULL),
        act(5, MAY, "approve", NULL, new()),
        reload(8, MAY, NULL, new()),
    ];
    let records: Vec<_> = approved().into_iter().chain(more).collect();
    let answer = answer(question("tcp/8443", MARCH), &records);
    let told: Vec<_> =
        answer.approvals[0].later.iter().map(|later| (later.removed, later.added, later.undone)).collect();
    let (removed, added) = ((true, false, None), (false, true, None));
    assert_eq!(told, [removed, (false, false, Some(2)), removed, added, added]);
}

#[test]
fn what_somebody_said_is_not_what_was_edited_later() {
    let mut edited = web(1, "tcp/*:8443");
    edited["reason"] = json!("somebody else's words");
    edited["ticket"] = json!("OPS-99");
    let edit = reload(8, MARCH, web(1, "tcp/*:8443"), edited);
    let records: Vec<_> = approved().into_iter().chain([edit]).collect();
    let answer = answer(question("tcp/8443", MAY), &records);
    let found = &answer.approvals[0];
    let said = found.said.as_ref().unwrap();
    assert_eq!((said.record, said.reason.as_deref(), said.ticket.as_deref()), (1, Some("because"), None));
    assert_eq!(found.approval["reason"], "somebody else's words");
}
