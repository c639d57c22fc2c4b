use std::cmp::Ordering;
use std::sync::Arc;
use std::time::SystemTime;

use inventory::{Listener, SocketId};

use super::Register;
use super::crowd::Crowd;
use super::evidence::{Evidence, Witnesses};
use super::started_by::StartedBy;
use crate::{DriftId, DriftKind, Finding, Severity};

/// A drift over time: open until approved or dismissed; unless it is critical, no longer than
/// [`Register::KEPT_GONE`] after it was gone or gaps began to hide it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// As it was last seen; its severity never falls while it is open.
    pub finding: Arc<Finding>,
    /// Of that finding.
    pub(super) crowd: Crowd,
    /// When it was first seen.
    pub first_seen: SystemTime,
    /// When it was last there, where it is not any more or, being critical, was hidden for too long.
    pub gone_since: Option<SystemTime>,
    /// Since when a gap hides whether it is there still.
    pub(super) hidden_since: Option<SystemTime>,
    /// Its sockets of which no end was told, while it is there; `None` of what is not found on sockets that this process
    /// was told of.
    pub(super) sockets: Option<Vec<SocketId>>,
    pub(crate) evidence: Evidence,
    pub(super) started_by: Option<Arc<StartedBy>>,
    pub(super) found_as: FoundAs,
}

/// The very finding that it was last taken from: while an assessment has the same, nothing about it is new.
#[derive(Clone, Debug, Default)]
pub(super) struct FoundAs(pub(super) Option<Arc<Finding>>);

/// It says nothing of the drift.
impl PartialEq for FoundAs {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for FoundAs {}

impl Drift {
    pub(super) fn of(
        finding: &Arc<Finding>,
        places: &[usize],
        seen: &mut Witnesses<'_>,
        now: SystemTime,
    ) -> Self {
        Drift {
            finding: finding.clone(),
            crowd: Crowd::of(finding),
            first_seen: now,
            gone_since: None,
            hidden_since: None,
            sockets: None,
            evidence: seen.evidence(places),
            started_by: seen.started_by(places),
            found_as: FoundAs(Some(finding.clone())),
        }
    }

    /// One that is there, as far as is known, without sockets of which an end could be told.
    pub(super) fn without_sockets(
        finding: impl Into<Arc<Finding>>,
        first_seen: SystemTime,
        evidence: Evidence,
    ) -> Self {
        let finding = finding.into();
        Drift {
            crowd: Crowd::of(&finding),
            finding,
            first_seen,
            gone_since: None,
            hidden_since: None,
            sockets: None,
            evidence,
            started_by: None,
            found_as: FoundAs(None),
        }
    }

    /// Its name.
    pub fn id(&self) -> &DriftId {
        &self.finding.id
    }

    /// The farthest-reaching of the sockets that it was found on, as they were then, without their holders' parents; none
    /// of `missing`.
    pub fn listeners(&self) -> &[Arc<Listener>] {
        &self.evidence.listeners
    }

    /// Who started the first holder of the farthest-reaching of its sockets, as it was when the drift was first seen, or of
    /// the drift that had the socket before; `None` where nothing told it.
    pub fn started_by(&self) -> Option<&StartedBy> {
        self.started_by.as_deref()
    }

    /// It is there now, as far as the last update saw.
    pub fn is_present(&self) -> bool {
        self.gone_since.is_none()
    }

    /// The last update saw it.
    pub(super) fn is_seen(&self) -> bool {
        self.is_present() && self.hidden_since.is_none()
    }

    /// It is for people alone to be done with it.
    pub(super) fn is_critical(&self) -> bool {
        self.finding.severity == Severity::Critical
    }

    /// When time alone closes it or, of what is critical and hidden, makes it gone.
    pub(super) fn ages_at(&self) -> Option<SystemTime> {
        let gone_since = self.gone_since.filter(|_| !self.is_critical());
        gone_since.or(self.hidden_since)?.checked_add(Register::KEPT_GONE)
    }

    pub(super) fn go(&mut self, now: SystemTime) {
        self.gone_since = Some(now);
        self.hidden_since = None;
        self.sockets = None;
    }

    pub(super) fn began_to_age(&mut self, now: SystemTime) {
        let since = if self.is_present() { &mut self.hidden_since } else { &mut self.gone_since };
        *since = Some(now);
    }

    /// What told at first who started it stands: whoever did may have ended since.
    pub(super) fn began_as(&mut self, earlier: Option<Arc<StartedBy>>) {
        self.started_by = earlier.or(self.started_by.take());
    }

    /// The end of each of its sockets was told.
    pub(super) fn has_ended(&self) -> bool {
        self.sockets.as_ref().is_some_and(Vec::is_empty)
    }

    /// The gravest and oldest come first; none is equal to another of a register.
    pub fn by_gravity(&self, other: &Drift) -> Ordering {
        let gravity = other.finding.severity.cmp(&self.finding.severity);
        gravity.then_with(|| self.age_key().cmp(&other.age_key()))
    }

    /// Equal of those that differ in port alone, if in anything.
    pub fn crowd(&self) -> Crowd {
        self.crowd
    }

    fn age_key(&self) -> (DriftKind, SystemTime, &DriftId) {
        (self.finding.kind, self.first_seen, &self.finding.id)
    }

    pub(super) fn is_unattributed(&self) -> bool {
        let unattributed = |listener: &Arc<Listener>| match listener.holders {
            inventory::Holders::Unattributed(reason) => reason != inventory::Unattributed::Kernel,
            inventory::Holders::Known(_) => false,
        };
        self.evidence.listeners.iter().any(unattributed)
    }

    pub(super) fn is_at_least(&mut self, severity: Severity) {
        if self.finding.severity < severity {
            Arc::make_mut(&mut self.finding).severity = severity;
            self.crowd = Crowd::of(&self.finding);
        }
    }

    /// Whether it was gone and is not any more.
    pub(super) fn see_again(&mut self, seen: Drift) -> bool {
        let (severity, was_gone) = (self.finding.severity, self.gone_since.is_some());
        (self.finding, self.crowd) = (seen.finding, seen.crowd);
        self.is_at_least(severity);
        self.evidence = seen.evidence;
        self.started_by = self.started_by.take().or(seen.started_by);
        self.gone_since = seen.gone_since;
        self.hidden_since = seen.hidden_since;
        self.sockets = seen.sockets;
        self.found_as = seen.found_as;
        was_gone && self.gone_since.is_none()
    }
}
