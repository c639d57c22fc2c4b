use std::fs;
use std::time::Duration;

use super::*;
use crate::fixtures::{ALL, NAME, World};
use crate::{HostKey, Writer};

/// What a restore says, of a key that begins with it.
fn restore(key: &HostKey) -> String {
    format!("{{\"act\":\"restore\",\"new\":{{\"key\":\"{}\"}}}}", key.fingerprint())
}

const APPROVE: &str = "{\"act\":\"approve\",\"reason\":\"to restore the service\"}";

fn append(world: &World, key: HostKey, bodies: &[&str]) {
    let mut writer = Writer::open(world.folder(), NAME, key, ALL, Duration::ZERO).unwrap();
    for body in bodies {
        writer.append(&[body]).unwrap();
    }
}

fn next_key(world: &World) -> HostKey {
    fs::remove_file(world.path("events.key")).unwrap();
    world.key()
}

fn found(world: &World) -> Result<u64, (u64, Option<u64>)> {
    match verify_acts(world.folder(), NAME, &world.keys(), |_| {}) {
        Ok(verified) => Ok(verified.records),
        Err(Unverified::Broken(broken)) => {
            assert!(matches!(broken.why, Why::Signature(Distrust::OutOfTurn(_))), "{broken}");
            assert_eq!(broken.line, Some(broken.record), "{broken}");
            Err((broken.record, broken.good))
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_new_key_signs_from_its_restore_on() {
    let world = World::new();
    append(&world, world.key(), &[APPROVE, APPROVE]);
    let new = next_key(&world);
    let said = restore(&new);
    append(&world, new, &[&said, APPROVE]);
    assert_eq!(found(&world), Ok(4));
}

#[test]
fn a_key_that_was_lost_is_followed_by_another() {
    let world = World::new();
    append(&world, world.key(), &[APPROVE]);
    let new = next_key(&world);
    append(&world, new, &[APPROVE, APPROVE]);
    assert_eq!(found(&world), Ok(3));
}

/// Whoever has the newest key writes all of it anew.
#[test]
fn the_first_record_is_by_the_first_key() {
    let world = World::new();
    world.key();
    let new = next_key(&world);
    let said = restore(&new);
    append(&world, new, &[&said, APPROVE]);
    assert_eq!(found(&world), Err((1, None)));
}

#[test]
fn what_a_key_signed_before_its_restore_is_not_believed() {
    let world = World::new();
    append(&world, world.key(), &[APPROVE]);
    let new = next_key(&world);
    let said = restore(&new);
    append(&world, new, &[APPROVE, APPROVE, &said]);
    assert_eq!(found(&world), Err((2, Some(1))));
}

/// Whoever stole a key that was given up goes on with it.
#[test]
fn keys_only_go_forward() {
    let world = World::new();
    append(&world, world.key(), &[APPROVE]);
    let old = fs::read(world.path("events.key")).unwrap();
    let new = next_key(&world);
    append(&world, new, &[APPROVE]);
    fs::write(world.path("events.key"), &old).unwrap();
    let refused = Writer::open(world.folder(), NAME, world.key(), ALL, Duration::ZERO).unwrap_err();
    assert!(matches!(refused, LogError::GivenUp { record: 2, .. }), "{refused}");

    let mut lines = world.lines("events.jsonl");
    let mut line = Vec::new();
    crate::line::append(&mut line, APPROVE.as_bytes(), 3, crate::line::hash(lines[1].as_bytes()));
    let signature = world.key().sign(crate::writer::NAMESPACE, &line).unwrap();
    crate::line::sign(&mut line, &signature);
    lines.push(String::from_utf8(line).unwrap());
    world.put_lines("events.jsonl", &lines);
    assert_eq!(found(&world), Err((3, Some(2))));
}
