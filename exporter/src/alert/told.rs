use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::SystemTime;

use baseline::{Crowd, Drift};
use inventory::RawText;
use sha2::{Digest, Sha256};

use crate::metrics::join;

/// What is told as one: a drift, or many that differ in port alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    /// The gravest and oldest of them.
    pub(crate) drift: &'a Drift,
    pub(crate) many: bool,
    /// Some of them are there.
    pub(crate) present: bool,
    /// When the first of them was.
    pub(crate) first_seen: SystemTime,
}

/// With what the id of many begins that are told as one.
const MANY: &str = "m1-";

/// By which id a drift is told together with all that differ from it in port alone, once they are many.
pub fn id_together(drift: &Drift) -> String {
    Told { many: true, ..Told::of(drift) }.id()
}

/// Whether an id is of those that are told as one.
pub fn is_of_many(id: &str) -> bool {
    id.starts_with(MANY)
}

/// Makes one of those that differ in port alone where they are many. Most are never written as labels, so they are told
/// apart without.
pub(crate) fn told<'a>(drifts: &[&'a Drift]) -> Vec<Told<'a>> {
    let mut alike: HashMap<Crowd, usize> = HashMap::new();
    drifts.iter().for_each(|drift| *alike.entry(drift.crowd()).or_default() += 1);
    let mut places: HashMap<Crowd, usize> = HashMap::new();
    let mut told: Vec<Told<'_>> = Vec::new();
    for drift in drifts {
        let key = drift.crowd();
        let many = alike.get(&key).is_some_and(|count| *count > Crowd::FROM);
        let one = Told { many, ..Told::of(drift) };
        match places.get(&key).and_then(|place| told.get_mut(*place)).filter(|_| many) {
            Some(group) => group.add(&one),
            None => {
                places.insert(key, told.len());
                told.push(one);
            }
        }
    }
    told
}

impl<'a> Told<'a> {
    /// One alone.
    pub(crate) fn of(drift: &'a Drift) -> Self {
        Told { drift, many: false, present: drift.is_present(), first_seen: drift.first_seen }
    }

    fn add(&mut self, other: &Told<'a>) {
        self.present |= other.present;
        self.first_seen = self.first_seen.min(other.first_seen);
        if other.by_gravity(self).is_lt() {
            self.drift = other.drift;
        }
    }

    /// The gravest and oldest come first.
    pub(crate) fn by_gravity(&self, other: &Self) -> Ordering {
        self.drift.by_gravity(other.drift)
    }

    /// The drift's id. That of many stays the same while they come and go.
    pub(crate) fn id(&self) -> String {
        if self.many { group_id(&self.labels()) } else { self.drift.id().to_string() }
    }

    /// `kind severity protocol address port program user workload netns reach team`, escaped.
    pub(crate) fn labels(&self) -> [String; 11] {
        let finding = &self.drift.finding;
        let subject = &finding.subject;
        [
            finding.kind.as_str().to_owned(),
            finding.severity.as_str().to_owned(),
            subject.protocol.as_str().to_owned(),
            subject.address.to_string(),
            if self.many { "many".to_owned() } else { subject.port.to_string() },
            join(&*subject.programs),
            join(&subject.users.iter().map(|user| RawText::from(user.as_str())).collect::<Vec<_>>()),
            join(&*subject.workloads),
            subject.netns.escaped(),
            subject.reach.map_or("", |reach| reach.as_str()).to_owned(),
            RawText::from(finding.team.as_deref().unwrap_or_default()).escaped(),
        ]
    }
}

fn group_id(labels: &[String; 11]) -> String {
    let mut hash = Sha256::new();
    for label in labels {
        hash.update(label.len().to_be_bytes());
        hash.update(label);
    }
    let hash = hash.finalize();
    hash.iter().take(16).fold(MANY.to_owned(), |id, byte| format!("{id}{byte:02x}"))
}
