//! Who came in and who did not, as it is told in the log of logins: all of it, and no flood.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::counts::Refusal;
use super::who::{Peer, Who, shown};
use crate::event_log::{Entry, Visit};

/// How many peers' refusals are gathered.
const MAX_PEERS: usize = 4096;
/// How many kinds of refusals of one peer are told apart, and of all. Of further ones the names are left out.
const MAX_KINDS: usize = 16;
const MAX_KINDS_OF_ALL: usize = 4096;
/// How often refusals of one peer are told.
const PAUSE: Duration = Duration::from_secs(60);
/// How many who were admitted are remembered, to be told once.
const MAX_KNOWN: usize = 1024;
/// The logins of how many names are told whatever others do; further names share what is told.
const MAX_NAMES: usize = 256;
/// So many records can be written at once, and one more every [`REFILL`]: at that pace what is older stays for weeks.
const MAX_RECORDS: u32 = 60;
const REFILL: Duration = Duration::from_secs(30);
/// How many are written at the end, whatever was written before.
const MAX_LAST: usize = 256;

/// What is not told yet, and who was told of.
pub(super) struct Visits {
    books: Mutex<Books>,
}

struct Books {
    refused: BTreeMap<Peer, Refused>,
    known: BTreeSet<(Peer, String)>,
    /// Whoever is refused cannot keep from being told who came in.
    refusals: Budget,
    /// By name: nor can whoever comes in from ever more addresses.
    logins: BTreeMap<String, Logins>,
    /// How many kinds wait, of all peers.
    waiting: usize,
    /// Refusals that there was no room for.
    untold: u64,
}

/// What may be told of one name.
struct Logins {
    budget: Budget,
    /// Requests of peers that are not told.
    untold: u64,
}

/// What of a peer is not told yet.
struct Refused {
    told_at: Instant,
    waiting: BTreeMap<Kind, u64>,
}

/// What is told apart of a peer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    why: &'static str,
    detail: Option<String>,
    user: Option<String>,
}

/// How many records may be written now, and since when that is so.
struct Budget {
    records: u32,
    counted_at: Instant,
}

impl Visits {
    pub(super) fn new(now: Instant) -> Self {
        let (refused, known, logins) = Default::default();
        let books = Books { refused, known, refusals: Budget::new(now), logins, waiting: 0, untold: 0 };
        Visits { books: Mutex::new(books) }
    }

    /// What is to be logged of somebody who came in: the first time, and nothing of those without a name.
    pub(super) fn admitted(&self, peer: Peer, who: &Who, now: Instant, at: SystemTime) -> Option<Entry> {
        let name = who.name()?;
        let mut books = self.lock();
        let key = (peer.crowd(), name.clone());
        if books.known.contains(&key) {
            return None;
        }
        let untold = books.logins_of(&name, now).may_tell(now)?;
        if books.known.len() >= MAX_KNOWN {
            books.known.pop_first();
        }
        books.known.insert(key);
        Some(Entry::Visit(Visit {
            at,
            event: "admitted",
            peer: peer.to_string(),
            user: Some(name),
            why: None,
            detail: None,
            times: 1,
            untold,
        }))
    }

    /// Likewise of a refusal: the first at once, those that follow gathered, at most once a minute and peer.
    pub(super) fn refused(
        &self,
        peer: Peer,
        user: Option<&str>,
        (why, detail): (Refusal, Option<&str>),
        (now, at): (Instant, SystemTime),
    ) -> Option<Entry> {
        let kind = Kind { why: why.as_str(), detail: detail.map(shown), user: user.map(shown) };
        let mut books = self.lock();
        let crowd = peer.crowd();
        if !books.refused.contains_key(&crowd) {
            if books.refused.len() >= MAX_PEERS {
                books.untold += 1;
                return None;
            }
            books.refused.insert(crowd, Refused { told_at: now, waiting: BTreeMap::new() });
            if books.refusals.may_tell(now) {
                return Some(books.record(peer, kind, 1, at));
            }
        }
        books.gather(crowd, kind);
        None
    }

    /// What was gathered of peers that were refused again, when their minute is over. For what no record may be written
    /// now waits on.
    pub(super) fn due(&self, now: Instant, at: SystemTime) -> Vec<Entry> {
        let mut books = self.lock();
        let over = |refused: &Refused| now.saturating_duration_since(refused.told_at) >= PAUSE;
        books.refused.retain(|_, refused| !over(refused) || !refused.waiting.is_empty());
        if !books.refusals.is_left(now) {
            return Vec::new();
        }
        let mut peers: Vec<(Instant, Peer)> = books
            .refused
            .iter()
            .filter(|(_, refused)| over(refused))
            .map(|(peer, refused)| (refused.told_at, *peer))
            .collect();
        // Whoever waited longest goes first, and nobody has a second record before all have their first.
        peers.sort_unstable();
        let mut entries = Vec::new();
        while !peers.is_empty() {
            let mut more = Vec::new();
            for (told_at, peer) in peers {
                if !books.has_waiting(peer) {
                    continue;
                }
                if !books.refusals.may_tell(now) {
                    return entries;
                }
                entries.extend(books.tell_commonest(peer, at));
                books.refused.entry(peer).and_modify(|refused| refused.told_at = now);
                more.push((told_at, peer));
            }
            peers = more;
        }
        entries
    }

    /// All that was gathered, as far as there is room at the end.
    pub(super) fn rest(&self, at: SystemTime) -> Vec<Entry> {
        let mut books = self.lock();
        let mut waiting: Vec<(u64, Peer, Kind)> = Vec::new();
        books.waiting = 0;
        for (peer, refused) in std::mem::take(&mut books.refused) {
            waiting.extend(refused.waiting.into_iter().map(|(kind, times)| (times, peer, kind)));
        }
        waiting.sort_unstable_by(|one, other| other.cmp(one));
        let left_out = waiting.split_off(waiting.len().min(MAX_LAST));
        books.untold += left_out.iter().map(|(times, ..)| times).sum::<u64>();
        waiting.into_iter().map(|(times, peer, kind)| books.record(peer, kind, times, at)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn logins_of(&mut self, name: &str, now: Instant) -> &mut Logins {
        let is_one_too_many = self.logins.len() >= MAX_NAMES && !self.logins.contains_key(name);
        let name = if is_one_too_many { "" } else { name };
        let begin = || Logins { budget: Budget::new(now), untold: 0 };
        self.logins.entry(name.to_owned()).or_insert_with(begin)
    }

    fn gather(&mut self, crowd: Peer, kind: Kind) {
        let Some(Refused { waiting, .. }) = self.refused.get_mut(&crowd) else { return };
        let is_full = self.waiting >= MAX_KINDS_OF_ALL || waiting.len() >= MAX_KINDS;
        let kind = match is_full && !waiting.contains_key(&kind) {
            true => Kind { detail: None, user: None, ..kind },
            false => kind,
        };
        let times = waiting.entry(kind).or_default();
        self.waiting += usize::from(*times == 0);
        *times += 1;
    }

    fn has_waiting(&self, peer: Peer) -> bool {
        self.refused.get(&peer).is_some_and(|refused| !refused.waiting.is_empty())
    }

    fn tell_commonest(&mut self, peer: Peer, at: SystemTime) -> Option<Entry> {
        let waiting = &mut self.refused.get_mut(&peer)?.waiting;
        let kind = waiting.iter().max_by_key(|(_, times)| **times).map(|(kind, _)| kind.clone())?;
        let times = waiting.remove(&kind)?;
        self.waiting = self.waiting.saturating_sub(1);
        Some(self.record(peer, kind, times, at))
    }

    fn record(&mut self, peer: Peer, kind: Kind, times: u64, at: SystemTime) -> Entry {
        let untold = std::mem::take(&mut self.untold);
        let Kind { why, detail, user } = kind;
        let (peer, why) = (peer.to_string(), Some(why));
        Entry::Visit(Visit { at, event: "refused", peer, user, why, detail, times, untold })
    }
}

impl Logins {
    /// How many were not told before; `None` where this one is not either.
    fn may_tell(&mut self, now: Instant) -> Option<u64> {
        if self.budget.may_tell(now) {
            return Some(std::mem::take(&mut self.untold));
        }
        self.untold += 1;
        None
    }
}

impl Budget {
    fn new(now: Instant) -> Self {
        Budget { records: MAX_RECORDS, counted_at: now }
    }

    fn may_tell(&mut self, now: Instant) -> bool {
        let may = self.is_left(now);
        self.records = self.records.saturating_sub(1);
        may
    }

    fn is_left(&mut self, now: Instant) -> bool {
        while self.records < MAX_RECORDS && now.saturating_duration_since(self.counted_at) >= REFILL {
            self.records += 1;
            self.counted_at += REFILL;
        }
        if self.records == MAX_RECORDS {
            self.counted_at = now;
        }
        self.records > 0
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

    fn told(entries: impl IntoIterator<Item = Entry>) -> Vec<Visit> {
        let visits = entries.into_iter().map(|entry| match entry {
            Entry::Visit(visit) => visit,
            _ => panic!("no visit"),
        });
        visits.collect()
    }

    fn visits(entries: impl IntoIterator<Item = Entry>) -> Vec<(String, u64, u64)> {
        told(entries).into_iter().map(|visit| (visit.peer, visit.times, visit.untold)).collect()
    }

    fn times(entries: impl IntoIterator<Item = Entry>) -> u64 {
        told(entries).iter().map(|visit| visit.times + visit.untold).sum()
    }

    fn refuse(visits: &Visits, number: u32, user: Option<&str>, why: Refusal, now: Instant) -> Option<Entry> {
        visits.refused(peer(number), user, (why, None), (now, SystemTime::now()))
    }

    #[test]
    fn refusals_are_told_at_once_and_then_gathered() {
        let now = Instant::now();
        let gathered = Visits::new(now);
        let refuse = |at| refuse(&gathered, 1, None, Refusal::Network, at);
        assert_eq!(visits(refuse(now)), [("0.0.0.1".to_owned(), 1, 0)]);
        assert!((0..41).all(|_| refuse(now + SECOND).is_none()));
        assert!(gathered.due(now + PAUSE / 2, SystemTime::now()).is_empty());
        assert_eq!(visits(gathered.due(now + PAUSE, SystemTime::now())), [("0.0.0.1".to_owned(), 41, 0)]);
        assert!(gathered.due(now + PAUSE * 2, SystemTime::now()).is_empty());
        assert_eq!(visits(refuse(now + PAUSE * 2)), [("0.0.0.1".to_owned(), 1, 0)]);
    }

    #[test]
    fn each_kind_is_counted_by_itself() {
        let now = Instant::now();
        let gathered = Visits::new(now);
        for round in 0..10_u32 {
            refuse(&gathered, 1, Some("eve"), Refusal::Login, now);
            refuse(&gathered, 1, None, Refusal::Method, now);
            if round % 2 == 0 {
                refuse(&gathered, 1, Some("bob"), Refusal::Login, now);
            }
        }
        let told: Vec<_> = told(gathered.due(now + PAUSE, SystemTime::now()))
            .into_iter()
            .map(|visit| (visit.why.unwrap(), visit.user, visit.times))
            .collect();
        let user = |name: &str| Some(name.to_owned());
        assert_eq!(told, [("method", None, 10), ("login", user("eve"), 9), ("login", user("bob"), 5)]);
    }

    #[test]
    fn nothing_is_lost_of_what_waits_at_the_end() {
        let now = Instant::now();
        let gathered = Visits::new(now);
        let mut at_once = 0;
        for number in 0..300 {
            for user in ["a", "b"] {
                at_once += times(refuse(&gathered, number, Some(user), Refusal::Login, now));
            }
        }
        let rest = gathered.rest(SystemTime::now());
        assert_eq!(rest.len(), MAX_LAST);
        assert_eq!(at_once + times(rest), 600);
        assert!(gathered.rest(SystemTime::now()).is_empty());
    }

    #[test]
    fn memory_is_bounded_however_many_are_refused() {
        let now = Instant::now();
        let gathered = Visits::new(now);
        for number in 0..20_000 {
            refuse(&gathered, number, Some("root"), Refusal::Login, now);
            refuse(&gathered, 1, Some(&number.to_string()), Refusal::Login, now);
        }
        let books = gathered.lock();
        assert_eq!(books.refused.len(), MAX_PEERS);
        assert!(books.untold > 0);
        assert!(books.refused[&peer(1)].waiting.len() <= MAX_KINDS + Refusal::ALL.len());
        let kinds: usize = books.refused.values().map(|refused| refused.waiting.len()).sum();
        assert!(kinds <= MAX_KINDS_OF_ALL + MAX_PEERS, "{kinds}");
    }

    #[test]
    fn a_flood_of_peers_fills_no_log() {
        let now = Instant::now();
        let gathered = Visits::new(now);
        let day = 24 * 60 * 60;
        let each = |second: u32| {
            let at = now + SECOND * second;
            let entry = refuse(&gathered, second, None, Refusal::Network, at);
            let due =
                if second.is_multiple_of(10) { gathered.due(at, SystemTime::now()) } else { Vec::new() };
            entry.into_iter().chain(due)
        };
        let told = visits((0..day).flat_map(each));
        assert!(told.len() <= 60 + 2880, "{}", told.len());
        let counted: u64 = told.iter().map(|(_, times, untold)| times + untold).sum();
        assert_eq!(counted + times(gathered.rest(SystemTime::now())), u64::from(day));
    }

    #[test]
    fn who_comes_in_is_told_once_also_in_a_flood() {
        let now = Instant::now();
        let gathered = Visits::new(now);
        (0..1000).for_each(|number| drop(refuse(&gathered, number, None, Refusal::Network, now)));
        let who = |name: &str| Who { user: Some(name.to_owned()), ..Who::anonymous() };
        let admit =
            |number, who: &Who| gathered.admitted(peer(number), who, now, SystemTime::now()).is_some();
        assert!(admit(1, &who("prom")) && !admit(1, &who("prom")));
        assert!(admit(2, &who("prom")) && admit(1, &who("alice")));
        assert!(!admit(1, &Who::anonymous()));
    }

    #[test]
    fn who_comes_in_from_everywhere_hides_nobody_else_and_is_counted() {
        let now = Instant::now();
        let visits = Visits::new(now);
        let who = |name: &str| Who { user: Some(name.to_owned()), ..Who::anonymous() };
        let admit = |number, name: &str, at| visits.admitted(peer(number), &who(name), at, SystemTime::now());
        let told: u64 = times((0..100).filter_map(|number| admit(number, "bob", now)));
        assert_eq!(told, u64::from(MAX_RECORDS));
        assert_eq!(times(admit(7, "prom", now)), 1, "others have records of their own");
        let later = told_of(admit(100, "bob", now + REFILL));
        assert_eq!((later.times, later.untold), (1, 40));
        for number in 0..1_000 {
            admit(number, &format!("name {number}"), now);
        }
        assert_eq!(visits.lock().logins.len(), MAX_NAMES + 1);
    }

    fn told_of(entry: Option<Entry>) -> Visit {
        told(entry).pop().expect("a record")
    }
}
