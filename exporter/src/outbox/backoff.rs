use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// How long to wait before the next try: twice as long as before, up to a minute.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { next: FIRST }
    }
}

impl Backoff {
    /// From three quarters of the time to all of it: 300 hosts that lost one receiver do not come back at once.
    pub(crate) fn after_failure(&mut self, random: u64) -> Duration {
        let quarter = self.next / 4;
        let part = u32::try_from(random % 1000).unwrap_or_default();
        let pause = self.next - quarter * part / 1000;
        self.next = (self.next * 2).min(LONGEST);
        pause
    }

    pub(crate) fn after_success(&mut self) {
        self.next = FIRST;
    }
}

/// As random as the keys of the standard library's maps.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_each_time_and_never_longer_than_a_minute() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..8).map(|_| backoff.after_failure(0).as_millis()).collect();
        assert_eq!(pauses, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        backoff.after_success();
        assert_eq!(backoff.after_failure(999).as_millis(), 750);
        assert_ne!((random(), random()), (random(), random()));
    }
}
