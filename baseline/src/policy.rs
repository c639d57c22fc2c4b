use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use inventory::RawText;

use crate::{Baseline, HostPattern, Mode, Remedy, SeverityRules, Trust};

/// Everything by which an inventory is judged.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What is approved.
    pub baseline: Baseline,
    /// Where.
    pub host: Host,
    /// Whether anything counts.
    pub mode: Mode,
    /// How long a required service may be absent before that is drift.
    pub missing_after: Duration,
    /// How grave drift is.
    pub severities: SeverityRules,
    /// How long it may be open.
    pub remedy: Remedy,
    /// Whose word counts, and in which time zone dates of the baseline are meant.
    pub trust: Arc<Trust>,
}

impl Policy {
    /// How long a required service may be absent, where the configuration says nothing.
    pub const MISSING_AFTER: Duration = Duration::from_secs(5 * 60);

    /// What holds where the configuration says nothing: without a baseline nothing counts.
    pub fn new(baseline: Option<Baseline>, host: Host, trust: Arc<Trust>) -> Self {
        let mode = if baseline.is_some() { Mode::Enforce } else { Mode::Observe };
        let baseline = baseline.unwrap_or_default();
        let (severities, remedy) = Default::default();
        Policy { baseline, host, mode, missing_after: Policy::MISSING_AFTER, severities, remedy, trust }
    }
}

/// What a host is called, and the groups that its configuration puts it in.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Host {
    /// Its name.
    pub name: RawText,
    /// Groups, without the `@`.
    pub groups: BTreeSet<String>,
}

impl Host {
    /// Whether a list of hosts takes this one in; an empty list takes in all.
    pub fn is_among(&self, hosts: &[HostPattern]) -> bool {
        if hosts.is_empty() {
            return true;
        }
        let name = self.name.escaped();
        hosts.iter().any(|host| match host {
            HostPattern::Group(group) => self.groups.contains(group),
            HostPattern::Name(pattern) => pattern.matches(&name),
        })
    }
}
