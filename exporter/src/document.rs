//! The JSON that programs read: one schema for the command and the API.

mod drift;
mod listeners;
mod read_listeners;
mod status;
mod witnessed;

use std::time::SystemTime;

use inventory::{Coverage, Gap, RawText};
use serde::{Serialize, Serializer};

pub use drift::diff_document;
pub(crate) use drift::drift_document;
pub use listeners::{Listed, listeners_document};
pub(crate) use listeners::{NetNsEntry, WorkloadEntry};
pub use read_listeners::{MAX_INVENTORY, NoInventory, read_listeners};
pub(crate) use status::status_document;
pub use witnessed::{missing_document, standing_document, witnessed_document};

/// Raised when a field changes its meaning or goes; new fields do not raise it.
const SCHEMA: u32 = 1;

/// What is told of times that no year has four digits for.
pub(crate) const BEYOND: &str = "9999-12-31T23:59:59.999Z";

/// RFC 3339 in UTC, to the millisecond.
pub(crate) fn time(time: SystemTime) -> String {
    match jiff::Timestamp::try_from(time) {
        Ok(time) => format!("{time:.3}"),
        // Beyond the year 9999: a clock that lies.
        Err(_) => BEYOND.to_owned(),
    }
}

/// Bytes of somebody else's choice, written so that no others give the same text.
pub(crate) struct Escaped<'a>(pub(crate) &'a RawText);

impl Serialize for Escaped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

#[derive(Serialize)]
struct GapEntry<'a> {
    collector: &'a str,
    scope: &'static str,
    protocol: Option<&'static str>,
    netns: Option<Escaped<'a>>,
    netns_kind: Option<&'static str>,
    reason: Escaped<'a>,
}

/// The gaps alone, as they stand in the other documents.
pub fn gaps_document(coverage: &Coverage) -> impl Serialize {
    gaps(&coverage.gaps)
}

fn gaps(gaps: &[Gap]) -> Vec<GapEntry<'_>> {
    gaps.iter().map(gap).collect()
}

fn gap(gap: &Gap) -> GapEntry<'_> {
    GapEntry {
        collector: &gap.collector,
        scope: gap.scope.as_str(),
        protocol: gap.protocol.map(|protocol| protocol.as_str()),
        netns: gap.netns.as_ref().map(|netns| Escaped(&netns.name)),
        netns_kind: gap.netns.as_ref().map(|netns| netns.kind.as_str()),
        reason: Escaped(&gap.reason),
    }
}

#[cfg(test)]
mod tests;
