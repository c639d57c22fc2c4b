use std::net::Ipv6Addr;
use std::time::Duration;

use baseline::{AddressWord, Finding, PortWord};
use inventory::{RawText, Reach, is_seen};
use proptest::prelude::{any, prop_assert, proptest};

use super::*;
use crate::fixtures::{self, now};
use crate::judge::tests::{snapshot_after, snapshot_of_the_fixture};

fn sender() -> Sender {
    Sender { host: "web-17".to_owned(), ..Sender::default() }
}

/// The fixture's one drift with a plain name.
fn finding() -> Finding {
    let snapshot = snapshot_of_the_fixture();
    let mut finding = Finding::clone(&snapshot.register.drifts().next().unwrap().finding);
    finding.subject.programs = [RawText::from("/usr/bin/nc")].into();
    finding.subject.users = ["root".to_owned()].into();
    finding.subject.address = AddressWord::Any;
    finding.subject.port = PortWord::Number(8443);
    finding.subject.reach = Some(Reach::Public);
    finding
}

#[test]
fn the_first_line_tells_where_what_to_whom_and_who() {
    let mut finding = finding();
    assert_eq!(
        summary("web-17", &finding, false),
        "web-17: unapproved tcp/*:8443 open to everyone, nc as root"
    );
    assert_eq!(
        summary("web-17", &finding, true),
        "web-17: unapproved tcp/*:many open to everyone, nc as root"
    );
    finding.subject.reach = None;
    finding.subject.programs = [].into();
    finding.subject.users = [].into();
    finding.kind = DriftKind::Missing;
    assert_eq!(
        summary("web-17", &finding, false),
        "web-17: missing tcp/*:8443, nobody known as nobody known"
    );
}

#[test]
fn names_give_way_before_what_is_bound() {
    let mut finding = finding();
    finding.kind = DriftKind::WorkloadChanged;
    let address: Ipv6Addr = "2001:db8:1234:5678:9abc:def0:1234:5678".parse().unwrap();
    finding.subject.address = AddressWord::One(address.into());
    finding.subject.programs = [RawText::from("/opt/a-program-with-a-name-that-does-not-end")].into();
    let line = summary("a-host-with-a-long-name.example.org", &finding, false);
    assert!(line.starts_with("a-host-with…: workload changed tcp/[2001:db8:"), "{line}");
    assert_eq!(line.chars().count(), 80, "{line}");
}

proptest! {
    #[test]
    fn the_first_line_is_one_line_of_eighty_letters_whatever_the_names_are(
        host in any::<Vec<u8>>(), program in any::<Vec<u8>>(), user in any::<String>(), many in any::<bool>(),
    ) {
        let mut finding = finding();
        finding.subject.programs = [RawText::new(program)].into();
        finding.subject.users = [user].into();
        let line = summary(&RawText::new(host).escaped(), &finding, many);
        prop_assert!(line.chars().count() <= summary::MOST, "{line}");
        prop_assert!(line.chars().all(is_seen), "{line}");
    }

    #[test]
    fn a_word_of_a_shell_stays_one(word in any::<String>()) {
        let word = word.replace('\0', "");
        let quoted = text::shell(&word);
        let told = std::process::Command::new("printf").arg("%s").arg(&word).output().unwrap().stdout;
        let script = format!("printf %s {quoted}");
        let by_shell = std::process::Command::new("sh").args(["-c", &script]).output().unwrap().stdout;
        prop_assert!(told == by_shell, "{quoted}");
    }
}

/// Of the drift that `snapshot` has first.
fn alert_of(snapshot: &crate::snapshot::Snapshot) -> Alert {
    sender().alert(&Told::of(snapshot.register.drifts().next().unwrap()))
}

#[test]
fn what_is_critical_is_never_to_be_approved_in_passing() {
    let snapshot = snapshot_of_the_fixture();
    for drift in snapshot.register.drifts() {
        let mut alert = sender().alert(&Told::of(drift));
        assert_eq!(alert.severity, Severity::Critical);
        assert!(!alert.description().contains("approve "), "{}", alert.description());
        assert!(alert.description().contains("Look: sudo portledger show s1-"), "{}", alert.description());
        alert.severity = Severity::Warning;
        assert!(alert.description().contains("portledger approve s1-"), "{}", alert.description());
    }
}

#[test]
fn no_name_passes_for_words_of_the_alert() {
    let mut finding = finding();
    finding.subject.programs = [RawText::from("/tmp/x as root")].into();
    finding.subject.users = ["no one".to_owned()].into();
    let line = summary("web-17", &finding, false);
    assert!(line.ends_with(", \"x as root\" as \"no one\""), "{line}");
    let mut alert = alert_of(&snapshot_of_the_fixture());
    alert.program = "ok). Planned; run: sudo x".to_owned();
    alert.user = "a\" b".to_owned();
    alert.workload = "session of 7".to_owned();
    alert.netns = "b. Over".to_owned();
    alert.approval = Some("c d".to_owned());
    let text = alert.description();
    let who = r#""ok). Planned; run: sudo x" (user "a\x22 b", "session of 7"): "#;
    assert!(text.starts_with(who), "{text}");
    assert!(text.contains(r#" in network namespace "b. Over","#), "{text}");
    assert!(text.contains(r#"Nearest approval "c d": "#), "{text}");
}

#[test]
fn what_is_gone_is_dismissed() {
    let there = alert_of(&snapshot_of_the_fixture());
    assert!(there.description().contains("still there"), "{}", there.description());
    let later = now() + Duration::from_secs(10);
    let gone = alert_of(&snapshot_after(fixtures::listeners(), Vec::new(), later));
    let text = gone.description();
    assert!(text.contains("gone since 2026-11-21T09:00:10.000Z"), "{text}");
    assert!(text.contains("portledger dismiss s1-"), "{text}");
}

#[test]
fn a_description_is_of_lines_that_no_name_can_break() {
    let snapshot = snapshot_of_the_fixture();
    for drift in snapshot.register.drifts() {
        let text = sender().alert(&Told::of(drift)).description();
        assert!(text.lines().count() <= 6, "{text}");
        assert!(text.lines().all(|line| line.chars().all(is_seen)), "{text}");
    }
}
