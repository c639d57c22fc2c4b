use serde_json::{Value, json};

use super::*;

fn status() -> Value {
    let none = json!({"open": 0, "gone": 0});
    json!({
        "schema": 1, "host": "web-1", "now": "2026-11-21T09:00:03.000Z", "taken_at": "2026-11-21T09:00:00.000Z",
        "ready": true, "unready": null,
        "sensor": {"last_frame": "2026-11-21T09:00:00.000Z", "silent_seconds": 3},
        "mode": "enforce",
        "baseline": {"revision": "e3f5", "approvals": 5, "last_reload_successful": true},
        "drifts": {"critical": none, "warning": none, "info": none},
        "coverage": {"may_hide_listeners": false, "may_hide_holders": false, "gaps": 0,
            "shares": {"sockets": {"seen": 4, "of": 4}}, "events": "bpf"},
    })
}

/// With what a pointer names set to something else.
fn but(changes: &[(&str, Value)]) -> Value {
    let mut status = status();
    for (pointer, value) in changes {
        *status.pointer_mut(pointer).expect(pointer) = value.clone();
    }
    status
}

fn drift(severity: &str, program: &str, gone: bool) -> Value {
    json!({
        "id": "s1-3f2a", "kind": "unapproved", "also": [], "severity": severity, "approval": null,
        "differs": ["no approval speaks of it"], "protocol": "tcp", "address": "*", "port": 8080, "device": null,
        "netns": "host", "programs": [program], "users": ["root"], "workloads": [], "reach": "public", "team": null,
        "first_seen": "2026-11-21T08:00:00.000Z", "gone_since": gone.then_some("2026-11-21T09:00:00.000Z"),
        "state": if gone { "gone" } else { "present" },
    })
}

fn asked(status: Value, drifts: &[Value]) -> Asked {
    let details = json!({"schema": 1, "drifts": drifts, "gaps": [
        {"collector": "procfs", "scope": "holders", "protocol": null, "netns": "blue", "netns_kind": null, "reason": "no"},
    ]});
    Asked {
        status: Ok(serde_json::from_value(status).unwrap()),
        details: Some(Ok(serde_json::from_value(details).unwrap())),
    }
}

fn failure() -> Failure {
    Failure { what: "/run/x: nobody listens there".to_owned(), next: "Start it." }
}

#[test]
fn each_standing_has_its_state_and_first_line() {
    let some = |open, gone| json!({"open": open, "gone": gone});
    let cases = [
        (but(&[]), State::Ok, "no drift; sensor heard of 3 s ago"),
        (but(&[("/drifts/info", some(2, 0))]), State::Ok, "2 info drifts; sensor heard of 3 s ago"),
        (
            but(&[("/drifts/warning", some(1, 0))]),
            State::Warning,
            "1 warning drift: unapproved tcp *:8080 /usr/bin/nc; ",
        ),
        (
            but(&[("/drifts/critical", some(2, 1)), ("/drifts/info", some(1, 0))]),
            State::Critical,
            "2 critical, 1 info drifts (1 gone): unapproved tcp *:8080 /usr/bin/nc; ",
        ),
        // What is gone pages until it is dismissed, as the metrics have it.
        (but(&[("/drifts/critical", some(1, 1))]), State::Critical, "1 critical drift (1 gone): "),
        (but(&[("/mode", json!("observe"))]), State::Ok, "no drift; it only observes, "),
        (
            but(&[("/baseline/last_reload_successful", json!(false))]),
            State::Ok,
            "no drift; the baseline's files cannot be used, the last good one is in force; ",
        ),
        (but(&[("/coverage/gaps", json!(1))]), State::Ok, "no drift; sensor heard of 3 s ago, 1 gap"),
        (
            but(&[("/coverage/may_hide_holders", json!(true)), ("/coverage/gaps", json!(2))]),
            State::Unknown,
            "no drift in what was seen, but holders may be hidden: 2 gaps",
        ),
        (
            but(&[("/coverage/may_hide_listeners", json!(true)), ("/drifts/critical", some(1, 0))]),
            State::Critical,
            "1 critical drift: ",
        ),
        (
            but(&[("/baseline/revision", Value::Null), ("/drifts/info", some(4, 0))]),
            State::Unknown,
            "no baseline is in force, so nothing is judged; 4 info drifts",
        ),
        (
            but(&[("/ready", json!(false)), ("/unready", json!("silent")), ("/drifts/critical", some(1, 0))]),
            State::Unknown,
            "the daemon is not ready: silent; last known: 1 critical drift",
        ),
        // One of the two is enough.
        (but(&[("/ready", json!(false))]), State::Unknown, "the daemon is not ready: it does not say why; "),
        (but(&[("/unready", json!("silent"))]), State::Unknown, "the daemon is not ready: silent; "),
        (
            but(&[("/sensor/silent_seconds", Value::Null)]),
            State::Unknown,
            "the daemon says that it is ready, and not ",
        ),
        (but(&[("/mode", Value::Null)]), State::Unknown, "the daemon says that it is ready, and not "),
        (but(&[("/coverage", Value::Null)]), State::Unknown, "the daemon says that it is ready, and not "),
    ];
    for (status, state, line) in cases {
        let pages = line.contains("nc; ") || line.ends_with(": ");
        let drifts =
            if pages { vec![drift(&state.word().to_lowercase(), "/usr/bin/nc", false)] } else { Vec::new() };
        let verdict = decide(&asked(status.clone(), &drifts));
        assert_eq!(verdict.state, state, "{status:#} {verdict:?}");
        assert!(verdict.line.starts_with(line), "{line}: {verdict:?}");
    }
}

#[test]
fn what_could_not_be_asked_is_never_ok() {
    let verdict = decide(&Asked { status: Err(failure()), details: None });
    assert_eq!((verdict.state, &*verdict.line), (State::Unknown, "/run/x: nobody listens there"));
    assert_eq!(verdict.details, ["Start it."]);
    for (changes, state) in [
        (&[][..], State::Unknown),
        (&[("/drifts/critical", json!({"open": 1, "gone": 0}))], State::Critical),
        (&[("/drifts/warning", json!({"open": 1, "gone": 0}))], State::Warning),
    ] {
        let status = Ok(serde_json::from_value(but(changes)).unwrap());
        let verdict = decide(&Asked { status, details: Some(Err(failure())) });
        assert_eq!(verdict.state, state);
        assert!(verdict.details.contains(&failure().what), "{verdict:?}");
    }
}

/// It is asked for after the status.
#[test]
fn what_drifted_between_two_answers_counts() {
    let verdict = decide(&asked(status(), &[drift("critical", "/usr/bin/nc", false)]));
    assert_eq!(verdict.state, State::Critical);
    assert!(verdict.line.starts_with("1 critical drift: unapproved tcp *:8080 /usr/bin/nc; "), "{verdict:?}");
}

#[test]
fn an_answer_that_leaves_something_out_is_not_understood() {
    for pointer in ["ready", "sensor", "baseline", "drifts"] {
        let mut status = status();
        status.as_object_mut().unwrap().remove(pointer);
        assert!(serde_json::from_value::<Status>(status).is_err(), "{pointer}");
    }
    let mut status = status();
    status["drifts"].as_object_mut().unwrap().remove("critical");
    assert!(serde_json::from_value::<Status>(status).is_err());
    assert!(serde_json::from_value::<Drift>(drift("grave", "/bin/x", false)).is_err());
}

#[test]
fn drifts_are_told_gravest_first_and_names_are_escaped() {
    let some = json!({"open": 3, "gone": 1});
    let drifts = [
        drift("info", "/a", false),
        drift("critical", "/b", true),
        drift("critical", "/c\nd\u{202e}", false),
    ];
    let verdict = decide(&asked(but(&[("/drifts/critical", some)]), &drifts));
    assert!(verdict.line.contains(" /c\\x0ad\\xe2\\x80\\xae; "), "{verdict:?}");
    let held: Vec<&String> = verdict.details.iter().filter(|line| line.contains("held by")).collect();
    assert_eq!(
        held,
        ["  held by  /c\\x0ad\\xe2\\x80\\xae as root", "  held by  /b as root", "  held by  /a as root"]
    );
    for line in [
        "critical  unapproved       tcp *:8080, reach public",
        "  gone     2026-11-21T09:00:00.000Z",
        "not seen   holders in blue: no (procfs)",
        "and 1 more: `sudo portledger diff`",
        "seen       sockets 4/4",
    ] {
        assert!(verdict.details.iter().any(|told| told == line), "{line}: {verdict:#?}");
    }
}

#[test]
fn what_is_told_has_bounds() {
    let many: Vec<Value> = (0..1000).map(|_| drift("critical", &"x".repeat(5000), false)).collect();
    let verdict = decide(&asked(but(&[("/drifts/critical", json!({"open": 1000, "gone": 0}))]), &many));
    assert!(verdict.line.chars().count() < 300, "{}", verdict.line);
    assert!(verdict.details.len() < 60 + 6 * MAX_DRIFTS, "{}", verdict.details.len());
    assert!(verdict.details.iter().all(|line| line.chars().count() < 300));
    assert!(verdict.details.contains(&"and 950 more: `sudo portledger diff`".to_owned()));
}
