use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};

use inventory::Reach;

use super::Drift;
use crate::DriftId;

/// Which fall where there is room for so many, those of a crowd first, the largest before others, but for the oldest few
/// of each: anybody can open ports by the thousand, and one more or less of these tells nobody anything. Then the least
/// grave; of equals those that fewer can reach, then those that are gone, then the newest. `new` are those that were not
/// open before.
pub(super) fn falling<'d>(
    drifts: impl Iterator<Item = &'d Drift>,
    new: &BTreeSet<DriftId>,
    room: usize,
) -> Vec<DriftId> {
    let mut ranked: Vec<&Drift> = drifts.collect();
    // A clock that was set back must not make what is new older than what is open.
    ranked.sort_by_cached_key(|drift| {
        let finding = &drift.finding;
        // What is missing is no socket that somebody could open.
        let reach = finding.subject.reach.unwrap_or(Reach::Public);
        let is_new = new.contains(drift.id());
        (Reverse(finding.severity), Reverse(reach), !drift.is_present(), is_new, drift.first_seen)
    });
    // By hashes that are taken once: what they are of is long.
    let hasher = RandomState::new();
    let crowds: Vec<u64> = ranked.iter().map(|drift| hasher.hash_one(drift.all_but_port())).collect();
    // The first of a crowd are so by age alone: who was told of is not pushed out by what comes after.
    let mut by_age: Vec<(usize, &Drift)> = ranked.iter().copied().enumerate().collect();
    by_age.sort_by_cached_key(|(_, drift)| (new.contains(drift.id()), drift.first_seen));
    let mut counts: HashMap<u64, usize> = HashMap::with_capacity(ranked.len());
    let mut are_first = vec![false; ranked.len()];
    for (place, _) in by_age {
        if let (Some(crowd), Some(is_first)) = (crowds.get(place), are_first.get_mut(place)) {
            *is_first = count_in(&mut counts, *crowd) <= Drift::CROWD;
        }
    }
    counts.clear();
    let places = ranked.into_iter().zip(crowds).zip(are_first).map(|((drift, crowd), is_first)| {
        let beyond = if is_first { 0 } else { count_in(&mut counts, crowd) };
        (beyond, drift)
    });
    let mut places: Vec<(usize, &Drift)> = places.collect();
    // It is stable: in their places they stay ranked.
    places.sort_by_key(|(beyond, _)| *beyond);
    places.into_iter().skip(room).map(|(_, drift)| drift.id().clone()).collect()
}

/// One more in this crowd.
fn count_in(counts: &mut HashMap<u64, usize>, crowd: u64) -> usize {
    let count = counts.entry(crowd).or_default();
    *count += 1;
    *count
}

#[cfg(test)]
mod tests;
