use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use baseline::{Accounts, Assessment, Before, DriftEvent, DriftKind, Host, Register, Severity};
use inventory::frame::{Closing, Pass, Tells};
use inventory::{EventSource, Happening, Inventory, Protocol, Scope};
use serde::{Deserialize, Serialize};

use crate::alert::Sender;
use crate::approvals::ApprovalStatus;
use crate::document::{Listed, drift_document, listeners_document};
use crate::log_heads::LogHeads;

/// All that is told over HTTP at one instant. Never changed: the judge publishes another.
#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    /// The last pass that was judged; `None` until there was one.
    pub(crate) judged: Option<Arc<JudgedPass>>,
    /// What is open, also before the first pass: it was kept over the restart.
    pub(crate) register: Arc<Register>,
    pub(crate) counts: Counts,
    pub(crate) best: BestCoverage,
    pub(crate) rules: RulesStatus,
    pub(crate) sensor: SensorStatus,
    /// Events that could not be logged.
    pub(crate) unlogged: Arc<AtomicU64>,
    /// How often what must outlive this process could not be written down.
    pub(crate) unkept: Arc<AtomicU64>,
    /// How far the logs are.
    pub(crate) logs: Arc<LogHeads>,
    /// In whose name alerts are told.
    pub(crate) sender: Arc<Sender>,
}

/// What is known of the sensor besides what it sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SensorStatus {
    /// When the last good frame came in.
    pub(crate) last_frame: Option<SystemTime>,
    /// Up to when all that happened is judged, as far as it is told.
    pub(crate) judged_to: Option<SystemTime>,
    /// When it last looked at the host; events are no look.
    pub(crate) looked_at: Option<SystemTime>,
    /// How long that took.
    pub(crate) took: Duration,
    /// Events that were lost since this process began.
    pub(crate) lost: u64,
    /// How many the sensor told of; it counts from its own start.
    lost_of_sensor: u64,
    /// How often it was started again since this process began.
    pub(crate) restarts: u32,
    /// In what looks differed from what events had told, summed by kind.
    pub(crate) discrepancies: [(&'static str, u64); 3],
}

impl SensorStatus {
    pub(crate) fn note(&mut self, pass: &Pass, now: SystemTime) {
        // A clock that was set back must not vouch for the time until it is that late again.
        let before = self.judged_to.map(|before| before.min(now));
        self.judged_to = Some(told_to(pass).min(now)).max(before);
        let Closing { took, lost, discrepancies } = pass.closing;
        // A count that falls is that of a sensor that was started again, or that lies.
        let more = lost.checked_sub(self.lost_of_sensor).unwrap_or(lost);
        self.lost = self.lost.saturating_add(more);
        self.lost_of_sensor = lost;
        if pass.tells != Tells::Events {
            (self.looked_at, self.took) = (Some(pass.taken_at), took);
            for (sum, (kind, count)) in self.discrepancies.iter_mut().zip(discrepancies.by_kind()) {
                *sum = (kind, sum.1 + u64::from(count));
            }
        }
    }
}

impl SensorStatus {
    /// For how long nothing that happened is judged; zero before the first pass.
    pub(crate) fn lag(&self, now: SystemTime) -> Duration {
        // Zero where the clock was set back.
        self.judged_to.and_then(|to| now.duration_since(to).ok()).unwrap_or_default()
    }
}

/// How long ago the last thing happened that a pass tells, as the clock has it: one that was set ahead adds to it.
pub(crate) fn waited(pass: &Pass, now: SystemTime) -> Duration {
    now.duration_since(told_to(pass)).unwrap_or_default()
}

/// When the last thing happened that a pass tells; of one that tells none, when it was told: nothing waited then.
fn told_to(pass: &Pass) -> SystemTime {
    let at = |happening: &Happening| match happening {
        Happening::Opened(listener) => listener.since,
        Happening::Closed { at, .. } => Some(*at),
        Happening::Changed { .. } => None,
    };
    let events = pass.happened.iter().filter(|_| pass.tells == Tells::Events);
    events.filter_map(at).max().unwrap_or(pass.taken_at)
}

/// A pass of the sensor and what the baseline says of it.
#[derive(Clone)]
pub(crate) struct JudgedPass {
    pub(crate) inventory: Arc<Inventory>,
    pub(crate) assessment: Arc<Assessment>,
    pub(crate) accounts: Arc<Accounts>,
    /// As the configuration has it.
    pub(crate) host: Host,
    /// In whose name alerts were told then.
    pub(crate) sender: Arc<Sender>,
    /// What was open when it was judged.
    pub(crate) register: Arc<Register>,
    pub(crate) judged_at: SystemTime,
    /// When time alone changes something that is open.
    pub(crate) due: Option<SystemTime>,
    /// Events that were lost by then.
    pub(crate) lost: u64,
    /// Written once for all who ask: a hundred thousand listeners are tens of megabytes.
    pub(crate) documents: Documents,
}

/// The API's answers, written when first asked for.
#[derive(Clone, Default)]
pub(crate) struct Documents {
    listeners: OnceLock<Result<Arc<[u8]>, String>>,
    without_command_lines: OnceLock<Result<Arc<[u8]>, String>>,
    drift: OnceLock<Result<Arc<[u8]>, String>>,
}

/// How often an inventory that stays the same is judged again: approvals expire, accounts change.
const JUDGED_FOR: Duration = Duration::from_secs(60);

impl JudgedPass {
    /// How long until it is to be judged again though nothing was told.
    pub(crate) fn due_in(&self, now: SystemTime) -> Duration {
        // A clock that was set back makes it long ago.
        let age = now.duration_since(self.judged_at).unwrap_or(JUDGED_FOR);
        let due = self.due.map(|due| due.duration_since(now).unwrap_or_default());
        let old = JUDGED_FOR.saturating_sub(age);
        due.map_or(old, |due| due.min(old))
    }

    pub(crate) fn is_due(&self, now: SystemTime) -> bool {
        self.due_in(now).is_zero()
    }

    /// What the next judgement begins with.
    pub(crate) fn known(&self) -> Before<'_> {
        Before { inventory: &self.inventory, assessment: &self.assessment, accounts: &self.accounts }
    }

    /// The body of `/api/v1/listeners`.
    pub(crate) fn listeners_json(&self) -> Result<Arc<[u8]>, String> {
        self.documents.listeners.get_or_init(|| self.listeners(true)).clone()
    }

    /// Likewise, for those who may not know the command lines.
    pub(crate) fn listeners_json_without_command_lines(&self) -> Result<Arc<[u8]>, String> {
        self.documents.without_command_lines.get_or_init(|| self.listeners(false)).clone()
    }

    fn listeners(&self, command_lines: bool) -> Result<Arc<[u8]>, String> {
        json(&listeners_document(Listed {
            inventory: &self.inventory,
            assessment: &self.assessment,
            register: Some(&self.register),
            accounts: &self.accounts,
            host: &self.host,
            lost: Some(self.lost),
            filtered: false,
            command_lines,
        }))
    }

    /// The body of `/api/v1/drift`.
    pub(crate) fn drift_json(&self) -> Result<Arc<[u8]>, String> {
        let document =
            || json(&drift_document(&self.inventory, &self.assessment, &self.register, &self.sender));
        self.documents.drift.get_or_init(document).clone()
    }
}

fn json(document: &impl Serialize) -> Result<Arc<[u8]>, String> {
    serde_json::to_vec(document).map(Arc::from).map_err(|error| error.to_string())
}

/// What has happened since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) opened: BTreeMap<Protocol, u64>,
    pub(crate) closed: BTreeMap<Protocol, u64>,
    pub(crate) drift_events: BTreeMap<(DriftKind, Severity), u64>,
}

impl Counts {
    pub(crate) fn count(&mut self, happened: &[Happening]) {
        for happening in happened {
            let (counts, listener) = match happening {
                Happening::Opened(listener) => (&mut self.opened, listener),
                Happening::Closed { listener, .. } => (&mut self.closed, listener),
                Happening::Changed { .. } => continue,
            };
            *counts.entry(listener.endpoint.protocol).or_default() += 1;
        }
    }

    pub(crate) fn add(&mut self, more: &Counts) {
        for (sum, counts) in [(&mut self.opened, &more.opened), (&mut self.closed, &more.closed)] {
            counts.iter().for_each(|(protocol, count)| *sum.entry(*protocol).or_default() += count);
        }
    }

    pub(crate) fn count_drifts(&mut self, events: &[DriftEvent]) {
        for event in events {
            if let DriftEvent::Opened(drift) | DriftEvent::Returned(drift) = event {
                let of = (drift.finding.kind, drift.finding.severity);
                *self.drift_events.entry(of).or_default() += 1;
            }
        }
    }
}

/// The widest coverage ever held on this host, from 0 to 1: what there is less of now was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct BestCoverage {
    sockets: f64,
    holders: f64,
    namespaces: f64,
    addresses: f64,
    events: f64,
    /// The best source of events.
    #[serde(default)]
    pub(crate) source: EventSource,
}

impl BestCoverage {
    pub(crate) fn of(&self, scope: Scope) -> f64 {
        match scope {
            Scope::Sockets => self.sockets,
            Scope::Holders => self.holders,
            Scope::Namespaces => self.namespaces,
            Scope::Addresses => self.addresses,
            Scope::Events => self.events,
        }
    }

    /// With what this pass saw, where that is more.
    pub(crate) fn raised_by(self, inventory: &Inventory) -> Self {
        let higher = |scope| self.of(scope).max(inventory.coverage.shares.of(scope).ratio());
        BestCoverage {
            sockets: higher(Scope::Sockets),
            holders: higher(Scope::Holders),
            namespaces: higher(Scope::Namespaces),
            addresses: higher(Scope::Addresses),
            events: higher(Scope::Events),
            source: self.source.min(inventory.coverage.events),
        }
    }
}

/// What is in force, and how reading it went the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RulesStatus {
    pub(crate) approvals: usize,
    /// Those that are for this host.
    pub(crate) of_host: Arc<[ApprovalStatus]>,
    /// Of the baseline in force; `None` where there is none.
    pub(crate) revision: Option<String>,
    pub(crate) baseline: Reload,
    pub(crate) config: Reload,
}

/// How reading went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reload {
    /// The last attempt.
    pub(crate) successful: bool,
    /// The last attempt of this process that succeeded.
    pub(crate) succeeded_at: Option<SystemTime>,
}
