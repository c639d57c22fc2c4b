use std::sync::Arc;

use crate::{Finding, Service};

/// Whether all is counted as drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The state before there is a baseline: drift is told with severity info, and nothing alerts.
    Observe,
    /// Drift is drift.
    Enforce,
}

/// What an assessment says of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This approval covers it.
    Approved(Arc<str>),
    /// This approval covers it, which `learn` wrote and nobody has approved.
    Learned(Arc<str>),
    /// It drifts.
    Drift(Arc<Finding>),
    /// A scope of the baseline, or the default one, leaves it unjudged; or it is a UDP client, or connected to one peer;
    /// or an approval would cover it, but looking for its holders was refused, which the coverage tells.
    Unjudged,
}

impl Verdict {
    /// The words of [`Verdict::as_str`], for aggregates that must exist before there is one.
    pub const WORDS: [&str; 4] = ["approved", "learned", "drift", "unjudged"];

    /// The word used in labels and JSON.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Verdict::Approved(_) => "approved",
            Verdict::Learned(_) => "learned",
            Verdict::Drift(_) => "drift",
            Verdict::Unjudged => "unjudged",
        }
    }
}

/// A service with its verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The service.
    pub service: Service,
    /// What the baseline says of it. An approved service whose program was replaced on disk has
    /// [`Verdict::Drift`] of kind `outdated`.
    pub verdict: Verdict,
    /// Places of approvals for which it is there, so that they are not missing.
    pub(crate) present: Arc<[usize]>,
    /// Its listeners count as UDP clients.
    pub(crate) is_udp_client: bool,
}

impl Judged {
    /// Its listeners count as UDP clients: the kernel chose their port, and they ask where nobody asks them.
    pub fn is_udp_client(&self) -> bool {
        self.is_udp_client
    }
}

/// An inventory held against a baseline at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// Every service, in the order of protocol, address, port.
    pub services: Vec<Judged>,
    /// Required approvals that nothing matched, as findings of kind `missing`: drift once they have been absent for
    /// [`crate::Policy::missing_after`]. Empty where a gap could hide what is absent.
    pub absent: Vec<Finding>,
    /// For each listener of the inventory, by place, its service's place in `services`.
    pub service_of: Vec<usize>,
    /// Listeners whose port the kernel chose for a UDP client: inventoried, not judged.
    pub udp_clients: usize,
    /// How drift was weighed.
    pub mode: Mode,
    /// Places of approvals that were expired by then.
    pub(crate) expired: Vec<usize>,
}

impl Assessment {
    /// The drift of the services that are there.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.services.iter().filter_map(|judged| match &judged.verdict {
            Verdict::Drift(finding) => Some(&**finding),
            _ => None,
        })
    }
}
