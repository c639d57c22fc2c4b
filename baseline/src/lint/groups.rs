use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::places::Named;
use crate::parse::suggest::distance;

/// Longer names are no slips of the finger.
const LENGTH: usize = 40;

/// Groups that one place alone names, each with another one that is called nearly the same.
pub(super) fn rare(named: &[Named]) -> Vec<(&Named, &str)> {
    let mut uses: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, group) in named.iter().enumerate() {
        uses.entry(&group.name).or_default().push(place);
    }
    let names: Vec<&str> = uses.keys().copied().filter(|name| name.chars().count() <= LENGTH).collect();
    let similar = Similar::among(names.clone());
    let mut found = Vec::new();
    for name in &names {
        let [only] = uses[name][..] else { continue };
        // Of two that are named once each, the later one is the slip.
        let is_better = |other: &&str| uses[other].len() > 1 || uses[other][0] < only;
        let near = similar.to(name).into_iter().filter(is_better);
        let nearest = near.min_by_key(|other| (distance(name, other), *other));
        found.extend(nearest.map(|near| (&named[only], near)));
    }
    found
}

/// Finds names that differ in one character, or in the order of two: they have something in common once each lacks a
/// character. Comparing each with each would take a day where there are a hundred thousand.
struct Similar<'a> {
    names: Vec<&'a str>,
    /// Hashes of what is left, ordered, with the name's place.
    left: Vec<(u64, usize)>,
}

impl<'a> Similar<'a> {
    fn among(names: Vec<&'a str>) -> Self {
        let mut left: Vec<(u64, usize)> = Vec::new();
        for (place, name) in names.iter().enumerate() {
            left.extend(lacking_one(name).map(|hash| (hash, place)));
        }
        left.sort_unstable();
        Similar { names, left }
    }

    /// Each once, without the name itself.
    fn to(&self, name: &str) -> Vec<&'a str> {
        let mut found = Vec::new();
        for hash in lacking_one(name) {
            let first = self.left.partition_point(|(other, _)| *other < hash);
            let same = self.left[first..].iter().take_while(|(other, _)| *other == hash).take(LENGTH);
            found.extend(same.map(|(_, place)| self.names[*place]));
        }
        found.sort_unstable();
        found.dedup();
        found.retain(|other| *other != name && distance(name, other) <= 2);
        found
    }
}

/// The name, and what is left of it without one of its characters. `rack1` and `rack2` are two groups and no slip, so
/// that no digit goes.
fn lacking_one(name: &str) -> impl Iterator<Item = u64> {
    let without = |at: usize, letter: char| {
        let mut left = name.to_owned();
        left.replace_range(at..at + letter.len_utf8(), "");
        left
    };
    // A name of two letters is near to too many.
    let is_long = name.chars().count() > 2;
    let lacking = name.char_indices().filter(move |(_, letter)| is_long && !letter.is_ascii_digit());
    let all = std::iter::once(name.to_owned()).chain(lacking.map(move |(at, letter)| without(at, letter)));
    let hashes: Vec<u64> = all.map(|left| hash(&left)).collect();
    hashes.into_iter()
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
