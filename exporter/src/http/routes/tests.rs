use std::time::Duration;

use super::*;
use crate::fixtures::now;
use crate::judge;

#[test]
fn is_ready_only_while_the_sensor_speaks() {
    let silent = Snapshot::default();
    assert!(unready(&silent, now()).unwrap().contains("judged yet"));
    let judged = judge::tests::snapshot_of_the_fixture();
    assert_eq!(unready(&judged, now() + PATIENCE), None);
    assert_eq!(
        unready(&judged, now() + Duration::from_secs(31)).unwrap(),
        "the sensor was last heard of 31 s ago: see the log of `portledger serve`"
    );
    assert_eq!(unready(&judged, now() - Duration::from_secs(3600)), None, "a clock set back");
}

#[test]
fn is_not_ready_where_the_judge_is_far_behind() {
    let mut judged = judge::tests::snapshot_of_the_fixture();
    let later = now() + Duration::from_secs(100);
    judged.sensor.last_frame = Some(later);
    for (behind, expected) in [(0, false), (30, false), (31, true)] {
        judged.sensor.judged_to = Some(later - Duration::from_secs(behind));
        let why = unready(&judged, later);
        assert_eq!(why.is_some(), expected, "{behind}");
        assert!(
            why.is_none_or(|why| why.starts_with("nothing that happened in the last 31 s is judged yet"))
        );
    }
}
