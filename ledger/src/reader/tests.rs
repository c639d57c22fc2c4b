use std::fs;

use super::*;
use crate::Keeping;
use crate::fixtures::{ALL, NAME, World, append};

fn all(reader: &mut Reader) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(next) = reader.read().unwrap() {
        told.push(match next {
            Told::Line(line) => {
                assert_eq!(line.body, format!("{{\"number\":{}}}", line.record).as_bytes());
                line.record.to_string()
            }
            Told::Missed { from, to } => format!("missed {from}-{to}"),
        });
    }
    told
}

fn reader(world: &World, from: Position) -> Reader {
    Reader::new(world.folder(), NAME, from)
}

#[test]
fn every_record_is_told_once_whenever_the_reader_starts_again() {
    let world = World::of_segments();
    assert_eq!(all(&mut reader(&world, Position::default())), ["1", "2", "3", "4", "5", "6"]);
    let mut position = Position::default();
    for record in 1..=6_u64 {
        let kept: Position = serde_json::from_str(&serde_json::to_string(&position).unwrap()).unwrap();
        let mut reader = reader(&world, kept);
        let Some(Told::Line(line)) = reader.read().unwrap() else { panic!() };
        assert_eq!((line.record, line.position), (record, reader.position()));
        position = line.position;
    }
    assert_eq!(all(&mut reader(&world, position)), [""; 0]);
}

#[test]
fn a_reader_follows_a_writer_that_rotates() {
    let world = World::new();
    let mut reader = reader(&world, Position::default());
    assert_eq!(reader.read().unwrap(), None);
    let mut writer = world.open(Keeping { segment: 500, ..ALL }).unwrap();
    let mut expected = 0;
    for batch in [1, 1, 3, 1, 2, 1, 1, 5, 1] {
        append(&mut writer, &[batch]);
        let told: Vec<_> = (expected + 1..=expected + batch).map(|record| record.to_string()).collect();
        expected += batch;
        assert_eq!(all(&mut reader), told);
    }
    assert!(fs::read_dir(world.folder()).unwrap().count() > 5);
}

#[test]
fn what_was_dropped_unread_is_told() {
    let world = World::new();
    let keeping = Keeping { segment: 1, segments: Some(2), ..ALL };
    let mut writer = world.open(keeping).unwrap();
    append(&mut writer, &[1, 1]);
    let mut reader = reader(&world, Position::default());
    let Some(Told::Line(first)) = reader.read().unwrap() else { panic!() };
    append(&mut writer, &[1; 8]);
    // The file that it reads is dropped meanwhile, and what it had is read.
    assert_eq!(all(&mut reader), ["missed 2-7", "8", "9", "10"]);
    let mut again = Reader::new(world.folder(), NAME, first.position);
    assert_eq!(all(&mut again), ["missed 2-7", "8", "9", "10"]);
    // Where nothing is missing, a dropped file is no loss.
    append(&mut writer, &[1]);
    assert_eq!(all(&mut again), ["11"]);
}

#[test]
fn a_batch_is_told_when_all_of_it_is_there() {
    let world = World::new();
    world.write(ALL, &[1, 3]);
    let whole = fs::read(world.path("events.jsonl")).unwrap();
    let mut reader = reader(&world, Position::default());
    let ends: Vec<_> = (0..whole.len()).filter(|place| whole[*place] == b'\n').collect();
    for (length, told) in
        [(ends[1] + 1, &["1"][..]), (ends[2] + 10, &[]), (ends[3], &[]), (ends[3] + 1, &["2", "3", "4"])]
    {
        fs::write(world.path("events.jsonl"), &whole[..length]).unwrap();
        assert_eq!(all(&mut reader), told);
    }
}

#[test]
fn what_a_writer_cuts_off_was_never_told() {
    let world = World::new();
    world.write(ALL, &[1, 2]);
    let whole = fs::read(world.path("events.jsonl")).unwrap();
    fs::write(world.path("events.jsonl"), &whole[..whole.len() - 3]).unwrap();
    let mut reader = reader(&world, Position::default());
    assert_eq!(all(&mut reader), ["1"]);
    world.write(ALL, &[1, 1]);
    assert_eq!(all(&mut reader), ["2", "3"]);
}

#[test]
fn another_log_in_its_place_is_no_continuation() {
    let world = World::new();
    world.write(ALL, &[1, 1, 1]);
    let mut live = reader(&world, Position::default());
    assert_eq!(all(&mut live).len(), 3);
    let position = live.position();
    for records in [1, 3, 9] {
        fs::remove_file(world.path("events.jsonl")).unwrap();
        fs::remove_file(world.path("events.key")).unwrap();
        world.write(ALL, &vec![1; records]);
        for reader in [&mut live, &mut reader(&world, position)] {
            let error = reader.read().unwrap_err();
            assert!(matches!(error, LogError::Rewritten { .. }), "{records}: {error}");
        }
    }
    fs::remove_file(world.path("events.jsonl")).unwrap();
    assert!(reader(&world, position).read().is_err());
}

#[test]
fn damage_is_an_error_and_not_the_end() {
    let world = World::of_segments();
    let mut lines = world.lines("events.jsonl.3");
    lines[1] = "{}".to_owned();
    world.put_lines("events.jsonl.3", &lines);
    let mut reader = reader(&world, Position::default());
    let told: Vec<_> = std::iter::from_fn(|| reader.read().ok().flatten()).collect();
    assert_eq!(told.len(), 2);
    let error = reader.read().unwrap_err();
    assert!(error.to_string().contains("events.jsonl.3, line 2: it is no record"), "{error}");
    lines.pop();
    world.put_lines("events.jsonl.3", &lines);
    let error = reader.read().unwrap_err();
    assert!(error.to_string().contains("its end is missing"), "{error}");
}

#[test]
fn a_record_that_does_not_follow_is_not_told() {
    let world = World::new();
    world.write(ALL, &[1, 1]);
    let mut reader = reader(&world, Position::default());
    assert_eq!(all(&mut reader), ["1", "2"]);
    // Another log of lines as long is written over it.
    let other = World::new();
    other.write(ALL, &[1, 1, 1]);
    fs::write(world.path("events.jsonl"), fs::read(other.path("events.jsonl")).unwrap()).unwrap();
    let error = reader.read().unwrap_err();
    assert!(matches!(error, LogError::Rewritten { record: 3, .. }), "{error}");
}
