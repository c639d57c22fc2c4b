use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use baseline::{Accounts, Assessment, DriftKind, Register, Severity};
use inventory::{Happening, Inventory, Protocol, Scope};
use serde::{Deserialize, Serialize};

use crate::document::{drift_document, listeners_document};

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
    /// When the last good frame came in.
    pub(crate) last_frame: Option<SystemTime>,
}

/// A pass of the sensor and what the baseline says of it.
#[derive(Clone)]
pub(crate) struct JudgedPass {
    pub(crate) inventory: Arc<Inventory>,
    pub(crate) assessment: Arc<Assessment>,
    pub(crate) accounts: Accounts,
    /// What was open when it was judged.
    pub(crate) register: Arc<Register>,
    /// When it came in.
    pub(crate) looked: SystemTime,
    /// How long the sensor took.
    pub(crate) took: Duration,
    /// Written once for all who ask: a hundred thousand listeners are tens of megabytes.
    pub(crate) documents: Documents,
}

/// The API's answers, written when first asked for.
#[derive(Clone, Default)]
pub(crate) struct Documents {
    listeners: OnceLock<Result<Arc<[u8]>, String>>,
    drift: OnceLock<Result<Arc<[u8]>, String>>,
}

impl JudgedPass {
    /// The body of `/api/v1/listeners`.
    pub(crate) fn listeners_json(&self) -> Result<Arc<[u8]>, String> {
        let document = || {
            let register = Some(&*self.register);
            json(&listeners_document(&self.inventory, &self.assessment, register, &self.accounts))
        };
        self.documents.listeners.get_or_init(document).clone()
    }

    /// The body of `/api/v1/drift`.
    pub(crate) fn drift_json(&self) -> Result<Arc<[u8]>, String> {
        let document = || json(&drift_document(&self.inventory, &self.assessment, Some(&self.register)));
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
}

/// The widest coverage ever held on this host, from 0 to 1: what there is less of now was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct BestCoverage {
    sockets: f64,
    holders: f64,
    namespaces: f64,
    addresses: f64,
    events: f64,
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
        }
    }
}

/// What is in force, and how reading it went the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RulesStatus {
    pub(crate) approvals: usize,
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
