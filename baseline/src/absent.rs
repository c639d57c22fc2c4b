use std::collections::BTreeSet;

use inventory::{Coverage, Gap, NetNs, NetNsKind, Protocol, RawText, Scope};

use crate::assess::Judge;
use crate::severity::Facts;
use crate::{
    AddressPattern, AddressWord, Approval, DriftId, DriftKind, Finding, NetNsPattern, Policy, PortPattern,
    PortWord, ProgramPattern, Subject,
};

/// Required approvals that nothing was found for, where nothing could hide it. `present` are the places of those that
/// something was found for.
pub(crate) fn absent(judge: &Judge<'_>, present: &BTreeSet<usize>, coverage: &Coverage) -> Vec<Finding> {
    let approvals = judge.policy.baseline.approvals().iter().enumerate();
    let wanted = approvals.filter(|(place, approval)| {
        approval.required
            && judge.is_for_host[*place]
            && judge.policy.baseline.distrust(*place).is_none()
            && !present.contains(place)
            && !approval.is_expired(judge.around.now, judge.around.zone)
            && !may_hide(coverage, approval)
    });
    wanted.filter_map(|(_, approval)| missing(approval, judge.policy)).collect()
}

/// Whether what an approval is about may be there unseen.
pub(crate) fn may_hide(coverage: &Coverage, approval: &Approval) -> bool {
    let of_protocol = |protocol: Protocol| approval.listen.iter().any(|listen| listen.protocol == protocol);
    let in_netns = |netns: &NetNs| approval.netns.iter().any(|pattern| pattern.matches_namespace(netns));
    let on_host_alone = approval.netns.iter().all(|netns| *netns == NetNsPattern::Host);
    // Of a port that the kernel chose, only the holder tells which approval it is about.
    let by_holder = approval.listen.iter().any(|listen| listen.port == PortPattern::Kernel);
    coverage.gaps.iter().any(|gap| {
        gap.protocol.is_none_or(of_protocol)
            && gap.netns.as_ref().is_none_or(in_netns)
            && match gap.scope {
                Scope::Sockets => true,
                Scope::Namespaces => gap.netns.is_some() || !on_host_alone,
                Scope::Holders => by_holder,
                Scope::Addresses | Scope::Events => false,
            }
    })
}

/// Whether a service that was there may be there still, unseen.
pub(crate) fn may_hide_subject(coverage: &Coverage, subject: &Subject, netns_kind: NetNsKind) -> bool {
    let hides = |gap: &Gap| {
        gap.protocol.is_none_or(|protocol| protocol == subject.protocol)
            && gap.netns.as_ref().is_none_or(|netns| netns.kind == netns_kind && netns.name == subject.netns)
            && match gap.scope {
                Scope::Sockets => true,
                Scope::Namespaces => gap.netns.is_some() || netns_kind != NetNsKind::Host,
                Scope::Holders | Scope::Addresses | Scope::Events => false,
            }
    };
    coverage.gaps.iter().any(hides)
}

fn missing(approval: &Approval, policy: &Policy) -> Option<Finding> {
    let subject = subject(approval)?;
    let listen: Vec<String> = approval.listen.iter().map(ToString::to_string).collect();
    Some(Finding {
        id: DriftId(approval.id.as_str().into()),
        kind: DriftKind::Missing,
        also: Vec::new(),
        severity: Facts::severity_of_missing(&subject, approval.team.as_deref(), policy),
        approval: Some(approval.id.clone()),
        differs: vec![format!("it is required, and nothing that it covers listens on {}", listen.join(", "))],
        team: approval.team.clone(),
        subject,
    })
}

/// What is missing, in the words of the approval: its first endpoint.
fn subject(approval: &Approval) -> Option<Subject> {
    let first = approval.listen.first()?;
    let address = match first.address {
        AddressPattern::One(address) => AddressWord::One(address),
        _ => AddressWord::Any,
    };
    let port = match first.port {
        PortPattern::Range(first, last) if first == last => PortWord::Number(first),
        PortPattern::Kernel => PortWord::Kernel,
        PortPattern::Range(..) | PortPattern::Any => PortWord::Any,
    };
    // Patterns are escaped texts; where one is no literal it is shown as it stands.
    let name = |text: &str| RawText::from_escaped(text).unwrap_or_else(|| RawText::from(text));
    let programs = approval.program.iter().map(|program| match program {
        ProgramPattern::Kernel => RawText::from("kernel"),
        ProgramPattern::Path(path) => name(path.as_str()),
    });
    let workloads = approval.unit.iter().chain(&approval.service).chain(&approval.image);
    Some(Subject {
        protocol: first.protocol,
        address,
        port,
        device: first.device.as_ref().map(|device| name(device.as_str())),
        netns: approval.netns.first().map_or_else(RawText::default, |netns| name(&netns.to_string())),
        programs: programs.collect(),
        users: approval.user.iter().map(ToString::to_string).collect(),
        workloads: workloads.map(|pattern| name(pattern.as_str())).collect(),
        reach: None,
    })
}
