//! Drift over time.

mod gaps;
mod settling;
mod starters;

use std::time::{Duration, SystemTime};

use baseline::{
    ClosedBecause, ClosedBy, Dismissal, DriftEvent, DriftId, DriftKind, Meanwhile, Passed, Register,
    Severity, Written,
};
use inventory::{NetNsKind, ProgramFile, RawText, Reach, Scope, SocketId, Unattributed};

use crate::world::{World, program};

const WRITTEN: Written = Written { at: SystemTime::UNIX_EPOCH, since_boot: Duration::ZERO };

/// A host whose register is kept, pass after pass.
struct Watched {
    world: World,
    register: Register,
}

impl Watched {
    fn new() -> Self {
        Watched { world: World::new(), register: Register::default() }
    }

    /// One pass this many seconds later: what happened, and to what.
    fn after(&mut self, seconds: u64) -> Vec<String> {
        self.world.later(seconds);
        self.look()
    }

    /// Why what one pass closes is over.
    fn closed(&mut self) -> Vec<ClosedBecause> {
        let closed = self.events().into_iter().filter_map(|event| match event {
            DriftEvent::Closed { why, .. } => Some(why),
            _ => None,
        });
        closed.collect()
    }

    fn look(&mut self) -> Vec<String> {
        self.events().iter().map(happened).collect()
    }

    fn events(&mut self) -> Vec<DriftEvent> {
        let (inventory, policy) = (self.world.inventory(), self.world.policy());
        let assessment = self.world.assess();
        let now = self.world.now;
        self.register.update(&inventory, &assessment, &policy, &self.world.accounts, now)
    }

    /// One pass in which these listened and were gone again.
    fn look_after(&mut self, passed: &World) -> Vec<String> {
        let (inventory, policy) = (self.world.inventory(), self.world.policy());
        let (assessment, now) = (self.world.assess(), self.world.now);
        let (sockets, judged) = (passed.inventory(), passed.assess());
        let passed_accounts = &passed.accounts;
        let passed = Some(Passed { inventory: &sockets, assessment: &judged, accounts: passed_accounts });
        let meanwhile = Meanwhile { passed, ..Meanwhile::default() };
        let accounts = &self.world.accounts;
        let register = &mut self.register;
        let events = register.update_after(meanwhile, &inventory, &assessment, &policy, accounts, now);
        events.iter().map(happened).collect()
    }

    /// One pass before which the end of these was told.
    fn look_after_the_end_of(&mut self, ended: &[SocketId]) -> Vec<String> {
        let (inventory, policy) = (self.world.inventory(), self.world.policy());
        let (assessment, now) = (self.world.assess(), self.world.now);
        let meanwhile = Meanwhile { ended, ..Meanwhile::default() };
        let accounts = &self.world.accounts;
        let register = &mut self.register;
        let events = register.update_after(meanwhile, &inventory, &assessment, &policy, accounts, now);
        events.iter().map(happened).collect()
    }

    /// The severity of the one drift of a program.
    fn only_by(&self, program: &str) -> Severity {
        let program = [RawText::from(program)];
        let drifts = self.register.drifts().filter(|drift| drift.finding.subject.programs[..] == program);
        let [drift] = drifts.collect::<Vec<_>>()[..] else { panic!("one of {program:?}") };
        drift.finding.severity
    }

    fn restarted(&self) -> Watched {
        let mut json = Vec::new();
        self.register.write_json(WRITTEN, &mut json).unwrap();
        let register = Register::from_json(&String::from_utf8(json).unwrap()).unwrap();
        Watched { world: self.world.clone(), register }
    }

    fn only_severity(&self) -> Severity {
        let drifts: Vec<_> = self.register.drifts().collect();
        assert_eq!(drifts.len(), 1);
        drifts[0].finding.severity
    }
}

fn happened(event: &DriftEvent) -> String {
    let (what, drift) = match event {
        DriftEvent::Opened(drift) => ("opened", drift),
        DriftEvent::Gone(drift) => ("gone", drift),
        DriftEvent::Returned(drift) => ("returned", drift),
        DriftEvent::Closed { drift, why } => (why.as_str(), drift),
    };
    format!("{what} {}", drift.finding.kind)
}

const NC: &str = "[[approval]]\nid = \"nc\"\nlisten = \"tcp/*:4444\"\nprogram = \"/usr/bin/nc\"\n";
const DAY: u64 = 24 * 3600;

fn netcat() -> Watched {
    let mut watched = Watched::new();
    watched.world.baseline("").listen("tcp/0.0.0.0:4444").by(program("/usr/bin/nc"));
    assert_eq!(watched.look(), ["opened unapproved"]);
    assert_eq!(watched.after(60), [""; 0], "told once");
    watched
}

/// As [`netcat`], no more than a warning.
fn lesser() -> Watched {
    let mut watched = Watched::new();
    let netcat = program("/usr/bin/nc").uid(33);
    watched.world.baseline("").listen("tcp/10.0.0.1:4444").by(netcat).reach(Reach::Private);
    assert_eq!(watched.look(), ["opened unapproved"]);
    assert_eq!(watched.only_severity(), Severity::Warning);
    watched
}

#[test]
fn closes_when_it_is_approved() {
    let mut watched = netcat();
    watched.world.baseline(NC);
    assert_eq!(watched.after(60), ["approved unapproved"]);
    assert!(watched.register.is_empty());
}

#[test]
fn closes_when_it_is_approved_after_it_was_gone() {
    let mut watched = netcat();
    watched.world.listeners.clear();
    assert_eq!(watched.after(60), ["gone unapproved"]);
    watched.world.baseline("# something else\n");
    assert_eq!(watched.after(60), [""; 0]);
    watched.world.baseline(NC);
    assert_eq!(watched.after(60), ["approved unapproved"]);
}

#[test]
fn what_closes_by_an_approval_says_by_which_and_whose() {
    let by = |approval: &str, by: Option<&str>| {
        Some(ClosedBy { approval: approval.into(), by: by.map(Into::into) })
    };
    let signed = format!("{NC}by = \"carol\"\n");
    let other = signed.replace("id = \"nc\"", "id = \"other\"");
    let required = "[[approval]]\nid = \"db\"\nby = \"dave\"\nlisten = \"tcp/*:1\"\nprogram = \"/db\"\nrequired = true\n";
    for (text, gone, expected) in [
        (NC, false, by("nc", None)),
        (&*signed, false, by("nc", Some("carol"))),
        (&*other, true, by("other", Some("carol"))),
    ] {
        let mut watched = netcat();
        if gone {
            watched.world.listeners.clear();
            assert_eq!(watched.after(60), ["gone unapproved"]);
        }
        watched.world.baseline(text);
        assert_eq!(watched.closed(), [ClosedBecause::Approved(expected)]);
    }
    let missing = || {
        let mut watched = Watched::new();
        watched.world.baseline(required);
        watched.look();
        assert_eq!(watched.after(300), ["opened missing"]);
        watched
    };
    let mut back = missing();
    back.world.listen("tcp/0.0.0.0:1").by(program("/db"));
    assert_eq!(back.closed(), [ClosedBecause::Approved(by("db", Some("dave")))]);
    let mut withdrawn = missing();
    withdrawn.world.baseline("");
    assert_eq!(withdrawn.closed(), [ClosedBecause::Approved(None)]);
}

/// Whoever could close it so would be rid of the alert by one system call.
#[test]
fn a_socket_that_is_given_a_peer_stays_open_as_gone() {
    let mut watched = Watched::new();
    watched.world.baseline("").listen("udp/0.0.0.0:5555").by(program("/usr/bin/nc"));
    assert_eq!(watched.look(), ["opened unapproved"]);
    watched.world.listeners[0].connected("192.0.2.1:53");
    assert_eq!(watched.after(1), ["gone unapproved"]);
    assert_eq!(watched.world.verdicts(), ["unjudged"]);
    watched.world.listeners[0].peer = None;
    assert_eq!(watched.after(1), ["returned unapproved"]);
}

#[test]
fn what_is_required_and_has_a_peer_is_not_missing() {
    let mut watched = Watched::new();
    let text = "[[approval]]\nid = \"ntp\"\nlisten = \"udp/*:123\"\nprogram = \"/ntp\"\nrequired = true\n";
    watched.world.baseline(text).listen("udp/0.0.0.0:123").by(program("/ntp")).connected("192.0.2.1:123");
    watched.look();
    assert_eq!(watched.after(301), [""; 0]);
    watched.world.listeners.clear();
    watched.look();
    assert_eq!(watched.after(300), ["opened missing"]);
}

#[test]
fn what_came_and_went_between_two_looks_is_open_as_gone() {
    let mut watched = Watched::new();
    watched.world.baseline(NC);
    let mut passed = watched.world.clone();
    passed.listen("tcp/0.0.0.0:4444").by(program("/usr/bin/nc"));
    assert_eq!(watched.look_after(&passed), [""; 0], "it was approved");
    passed.listen("tcp/0.0.0.0:5555").by(program("/usr/bin/nc"));
    assert_eq!(watched.look_after(&passed), ["opened unapproved", "gone unapproved"]);
    assert_eq!(watched.after(1), [""; 0]);
    passed.listen("tcp/0.0.0.0:5555").by(program("/usr/bin/nc"));
    watched.world.later(60);
    assert_eq!(watched.look_after(&passed), ["returned unapproved", "gone unapproved"], "once an update");
    let gone = watched.register.drifts().next().unwrap().gone_since;
    assert_eq!(gone, Some(watched.world.now), "its day begins anew");
    watched.world.listen("tcp/0.0.0.0:5555").by(program("/usr/bin/nc"));
    assert_eq!(watched.look_after(&passed), ["returned unapproved"], "it is there");
    assert_eq!(watched.look_after(&passed), [""; 0], "it is there still");
    watched.world.listeners.clear();
    assert_eq!(watched.look_after(&passed), ["gone unapproved"], "a restart that failed");
    assert_eq!(watched.after(400 * DAY), [""; 0], "a backdoor for two seconds waits for somebody");
    assert_eq!(watched.register.due(&watched.world.policy()), None);
}

#[test]
fn says_when_time_alone_changes_something() {
    let mut watched = Watched::new();
    let due = |watched: &Watched| {
        let due = watched.register.due(&watched.world.policy());
        due.map(|due| due.duration_since(watched.world.now).unwrap().as_secs())
    };
    watched.world.baseline(REQUIRED).listen("tcp/0.0.0.0:4444").unattributed(Unattributed::Unknown);
    watched.look();
    assert_eq!(due(&watched), Some(2), "its holder may be found");
    watched.after(2);
    assert_eq!(due(&watched), Some(298), "something required may be missing");
    watched.after(298);
    assert_eq!(due(&watched), None);
    watched.world.listeners.clear();
    watched.look();
    assert_eq!(due(&watched), None, "it is critical");
    let mut lesser = lesser();
    lesser.world.listeners.clear();
    lesser.look();
    assert_eq!(due(&lesser), Some(DAY));
}

#[test]
fn stays_for_a_day_after_it_was_gone() {
    let mut watched = lesser();
    let there = std::mem::take(&mut watched.world.listeners);
    assert_eq!(watched.after(60), ["gone unapproved"]);
    assert_eq!(watched.after(DAY - 1), [""; 0]);
    watched.world.listeners = there;
    assert_eq!(watched.after(0), ["returned unapproved"]);
    watched.world.listeners.clear();
    assert_eq!(watched.after(1), ["gone unapproved"]);
    assert_eq!(watched.after(DAY), ["aged unapproved"]);
}

#[test]
fn what_is_dismissed_is_what_was_gone_and_opens_when_it_comes_back() {
    let mut watched = netcat();
    let listening = watched.world.clone();
    let id = watched.register.drifts().next().unwrap().id().clone();
    let by = || "carol".into();
    let dismissal = |gone_since| vec![Dismissal { drift: id.clone(), gone_since, by: by() }];
    assert!(watched.register.dismiss(&dismissal(watched.world.now)).is_empty(), "it is there");
    watched.world.listeners.clear();
    assert_eq!(watched.after(60), ["gone unapproved"]);
    let gone_since = watched.register.drifts().next().unwrap().gone_since.unwrap();
    let mut restarted = watched.restarted();

    watched.world.listeners.clone_from(&listening.listeners);
    assert_eq!(watched.after(60), ["returned unapproved"]);
    watched.world.listeners.clear();
    assert_eq!(watched.after(60), ["gone unapproved"]);
    assert!(watched.register.dismiss(&dismissal(gone_since)).is_empty(), "that was another time");

    assert_eq!(restarted.after(400 * DAY), [""; 0], "critical as it is, it waits for somebody");
    let events = restarted.register.dismiss(&dismissal(gone_since));
    assert_eq!(events.iter().map(happened).collect::<Vec<_>>(), ["dismissed unapproved"]);
    let [DriftEvent::Closed { why, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((why.by(), why.approval()), (Some("carol"), None));
    assert_eq!(restarted.after(60), [""; 0]);
    restarted.world.listeners = listening.listeners;
    assert_eq!(restarted.after(60), ["opened unapproved"]);
}

#[test]
fn a_clock_that_is_set_back_ages_nothing_and_keeps_nothing_for_ever() {
    let mut watched = lesser();
    watched.world.listeners.clear();
    assert_eq!(watched.after(400 * DAY), ["gone unapproved"], "the clock was far ahead");
    watched.world.now -= std::time::Duration::from_secs(400 * DAY);
    assert_eq!(watched.look(), [""; 0]);
    assert_eq!(watched.after(DAY - 1), [""; 0]);
    assert_eq!(watched.after(1), ["aged unapproved"]);
}

#[test]
fn severity_never_falls_while_it_is_open() {
    let mut watched = netcat();
    assert_eq!(watched.only_severity(), Severity::Critical);
    watched.world.baseline = None;
    assert_eq!(watched.after(1), [""; 0]);
    assert_eq!(watched.only_severity(), Severity::Critical);
}

const REQUIRED: &str =
    "[[approval]]\nid = \"db\"\nlisten = \"tcp/127.0.0.1:5432\"\nprogram = \"/db\"\nrequired = true\n";

#[test]
fn missing_is_told_after_five_minutes_without_a_gap() {
    let mut watched = Watched::new();
    watched.world.baseline(REQUIRED);
    assert_eq!(watched.look(), [""; 0]);
    assert_eq!(watched.after(299), [""; 0]);
    assert_eq!(watched.after(1), ["opened missing"]);
    assert!(watched.register.drift(&DriftId::from("db")).is_some());
    watched.world.gap(Scope::Sockets);
    assert_eq!(watched.after(1), [""; 0], "neither gone nor closed");
    watched.world.gaps.clear();
    assert_eq!(watched.after(1), [""; 0]);
    let mut back = Watched { world: watched.world.clone(), register: watched.register.clone() };
    back.world.listen("tcp/127.0.0.1:5432").by(program("/db"));
    assert_eq!(back.after(1), ["approved missing"], "it is back");
    assert!(back.register.is_empty());
    watched.world.baseline(&REQUIRED.replace("required", "# required"));
    assert_eq!(watched.after(1), ["approved missing"]);
}

#[test]
fn missing_is_gone_while_its_approval_is_expired() {
    let mut watched = Watched::new();
    let expiring = format!("{REQUIRED}expires = 2026-11-21T10:00:00Z\n");
    watched.world.baseline(&expiring);
    watched.look();
    assert_eq!(watched.after(300), ["opened missing"]);
    assert_eq!(watched.after(3600), ["gone missing"]);
    watched.world.baseline(REQUIRED);
    assert_eq!(watched.after(1), [""; 0], "renewed, and not absent for long enough since");
    assert_eq!(watched.after(300), ["returned missing"]);
}

#[test]
fn a_short_absence_is_no_drift() {
    let mut watched = Watched::new();
    watched.world.baseline(REQUIRED);
    for _ in 0..10 {
        watched.world.listeners.clear();
        assert_eq!(watched.after(200), [""; 0]);
        watched.world.listen("tcp/127.0.0.1:5432").by(program("/db"));
        assert_eq!(watched.after(200), [""; 0]);
    }
}

#[test]
fn a_restart_ends_outdated() {
    let mut watched = Watched::new();
    let old = program("/usr/bin/nc").file(ProgramFile::Deleted { replaced: true });
    watched.world.baseline(NC).listen("tcp/0.0.0.0:4444").by(old);
    assert_eq!(watched.look(), ["opened outdated"]);
    watched.world.listeners.clear();
    watched.world.listen("tcp/0.0.0.0:4444").by(program("/usr/bin/nc"));
    assert_eq!(watched.after(1), ["approved outdated"]);
}

#[test]
fn outlives_a_restart_of_ours() {
    let mut watched = netcat();
    watched.world.listen("udp/0.0.0.0:5555").by(program("/usr/bin/\n\u{1b}").session("3"));
    watched.after(1);
    watched.world.listeners.clear();
    watched.after(1);
    let mut restarted = watched.restarted();
    assert_eq!(restarted.register, watched.register);
    restarted.world.baseline(NC);
    assert_eq!(restarted.after(1), ["approved unapproved"], "it can still be judged again");
}

#[test]
fn broken_json_is_told() {
    for (text, expected) in [
        ("", "the open drifts cannot be read: EOF while parsing a value at line 1 column 0"),
        ("{}", "the open drifts cannot be read: missing field `version` at line 1 column 2"),
        ("{\"version\":9}", "the open drifts are written in version 9, this release reads 1"),
    ] {
        assert_eq!(Register::from_json(text).unwrap_err().to_string(), expected);
    }
}

#[test]
fn the_gravest_and_oldest_come_first_and_room_is_bounded() {
    let mut watched = Watched::new();
    watched.world.baseline("");
    for port in 1..=10_002_u16 {
        watched.world.listen(&format!("tcp/127.0.0.1:{port}")).by(program("/usr/bin/nc"));
    }
    assert_eq!(watched.look().len(), Register::ROOM);
    assert_eq!((watched.register.len(), watched.register.left_out()), (Register::ROOM, 2));
    watched.world.listeners.truncate(9_999);
    watched.after(1);
    watched.world.listen("tcp/0.0.0.0:20000").by(program("/usr/bin/nc"));
    assert_eq!(watched.after(1), ["crowded unapproved", "opened unapproved"], "what is gone makes room");
    let first = watched.register.drifts().next().unwrap();
    assert_eq!(first.finding.severity, Severity::Critical);
}

#[test]
fn the_gravest_find_room_among_those_that_are_there_and_none_is_left_out_unseen() {
    let mut watched = Watched::new();
    watched.world.baseline("");
    for port in 1..=10_000_u16 {
        watched.world.listen(&format!("tcp/127.0.0.1:{port}")).by(program("/usr/bin/nc"));
    }
    watched.look();
    assert_eq!((watched.register.len(), watched.register.left_out()), (Register::ROOM, 0));
    watched.world.listen("tcp/127.0.0.1:20000").by(program("/usr/bin/nc"));
    assert_eq!(watched.after(1), [""; 0], "it is no graver than those that are open");
    assert_eq!(watched.register.left_out(), 1);
    watched.world.listen("tcp/0.0.0.0:20001").by(program("/usr/bin/nc"));
    assert_eq!(watched.after(1), ["crowded unapproved", "opened unapproved"]);
    for _ in 0..2 {
        assert_eq!(watched.register.drifts().next().unwrap().finding.severity, Severity::Critical);
        assert_eq!((watched.register.len(), watched.register.left_out()), (Register::ROOM, 2));
        let of = (DriftKind::Unapproved, Severity::Info);
        assert_eq!(*watched.register.left_out_by_kind(), [(of, 2)].into());
        assert_eq!(watched.after(1), [""; 0], "what fell stays out, and is counted again");
    }
    watched.world.listeners.truncate(9_000);
    watched.after(1);
    assert_eq!(watched.register.left_out(), 0, "they are not there any more");
}

#[test]
fn a_flood_of_one_program_pushes_out_nothing_else() {
    let mut watched = Watched::new();
    watched
        .world
        .baseline("")
        .listen("tcp/10.0.0.1:22")
        .reach(Reach::Private)
        .by(program("/usr/sbin/sshd").uid(33));
    assert_eq!(watched.look(), ["opened unapproved"]);
    for port in 1..=10_000_u16 {
        let flood = watched.world.listen(&format!("tcp/0.0.0.0:{port}")).reach(Reach::Loopback);
        flood.in_netns(NetNsKind::Anonymous, "").published_as("tcp/0.0.0.0:1");
        flood.by(program("/home/alice/flood").uid(1000));
    }
    assert_eq!(watched.look(), vec!["opened unapproved"; Register::ROOM - 1]);
    assert_eq!(watched.only_by("/usr/sbin/sshd"), Severity::Warning, "graver ones do not push it out");
    watched.world.listen("tcp/0.0.0.0:4444").by(program("/usr/bin/nc"));
    assert_eq!(watched.after(1), ["crowded unapproved", "opened unapproved"]);
    assert_eq!(watched.only_by("/usr/bin/nc"), Severity::Critical);
    assert_eq!(watched.register.left_out(), 2);
    assert_eq!(watched.after(1), [""; 0], "what fell stays out");
}

#[test]
fn a_clock_that_was_set_shows_by_one_that_cannot_be() {
    let at = |day: u64, hour: u64| {
        let (at, since_boot) = (Duration::from_secs(86_400 * day), Duration::from_secs(3_600 * hour));
        Written { at: SystemTime::UNIX_EPOCH + at, since_boot }
    };
    for (then, now, leap) in [
        (at(1, 5), at(1, 5), 0),
        (at(1, 5), at(2, 29), 0),
        (at(1, 5), at(4, 29), 48),
        (at(4, 5), at(1, 6), 0),
        // Another boot: nobody knows how long the host was off.
        (at(1, 5), at(9, 1), 0),
    ] {
        assert_eq!(then.leap(now), Duration::from_secs(3_600 * leap), "{then:?} {now:?}");
    }
    let mut json = Vec::new();
    Register::default().write_json(at(1, 5), &mut json).unwrap();
    let json = String::from_utf8(json).unwrap();
    assert_eq!(Register::written(&json), Some(at(1, 5)));
    // An older release wrote none.
    assert_eq!(Register::written(r#"{"version":1,"revision":"","drifts":[],"absent_since":{}}"#), None);
}
