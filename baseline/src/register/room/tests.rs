use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use inventory::{Protocol, RawText};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::select;

use super::*;
use crate::{AddressWord, DriftKind, Finding, PortWord, Severity, Subject};

/// Told of a program on a port.
fn drift(program: &str, port: u16) -> Drift {
    let subject = Subject {
        protocol: Protocol::Tcp,
        address: AddressWord::Any,
        port: PortWord::Number(port),
        device: None,
        netns: RawText::default(),
        programs: [RawText::from(program)].into(),
        users: [].into(),
        workloads: [].into(),
        reach: Some(Reach::Public),
    };
    let finding = Finding {
        id: DriftId::from(format!("{program}:{port}").as_str()),
        kind: DriftKind::Unapproved,
        also: Vec::new(),
        severity: Severity::Critical,
        approval: None,
        differs: Vec::new(),
        team: None,
        subject,
    };
    Drift::without_sockets(finding, SystemTime::UNIX_EPOCH, Default::default())
}

fn found(drift: Drift, otherwise: impl FnOnce(&mut Finding)) -> Drift {
    let mut finding = Finding::clone(&drift.finding);
    otherwise(&mut finding);
    let found = Drift::without_sockets(finding, drift.first_seen, Default::default());
    Drift { gone_since: drift.gone_since, ..found }
}

fn of(severity: Severity, drift: Drift) -> Drift {
    found(drift, |finding| finding.severity = severity)
}

fn reaching(reach: impl Into<Option<Reach>>, drift: Drift) -> Drift {
    found(drift, |finding| finding.subject.reach = reach.into())
}

fn gone(mut drift: Drift) -> Drift {
    drift.go(SystemTime::UNIX_EPOCH);
    drift
}

fn at(second: u64, mut drift: Drift) -> Drift {
    drift.first_seen += Duration::from_secs(second);
    drift
}

fn crowd(program: &str, count: u16) -> Vec<Drift> {
    (1..=count).map(|port| at(port.into(), drift(program, port))).collect()
}

/// In the order of their ids.
fn fall(drifts: &[Drift], new: &[&str], room: usize) -> Vec<String> {
    let new = new.iter().map(|id| DriftId::from(*id)).collect();
    let mut falling: Vec<String> =
        falling(drifts.iter(), &new, room).iter().map(|id| id.as_str().to_owned()).collect();
    falling.sort();
    falling
}

#[test]
fn of_few_the_one_that_matters_least_falls() {
    use Severity::{Info, Warning};
    let sshd = || drift("sshd", 22);
    let other = || drift("other", 80);
    for (what, drifts, new, expected) in [
        ("the least grave", [of(Warning, sshd()), of(Info, at(1, other()))], [].as_slice(), "other:80"),
        ("not the newest of all", [of(Info, sshd()), of(Warning, at(1, other()))], &["other:80"], "sshd:22"),
        ("what fewer reach", [reaching(Reach::Loopback, sshd()), at(1, other())], &["other:80"], "sshd:22"),
        ("in that order", [of(Info, sshd()), reaching(Reach::Loopback, other())], &[], "sshd:22"),
        (
            "what reaches, not what is missing",
            [reaching(Reach::Private, sshd()), reaching(None, other())],
            &[],
            "sshd:22",
        ),
        ("what is gone", [gone(sshd()), at(1, other())], &["other:80"], "sshd:22"),
        (
            "gone or not, what fewer reach",
            [gone(sshd()), reaching(Reach::Loopback, other())],
            &[],
            "other:80",
        ),
        ("the newest", [sshd(), at(1, other())], &[], "other:80"),
        ("what is new, whatever the clock says", [sshd(), at(1, other())], &["sshd:22"], "sshd:22"),
    ] {
        assert_eq!(fall(&drifts, new, 1), [expected], "{what}");
        assert_eq!(fall(&drifts, new, 2), [""; 0], "{what}");
    }
}

#[test]
fn of_a_crowd_the_newest_fall_before_all_others() {
    let least = gone(at(9_999, reaching(Reach::Isolated, of(Severity::Info, drift("sshd", 22)))));
    for (count, room, expected) in [
        // So many are no crowd.
        (20, 20, vec!["sshd:22"]),
        (21, 21, vec!["nc:21"]),
        (21, 20, vec!["nc:21", "sshd:22"]),
        (23, 21, vec!["nc:21", "nc:22", "nc:23"]),
    ] {
        let mut drifts = crowd("nc", count);
        drifts.push(least.clone());
        assert_eq!(fall(&drifts, &["sshd:22"], room), expected, "{count}");
    }
}

#[test]
fn of_a_crowd_what_came_first_stays_also_where_it_is_gone() {
    let mut drifts = crowd("nc", 30);
    drifts[0] = gone(drifts[0].clone());
    assert!(fall(&drifts, &[], 20).iter().all(|id| id != "nc:1"));
}

#[test]
fn of_two_crowds_the_larger_one_shrinks_first() {
    let mut drifts = crowd("nc", 30);
    drifts.extend(crowd("socat", 27).into_iter().map(|drift| of(Severity::Info, drift)));
    assert_eq!(fall(&drifts, &[], 54), ["nc:28", "nc:29", "nc:30"]);
    assert_eq!(
        fall(&drifts, &[], 53),
        ["nc:28", "nc:29", "nc:30", "socat:27"],
        "of equal ones the less grave"
    );
}

fn any_drift() -> impl Strategy<Value = Drift> {
    let how = (select(&Severity::ALL[..]), select(&Reach::ALL[..]), any::<bool>(), 0_u64..3);
    (0_u8..9, 0_u16..500, how).prop_map(|(program, port, (severity, reach, is_gone, second))| {
        // Most of them are of one program.
        let name = if program < 6 { "nc".to_owned() } else { format!("{program}-{}", port % 7) };
        let drift = at(second, reaching(reach, of(severity, drift(&name, port))));
        if is_gone { gone(drift) } else { drift }
    })
}

proptest! {
    #[test]
    fn none_of_a_few_falls_while_there_is_a_crowd(
        some in vec(any_drift(), 0..200),
        flood in 0_u16..400,
        room in 0_usize..500,
    ) {
        let some = some.into_iter().chain(crowd("flood", flood));
        let drifts: BTreeMap<DriftId, Drift> = some.map(|drift| (drift.id().clone(), drift)).collect();
        let falling: BTreeSet<DriftId> = falling(drifts.values(), &HashSet::new(), room).into_iter().collect();
        prop_assert_eq!(falling.len(), drifts.len().saturating_sub(room));
        let mut groups: HashMap<_, (usize, usize)> = HashMap::new();
        for (id, drift) in &drifts {
            let (kept, fell) = groups.entry(drift.crowd()).or_default();
            *if falling.contains(id) { fell } else { kept } += 1;
        }
        let largest = groups.values().map(|(kept, _)| *kept).max().unwrap_or_default();
        for (kept, fell) in groups.values() {
            // What is left of a group that lost some is no smaller than what is left of any crowd, but for the last one.
            prop_assert!(*fell == 0 || largest <= Crowd::FROM || *kept + 1 >= largest);
        }
    }
}
