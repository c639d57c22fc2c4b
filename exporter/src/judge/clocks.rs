use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::warn;

use super::Judge;

/// By how much the clock goes ahead at once where it was set: no correction of a clock that runs is as large.
pub(crate) const LEAP: Duration = Duration::from_secs(60);

/// What the clock and the steady one showed when they were last compared.
#[derive(Default)]
pub(super) struct Clocks {
    compared: Option<(SystemTime, Instant)>,
}

impl Clocks {
    /// By how much the clock went ahead of the time that passed since they were last compared; `None` where it just ran.
    pub(super) fn leap(&mut self, now: SystemTime, steady: Instant) -> Option<Duration> {
        let (then, began) = self.compared.replace((now, steady))?;
        let passed = steady.saturating_duration_since(began);
        let leap = now.duration_since(then).unwrap_or_default().saturating_sub(passed);
        (leap >= LEAP).then_some(leap)
    }
}

impl Judge {
    /// The time to judge by, to which a leap of the clock made nothing older.
    pub(super) fn now(&mut self) -> SystemTime {
        let now = SystemTime::now();
        self.compare_clocks(now, Instant::now());
        now
    }

    /// A day after something was gone is a day that passed, not one that the clock leapt over.
    pub(super) fn compare_clocks(&mut self, now: SystemTime, steady: Instant) {
        let Some(leap) = self.clocks.leap(now, steady) else { return };
        warn!("the clock went ahead by {} s: what is gone is not taken to be older", leap.as_secs());
        let mut snapshot = self.publish.borrow().clone();
        Arc::make_mut(&mut snapshot.register).clock_went_ahead(leap);
        self.scribe.keep_register(snapshot.register.clone());
        self.publish(snapshot);
    }
}
