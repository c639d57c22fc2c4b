mod sought;

use std::time::SystemTime;

use inventory::Inventory;

pub use self::sought::{Sought, is_meant};
use crate::assess::Judge;
use crate::difference::{differences, speaks_of};
use crate::view::{HolderViews, ServiceView, view_holders};
use crate::{Accounts, Approval, Assessment, Judged, Listen, NetNsPattern, Policy, PortPattern, Verdict};

/// Why what listens somewhere is judged as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation<'a> {
    /// What listens there.
    pub services: Vec<Explained<'a>>,
    /// Where nothing does: the approvals that would speak of it.
    pub awaited: Vec<Regarded<'a>>,
}

/// A service with all approvals that have to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained<'a> {
    /// The service and its verdict.
    pub judged: &'a Judged,
    /// Why nothing is said of it, where that is so.
    pub unjudged: Option<&'static str>,
    /// Those that cover it first, then those that speak of it, then the others.
    pub approvals: Vec<Regarded<'a>>,
}

/// An approval as it regards a service or an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regarded<'a> {
    /// Which.
    pub approval: &'a Approval,
    /// How.
    pub regard: Regard,
    /// In what it differs, a sentence each.
    pub differs: Vec<String>,
}

/// How an approval regards a service, from the nearest to the farthest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Regard {
    /// It covers it.
    Covers,
    /// It would cover it as far as can be seen: who holds the service could not be.
    MayCover,
    /// It speaks of it, and does not cover it.
    Speaks,
    /// It would speak of it on another host.
    OtherHosts,
    /// It would in another namespace.
    OtherNamespace,
    /// It would if the protocol were another one.
    OtherProtocol,
}

impl Regard {
    /// The word used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Regard::Covers => "covers",
            Regard::MayCover => "may_cover",
            Regard::Speaks => "speaks",
            Regard::OtherHosts => "other_hosts",
            Regard::OtherNamespace => "other_namespace",
            Regard::OtherProtocol => "other_protocol",
        }
    }
}

/// Finds what is sought in an inventory that was judged, and holds it against every approval. Of the id of an approval that
/// is all that it speaks of.
pub fn explain<'a>(
    sought: &Sought,
    inventory: &Inventory,
    policy: &'a Policy,
    accounts: &Accounts,
    assessment: &'a Assessment,
    now: SystemTime,
) -> Explanation<'a> {
    let judge = Judge::new(inventory, policy, accounts, now);
    let holders = view_holders(&inventory.listeners);
    let approval = policy.baseline.approvals().iter().find(|approval| sought.is_approval(approval));
    let is_spoken_of = |judged: &Judged| {
        let view = || ServiceView::of(&judged.service, inventory, &holders);
        approval.is_some_and(|approval| speaks_of(approval, &view()))
    };
    let services = assessment.services.iter();
    let found = services.filter(|judged| sought.is_service(judged, inventory) || is_spoken_of(judged));
    let services = found.map(|judged| explained(&judge, judged, inventory, policy, &holders));
    let services: Vec<Explained<'a>> = services.collect();
    let awaited = if services.is_empty() { awaited(&judge, sought, policy, assessment) } else { Vec::new() };
    Explanation { services, awaited }
}

fn explained<'a>(
    judge: &Judge<'_>,
    judged: &'a Judged,
    inventory: &Inventory,
    policy: &'a Policy,
    holders: &HolderViews<'_>,
) -> Explained<'a> {
    let view = ServiceView::of(&judged.service, inventory, holders);
    let approvals = policy.baseline.approvals().iter().zip(&judge.is_for_host);
    let mut regarded: Vec<Regarded<'a>> =
        approvals.filter_map(|(approval, here)| regarded(approval, *here, &view, judge)).collect();
    regarded.sort_by_key(|regarded| (regarded.regard, regarded.differs.len()));
    let unjudged = match judged.verdict {
        Verdict::Unjudged if view.is_udp_client() => {
            Some("the kernel chose its port: it asks, and nobody asks it")
        }
        Verdict::Unjudged if view.is_connected() => Some("it takes packets of one peer alone"),
        Verdict::Unjudged if !judge.is_judged(&view) => {
            Some("a [[scope]] leaves it unjudged, or it is in a container and not published")
        }
        Verdict::Unjudged => Some("an approval may cover it, and who holds it could not be seen"),
        _ => None,
    };
    Explained { judged, unjudged, approvals: regarded }
}

fn regarded<'a>(
    approval: &'a Approval,
    here: bool,
    view: &ServiceView<'_>,
    judge: &Judge<'_>,
) -> Option<Regarded<'a>> {
    if !speaks_of(approval, view) {
        let regard = near(approval, view).filter(|_| here)?;
        return Some(Regarded { approval, regard, differs: Vec::new() });
    }
    let differences = differences(approval, view, judge.around);
    let regard = match differences.iter().all(|difference| difference.kind().is_none()) {
        _ if !here => Regard::OtherHosts,
        true if differences.is_empty() => Regard::Covers,
        true => Regard::MayCover,
        false => Regard::Speaks,
    };
    let sentence = |difference: &crate::difference::Difference<'_>| {
        difference.sentence(approval, view, judge.around.accounts)
    };
    let mut differs: Vec<String> = differences.iter().map(sentence).collect();
    // It covers by what it says, and does not count.
    let distrust = judge.policy.baseline.standing(&approval.id).and_then(|known| known.distrust.as_ref());
    let regard = if distrust.is_some() { regard.max(Regard::Speaks) } else { regard };
    differs.extend(distrust.map(ToString::to_string));
    Some(Regarded { approval, regard, differs })
}

/// Whether it would speak of the service but for the namespace or the protocol, on one of its very ports.
fn near(approval: &Approval, view: &ServiceView<'_>) -> Option<Regard> {
    let names_port = |listen: &Listen| match listen.port {
        PortPattern::Range(first, last) => view.spots.iter().any(|spot| (first..=last).contains(&spot.port)),
        PortPattern::Any | PortPattern::Kernel => false,
    };
    let of_port = || approval.listen.iter().filter(|listen| names_port(listen));
    let netns = |pattern: &NetNsPattern| pattern.matches(view.service.netns_kind, &view.netns);
    let same_protocol = of_port().any(|listen| listen.protocol == view.service.protocol);
    match (same_protocol, approval.netns.iter().any(netns)) {
        (true, false) => Some(Regard::OtherNamespace),
        (false, true) if of_port().next().is_some() => Some(Regard::OtherProtocol),
        _ => None,
    }
}

fn awaited<'a>(
    judge: &Judge<'_>,
    sought: &Sought,
    policy: &'a Policy,
    assessment: &'a Assessment,
) -> Vec<Regarded<'a>> {
    let approvals = policy.baseline.approvals().iter().zip(&judge.is_for_host);
    let meant =
        approvals.filter(|(approval, _)| sought.is_approval(approval) || sought.is_spoken_of_by(approval));
    let regarded = meant.map(|(approval, here)| {
        let missing = assessment.absent.iter().find(|finding| finding.id.as_str() == approval.id);
        let mut differs = missing.map(|finding| finding.differs.clone()).unwrap_or_default();
        if approval.is_expired(judge.around.now, judge.around.zone) {
            differs.push("it has expired".to_owned());
        }
        let regard = if *here { Regard::Speaks } else { Regard::OtherHosts };
        Regarded { approval, regard, differs }
    });
    let mut all: Vec<Regarded<'a>> = regarded.collect();
    all.sort_by_key(|regarded| regarded.regard);
    all
}
