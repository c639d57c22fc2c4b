use std::collections::BTreeMap;
use std::time::Duration;

use ledger::{HostKey, Keeping, Writer};

use super::*;

/// So small that each file holds few records.
const KEEPING: Keeping = Keeping { segment: 900, segments: None, mode: 0o640, synced: false };
const SHA256: &str = "of the backup";

fn append(folder: &Path, body: &str) {
    let key = HostKey::load_or_create(&folder.join("ledger.key")).unwrap();
    let mut writer = Writer::open(folder, LEDGER, key, KEEPING, Duration::ZERO).unwrap();
    writer.append(&[body]).unwrap();
}

fn log(folder: &Path) -> Log {
    let keys = HostKeys::read(&folder.join("ledger.key.pub")).unwrap();
    Log { folder: folder.to_owned(), name: LEDGER, keys }
}

/// The log's files and what they hold.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let named = all.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    named
        .filter(|(name, _)| name.starts_with("ledger.jsonl"))
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in files(from).into_keys().chain(["ledger.key.pub".to_owned()]) {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

fn standing_of(backup: &Path, state: &Path) -> Standing {
    Plan::of(&log(backup), state, SHA256, Owner::AsItIs).unwrap().standing
}

/// The current file alone could not say where the log begins.
#[test]
fn a_log_without_its_oldest_segments_is_put_back_step_by_step() {
    let above = tempfile::tempdir().unwrap();
    let (whole, state) = (above.path().join("whole"), above.path().join("state"));
    fs::create_dir(&whole).unwrap();
    (1..=12).for_each(|record| append(&whole, &format!("{{\"act\":\"number {record}\"}}")));
    fs::remove_file(whole.join("ledger.jsonl.1")).unwrap();
    fs::create_dir(&state).unwrap();
    fs::copy(whole.join("ledger.key.pub"), state.join("ledger.key.pub")).unwrap();
    let plan = Plan::of(&log(&whole), &state, SHA256, Owner::AsItIs).unwrap();
    for step in plan.steps(&state).unwrap() {
        plan.take(&step, &state).unwrap();
        let standing = standing_of(&whole, &state);
        assert!(matches!(standing, Standing::Beginning(2.., _) | Standing::Whole), "{standing:?}");
    }
    assert!(files(&state) == files(&whole));
}

/// Each place at which the log was once is completed to the same files, and whole after each step.
#[test]
fn every_beginning_is_completed_as_its_writer_would_have() {
    let above = tempfile::tempdir().unwrap();
    let whole = above.path().join("whole");
    fs::create_dir(&whole).unwrap();
    let mut beginnings = Vec::new();
    for record in 1..=12_u64 {
        append(&whole, &format!("{{\"act\":\"number {record}\"}}"));
        let then = above.path().join(format!("then-{record}"));
        copy(&whole, &then);
        beginnings.push((record, then));
    }
    assert!(files(&whole).len() > 3, "{:?}", files(&whole).keys());
    // Between two files there is a time without a current one.
    let between = above.path().join("between");
    copy(&whole, &between);
    fs::remove_file(between.join("ledger.jsonl")).unwrap();
    let empty = above.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fs::copy(whole.join("ledger.key.pub"), empty.join("ledger.key.pub")).unwrap();
    assert_eq!(standing_of(&whole, &empty), Standing::Missing);
    for (record, state) in &beginnings {
        let expected = if *record == 12 { Standing::Whole } else { Standing::Beginning(1, *record) };
        assert_eq!(standing_of(&whole, state), expected);
    }
    for state in beginnings.iter().map(|(_, state)| state).chain([&between, &empty]) {
        let plan = Plan::of(&log(&whole), state, SHA256, Owner::AsItIs).unwrap();
        for step in plan.steps(state).unwrap() {
            plan.take(&step, state).unwrap();
            let standing = standing_of(&whole, state);
            assert!(matches!(standing, Standing::Beginning(1, _) | Standing::Whole), "{standing:?}");
        }
        assert!(files(state) == files(&whole), "{}", state.display());
    }
}

#[test]
fn older_segments_that_were_removed_do_not_come_back() {
    let above = tempfile::tempdir().unwrap();
    let (whole, state) = (above.path().join("whole"), above.path().join("state"));
    fs::create_dir(&whole).unwrap();
    (1..=6).for_each(|record| append(&whole, &format!("{{\"act\":\"number {record}\"}}")));
    copy(&whole, &state);
    (7..=12).for_each(|record| append(&whole, &format!("{{\"act\":\"number {record}\"}}")));
    fs::remove_file(state.join("ledger.jsonl.1")).unwrap();
    let plan = Plan::of(&log(&whole), &state, SHA256, Owner::AsItIs).unwrap();
    assert!(matches!(plan.standing, Standing::Beginning(2.., 6)), "{:?}", plan.standing);
    plan.carry_out(&state, &mut Aside::new(&state)).unwrap();
    let mut expected = files(&whole);
    expected.remove("ledger.jsonl.1");
    assert!(files(&state) == expected);
}

#[test]
fn what_went_on_otherwise_is_no_beginning() {
    let above = tempfile::tempdir().unwrap();
    let (backup, state) = (above.path().join("backup"), above.path().join("state"));
    fs::create_dir(&state).unwrap();
    append(&state, "{\"act\":\"approve\"}");
    copy(&state, &backup);
    append(&state, "{\"act\":\"revoke\"}");
    assert!(matches!(standing_of(&backup, &state), Standing::Other(_)), "it has more");
    let said = files(&state);
    let plan = Plan::of(&log(&backup), &state, SHA256, Owner::AsItIs).unwrap();
    let mut aside = Aside::new(&state);
    plan.carry_out(&state, &mut aside).unwrap();
    assert!(files(aside.folder().unwrap()) == said, "put aside as it was");
    assert!(files(&state) == files(&backup));

    append(&state, "{\"act\":\"restore\",\"new\":{\"sha256\":\"of another\"}}");
    assert!(matches!(standing_of(&backup, &state), Standing::Other(_)), "another backup was put back");
}

#[test]
fn what_was_put_back_already_is_known_by_the_record_of_it() {
    let above = tempfile::tempdir().unwrap();
    let (backup, state) = (above.path().join("backup"), above.path().join("state"));
    fs::create_dir(&state).unwrap();
    append(&state, "{\"act\":\"approve\"}");
    copy(&state, &backup);
    append(&state, "{\"act\":\"restore\",\"new\":{\"sha256\":\"of the backup\"}}");
    assert_eq!(standing_of(&backup, &state), Standing::Recorded);
    append(&state, "{\"act\":\"approve\"}");
    assert!(matches!(standing_of(&backup, &state), Standing::Other(_)), "it went on since");
}

#[test]
fn a_damaged_log_is_no_beginning() {
    let above = tempfile::tempdir().unwrap();
    let (backup, state) = (above.path().join("backup"), above.path().join("state"));
    fs::create_dir(&state).unwrap();
    append(&state, "{\"act\":\"approve\"}");
    copy(&state, &backup);
    let text = fs::read_to_string(state.join("ledger.jsonl")).unwrap();
    fs::write(state.join("ledger.jsonl"), text.replace("approve", "improve")).unwrap();
    let standing = standing_of(&backup, &state);
    assert!(matches!(&standing, Standing::Other(why) if why.contains("broken")), "{standing:?}");
}
