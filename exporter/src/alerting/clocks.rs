use std::time::{Duration, Instant, SystemTime};

/// What two clocks say at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    pub(crate) ours: SystemTime,
    /// Where it is known.
    pub(crate) theirs: Option<SystemTime>,
}

/// A receiver's clock as its last answer told it, to the second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TheirClock {
    told: SystemTime,
    at: Instant,
}

impl Clocks {
    /// What both say has passed.
    pub(crate) fn earliest(self) -> SystemTime {
        self.theirs.map_or(self.ours, |theirs| theirs.min(self.ours))
    }

    /// What none says is still to come but one.
    pub(crate) fn latest(self) -> SystemTime {
        self.theirs.map_or(self.ours, |theirs| theirs.max(self.ours))
    }
}

impl TheirClock {
    pub(crate) fn new(told: SystemTime, at: Instant) -> Self {
        TheirClock { told, at }
    }

    /// What it says at least.
    pub(crate) fn at(self, now: Instant) -> SystemTime {
        let since: Duration = now.saturating_duration_since(self.at);
        self.told.checked_add(since).unwrap_or(self.told)
    }
}
