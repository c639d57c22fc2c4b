use std::time::Duration;

use baseline::Policy;

use super::*;
use crate::fixtures::{self, assert_golden, now};
use crate::judge;
use crate::snapshot::Snapshot;

fn pretty(document: &impl Serialize) -> String {
    serde_json::to_string_pretty(document).unwrap() + "\n"
}

#[test]
fn are_the_documents_that_programs_know() {
    let snapshot = judge::tests::snapshot_of_the_fixture();
    let sender = snapshot.sender.clone();
    let pass = snapshot.judged.unwrap();
    let listeners = listeners_document(Listed {
        inventory: &pass.inventory,
        assessment: &pass.assessment,
        register: Some(&pass.register),
        accounts: &pass.accounts,
        host: &pass.host,
        lost: Some(pass.lost),
        filtered: false,
        command_lines: true,
    });
    assert_golden("listeners.json", &pretty(&listeners));
    assert_golden(
        "drift.json",
        &pretty(&drift_document(&pass.inventory, &pass.assessment, &pass.register, &sender)),
    );
}

#[test]
fn is_the_status_that_programs_know() {
    let snapshot = judge::tests::snapshot_of_the_fixture();
    let later = now() + Duration::from_secs(3);
    assert_golden("status.json", &pretty(&status_document(&snapshot, None, later)));
    let early = Snapshot::default();
    let early = status_document(&early, Some("no inventory yet".to_owned()), later);
    assert_golden("status-before.json", &pretty(&early));
}

#[test]
fn counts_what_is_gone_among_what_is_open() {
    let snapshot =
        judge::tests::snapshot_after(fixtures::listeners(), Vec::new(), now() + Duration::from_secs(3));
    let status = serde_json::to_value(status_document(&snapshot, None, now())).unwrap();
    assert_eq!(status["drifts"]["critical"], serde_json::json!({"open": 2, "gone": 2}), "{status:#}");
}

#[test]
fn say_without_a_register_what_is_found_and_not_since_when() {
    let pass = judge::tests::snapshot_of_the_fixture().judged.unwrap();
    let policy = Policy::new(None, pass.host.clone(), fixtures::everybody().into());
    let drift = serde_json::to_value(diff_document(&pass.inventory, &pass.assessment, &[], &policy)).unwrap();
    assert_eq!(drift["drifts"].as_array().unwrap().len(), 2);
    assert!(drift["drifts"].as_array().unwrap().iter().all(|drift| drift["first_seen"].is_null()));
}

#[test]
fn write_times_in_utc_to_the_millisecond() {
    let at = |millis| time(SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
    assert_eq!(at(1_795_251_600_000), "2026-11-21T09:00:00.000Z");
    assert_eq!(at(1), "1970-01-01T00:00:00.001Z");
    assert_eq!(time(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::MAX / 4)), "9999-12-31T23:59:59.999Z");
}
