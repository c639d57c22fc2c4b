use std::collections::BTreeMap;
use std::fmt;

use baseline::{Severity, Verdict};
use serde::{Deserialize, Serialize};

use crate::page::shown;

/// The only form of answers that is understood.
pub(crate) const SCHEMA: u32 = 1;

/// Text in an answer: escaped, however the daemon wrote it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(from = "String")]
pub(crate) struct Told(String);

impl From<String> for Told {
    fn from(text: String) -> Self {
        Told(shown(&text))
    }
}

impl Told {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Told {
    fn as_ref(&self) -> &str {
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
pub(crate) struct Status {
    pub(crate) schema: u32,
    pub(crate) host: Option<Told>,
    pub(crate) now: Told,
    pub(crate) taken_at: Option<Told>,
    pub(crate) ready: bool,
    pub(crate) unready: Option<Told>,
    pub(crate) sensor: SensorStatus,
    pub(crate) mode: Option<Mode>,
    pub(crate) baseline: BaselineStatus,
    /// A daemon of an older version does not tell.
    #[serde(default)]
    pub(crate) listeners: Option<u64>,
    pub(crate) drifts: Counts,
    pub(crate) coverage: Option<Coverage>,
}

impl Status {
    /// Whether the daemon stands by what it tells. One that says both is not believed.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready && self.unready.is_none()
    }
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct SensorStatus {
    pub(crate) last_frame: Option<Told>,
    pub(crate) silent_seconds: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    Observe,
    Enforce,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct BaselineStatus {
    pub(crate) revision: Option<Told>,
    pub(crate) approvals: u64,
    pub(crate) last_reload_successful: bool,
}

/// A severity that is missing would be one that nobody counted, so all must be there.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Counts {
    pub(crate) critical: Count,
    pub(crate) warning: Count,
    pub(crate) info: Count,
}

impl Counts {
    pub(crate) fn of(self, severity: Severity) -> Count {
        match severity {
            Severity::Critical => self.critical,
            Severity::Warning => self.warning,
            Severity::Info => self.info,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Count {
    /// Those that are gone among them.
    pub(crate) open: u64,
    pub(crate) gone: u64,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Coverage {
    pub(crate) may_hide_listeners: bool,
    pub(crate) may_hide_holders: bool,
    pub(crate) gaps: u64,
    pub(crate) shares: BTreeMap<Told, Share>,
    pub(crate) events: Told,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Share {
    pub(crate) seen: u64,
    pub(crate) of: u64,
}

/// What `/api/v1/drift` gives, as far as it is told here.
#[derive(Debug, Deserialize)]
pub(crate) struct Details {
    pub(crate) schema: u32,
    pub(crate) drifts: Vec<Drift>,
    pub(crate) gaps: Vec<Gap>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Drift {
    pub(crate) id: Told,
    pub(crate) kind: Told,
    pub(crate) severity: Severity,
    pub(crate) differs: Vec<Told>,
    pub(crate) protocol: Told,
    pub(crate) address: Told,
    pub(crate) port: Port,
    pub(crate) device: Option<Told>,
    pub(crate) netns: Told,
    pub(crate) programs: Vec<Told>,
    pub(crate) users: Vec<Told>,
    pub(crate) workloads: Vec<Told>,
    pub(crate) reach: Option<Told>,
    pub(crate) first_seen: Option<Told>,
    pub(crate) gone_since: Option<Told>,
    pub(crate) state: Told,
    /// As the next two, an older daemon does not tell it.
    pub(crate) summary: Option<Told>,
    pub(crate) started_by: Option<Told>,
    pub(crate) page: Option<Told>,
}

/// A number, `kernel`, or `*`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum Port {
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

/// What `/api/v1/listeners` gives, as far as it is told here.
#[derive(Debug, Deserialize)]
pub(crate) struct Listeners {
    pub(crate) schema: u32,
    pub(crate) listeners: Vec<Listener>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Listener {
    pub(crate) service: Option<Told>,
    pub(crate) protocol: Told,
    pub(crate) address: Told,
    pub(crate) port: u16,
    pub(crate) netns: NetNs,
    pub(crate) reach: Told,
    pub(crate) holders: Vec<Holder>,
    pub(crate) verdict: Told,
    pub(crate) drift: Option<Kind>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct NetNs {
    pub(crate) name: Told,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Holder {
    pub(crate) program: Option<Told>,
    pub(crate) uid: u32,
    pub(crate) user: Option<Told>,
    pub(crate) workload: Workload,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Workload {
    pub(crate) name: Option<Told>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Kind {
    pub(crate) kind: Told,
}

impl Listener {
    /// Sockets of UDP clients are no services.
    pub(crate) fn is_judged(&self) -> bool {
        self.verdict.as_str() != Verdict::Unjudged.as_str()
    }

    /// Each once, in the order of the holders.
    pub(crate) fn programs(&self) -> Vec<Told> {
        self.of_holders(|holder| holder.program.clone())
    }

    /// By name, by number where there is none.
    pub(crate) fn users(&self) -> Vec<Told> {
        let named = |holder: &Holder| holder.user.clone();
        self.of_holders(|holder| named(holder).or_else(|| Some(Told::from(holder.uid.to_string()))))
    }

    pub(crate) fn workloads(&self) -> Vec<Told> {
        self.of_holders(|holder| holder.workload.name.clone())
    }

    fn of_holders(&self, text: impl Fn(&Holder) -> Option<Told>) -> Vec<Told> {
        let mut texts = Vec::new();
        for text in self.holders.iter().filter_map(text) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        texts
    }
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Gap {
    pub(crate) collector: Told,
    pub(crate) scope: Told,
    pub(crate) protocol: Option<Told>,
    pub(crate) netns: Option<Told>,
    pub(crate) reason: Told,
}
