use std::time::{Duration, SystemTime};

use crate::{Drift, Severity};

/// How long drift may be open, by severity; `None`: as long as it likes. What is info pages nobody, so that nobody can be
/// late with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remedy {
    /// What is critical.
    pub critical: Option<Duration>,
    /// What is a warning.
    pub warning: Option<Duration>,
}

impl Remedy {
    /// The severities that can have a time.
    pub const OF: [Severity; 2] = [Severity::Critical, Severity::Warning];

    fn of(&self, severity: Severity) -> Option<Duration> {
        match severity {
            Severity::Critical => self.critical,
            Severity::Warning => self.warning,
            Severity::Info => None,
        }
    }
}

/// Drift of one severity that is open for longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// That severity.
    pub severity: Severity,
    /// How many there are, at least one.
    pub count: usize,
    /// When the first of them became so.
    pub since: SystemTime,
}

impl Overdue {
    /// What of these is overdue of this severity; `None` where nothing is.
    pub fn of<'a>(
        severity: Severity,
        drifts: impl IntoIterator<Item = &'a Drift>,
        remedy: &Remedy,
        now: SystemTime,
    ) -> Option<Self> {
        remedy.of(severity)?;
        let of_it = drifts.into_iter().filter(|drift| drift.finding.severity == severity);
        let late = of_it.filter_map(|drift| remedy_by(drift, remedy)).filter(|by| *by <= now);
        let (count, since) = late.fold((0, now), |(count, since), by| (count + 1, since.min(by)));
        (count > 0).then_some(Overdue { severity, count, since })
    }
}

/// When somebody must have done with an open drift, counted from when it was first seen: also of one that is gone, which
/// is as open as before. `None` where its severity has no time.
pub fn remedy_by(drift: &Drift, remedy: &Remedy) -> Option<SystemTime> {
    drift.first_seen.checked_add(remedy.of(drift.finding.severity)?)
}
