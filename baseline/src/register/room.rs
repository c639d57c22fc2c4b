use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use inventory::Reach;

use super::Drift;
use crate::DriftId;

/// Which fall where there is room for so many, those of a crowd first, the largest before others: anybody can open ports
/// by the thousand, and one more or less of these tells nobody anything. Then the least grave; of equals those that fewer
/// can reach, then those that are gone, then the newest. `new` are those that were not open before.
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
    let mut alike = HashMap::new();
    let places = ranked.into_iter().map(|drift| {
        let before: &mut usize = alike.entry(drift.all_but_port()).or_default();
        *before += 1;
        (before.saturating_sub(Drift::CROWD), drift)
    });
    let mut places: Vec<(usize, &Drift)> = places.collect();
    // It is stable: in their places they stay ranked.
    places.sort_by_key(|(beyond, _)| *beyond);
    places.into_iter().skip(room).map(|(_, drift)| drift.id().clone()).collect()
}

#[cfg(test)]
mod tests;
