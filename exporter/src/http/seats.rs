//! How many are served at a time, and who has to go when more come.

mod standing;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

pub(super) use standing::Standing;
use standing::Standings;

use super::counts::Refusal;
use super::who::Peer;

/// How many are served at a time.
const MAX_SEATS: usize = 64;
/// How many of them one peer may have. A Prometheus has one, and a few may share an address.
const MAX_OF_PEER: usize = 16;
/// One in so many is for those who were let in before.
const KEPT: usize = 4;
/// How long a client may take to shake hands and send its request's head.
const HEAD: Duration = Duration::from_secs(2);
/// How long nothing of an answer may be taken.
const STALL: Duration = Duration::from_secs(5);
/// After this time without progress others go before.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it may take to ask and be answered.
const WHOLE: Duration = Duration::from_secs(30);

/// All seats there are.
pub(crate) struct Seats {
    most: usize,
    /// How many those may have together who were not let in before.
    for_strangers: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    seats: BTreeMap<u64, (Peer, Arc<State>)>,
    standings: Standings,
}

/// What a seat's claim is worth.
struct Claim {
    number: u64,
    crowd: Peer,
    standing: Standing,
    /// How many seats its crowd has.
    of_crowd: usize,
    /// How far it is, and since when.
    stays: (Stays, Instant),
}

/// Why somebody is here still; the smaller goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stays {
    /// Has not asked, or must not yet.
    ToAsk,
    /// Was answered, and takes nothing of it or must not have more.
    Idle,
    /// Is not to blame for it.
    ToBeServed,
}

/// One connection's place. Dropped, it is free for another.
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
    crowd: Peer,
    state: Arc<State>,
}

/// How far a connection is.
pub(super) struct State {
    began: Instant,
    stage: Mutex<Stage>,
    /// Something was answered that is not for everybody, or there is nothing but that.
    let_in: AtomicBool,
    changed: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has not asked yet.
    Head,
    /// Whether it may ask at all is held back.
    Waits,
    /// What it asked for is being made.
    Work,
    /// It is told the answer, of which it took something then.
    Answer(Instant),
    /// It is told that it may not have what it asked for.
    Refused(Instant),
    /// It was sent away.
    Gone(Refusal),
}

impl Seats {
    /// As many as there are descriptors for, and some to spare for logs and the sensor.
    pub(crate) fn new() -> Arc<Self> {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let descriptors = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        Seats::with(MAX_SEATS.min(descriptors / 4).max(4))
    }

    fn with(most: usize) -> Arc<Self> {
        let for_strangers = most - most.div_ceil(KEPT);
        Arc::new(Seats { most, for_strangers, taken: Mutex::default() })
    }

    /// Finds a seat, if need be that of somebody who keeps others waiting. With the seat comes who pays for it, or who has
    /// to go without.
    pub(super) fn take(
        self: &Arc<Self>,
        peer: Peer,
        now: Instant,
    ) -> (Option<Seat>, Option<(Peer, Refusal)>) {
        let crowd = peer.crowd();
        let mut taken = self.lock();
        let standing = taken.standings.of(crowd, now);
        let mut claims = taken.claims(now);
        let of_crowd = claims.iter().filter(|claim| claim.crowd == crowd).count();
        let strangers = claims.iter().filter(|claim| claim.standing.is_stranger()).count();
        let sent_away = if of_crowd >= MAX_OF_PEER {
            claims.retain(|claim| claim.crowd == crowd);
            Some((idlest(&claims), Refusal::Peer))
        } else if standing.is_stranger() && strangers >= self.for_strangers {
            claims.retain(|claim| claim.standing.is_stranger());
            Some((makes_room(&claims, standing, of_crowd), Refusal::Crowded))
        } else if claims.len() >= self.most {
            Some((makes_room(&claims, standing, of_crowd), Refusal::Crowded))
        } else {
            None
        };
        let cost = match sent_away {
            None => None,
            Some((None, refusal)) => return (None, Some((peer, refusal))),
            Some((Some(number), refusal)) => taken.remove(number, refusal).map(|payer| (payer, refusal)),
        };
        (Some(self.seat(&mut taken, crowd, now)), cost)
    }

    /// Makes room for descriptors.
    pub(super) fn free_one(&self, now: Instant) {
        let mut taken = self.lock();
        if let Some(number) = idlest(&taken.claims(now)) {
            taken.remove(number, Refusal::Descriptors);
        }
    }

    pub(super) fn standing(&self, peer: Peer, now: Instant) -> Standing {
        self.lock().standings.of(peer.crowd(), now)
    }

    /// Whoever has this address is let in again, whatever others do.
    pub(super) fn remember(&self, peer: Peer, now: Instant) {
        self.lock().standings.let_in(peer.crowd(), now);
    }

    pub(crate) fn taken(&self) -> usize {
        self.lock().seats.len()
    }

    fn seat(self: &Arc<Self>, taken: &mut Taken, crowd: Peer, now: Instant) -> Seat {
        let state = Arc::new(State::new(now));
        let number = taken.next;
        taken.next += 1;
        taken.seats.insert(number, (crowd, state.clone()));
        Seat { seats: self.clone(), number, crowd, state }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose seat goes to a newcomer of this standing whose crowd has so many: that of a stranger who waits and does not stand
/// better, of any stranger where the newcomer is none; else one even at work of who has most, where that makes them more
/// equal.
fn makes_room(claims: &[Claim], standing: Standing, of_crowd: usize) -> Option<u64> {
    let yields = |claim: &&Claim| match claim.stays.0 {
        Stays::ToBeServed => claim.standing.is_stranger() && !standing.is_stranger(),
        Stays::ToAsk | Stays::Idle => claim.standing >= standing,
    };
    let worst = claims.iter().filter(yields).min_by_key(|claim| claim.worth());
    let larger = claims.iter().filter(|claim| claim.of_crowd > of_crowd + 1);
    let found = worst.or_else(|| larger.min_by_key(|claim| (Reverse(claim.of_crowd), claim.worth())));
    found.map(|claim| claim.number)
}

/// Who keeps us waiting and has the least reason to.
fn idlest(claims: &[Claim]) -> Option<u64> {
    let idle = claims.iter().filter(|claim| claim.stays.0 != Stays::ToBeServed);
    idle.min_by_key(|claim| claim.worth()).map(|claim| claim.number)
}

impl Claim {
    /// Who goes first: the smaller. Addresses do not count, since anybody may have a low one.
    fn worth(&self) -> impl Ord + use<> {
        let works = self.stays.0 == Stays::ToBeServed;
        (Reverse(self.standing), works, Reverse(self.of_crowd), self.stays, self.number)
    }
}

impl Taken {
    fn claims(&mut self, now: Instant) -> Vec<Claim> {
        let mut crowds: BTreeMap<Peer, usize> = BTreeMap::new();
        self.seats.values().for_each(|(crowd, _)| *crowds.entry(*crowd).or_default() += 1);
        let standings = &mut self.standings;
        let claims = self.seats.iter().map(|(number, (crowd, state))| Claim {
            number: *number,
            crowd: *crowd,
            standing: standings.of(*crowd, now),
            of_crowd: crowds.get(crowd).copied().unwrap_or_default(),
            stays: state.stays(now),
        });
        claims.collect()
    }

    fn remove(&mut self, number: u64, refusal: Refusal) -> Option<Peer> {
        let (peer, state) = self.seats.remove(&number)?;
        state.set(Stage::Gone(refusal));
        Some(peer)
    }
}

impl State {
    fn new(now: Instant) -> Self {
        let (stage, let_in, changed) = (Mutex::new(Stage::Head), AtomicBool::new(false), Notify::new());
        State { began: now, stage, let_in, changed }
    }

    fn stays(&self, now: Instant) -> (Stays, Instant) {
        match *self.stage() {
            Stage::Head | Stage::Waits => (Stays::ToAsk, self.began),
            Stage::Refused(since) => (Stays::Idle, since),
            Stage::Answer(last) if now.saturating_duration_since(last) >= PATIENCE => (Stays::Idle, last),
            Stage::Answer(_) | Stage::Work | Stage::Gone(_) => (Stays::ToBeServed, self.began),
        }
    }

    /// When it is cut off, and why.
    fn end(&self) -> (Instant, Refusal) {
        let whole = self.began + WHOLE;
        match *self.stage() {
            Stage::Head => (self.began + HEAD, Refusal::SlowHead),
            Stage::Answer(last) | Stage::Refused(last) if last + STALL < whole => {
                (last + STALL, Refusal::Stalled)
            }
            Stage::Answer(_) | Stage::Refused(_) | Stage::Work | Stage::Waits => (whole, Refusal::TooLong),
            Stage::Gone(refusal) => (self.began, refusal),
        }
    }

    /// The next piece of an answer is wanted.
    pub(super) fn progress(&self) {
        let mut stage = self.stage();
        if let Stage::Answer(last) = &mut *stage {
            *last = Instant::now();
        }
    }

    pub(super) fn works(&self) {
        self.go_on(Stage::Work);
    }

    pub(super) fn waits(&self) {
        self.go_on(Stage::Waits);
    }

    /// Whoever is answered over a connection is not refused any more over it.
    pub(super) fn answers(&self) {
        self.let_in.store(true, Ordering::Relaxed);
        self.go_on(Stage::Answer(Instant::now()));
    }

    pub(super) fn refuses(&self) {
        let now = Instant::now();
        let was_let_in = self.let_in.load(Ordering::Relaxed);
        self.go_on(if was_let_in { Stage::Answer(now) } else { Stage::Refused(now) });
    }

    /// Who was sent away stays so.
    fn go_on(&self, to: Stage) {
        let mut stage = self.stage();
        if !matches!(*stage, Stage::Gone(_)) {
            *stage = to;
            drop(stage);
            self.changed.notify_one();
        }
    }

    fn set(&self, to: Stage) {
        *self.stage() = to;
        self.changed.notify_one();
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    pub(super) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Returns when the connection is to be cut off, with the reason.
    pub(super) async fn end(&self) -> Refusal {
        loop {
            let (end, refusal) = self.state.end();
            if end <= Instant::now() {
                return refusal;
            }
            tokio::select! {
                () = tokio::time::sleep_until(end) => {}
                () = self.state.changed.notified() => {}
            }
        }
    }

    /// Whoever made it go has counted it already.
    pub(super) fn was_sent_away(&self) -> bool {
        matches!(*self.state.stage(), Stage::Gone(_))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        taken.seats.remove(&self.number);
        if !self.state.let_in.load(Ordering::Relaxed) {
            taken.standings.came_in_vain(self.crowd, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests;
