use std::net::Ipv6Addr;
use std::time::Duration;

use baseline::{AddressWord, Finding, PortWord};
use inventory::{Protocol, RawText, Reach, is_seen};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

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
fn what_tells_it_from_others_gives_way_last() {
    let long = "a-program-with-a-name-that-does-not-end";
    let full = "2001:db8:1234:5678:9abc:def0:1234:5678";
    for (host, address, program, user, line) in [
        (
            "db-primary-west-7",
            "203.0.113.10",
            "sshd as root",
            "root",
            "db-pri…est-7: unapproved tcp/203.0.113.10:8443 to everyone, \"sshd as r…\" as root",
        ),
        (
            "db-primary-west-7.prod.example.org",
            "*",
            "nc",
            "www-data",
            "db-primary-west-7: unapproved tcp/*:8443 to everyone, nc as www-data",
        ),
        (
            "db-primary-west-7",
            full,
            "nc",
            "root",
            "db-pri…est-7: unapproved tcp/[2001:d…4:5678]:8443 to everyone, nc as root",
        ),
        (
            "203.0.113.10",
            full,
            long,
            "a-user-of-16-let",
            "203.…3.10: unapproved tcp/[2001…5678]:8443 public, a-pro… as a-user-of-16-let",
        ),
        (
            "2001:db8::1:2:3",
            "*",
            long,
            "root",
            "2001:db8::1:2:3: unapproved tcp/*:8443 to everyone, a-program-with-… as root",
        ),
    ] {
        let mut finding = finding();
        finding.subject.address = address.parse().map_or(AddressWord::Any, AddressWord::One);
        finding.subject.programs = [RawText::from(format!("/opt/{program}").as_str())].into();
        finding.subject.users = [user.to_owned()].into();
        assert_eq!(summary(host, &finding, false), line);
    }
}

#[test]
fn a_line_of_a_host_and_one_of_an_end_are_as_short() {
    assert_eq!(of_host("web-17", "the sensor is silent"), "web-17: the sensor is silent");
    let long = "a-host-with-a-name-that-is-as-long-as-one-can-be-in-a-domain-7.example.org";
    let line = of_host(long, "the sensor is silent, new drift is not seen");
    assert_eq!(line, "a-host-with-a-nam…-be-in-a-domain-7: the sensor is silent, new drift is not seen");
    assert_eq!(over("approved", "web-17: the sensor is silent"), "approved: web-17: the sensor is silent");
    assert_eq!(over("approved", &line).chars().count(), summary::MOST);
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

    /// Host, endpoint, to whom, program, user and kind.
    #[test]
    fn the_first_line_has_all_six(
        host in "[a-z][a-z0-9.-]{0,62}", address in any::<u128>(), program in "[a-z\" ]{1,64}", user in "[a-z0-9_-]{1,32}",
        port in any::<u16>(), kind in 0..DriftKind::ALL.len(), reach in 0..Reach::ALL.len(), protocol in 0..Protocol::ALL.len(),
    ) {
        let mut finding = finding();
        finding.kind = DriftKind::ALL[kind];
        finding.subject.protocol = Protocol::ALL[protocol];
        finding.subject.address = AddressWord::One(Ipv6Addr::from_bits(address).into());
        finding.subject.port = PortWord::Number(port);
        finding.subject.reach = Some(Reach::ALL[reach]);
        finding.subject.programs = [RawText::from(program.as_str())].into();
        finding.subject.users = [user.clone()].into();
        let line = summary(&host, &finding, false);
        prop_assert!(line.chars().count() <= summary::MOST, "{line}");
        let kind = finding.kind.as_str().replace('_', " ");
        let (told_host, rest) = line.split_once(&format!(": {kind} {}/[", finding.subject.protocol)).unwrap();
        let (_, rest) = rest.split_once(&format!("]:{port} ")).unwrap();
        let (told_reach, rest) = rest.split_once(", ").unwrap();
        let (told_program, told_user) = rest.rsplit_once(" as ").unwrap();
        prop_assert_eq!(told_host.chars().next(), host.chars().next());
        let words = ["everyone", "private", "link", "host", "loopback", "nobody", "isolated", "public"];
        prop_assert!(words.iter().any(|word| told_reach.contains(word)), "{line}");
        prop_assert!(!told_program.is_empty(), "{line}");
        prop_assert!(told_user == user || user.len() > 16 && told_user.chars().count() > 16, "{line}");
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
