use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ledger::{HostKeys, segments};

use super::files::{Aside, Owner, open, replace, sync_folder};
use crate::acts::LEDGER;
use crate::audit::{Log, Place, Soundness};

/// What is to become of a log.
pub(super) struct Plan {
    /// As the backup has it.
    pub(super) log: Log,
    pub(super) standing: Standing,
    owner: Owner,
}

/// The log that is there, held against the one in the backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The backup has no record of it.
    NotInBackup,
    Missing,
    /// It goes from the one record to the other, and all of it is in the backup.
    Beginning(u64, u64),
    /// It is all there.
    Whole,
    /// Likewise, and the record after it says that this very backup was put back.
    Recorded,
    /// It says something else; a sentence.
    Other(String),
}

impl Plan {
    /// `sha256` is the backup's own.
    pub(super) fn of(log: &Log, state: &Path, sha256: &str, exporters: Owner) -> anyhow::Result<Self> {
        let head = match log.verify()? {
            Soundness::Sound(verified) => verified.head.record,
            Soundness::Broken(why) => return Err((*why).into()),
        };
        let owner = if log.name == LEDGER { exporters.as_group() } else { exporters };
        let standing = match head {
            0 if log.name != LEDGER => Standing::NotInBackup,
            _ => standing(log, head, state, sha256)?,
        };
        Ok(Plan { log: log.clone(), standing, owner })
    }

    /// Puts the log back.
    pub(super) fn carry_out(&self, state: &Path, aside: &mut Aside) -> anyhow::Result<()> {
        if let Standing::Other(_) = &self.standing {
            take_away(state, self.log.name, aside)?;
        }
        self.steps(state)?.iter().try_for_each(|step| self.take(step, state))
    }

    /// In the writer's order: the current file grows and becomes a segment, and the next ones stand there as they are. So
    /// whatever instant it is ended at, what stands there is a log, and a beginning of the backup's.
    fn steps(&self, state: &Path) -> anyhow::Result<Vec<Step>> {
        // Older segments that somebody removed stay removed.
        let begins = match self.standing {
            Standing::NotInBackup | Standing::Whole | Standing::Recorded => return Ok(Vec::new()),
            Standing::Beginning(first, _) => first,
            Standing::Missing | Standing::Other(_) => 0,
        };
        let (folder, name) = (&self.log.folder, self.log.name);
        let present = segments(state, name)?;
        let mut begun = state.join(format!("{name}.jsonl")).exists();
        let mut steps = Vec::new();
        for first in segments(folder, name)? {
            if first >= begins && !present.contains(&first) {
                let from = folder.join(format!("{name}.jsonl.{first}"));
                match std::mem::take(&mut begun) {
                    true => steps.extend([Step::Grow(from), Step::Close(first)]),
                    false => steps.push(Step::Put(from, first)),
                }
            }
        }
        let current = folder.join(format!("{name}.jsonl"));
        if current.exists() {
            steps.push(Step::Grow(current));
        }
        Ok(steps)
    }

    fn take(&self, step: &Step, state: &Path) -> anyhow::Result<()> {
        let name = self.log.name;
        let current = state.join(format!("{name}.jsonl"));
        let taken = match step {
            Step::Grow(from) => replace(from, &current, self.owner, MODE),
            Step::Put(from, first) => {
                replace(from, &state.join(format!("{name}.jsonl.{first}")), self.owner, MODE)
            }
            Step::Close(first) => {
                let segment = state.join(format!("{name}.jsonl.{first}"));
                fs::rename(&current, segment).and_then(|()| sync_folder(&current))
            }
        };
        taken.with_context(|| format!("{}: cannot be written", current.display()))
    }
}

/// Done whole or not at all.
enum Step {
    /// The current file becomes what this one holds.
    Grow(PathBuf),
    /// It is the segment that begins with this record. The current file could not say where it begins.
    Put(PathBuf, u64),
    /// It becomes the segment that begins with this record.
    Close(u64),
}

/// The exporter's group reads the ledger.
const MODE: u32 = 0o640;

/// The newest first: what is still there is a log.
fn take_away(state: &Path, name: &str, aside: &mut Aside) -> anyhow::Result<()> {
    let current = state.join(format!("{name}.jsonl"));
    if open(&current).with_context(|| current.display().to_string())?.is_some() {
        aside.take(&current)?;
    }
    for first in segments(state, name)?.into_iter().rev() {
        aside.take(&state.join(format!("{name}.jsonl.{first}")))?;
    }
    Ok(())
}

fn standing(log: &Log, head: u64, state: &Path, sha256: &str) -> anyhow::Result<Standing> {
    let present = present(log, state)?;
    let verified = match present.verify()? {
        Soundness::Sound(verified) => verified,
        Soundness::Broken(why) => return Ok(Standing::Other(format!("it is broken: {why}"))),
    };
    let end = verified.head;
    if end.record == 0 {
        return Ok(Standing::Missing);
    }
    if end.record <= head {
        let same = log.head_at(end.record)? == Some(end);
        return Ok(match same {
            true if end.record == head => Standing::Whole,
            true => Standing::Beginning(verified.first, end.record),
            false => Standing::Other(format!("its record {} is another one", end.record)),
        });
    }
    let is_whole = head == 0 || present.head_at(head)? == log.head_at(head)?;
    if is_whole && end.record == head + 1 && says_restored(&present, sha256)? {
        return Ok(Standing::Recorded);
    }
    Ok(Standing::Other(format!("it ends with record {}, the backup's with {head}", end.record)))
}

/// With the keys of both: those of the backup may not stand there yet.
fn present(log: &Log, state: &Path) -> anyhow::Result<Log> {
    let place = Place::of_state(state)?;
    let own = if log.name == LEDGER { place.ledger() } else { place.events() };
    let keys = HostKeys::parse(&format!("{}\n{}", log.keys, own.keys))?;
    Ok(Log { folder: state.to_owned(), name: log.name, keys })
}

fn says_restored(log: &Log, sha256: &str) -> anyhow::Result<bool> {
    let Some(line) = ledger::last(&log.folder, log.name)? else { return Ok(false) };
    let act: serde_json::Value = serde_json::from_slice(&line.body)?;
    Ok(act["act"] == "restore" && act["new"]["sha256"] == sha256)
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standing::NotInBackup => f.write_str("left as it is: the backup has no record of it"),
            Standing::Missing => f.write_str("written whole"),
            Standing::Whole => f.write_str("as it is"),
            Standing::Beginning(_, record) => write!(f, "completed from record {record} on"),
            Standing::Recorded => f.write_str("as it is: this backup was put back already"),
            Standing::Other(why) => write!(f, "put aside, and written whole: {why}"),
        }
    }
}

#[cfg(test)]
mod tests;
