use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::SystemTime;

use inventory::Inventory;

use crate::assess::{Judge, assess};
use crate::group::{Key, group};
use crate::view::view_holders;
use crate::{Accounts, Assessment, Judged, Policy};

/// An inventory that was assessed, by the same policy.
#[derive(Clone, Copy)]
pub struct Before<'a> {
    /// What was assessed.
    pub inventory: &'a Inventory,
    /// What came of it.
    pub assessment: &'a Assessment,
    /// The accounts by which.
    pub accounts: &'a Accounts,
}

/// What [`assess`] gives, at the cost of judging only services of which a listener opened, closed or changed since.
/// Whoever reads another policy must `assess` first.
pub fn reassess(
    before: Before<'_>,
    inventory: &Inventory,
    policy: &Policy,
    accounts: &Accounts,
    now: SystemTime,
) -> Assessment {
    let judge = Judge::new(inventory, policy, accounts, now);
    if before.assessment.expired != judge.expired || before.accounts != accounts {
        return assess(inventory, policy, accounts, now);
    }
    let mut differs = Differs::between(before, inventory);
    let fresh = differs.place_new(before, inventory, accounts);
    let rejudged = differs.stale.iter().zip(&differs.members).filter(|(stale, _)| **stale);
    let rejudged = rejudged.flat_map(|(_, members)| members).chain(fresh.values().flatten());
    let holders = view_holders(rejudged.map(|place| &inventory.listeners[*place]));
    let known = before.assessment.services.iter().zip(differs.members).zip(differs.stale);
    let known = known.filter(|((_, members), _)| !members.is_empty()).map(|((judged, members), stale)| {
        if stale {
            return judge.judge(judged.service.key.clone(), members, &holders);
        }
        let mut judged = judged.clone();
        judged.service.listeners = members;
        judged
    });
    let fresh = fresh.into_iter().map(|(key, members)| judge.judge(key.named(), members, &holders));
    let services = merge(known, fresh);
    judge.assessment(services)
}

/// What of an assessment holds still, by its services' places.
struct Differs {
    /// Where the listeners that were theirs and are as they were stand now.
    members: Vec<Vec<usize>>,
    /// Whether they have lost a listener, or have a new one.
    stale: Vec<bool>,
    /// Where listeners stand that are new or differ.
    new: Vec<usize>,
}

impl Differs {
    fn between(before: Before<'_>, inventory: &Inventory) -> Self {
        let services = &before.assessment.services;
        let members = services.iter().map(|judged| Vec::with_capacity(judged.service.listeners.len()));
        let (members, stale) = (members.collect(), vec![false; services.len()]);
        let mut differs = Differs { members, stale, new: Vec::new() };
        let mut old = before.inventory.listeners.iter().zip(&before.assessment.service_of).peekable();
        for (place, new) in inventory.listeners.iter().enumerate() {
            while let Some((_, service)) = old.next_if(|(old, _)| old.id < new.id) {
                differs.stale[*service] = true;
            }
            match old.next_if(|(old, _)| old.id == new.id) {
                Some((same, service)) if same == new => differs.members[*service].push(place),
                Some((_, service)) => {
                    differs.stale[*service] = true;
                    differs.new.push(place);
                }
                None => differs.new.push(place),
            }
        }
        old.for_each(|(_, service)| differs.stale[*service] = true);
        differs
    }

    /// Gives new listeners to the services that they belong to. Returns those for which there was none.
    fn place_new(
        &mut self,
        before: Before<'_>,
        inventory: &Inventory,
        accounts: &Accounts,
    ) -> BTreeMap<Key, Vec<usize>> {
        let services = &before.assessment.services;
        let mut groups = group(std::mem::take(&mut self.new), inventory, accounts);
        groups.retain(|key, places| {
            let found = services.binary_search_by(|judged| judged.service.rank().cmp(&key.rank()));
            let Ok(at) = found else { return true };
            self.stale[at] = true;
            self.members[at].append(places);
            self.members[at].sort_unstable();
            false
        });
        groups
    }
}

fn merge(known: impl Iterator<Item = Judged>, fresh: impl Iterator<Item = Judged>) -> Vec<Judged> {
    let (mut known, mut fresh) = (known.peekable(), fresh.peekable());
    let mut merged = Vec::with_capacity(known.size_hint().1.unwrap_or_default());
    loop {
        let next = match (known.peek(), fresh.peek()) {
            (Some(one), Some(other)) => match one.service.rank().cmp(&other.service.rank()) {
                Ordering::Less => known.next(),
                _ => fresh.next(),
            },
            (Some(_), None) => known.next(),
            (None, _) => fresh.next(),
        };
        match next {
            Some(judged) => merged.push(judged),
            None => return merged,
        }
    }
}
