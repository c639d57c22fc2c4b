//! What is not seen.

use super::*;

#[test]
fn a_gap_closes_nothing_and_says_nothing() {
    let mut watched = netcat();
    let there = std::mem::take(&mut watched.world.listeners);
    watched.world.gap(Scope::Sockets);
    assert_eq!(watched.after(2 * DAY), [""; 0]);
    assert!(watched.register.drifts().all(baseline::Drift::is_present));
    // Sight of the holders is lost: it is another service now, and the one before is not known to be gone.
    watched.world.gaps.clear();
    watched.world.gap(Scope::Holders);
    watched.world.listeners = there;
    watched.world.listeners[0] =
        Clone::clone(World::new().listen("tcp/0.0.0.0:4444").unattributed(Unattributed::Denied));
    assert_eq!(watched.after(2), [""; 0]);
    assert_eq!(watched.after(2), ["opened unapproved"]);
}

/// A service of so many sockets in a namespace that is not the host's, while others are not seen. It is critical.
fn elsewhere(sockets: usize) -> (Watched, Vec<SocketId>) {
    reaching(Reach::Public, sockets)
}

/// One that is no more than a warning.
fn lesser_elsewhere() -> (Watched, Vec<SocketId>) {
    reaching(Reach::Private, 1)
}

fn reaching(reach: Reach, sockets: usize) -> (Watched, Vec<SocketId>) {
    let mut watched = Watched::new();
    watched.world.baseline("").gap(Scope::Namespaces);
    for _ in 0..sockets {
        let listening = watched.world.listen("tcp/10.0.0.1:4444").by(program("/usr/bin/nc").uid(33));
        listening.in_netns(NetNsKind::Anonymous, "").reach(reach);
    }
    assert_eq!(watched.look(), ["opened unapproved"]);
    let ids = watched.world.inventory().listeners.iter().map(|listener| listener.id).collect();
    (watched, ids)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn what_was_told_to_end_is_gone_whatever_a_gap_hides() {
    const NOTHING: &[&str] = &[];
    const GONE: &[&str] = &["gone unapproved"];
    // How many sockets it has, of which how many an end is told at each of two updates, and what comes of it.
    for (sockets, first, then, expected) in [
        (1, 0, 0, (NOTHING, NOTHING)),
        (1, 1, 0, (GONE, NOTHING)),
        (1, 0, 1, (NOTHING, GONE)),
        (2, 1, 0, (NOTHING, NOTHING)),
        (2, 1, 1, (NOTHING, GONE)),
        // More than are kept to judge it by.
        (9, 8, 0, (NOTHING, NOTHING)),
        (9, 8, 1, (NOTHING, GONE)),
        (9, 9, 0, (GONE, NOTHING)),
    ] {
        let (mut watched, ids) = elsewhere(sockets);
        watched.world.listeners.clear();
        let told = (
            watched.look_after_the_end_of(&ids[..first]),
            watched.look_after_the_end_of(&ids[first..first + then]),
        );
        assert_eq!(told, (words(expected.0), words(expected.1)), "{sockets} {first} {then}");
    }
}

#[test]
fn the_end_of_one_of_its_sockets_is_not_its_own() {
    let (mut watched, ids) = elsewhere(2);
    let left = watched.world.listeners.pop().unwrap();
    let ended = ids[1];
    assert_eq!(watched.look_after_the_end_of(&[ended]), [""; 0], "the other is there");
    watched.world.listeners.clear();
    assert_eq!(watched.look(), [""; 0], "and now may be");
    watched.world.listeners.push(left);
    assert_eq!(watched.look(), [""; 0], "one that opened again");
    watched.world.listeners.clear();
    assert_eq!(watched.look_after_the_end_of(&[ids[0]]), [""; 0], "ended is not what is there now");
    assert_eq!(watched.look_after_the_end_of(&[ended]), ["gone unapproved"]);
}

#[test]
fn what_a_gap_hides_ends_a_day_after_it_was_seen() {
    let (mut watched, _) = lesser_elsewhere();
    let there = std::mem::take(&mut watched.world.listeners);
    assert_eq!(watched.after(60), [""; 0]);
    let due = watched.register.due(&watched.world.policy());
    assert_eq!(due, Some(watched.world.now + Register::KEPT_GONE));
    assert_eq!(watched.after(DAY - 1), [""; 0]);
    assert!(watched.register.drifts().all(baseline::Drift::is_present), "nobody knows that it is gone");
    let mut seen = Watched { world: watched.world.clone(), register: watched.register.clone() };
    seen.world.listeners = there;
    assert_eq!(seen.look(), [""; 0]);
    seen.world.listeners.clear();
    assert_eq!(seen.after(1), [""; 0], "its day begins anew");
    assert_eq!(seen.after(DAY - 1), [""; 0]);
    // Nobody can tell any more: it goes by what was written down.
    let mut restarted = watched.restarted();
    assert_eq!(restarted.after(0), [""; 0]);
    assert_eq!(restarted.after(1), ["aged unapproved"]);
    watched.world.gaps.clear();
    assert_eq!(watched.after(DAY), ["gone unapproved"], "this look shows that it is not there");
}

#[test]
fn what_is_critical_and_hidden_for_a_day_is_gone_and_can_be_dismissed() {
    let (mut watched, _) = elsewhere(1);
    let there = std::mem::take(&mut watched.world.listeners);
    assert_eq!(watched.after(60), [""; 0]);
    let last_seen = watched.world.now;
    assert_eq!(watched.register.due(&watched.world.policy()), Some(last_seen + Register::KEPT_GONE));
    assert_eq!(watched.after(DAY - 1), [""; 0]);
    let mut restarted = watched.restarted();
    assert_eq!(restarted.after(1), ["gone unapproved"]);
    assert_eq!(watched.after(1), ["gone unapproved"]);
    let drift = watched.register.drifts().next().unwrap();
    assert_eq!((drift.gone_since, drift.is_present()), (Some(last_seen), false));
    assert_eq!(watched.register.due(&watched.world.policy()), None, "nothing more comes of time alone");
    assert_eq!(watched.after(400 * DAY), [""; 0]);
    let drift = watched.register.drifts().next().unwrap().id().clone();
    restarted.world.listeners = there;
    assert_eq!(restarted.after(1), ["returned unapproved"], "it was there all the while");
    let events = watched.register.dismiss(&[Dismissal { drift, gone_since: last_seen, by: "carol".into() }]);
    assert_eq!(events.iter().map(happened).collect::<Vec<_>>(), ["dismissed unapproved"]);
}

#[test]
fn what_is_gone_ends_after_a_day_also_while_a_gap_would_hide_it() {
    let (mut watched, ids) = lesser_elsewhere();
    watched.world.listeners.clear();
    assert_eq!(watched.look_after_the_end_of(&ids), ["gone unapproved"]);
    assert_eq!(watched.after(DAY - 1), [""; 0]);
    assert_eq!(watched.after(1), ["aged unapproved"]);
}

#[test]
fn a_clock_that_is_set_back_ages_nothing_that_is_hidden() {
    let (mut watched, _) = lesser_elsewhere();
    watched.world.listeners.clear();
    assert_eq!(watched.after(400 * DAY), [""; 0], "the clock was far ahead");
    watched.world.now -= std::time::Duration::from_secs(400 * DAY);
    assert_eq!(watched.look(), [""; 0]);
    assert_eq!(watched.after(DAY - 1), [""; 0]);
    assert_eq!(watched.after(1), ["aged unapproved"]);
}

/// Whoever hides a namespace must not be rid of the alert by waiting.
#[test]
fn what_is_missing_or_seen_without_its_holder_does_not_age() {
    let mut watched = Watched::new();
    watched.world.baseline(REQUIRED);
    watched.look();
    assert_eq!(watched.after(300), ["opened missing"]);
    watched.world.gap(Scope::Sockets);
    assert_eq!(watched.after(1), [""; 0]);
    assert_eq!(watched.after(2 * DAY), [""; 0]);
    let mut watched = netcat();
    watched.world.gap(Scope::Holders);
    watched.world.listeners[0] =
        Clone::clone(World::new().listen("tcp/0.0.0.0:4444").unattributed(Unattributed::Denied));
    watched.look();
    assert_eq!(watched.after(2), ["opened unapproved"]);
    assert_eq!(watched.after(2 * DAY), [""; 0]);
}
