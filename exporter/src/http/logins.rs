//! How those are slowed who try passwords. Whoever shows one that is known to be right is not asked here.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::who::Peer;

/// How long the first attempt after a failure waits; each failure doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// Between two attempts of a peer for one name, at most: a scrape that is given 10 s has a few.
const LONGEST_OF_NAME: Duration = Duration::from_secs(2);
/// Between two attempts of a peer, at most: those for one name hold up those for others no longer.
const LONGEST_OF_PEER: Duration = Duration::from_millis(500);
/// After so long without one, one failure is forgiven.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);
/// How many failures are remembered: all are forgiven after as many minutes.
const MOST: u32 = 5;
/// How many peers are remembered; the one that failed longest ago makes room.
const MAX_PEERS: usize = 4096;
/// How many names of each, likewise: to have one forgotten takes more time than to wait.
const MAX_NAMES: usize = 8;
/// Within this time of the moment at which one may try it falls to one of those who wait, by chance.
const LOT: u64 = 64;

/// Remembers failures by peer, and by peer and name.
#[derive(Default)]
pub(super) struct Logins {
    peers: Mutex<BTreeMap<Peer, OfPeer>>,
    /// Names are remembered by their hash: they may be long, and nobody shall find two that have the same.
    names: RandomState,
}

struct OfPeer {
    all: Failures,
    names: Vec<(u64, Failures)>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
    /// When the next attempt may be made.
    free_at: Instant,
    longest: Duration,
}

impl Logins {
    /// How long an attempt has to wait before it asks again. Where that is no time it may be made, and others wait for it;
    /// who has to wait takes no place, and may give up.
    pub(super) fn turn(&self, peer: Peer, name: &str, now: Instant) -> Duration {
        let name = self.names.hash_one(name);
        let mut peers = self.lock();
        let Some(peer) = peers.get_mut(&peer.crowd()) else { return Duration::ZERO };
        let wait = peer.of(name).map(|failures| failures.free_at.saturating_duration_since(now)).max();
        let wait = wait.unwrap_or_default();
        if !wait.is_zero() {
            return wait + Duration::from_millis(RandomState::new().hash_one(0) % LOT);
        }
        peer.of(name).for_each(|failures| failures.free_at = now + failures.delay(now));
        Duration::ZERO
    }

    /// A password was wrong.
    pub(super) fn failed(&self, peer: Peer, name: &str, now: Instant) {
        let name = self.names.hash_one(name);
        let mut peers = self.lock();
        if !peers.contains_key(&peer.crowd()) && peers.len() >= MAX_PEERS {
            let oldest = peers.iter().min_by_key(|(_, of)| of.all.last).map(|(peer, _)| *peer);
            oldest.map(|oldest| peers.remove(&oldest));
        }
        let none = OfPeer { all: Failures::none(LONGEST_OF_PEER, now), names: Vec::new() };
        let peer = peers.entry(peer.crowd()).or_insert(none);
        peer.remember(name, now);
        peer.of(name).for_each(|failures| failures.add(now));
    }

    /// Forgets those who are forgiven.
    pub(super) fn forgive(&self, now: Instant) {
        self.lock().retain(|_, peer| {
            peer.names.retain(|(_, failures)| failures.counts(now));
            peer.all.counts(now) || !peer.names.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Peer, OfPeer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OfPeer {
    /// Those that an attempt for this name has to wait for.
    fn of(&mut self, name: u64) -> impl Iterator<Item = &mut Failures> {
        let names = self.names.iter_mut().filter(move |(known, _)| *known == name);
        [&mut self.all].into_iter().chain(names.map(|(_, failures)| failures))
    }

    fn remember(&mut self, name: u64, now: Instant) {
        if self.names.iter().any(|(known, _)| *known == name) {
            return;
        }
        if self.names.len() >= MAX_NAMES {
            let places = self.names.iter().enumerate();
            let oldest = places.min_by_key(|(_, (_, failures))| failures.last).map(|(place, _)| place);
            oldest.map(|oldest| self.names.swap_remove(oldest));
        }
        self.names.push((name, Failures::none(LONGEST_OF_NAME, now)));
    }
}

impl Failures {
    fn none(longest: Duration, now: Instant) -> Self {
        Failures { count: 0, last: now, free_at: now, longest }
    }

    fn add(&mut self, now: Instant) {
        self.count = (self.left(now) + 1).min(MOST);
        self.last = now;
        self.free_at = self.free_at.max(now + self.delay(now));
    }

    /// How many are not forgiven.
    fn left(&self, now: Instant) -> u32 {
        let forgiven = now.saturating_duration_since(self.last).as_secs() / FORGIVEN_AFTER.as_secs();
        self.count.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
    }

    fn counts(&self, now: Instant) -> bool {
        self.left(now) > 0 || self.free_at > now
    }

    fn delay(&self, now: Instant) -> Duration {
        match self.left(now) {
            0 => Duration::ZERO,
            left => (FIRST_DELAY * 2_u32.saturating_pow(left - 1)).min(self.longest),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn peer(number: u32) -> Peer {
        Peer::at(IpAddr::from(number.to_be_bytes()))
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// Without what chance adds.
    fn wait(logins: &Logins, number: u32, name: &str, now: Instant) -> Duration {
        let wait = logins.turn(peer(number), name, now);
        Duration::from_millis(u64::try_from(wait.as_millis()).unwrap() / 250 * 250)
    }

    #[test]
    fn each_failure_doubles_the_wait_for_its_name_up_to_two_seconds() {
        let logins = Logins::default();
        let mut now = Instant::now();
        assert_eq!(wait(&logins, 1, "x", now), Duration::ZERO);
        for expected in [250, 500, 1000, 2000, 2000, 2000] {
            logins.failed(peer(1), "x", now);
            let turn = wait(&logins, 1, "x", now);
            assert_eq!(turn.as_millis(), expected);
            now += turn;
        }
        assert_eq!(wait(&logins, 2, "x", now), Duration::ZERO);
    }

    #[test]
    fn another_name_waits_for_half_a_second_at_most() {
        let (logins, now) = (Logins::default(), Instant::now());
        (0..99).for_each(|_| logins.failed(peer(1), "x", now));
        assert_eq!(wait(&logins, 1, "prom", now), LONGEST_OF_PEER);
        assert_eq!(wait(&logins, 1, "prom", now + LONGEST_OF_PEER), Duration::ZERO);
        assert_eq!(wait(&logins, 1, "prom", now + LONGEST_OF_PEER), LONGEST_OF_PEER, "one after the other");
    }

    #[test]
    fn who_gives_up_waiting_has_taken_no_place() {
        let (logins, now) = (Logins::default(), Instant::now());
        (0..4).for_each(|_| logins.failed(peer(1), "x", now));
        for _ in 0..1000 {
            assert_eq!(wait(&logins, 1, "x", now), SECOND * 2);
        }
        assert_eq!(wait(&logins, 1, "x", now + SECOND * 2), Duration::ZERO);
        assert_eq!(wait(&logins, 1, "x", now + SECOND * 2), SECOND * 2);
    }

    /// None of them is always the first.
    #[test]
    fn it_falls_to_those_who_wait_by_chance() {
        let (logins, now) = (Logins::default(), Instant::now());
        logins.failed(peer(1), "x", now);
        let waits: std::collections::BTreeSet<_> = (0..99).map(|_| logins.turn(peer(1), "x", now)).collect();
        assert!(waits.len() > 10, "{waits:?}");
        assert!(waits.into_iter().all(|wait| wait < FIRST_DELAY + Duration::from_millis(LOT)));
    }

    #[test]
    fn all_failures_are_forgiven_in_minutes_however_many_there_were() {
        let (logins, now) = (Logins::default(), Instant::now());
        (0..100_000).for_each(|_| logins.failed(peer(1), "x", now));
        logins.failed(peer(1), "x", now + FORGIVEN_AFTER * 3);
        assert_eq!(wait(&logins, 1, "x", now + FORGIVEN_AFTER * 3), SECOND, "two were left");
        logins.forgive(now + FORGIVEN_AFTER * 4);
        assert!(!logins.lock().is_empty());
        logins.forgive(now + FORGIVEN_AFTER * 6);
        assert!(logins.lock().is_empty());
    }

    #[test]
    fn memory_is_bounded_however_many_try() {
        let (logins, now) = (Logins::default(), Instant::now());
        for number in 0..20_000 {
            let at = now + Duration::from_micros(number.into());
            logins.failed(peer(number), "x", at);
            logins.failed(peer(20_000), &number.to_string(), at);
        }
        let peers = logins.lock();
        assert_eq!((peers.len(), peers[&peer(20_000)].names.len()), (MAX_PEERS, MAX_NAMES));
        assert!(peers.contains_key(&peer(19_999)));
    }
}
