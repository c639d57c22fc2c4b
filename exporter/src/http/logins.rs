//! Who came in and who did not, told in the log of events; and how those are slowed who try passwords.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::who::{Peer, Who, shown};
use crate::event_log::{Entry, Visit};

/// How long the first attempt after a failure waits; each failure doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(16);
/// Whoever would have to wait longer, having many attempts under way, is not let try.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// After so long without one, one failure is forgiven.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);
/// How many peers are remembered; the one that failed longest ago makes room.
const MAX_PEERS: usize = 4096;
/// How often refusals of one peer are told.
const PAUSE: Duration = Duration::from_secs(60);
/// How many who were admitted are remembered, to be told once.
const MAX_KNOWN: usize = 1024;
/// So many records can be written at once, and one more every [`REFILL`]: at that pace what is older stays for weeks.
const MAX_RECORDS: u32 = 60;
const REFILL: Duration = Duration::from_secs(30);

/// Remembers failures by peer and what of them is not told yet.
pub(crate) struct Logins {
    books: Mutex<Books>,
}

struct Books {
    failures: BTreeMap<Peer, Failures>,
    refused: BTreeMap<Peer, Refused>,
    known: BTreeSet<(Peer, String)>,
    /// How many records may be written now, and since when that is so.
    records: u32,
    counted_at: Instant,
    /// Refusals that there was no record for.
    untold: u64,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
    /// When the next attempt may be made.
    free_at: Instant,
}

/// What is not told yet of a peer that was told of.
struct Refused {
    told_at: Instant,
    since: u64,
    why: &'static str,
    name: Option<String>,
}

impl Logins {
    pub(crate) fn new(now: Instant) -> Self {
        let (failures, refused, known) = Default::default();
        let books = Books { failures, refused, known, records: MAX_RECORDS, counted_at: now, untold: 0 };
        Logins { books: Mutex::new(books) }
    }

    /// How long an attempt of this peer has to wait; each goes behind those before it. `None` where that is too long.
    pub(super) fn turn(&self, peer: Peer, now: Instant) -> Option<Duration> {
        let mut books = self.lock();
        let Some(failures) = books.failures.get_mut(&peer.crowd()) else { return Some(Duration::ZERO) };
        let wait = failures.free_at.saturating_duration_since(now);
        if wait > LONGEST_WAIT {
            return None;
        }
        failures.free_at = failures.free_at.max(now) + failures.delay(now);
        Some(wait)
    }

    /// A password was wrong.
    pub(super) fn failed(&self, peer: Peer, now: Instant) {
        let mut books = self.lock();
        let before = books.failures.get(&peer.crowd()).copied();
        if before.is_none() && books.failures.len() >= MAX_PEERS {
            let oldest = books.failures.iter().min_by_key(|(_, failures)| failures.last);
            let oldest = oldest.map(|(peer, _)| *peer);
            oldest.map(|oldest| books.failures.remove(&oldest));
        }
        let count = before.map_or(0, |failures| failures.left(now)).saturating_add(1);
        let mut failures = Failures { count, last: now, free_at: now };
        failures.free_at = before.map_or(now, |before| before.free_at).max(now + failures.delay(now));
        books.failures.insert(peer.crowd(), failures);
    }

    /// What is to be logged of somebody who came in: the first time, and nothing of those without a name.
    pub(super) fn admitted(&self, peer: Peer, who: &Who, now: Instant, at: SystemTime) -> Option<Entry> {
        let name = who.name()?;
        let mut books = self.lock();
        let key = (peer.crowd(), name.clone());
        if books.known.contains(&key) || !books.may_tell(now) {
            return None;
        }
        if books.known.len() >= MAX_KNOWN {
            books.known.pop_first();
        }
        books.known.insert(key);
        let untold = std::mem::take(&mut books.untold);
        let peer = peer.to_string();
        Some(Entry::Visit(Visit {
            at,
            event: "admitted",
            peer,
            user: Some(name),
            why: None,
            times: 1,
            untold,
        }))
    }

    /// Likewise of a refusal, at most once a minute and peer.
    pub(super) fn refused(
        &self,
        peer: Peer,
        user: Option<&str>,
        why: &'static str,
        (now, at): (Instant, SystemTime),
    ) -> Option<Entry> {
        let mut books = self.lock();
        let crowd = peer.crowd();
        let name = user.map(shown);
        if let Some(refused) = books.refused.get_mut(&crowd) {
            refused.since += 1;
            (refused.why, refused.name) = (why, name);
            return None;
        }
        if books.refused.len() >= MAX_PEERS || !books.may_tell(now) {
            books.untold += 1;
            return None;
        }
        books.refused.insert(crowd, Refused { told_at: now, since: 0, why, name: name.clone() });
        let untold = std::mem::take(&mut books.untold);
        let peer = peer.to_string();
        Some(Entry::Visit(Visit { at, event: "refused", peer, user: name, why: Some(why), times: 1, untold }))
    }

    /// What was gathered of peers that were refused again, when their minute is over.
    pub(super) fn due(&self, now: Instant, at: SystemTime) -> Vec<Entry> {
        let mut books = self.lock();
        let over: Vec<Peer> = books
            .refused
            .iter()
            .filter(|(_, refused)| now.saturating_duration_since(refused.told_at) >= PAUSE)
            .map(|(peer, _)| *peer)
            .collect();
        let mut entries = Vec::new();
        for peer in over {
            let Some(refused) = books.refused.remove(&peer) else { continue };
            if refused.since == 0 {
                continue;
            }
            if !books.may_tell(now) {
                books.untold += refused.since;
                continue;
            }
            let Refused { since: times, why, name: user, .. } = refused;
            books.refused.insert(peer, Refused { told_at: now, since: 0, why, name: user.clone() });
            let untold = std::mem::take(&mut books.untold);
            let (peer, why) = (peer.to_string(), Some(why));
            entries.push(Entry::Visit(Visit { at, event: "refused", peer, user, why, times, untold }));
        }
        books.failures.retain(|_, failures| failures.left(now) > 0 || failures.free_at > now);
        entries
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn may_tell(&mut self, now: Instant) -> bool {
        while self.records < MAX_RECORDS && now.saturating_duration_since(self.counted_at) >= REFILL {
            self.records += 1;
            self.counted_at += REFILL;
        }
        if self.records == MAX_RECORDS {
            self.counted_at = now;
        }
        let may = self.records > 0;
        self.records = self.records.saturating_sub(1);
        may
    }
}

impl Failures {
    /// How many are not forgiven.
    fn left(&self, now: Instant) -> u32 {
        let forgiven = now.saturating_duration_since(self.last).as_secs() / FORGIVEN_AFTER.as_secs();
        self.count.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
    }

    fn delay(&self, now: Instant) -> Duration {
        match self.left(now) {
            0 => Duration::ZERO,
            left => (FIRST_DELAY * 2_u32.saturating_pow((left - 1).min(16))).min(LONGEST_DELAY),
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

    #[test]
    fn each_failure_doubles_the_wait_of_its_peer_alone() {
        let now = Instant::now();
        let logins = Logins::new(now);
        assert_eq!(logins.turn(peer(1), now), Some(Duration::ZERO));
        let mut at = now;
        for wait in [250, 500, 1000, 2000, 4000, 8000, 16_000, 16_000] {
            logins.failed(peer(1), at);
            let turn = logins.turn(peer(1), at).unwrap();
            assert_eq!(turn.as_millis(), wait);
            at += turn;
        }
        assert_eq!(logins.turn(peer(2), at), Some(Duration::ZERO));
    }

    #[test]
    fn attempts_at_once_go_one_behind_the_other() {
        let now = Instant::now();
        let logins = Logins::new(now);
        (0..4).for_each(|_| logins.failed(peer(1), now));
        let waits: Vec<_> = (0..99).map_while(|_| logins.turn(peer(1), now)).collect();
        assert_eq!(waits[..3], [SECOND * 2, SECOND * 4, SECOND * 6]);
        assert_eq!(waits.len(), 10);
        assert_eq!(logins.turn(peer(2), now), Some(Duration::ZERO));
    }

    #[test]
    fn failures_are_forgiven_with_time() {
        let now = Instant::now();
        let logins = Logins::new(now);
        (0..3).for_each(|_| logins.failed(peer(1), now));
        logins.failed(peer(1), now + FORGIVEN_AFTER * 2);
        assert_eq!(logins.turn(peer(1), now + FORGIVEN_AFTER * 2), Some(Duration::from_millis(500)));
        logins.due(now + FORGIVEN_AFTER * 9, SystemTime::now());
        assert!(logins.lock().failures.is_empty());
    }

    #[test]
    fn memory_is_bounded_however_many_try() {
        let now = Instant::now();
        let logins = Logins::new(now);
        for number in 0..20_000 {
            let at = now + Duration::from_micros(number.into());
            logins.failed(peer(number), at);
            logins.refused(peer(number), Some("root"), "login", (at, SystemTime::now()));
        }
        let books = logins.lock();
        assert_eq!(books.failures.len(), MAX_PEERS);
        assert!(books.refused.len() <= MAX_PEERS && books.untold > 0);
        assert!(books.failures.contains_key(&peer(19_999)));
    }

    fn visits(entries: impl IntoIterator<Item = Entry>) -> Vec<(String, u64, u64)> {
        let visits = entries.into_iter().map(|entry| match entry {
            Entry::Visit(visit) => (visit.peer, visit.times, visit.untold),
            _ => panic!("no visit"),
        });
        visits.collect()
    }

    #[test]
    fn refusals_are_told_at_once_and_then_gathered() {
        let now = Instant::now();
        let logins = Logins::new(now);
        let refuse = |at| logins.refused(peer(1), None, "network", (at, SystemTime::now()));
        assert_eq!(visits(refuse(now)), [("0.0.0.1".to_owned(), 1, 0)]);
        assert!((0..41).all(|_| refuse(now + SECOND).is_none()));
        assert!(logins.due(now + PAUSE / 2, SystemTime::now()).is_empty());
        assert_eq!(visits(logins.due(now + PAUSE, SystemTime::now())), [("0.0.0.1".to_owned(), 41, 0)]);
        assert!(logins.due(now + PAUSE * 2, SystemTime::now()).is_empty());
        assert_eq!(visits(refuse(now + PAUSE * 2)), [("0.0.0.1".to_owned(), 1, 0)]);
    }

    #[test]
    fn a_flood_of_peers_fills_no_log() {
        let now = Instant::now();
        let logins = Logins::new(now);
        let day = 24 * 60 * 60;
        let refuse = |second: u32| {
            let at = now + SECOND * second;
            let entry = logins.refused(peer(second), None, "network", (at, SystemTime::now()));
            entry.into_iter().chain(logins.due(at, SystemTime::now()))
        };
        let told = visits((0..day).flat_map(refuse));
        assert!(told.len() <= 60 + 2880, "{}", told.len());
        let counted: u64 = told.iter().map(|(_, times, untold)| times + untold).sum();
        assert_eq!(counted + logins.lock().untold, u64::from(day));
    }

    #[test]
    fn who_comes_in_is_told_once() {
        let now = Instant::now();
        let logins = Logins::new(now);
        let who = |name: &str| Who { user: Some(name.to_owned()), ..Who::anonymous() };
        let admit = |number, who: &Who| logins.admitted(peer(number), who, now, SystemTime::now()).is_some();
        assert!(admit(1, &who("prom")) && !admit(1, &who("prom")));
        assert!(admit(2, &who("prom")) && admit(1, &who("alice")));
        assert!(!admit(1, &Who::anonymous()));
    }
}
