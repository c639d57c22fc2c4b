use std::time::Instant;

use super::file::RateLimit;

/// A bucket that holds `burst` tokens and is given one each `interval`; a request takes one.
///
/// As in the toolkit, a burst of 0 lets nothing pass and a negative interval everything.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// In seconds.
    interval: f64,
    burst: f64,
    tokens: f64,
    filled_at: Instant,
}

impl Bucket {
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn new(limit: RateLimit, now: Instant) -> Self {
        let burst = limit.burst.0.max(0) as f64;
        Bucket { interval: limit.interval.0 as f64 / 1e9, burst, tokens: burst, filled_at: now }
    }

    /// False for the request that is one too many.
    pub(crate) fn lets_pass(&mut self, now: Instant) -> bool {
        if self.interval < 0.0 {
            return true;
        }
        let since = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens = self.burst.min(self.tokens + since / self.interval);
        self.filled_at = now;
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::values::{Count, Span};
    use super::*;

    fn bucket(interval: Duration, burst: i64, now: Instant) -> Bucket {
        let interval = Span(interval.as_nanos().try_into().unwrap());
        Bucket::new(RateLimit { interval, burst: Count(burst) }, now)
    }

    #[test]
    fn lets_a_burst_pass_and_then_one_each_interval() {
        let start = Instant::now();
        let mut bucket = bucket(Duration::from_secs(1), 3, start);
        let mut at = |milliseconds| bucket.lets_pass(start + Duration::from_millis(milliseconds));
        assert_eq!([at(0), at(0), at(0), at(0), at(500)], [true, true, true, false, false]);
        assert_eq!([at(1000), at(1001), at(2000)], [true, false, true]);
        // Whoever waits long saves no more than a burst.
        assert_eq!([at(60_000), at(60_000), at(60_000), at(60_000)], [true, true, true, false]);
    }

    #[test]
    fn a_burst_of_nothing_lets_nothing_pass() {
        let start = Instant::now();
        let mut shut = bucket(Duration::from_secs(1), 0, start);
        assert!((0..10).all(|second| !shut.lets_pass(start + Duration::from_secs(second))));
        let mut shut = bucket(Duration::from_secs(1), -5, start);
        assert!(!shut.lets_pass(start));
        let mut open = Bucket::new(RateLimit { interval: Span(-1), burst: Count(0) }, start);
        assert!(open.lets_pass(start));
    }
}
