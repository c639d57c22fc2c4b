use std::collections::BTreeMap;
use std::time::SystemTime;

use baseline::{Drift, DriftKind, Overdue, Remedy, Severity};
use inventory::cut;
use prometheus::proto::MetricFamily;

use super::families::{DRIFT, DRIFT_DETAILS, DRIFT_FIRST_SEEN, DRIFT_INFO, DRIFT_OVERDUE, DRIFT_PRESENT};
use super::family::{Sample, number, timestamp, truth};
use crate::alert::{Sender, Told, told};
use crate::snapshot::Snapshot;

/// How many drifts are told as series of their own.
const MAX_DRIFTS: usize = 200;
/// Letters of a text of [`DRIFT_DETAILS`].
const MAX_TEXT: usize = 200;

/// The series of open drifts.
pub(super) struct DriftSeries {
    pub(super) families: Vec<MetricFamily>,
    /// How many drifts, or collapsed groups of them, are left out of each of [`PER_DRIFT`], those for which the register
    /// had no room among them.
    pub(super) dropped: usize,
}

/// The names of the families that have a sample for each drift told.
pub(super) const PER_DRIFT: [&str; 4] =
    [DRIFT_INFO.name, DRIFT_DETAILS.name, DRIFT_PRESENT.name, DRIFT_FIRST_SEEN.name];

pub(super) fn series(snapshot: &Snapshot, now: SystemTime) -> DriftSeries {
    let register = &snapshot.register;
    let drifts: Vec<&Drift> = register.by_id().collect();
    let mut told = told(&drifts);
    let above = told.len().saturating_sub(MAX_DRIFTS);
    if above > 0 {
        told.select_nth_unstable_by(MAX_DRIFTS, Told::by_gravity);
        told.truncate(MAX_DRIFTS);
    }
    told.sort_unstable_by(Told::by_gravity);
    let (mut info, mut details, mut present, mut first_seen) = <(Vec<_>, Vec<_>, Vec<_>, Vec<_>)>::default();
    for line in &told {
        let id = line.id();
        details.push(of_details(line, &snapshot.sender));
        present.push(Sample::owned([id.clone()], truth(line.present)));
        first_seen.push(Sample::owned([id.clone()], timestamp(Some(line.first_seen))));
        let mut labels = std::iter::once(id).chain(line.labels());
        info.push(Sample::owned(std::array::from_fn::<_, 12, _>(|_| labels.next().unwrap_or_default()), 1.0));
    }
    let families = vec![
        aggregate(&drifts, register.left_out_by_kind().clone()),
        overdue(&drifts, &snapshot.sender.remedy, now),
        DRIFT_INFO.of::<12>(info),
        DRIFT_DETAILS.of(details),
        DRIFT_PRESENT.of(present),
        DRIFT_FIRST_SEEN.of(first_seen),
    ];
    DriftSeries { families, dropped: above + register.left_out() }
}

fn of_details(line: &Told<'_>, sender: &Sender) -> Sample<5> {
    let alert = sender.alert(line);
    let (started_by, approval) = (alert.started_by.unwrap_or_default(), alert.approval.unwrap_or_default());
    let texts = [started_by, approval, alert.differs.join("; ")].map(|text| cut(&text, MAX_TEXT));
    let [started_by, approval, differs] = texts;
    Sample::owned([alert.drift, started_by, approval, differs, alert.page], 1.0)
}

/// Every kind with every severity, also where there is none of it. `counts` are those that the register left out.
fn aggregate(drifts: &[&Drift], mut counts: BTreeMap<(DriftKind, Severity), usize>) -> MetricFamily {
    for drift in drifts {
        *counts.entry((drift.finding.kind, drift.finding.severity)).or_default() += 1;
    }
    DRIFT.of(super::kinds_and_severities().map(|(kind, severity)| {
        let count = counts.get(&(kind, severity)).copied().unwrap_or_default();
        Sample::new([kind.as_str(), severity.as_str()], number(count))
    }))
}

/// Of each severity that can have a time to remedy, also where it has none. What found no room is not known to be late.
fn overdue(drifts: &[&Drift], remedy: &Remedy, now: SystemTime) -> MetricFamily {
    DRIFT_OVERDUE.of(Remedy::OF.map(|severity| {
        let late = Overdue::of(severity, drifts.iter().copied(), remedy, now);
        Sample::new([severity.as_str()], number(late.map_or(0, |late| late.count)))
    }))
}

#[cfg(test)]
mod tests;
