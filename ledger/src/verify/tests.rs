use std::fs;
use std::time::Duration;

use super::*;
use crate::fixtures::{ALL, NAME, World};
use crate::{HostKey, Keeping, Writer};

fn broken(world: &World) -> Broken {
    match world.verify() {
        Err(Unverified::Broken(broken)) => *broken,
        other => panic!("{other:?}"),
    }
}

fn place(broken: &Broken) -> (String, Option<u64>, u64, Option<u64>) {
    let file = broken.path.file_name().unwrap().to_str().unwrap();
    (file.to_owned(), broken.line, broken.record, broken.good)
}

#[test]
fn a_whole_log_is_whole() {
    let world = World::of_segments();
    let verified = world.verify().unwrap();
    let key = KeyUse { fingerprint: world.key().fingerprint(), from: 1 };
    let head = crate::head(world.folder(), NAME).unwrap().unwrap();
    let unfinished = false;
    assert_eq!(verified, Verified { first: 1, head, records: 6, unfinished, keys: vec![key] });
    assert_eq!(head.record, 6);
}

#[test]
fn what_is_not_there_is_whole_and_empty() {
    let world = World::new();
    world.key();
    let verified = world.verify().unwrap();
    assert_eq!((verified.records, verified.first, verified.head), (0, 0, Head::default()));
}

type Damage = (&'static str, fn(&World), (&'static str, Option<u64>, u64, Option<u64>), &'static str);

/// What was done; where the first record stands that nothing vouches for, and the last that something does; what is said.
const DAMAGES: [Damage; 20] = [
    (
        "a body",
        |w| edit(w, "events.jsonl.1", 1, "\"number\":2", "\"number\":3"),
        ("events.jsonl.1", Some(2), 2, Some(1)),
        "not of this text",
    ),
    (
        "a body within a batch",
        |w| edit(w, "events.jsonl.3", 0, "\"number\":3", "\"number\":4"),
        ("events.jsonl.3", Some(1), 3, Some(2)),
        "do not belong together",
    ),
    (
        "a body of the last batch",
        |w| edit(w, "events.jsonl", 0, "\"number\":5", "\"number\":6"),
        ("events.jsonl", Some(1), 5, Some(4)),
        "do not belong together",
    ),
    (
        "the last body",
        |w| edit(w, "events.jsonl", 1, "\"number\":6", "\"number\":7"),
        ("events.jsonl", Some(1), 5, Some(4)),
        "not of this text",
    ),
    (
        "a number",
        |w| edit(w, "events.jsonl.1", 1, "\"record\":2", "\"record\":7"),
        ("events.jsonl.1", Some(2), 2, Some(1)),
        "stands 7",
    ),
    (
        "a link",
        |w| edit(w, "events.jsonl.1", 1, "\"previous\":\"", "\"previous\":\"0"),
        ("events.jsonl.1", Some(2), 2, Some(1)),
        "no record",
    ),
    (
        "a key's name",
        |w| edit(w, "events.jsonl.1", 1, "\"previous\"", "\"Previous\""),
        ("events.jsonl.1", Some(2), 2, Some(1)),
        "no record",
    ),
    (
        "a signature",
        |w| flip_signature(w, "events.jsonl.1", 0),
        ("events.jsonl.1", Some(1), 1, None),
        "not of this text",
    ),
    ("a line", |w| remove(w, "events.jsonl.1", 1), ("events.jsonl.3", Some(1), 2, Some(1)), "stands 3"),
    (
        "a line of a batch",
        |w| remove(w, "events.jsonl.3", 0),
        ("events.jsonl.3", Some(1), 3, Some(2)),
        "stands 4",
    ),
    ("a pair exchanged", |w| exchange(w, "events.jsonl.1"), ("events.jsonl.1", Some(1), 1, None), "stands 2"),
    (
        "the end cut at a line",
        |w| remove(w, "events.jsonl", 1),
        ("events.jsonl", Some(1), 5, Some(4)),
        "end is not signed",
    ),
    (
        "a segment cut in a line",
        |w| shorten(w, "events.jsonl.3"),
        ("events.jsonl.3", Some(1), 3, Some(2)),
        "cut off",
    ),
    (
        "a line put in",
        |w| insert(w, "events.jsonl.3", "{}"),
        ("events.jsonl.3", Some(1), 3, Some(2)),
        "no record",
    ),
    (
        "a line repeated",
        |w| {
            let line = w.lines("events.jsonl.1").swap_remove(1);
            insert(w, "events.jsonl.3", &line);
        },
        ("events.jsonl.3", Some(1), 3, Some(2)),
        "stands 2",
    ),
    (
        "a segment in the middle",
        |w| fs::remove_file(w.path("events.jsonl.3")).unwrap(),
        ("events.jsonl", Some(1), 3, Some(2)),
        "stands 5",
    ),
    (
        "the first line of a segment",
        |w| remove(w, "events.jsonl.1", 0),
        ("events.jsonl.1", Some(1), 1, None),
        "stands 2",
    ),
    (
        "the last signature",
        |w| strip(w, "events.jsonl", 1),
        ("events.jsonl", Some(1), 5, Some(4)),
        "end is not signed",
    ),
    (
        "a signature in the middle",
        |w| strip(w, "events.jsonl.3", 1),
        ("events.jsonl.3", Some(1), 3, Some(2)),
        "end is not signed",
    ),
    (
        "a line too long",
        |w| insert(w, "events.jsonl", &"x".repeat(MAX_LINE + 1)),
        ("events.jsonl", Some(1), 5, Some(4)),
        "longer than",
    ),
];

#[test]
fn each_damage_is_found_where_it_is() {
    for (what, damage, (file, line, record, good), says) in DAMAGES {
        let world = World::of_segments();
        damage(&world);
        let broken = broken(&world);
        assert_eq!(place(&broken), (file.to_owned(), line, record, good), "{what}: {broken}");
        assert!(broken.to_string().contains(says), "{what}: {broken}");
    }
}

fn edit(world: &World, file: &str, place: usize, from: &str, to: &str) {
    let mut lines = world.lines(file);
    assert!(lines[place].contains(from));
    lines[place] = lines[place].replace(from, to);
    world.put_lines(file, &lines);
}

fn flip_signature(world: &World, file: &str, place: usize) {
    let mut lines = world.lines(file);
    let at = lines[place].len() - 20;
    let other = if lines[place].as_bytes()[at] == b'A' { "B" } else { "A" };
    lines[place].replace_range(at..=at, other);
    world.put_lines(file, &lines);
}

fn remove(world: &World, file: &str, place: usize) {
    let mut lines = world.lines(file);
    lines.remove(place);
    world.put_lines(file, &lines);
}

fn exchange(world: &World, file: &str) {
    let mut lines = world.lines(file);
    lines.swap(0, 1);
    world.put_lines(file, &lines);
}

fn shorten(world: &World, file: &str) {
    let text = fs::read(world.path(file)).unwrap();
    fs::write(world.path(file), &text[..text.len() - 5]).unwrap();
}

fn insert(world: &World, file: &str, line: &str) {
    let mut lines = world.lines(file);
    lines.insert(0, line.to_owned());
    world.put_lines(file, &lines);
}

fn strip(world: &World, file: &str, place: usize) {
    let mut lines = world.lines(file);
    let (unsigned, _) = lines[place].split_once(",\"signature\":").unwrap();
    lines[place] = format!("{unsigned}}}");
    world.put_lines(file, &lines);
}

#[test]
fn a_tail_by_another_key_is_found_at_its_first_record() {
    let world = World::of_segments();
    // Whoever has the folder makes a key of his own and goes on.
    let other = World::new();
    let both = format!("{}{}", world.keys(), other.key().believed());
    let original = fs::read_to_string(world.path("events.key.pub")).unwrap();
    fs::write(other.path("events.key.pub"), both).unwrap();
    let mut writer = Writer::open(world.folder(), NAME, other.key(), ALL, Duration::ZERO).unwrap();
    crate::fixtures::append(&mut writer, &[1, 1, 1]);
    let found = broken(&world);
    assert_eq!(place(&found), ("events.jsonl".to_owned(), Some(3), 7, Some(6)));
    assert_eq!(found.why, Why::Signature(Distrust::UnknownKey(other.key().fingerprint())));
    assert_eq!(original, world.keys().to_string());
}

#[test]
fn a_new_key_goes_on_where_the_old_one_is_believed() {
    let world = World::new();
    world.write(ALL, &[1, 1]);
    let old = world.key().fingerprint();
    fs::remove_file(world.path("events.key")).unwrap();
    world.write(ALL, &[1, 2]);
    let new = world.key().fingerprint();
    let uses = [(old, 1), (new, 3)].map(|(fingerprint, from)| KeyUse { fingerprint, from });
    assert_eq!(world.verify().unwrap().keys, uses);
}

#[test]
fn a_rewritten_log_is_bad_from_its_first_record() {
    let world = World::new();
    world.write(ALL, &[1; 40]);
    // Everything from record 20 is changed and chained anew, with signatures that look like ours.
    let mut lines = world.lines("events.jsonl");
    for place in 19..lines.len() {
        let before = crate::line::hash(lines[place - 1].as_bytes());
        let (_, signature) = lines[place].split_once(",\"signature\":\"").unwrap();
        let signature = signature.trim_end_matches("\"}").to_owned();
        let mut line = Vec::new();
        crate::line::append(&mut line, b"{\"number\":0}", place as u64 + 1, before);
        crate::line::sign(&mut line, &signature);
        lines[place] = String::from_utf8(line).unwrap();
    }
    world.put_lines("events.jsonl", &lines);
    let broken = broken(&world);
    assert_eq!(place(&broken), ("events.jsonl".to_owned(), Some(20), 20, Some(19)));
    assert_eq!(broken.why, Why::Signature(Distrust::Forged));
}

/// Whoever has the new key must not be able to write anew what the old one vouched for.
#[test]
fn what_an_older_key_signed_is_held_against_that_key() {
    let world = World::new();
    world.write(ALL, &[1, 1, 1]);
    fs::remove_file(world.path("events.key")).unwrap();
    world.write(ALL, &[1]);
    let mut lines = world.lines("events.jsonl");
    for place in 1..lines.len() {
        let before = crate::line::hash(lines[place - 1].as_bytes());
        let (_, signature) = lines[place].split_once(",\"signature\":\"").unwrap();
        let mut signature = signature.trim_end_matches("\"}").to_owned();
        let mut line = Vec::new();
        crate::line::append(&mut line, b"{\"number\":0}", place as u64 + 1, before);
        if place == 3 {
            signature = world.key().sign(NAMESPACE, &line).unwrap();
        }
        crate::line::sign(&mut line, &signature);
        lines[place] = String::from_utf8(line).unwrap();
    }
    world.put_lines("events.jsonl", &lines);
    let broken = broken(&world);
    assert_eq!((broken.record, broken.good), (2, Some(1)));
}

#[test]
fn an_unfinished_end_is_told_and_counts_for_nothing() {
    for batch in [1, 3] {
        let world = World::of_segments();
        world.write(ALL, &[batch]);
        shorten(&world, "events.jsonl");
        let verified = world.verify().unwrap();
        assert!(verified.unfinished);
        assert_eq!((verified.records, verified.head.record), (6, 6));
    }
}

#[test]
fn a_log_whose_oldest_segments_were_dropped_says_where_it_begins() {
    let world = World::of_segments();
    fs::remove_file(world.path("events.jsonl.1")).unwrap();
    let verified = world.verify().unwrap();
    assert_eq!((verified.first, verified.records), (3, 4));
}

/// A name says where a segment begins; nothing does so for the current file.
#[test]
fn a_log_begins_with_a_segment_or_with_its_first_record() {
    let world = World::new();
    world.write(ALL, &[1, 1, 1]);
    let lines = world.lines("events.jsonl");
    world.put_lines("events.jsonl", &lines[2..]);
    let found = broken(&world);
    assert_eq!(place(&found), ("events.jsonl".to_owned(), Some(1), 1, None));
    assert_eq!(found.why, Why::Number { expected: 1, found: 3 });

    let world = World::of_segments();
    for name in ["events.jsonl.1", "events.jsonl.3"] {
        fs::remove_file(world.path(name)).unwrap();
    }
    assert_eq!(broken(&world).why, Why::Number { expected: 1, found: 5 });
    fs::rename(world.path("events.jsonl"), world.path("events.jsonl.4")).unwrap();
    assert_eq!(broken(&world).why, Why::Number { expected: 4, found: 5 });
}

#[test]
fn a_kill_between_rename_and_new_file_leaves_a_whole_log() {
    let world = World::of_segments();
    fs::rename(world.path("events.jsonl"), world.path("events.jsonl.5")).unwrap();
    assert_eq!(world.verify().unwrap().records, 6);
    assert_eq!(crate::head(world.folder(), NAME).unwrap().unwrap().record, 6);
    world.write(Keeping { segment: 1, ..ALL }, &[1, 1]);
    assert_eq!(world.verify().unwrap().records, 8);
}

#[test]
fn without_a_believed_key_nothing_is_vouched_for() {
    let world = World::of_segments();
    let none = HostKeys::default();
    let Err(Unverified::Broken(broken)) = verify(world.folder(), NAME, &none, |_| {}) else { panic!() };
    assert_eq!((broken.record, broken.good), (1, None));
}

#[test]
fn a_key_made_in_the_same_place_is_another() {
    let (one, other) = (World::new(), World::new());
    let key = |world: &World| HostKey::load_or_create(&world.path("events.key")).unwrap().fingerprint();
    assert_ne!(key(&one), key(&other));
    assert_eq!(key(&one), key(&one));
}

#[test]
fn whoever_is_overtaken_by_the_writer_begins_anew() {
    let world = World::new();
    let small = Keeping { segment: 1, ..ALL };
    world.write(small, &[5000, 1, 1, 1]);
    let drop_unread = |names: &[&str]| {
        for name in names {
            fs::remove_file(world.path(name)).unwrap();
        }
    };
    let mut dropped = false;
    let progress = |_| {
        if !std::mem::replace(&mut dropped, true) {
            drop_unread(&["events.jsonl.1", "events.jsonl.5001"]);
        }
    };
    let verified = verify(world.folder(), NAME, &world.keys(), progress).unwrap();
    assert_eq!((verified.first, verified.records), (5002, 2));
}

#[test]
fn a_segment_that_is_missing_behind_one_that_is_there_is_no_haste() {
    let world = World::new();
    world.write(Keeping { segment: 1, ..ALL }, &[5000, 1, 1, 1]);
    let progress = |_| fs::remove_file(world.path("events.jsonl.5001")).unwrap();
    let found = verify(world.folder(), NAME, &world.keys(), progress).unwrap_err();
    assert!(matches!(found, Unverified::Broken(broken) if broken.record == 5001));
}
