//! Who was let in before, and who came in vain: remembered for a while, and of no more than so many.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Instant;
use crate::http::who::Peer;

/// How many who were let in are remembered, and for how long: twice as many, and twice as long, where they come again.
const LET_IN: (usize, Duration) = (1024, Duration::from_secs(60 * 60));
/// Likewise of those who came in vain.
const IN_VAIN: (usize, Duration) = (4096, Duration::from_secs(5 * 60));

/// Where a crowd stands: the smaller goes before the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::http) enum Standing {
    /// Was answered before.
    LetIn,
    /// Was not, and came so often in vain.
    Stranger(u8),
}

/// Where all crowds stand.
pub(super) struct Standings {
    let_in: Remembered,
    in_vain: Remembered,
}

/// How often somebody came. Whoever does not come again is forgotten after one to two ages, or when as many others came.
struct Remembered {
    most: usize,
    age: Duration,
    since: Option<Instant>,
    young: BTreeMap<Peer, u8>,
    old: BTreeMap<Peer, u8>,
}

impl Standing {
    pub(in crate::http) fn is_stranger(self) -> bool {
        self != Standing::LetIn
    }
}

impl Default for Standings {
    fn default() -> Self {
        Standings { let_in: Remembered::new(LET_IN), in_vain: Remembered::new(IN_VAIN) }
    }
}

impl Standings {
    pub(super) fn of(&mut self, crowd: Peer, now: Instant) -> Standing {
        match self.let_in.times(crowd, now) {
            0 => Standing::Stranger(self.in_vain.times(crowd, now)),
            _ => Standing::LetIn,
        }
    }

    pub(super) fn let_in(&mut self, crowd: Peer, now: Instant) {
        self.let_in.add(crowd, now);
    }

    pub(super) fn came_in_vain(&mut self, crowd: Peer, now: Instant) {
        self.in_vain.add(crowd, now);
    }
}

impl Remembered {
    fn new((most, age): (usize, Duration)) -> Self {
        Remembered { most, age, since: None, young: BTreeMap::new(), old: BTreeMap::new() }
    }

    /// Times of long ago count half, so that who comes seldom stands better than who comes all the time.
    fn times(&mut self, crowd: Peer, now: Instant) -> u8 {
        self.pass(now);
        let old = || self.old.get(&crowd).map_or(0, |times| times.div_ceil(2));
        self.young.get(&crowd).copied().unwrap_or_else(old)
    }

    fn add(&mut self, crowd: Peer, now: Instant) {
        let times = self.times(crowd, now).saturating_add(1);
        if self.young.len() >= self.most && !self.young.contains_key(&crowd) {
            self.grow_old(now);
        }
        self.young.insert(crowd, times);
    }

    fn pass(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        if passed >= self.age {
            self.grow_old(now);
        }
        if passed >= self.age * 2 {
            self.old.clear();
        }
    }

    fn grow_old(&mut self, now: Instant) {
        self.old = std::mem::take(&mut self.young);
        self.since = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u32) -> Peer {
        Peer::at(std::net::IpAddr::from(number.to_be_bytes()))
    }

    #[test]
    fn who_was_let_in_goes_before_strangers_and_they_by_how_often_they_came_in_vain() {
        let (mut standings, now) = (Standings::default(), Instant::now());
        (0..3).for_each(|_| standings.came_in_vain(peer(1), now));
        (0..999).for_each(|_| standings.came_in_vain(peer(2), now));
        standings.came_in_vain(peer(3), now);
        standings.let_in(peer(3), now);
        let mut order: Vec<_> = [1, 2, 3, 4].map(|number| (standings.of(peer(number), now), number)).into();
        order.sort();
        assert_eq!(order.into_iter().map(|(_, number)| number).collect::<Vec<_>>(), [3, 4, 1, 2]);
    }

    #[test]
    fn whoever_does_not_come_again_is_forgotten() {
        let (mut standings, now) = (Standings::default(), Instant::now());
        let (_, hour) = LET_IN;
        (1..=3).for_each(|number| standings.let_in(peer(number), now));
        standings.let_in(peer(2), now + hour);
        (0..9).for_each(|_| standings.came_in_vain(peer(4), now + hour));
        assert_eq!(standings.of(peer(1), now + hour), Standing::LetIn);
        assert_eq!(standings.of(peer(4), now + hour + IN_VAIN.1), Standing::Stranger(5));
        let later = now + hour * 2;
        assert_eq!(
            [1, 2, 4].map(|number| standings.of(peer(number), later)),
            [Standing::Stranger(0), Standing::LetIn, Standing::Stranger(0)]
        );
        assert_eq!(standings.of(peer(2), now + hour * 9), Standing::Stranger(0));
    }

    #[test]
    fn memory_is_bounded_and_who_comes_again_stays_in_it() {
        let (mut standings, now) = (Standings::default(), Instant::now());
        for number in 1..100_000 {
            if number % 1000 == 0 {
                standings.let_in(peer(0), now);
            }
            standings.let_in(peer(number), now);
            standings.came_in_vain(peer(number), now);
        }
        assert_eq!(standings.of(peer(0), now), Standing::LetIn);
        assert_eq!(standings.of(peer(1), now), Standing::Stranger(0));
        for (remembered, most) in [(standings.let_in, LET_IN.0), (standings.in_vain, IN_VAIN.0)] {
            assert!(remembered.young.len() <= most && remembered.old.len() <= most);
        }
    }
}
