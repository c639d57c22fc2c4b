use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
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
/// The series of open drifts.
pub(super) struct DriftSeries {
    pub(super) families: Vec<MetricFamily>,
    /// How many drifts, or collapsed groups of them, are left out of each of [`PER_DRIFT`], those for which the register
    /// had no room among them.
    pub(super) dropped: usize,
}

/// The names of the families that have a sample for each drift told.
pub(super) const PER_DRIFT: [&str; 3] = [DRIFT_INFO.name, DRIFT_PRESENT.name, DRIFT_FIRST_SEEN.name];

/// One line of `portledger_drift_info`: a drift, or many that differ in port alone.
struct Line<'a> {
    /// The gravest and oldest of them.
    drift: &'a Drift,
    many: bool,
    present: bool,
    first_seen: SystemTime,
}

pub(super) fn series(register: &Register) -> DriftSeries {
    let drifts: Vec<&Drift> = register.unordered().collect();
    let mut told = collapse(&drifts);
    let above = told.len().saturating_sub(MAX_DRIFTS);
    if above > 0 {
        told.select_nth_unstable_by(MAX_DRIFTS, Line::by_gravity);
        told.truncate(MAX_DRIFTS);
    }
    told.sort_unstable_by(Line::by_gravity);
    let (mut info, mut present, mut first_seen) = (Vec::new(), Vec::new(), Vec::new());
    for line in &told {
        let labels = line.labels();
        let id = if line.many { group_id(&labels) } else { line.drift.id().to_string() };
        present.push(Sample::owned([id.clone()], truth(line.present)));
        first_seen.push(Sample::owned([id.clone()], timestamp(Some(line.first_seen))));
        let mut labels = std::iter::once(id).chain(labels);
        info.push(Sample::owned(std::array::from_fn::<_, 12, _>(|_| labels.next().unwrap_or_default()), 1.0));
    }
    let families = vec![
        aggregate(&drifts, register.left_out_by_kind().clone()),
        DRIFT_INFO.of::<12>(info),
        DRIFT_PRESENT.of(present),
        DRIFT_FIRST_SEEN.of(first_seen),
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

impl Line<'_> {
    fn by_gravity(&self, other: &Self) -> Ordering {
        self.drift.by_gravity(other.drift)
    }

    /// Everything but the id.
    fn labels(&self) -> [String; 11] {
        let finding = &self.drift.finding;
        let subject = &finding.subject;
        [
            finding.kind.as_str().to_owned(),
            finding.severity.as_str().to_owned(),
            subject.protocol.as_str().to_owned(),
            subject.address.to_string(),
            if self.many { "many".to_owned() } else { subject.port.to_string() },
            join(&subject.programs),
            join(&subject.users.iter().map(|user| RawText::from(user.as_str())).collect::<Vec<_>>()),
            join(&subject.workloads),
            subject.netns.escaped(),
            subject.reach.map_or("", |reach| reach.as_str()).to_owned(),
            RawText::from(finding.team.as_deref().unwrap_or_default()).escaped(),
        ]
    }
}

/// Makes one of those that differ in port alone where they are many. Most are never written as labels, so they are told
/// apart without.
fn collapse<'a>(drifts: &[&'a Drift]) -> Vec<Line<'a>> {
    let hasher = RandomState::new();
    let keys: Vec<u64> = drifts.iter().map(|drift| hasher.hash_one(drift.all_but_port())).collect();
    let mut alike: HashMap<u64, usize> = HashMap::new();
    keys.iter().for_each(|key| *alike.entry(*key).or_default() += 1);
    let mut places: HashMap<u64, usize> = HashMap::new();
    let mut told: Vec<Line<'_>> = Vec::new();
    for (drift, key) in drifts.iter().zip(keys) {
        let many = alike.get(&key).is_some_and(|count| *count > Drift::CROWD);
        let line = Line { drift, many, present: drift.is_present(), first_seen: drift.first_seen };
        match places.get(&key).and_then(|place| told.get_mut(*place)).filter(|_| many) {
            Some(group) => {
                group.present |= line.present;
                group.first_seen = group.first_seen.min(line.first_seen);
                if drift.by_gravity(group.drift).is_lt() {
                    group.drift = drift;
                }
            }
            None => {
                places.insert(key, told.len());
                told.push(line);
            }
        }
    }
    told
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
