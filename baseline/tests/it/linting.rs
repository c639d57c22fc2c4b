//! What is told of a baseline that can be used.

use std::fmt::Write;
use std::time::SystemTime;

use baseline::{Lint, lint, parse};
use jiff::tz::TimeZone;

use crate::world::{NOW, everybody, source, told};

fn lints(files: &[(&str, &str)]) -> Vec<Lint> {
    let texts: Vec<_> = files.iter().map(|(path, text)| source(path, text)).collect();
    let baseline = parse(&texts, &everybody()).unwrap_or_else(|wrong| panic!("{}", told(&wrong)));
    lint(&texts, &baseline, &TimeZone::UTC, SystemTime::UNIX_EPOCH + NOW)
}

/// `code path:line:column message`.
fn lines(files: &[(&str, &str)]) -> Vec<String> {
    let line = |lint: &Lint| {
        let at = &lint.diagnostic;
        format!("{} {} {}", lint.code.as_str(), at.place(), at.message)
    };
    lints(files).iter().map(line).collect()
}

/// One that nothing is to be said about, with more keys.
fn approval(id: &str, more: &str) -> String {
    format!(
        "[[approval]]\nid = \"{id}\"\nlisten = \"tcp/*:80\"\nprogram = \"/usr/sbin/nginx\"\nreason = \"r\"\nby = \"alice\"\n{more}\n"
    )
}

#[test]
fn an_approval_that_another_one_covers_is_told_with_both_places() {
    let text = approval("a", "") + &approval("b", "team = \"x\"\nticket = \"7\"");
    assert_eq!(lines(&[("f", &text)]), ["covered f:9:6 `b` covers nothing that `a` (f:2:6) does not cover"]);
}

#[test]
fn covering_heeds_hosts_time_and_who_approved() {
    let cases: [(&str, &str, Option<&str>); 11] = [
        ("", "hosts = \"@web\"", Some("b")),
        ("hosts = \"@web\"", "", Some("a")),
        ("hosts = [\"@web\", \"db\"]", "hosts = [\"db\"]", Some("b")),
        ("hosts = [\"@web\", \"db\"]", "hosts = [\"db\", \"x\"]", None),
        ("expires = 2030-01-01", "", Some("a")),
        ("expires = 2030-01-01", "expires = 2031-01-01", None),
        ("expires = 2030-01-01", "expires = 2030-01-01", Some("b")),
        ("required = true", "", Some("b")),
        ("reach = \"private\"", "", None),
        ("unit = [\"x\", \"y\"]", "unit = [\"y\", \"x\"]", Some("b")),
        ("netns = \"any\"", "", None),
    ];
    for (one, other, expected) in cases {
        let text = approval("a", one) + &approval("b", other);
        let found = lints(&[("f", &text)]);
        let covered = found.iter().find(|lint| lint.code.as_str() == "covered");
        let id = covered.map(|lint| &lint.diagnostic.message[1..2]);
        assert_eq!(id, expected, "{one} | {other}: {found:?}");
    }
    let learned = approval("a", "").replace("alice", "learn") + &approval("b", "");
    assert!(lines(&[("f", &learned)])[0].starts_with("covered f:2:6 `a`"), "the learned one could go");
}

#[test]
fn a_slip_in_the_name_of_a_group_is_suspected() {
    let text = |first: &str, second: &str| {
        let of = |number: usize, group: &str| {
            approval(&format!("a{number}"), &format!("hosts = \"@{group}\""))
                .replace("80", &number.to_string())
        };
        of(1, first) + &of(2, first) + &of(3, second)
    };
    for (first, slip) in
        [("web", "wbe"), ("web", "webs"), ("web", "we"), ("web", "wab"), ("caf\u{e9}s", "cafes")]
    {
        let expected =
            format!("rare_group f:21:9 no other place names the group `@{slip}`: did you mean `@{first}`?");
        assert_eq!(lines(&[("f", &text(first, slip))]), [expected], "{first} {slip}");
    }
    for (first, other) in [("web", "db"), ("rack1", "rack2"), ("a", "b"), ("frontend", "backend")] {
        assert!(lines(&[("f", &text(first, other))]).is_empty(), "{first} {other}");
    }
    let defaults = "[defaults]\nhosts = [\"db-1\", \"@wbe\"]\n";
    let found = lines(&[("a", &text("web", "web")), ("b", defaults)]);
    assert!(found[0].starts_with("rare_group b:2:18"), "{found:?}");
}

#[test]
fn what_has_expired_and_what_soon_will_is_told_where_it_says_so() {
    // Now it is 2026-11-21T09:00:00Z.
    let cases = [
        ("2026-11-20", None, "a Friday: until Monday"),
        ("2026-11-19", Some("expired f:7:11 `a` has expired: renew it, or take it out"), "a Thursday"),
        (
            "2026-11-21T10:00:00Z",
            Some("expires_soon f:7:11 `a` expires within a day: see whether it is still wanted"),
            "",
        ),
        (
            "2026-12-21T09:00:00Z",
            Some("expires_soon f:7:11 `a` expires in 30 days: see whether it is still wanted"),
            "",
        ),
        ("2026-12-21T09:00:01Z", None, "later"),
    ];
    for (expires, expected, what) in cases {
        let found = lines(&[("f", &approval("a", &format!("expires = {expires}")))]);
        match expected {
            Some(expected) => assert_eq!(found, [expected], "{what}"),
            None => assert!(found.iter().all(|line| line.starts_with("expires_soon")), "{found:?} {what}"),
        }
    }
}

#[test]
fn what_was_learned_is_counted_and_what_says_not_why_is_told() {
    let plain = |id: u8| format!("[[approval]]\nid = \"a{id}\"\nlisten = \"tcp/*:{id}\"\nuser = \"root\"\n");
    let learned = plain(1) + &plain(2) + "by = \"learn\"\n" + &plain(3) + "by = \"learn\"\n";
    let why = plain(4) + "by = \"alice\"\n" + &plain(5) + "reason = \"r\"\n";
    assert_eq!(
        lines(&[("f", &learned), ("g", &why)]),
        [
            "unexplained f:2:6 `a1` says neither why (`reason`) nor who approved it (`by`): an auditor will ask",
            "learned f:6:6 2 approvals of this file were learned, and nobody has approved them: read them, and put your \
             name to `by`",
            "unexplained g:2:6 `a4` says not why (`reason`): an auditor will ask",
            "unexplained g:7:6 `a5` says not who approved it (`by`): an auditor will ask",
        ]
    );
}

/// Each of them is alike to all others in one respect or another: `cargo test --release -p baseline -- --ignored
/// --nocapture a_hundred_thousand`.
#[test]
#[ignore = "a measurement"]
fn a_hundred_thousand_approvals_are_looked_through() {
    let mut texts = Vec::new();
    for file in 0..10 {
        let mut text = String::new();
        for number in 0..10_000 {
            let id = file * 10_000 + number;
            writeln!(
                text,
                "{}",
                approval(&format!("a{id}"), &format!("hosts = [\"@g{id}x\", \"web-{id}\"]"))
            )
            .unwrap();
        }
        texts.push(source(&format!("{file}.toml"), &text));
    }
    let began = std::time::Instant::now();
    let baseline = parse(&texts, &everybody()).unwrap();
    let parsed = began.elapsed();
    let found = lint(&texts, &baseline, &TimeZone::UTC, SystemTime::UNIX_EPOCH + NOW);
    println!("parse {parsed:?}, lint {:?}, {} lints", began.elapsed() - parsed, found.len());
}
