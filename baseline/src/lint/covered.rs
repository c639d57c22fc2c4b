use std::collections::{BTreeSet, HashMap};

use super::places::Places;
use crate::{Approval, HostPattern};

/// Approvals that say the same are held against each other up to this many, so that a thousand that differ in their
/// hosts alone cost no million comparisons.
const COMPARED: usize = 32;

/// Approvals that could go, each with another one that covers all that it covers: both are places in the list.
pub(super) fn covered(approvals: &[Approval], places: &Places<'_>) -> Vec<(usize, usize)> {
    let mut alike: HashMap<Matching<'_>, Vec<usize>> = HashMap::new();
    for (place, approval) in approvals.iter().enumerate() {
        alike.entry(Matching::of(approval)).or_default().push(place);
    }
    let mut found = Vec::new();
    for group in alike.into_values().filter(|group| group.len() > 1) {
        add_covered(&group, approvals, places, &mut found);
    }
    found
}

fn add_covered(
    group: &[usize],
    approvals: &[Approval],
    places: &Places<'_>,
    found: &mut Vec<(usize, usize)>,
) {
    let mut of_host: HashMap<Option<&HostPattern>, Vec<usize>> = HashMap::new();
    for place in group {
        let hosts = &approvals[*place].hosts;
        let keys: Vec<_> = if hosts.is_empty() { vec![None] } else { hosts.iter().map(Some).collect() };
        keys.into_iter().for_each(|key| of_host.entry(key).or_default().push(*place));
    }
    // Of two that say the same the later one could go.
    let order = |place: usize| {
        let at = places.id(&approvals[place].id);
        at.map(|at| (at.text, at.span.start))
    };
    for place in group {
        let for_all = of_host.get(&None).into_iter().flatten().take(COMPARED);
        let first = approvals[*place].hosts.first();
        let for_first = of_host.get(&first).into_iter().flatten().take(COMPARED);
        let covers = |other: &&usize| {
            let (own, by) = (&approvals[*place], &approvals[**other]);
            **other != *place && covers(by, own) && (!covers(own, by) || order(**other) < order(*place))
        };
        found.extend(for_all.chain(for_first).find(covers).map(|other| (*place, *other)));
    }
}

/// Of two approvals that match alike, hosts and time apart.
fn covers(by: &Approval, own: &Approval) -> bool {
    let hosts: BTreeSet<&HostPattern> = by.hosts.iter().collect();
    let everywhere =
        hosts.is_empty() || !own.hosts.is_empty() && own.hosts.iter().all(|host| hosts.contains(host));
    let as_long = by.expires.is_none() || by.expires == own.expires;
    // One that was learned says less than one that somebody approved.
    everywhere && as_long && (!by.is_learned() || own.is_learned()) && (by.required || !own.required)
}

/// All that decides what an approval matches but hosts and time, in whatever order it is written.
#[derive(PartialEq, Eq, Hash)]
struct Matching<'a> {
    listen: Vec<&'a crate::Listen>,
    program: Vec<&'a crate::ProgramPattern>,
    patterns: [Vec<&'a crate::Pattern>; 4],
    user: Vec<&'a crate::User>,
    group: Vec<&'a String>,
    netns: Vec<&'a crate::NetNsPattern>,
    sha256: Vec<&'a [u8; 32]>,
    reach: Option<inventory::Reach>,
}

impl<'a> Matching<'a> {
    fn of(approval: &'a Approval) -> Self {
        Matching {
            listen: sorted(&approval.listen),
            program: sorted(&approval.program),
            patterns: [&approval.unit, &approval.arguments, &approval.image, &approval.service]
                .map(|patterns| sorted(patterns)),
            user: sorted(&approval.user),
            group: sorted(&approval.group),
            netns: sorted(&approval.netns),
            sha256: sorted(&approval.sha256),
            reach: approval.reach,
        }
    }
}

fn sorted<T: Ord>(all: &[T]) -> Vec<&T> {
    let mut sorted: Vec<&T> = all.iter().collect();
    sorted.sort();
    sorted.dedup();
    sorted
}
