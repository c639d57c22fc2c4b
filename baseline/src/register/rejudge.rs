use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::SystemTime;

use inventory::{Coverage, Holders, Inventory, SocketId, Unattributed};

use super::{ClosedBecause, Drift};
use crate::absent::{may_hide, may_hide_subject};
use crate::when::timestamp;
use crate::{Accounts, Assessment, DriftId, DriftKind, Policy, Verdict, assess};

/// What becomes of an open drift that was not found.
pub(super) enum Fate {
    /// It may be there unseen: nothing is said of it, until it was so for too long.
    Hidden,
    /// Its socket is seen and no more of it, or it is an absence that nothing disproves: nothing is said of it.
    Stays,
    /// It is not there.
    Gone,
    /// It is over.
    Closed(ClosedBecause),
}

/// Everything by which fates are decided.
pub(super) struct Rejudge<'a> {
    pub(super) inventory: &'a Inventory,
    pub(super) assessment: &'a Assessment,
    pub(super) policy: &'a Policy,
    pub(super) accounts: &'a Accounts,
    pub(super) now: SystemTime,
}

impl Rejudge<'_> {
    /// The fates of drifts that were not found in the assessment, in their order. Those that are gone are judged again by
    /// what was kept of them when the baseline has changed.
    pub(super) fn fates<'d>(
        &self,
        lost: impl Iterator<Item = &'d Drift>,
        baseline_changed: bool,
    ) -> Vec<Fate> {
        let lost: Vec<&Drift> = lost.collect();
        if lost.is_empty() {
            return Vec::new();
        }
        // A socket that was given a peer is not judged any more, and no reason to close what it was told for before.
        let services = self.assessment.services.iter().filter(|judged| !judged.service.connected);
        let present = services.map(|judged| (judged.service.id.as_str(), &judged.verdict));
        // Thousands may be lost where little listens, and few where much does.
        let present: HashMap<&str, &Verdict> = if lost.len() < self.assessment.services.len() {
            let wanted: HashSet<&str> = lost.iter().map(|drift| drift.id().as_str()).collect();
            present.filter(|(id, _)| wanted.contains(id)).collect()
        } else {
            present.collect()
        };
        let unattributed = self.unattributed_sockets();
        let again = if baseline_changed { self.judge_again(&lost) } else { BTreeMap::new() };
        let fate = |drift: &Drift| {
            if drift.finding.kind == DriftKind::Missing {
                return self.fate_of_missing(drift);
            }
            match present.get(drift.id().as_str()) {
                Some(Verdict::Approved(id) | Verdict::Learned(id)) => return Fate::Closed(self.approved(id)),
                Some(Verdict::Unjudged) => return Fate::Closed(ClosedBecause::Unjudged),
                // The drift is told under the approval's id now.
                Some(Verdict::Drift(_)) => return Fate::Gone,
                None => {}
            }
            if let Some(why) = again.get(drift.id()) {
                return Fate::Closed(why.clone());
            }
            // Nothing hides what was told to be gone.
            if !drift.is_present() {
                return Fate::Gone;
            }
            let kept = &drift.evidence.listeners;
            let lost_sight = kept.iter().any(|listener| unattributed.contains(&listener.id));
            if lost_sight {
                return Fate::Stays;
            }
            let hides =
                || may_hide_subject(self.coverage(), &drift.finding.subject, drift.evidence.netns_kind());
            // A gap hides what is there, and takes back no end that was told.
            if !drift.has_ended() && hides() { Fate::Hidden } else { Fate::Gone }
        };
        lost.into_iter().map(fate).collect()
    }

    fn coverage(&self) -> &Coverage {
        &self.inventory.coverage
    }

    fn approved(&self, id: &str) -> ClosedBecause {
        ClosedBecause::approved(id, &self.policy.baseline)
    }

    /// The service is back, or the approval does not require it any more.
    fn fate_of_missing(&self, drift: &Drift) -> Fate {
        let approval = self.policy.baseline.approval(drift.id().as_str());
        let is_for_host = |approval: &&crate::Approval| self.policy.host.is_among(&approval.hosts);
        match approval.filter(|approval| approval.required).filter(is_for_host) {
            None => Fate::Closed(ClosedBecause::Approved(None)),
            Some(approval) if may_hide(self.coverage(), approval) => Fate::Stays,
            Some(approval) if approval.is_expired(timestamp(self.now), &self.policy.trust.time_zone) => {
                Fate::Gone
            }
            // Not for long enough yet to be told again.
            Some(_) if self.assessment.absent.iter().any(|finding| finding.id == *drift.id()) => Fate::Gone,
            Some(approval) => Fate::Closed(self.approved(&approval.id)),
        }
    }

    /// Sockets that are there without a known holder, where looking was refused: those that were attributed once are
    /// not gone.
    fn unattributed_sockets(&self) -> HashSet<SocketId> {
        let refused = |holders: &Holders| *holders == Holders::Unattributed(Unattributed::Denied);
        let listeners = self.inventory.listeners.iter().filter(|listener| refused(&listener.holders));
        listeners.map(|listener| listener.id).collect()
    }

    /// Judges what was kept of them as if it were there. A drift is over when all of it would be let be.
    fn judge_again(&self, lost: &[&Drift]) -> BTreeMap<DriftId, ClosedBecause> {
        let mut listeners = Vec::new();
        let mut owners = Vec::new();
        for drift in lost {
            for listener in &drift.evidence.listeners {
                listeners.push(listener.clone());
                owners.push(drift.id());
            }
        }
        let kept = Inventory {
            host: self.inventory.host.clone(),
            taken_at: self.inventory.taken_at,
            listeners,
            coverage: Coverage { gaps: Vec::new(), ..self.coverage().clone() },
        };
        let assessment = assess(&kept, self.policy, self.accounts, self.now);
        let mut closed: BTreeMap<DriftId, Option<ClosedBecause>> = BTreeMap::new();
        for (owner, service) in owners.into_iter().zip(&assessment.service_of) {
            let why = match &assessment.services[*service].verdict {
                Verdict::Approved(id) | Verdict::Learned(id) => Some(self.approved(id)),
                Verdict::Unjudged => Some(ClosedBecause::Unjudged),
                Verdict::Drift(_) => None,
            };
            let is_over = why.is_some();
            let known = closed.entry(owner.clone()).or_insert(why);
            known.take_if(|_| !is_over);
        }
        closed.into_iter().filter_map(|(id, why)| Some((id, why?))).collect()
    }
}
