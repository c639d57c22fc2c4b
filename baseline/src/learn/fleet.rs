use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use inventory::RawText;

use super::{Learned, describe, heading, name_all, notes, write_refused};
use crate::edit::render;
use crate::propose::{draft, tidy};
use crate::{
    Approval, Baseline, DriftKind, Host, HostInventory, HostPattern, Policy, Trust, Verdict, When, assess,
};

/// Hosts past these are counted, not named, in a comment.
const NAMED: usize = 3;

/// A baseline for what listens on hosts of different names and what this one does not cover, as [`super::learn`] writes
/// it. What listens alike on several hosts is one approval, for the groups and hosts that have it; for all, where all
/// of at least two do. The order of the hosts decides nothing, and neither does the time at which they were looked at
/// after each other, but for `at`.
pub fn learn_from(
    hosts: &[HostInventory],
    baseline: Option<&Baseline>,
    trust: &Arc<Trust>,
    now: SystemTime,
) -> String {
    let mut hosts: Vec<&HostInventory> = hosts.iter().collect();
    hosts.sort_by(|one, other| one.host.name.cmp(&other.host.name));
    let mut policy = Policy::new(baseline.cloned(), Host::default(), trust.clone());
    let mut seen = Seen::default();
    for (place, host) in hosts.iter().enumerate() {
        policy.host = host.host.clone();
        seen.add(place, host, &policy, now);
    }
    let fleet = Fleet::of(&hosts);
    let mut approvals = seen.approvals(&fleet, &hosts);
    approvals.sort_by_cached_key(Learned::order);
    name_all(&mut approvals, &policy);
    let mut text = heading(&span(&hosts));
    approvals.iter().for_each(|learned| learned.write(&mut text));
    let refused = seen.refused.iter().map(|(what, on)| format!("{what} (on {})", named(on, &hosts)));
    write_refused(&refused.collect(), &mut text);
    text
}

/// Places of hosts, ordered by name.
type Places = BTreeSet<usize>;

/// What listens, each with the hosts that it listens on.
#[derive(Default)]
struct Seen {
    /// By how it is written.
    services: BTreeMap<String, (Learned, Places)>,
    /// What no approval could cover, and why.
    refused: BTreeMap<String, Places>,
}

impl Seen {
    fn add(&mut self, place: usize, host: &HostInventory, policy: &Policy, now: SystemTime) {
        let HostInventory { inventory, accounts, .. } = host;
        for judged in assess(inventory, policy, accounts, now).services {
            let Verdict::Drift(finding) = &judged.verdict else { continue };
            // One that stands there unsigned wants a signature, and no second of its kind.
            if matches!(finding.kind, DriftKind::Outdated | DriftKind::Untrusted) {
                continue;
            }
            let service = &judged.service;
            match draft(service, inventory, accounts) {
                Ok(approval) => {
                    let learned = |approval| Learned { approval, notes: BTreeSet::new() };
                    let service_of = self.services.entry(render(&approval));
                    let (learned, places) = service_of.or_insert_with(|| (learned(approval), Places::new()));
                    learned.notes.extend(notes(service, inventory));
                    places.insert(place);
                }
                Err(why) => {
                    let refused = format!("{}: {why}", describe(service));
                    self.refused.entry(refused).or_default().insert(place);
                }
            }
        }
    }

    /// What has the same holders and the same reach on the same hosts is one approval. What one host alone has besides
    /// changes nothing of what it has in common with others.
    fn approvals(&self, fleet: &Fleet<'_>, hosts: &[&HostInventory]) -> Vec<Learned> {
        let mut merged: BTreeMap<(String, &Places), Learned> = BTreeMap::new();
        for (learned, places) in self.services.values() {
            let listen = learned.approval.listen.clone();
            let approval = Approval { listen: Vec::new(), ..learned.approval.clone() };
            let of_holders = merged.entry((render(&approval), places));
            let one = of_holders.or_insert_with(|| Learned { approval, notes: BTreeSet::new() });
            one.approval.listen.extend(listen);
            one.notes.extend(learned.notes.iter().cloned());
        }
        let finish = |((_, places), mut learned): ((String, &Places), Learned)| {
            tidy(&mut learned.approval.listen);
            learned.approval.hosts = fleet.patterns(places);
            // The first look that saw it: another host, looked at later, changes nothing.
            let times = places.iter().map(|place| hosts[*place].inventory.taken_at);
            learned.approval.at = times.min().map(When::instant);
            learned
        };
        merged.into_iter().map(finish).collect()
    }
}

/// Which hosts there are, and who is in which group.
struct Fleet<'a> {
    names: Vec<&'a RawText>,
    groups: BTreeMap<&'a str, Places>,
}

impl<'a> Fleet<'a> {
    fn of(hosts: &[&'a HostInventory]) -> Self {
        let mut groups: BTreeMap<&str, Places> = BTreeMap::new();
        for (place, host) in hosts.iter().enumerate() {
            for group in host.host.groups.iter().filter(|group| !group.is_empty()) {
                groups.entry(group).or_default().insert(place);
            }
        }
        Fleet { names: hosts.iter().map(|host| &host.host.name).collect(), groups }
    }

    /// These hosts: nothing where they are all of several, else groups of which all are among them, then the rest by name.
    fn patterns(&self, places: &Places) -> Vec<HostPattern> {
        if places.len() == self.names.len() && places.len() > 1 {
            return Vec::new();
        }
        let chosen = self.groups_within(places);
        let covered: Places = chosen.iter().flat_map(|group| &self.groups[group]).copied().collect();
        let groups = chosen.iter().map(|group| HostPattern::Group((*group).to_owned()));
        let rest = places.difference(&covered).map(|place| HostPattern::exactly(self.names[*place]));
        groups.chain(rest).collect()
    }

    /// The largest first, as long as each adds a host; then without those that the others make needless. Ordered.
    fn groups_within(&self, places: &Places) -> BTreeSet<&'a str> {
        let mut within: Vec<(&str, &Places)> = self
            .groups
            .iter()
            .filter(|(_, members)| members.is_subset(places))
            .map(|(group, members)| (*group, members))
            .collect();
        let mut chosen: Vec<(&str, &Places)> = Vec::new();
        let mut missing = places.clone();
        let gain = |members: &Places, missing: &Places| members.intersection(missing).count();
        while let Some((group, members)) = within
            .iter()
            .max_by_key(|(group, members)| (gain(members, &missing), Reverse(*group)))
            .copied()
            .filter(|(_, members)| gain(members, &missing) > 0)
        {
            missing.retain(|place| !members.contains(place));
            within.retain(|(other, _)| *other != group);
            chosen.push((group, members));
        }
        for place in (0..chosen.len()).rev() {
            let others = chosen.iter().enumerate().filter(|(other, _)| *other != place);
            let by_others: Places = others.flat_map(|(_, (_, members))| members.iter()).copied().collect();
            if chosen[place].1.is_subset(&by_others) {
                chosen.remove(place);
            }
        }
        chosen.into_iter().map(|(group, _)| group).collect()
    }
}

/// `3 hosts, from ... to ...`.
fn span(hosts: &[&HostInventory]) -> String {
    let times = || hosts.iter().map(|host| host.inventory.taken_at);
    let (Some(first), Some(last)) = (times().min(), times().max()) else { return "no host".to_owned() };
    let (first, last) = (When::instant(first), When::instant(last));
    match hosts {
        [one] => format!("{} at {first}", one.host.name),
        _ if first == last => format!("{} hosts at {first}", hosts.len()),
        _ => format!("{} hosts from {first} to {last}", hosts.len()),
    }
}

fn named(places: &Places, hosts: &[&HostInventory]) -> String {
    let names = places.iter().take(NAMED).map(|place| hosts[*place].host.name.escaped());
    let names: Vec<String> = names.collect();
    let more = places.len().checked_sub(NAMED).filter(|more| *more > 0);
    names.join(", ") + &more.map(|more| format!(" and {more} more")).unwrap_or_default()
}
