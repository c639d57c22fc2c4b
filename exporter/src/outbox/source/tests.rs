use std::fs;

use super::*;
use crate::outbox::fixtures::{World, receiver};
use crate::outbox::receiver::TlsFiles;
use crate::outbox::status::Status;

const FILE: &str = "events.jsonl";

struct Reading {
    source: Source,
    status: Status,
    now: Instant,
}

impl Reading {
    fn of(world: &World, from: Position) -> Self {
        let status = Status::new(&receiver("journald", TlsFiles::default()));
        let log = status.logs.iter().find(|log| log.log == Log::Events).unwrap().clone();
        Reading { source: Source::new(world.folder(), log, from), status, now: Instant::now() }
    }

    /// What it tells until there is nothing more: numbers, and words where they are not those of a record.
    fn rest(&mut self) -> String {
        let mut told = Vec::new();
        while let Some(item) = self.source.next(self.now) {
            told.push(match item.records {
                1 => item.position.after.record.to_string(),
                _ => item
                    .event
                    .json
                    .chars()
                    .filter(|c| c.is_ascii_digit() || c.is_ascii_alphabetic())
                    .take(30)
                    .collect(),
            });
        }
        told.join(" ")
    }
}

#[test]
fn tells_all_there_is_and_what_comes() {
    let world = World::new();
    let mut reading = Reading::of(&world, Position::default());
    assert_eq!(reading.rest(), "");
    world.write(Log::Events, 2);
    assert_eq!(reading.rest(), "1 2 3 4");
    world.write(Log::Events, 1);
    assert_eq!(reading.rest(), "5 6");
    assert_eq!(reading.status.lag(), 6);
    reading.source.rewind(Position::default());
    assert_eq!(reading.rest(), "1 2 3 4 5 6");
}

#[test]
fn tells_what_is_missing_and_counts_it_once() {
    let world = World::new();
    let mut writer = world.writer(Log::Events, 100);
    for _ in 0..2 {
        writer.append(&["{}"]).unwrap();
    }
    let mut reading = Reading::of(&world, Position::default());
    let first = reading.source.next(reading.now).unwrap();
    for _ in 0..4 {
        writer.append(&["{}"]).unwrap();
    }
    for _ in 0..2 {
        reading.source.rewind(first.position);
        assert_eq!(reading.rest(), "eventmissedfrom2logeventsto3 4 5 6");
        assert_eq!(reading.status.missed(), 2);
    }
}

#[test]
fn goes_on_behind_damage_and_says_once_what_it_is() {
    let world = World::new();
    world.write(Log::Events, 4);
    world.rewrite(FILE, |lines| lines[2] = "no record".to_owned());
    let mut reading = Reading::of(&world, Position::default());
    assert_eq!(reading.rest(), "1 2 after2eventdamagedlogeventswhy eventmissedfrom3logeventsto3 4 5 6 7 8");
    assert_eq!(reading.status.missed(), 1);
    let last = reading.source.reader.position();
    let mut restarted = Reading::of(&world, last);
    assert_eq!(restarted.rest(), "");
    assert!(restarted.status.logs[1].readable());
}

#[test]
fn goes_on_behind_a_batch_whose_end_is_damaged() {
    let world = World::new();
    world.write(Log::Events, 4);
    world.rewrite(FILE, |lines| lines[3] = "no record".to_owned());
    let mut reading = Reading::of(&world, Position::default());
    assert_eq!(reading.rest(), "1 2 after2eventdamagedlogeventswhy 3 eventmissedfrom4logeventsto4 5 6 7 8");
}

/// The place of its last record in such a file cannot be found by name.
#[test]
fn goes_on_where_the_first_line_is_damaged() {
    let world = World::new();
    world.write(Log::Events, 4);
    world.rewrite(FILE, |lines| lines[0] = "no record".to_owned());
    let mut reading = Reading::of(&world, Position::default());
    assert_eq!(reading.rest(), "after0eventdamagedlogeventswhy eventmissedfrom1logeventsto1 2 3 4 5 6 7 8");
    assert_eq!(reading.rest(), "");
}

#[test]
fn a_changed_record_ends_nothing() {
    let world = World::new();
    world.write(Log::Events, 2);
    let mut reading = Reading::of(&world, Position::default());
    world.rewrite(FILE, |lines| lines[1] = lines[1].replace("close", "clOse"));
    assert_eq!(reading.rest(), "1 2 after2eventdamagedlogeventswhy 3 4");
}

#[test]
fn another_log_in_its_place_is_told_from_its_start() {
    let world = World::new();
    world.write(Log::Events, 4);
    let mut reading = Reading::of(&world, Position::default());
    assert_eq!(reading.rest(), "1 2 3 4 5 6 7 8");
    let last = reading.source.reader.position();
    fs::remove_file(world.path(FILE)).unwrap();
    world.write(Log::Events, 1);
    let mut restarted = Reading::of(&world, last);
    assert_eq!(restarted.rest(), "after8eventdamagedlogeventswhy 1 2");
}

#[test]
fn what_cannot_be_read_is_left_alone_for_a_while() {
    let world = World::new();
    fs::create_dir(world.path(FILE)).unwrap();
    let mut reading = Reading::of(&world, Position::default());
    assert_eq!(reading.rest(), "");
    assert!(!reading.status.logs[1].readable());
    fs::remove_dir(world.path(FILE)).unwrap();
    world.write(Log::Events, 1);
    assert_eq!(reading.rest(), "");
    reading.now += SHORT_REST;
    assert_eq!(reading.rest(), "1 2");
    assert!(reading.status.logs[1].readable());
}
