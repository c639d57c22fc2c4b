use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use inventory::RawText;

use crate::{
    Baseline, DriftKind, Finding, HostInventory, Judged, Policy, Severity, Subject, Trust, Verdict, assess,
};

/// Which verdicts another baseline changes on many hosts.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Plan {
    /// What gets worse first, the gravest of it before the rest.
    pub changes: Vec<Change>,
    /// How many hosts were judged.
    pub hosts: usize,
    /// How many services were, all hosts together.
    pub services: usize,
    /// Hosts on which not all sockets or holders were seen.
    pub partial: BTreeSet<RawText>,
    /// Groups of accounts that one of the baselines names, with the hosts whose inventory does not tell who is in them:
    /// approvals that name one cannot cover anything there.
    pub untold_groups: BTreeMap<String, BTreeSet<RawText>>,
}

/// Services that are judged alike before, and alike afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whether that is better.
    pub turn: Turn,
    /// By the old baseline.
    pub before: Summary,
    /// By the new one.
    pub after: Summary,
    /// Of each such service, and of each approval that is missing, by id.
    pub touched: BTreeMap<Arc<str>, Touched>,
}

/// A service of a [`Change`], which can be on many hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// What it is, in the words of the first host.
    pub subject: Subject,
    /// In what it differs afterwards, in the words of the first host; empty where it does not drift.
    pub differs: Vec<String>,
    /// Where it is.
    pub hosts: BTreeSet<RawText>,
}

/// Whether a change is one for the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// It becomes drift, or graver.
    Worse,
    /// It was no drift and is none.
    Otherwise,
    /// It is drift no more, or less grave.
    Better,
}

impl Turn {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Turn; 3] = [Turn::Worse, Turn::Otherwise, Turn::Better];

    /// The word used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Turn::Worse => "worse",
            Turn::Otherwise => "otherwise",
            Turn::Better => "better",
        }
    }
}

/// What one baseline says of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Summary {
    /// This approval covers it.
    Approved(Arc<str>),
    /// This one, which was learned, does.
    Learned(Arc<str>),
    /// It is not judged.
    Unjudged,
    /// Of something `required`: it is not missing, or not required.
    NotMissing,
    /// It drifts.
    Drift {
        /// How soon somebody should look.
        severity: Severity,
        /// The gravest reason.
        kind: DriftKind,
        /// The approval that differs least.
        approval: Option<Arc<str>>,
    },
}

impl Summary {
    fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Approved(id) => Summary::Approved(id.clone()),
            Verdict::Learned(id) => Summary::Learned(id.clone()),
            Verdict::Unjudged => Summary::Unjudged,
            Verdict::Drift(finding) => Summary::of_finding(finding),
        }
    }

    fn of_finding(finding: &Finding) -> Self {
        Summary::Drift {
            severity: finding.severity,
            kind: finding.kind,
            approval: finding.approval.as_deref().map(Arc::from),
        }
    }

    /// How grave it is; nothing of what is no drift.
    fn weight(&self) -> Option<(Severity, Reverse<DriftKind>)> {
        match self {
            // An approval that does not count has made nothing better.
            Summary::Drift { severity, kind: DriftKind::Untrusted, .. } => {
                Some((*severity, Reverse(DriftKind::Unapproved)))
            }
            Summary::Drift { severity, kind, .. } => Some((*severity, Reverse(*kind))),
            _ => None,
        }
    }

    fn kind(&self) -> Option<DriftKind> {
        match self {
            Summary::Drift { kind, .. } => Some(*kind),
            _ => None,
        }
    }

    /// `None` where nothing changes. Which approval a drift is told against is no change.
    fn turn_to(&self, after: &Summary) -> Option<Turn> {
        match (self.weight(), after.weight()) {
            (before, after) if after > before => Some(Turn::Worse),
            (before, after) if after < before => Some(Turn::Better),
            (None, None) if self != after => Some(Turn::Otherwise),
            _ if self.kind() != after.kind() => Some(Turn::Otherwise),
            _ => None,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Summary::Approved(id) => write!(f, "approved by {id}"),
            Summary::Learned(id) => write!(f, "learned by {id}"),
            Summary::Unjudged => f.write_str("unjudged"),
            Summary::NotMissing => f.write_str("not missing"),
            Summary::Drift { severity, kind, approval } => {
                write!(f, "drift {kind}")?;
                if let Some(approval) = approval.as_ref().filter(|_| *kind != DriftKind::Unapproved) {
                    write!(f, " from {approval}")?;
                }
                write!(f, ", {severity}")
            }
        }
    }
}

/// Judges what listened on these hosts by both baselines at one instant.
pub fn plan(
    old: Baseline,
    new: Baseline,
    hosts: &[HostInventory],
    trust: &Arc<Trust>,
    now: SystemTime,
) -> Plan {
    let mut old = Policy::new(Some(old), crate::Host::default(), trust.clone());
    let mut new = Policy::new(Some(new), crate::Host::default(), trust.clone());
    let mut changes: BTreeMap<(Turn, Summary, Summary), BTreeMap<Arc<str>, Touched>> = BTreeMap::new();
    let mut plan = Plan { hosts: hosts.len(), ..Plan::default() };
    for HostInventory { host, inventory, accounts } in hosts {
        (old.host, new.host) = (host.clone(), host.clone());
        let before = assess(inventory, &old, accounts, now);
        let after = assess(inventory, &new, accounts, now);
        plan.services += after.services.len();
        let coverage = &inventory.coverage;
        if coverage.may_hide_listeners() || coverage.may_hide_holders() {
            plan.partial.insert(host.name.clone());
        }
        for group in old.baseline.unknown_groups(accounts).chain(new.baseline.unknown_groups(accounts)) {
            plan.untold_groups.entry(group.to_owned()).or_default().insert(host.name.clone());
        }
        let mut note = |id: &Arc<str>, before: Summary, after: Summary, touched: &dyn Fn() -> Touched| {
            let Some(turn) = before.turn_to(&after) else { return };
            let of_change = changes.entry((turn, before, after)).or_default();
            of_change.entry(id.clone()).or_insert_with(touched).hosts.insert(host.name.clone());
        };
        // The baseline has no part in what is one service, so that both have the same.
        for (before, after) in before.services.iter().zip(&after.services) {
            let touched = || Touched::of(after);
            note(&after.service.id.0, Summary::of(&before.verdict), Summary::of(&after.verdict), &touched);
        }
        for (id, (before, after)) in absent(&before.absent, &after.absent) {
            let standing =
                |finding: Option<&Finding>| finding.map_or(Summary::NotMissing, Summary::of_finding);
            let Some(finding) = after.or(before) else { continue };
            note(&id, standing(before), standing(after), &|| Touched::absent(finding, after.is_some()));
        }
    }
    let changes = changes.into_iter();
    plan.changes =
        changes.map(|((turn, before, after), touched)| Change { turn, before, after, touched }).collect();
    plan.changes.sort_by_key(|change| (change.turn, Reverse(change.after.weight())));
    plan
}

type BeforeAndAfter<'a> = (Option<&'a Finding>, Option<&'a Finding>);

fn absent<'a>(before: &'a [Finding], after: &'a [Finding]) -> BTreeMap<Arc<str>, BeforeAndAfter<'a>> {
    let mut all: BTreeMap<Arc<str>, BeforeAndAfter<'a>> = BTreeMap::new();
    for finding in before {
        all.entry(finding.id.0.clone()).or_default().0 = Some(finding);
    }
    for finding in after {
        all.entry(finding.id.0.clone()).or_default().1 = Some(finding);
    }
    all
}

impl Touched {
    fn of(judged: &Judged) -> Self {
        let differs = match &judged.verdict {
            Verdict::Drift(finding) => finding.differs.clone(),
            _ => Vec::new(),
        };
        Touched { subject: Subject::of(&judged.service), differs, hosts: BTreeSet::new() }
    }

    fn absent(finding: &Finding, afterwards: bool) -> Self {
        let differs = if afterwards { finding.differs.clone() } else { Vec::new() };
        Touched { subject: finding.subject.clone(), differs, hosts: BTreeSet::new() }
    }
}

impl Plan {
    /// Some service becomes drift, or graver.
    pub fn gets_worse(&self) -> bool {
        self.changes.iter().any(|change| change.turn == Turn::Worse)
    }

    /// On some host not all was seen that a verdict is made of.
    pub fn is_partial(&self) -> bool {
        !self.partial.is_empty() || !self.untold_groups.is_empty()
    }
}
