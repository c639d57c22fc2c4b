use std::collections::BTreeMap;
use std::time::SystemTime;

use baseline::{Drift, DriftKind, Register, Severity};
use inventory::RawText;
use prometheus::proto::MetricFamily;
use sha2::{Digest, Sha256};

use super::families::{DRIFT, DRIFT_FIRST_SEEN, DRIFT_INFO, DRIFT_PRESENT};
use super::family::{Sample, number, timestamp, truth};
use super::join;

/// How many drifts are told as series of their own.
const MAX_DRIFTS: usize = 200;
/// How many may differ in port alone before they are told as one.
const MAX_ALIKE: usize = 20;
/// The place of `port` among the labels of [`DRIFT_INFO`], without the first.
const PORT: usize = 4;

/// The series of open drifts.
pub(super) struct DriftSeries {
    pub(super) families: Vec<MetricFamily>,
    /// How many drifts, or collapsed groups of them, are left out of each of [`PER_DRIFT`], those for which the register
    /// had no room among them.
    pub(super) dropped: usize,
}

/// The names of the families that have a sample for each drift told.
pub(super) const PER_DRIFT: [&str; 3] = [DRIFT_INFO.name, DRIFT_PRESENT.name, DRIFT_FIRST_SEEN.name];

/// One line of `portledger_drift_info`.
struct Line {
    id: String,
    /// Everything but the id.
    labels: [String; 11],
    present: bool,
    first_seen: SystemTime,
}

pub(super) fn series(register: &Register) -> DriftSeries {
    let drifts: Vec<&Drift> = register.drifts().collect();
    let told = collapse(drifts.iter().map(|drift| line(drift)).collect());
    let above = told.len().saturating_sub(MAX_DRIFTS);
    let told = &told[..told.len() - above];
    let info = |line: &Line| {
        let mut labels = line.labels.iter().cloned();
        let labels =
            std::array::from_fn(
                |place| if place == 0 { line.id.clone() } else { labels.next().unwrap_or_default() },
            );
        Sample::owned(labels, 1.0)
    };
    let families = vec![
        aggregate(&drifts, register.left_out_by_kind().clone()),
        DRIFT_INFO.of::<12>(told.iter().map(info)),
        DRIFT_PRESENT.of(told.iter().map(|line| Sample::owned([line.id.clone()], truth(line.present)))),
        DRIFT_FIRST_SEEN
            .of(told.iter().map(|line| Sample::owned([line.id.clone()], timestamp(Some(line.first_seen))))),
    ];
    DriftSeries { families, dropped: above + register.left_out() }
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

fn line(drift: &Drift) -> Line {
    let finding = &drift.finding;
    let subject = &finding.subject;
    Line {
        id: finding.id.to_string(),
        labels: [
            finding.kind.as_str().to_owned(),
            finding.severity.as_str().to_owned(),
            subject.protocol.as_str().to_owned(),
            subject.address.to_string(),
            subject.port.to_string(),
            join(&subject.programs),
            join(&subject.users.iter().map(|user| RawText::from(user.as_str())).collect::<Vec<_>>()),
            join(&subject.workloads),
            subject.netns.escaped(),
            subject.reach.map_or("", |reach| reach.as_str()).to_owned(),
            RawText::from(finding.team.as_deref().unwrap_or_default()).escaped(),
        ],
        present: drift.gone_since.is_none(),
        first_seen: drift.first_seen,
    }
}

/// Makes one of those that differ in port alone where they are many, at the place of the first.
fn collapse(lines: Vec<Line>) -> Vec<Line> {
    let mut alike: BTreeMap<[String; 11], usize> = BTreeMap::new();
    for line in &lines {
        *alike.entry(without_port(line)).or_default() += 1;
    }
    let mut places: BTreeMap<[String; 11], usize> = BTreeMap::new();
    let mut told: Vec<Line> = Vec::new();
    for line in lines {
        let key = without_port(&line);
        if alike.get(&key).is_none_or(|count| *count <= MAX_ALIKE) {
            told.push(line);
            continue;
        }
        match places.get(&key).and_then(|place| told.get_mut(*place)) {
            Some(group) => {
                group.present |= line.present;
                group.first_seen = group.first_seen.min(line.first_seen);
            }
            None => {
                places.insert(key.clone(), told.len());
                told.push(Line { id: group_id(&key), labels: key, ..line });
            }
        }
    }
    told
}

fn without_port(line: &Line) -> [String; 11] {
    let mut labels = line.labels.clone();
    labels[PORT] = "many".to_owned();
    labels
}

/// Stays the same while its members come and go.
fn group_id(labels: &[String; 11]) -> String {
    let mut hash = Sha256::new();
    for label in labels {
        hash.update(label.len().to_be_bytes());
        hash.update(label);
    }
    let hash = hash.finalize();
    hash.iter().take(16).fold("m1-".to_owned(), |id, byte| format!("{id}{byte:02x}"))
}

#[cfg(test)]
mod tests;
