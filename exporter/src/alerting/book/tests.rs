use std::net::Ipv4Addr;

use baseline::{Accounts, Dismissal, Policy, assess};
use inventory::{Holders, Listener, Protocol};
use proptest::prelude::*;

use super::super::recall;
use super::*;
use crate::fixtures::{self, now};

/// A host, and what was ever told of it, as it stands in the log.
struct Host {
    register: Register,
    book: Arc<Book>,
    log: Vec<String>,
    policy: Policy,
    at: SystemTime,
}

impl Host {
    fn new() -> Self {
        let policy = crate::rules::tests::policy();
        Host { register: Register::default(), book: Arc::default(), log: Vec::new(), policy, at: now() }
    }

    /// What is told where these listen, ten seconds later.
    fn look(&mut self, listeners: &[Listener]) -> Vec<Arc<Turn>> {
        self.look_after(Duration::from_secs(10), listeners, true)
    }

    fn look_after(&mut self, later: Duration, listeners: &[Listener], enforced: bool) -> Vec<Arc<Turn>> {
        self.at += later;
        let inventory = fixtures::inventory(listeners.to_vec());
        let accounts = Accounts::default();
        let assessment = assess(&inventory, &self.policy, &accounts, self.at);
        let events = self.register.update(&inventory, &assessment, &self.policy, &accounts, self.at);
        self.tell(&events, enforced)
    }

    fn tell(&mut self, events: &[DriftEvent], enforced: bool) -> Vec<Arc<Turn>> {
        let known = Known { register: &self.register, events, enforced };
        let turns = self.book.update(&known, &sender(), self.at);
        self.log.extend(turns.iter().map(|turn| serde_json::to_string(turn).unwrap()));
        turns
    }

    fn remind(&mut self, remedy: &Remedy, enforced: bool) -> Vec<Arc<Turn>> {
        let known = Known { register: &self.register, events: &[], enforced };
        let late = self.book.late(&known, remedy, self.at);
        let turns = Arc::make_mut(&mut self.book).remind(&late, "web-1", enforced, self.at);
        self.log.extend(turns.iter().map(|turn| serde_json::to_string(turn).unwrap()));
        turns
    }

    fn dismiss_all(&mut self) -> Vec<Arc<Turn>> {
        let gone = self.register.by_id().filter_map(|drift| {
            Some(Dismissal { drift: drift.id().clone(), gone_since: drift.gone_since?, by: "alice".into() })
        });
        let events = self.register.dismiss(&gone.collect::<Vec<_>>());
        self.tell(&events, true)
    }

    /// Another process: of a book as it was after so many records, and the records behind it.
    fn restart(&mut self, from: usize) {
        let mut book = Book::default();
        self.log.iter().take(from).for_each(|line| book.take_in(serde_json::from_str(line).unwrap()));
        let checkpoint = serde_json::to_string(&book).unwrap();
        let mut book: Book = serde_json::from_str(&checkpoint).unwrap();
        self.log.iter().for_each(|line| book.take_in(serde_json::from_str(line).unwrap()));
        self.book = Arc::new(book);
    }
}

fn sender() -> alert::Sender {
    alert::Sender { host: "web-1".to_owned(), ..alert::Sender::default() }
}

fn listener(port: u16, program: &str) -> Listener {
    let holders = Holders::Known(vec![fixtures::holder(program.as_bytes())]);
    fixtures::listener(port.into(), Protocol::Tcp, Ipv4Addr::UNSPECIFIED, port, holders)
}

fn nc(ports: std::ops::Range<u16>) -> Vec<Listener> {
    ports.map(|port| listener(port, "/opt/nc")).collect()
}

fn steps(turns: &[Arc<Turn>]) -> Vec<(Step, Option<Why>)> {
    turns.iter().map(|turn| (turn.event, turn.end.as_ref().map(|end| end.why))).collect()
}

const DAY: Duration = Duration::from_secs(25 * 60 * 60);

#[test]
fn what_comes_and_goes_fires_once_until_it_is_over() {
    let mut host = Host::new();
    assert_eq!(steps(&host.look(&nc(7000..7001))), [(Step::Firing, None)]);
    let first = host.book.firing.values().next().unwrap().clone();
    assert_eq!((first.seq, first.about.host()), (1, "web-1"));
    for _ in 0..3 {
        assert_eq!(steps(&host.look(&[])), []);
        let alert = host.book.firing.values().next().unwrap().about.drift().unwrap().clone();
        assert!(alert.gone_since.is_some(), "what is told of it now is that it is gone");
        host.restart(0);
        assert_eq!(steps(&host.look(&nc(7000..7001))), []);
        assert_eq!(host.book.firing.values().next().unwrap().about, first.about);
    }
    host.look(&[]);
    assert_eq!(steps(&host.dismiss_all()), [(Step::Resolved, Some(Why::Dismissed))]);
    assert_eq!(host.book.ended[0].seq, 2);
    let again = host.look(&nc(7000..7001));
    assert_eq!(steps(&again), [(Step::Firing, None)], "another time");
    assert_eq!(again[0].id(), first.id());
    assert_ne!(again[0].about.first_seen(), first.about.first_seen());
}

#[test]
fn of_a_crowd_twenty_are_told_singly_and_stay_so() {
    let mut host = Host::new();
    assert_eq!(host.look(&nc(7000..7015)).len(), 15);
    let more = host.look(&nc(7000..7100));
    assert_eq!(more.len(), 6, "five more, and one for all others");
    let many: Vec<_> = more.iter().filter(|turn| turn.id().starts_with("m1-")).collect();
    assert_eq!(many.len(), 1);
    assert_eq!(many[0].about.drift().unwrap().alert().port, "many");
    assert_eq!(host.look(&nc(7000..9000)), [], "whoever joins them is told already");
    // They are gone, and others there.
    assert_eq!(host.look(&nc(9000..9100)), []);
    assert_eq!(host.book.firing.len(), 21);
    host.restart(7);
    assert_eq!(host.look(&nc(9000..9100)), [], "none fires anew");
    let over = host.dismiss_all();
    assert_eq!(over.len(), 20, "those that are there are among the many");
    assert!(over.iter().all(|turn| turn.event == Step::Resolved && !turn.id().starts_with("m1-")));
    host.look(&[]);
    assert_eq!(steps(&host.dismiss_all()), [(Step::Resolved, Some(Why::Dismissed))]);
    assert!(host.book.firing.is_empty());
}

#[test]
fn a_host_that_is_only_observed_alerts_nobody() {
    let mut host = Host::new();
    assert_eq!(host.look_after(DAY, &nc(7000..7002), false), []);
    assert_eq!(host.look(&nc(7000..7002)).len(), 2);
    let over = host.look_after(Duration::from_secs(1), &nc(7000..7002), false);
    assert_eq!(steps(&over), [(Step::Resolved, Some(Why::Observed)); 2]);
}

#[test]
fn what_was_told_is_open_again_unless_it_was_let_be_since() {
    let mut host = Host::new();
    host.look(&nc(7000..7001));
    let old = host.register.clone();
    let drift = old.by_id().next().unwrap().clone();
    assert_eq!(recall(&mut old.clone(), &host.book, &[]), 0, "it is known");
    let mut lost = Register::default();
    assert_eq!(recall(&mut lost, &host.book, &[]), 1);
    let open = lost.drift(drift.id()).unwrap();
    assert_eq!((&open.finding.subject, open.gone_since), (&drift.finding.subject, None));

    let (mut lost, gone_since) = (Register::default(), host.at + Duration::from_secs(1));
    let let_be = Dismissal { drift: drift.id().clone(), gone_since, by: "alice".into() };
    recall(&mut lost, &host.book, std::slice::from_ref(&let_be));
    assert_eq!(lost.drift(drift.id()).unwrap().gone_since, Some(gone_since));
    assert_eq!(lost.dismiss(&[let_be]).len(), 1);

    // It came back since, and what is written down is of before.
    host.look(&[]);
    let before = host.register.clone();
    let gone_since = before.by_id().next().unwrap().gone_since.unwrap();
    host.dismiss_all();
    host.look(&nc(7000..7001));
    let mut stale = before;
    let let_be = Dismissal { drift: drift.id().clone(), gone_since, by: "alice".into() };
    assert_eq!(recall(&mut stale, &host.book, std::slice::from_ref(&let_be)), 1);
    assert_eq!(stale.dismiss(&[let_be]), []);
    assert!(stale.drift(drift.id()).unwrap().first_seen > drift.first_seen);
}

#[test]
fn a_register_that_was_lost_does_not_say_how_it_ended() {
    let mut host = Host::new();
    host.look(&nc(7000..7002));
    host.register = Register::default();
    assert_eq!(steps(&host.look(&nc(7000..7001))), [(Step::Resolved, Some(Why::Unknown))]);
}

#[test]
fn a_silent_sensor_fires_once_and_resolves_nothing() {
    let mut host = Host::new();
    host.look(&nc(7000..7001));
    let fired = Arc::make_mut(&mut host.book).sensor_is_silent("web-1", now(), host.at).unwrap();
    assert_eq!((fired.seq, fired.id()), (2, "(sensor)"));
    assert_eq!(Arc::make_mut(&mut host.book).sensor_is_silent("web-1", now(), host.at), None);
    assert_eq!(host.look(&nc(7000..7001)), []);
    assert_eq!(host.book.firing.len(), 2);
    let heard = Arc::make_mut(&mut host.book).sensor_is_heard(host.at).unwrap();
    assert_eq!(steps(&[heard]), [(Step::Resolved, Some(Why::Heard))]);
    assert_eq!(Arc::make_mut(&mut host.book).sensor_is_heard(host.at), None);
}

#[test]
fn what_is_overdue_is_told_once_a_severity_and_until_it_is_remedied() {
    let mut host = Host::new();
    let remedy = Remedy { critical: Some(Duration::from_secs(60)), warning: None };
    host.look(&nc(7000..7003));
    assert_eq!(host.register.by_id().map(|drift| drift.finding.severity).max(), Some(Severity::Critical));
    assert_eq!(host.remind(&remedy, true), [], "there is time yet");
    host.look_after(Duration::from_secs(60), &nc(7000..7003), true);
    let told = host.remind(&remedy, true);
    assert_eq!(steps(&told), [(Step::Firing, None)]);
    let about = &told[0].about;
    assert_eq!((told[0].id(), about.name()), ("(overdue-critical)", "PortledgerDriftOverdue"));
    assert_eq!(about.summary(), "web-1: critical drift is past its time to remedy");
    host.restart(host.log.len());
    assert_eq!(host.remind(&remedy, true), [], "it was told before the restart");
    assert_eq!(host.look(&nc(7000..7001)), [], "it is drift like before");
    host.look_after(Duration::from_secs(10), &[], true);
    assert_eq!(host.remind(&remedy, true), [], "gone is not remedied");
    host.dismiss_all();
    assert_eq!(steps(&host.remind(&remedy, true)), [(Step::Resolved, Some(Why::Remedied))]);
    assert_eq!(host.book.firing.len(), 0);
}

#[test]
fn nothing_is_overdue_where_nobody_is_told_or_nothing_has_a_time() {
    let mut host = Host::new();
    let remedy = Remedy { critical: Some(Duration::from_secs(60)), warning: None };
    host.look(&nc(7000..7001));
    host.look_after(Duration::from_secs(60), &nc(7000..7001), true);
    assert_eq!(host.remind(&Remedy::default(), true), []);
    assert_eq!(host.remind(&remedy, false), []);
    assert_eq!(host.remind(&remedy, true).len(), 1);
    assert_eq!(steps(&host.remind(&remedy, false)), [(Step::Resolved, Some(Why::Observed))]);
}

#[test]
fn what_is_graver_is_told_and_never_what_is_less() {
    let mut host = Host::new();
    let loopback = |reach| Listener { reach, ..listener(7000, "/opt/nc") };
    let first = host.look(&[loopback(inventory::Reach::Private)]);
    let was = first[0].about.severity();
    let raised = host.look(&[loopback(inventory::Reach::Public)]);
    if was < Severity::Critical {
        assert_eq!((raised[0].event, raised[0].was), (Step::Changed, Some(was)));
        assert_eq!(raised[0].about.first_seen(), first[0].about.first_seen());
    }
    assert_eq!(host.look(&[loopback(inventory::Reach::Private)]), []);
}

#[test]
fn what_was_resolved_is_forgotten_after_a_while() {
    let mut host = Host::new();
    host.look(&nc(7000..7001));
    host.look(&[]);
    host.dismiss_all();
    assert_eq!(host.book.ended.len(), 1);
    assert_eq!(host.book.between(2, 2).len(), 1);
    host.look_after(TOLD_AGAIN + Duration::from_secs(1), &[], true);
    assert_eq!(host.book.ended.len(), 0);
}

#[test]
fn a_hostile_name_is_text_in_a_record() {
    let mut host = Host::new();
    let holders = Holders::Known(vec![fixtures::holder(fixtures::HOSTILE)]);
    let hostile = Listener { holders, ..listener(7000, "") };
    let turns = host.look(&[hostile]);
    let line = serde_json::to_string(&turns[0]).unwrap();
    assert!(line.chars().all(inventory::is_seen), "{line}");
    let read: Turn = serde_json::from_str(&line).unwrap();
    assert_eq!(read, *turns[0]);
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&value["event"], &value["name"]), (&"alert_firing".into(), &"PortledgerDrift".into()));
}

#[derive(Clone, Debug)]
enum Act {
    /// These of the ports listen; the second has many alike.
    Look(u8, u8),
    Dismiss,
    Restart(u8),
    Wait,
    Observe,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (any::<u8>(), 0..60_u8).prop_map(|(some, many)| Act::Look(some, many)),
        2 => Just(Act::Dismiss),
        3 => any::<u8>().prop_map(Act::Restart),
        1 => Just(Act::Wait),
        1 => Just(Act::Observe),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever happens, and wherever it is restarted.
    #[test]
    fn each_alert_fires_once_and_is_resolved_once(acts in prop::collection::vec(act(), 1..16)) {
        let mut host = Host::new();
        let mut fires: BTreeMap<String, Severity> = BTreeMap::new();
        let (mut there, mut seq) = (Vec::new(), 0);
        for act in acts {
            let turns = match act {
                Act::Look(some, many) => {
                    there = (0..8).filter(|bit| some & (1 << bit) != 0)
                        .map(|bit| listener(100 + bit, &format!("/opt/{bit}"))).collect();
                    there.extend(nc(7000..7000 + u16::from(many)));
                    host.look(&there)
                }
                Act::Dismiss => host.dismiss_all(),
                Act::Restart(from) => {
                    let before = host.book.firing.keys().cloned().collect::<Vec<_>>();
                    host.restart(usize::from(from) % (host.log.len() + 1));
                    prop_assert_eq!(before, host.book.firing.keys().cloned().collect::<Vec<_>>());
                    Vec::new()
                }
                Act::Wait => host.look_after(DAY, &there, true),
                Act::Observe => host.look_after(Duration::from_secs(1), &there, false),
            };
            for turn in &turns {
                prop_assert_eq!(turn.seq, seq + 1);
                seq = turn.seq;
                let id = turn.id().to_owned();
                match turn.event {
                    Step::Firing => prop_assert_eq!(fires.insert(id, turn.about.severity()), None),
                    Step::Changed => {
                        let was = fires.insert(id, turn.about.severity());
                        prop_assert_eq!(was, turn.was);
                        prop_assert!(was < Some(turn.about.severity()));
                    }
                    Step::Resolved => prop_assert!(fires.remove(&id).is_some()),
                }
            }
            prop_assert!(fires.keys().map(String::as_str).eq(host.book.firing.keys().map(|id| &**id)));
        }
    }
}
