//! What a person is told of drift: the same words and the same labels, whichever way they arrive.

mod moment;
mod packed;
mod summary;
mod text;
mod told;

use std::time::SystemTime;

use baseline::{Drift, DriftKind, Policy, Remedy, Severity, remedy_by};
use serde::{Deserialize, Serialize};

pub(crate) use moment::Moment;
pub(crate) use packed::{InCommon, Packed};
pub(crate) use summary::{of_host, over, summary};
pub(crate) use told::{Told, told};
pub use told::{id_together, is_of_many};

/// What each alert of drift is called, as the rule is.
pub(crate) const NAME: &str = "PortledgerDrift";

/// A drift, or many that differ in port alone, as it is told to somebody who shall look at it. All texts are escaped: they
/// are one line each, and of characters that are seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Alert {
    /// The drift's id; of many that of their group, `m1-…`.
    pub(crate) drift: String,
    /// The host, as the configuration calls it.
    pub(crate) host: String,
    pub(crate) kind: DriftKind,
    pub(crate) severity: Severity,
    pub(crate) protocol: String,
    pub(crate) address: String,
    /// A number, `kernel`, `*`, or `many`.
    pub(crate) port: String,
    /// Joined by `,`, as the next two.
    pub(crate) program: String,
    pub(crate) user: String,
    pub(crate) workload: String,
    pub(crate) netns: String,
    /// Empty for what is missing.
    pub(crate) reach: String,
    /// Empty where the approval names none.
    pub(crate) team: String,
    /// At most [`summary::MOST`] characters.
    pub(crate) summary: String,
    /// Processes and login.
    pub(crate) started_by: Option<String>,
    /// The nearest approval.
    pub(crate) approval: Option<String>,
    /// In what it differs from it, or that there is none.
    pub(crate) differs: Vec<String>,
    pub(crate) first_seen: Moment,
    /// Where none of it is there any more.
    pub(crate) gone_since: Option<Moment>,
    /// By when somebody must have done with it, where the configuration gives a time.
    #[serde(default)]
    pub(crate) remedy_by: Option<Moment>,
    /// Where it is told of in full: a path, or the whole address where it is known.
    pub(crate) page: String,
}

/// Where alerts say that they come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sender {
    /// What the configuration calls this host, escaped.
    pub(crate) host: String,
    /// By which address others reach the exporter's pages, without a `/` at its end.
    pub(crate) external_url: String,
    /// How long drift may be open.
    pub(crate) remedy: Remedy,
}

impl Sender {
    pub(crate) fn of(policy: &Policy, external_url: String) -> Self {
        Sender { host: policy.host.name.escaped(), external_url, remedy: policy.remedy }
    }

    /// Where a drift is told of in full.
    pub(crate) fn page(&self, drift: &str) -> String {
        format!("{}/drift/{drift}", self.external_url)
    }

    pub(crate) fn remedy_by(&self, drift: &Drift) -> Option<SystemTime> {
        remedy_by(drift, &self.remedy)
    }

    pub(crate) fn alert(&self, told: &Told<'_>) -> Alert {
        let drift = told.drift;
        let finding = &drift.finding;
        let [_, _, protocol, address, port, program, user, workload, netns, reach, team] = told.labels();
        let id = told.id();
        Alert {
            summary: summary(&self.host, finding, told.many),
            page: self.page(&id),
            drift: id,
            host: self.host.clone(),
            kind: finding.kind,
            severity: finding.severity,
            protocol,
            address,
            port,
            program,
            user,
            workload,
            netns,
            reach,
            team,
            started_by: text::started_by(drift),
            approval: finding.approval.as_deref().map(text::escaped),
            differs: finding.differs.iter().map(|sentence| text::escaped(sentence)).collect(),
            first_seen: told.first_seen.into(),
            gone_since: drift.gone_since.filter(|_| !told.present).map(Moment::from),
            remedy_by: self.remedy_by(drift).map(Moment::from),
        }
    }
}

/// Who started what a drift was found on, in words; `None` where nothing tells it.
pub(crate) fn started_by(drift: &Drift) -> Option<String> {
    text::started_by(drift)
}

impl Alert {
    /// Whoever has the alert as `portledger_drift_info` has these, and none that changes while it is open but `severity`.
    pub(crate) fn labels(&self) -> [(&'static str, &str); 12] {
        [
            ("drift", &self.drift),
            ("kind", self.kind.as_str()),
            ("severity", self.severity.as_str()),
            ("protocol", &self.protocol),
            ("address", &self.address),
            ("port", &self.port),
            ("program", &self.program),
            ("user", &self.user),
            ("workload", &self.workload),
            ("netns", &self.netns),
            ("reach", &self.reach),
            ("team", &self.team),
        ]
    }

    /// Many that differ in port alone.
    pub(crate) fn is_many(&self) -> bool {
        self.port == "many"
    }

    /// What to read below the summary: who, who started it, why it is drift, since when, how to look closer, what then.
    pub(crate) fn description(&self) -> String {
        text::description(self)
    }
}

#[cfg(test)]
mod tests;
