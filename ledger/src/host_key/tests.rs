use std::os::unix::fs::symlink;

use super::*;
use crate::fixtures::World;

#[test]
fn two_at_once_agree_on_one_key() {
    let world = World::new();
    let made: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| world.key().fingerprint())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(made.iter().all(|one| *one == made[0]), "{made:?}");
    let mode = |name: &str| fs::metadata(world.path(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("events.key"), mode("events.key.pub")), (0o600, 0o644));
}

#[test]
fn every_key_that_there_was_is_believed_oldest_first() {
    let world = World::new();
    let old = world.key().fingerprint();
    fs::remove_file(world.path("events.key")).unwrap();
    let new = world.key().fingerprint();
    assert_eq!(world.keys().fingerprints().collect::<Vec<_>>(), [old, new.clone()]);
    // A kill came between the key and its public half.
    fs::remove_file(world.path("events.key.pub")).unwrap();
    assert_eq!(world.key().believed().fingerprints().collect::<Vec<_>>(), [new]);
}

#[test]
fn a_key_that_others_may_have_is_refused() {
    let world = World::new();
    world.key();
    let path = world.path("events.key");
    let load = || HostKey::load_or_create(&path).unwrap_err();
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    assert!(load().to_string().contains("chmod 600"), "{}", load());
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    fs::rename(&path, world.path("aside")).unwrap();
    symlink(world.path("aside"), &path).unwrap();
    assert!(matches!(load(), KeyError::File(LogError::NoFile(_))));
    fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(matches!(load(), KeyError::File(LogError::NoFile(_))));
    fs::remove_file(&path).unwrap();
    fs::write(&path, "no key").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(load(), KeyError::NoKey { .. }));
    assert_eq!(fs::read_to_string(&path).unwrap(), "no key");
}

#[test]
fn a_broken_line_of_the_public_keys_is_named() {
    let world = World::new();
    world.key();
    let path = world.path("events.key.pub");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("# ours\n\nhost {text}ssh-ed25519 AAAA\n")).unwrap();
    let error = HostKey::load_or_create(&world.path("events.key")).unwrap_err();
    assert!(error.to_string().contains("line 4"), "{error}");
    let keys = HostKeys::parse(&format!("# ours\n\nhost {text}")).unwrap();
    assert_eq!(keys.fingerprints().count(), 1);
    let other = HostKeys::parse("host namespaces=\"x\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA").unwrap_err();
    assert_eq!(other.line, 1);
}
