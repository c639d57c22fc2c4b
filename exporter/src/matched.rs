use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use baseline::{Assessment, Covering, Policy};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::priority::give_way;
use crate::state::{self, StateError};

const FILE: &str = "matched.json";
/// Some hundred thousand approvals.
const MAX: u64 = 32 << 20;
const VERSION: u32 = 1;
/// How long it is kept in memory alone; a kill loses as much.
const KEPT_FOR: Duration = Duration::from_secs(3_600);
/// A sensor that lives is judged by once a minute at least. What is longer was sleep, silence or a clock that was set.
const WATCHFUL: Duration = Duration::from_secs(300);
/// Judgements come by the hundred in a second, and differ little.
const GATHER: Duration = Duration::from_secs(1);

/// When an approval last matched something, and how long it was looked whether it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matched {
    /// Since when it is known.
    pub since: Timestamp,
    /// When it last covered something; `None` for not since it is known.
    pub last: Option<Timestamp>,
    /// For how many seconds since it is known all was seen that it could cover.
    pub watched: u64,
    /// For how many of them since it last covered something; all where it never did.
    pub idle: u64,
}

/// Why it is not known what approvals matched.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum MatchedError {
    #[error("{0} cannot be read as this user: run as root")]
    Denied(PathBuf),
    #[error(transparent)]
    State(StateError),
    #[error("{path}: it does not hold what approvals matched: {error}")]
    Broken { path: PathBuf, error: serde_json::Error },
    #[error("{path} is of version {version}, which another release of Portledger writes")]
    Version { path: PathBuf, version: u32 },
}

/// What `serve` remembers of the approvals in force for this host, by id; `None` where it wrote nothing. The exporter's
/// user could have written anything: it is for people to see, never to decide by.
pub fn matched(state: &Path) -> Result<Option<BTreeMap<String, Matched>>, MatchedError> {
    let content = state::read(state, FILE, MAX).map_err(|error| match error {
        StateError::Io { path, error, .. } if error.kind() == ErrorKind::PermissionDenied => {
            MatchedError::Denied(path)
        }
        other => MatchedError::State(other),
    })?;
    let Some(content) = content else { return Ok(None) };
    let path = state.join(FILE);
    let kept: Kept = match serde_json::from_slice(&content) {
        Ok(kept) => kept,
        Err(error) => return Err(MatchedError::Broken { path, error }),
    };
    if kept.version != VERSION {
        return Err(MatchedError::Version { path, version: kept.version });
    }
    Ok(Some(kept.approvals))
}

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    approvals: BTreeMap<String, Matched>,
}

/// What is remembered, and when it was last looked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Memory {
    approvals: BTreeMap<String, Matched>,
    looked: Option<Timestamp>,
    /// What is watched in parts of a second, in milliseconds.
    rest: u64,
}

impl Memory {
    /// Takes in that of the approvals that are `in_force` these cover something at this moment. `sees` is false where
    /// something may listen unseen: that nothing was found proves nothing then.
    fn note(&mut self, in_force: &BTreeSet<&str>, covering: &BTreeSet<&str>, sees: bool, now: Timestamp) {
        let watched = if sees { self.watched_until(now) } else { 0 };
        self.looked = Some(now);
        self.approvals.retain(|id, _| in_force.contains(id.as_str()));
        for id in in_force {
            let new = || Matched { since: now, last: None, watched: 0, idle: 0 };
            if !self.approvals.contains_key(*id) {
                self.approvals.insert((*id).to_owned(), new());
            } else if let Some(known) = self.approvals.get_mut(*id) {
                known.watched = known.watched.saturating_add(watched);
                known.idle = known.idle.saturating_add(watched);
                // A clock that was ahead must not vouch for the time until it is that late again.
                known.since = known.since.min(now);
                known.last = known.last.map(|last| last.min(now));
            }
        }
        for id in covering {
            if let Some(known) = self.approvals.get_mut(*id) {
                (known.last, known.idle) = (Some(now), 0);
            }
        }
    }

    /// Seconds since the last look that were watched.
    fn watched_until(&mut self, now: Timestamp) -> u64 {
        let since = self.looked.map(|looked| now.duration_since(looked));
        let since = since.and_then(|since| Duration::try_from(since).ok());
        let Some(since) = since.filter(|since| *since <= WATCHFUL) else { return 0 };
        let millis = self.rest.saturating_add(u64::try_from(since.as_millis()).unwrap_or_default());
        self.rest = millis % 1_000;
        millis / 1_000
    }
}

/// What came since the memory was last brought up to date.
#[derive(Default)]
struct Gathered {
    any: bool,
    covering: Covering,
    /// Something may have listened unseen.
    blind: bool,
}

/// Remembers in the state folder which approvals match, over restarts. Whoever drops it waits until all is written.
pub(crate) struct MatchedKeeper {
    folder: PathBuf,
    memory: Memory,
    gathered: Gathered,
    kept_at: Option<Timestamp>,
    writing: Option<JoinHandle<()>>,
}

impl MatchedKeeper {
    /// What cannot be read is told and begun anew.
    pub(crate) fn restore(folder: PathBuf) -> Self {
        let approvals = matched(&folder).unwrap_or_else(|error| {
            warn!("what approvals matched before is not known: {error}");
            None
        });
        let memory = Memory { approvals: approvals.unwrap_or_default(), looked: None, rest: 0 };
        MatchedKeeper { folder, memory, gathered: Gathered::default(), kept_at: None, writing: None }
    }

    /// Takes in what these assessments by this policy find covered. `sees` is false where something may listen unseen.
    pub(crate) fn take_in<'a>(
        &mut self,
        assessments: impl Iterator<Item = &'a Assessment>,
        policy: &Policy,
        sees: bool,
        now: SystemTime,
    ) {
        assessments.for_each(|assessment| self.gathered.covering.add(assessment, &policy.baseline));
        self.gathered.blind |= !sees;
        self.gathered.any = true;
        let Ok(at) = Timestamp::try_from(now) else { return };
        if self.memory.looked.is_none_or(|looked| at.duration_since(looked).unsigned_abs() >= GATHER) {
            self.settle(policy, now);
        }
    }

    /// Remembers what was gathered, before another policy is in force.
    pub(crate) fn settle(&mut self, policy: &Policy, now: SystemTime) {
        let Ok(now) = Timestamp::try_from(now) else { return };
        let gathered = std::mem::take(&mut self.gathered);
        if !gathered.any {
            return;
        }
        let of_host =
            policy.baseline.approvals().iter().filter(|approval| policy.host.is_among(&approval.hosts));
        let in_force = of_host.map(|approval| approval.id.as_str()).collect();
        self.memory.note(&in_force, &gathered.covering.ids(&policy.baseline), !gathered.blind, now);
        let is_due = |kept: Timestamp| now.duration_since(kept).unsigned_abs() >= KEPT_FOR;
        if self.kept_at.is_none_or(is_due) && self.writing.as_ref().is_none_or(JoinHandle::is_finished) {
            self.kept_at = Some(now);
            self.write_aside();
        }
    }

    /// On a thread of its own: a slow disk keeps nothing from being judged.
    fn write_aside(&mut self) {
        let (folder, approvals) = (self.folder.clone(), self.memory.approvals.clone());
        let work = move || {
            give_way();
            keep(&folder, approvals);
        };
        match std::thread::Builder::new().name("matched".to_owned()).spawn(work) {
            Ok(thread) => self.writing = Some(thread),
            Err(error) => warn!("what approvals matched is not written down: {error}"),
        }
    }
}

impl Drop for MatchedKeeper {
    fn drop(&mut self) {
        if self.writing.take().is_some_and(|thread| thread.join().is_err()) {
            warn!("what approvals matched may not be written down: its thread has failed");
        }
        if self.memory.looked.is_some() {
            keep(&self.folder, std::mem::take(&mut self.memory.approvals));
        }
    }
}

fn keep(folder: &Path, approvals: BTreeMap<String, Matched>) {
    let kept = Kept { version: VERSION, approvals };
    let written = match serde_json::to_vec(&kept) {
        Ok(json) => state::write(folder, FILE, &json).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = written {
        warn!("what approvals matched will not survive a restart: {error}");
    }
}

/// When approvals matched, as the file says it.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzzed(bytes: &[u8]) {
    let Ok(kept) = serde_json::from_slice::<Kept>(bytes) else { return };
    let approvals = kept.approvals.clone();
    let written = serde_json::to_vec(&kept).unwrap_or_default();
    let again: Option<Kept> = serde_json::from_slice(&written).ok();
    assert_eq!(again.map(|kept| kept.approvals), Some(approvals));
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_251_600 + second).unwrap()
    }

    fn ids(text: &str) -> BTreeSet<&str> {
        text.split_whitespace().collect()
    }

    /// Looks once a minute.
    fn look(memory: &mut Memory, covering: &str, seconds: std::ops::RangeInclusive<i64>) {
        seconds.step_by(60).for_each(|second| memory.note(&ids("a b"), &ids(covering), true, at(second)));
    }

    #[test]
    fn what_matches_is_not_idle() {
        let mut memory = Memory::default();
        look(&mut memory, "a", 0..=DAY);
        let (a, b) = (&memory.approvals["a"], &memory.approvals["b"]);
        assert_eq!((a.since, a.last, a.watched, a.idle), (at(0), Some(at(DAY)), 86_400, 0));
        assert_eq!((b.since, b.last, b.watched, b.idle), (at(0), None, 86_400, 86_400));
        look(&mut memory, "", DAY + 60..=DAY + 600);
        assert_eq!((memory.approvals["a"].idle, memory.approvals["a"].last), (600, Some(at(DAY))));
    }

    #[test]
    fn who_does_not_look_watches_nothing() {
        let mut memory = Memory::default();
        look(&mut memory, "", 0..=600);
        look(&mut memory, "", 50 * DAY..=50 * DAY + 600);
        assert_eq!(memory.approvals["a"].idle, 1_200);
        let again = at(50 * DAY + 660);
        memory.note(&ids("a b"), &ids(""), false, again);
        assert_eq!(memory.approvals["a"].idle, 1_200, "gaps could hide it");
        // Restored by another process.
        let mut memory = Memory { looked: None, rest: 0, ..memory };
        look(&mut memory, "", 50 * DAY + 661..=50 * DAY + 661);
        assert_eq!((memory.approvals["a"].idle, memory.approvals["a"].since), (1_200, at(0)));
    }

    #[test]
    fn a_clock_that_is_set_back_vouches_for_nothing() {
        let mut memory = Memory::default();
        look(&mut memory, "a", 90 * DAY..=90 * DAY);
        look(&mut memory, "", 0..=120);
        let a = &memory.approvals["a"];
        assert_eq!((a.since, a.last, a.watched, a.idle), (at(0), Some(at(0)), 120, 120));
    }

    #[test]
    fn parts_of_a_second_add_up_and_only_what_is_in_force_is_kept() {
        let mut memory = Memory::default();
        for step in 0..=2_500 {
            let now = at(0) + jiff::SignedDuration::from_millis(step * 10);
            memory.note(&ids("a"), &ids("gone"), true, now);
        }
        assert_eq!(memory.approvals["a"].watched, 25);
        memory.note(&ids("b"), &ids("b"), true, at(26));
        assert_eq!(memory.approvals.keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn it_is_had_back_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matched(folder.path()).unwrap().is_none());
        let mut memory = Memory::default();
        look(&mut memory, "a", 0..=600);
        keep(folder.path(), memory.approvals.clone());
        assert_eq!(matched(folder.path()).unwrap(), Some(memory.approvals));
        for text in ["{", r#"{"version":2,"approvals":{}}"#] {
            std::fs::write(folder.path().join(FILE), text).unwrap();
            assert!(matched(folder.path()).unwrap_err().to_string().contains("matched.json"));
        }
        assert!(MatchedKeeper::restore(folder.path().to_owned()).memory.approvals.is_empty());
    }
}
