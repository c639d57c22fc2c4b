//! Days of a host in their ordinary course, told as fast as they can be judged: who is paged, and how often.

mod host;

use std::collections::BTreeSet;

use inventory::PortChoice;

use self::host::{DAEMONS, DAY, HOUR, Host, MINUTE, SECOND};
use crate::alerting::{Step, Why};

type GoesOn = fn(&mut Host);

/// What goes on where nothing is wrong.
const ORDINARY: [(&str, GoesOn); 9] = [
    ("each daemon is restarted every night", week_of_restarts),
    ("a patch day", patch_day),
    ("a container is redeployed", redeployments),
    ("an approved listener flaps", approved_one_flaps),
    ("clients ask by UDP", udp_clients),
    ("ports within containers", internal_ports),
    ("sensor and exporter are restarted", restarts_of_our_own),
    ("the clock is set", clock_is_set),
    ("a required service is away for a while", away_for_a_while),
];

fn week_of_restarts(host: &mut Host) {
    for _night in 0..7 {
        (0..DAEMONS).for_each(|daemon| host.restart(daemon..daemon + 1));
        host.pass(DAY);
    }
}

fn patch_day(host: &mut Host) {
    host.replace_programs();
    for daemon in 0..DAEMONS {
        host.restart(daemon..daemon + 1);
        host.pass(MINUTE);
    }
    host.pass(2 * DAY);
}

fn redeployments(host: &mut Host) {
    for _ in 0..20 {
        host.redeploy();
        host.pass(DAY / 20);
    }
}

fn approved_one_flaps(host: &mut Host) {
    for _ in 0..HOUR.as_secs() / 10 {
        host.end(7..8);
        host.wait(5 * SECOND);
        host.begin(7..8);
    }
}

fn udp_clients(host: &mut Host) {
    for _ in 0..100 {
        host.ask_by_udp(1_000);
        host.wait(DAY / 100);
    }
}

fn internal_ports(host: &mut Host) {
    for port in 5_432..5_452 {
        let inner = host.listen_within(port);
        host.pass(HOUR / 2);
        host.close(inner);
    }
}

fn restarts_of_our_own(host: &mut Host) {
    for time in 0..50 {
        host.restart_sensor();
        host.wait(10 * SECOND);
        host.restart_exporter();
        host.restart(time..time + 1);
        host.pass(10 * MINUTE);
    }
}

fn clock_is_set(host: &mut Host) {
    for (ahead, back) in [(0, 1), (1, 0), (0, 1)] {
        host.end(3..4);
        host.set_clock(ahead * HOUR, back * HOUR);
        host.begin(3..4);
        host.restart(4..5);
        host.pass(2 * HOUR);
    }
}

fn away_for_a_while(host: &mut Host) {
    for daemon in 0..DAEMONS {
        host.end(daemon..daemon + 1);
        host.pass(4 * MINUTE);
        host.begin(daemon..daemon + 1);
        host.pass(MINUTE);
    }
}

/// The week of a backdoor of two seconds, and what follows: neither is anything else told, nor is that ever over.
#[test]
fn ordinary_days_page_nobody_and_a_backdoor_stays_until_it_is_dismissed() {
    let mut host = Host::new();
    host.pass(DAY);
    assert_eq!(host.told(), []);
    host.backdoor(4_444, PortChoice::Explicit);
    let door = host.last().id().to_owned();
    host.pass(7 * DAY);
    for (what, goes_on) in ORDINARY {
        goes_on(&mut host);
        assert_eq!(host.told(), [(Step::Firing, &*door)], "{what}");
        assert_eq!(host.firing(), 1, "{what}");
    }
    host.dismiss_all("alice");
    assert_eq!(host.told(), [(Step::Firing, &*door), (Step::Resolved, &door)]);
    let end = host.last().end.clone().unwrap();
    assert_eq!((end.why, end.by.as_deref()), (Why::Dismissed, Some("alice")));
    host.pass(DAY);
    assert_eq!((host.told().len(), host.firing()), (2, 0));
}

#[test]
fn a_backdoor_that_comes_back_is_the_same_by_whatever_process_and_port_of_the_kernel() {
    let mut host = Host::new();
    for time in 0..7 {
        host.backdoor(40_000 + time * 13, PortChoice::Kernel);
        host.restart_exporter();
        host.pass(DAY);
    }
    assert_eq!(host.told().len(), 1);
    assert_eq!(host.firing(), 1);
    // One that it chose is another.
    host.backdoor(4_444, PortChoice::Explicit);
    assert_eq!(host.told().len(), 2);
    host.dismiss_all("alice");
    assert_eq!((host.told().len(), host.firing()), (4, 0));
    host.backdoor(40_000, PortChoice::Kernel);
    assert_eq!((host.told().len(), host.last().event), (5, Step::Firing), "after that it is news");
}

#[test]
fn what_flaps_for_a_day_is_told_once() {
    let mut host = Host::new();
    for _hour in 0..24 {
        // One by one, and then those of an hour in one batch.
        for _ in 0..20 {
            host.backdoor(4_444, PortChoice::Explicit);
            host.wait(8 * SECOND);
        }
        host.flap(4_444, 340);
        host.pass(57 * MINUTE);
    }
    assert_eq!(host.told().len(), 1);
    assert_eq!(host.last().event, Step::Firing);
}

#[test]
fn a_required_service_that_stays_away_is_told_until_it_is_back() {
    let mut host = Host::new();
    host.end(7..8);
    host.pass(20 * MINUTE);
    host.restart_exporter();
    host.pass(DAY);
    assert_eq!(host.told(), [(Step::Firing, "daemon-7")]);
    host.begin(7..8);
    host.pass(DAY);
    assert_eq!(host.told()[1..], [(Step::Resolved, "daemon-7")]);
}

/// What then listens on each without an approval is one page for all.
#[test]
fn a_patch_day_of_a_fleet_is_one_page_at_most() {
    let (mut quiet, mut pages) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..400 {
        let mut host = Host::new();
        host.replace_programs();
        for daemons in [0..DAEMONS / 2, DAEMONS / 2..DAEMONS] {
            host.restart(daemons);
            host.wait(MINUTE);
        }
        host.pass(HOUR);
        quiet.append(&mut host.pages());
        host.backdoor(9_100, PortChoice::Explicit);
        pages.append(&mut host.pages());
    }
    assert_eq!(quiet, BTreeSet::new());
    assert_eq!(pages.len(), 1, "{pages:?}");
}
