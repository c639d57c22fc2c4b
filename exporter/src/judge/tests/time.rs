//! Clocks that are set, and more news than there is time for.

use super::*;

/// Aging is by time that passed; a clock that leapt makes nothing older.
#[test]
fn what_is_gone_does_not_age_by_a_leap_of_the_clock() {
    let folder = tempfile::tempdir().unwrap();
    let (mut judge, snapshots) = judge_by(folder.path(), good_baseline);
    let steady = Instant::now();
    let year = Duration::from_secs(365 * 86_400);
    tell(&mut judge, vec![lesser()], now());
    let before = open(&snapshots);
    assert!(before.iter().any(|(_, is_there)| *is_there), "{before:?}");
    tell(&mut judge, Vec::new(), now() + seconds(10));
    let gone = open(&snapshots);
    assert!(!gone.is_empty() && gone.iter().all(|(_, is_there)| !is_there), "{gone:?}");
    judge.compare_clocks(now() + seconds(10), steady);
    judge.compare_clocks(now() + year, steady + seconds(10));
    tell(&mut judge, Vec::new(), now() + year + seconds(1));
    assert_eq!(open(&snapshots), gone, "a leap ahead");
    judge.compare_clocks(now() + seconds(30), steady + seconds(20));
    tell(&mut judge, Vec::new(), now() + seconds(30));
    assert_eq!(open(&snapshots), gone, "and back");
    judge.compare_clocks(now() + seconds(86_500), steady + seconds(86_490));
    tell(&mut judge, Vec::new(), now() + seconds(86_500));
    assert_eq!(open(&snapshots), [], "a day that passed");
}

/// While nothing runs, only the time since the host booted tells how much of it passed.
#[test]
fn what_is_gone_does_not_age_by_a_leap_of_the_clock_between_two_processes() {
    let folder = tempfile::tempdir().unwrap();
    let (mut judge, snapshots) = judge_by(folder.path(), good_baseline);
    tell(&mut judge, vec![lesser()], now());
    tell(&mut judge, Vec::new(), now() + seconds(10));
    let gone_since =
        |register: &Register| register.by_id().map(|drift| drift.gone_since.unwrap()).collect::<Vec<_>>();
    let before = gone_since(&snapshots.borrow().register);
    assert_ne!(before, []);
    drop(judge);
    let restored = || gone_since(&crate::scribe::restore_register(folder.path()));
    assert_eq!(restored(), before);
    let path = folder.path().join("register.json");
    let mut written: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let at = &mut written["written"]["at"]["secs_since_epoch"];
    *at = (at.as_u64().unwrap() - 3 * 86_400).into();
    std::fs::write(&path, written.to_string()).unwrap();
    for (restored, before) in restored().into_iter().zip(before) {
        let later = restored.duration_since(before).unwrap().as_secs();
        assert!((3 * 86_400 - 1..=3 * 86_400 + 1).contains(&later), "{later}");
    }
}

/// A flood that fills the inbox faster than it can be judged. How much of it is left out is a matter of time.
#[test]
fn what_is_there_is_told_in_time_whatever_came_and_went() {
    let folder = tempfile::tempdir().unwrap();
    let (mut judge, snapshots) = judge(folder.path());
    tell(&mut judge, Vec::new(), now());
    let stays = stranger(90_000, 443);
    let (inbox, work) = mpsc::channel(65_536);
    let long_ago = Instant::now().checked_sub(seconds(10)).unwrap();
    let send = |events: &[Event], there: Vec<Listener>, read: Instant| {
        for frame in encoded(messages_of_events(events, &fixtures::inventory(there), Closing::default())) {
            assert!(inbox.try_send(Work::Frame(Packet::read_at(read, &frame))).is_ok());
        }
    };
    for cookie in 1..=9_000 {
        let port = 1_000 + u16::try_from(cookie).unwrap();
        send(&lived_shortly(&stranger(cookie, port)), Vec::new(), long_ago);
    }
    send(&[Event::Opened(stays.clone())], vec![stays.clone()], long_ago);
    inbox.try_send(Work::End).map_err(|_| "full").unwrap();
    judge.work(work);
    let snapshot = snapshots.borrow().clone();
    assert!(snapshot.register.drifts().any(|drift| drift.is_present()), "what is there");
    let left_out = snapshot.sensor.lost / 2;
    assert!(left_out > 0);
    assert_eq!((sum(&snapshot.counts.opened), sum(&snapshot.counts.closed)), (9_001, 9_000));
    let coverage = &snapshot.judged.unwrap().inventory.coverage;
    assert_eq!(coverage.shares.events.ratio(), 0.0);
    assert!(
        coverage.gaps.iter().any(|gap| gap.reason.escaped().contains("faster than they could be judged"))
    );
    let log = std::fs::read_to_string(folder.path().join("events.jsonl")).unwrap();
    let crowds = log.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        (line["event"] == "crowd").then(|| line["sockets"].as_u64())?
    });
    assert_eq!(crowds.sum::<u64>(), left_out, "nothing is left out that no record counts");
}

/// It waited in the kernel or on its way: the packets are new.
#[test]
fn of_a_crowd_that_is_late_is_left_out_and_few_are_judged_however_late() {
    for (sockets, is_left_out) in [(500_u16, false), (2_000, true)] {
        let folder = tempfile::tempdir().unwrap();
        let (mut judge, snapshots) = judge(folder.path());
        tell(&mut judge, Vec::new(), now());
        let (inbox, work) = mpsc::channel(65_536);
        let then = SystemTime::now() - seconds(5);
        let mayflies = (1..=sockets).map(|cookie| {
            let mayfly = Listener { since: Some(then), ..stranger(cookie.into(), 1_000 + cookie) };
            [Event::Opened(mayfly.clone()), Event::Closed(mayfly.id, then)]
        });
        let events: Vec<Event> = mayflies.flatten().collect();
        // Few packets: a machine that stalls must not have them judged one by one.
        for events in events.chunks(500) {
            let nothing = fixtures::inventory(Vec::new());
            for frame in encoded(messages_of_events(events, &nothing, Closing::default())) {
                let packet = Packet::read_at(Instant::now(), &frame);
                assert!(inbox.try_send(Work::Frame(packet)).is_ok());
            }
        }
        drop(inbox);
        judge.work(work);
        assert_eq!(snapshots.borrow().sensor.lost > 0, is_left_out, "{sockets}");
    }
}

#[test]
fn how_far_it_is_behind_follows_what_happened_and_no_clock_that_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let (mut judge, snapshots) = judge(folder.path());
    let lag = |later| snapshots.borrow().sensor.lag(now() + seconds(later)).as_secs();
    tell(&mut judge, Vec::new(), now());
    assert_eq!((lag(0), lag(7)), (0, 7));
    // It happened 40 s before it is taken.
    let event = |cookie: u64, at| {
        let listener = Listener { since: Some(at), ..stranger(cookie, 7000) };
        [Event::Opened(listener.clone()), Event::Closed(listener.id, at)]
    };
    tell_events(&mut judge, &event(1, now() + seconds(60)), Vec::new(), now() + seconds(100));
    assert_eq!(lag(100), 40);
    tell_events(&mut judge, &event(2, now() + seconds(101)), Vec::new(), now() + seconds(101));
    assert_eq!(lag(101), 0);
    // The clock is set back, and what is told then is new.
    tell_events(&mut judge, &event(3, now()), Vec::new(), now());
    assert_eq!((lag(0), lag(40)), (0, 40));
    tell_events(&mut judge, &event(4, now() + seconds(41)), Vec::new(), now() + seconds(41));
    assert_eq!(lag(41), 0);
}
