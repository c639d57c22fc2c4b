//! How many are served at a time, and who has to go when more come.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::counts::Refusal;
use super::who::Peer;

/// How many are served at a time.
const MAX_SEATS: usize = 64;
/// How many of them one peer may have. A Prometheus has one, and a few may share an address.
const MAX_OF_PEER: usize = 16;
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
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    seats: BTreeMap<u64, (Peer, Arc<State>)>,
}

/// One connection's place. Dropped, it is free for another.
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
    state: Arc<State>,
}

/// How far a connection is.
pub(super) struct State {
    began: Instant,
    stage: Mutex<Stage>,
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
        Arc::new(Seats { most, taken: Mutex::default() })
    }

    /// Finds a seat, if need be that of somebody who keeps others waiting: of the same peer where that has enough, else
    /// of the peer who has most, who also gives up one that is being answered where that makes them more equal. With the
    /// seat comes who pays for it, or who has to go without.
    pub(super) fn take(
        self: &Arc<Self>,
        peer: Peer,
        now: Instant,
    ) -> (Option<Seat>, Option<(Peer, Refusal)>) {
        let crowd = peer.crowd();
        let mut taken = self.lock();
        let of_peer = taken.seats.values().filter(|(other, _)| *other == crowd).count();
        let sent_away = if of_peer >= MAX_OF_PEER {
            Some((taken.send_away(Some(crowd), Refusal::Peer, now), Refusal::Peer))
        } else if taken.seats.len() >= self.most {
            Some((taken.make_room(of_peer, now), Refusal::Crowded))
        } else {
            None
        };
        match sent_away {
            Some((None, refusal)) => (None, Some((peer, refusal))),
            Some((Some(other), refusal)) => (Some(self.seat(&mut taken, crowd, now)), Some((other, refusal))),
            None => (Some(self.seat(&mut taken, crowd, now)), None),
        }
    }

    /// Makes room for descriptors.
    pub(super) fn free_one(&self, now: Instant) {
        self.lock().send_away(None, Refusal::Descriptors, now);
    }

    pub(crate) fn taken(&self) -> usize {
        self.lock().seats.len()
    }

    fn seat(self: &Arc<Self>, taken: &mut Taken, crowd: Peer, now: Instant) -> Seat {
        let state = Arc::new(State { began: now, stage: Mutex::new(Stage::Head), changed: Notify::new() });
        let number = taken.next;
        taken.next += 1;
        taken.seats.insert(number, (crowd, state.clone()));
        Seat { seats: self.clone(), number, state }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// For a newcomer whose peer has so many seats.
    fn make_room(&mut self, of_peer: usize, now: Instant) -> Option<Peer> {
        let mut crowds: BTreeMap<Peer, usize> = BTreeMap::new();
        self.seats.values().for_each(|(peer, _)| *crowds.entry(*peer).or_default() += 1);
        let (largest, seats) = crowds.into_iter().max_by_key(|(_, seats)| *seats)?;
        let idle = self.send_away(Some(largest), Refusal::Crowded, now);
        idle.or_else(|| {
            let oldest = self.seats.iter().find(|(_, (peer, _))| *peer == largest);
            let number = oldest.map(|(number, _)| *number).filter(|_| seats > of_peer + 1)?;
            self.remove(number, Refusal::Crowded)
        })
    }

    /// Whoever has kept us waiting longest has to go: first those who have not even asked.
    fn send_away(&mut self, of: Option<Peer>, refusal: Refusal, now: Instant) -> Option<Peer> {
        let all = self.seats.iter().filter(|(_, (peer, _))| of.is_none_or(|of| of == *peer));
        let idle = all.filter_map(|(number, (_, state))| Some((state.idles(now)?, *number)));
        let (_, number) = idle.min()?;
        self.remove(number, refusal)
    }

    fn remove(&mut self, number: u64, refusal: Refusal) -> Option<Peer> {
        let (peer, state) = self.seats.remove(&number)?;
        state.set(Stage::Gone(refusal));
        Some(peer)
    }
}

impl State {
    /// Who goes first: the smaller. `None` for who is not to blame for being here still.
    fn idles(&self, now: Instant) -> Option<(u8, Instant)> {
        match *self.stage() {
            Stage::Head | Stage::Waits => Some((0, self.began)),
            Stage::Answer(last) if now.saturating_duration_since(last) >= PATIENCE => Some((1, last)),
            Stage::Answer(_) | Stage::Work | Stage::Gone(_) => None,
        }
    }

    /// When it is cut off, and why.
    fn end(&self) -> (Instant, Refusal) {
        let whole = self.began + WHOLE;
        match *self.stage() {
            Stage::Head => (self.began + HEAD, Refusal::SlowHead),
            Stage::Answer(last) if last + STALL < whole => (last + STALL, Refusal::Stalled),
            Stage::Answer(_) | Stage::Work | Stage::Waits => (whole, Refusal::TooLong),
            Stage::Gone(refusal) => (self.began, refusal),
        }
    }

    /// Something of the answer was taken.
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

    pub(super) fn answers(&self) {
        self.go_on(Stage::Answer(Instant::now()));
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
        self.seats.lock().seats.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> Peer {
        Peer::at(std::net::IpAddr::from([192, 0, 2, number]))
    }

    #[test]
    fn one_peer_never_takes_all_seats() {
        let seats = Seats::with(64);
        let now = Instant::now();
        let greedy: Vec<_> = (0..1000).filter_map(|_| seats.take(peer(1), now).0).collect();
        assert_eq!(seats.taken(), MAX_OF_PEER);
        assert_eq!(greedy.iter().filter(|seat| seat.was_sent_away()).count(), 1000 - MAX_OF_PEER);
        let (other, cost) = seats.take(peer(2), now);
        assert!(other.is_some() && cost.is_none());
    }

    #[test]
    fn a_full_house_is_paid_for_by_whoever_has_most() {
        let seats = Seats::with(8);
        let now = Instant::now();
        let first = seats.take(peer(1), now).0.unwrap();
        let crowd: Vec<_> = (0..7).filter_map(|_| seats.take(peer(2), now).0).collect();
        let (second, cost) = seats.take(peer(3), now);
        assert!(second.is_some() && !first.was_sent_away());
        assert_eq!(cost, Some((peer(2), Refusal::Crowded)));
        assert!(crowd[0].was_sent_away() && !crowd[1].was_sent_away());
        assert_eq!(seats.taken(), 8);
        drop(crowd);
        assert_eq!(seats.taken(), 2);
    }

    #[test]
    fn whoever_is_being_answered_keeps_the_seat() {
        let seats = Seats::with(64);
        let now = Instant::now();
        let served: Vec<_> = (0..MAX_OF_PEER).filter_map(|_| seats.take(peer(1), now).0).collect();
        served.iter().for_each(|seat| seat.state().works());
        let (newcomer, cost) = seats.take(peer(1), now);
        assert!(newcomer.is_none());
        assert_eq!(cost, Some((peer(1), Refusal::Peer)));
        served.iter().for_each(|seat| seat.state().answers());
        assert!(seats.take(peer(1), now).0.is_none());
        // Who does not read what was asked for holds up the others.
        let later = now + PATIENCE * 2;
        assert!(seats.take(peer(1), later).0.is_some());
        assert_eq!(served.iter().filter(|seat| seat.was_sent_away()).count(), 1);
    }

    #[test]
    fn who_has_most_gives_up_a_seat_even_at_work() {
        let seats = Seats::with(8);
        let now = Instant::now();
        let busy: Vec<_> = (0..8).filter_map(|_| seats.take(peer(1), now).0).collect();
        busy.iter().for_each(|seat| seat.state().works());
        let second = seats.take(peer(2), now).0.unwrap();
        assert!(busy[0].was_sent_away() && !busy[1].was_sent_away());
        second.state().works();
        assert!(seats.take(peer(1), now).0.is_none());
        assert!(!second.was_sent_away());
        // Where all have as many nobody goes.
        let seats = Seats::with(4);
        let equal: Vec<_> = (0..4).filter_map(|number| seats.take(peer(number), now).0).collect();
        equal.iter().for_each(|seat| seat.state().works());
        assert!(seats.take(peer(9), now).0.is_none());
    }

    #[test]
    fn each_stage_has_its_end() {
        let seats = Seats::with(4);
        let now = Instant::now();
        let seat = seats.take(peer(1), now).0.unwrap();
        assert_eq!(seat.state.end(), (now + HEAD, Refusal::SlowHead));
        seat.state.works();
        assert_eq!(seat.state.end(), (now + WHOLE, Refusal::TooLong));
        seat.state.answers();
        assert_eq!(seat.state.end().1, Refusal::Stalled);
        seats.free_one(now + WHOLE);
        assert_eq!(seat.state.end(), (now, Refusal::Descriptors));
        seat.state.works();
        assert!(seat.was_sent_away());
    }
}
