use std::collections::BTreeMap;
use std::fmt;

use baseline::Severity;
use serde::{Deserialize, Serialize};

use crate::page::shown;

/// The only form of answers that is understood.
pub(super) const SCHEMA: u32 = 1;

/// Text in an answer: escaped, however the daemon wrote it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(from = "String")]
pub(super) struct Told(String);

impl From<String> for Told {
    fn from(text: String) -> Self {
        Told(shown(&text))
    }
}

impl Told {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What `/api/v1/status` gives.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Status {
    pub(super) schema: u32,
    pub(super) host: Option<Told>,
    pub(super) now: Told,
    pub(super) taken_at: Option<Told>,
    pub(super) ready: bool,
    pub(super) unready: Option<Told>,
    pub(super) sensor: SensorStatus,
    pub(super) mode: Option<Mode>,
    pub(super) baseline: BaselineStatus,
    pub(super) drifts: Counts,
    pub(super) coverage: Option<Coverage>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct SensorStatus {
    pub(super) last_frame: Option<Told>,
    pub(super) silent_seconds: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    Observe,
    Enforce,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct BaselineStatus {
    pub(super) revision: Option<Told>,
    pub(super) approvals: u64,
    pub(super) last_reload_successful: bool,
}

/// A severity that is missing would be one that nobody counted, so all must be there.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Counts {
    pub(super) critical: Count,
    pub(super) warning: Count,
    pub(super) info: Count,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Count {
    /// Those that are gone among them.
    pub(super) open: u64,
    pub(super) gone: u64,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Coverage {
    pub(super) may_hide_listeners: bool,
    pub(super) may_hide_holders: bool,
    pub(super) gaps: u64,
    pub(super) shares: BTreeMap<Told, Share>,
    pub(super) events: Told,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Share {
    pub(super) seen: u64,
    pub(super) of: u64,
}

/// What `/api/v1/drift` gives, as far as it is told here.
#[derive(Debug, Deserialize)]
pub(super) struct Details {
    pub(super) schema: u32,
    pub(super) drifts: Vec<Drift>,
    pub(super) gaps: Vec<Gap>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Drift {
    pub(super) id: Told,
    pub(super) kind: Told,
    pub(super) severity: Severity,
    pub(super) differs: Vec<Told>,
    pub(super) protocol: Told,
    pub(super) address: Told,
    pub(super) port: Port,
    pub(super) device: Option<Told>,
    pub(super) netns: Told,
    pub(super) programs: Vec<Told>,
    pub(super) users: Vec<Told>,
    pub(super) workloads: Vec<Told>,
    pub(super) reach: Option<Told>,
    pub(super) first_seen: Option<Told>,
    pub(super) gone_since: Option<Told>,
    pub(super) state: Told,
}

/// A number, `kernel`, or `*`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Port {
    Number(u16),
    Word(Told),
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Port::Number(number) => number.fmt(f),
            Port::Word(word) => word.fmt(f),
        }
    }
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Gap {
    pub(super) collector: Told,
    pub(super) scope: Told,
    pub(super) protocol: Option<Told>,
    pub(super) netns: Option<Told>,
    pub(super) reason: Told,
}
