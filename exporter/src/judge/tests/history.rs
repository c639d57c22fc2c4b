//! What is remembered of services.

use baseline::PortWord;

use super::*;
use crate::{Past, ServicePast, history};

/// What is written of the service on a port.
fn on(past: &Past, port: u16) -> ServicePast {
    let mut found = past.services.values().filter(|line| line.port == PortWord::Number(port));
    ServicePast::clone(found.next().expect("it is remembered"))
}

fn written(folder: &Path) -> Past {
    history(folder).unwrap().unwrap()
}

#[test]
fn each_turn_is_remembered_once_and_had_back_from_the_logs() {
    let folder = tempfile::tempdir().unwrap();
    let sshd = || fixtures::listeners().into_iter().take(1).collect::<Vec<_>>();
    let (mut judge, _snapshots) = judge_by(folder.path(), good_baseline);
    tell(&mut judge, sshd(), now());
    tell_events(&mut judge, &lived_shortly(&stranger(70, 7000)), sshd(), now() + seconds(1));
    let there = [sshd(), vec![stranger(71, 7000)]].concat();
    tell_events(&mut judge, &[Event::Opened(stranger(71, 7000))], there, now() + seconds(2));
    tell_events(&mut judge, &[Event::Closed(stranger(71, 7000).id, now())], sshd(), now() + seconds(3));
    drop(judge);
    let known = on(&written(folder.path()), 7000);
    assert_eq!((known.opened.count, known.closed.count, known.drifted.count), (2, 2, 2));
    let at = |after: u64| jiff::Timestamp::try_from(now() + seconds(after)).unwrap();
    // When it opened, not when that was judged.
    assert_eq!((known.first_seen, known.last_seen, known.is_there()), (at(0), at(3), false));
    let ssh = on(&written(folder.path()), 22);
    assert!(ssh.is_there() && ssh.approval.is_some(), "{ssh:?}");

    std::fs::remove_file(folder.path().join("history.json")).unwrap();
    let (mut judge, _snapshots) = judge_by(folder.path(), good_baseline);
    tell(&mut judge, sshd(), now() + seconds(60));
    drop(judge);
    let again = on(&written(folder.path()), 7000);
    assert_eq!((again.opened.count, again.closed.count, again.drifted.count), (2, 2, 2));
    assert_eq!(
        (again.first_seen, again.opened, again.closed),
        (known.first_seen, known.opened, known.closed)
    );
    assert_eq!((again.programs, again.users), (known.programs, known.users));
}

#[test]
fn nothing_is_lost_of_a_storm_but_what_there_is_no_room_for() {
    let folder = tempfile::tempdir().unwrap();
    let sshd = || fixtures::listeners().into_iter().take(1).collect::<Vec<_>>();
    let (mut judge, _snapshots) = judge_by(folder.path(), good_baseline);
    tell(&mut judge, sshd(), now());
    let storm: Vec<Event> = (1..=15_000_u16)
        .flat_map(|port| lived_shortly(&stranger(100 + u64::from(port), 20_000 + port)))
        .collect();
    for events in storm.chunks(8_000) {
        tell_events(&mut judge, events, sshd(), now() + seconds(1));
    }
    drop(judge);
    let past = written(folder.path());
    assert_eq!(past.services.len(), 10_000);
    assert!(on(&past, 22).is_there());
}
