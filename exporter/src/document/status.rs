use std::collections::BTreeMap;
use std::time::SystemTime;

use baseline::{Register, Severity};
use inventory::{Coverage, Scope, Share};
use serde::Serialize;

use super::drift::mode;
use super::{Escaped, SCHEMA, time};
use crate::snapshot::Snapshot;

/// What `/api/v1/status` gives: how this host stands and how well that is known, all of one instant. `unready` is why what
/// is told may not be what is.
pub(crate) fn status_document(
    snapshot: &Snapshot,
    unready: Option<String>,
    now: SystemTime,
) -> impl Serialize + '_ {
    let judged = snapshot.judged.as_deref();
    let last_frame = snapshot.sensor.last_frame;
    let rules = &snapshot.rules;
    Document {
        schema: SCHEMA,
        host: judged.map(|pass| Escaped(&pass.inventory.host)),
        now: time(now),
        taken_at: judged.map(|pass| time(pass.inventory.taken_at)),
        ready: unready.is_none(),
        unready,
        sensor: SensorEntry {
            last_frame: last_frame.map(time),
            // A clock that was set back makes the frame come from the future: it came just now, then.
            silent_seconds: last_frame.map(|last| now.duration_since(last).unwrap_or_default().as_secs()),
        },
        mode: judged.map(|pass| mode(pass.assessment.mode)),
        baseline: BaselineEntry {
            revision: rules.revision.as_deref(),
            approvals: rules.approvals,
            last_reload_successful: rules.baseline.successful,
        },
        listeners: judged
            .map(|pass| pass.inventory.listeners.len().saturating_sub(pass.assessment.udp_clients)),
        drifts: counts(&snapshot.register),
        coverage: judged.map(|pass| CoverageEntry::of(&pass.inventory.coverage)),
    }
}

/// Every severity, also where there is none of it; with those that the register had no room for, as the metrics have it.
fn counts(register: &Register) -> BTreeMap<&'static str, Counts> {
    let mut counts: BTreeMap<_, _> =
        Severity::ALL.into_iter().map(|severity| (severity.as_str(), Counts::default())).collect();
    for drift in register.by_id() {
        let count = counts.entry(drift.finding.severity.as_str()).or_default();
        count.open += 1;
        count.gone += usize::from(!drift.is_present());
    }
    for ((_, severity), left_out) in register.left_out_by_kind() {
        counts.entry(severity.as_str()).or_default().open += left_out;
    }
    counts
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    host: Option<Escaped<'a>>,
    now: String,
    taken_at: Option<String>,
    ready: bool,
    unready: Option<String>,
    sensor: SensorEntry,
    mode: Option<&'static str>,
    baseline: BaselineEntry<'a>,
    /// Without those of UDP clients, which nobody judges.
    listeners: Option<usize>,
    drifts: BTreeMap<&'static str, Counts>,
    coverage: Option<CoverageEntry>,
}

#[derive(Serialize)]
struct SensorEntry {
    last_frame: Option<String>,
    silent_seconds: Option<u64>,
}

#[derive(Serialize)]
struct BaselineEntry<'a> {
    /// Of the baseline in force; null where there is none.
    revision: Option<&'a str>,
    approvals: usize,
    last_reload_successful: bool,
}

#[derive(Default, Serialize)]
struct Counts {
    /// All that are open, those that are gone among them.
    open: usize,
    gone: usize,
}

#[derive(Serialize)]
struct CoverageEntry {
    may_hide_listeners: bool,
    may_hide_holders: bool,
    gaps: usize,
    shares: BTreeMap<&'static str, Share>,
    events: &'static str,
}

impl CoverageEntry {
    fn of(coverage: &Coverage) -> Self {
        CoverageEntry {
            may_hide_listeners: coverage.may_hide_listeners(),
            may_hide_holders: coverage.may_hide_holders(),
            gaps: coverage.gaps.len(),
            shares: Scope::ALL.map(|scope| (scope.as_str(), coverage.shares.of(scope))).into(),
            events: coverage.events.as_str(),
        }
    }
}
