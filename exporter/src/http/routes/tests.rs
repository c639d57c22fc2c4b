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
