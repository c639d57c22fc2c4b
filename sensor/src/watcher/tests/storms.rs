use std::time::{Duration, Instant};

use inventory::Event;

use super::is_closed;
use crate::events::source::{Taken, Teller};
use crate::testing::{Following, Puppet, alone, detach, is_root, of, sensor};
use crate::watcher::{Announced, Watcher};

const MANY: &str = "
def many(count):
    for turn in range(count):
        s = socket.socket()
        s.bind(('127.0.0.1', 0))
        s.listen(1)
        s.close()
";

/// 50,000, and then more until it is stopped.
const STORM: &str = "
import select
stopped, stop = os.pipe()
count, counted = os.pipe()
def storm():
    rounds = 0
    while rounds < 50 or not select.select([stopped], [], [], 0)[0]:
        many(1_000)
        rounds += 1
    os.write(counted, str(rounds * 1_000).encode())
descends(storm)
";

/// Adds the opens and the closes that come of a namespace, until that is enough of both or takes too long.
fn count(following: &mut Following, netns: u64, told: &mut [u64; 2], is_enough: impl Fn(u64, u64) -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !told.iter().all(|told| is_enough(*told, following.lost)) && Instant::now() < end {
        for event in of(&following.take(), netns) {
            match event {
                Event::Opened(_) => told[0] += 1,
                Event::Closed(..) => told[1] += 1,
                Event::Changed(_) => {}
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_storm_is_told_whole_while_it_is_listened_to() {
    let Some(mut following) = Following::begin("a_storm_is_told_whole_while_it_is_listened_to") else {
        return;
    };
    let mut puppet = Puppet::new();
    puppet.does(MANY);
    // One runs while the other is listened to.
    puppet.does(STORM);
    let mut told = [0, 0];
    count(&mut following, puppet.netns, &mut told, |told, _| told >= 10_000);
    assert!(told.iter().all(|told| *told >= 10_000), "{told:?}: most is told, however busy the machine is");
    let storm = puppet.does("os.write(stop, b'.'); say(int(os.read(count, 20)))")[0];
    count(&mut following, puppet.netns, &mut told, |told, lost| told + lost >= storm);
    // Whatever found no room is counted, and nothing is told twice.
    for told in told {
        assert!(
            told <= storm && told + following.lost >= storm,
            "{told} of {storm}, {} lost",
            following.lost
        );
    }
    following.look();
    let left = following.watcher.now.listeners.iter();
    assert_eq!(
        left.filter(|listener| listener.id.netns == inventory::NetNsId::Cookie(puppet.netns)).count(),
        0
    );
}

#[test]
fn what_finds_no_room_is_counted_and_found_by_a_look() {
    let Some(mut following) = Following::begin("what_finds_no_room_is_counted_and_found_by_a_look") else {
        return;
    };
    let mut puppet = Puppet::new();
    puppet.does(MANY);
    following.be_deaf();
    puppet.does("many(10_000)");
    let kept = puppet.does("t = tcp(port=8080); u = udp(port=5353); say(cookie(t), cookie(u))");
    following.look();
    assert!(following.lost > 0);
    for cookie in &kept {
        assert!(following.knows(*cookie).is_some());
    }
    puppet.does("t.close(); u.close()");
    let events = following.until(|events, _| kept.iter().all(|cookie| is_closed(events, *cookie)));
    assert!(kept.iter().all(|cookie| is_closed(&events, *cookie)));
}

#[test]
fn many_at_once_are_known_at_once() {
    let test = "many_at_once_are_known_at_once";
    let Some(mut following) = Following::begin(test) else { return };
    let mut puppet = Puppet::new();
    puppet.begins(
        "
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (8_000, 8_000))
all = [tcp(port=port) for port in range(10_000, 13_000)]",
    );
    let events = following.until(|events, _| of(events, puppet.netns).len() >= 3_000);
    if following.is_drowned(test) {
        return;
    }
    puppet.actor.says();
    assert_eq!(of(&events, puppet.netns).len(), 3_000);
    let ids: Vec<_> = following.watcher.now.listeners.iter().map(|listener| listener.id).collect();
    assert!(ids.is_sorted());
    puppet.begins("[s.close() for s in all]");
    let events = following.until(|events, _| of(events, puppet.netns).len() >= 3_000);
    if !following.is_drowned(test) {
        assert_eq!(of(&events, puppet.netns).len(), 3_000);
    }
}

#[test]
fn a_program_that_somebody_takes_off_is_missed() {
    let Some(following) = Following::begin("a_program_that_somebody_takes_off_is_missed") else { return };
    let source = following.source.lock().unwrap();
    source.check().unwrap();
    let Teller::Bpf(attached) = &source.teller else { panic!() };
    let (hook, link) = attached.of_cgroup().next().unwrap();
    detach(link);
    let missed = source.check().unwrap_err().to_string();
    assert_eq!(missed, format!("{hook} was detached by somebody else"));
}

/// The ring may have run over while the look was under way.
#[test]
fn a_look_that_lost_events_doubts_nothing_that_it_sees() {
    if !is_root("a_look_that_lost_events_doubts_nothing_that_it_sees") {
        return;
    }
    let _alone = alone();
    let mut puppet = Puppet::new();
    let mut sensor = sensor();
    let now = sensor.pass();
    let mut watcher = Watcher::new(sensor, now);
    let all = Announced { streams: true, datagrams: true, raw: true };
    for (port, lost) in [(8080, 0), (8081, 3)] {
        puppet.does(&format!("s{port} = tcp(port={port})"));
        let taken = || Taken { lost, ..Taken::default() };
        let reconciled = watcher.reconcile(all, taken);
        assert_eq!(reconciled.lost, lost);
        assert_eq!(reconciled.discrepancies.unannounced > 0, lost == 0, "{:?}", reconciled.discrepancies);
    }
}
