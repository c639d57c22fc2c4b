use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use inventory::Reach;

use super::{Crowd, Drift};
use crate::{DriftId, Severity};

/// Which fall where there is room for so many, those of a crowd first, the largest before others, but for the oldest few
/// of each: anybody can open ports by the thousand, and one more or less of these tells nobody anything. Then the least
/// grave; of equals those that fewer can reach, then those that are gone, then the newest. `new` are those that were not
/// open before.
pub(super) fn falling<'d>(
    drifts: impl Iterator<Item = &'d Drift>,
    new: &HashSet<DriftId>,
    room: usize,
) -> Vec<DriftId> {
    let place = |(turn, drift)| Place { beyond: 0, rank: Rank::of(drift, new, turn), drift };
    let mut places: Vec<Place<'_>> = drifts.enumerate().map(place).collect();
    if places.len() <= room {
        return Vec::new();
    }
    for mut crowd in crowds(&mut places) {
        // The first of a crowd are so by age alone: who was told of is not pushed out by what comes after.
        crowd.sort_unstable_by_key(|place| (place.rank.is_new, place.rank.first_seen, place.rank));
        let others = crowd.get_mut(Crowd::FROM..).unwrap_or_default();
        others.sort_unstable_by_key(|place| place.rank);
        others.iter_mut().zip(1..).for_each(|(place, beyond)| place.beyond = beyond);
    }
    places.select_nth_unstable_by_key(room, Place::key);
    let mut falling = places.split_off(room);
    falling.sort_unstable_by_key(Place::key);
    falling.into_iter().map(|place| place.drift.id().clone()).collect()
}

/// A drift, and by what it stays or falls: the last fall first.
struct Place<'d> {
    /// How many of its crowd come before it, without the first few.
    beyond: usize,
    rank: Rank,
    drift: &'d Drift,
}

/// It differs for any two.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    severity: Reverse<Severity>,
    reach: Reverse<Reach>,
    is_gone: bool,
    /// A clock that was set back must not make what is new older than what is open.
    is_new: bool,
    first_seen: SystemTime,
    turn: usize,
}

impl Place<'_> {
    fn key(&self) -> (usize, Rank) {
        (self.beyond, self.rank)
    }
}

impl Rank {
    fn of(drift: &Drift, new: &HashSet<DriftId>, turn: usize) -> Self {
        Rank {
            severity: Reverse(drift.finding.severity),
            // What is missing is no socket that somebody could open.
            reach: Reverse(drift.finding.subject.reach.unwrap_or(Reach::Public)),
            is_gone: !drift.is_present(),
            is_new: new.contains(drift.id()),
            first_seen: drift.first_seen,
            turn,
        }
    }
}

/// Those that are alike, where they are a crowd.
fn crowds<'p, 'd>(places: &'p mut [Place<'d>]) -> Vec<Vec<&'p mut Place<'d>>> {
    let mut counts: HashMap<Crowd, usize> = HashMap::with_capacity(places.len());
    for place in &*places {
        *counts.entry(place.drift.crowd()).or_default() += 1;
    }
    counts.retain(|_, count| *count > Crowd::FROM);
    let mut crowds: HashMap<Crowd, Vec<&mut Place<'_>>> = HashMap::with_capacity(counts.len());
    for place in places {
        let crowd = place.drift.crowd();
        if counts.contains_key(&crowd) {
            crowds.entry(crowd).or_default().push(place);
        }
    }
    crowds.into_values().collect()
}

#[cfg(test)]
mod tests;
