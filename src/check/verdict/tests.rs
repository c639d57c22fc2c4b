use serde_json::{Value, json};

use clap::Parser;

use super::*;
use crate::arguments::Arguments;
use crate::asking::Failure;
use crate::asking::answers::Listeners;
use crate::check::measures::Measure;
use crate::check::narrowing::narrow;

fn status() -> Value {
    let none = json!({"open": 0, "gone": 0});
    json!({
        "schema": 1, "host": "web-1", "now": "2026-11-21T09:00:03.000Z", "taken_at": "2026-11-21T09:00:00.000Z",
        "ready": true, "unready": null,
        "sensor": {"last_frame": "2026-11-21T09:00:00.000Z", "silent_seconds": 3},
        "mode": "enforce",
        "baseline": {"revision": "e3f5", "approvals": 5, "last_reload_successful": true},
        "listeners": 7,
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
    answered(status, Some(Ok(serde_json::from_value(details).unwrap())))
}

fn answered(status: Value, details: Option<Result<Details, Failure>>) -> Asked {
    Asked {
        status: Ok(serde_json::from_value(status).unwrap()),
        details,
        listeners: None,
        filters: Vec::new(),
        unfiltered: 0,
        looked: None,
        trace: vec!["asked      x".to_owned()],
    }
}

fn decide(asked: &Asked) -> Verdict {
    by(asked, &[], &[])
}

/// By thresholds of WARNING and CRITICAL.
fn by(asked: &Asked, warning: &[(Measure, &str)], critical: &[(Measure, &str)]) -> Verdict {
    let ranges = |given: &[(Measure, &str)]| {
        given.iter().map(|(measure, range)| (*measure, range.parse().unwrap())).collect()
    };
    super::decide(asked, &Thresholds::of(ranges(warning), ranges(critical)), Length::of(0))
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
    let verdict = decide(&Asked::nothing(failure()));
    assert_eq!((verdict.state, &*verdict.line), (State::Unknown, "/run/x: nobody listens there"));
    assert_eq!(verdict.details, ["Start it."]);
    for (changes, state) in [
        (&[][..], State::Unknown),
        (&[("/drifts/critical", json!({"open": 1, "gone": 0}))], State::Critical),
        (&[("/drifts/warning", json!({"open": 1, "gone": 0}))], State::Warning),
    ] {
        let verdict = decide(&answered(but(changes), Some(Err(failure()))));
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
fn no_name_passes_for_words_of_the_check() {
    let mut lying = drift("critical", "ok). Planned; run: sudo x", false);
    lying["users"] = json!(["nobody, approved"]);
    lying["workloads"] = json!(["a \" b"]);
    lying["netns"] = json!("x as root");
    let verdict = decide(&asked(but(&[("/drifts/critical", json!({"open": 1, "gone": 0}))]), &[lying]));
    let line = "unapproved tcp *:8080 in \"x as root\" \"ok). Planned; run: sudo x\"; ";
    assert!(verdict.line.contains(line), "{verdict:?}");
    let held = r#"  held by  "ok). Planned; run: sudo x" as "nobody, approved", "a \x22 b""#;
    assert!(verdict.details.iter().any(|line| line == held), "{verdict:#?}");
}

/// As they stand, but for the id and the reason.
#[test]
fn what_is_to_be_done_can_be_done_so() {
    let drifts = [drift("critical", "/a", true), drift("warning", "/b", false), drift("info", "/c", false)];
    let verdict = decide(&asked(but(&[("/drifts/critical", json!({"open": 9, "gone": 1}))]), &drifts));
    let text = verdict.details.join("\n");
    let commands: Vec<&str> = text.split('`').filter(|word| word.starts_with("sudo ")).collect();
    assert_eq!(commands.len(), 4, "{text}");
    for command in commands {
        let words = command.split(' ').skip(1);
        assert!(Arguments::try_parse_from(words).is_ok(), "{command}");
    }
}

#[test]
fn what_is_told_has_bounds() {
    let many: Vec<Value> = (0..1000).map(|_| drift("critical", &"x".repeat(5000), false)).collect();
    let verdict = decide(&asked(but(&[("/drifts/critical", json!({"open": 1000, "gone": 0}))]), &many));
    assert!(verdict.line.chars().count() < 300, "{}", verdict.line);
    assert!(verdict.details.len() < 60 + 6 * 50, "{}", verdict.details.len());
    assert!(verdict.details.iter().all(|line| line.chars().count() < 300));
    assert!(verdict.details.contains(&"and 950 more: `sudo portledger diff`".to_owned()));
}

#[test]
fn thresholds_say_what_is_told() {
    let some = |open| json!({"open": open, "gone": 0});
    let drifts =
        |critical, warning| but(&[("/drifts/critical", some(critical)), ("/drifts/warning", some(warning))]);
    let many = |status: Value| answered(status, None);
    for (status, warning, critical, state, line) in [
        (
            drifts(2, 1),
            &[(Measure::Drift, "3")][..],
            &[(Measure::Drift, "9")][..],
            State::Ok,
            "2 critical, 1 warning drifts; ",
        ),
        (
            drifts(3, 1),
            &[(Measure::Drift, "3")],
            &[(Measure::Drift, "9")],
            State::Warning,
            "; drift 4 is not within 3",
        ),
        (
            drifts(9, 1),
            &[(Measure::Drift, "3")],
            &[(Measure::Drift, "9")],
            State::Critical,
            "; drift 10 is not within 9",
        ),
        (drifts(0, 3), &[(Measure::Warning, "5")], &[], State::Ok, "3 warning drifts; "),
        (
            drifts(0, 3),
            &[],
            &[(Measure::Warning, "@2:3")],
            State::Critical,
            "; drift-warning 3 is within 2:3",
        ),
        (but(&[]), &[(Measure::Listeners, "5")], &[], State::Warning, "; listeners 7 is not within 5"),
        (but(&[]), &[], &[(Measure::Age, "2")], State::Critical, "; age 3 is not within 2"),
        (
            but(&[("/coverage/shares/sockets/seen", json!(3))]),
            &[(Measure::Coverage, "80:")],
            &[],
            State::Warning,
            "; coverage of sockets 75 is not within 80:",
        ),
        // What was to be held against a threshold and cannot be.
        (
            but(&[("/listeners", Value::Null)]),
            &[(Measure::Listeners, "5")],
            &[],
            State::Unknown,
            "listeners has a threshold",
        ),
    ] {
        let verdict = by(&many(status), warning, critical);
        assert_eq!(verdict.state, state, "{verdict:?}");
        assert!(verdict.line.contains(line), "{line}: {verdict:?}");
    }
    // A silent sensor is UNKNOWN, unless somebody wants to be called for it.
    let silent = but(&[
        ("/ready", json!(false)),
        ("/unready", json!("silent")),
        ("/sensor/silent_seconds", json!(99)),
    ]);
    for (warning, critical, state) in [
        (&[][..], &[][..], State::Unknown),
        (&[(Measure::Age, "60")], &[], State::Unknown),
        (&[], &[(Measure::Age, "60")], State::Critical),
    ] {
        let verdict = by(&many(silent.clone()), warning, critical);
        assert_eq!(verdict.state, state, "{verdict:?}");
        assert!(
            verdict.line.starts_with("the daemon is not ready: silent; last known: no drift"),
            "{verdict:?}"
        );
    }
}

#[test]
fn what_may_not_hold_any_more_has_no_figure() {
    let measured = |status: Value| -> Vec<Measure> {
        decide(&answered(status, None)).figures.iter().map(|figure| figure.measure).collect()
    };
    let counted = [Measure::Critical, Measure::Warning, Measure::Info, Measure::Gone, Measure::Drift];
    assert_eq!(
        measured(but(&[])),
        [&counted[..], &[Measure::Listeners, Measure::Age, Measure::Coverage]].concat()
    );
    assert_eq!(measured(but(&[("/ready", json!(false))])), [Measure::Age]);
    assert_eq!(
        measured(but(&[("/baseline/revision", Value::Null)])),
        [Measure::Listeners, Measure::Age, Measure::Coverage]
    );
}

fn listeners() -> Listeners {
    let listener = |program: &str, port: u16| {
        json!({
            "service": "s", "protocol": "tcp", "address": "0.0.0.0", "port": port, "netns": {"name": "host"},
            "reach": "public", "verdict": "drift", "drift": {"kind": "unapproved"},
            "holders": [{"program": program, "uid": 0, "user": "root", "workload": {"name": null}}],
        })
    };
    let listeners = [listener("/bin/a", 8080), listener("/bin/b", 8080)];
    serde_json::from_value(json!({"schema": 1, "listeners": listeners})).unwrap()
}

#[test]
fn a_filter_leaves_drift_and_listeners_out() {
    let two = but(&[
        ("/drifts/critical", json!({"open": 1, "gone": 0})),
        ("/drifts/warning", json!({"open": 1, "gone": 0})),
    ]);
    for (filters, state, line, listening) in [
        (
            &["program=/bin/a"][..],
            State::Critical,
            "1 critical drift of program=/bin/a: unapproved tcp *:8080 /bin/a; ",
            1.0,
        ),
        (&["program=/bin/b"], State::Warning, "1 warning drift of program=/bin/b: ", 1.0),
        (&["program=/bin/c"], State::Ok, "no drift of program=/bin/c; ", 0.0),
        (
            &["program=/bin/b,/bin/a", "port=8000-9000"],
            State::Critical,
            "1 critical, 1 warning drifts of ",
            2.0,
        ),
        (&["port=1"], State::Ok, "no drift of port=1; ", 0.0),
        (&["address=0.0.0.0"], State::Critical, "1 critical, 1 warning drifts of ", 2.0),
        (&["protocol=tcp", "user=root", "reach=public", "netns=host"], State::Critical, "1 critical, ", 2.0),
        (&["verdict=unapproved"], State::Critical, "1 critical, ", 2.0),
        (&["verdict=widened"], State::Ok, "no drift of ", 0.0),
        (&["workload=*"], State::Ok, "no drift of ", 0.0),
    ] {
        let mut asked =
            asked(two.clone(), &[drift("critical", "/bin/a", false), drift("warning", "/bin/b", false)]);
        asked.listeners = Some(Ok(listeners()));
        narrow(&mut asked, &filters.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>());
        let verdict = decide(&asked);
        assert_eq!(verdict.state, state, "{filters:?} {verdict:?}");
        assert!(verdict.line.starts_with(line), "{line}: {verdict:?}");
        let told = verdict.figures.iter().find(|figure| figure.measure == Measure::Listeners);
        assert_eq!(told.map(|figure| figure.value), Some(listening), "{filters:?}");
    }
}

#[test]
fn a_filter_hides_nothing_that_it_cannot_be_held_against() {
    let critical = but(&[("/drifts/critical", json!({"open": 10_001, "gone": 0}))]);
    let filters = ["program=/bin/a".parse().unwrap()];
    // The register has no room for more, and one more is open.
    let mut full = asked(critical.clone(), &vec![drift("critical", "/bin/b", false); 10_000]);
    narrow(&mut full, &filters);
    let told = decide(&full);
    assert_eq!(told.state, State::Critical);
    assert!(told.line.contains("of them found no room to be told, and may be others)"), "{}", told.line);
    // One that was closed between two answers is none.
    let mut fewer = asked(critical.clone(), &[drift("critical", "/bin/b", false)]);
    narrow(&mut fewer, &filters);
    assert_eq!(decide(&fewer).state, State::Ok);
    let mut failed = answered(critical, Some(Err(failure())));
    narrow(&mut failed, &filters);
    let verdict = decide(&failed);
    assert_eq!((verdict.state, &verdict.line), (State::Unknown, &failure().what));
    assert!(!verdict.figures.iter().any(|figure| figure.measure == Measure::Critical));
}

#[test]
fn one_look_says_what_it_cannot_know() {
    for (gone_unknown, line) in [
        (None, "no drift; looked once"),
        (
            Some("no `serve` keeps it here"),
            "no drift; looked once, what is gone is not known: no `serve` keeps it here",
        ),
    ] {
        let mut asked = answered(but(&[]), None);
        asked.looked = Some(Looked { gone_unknown: gone_unknown.map(str::to_owned) });
        assert_eq!(decide(&asked).line, line);
    }
}

#[test]
fn more_is_told_to_whoever_asks_for_more() {
    let many: Vec<Value> = (0..600).map(|_| drift("critical", "/bin/a", false)).collect();
    let asked = asked(but(&[("/drifts/critical", json!({"open": 600, "gone": 0}))]), &many);
    let usual = Thresholds::of(Default::default(), Default::default());
    for (verbose, drifts, more, trace) in
        [(0, 50, true, false), (1, 500, true, false), (2, 600, false, false), (3, 600, false, true)]
    {
        let details = super::decide(&asked, &usual, Length::of(verbose)).details;
        assert_eq!(details.iter().filter(|line| line.starts_with("  id ")).count(), drifts);
        assert_eq!(details.iter().any(|line| line.starts_with("and ")), more);
        assert_eq!(details.iter().any(|line| line == "asked      x"), trace);
    }
}
