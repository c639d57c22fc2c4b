use super::*;
use crate::outbox::fixtures::World;

const FILE: &str = "events.jsonl";

fn head(line: &str) -> Head {
    let chain: Chain = serde_json::from_str(line).unwrap();
    Head { record: chain.record, hash: LineHash(Sha256::digest(line).into()) }
}

fn records(resumed: Resumed) -> Vec<u64> {
    match resumed {
        Resumed::With(found) => found.iter().map(|found| found.position.after.record).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn goes_on_behind_what_is_damaged() {
    let world = World::new();
    world.write(Log::Events, 3);
    let lines = world.lines(FILE);
    let behind = |after: usize| behind(world.folder(), Log::Events, head(&lines[after])).unwrap();
    assert_eq!(records(behind(0)), [2, 3, 4, 5, 6]);
    world.rewrite(FILE, |lines| lines[2] = "\u{fffd} no record".to_owned());
    assert_eq!(records(behind(1)), [4, 5, 6]);
    world.rewrite(FILE, |lines| lines[2] = "x".repeat(2 * MAX_LINE));
    assert_eq!(records(behind(1)), [4, 5, 6]);
    world.rewrite(FILE, |lines| lines.swap(3, 4));
    assert_eq!(records(behind(1)), [5, 6]);
    world.rewrite(FILE, |lines| lines.truncate(3));
    assert_eq!(behind(1), Resumed::Nowhere);
}

#[test]
fn a_record_that_was_damaged_is_none_of_another_log() {
    let world = World::new();
    world.write(Log::Events, 3);
    let after = head(&world.lines(FILE)[2]);
    world.rewrite(FILE, |lines| lines[2] = "\0\0".to_owned());
    assert_eq!(records(behind(world.folder(), Log::Events, after).unwrap()), [4, 5, 6]);
}

#[test]
fn what_nobody_signed_yet_is_not_there() {
    let world = World::new();
    world.write(Log::Events, 2);
    let lines = world.lines(FILE);
    world.rewrite(FILE, |lines| lines.truncate(3));
    assert_eq!(records(behind(world.folder(), Log::Events, head(&lines[0])).unwrap()), [2]);
    assert_eq!(behind(world.folder(), Log::Events, head(&lines[1])).unwrap(), Resumed::Nowhere);
}

#[test]
fn another_log_in_its_place_begins_anew() {
    let world = World::new();
    world.write(Log::Events, 3);
    let last = head(&world.lines(FILE)[5]);
    std::fs::remove_file(world.path(FILE)).unwrap();
    assert_eq!(behind(world.folder(), Log::Events, last).unwrap(), Resumed::Nowhere);
    world.write(Log::Events, 1);
    assert_eq!(behind(world.folder(), Log::Events, last).unwrap(), Resumed::Anew);
}

#[test]
fn goes_on_in_the_next_file() {
    let world = World::new();
    let mut writer = world.writer(Log::Events, 100);
    for _ in 0..3 {
        writer.append(&["{}"]).unwrap();
    }
    let first = world.lines("events.jsonl.1")[0].clone();
    world.rewrite("events.jsonl.2", |lines| lines[0] = "gone".to_owned());
    let Resumed::With(found) = behind(world.folder(), Log::Events, head(&first)).unwrap() else { panic!() };
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].position.after.record, found[0].position.segment), (3, 3));
    // All that is left is newer.
    std::fs::remove_file(world.path("events.jsonl.1")).unwrap();
    assert_eq!(records(behind(world.folder(), Log::Events, head(&first)).unwrap()), [3]);
}

#[test]
fn takes_no_more_at_once_than_a_share() {
    let world = World::new();
    let mut writer = world.writer(Log::Events, 16 << 20);
    let body = format!("{{\"a\":\"{}\"}}", "x".repeat(1000));
    let mut after = Head::default();
    for _ in 0..40 {
        writer.append(&[&body; 20]).unwrap();
    }
    let mut seen = Vec::new();
    while let Resumed::With(found) = behind(world.folder(), Log::Events, after).unwrap() {
        assert!(found.len() < 400, "{}", found.len());
        after = found.last().unwrap().position.after;
        seen.extend(found.iter().map(|found| found.position.after.record));
    }
    assert_eq!(seen, (1..=800).collect::<Vec<u64>>());
}
