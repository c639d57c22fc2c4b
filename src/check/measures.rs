use std::collections::BTreeMap;

use super::ranges::Range;
use crate::asking::answers::{Counts, Share, Status};

/// What is counted or measured, and can have thresholds. Names are an interface: monitoring makes its graphs by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    /// Drift of severity critical and warning, which is what pages.
    Drift,
    Critical,
    Warning,
    Info,
    /// Of all severities.
    Gone,
    Listeners,
    /// Seconds since the sensor was heard of.
    Age,
    /// Percent of what was looked for that was seen.
    Coverage,
    /// Seconds that the check took.
    Time,
}

impl Measure {
    /// As options and JSON write it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Measure::Drift => "drift",
            Measure::Critical => "drift-critical",
            Measure::Warning => "drift-warning",
            Measure::Info => "drift-info",
            Measure::Gone => "drift-gone",
            Measure::Listeners => "listeners",
            Measure::Age => "age",
            Measure::Coverage => "coverage",
            Measure::Time => "time",
        }
    }
}

/// Of which values of each measure is told as WARNING, and as CRITICAL.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Thresholds {
    warning: BTreeMap<Measure, Range>,
    critical: BTreeMap<Measure, Range>,
    /// Those that somebody gave.
    given: Vec<Measure>,
}

impl Thresholds {
    /// Any critical drift is CRITICAL and any warning drift is WARNING, unless somebody gave a threshold of that measure and
    /// state, or one of all drift for that state. Critical drift for which CRITICAL was given away is still a WARNING.
    pub(super) fn of(warning: BTreeMap<Measure, Range>, critical: BTreeMap<Measure, Range>) -> Self {
        let given = warning.keys().chain(critical.keys()).copied().collect();
        let with = |mut ranges: BTreeMap<Measure, Range>, usual: &[Measure]| {
            if !ranges.contains_key(&Measure::Drift) {
                for measure in usual {
                    ranges.entry(*measure).or_insert_with(|| Range::up_to(0));
                }
            }
            ranges
        };
        Thresholds {
            warning: with(warning, &[Measure::Critical, Measure::Warning]),
            critical: with(critical, &[Measure::Critical]),
            given,
        }
    }

    /// What was to be held against a threshold and is not known.
    pub(super) fn unmet<'a>(&'a self, figures: &'a [Figure]) -> impl Iterator<Item = Measure> + 'a {
        let is_known = |measure: &&Measure| figures.iter().any(|figure| figure.measure == **measure);
        self.given.iter().filter(move |measure| !is_known(measure)).copied()
    }
}

/// A value that is told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    pub(super) measure: Measure,
    /// Of coverage: of what.
    pub(super) instance: Option<String>,
    pub(super) value: f64,
    pub(super) warning: Option<Range>,
    pub(super) critical: Option<Range>,
}

impl Figure {
    pub(super) fn warns(&self) -> bool {
        self.warning.as_ref().is_some_and(|range| range.tells_of(self.value))
    }

    pub(super) fn is_critical(&self) -> bool {
        self.critical.as_ref().is_some_and(|range| range.tells_of(self.value))
    }

    /// `coverage of sockets 80 is not within 90:`, unless it is drift by the usual thresholds, which the counts tell.
    pub(super) fn reason(&self, thresholds: &Thresholds) -> Option<String> {
        let range = match (self.is_critical(), self.warns()) {
            (true, _) => self.critical.as_ref(),
            (false, true) => self.warning.as_ref(),
            (false, false) => None,
        }?;
        let instance = self.instance.as_ref().map(|instance| format!(" of {instance}")).unwrap_or_default();
        let told = || format!("{}{instance} {} is {}", self.measure.word(), self.value, range.reason());
        thresholds.given.contains(&self.measure).then(told)
    }
}

/// What is known by now. Counts of drift are no figures where nothing is judged, or nobody knows whether they still hold.
pub(super) fn figures(
    status: &Status,
    drifts: Option<Counts>,
    listeners: Option<u64>,
    thresholds: &Thresholds,
) -> Vec<Figure> {
    let mut values: Vec<(Measure, Option<String>, f64)> = Vec::new();
    let mut add = |measure, value| values.push((measure, None, value));
    if let Some(Counts { critical, warning, info }) = drifts {
        add(Measure::Critical, count(critical.open));
        add(Measure::Warning, count(warning.open));
        add(Measure::Info, count(info.open));
        let gone =
            [critical, warning, info].into_iter().fold(0_u64, |sum, each| sum.saturating_add(each.gone));
        add(Measure::Gone, count(gone));
        add(Measure::Drift, count(critical.open.saturating_add(warning.open)));
    }
    if let Some(listeners) = listeners {
        add(Measure::Listeners, count(listeners));
    }
    if let Some(silent) = status.sensor.silent_seconds {
        add(Measure::Age, count(silent));
    }
    if let Some(coverage) = status.coverage.as_ref().filter(|_| status.is_ready()) {
        let shares = coverage.shares.iter();
        values.extend(
            shares.map(|(scope, share)| (Measure::Coverage, Some(scope.to_string()), percent(*share))),
        );
    }
    let figure = |(measure, instance, value): (Measure, Option<String>, f64)| {
        // One look learns of no events, and a kernel without hooks of few: what that means the gaps tell.
        let is_judged = instance.as_deref() != Some("events");
        let of = |ranges: &BTreeMap<Measure, Range>| ranges.get(&measure).filter(|_| is_judged).cloned();
        let (warning, critical) = (of(&thresholds.warning), of(&thresholds.critical));
        Figure { measure, instance, value, warning, critical }
    };
    values.into_iter().map(figure).collect()
}

/// Exact up to what no host has.
pub(super) fn count(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// In tenths and never rounded up: what is not all must not look so. Of nothing, all was seen.
fn percent(share: Share) -> f64 {
    let (seen, of) = (u128::from(share.seen.min(share.of)), u128::from(share.of));
    let tenths = (seen * 1000).checked_div(of).unwrap_or(1000);
    f64::from(u16::try_from(tenths).unwrap_or(1000)) / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_one_is_not_all() {
        for (seen, of, expected) in [
            (0, 0, 100.0),
            (1, 3, 33.3),
            (9_999_999, 10_000_000, 99.9),
            (5, 4, 100.0),
            (u64::MAX, u64::MAX, 100.0),
        ] {
            assert_eq!(percent(Share { seen, of }), expected, "{seen}/{of}");
        }
    }

    #[test]
    fn a_threshold_that_is_given_takes_the_place_of_one() {
        let ranges = |given: &[(Measure, &str)]| -> BTreeMap<Measure, Range> {
            given.iter().map(|(measure, range)| (*measure, range.parse().unwrap())).collect()
        };
        let states = |warning: &[_], critical: &[_], drifts: &[(Measure, f64)]| {
            let thresholds = Thresholds::of(ranges(warning), ranges(critical));
            let tells = |ranges: &BTreeMap<Measure, Range>| {
                drifts
                    .iter()
                    .any(|(measure, value)| ranges.get(measure).is_some_and(|range| range.tells_of(*value)))
            };
            (tells(&thresholds.warning), tells(&thresholds.critical))
        };
        let drifts = |critical: f64, warning: f64| {
            [(Measure::Critical, critical), (Measure::Warning, warning), (Measure::Drift, critical + warning)]
        };
        assert_eq!(states(&[], &[], &drifts(0.0, 0.0)), (false, false));
        assert_eq!(states(&[], &[], &drifts(0.0, 1.0)), (true, false));
        assert_eq!(states(&[], &[], &drifts(1.0, 0.0)), (true, true));
        let (w, c) = ([(Measure::Drift, "3")], [(Measure::Drift, "10")]);
        assert_eq!(states(&w, &c, &drifts(2.0, 1.0)), (false, false));
        assert_eq!(states(&w, &c, &drifts(2.0, 2.0)), (true, false));
        assert_eq!(states(&w, &c, &drifts(2.0, 9.0)), (true, true));
        // Critical drift that is not CRITICAL any more is told all the same.
        assert_eq!(states(&[], &c, &drifts(5.0, 0.0)), (true, false));
        assert_eq!(states(&[], &[(Measure::Critical, "5")], &drifts(3.0, 0.0)), (true, false));
        assert_eq!(states(&[(Measure::Warning, "5")], &[], &drifts(0.0, 3.0)), (false, false));
        assert_eq!(states(&w, &[], &drifts(1.0, 0.0)), (false, true));
    }
}
