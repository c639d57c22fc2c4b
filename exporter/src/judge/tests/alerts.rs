use super::*;
use crate::scribe::restore_register;

#[test]
fn a_silent_sensor_alerts_until_it_is_heard_and_resolves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut judge, _) = judge_by(folder.path(), good_baseline);
    tell(&mut judge, vec![stranger(70, 7000)], now());
    let firing = |judge: &Judge| judge.turns().book().firing.keys().cloned().collect::<Vec<_>>();
    let drift = firing(&judge);
    assert_eq!(drift.len(), 1);
    judge.note_silence(seconds(31), now() + seconds(31));
    assert_eq!(firing(&judge).len(), 2);
    drop(judge);
    // It is not heard of by another process either.
    let (mut judge, _) = judge_by(folder.path(), good_baseline);
    assert_eq!(firing(&judge).len(), 2);
    judge.note_silence(seconds(31), now() + seconds(62));
    assert_eq!(judge.turns().book().seq, 2);
    tell(&mut judge, vec![stranger(70, 7000)], now() + seconds(70));
    assert_eq!(firing(&judge), drift);
    drop(judge);
    let log = std::fs::read_to_string(folder.path().join("alerts.jsonl")).unwrap();
    let events: Vec<&str> = log.lines().filter_map(|line| line.split('"').nth(7)).collect();
    assert_eq!(events, ["alert_firing", "alert_firing", "alert_resolved"]);
}

#[test]
fn what_an_alert_tells_of_stays_open_where_the_register_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, snapshots) = judge_by(folder.path(), good_baseline);
    tell(&mut first, Vec::new(), now());
    tell_events(&mut first, &lived_shortly(&stranger(70, 7000)), Vec::new(), now());
    let before = snapshots.borrow().register.drifts().next().unwrap().clone();
    let id = before.id().clone();
    drop((first, snapshots));
    for content in [None, Some(b"{\"half".as_slice())] {
        match content {
            None => std::fs::remove_file(folder.path().join(REGISTER)).unwrap(),
            Some(damaged) => std::fs::write(folder.path().join(REGISTER), damaged).unwrap(),
        }
        let (mut second, snapshots) = judge_by(folder.path(), good_baseline);
        tell(&mut second, Vec::new(), now());
        assert_eq!(open(&snapshots), [(id.to_string(), false)]);
        let after = snapshots.borrow().register.drift(&id).unwrap().clone();
        assert_eq!(after.finding.subject, before.finding.subject);
        assert_eq!(after.finding.severity, before.finding.severity);
        drop(second);
        // What it knew was written down though nothing changed: who dismisses reads it there.
        assert!(restore_register(folder.path()).drift(&id).is_some());
    }
    let log = std::fs::read_to_string(folder.path().join("alerts.jsonl")).unwrap();
    assert!(!log.contains("alert_resolved") && log.lines().count() == 1, "{log}");
}

#[test]
fn whatever_an_alert_tells_of_outlives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (mut judge, snapshots) = judge_by(folder.path(), good_baseline);
    tell(&mut judge, Vec::new(), now());
    for port in 7000..7010 {
        tell_events(&mut judge, &lived_shortly(&stranger(port.into(), port)), Vec::new(), now());
        let drift = snapshots
            .borrow()
            .register
            .drifts()
            .find(|drift| drift.finding.subject.port == PortWord::Number(port))
            .unwrap()
            .id()
            .to_string();
        let log = folder.path().join("alerts.jsonl");
        let is_logged = || std::fs::read_to_string(&log).is_ok_and(|log| log.contains(&drift));
        while !is_logged() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let kept = restore_register(folder.path());
        assert!(kept.drift(&drift.as_str().into()).is_some(), "{port}");
    }
}
