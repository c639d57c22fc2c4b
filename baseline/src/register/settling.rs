use std::collections::{BTreeMap, HashSet};
use std::time::SystemTime;

use inventory::{Holders, Inventory, SocketId};

use super::{Drift, Passed, Register, elapsed};
use crate::{Assessment, DriftId, DriftKind, Finding, Verdict};

/// Findings that may be none in a moment.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Settling {
    /// They wait for their listeners to be attributed, or to be handed to whom they are meant for.
    waiting: BTreeMap<DriftId, Drift>,
    /// Sockets that were no drift when it was last known who holds them, in order.
    settled: Vec<SocketId>,
}

impl Settling {
    /// When those that wait have done so for long enough.
    pub(super) fn due(&self) -> impl Iterator<Item = SystemTime> {
        self.waiting.values().filter_map(|drift| drift.first_seen.checked_add(Register::SETTLING))
    }

    /// Holds back what may settle yet, and lets go of what waited: it is another service now, or it is gone already,
    /// and then it is told unless it was no drift before it went. `may_settle` says it of a new finding, seen at a time.
    pub(super) fn settle(
        &mut self,
        found: &mut BTreeMap<DriftId, Drift>,
        may_settle: impl Fn(&Drift, SystemTime) -> bool,
        ended_well: &HashSet<SocketId>,
        inventory: &Inventory,
        now: SystemTime,
    ) {
        let mut waited = std::mem::take(&mut self.waiting);
        let mut unsettled = Vec::new();
        for (id, drift) in &mut *found {
            let waiting = waited.get(id);
            let since = waiting.map_or(now, |waiting| waiting.first_seen.min(now));
            drift.began_as(waiting.and_then(|waiting| waiting.started_by.clone()));
            if may_settle(drift, since) {
                unsettled.push((id.clone(), since));
            } else {
                waited.remove(id);
            }
        }
        for (id, since) in unsettled {
            waited.remove(&id);
            let Some(mut drift) = found.remove(&id) else { continue };
            drift.first_seen = since;
            let is_settled = elapsed(since, now) >= Register::SETTLING;
            let place = if is_settled { &mut *found } else { &mut self.waiting };
            place.insert(id, drift);
        }
        if waited.is_empty() {
            return;
        }
        let there: HashSet<SocketId> = inventory.listeners.iter().map(|listener| listener.id).collect();
        for (id, mut drift) in waited {
            let listeners = &drift.evidence.listeners;
            let is_right = |id: &SocketId| self.settled.binary_search(id).is_ok() || ended_well.contains(id);
            let was_right = !listeners.is_empty() && listeners.iter().all(|it| is_right(&it.id));
            if !was_right && !listeners.iter().any(|listener| there.contains(&listener.id)) {
                drift.go(now);
                found.insert(id, drift);
            }
        }
    }

    /// A socket that was no drift and then lost its holder is one that is being closed: it lives on for an instant.
    pub(super) fn remember(&mut self, inventory: &Inventory, assessment: &Assessment) {
        let before = std::mem::take(&mut self.settled);
        let was_settled = |id: &SocketId| before.binary_search(id).is_ok();
        let listeners = inventory.listeners.iter().zip(&assessment.service_of);
        let settled = listeners.filter(|(listener, place)| {
            let is_unattributed = matches!(listener.holders, Holders::Unattributed(_));
            !is_drift(assessment, **place) || is_unattributed && was_settled(&listener.id)
        });
        self.settled = settled.map(|(listener, _)| listener.id).collect();
        // An inventory is in this order already.
        self.settled.sort_unstable();
    }
}

/// A daemon listens before it drops its privileges, or hands the socket to a worker: for an instant somebody else holds
/// it than the baseline says. True of a finding that says no more than that, of sockets that had just begun to listen
/// when it was first seen.
pub(super) fn may_be_handed_on(
    finding: &Finding,
    listeners: &[usize],
    inventory: &Inventory,
    seen: SystemTime,
) -> bool {
    use DriftKind::{ProgramChanged, UserChanged, WorkloadChanged};
    let is_new = |place: &usize| {
        let since = inventory.listeners.get(*place).and_then(|listener| listener.since);
        since.is_some_and(|since| elapsed(since, seen) < Register::SETTLING)
    };
    matches!(finding.kind, ProgramChanged | UserChanged | WorkloadChanged) && listeners.iter().all(is_new)
}

/// Sockets that came and went and were no drift at last.
pub(super) fn ended_well(passed: Option<Passed<'_>>) -> HashSet<SocketId> {
    let mut well = HashSet::new();
    let Some(Passed { inventory, assessment, .. }) = passed else { return well };
    for (listener, place) in inventory.listeners.iter().zip(&assessment.service_of) {
        if is_drift(assessment, *place) {
            well.remove(&listener.id);
        } else {
            well.insert(listener.id);
        }
    }
    well
}

fn is_drift(assessment: &Assessment, service: usize) -> bool {
    assessment.services.get(service).is_some_and(|judged| matches!(judged.verdict, Verdict::Drift(_)))
}
