use std::sync::Arc;
use std::time::SystemTime;

use crate::{Baseline, DriftId};

/// Why a drift is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClosedBecause {
    /// It is as approved, again or at last: by this approval. `None` where what was required is not any more, its approval
    /// having been withdrawn.
    Approved(Option<ClosedBy>),
    /// A scope leaves it unjudged, or too little of it is seen to judge it.
    Unjudged,
    /// It was gone, or hidden by gaps, for [`Register::KEPT_GONE`](super::Register::KEPT_GONE), and not critical.
    Aged,
    /// Somebody let it be.
    Dismissed {
        /// Who, as the dismissal has it.
        by: Arc<str>,
    },
    /// Others needed its place: it was one of a crowd that differs in port alone, or they are graver or reach farther, or
    /// as grave and there where it was gone.
    Crowded,
}

/// The approval by which a drift was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedBy {
    /// Its id.
    pub approval: Arc<str>,
    /// Who approved, as the approval has it: only a signature proves that. `None` of what was learned, or says nothing.
    pub by: Option<Arc<str>>,
}

impl ClosedBecause {
    /// The word used in records and labels.
    pub const fn as_str(&self) -> &'static str {
        match self {
            ClosedBecause::Approved(_) => "approved",
            ClosedBecause::Unjudged => "unjudged",
            ClosedBecause::Aged => "aged",
            ClosedBecause::Dismissed { .. } => "dismissed",
            ClosedBecause::Crowded => "crowded",
        }
    }

    /// The approval that closed it.
    pub fn approval(&self) -> Option<&str> {
        match self {
            ClosedBecause::Approved(by) => by.as_ref().map(|by| &*by.approval),
            ClosedBecause::Unjudged
            | ClosedBecause::Aged
            | ClosedBecause::Dismissed { .. }
            | ClosedBecause::Crowded => None,
        }
    }

    /// Who closed it, where somebody did and is known.
    pub fn by(&self) -> Option<&str> {
        match self {
            ClosedBecause::Approved(by) => by.as_ref()?.by.as_deref(),
            ClosedBecause::Dismissed { by } => Some(by),
            ClosedBecause::Unjudged | ClosedBecause::Aged | ClosedBecause::Crowded => None,
        }
    }

    pub(super) fn approved(id: &str, baseline: &Baseline) -> Self {
        let by = baseline.approval(id).and_then(|approval| Some(approval.by.as_deref()?.into()));
        ClosedBecause::Approved(Some(ClosedBy { approval: id.into(), by }))
    }
}

/// Somebody's word that a drift which is gone may be let be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dismissal {
    /// The drift.
    pub drift: DriftId,
    /// Since when it was gone, as it was shown.
    pub gone_since: SystemTime,
    /// Who said it.
    pub by: Arc<str>,
}
