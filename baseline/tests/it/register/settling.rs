//! What waits a little before it is told.

use super::*;

#[test]
fn waits_two_seconds_for_attribution() {
    let mut watched = Watched::new();
    watched.world.baseline("").listen("tcp/0.0.0.0:4444").unattributed(Unattributed::Exited);
    assert_eq!(watched.look(), [""; 0]);
    assert_eq!(watched.after(1), [""; 0]);
    let mut settled = Watched { world: watched.world.clone(), register: watched.register.clone() };
    settled.world.listeners[0].by(program("/usr/bin/nc"));
    assert_eq!(settled.look(), ["opened unapproved"], "once, under the name that it keeps");
    assert_eq!(settled.after(5), [""; 0]);
    assert_eq!(watched.after(1), ["opened unapproved"], "two seconds are enough");
}

/// Its descriptors are closed an instant before the socket is.
#[test]
fn what_is_approved_and_ends_is_no_drift() {
    let mut watched = Watched::new();
    let text = "[[approval]]\nid = \"app\"\nlisten = \"tcp/*:4444\"\nprogram = \"/usr/bin/nc\"\n";
    watched.world.baseline(text).listen("tcp/0.0.0.0:4444").by(program("/usr/bin/nc"));
    assert_eq!(watched.look(), [""; 0]);
    watched.world.listeners[0] =
        Clone::clone(World::new().listen("tcp/0.0.0.0:4444").unattributed(Unattributed::InFlight));
    assert_eq!(watched.after(1), [""; 0]);
    let mut stays = Watched { world: watched.world.clone(), register: watched.register.clone() };
    watched.world.listeners.clear();
    assert_eq!(watched.after(1), [""; 0]);
    assert_eq!(stays.after(2), ["opened program_changed"], "nobody knows who has it now");
}

#[test]
fn what_was_gone_before_it_was_attributed_is_told() {
    let mut watched = Watched::new();
    watched.world.baseline("").listen("tcp/0.0.0.0:4444").unattributed(Unattributed::Exited);
    assert_eq!(watched.look(), [""; 0]);
    watched.world.listeners.clear();
    assert_eq!(watched.after(1), ["opened unapproved", "gone unapproved"]);
    assert_eq!(watched.after(1), [""; 0]);
}

/// A daemon that is approved as `www-data` and begins to listen now, as root.
fn daemon_that_begins() -> Watched {
    let mut watched = Watched::new();
    let text =
        "[[approval]]\nid = \"app\"\nlisten = \"tcp/*:4444\"\nprogram = \"/app\"\nuser = \"www-data\"\n";
    watched.world.baseline(text);
    let now = watched.world.now;
    watched.world.listen("tcp/0.0.0.0:4444").by(program("/app").uid(0)).since(now);
    watched
}

/// It drops root.
fn drop_root(world: &mut World) {
    let mut dropped = World::new();
    let began = dropped.now;
    dropped.listen("tcp/0.0.0.0:4444").by(program("/app").uid(33)).since(began);
    world.listeners[0].become_like(dropped.listeners.remove(0));
}

#[test]
fn who_drops_root_after_it_began_to_listen_is_no_drift() {
    let mut watched = daemon_that_begins();
    assert_eq!(watched.look(), [""; 0]);
    assert!(watched.register.due(&watched.world.policy()).is_some());
    let mut keeps_root = Watched { world: watched.world.clone(), register: watched.register.clone() };
    drop_root(&mut watched.world);
    assert_eq!(watched.after(1), [""; 0]);
    assert_eq!(watched.after(5), [""; 0]);
    watched.world.listeners.clear();
    assert_eq!(watched.after(1), [""; 0]);
    assert_eq!(keeps_root.after(1), [""; 0]);
    assert_eq!(keeps_root.after(1), ["opened user_changed"]);
    assert_eq!(keeps_root.after(5), [""; 0]);
}

#[test]
fn who_never_drops_root_and_ends_is_told() {
    let mut watched = daemon_that_begins();
    assert_eq!(watched.look(), [""; 0]);
    watched.world.listeners.clear();
    assert_eq!(watched.after(1), ["opened user_changed", "gone user_changed"]);
}

#[test]
fn what_began_long_ago_is_told_at_once() {
    let mut watched = daemon_that_begins();
    watched.world.later(2);
    assert_eq!(watched.look(), ["opened user_changed"]);
}

#[test]
fn what_is_graver_is_told_at_once() {
    let mut watched = daemon_that_begins();
    watched.world.baseline(NC.replace("4444", "5555").as_str());
    assert_eq!(watched.look(), ["opened unapproved"]);
}

#[test]
fn who_drops_root_between_two_looks_is_no_drift() {
    let mut watched = daemon_that_begins();
    let passed = watched.world.clone();
    drop_root(&mut watched.world);
    assert_eq!(watched.look_after(&passed), [""; 0], "it is there as approved");
    let mut dropped = daemon_that_begins();
    assert_eq!(dropped.look(), [""; 0]);
    let mut passed = dropped.world.clone();
    drop_root(&mut passed);
    dropped.world.listeners.clear();
    assert_eq!(dropped.look_after(&passed), [""; 0], "it was approved before it went");
    let mut kept = daemon_that_begins();
    let passed = kept.world.clone();
    kept.world.listeners.clear();
    assert_eq!(kept.look_after(&passed), ["opened user_changed", "gone user_changed"]);
}
