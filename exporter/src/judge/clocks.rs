use std::time::{Duration, Instant, SystemTime};

/// By how much the clock goes ahead at once where it was set: no correction of a clock that runs is as large.
const LEAP: Duration = Duration::from_secs(60);

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
