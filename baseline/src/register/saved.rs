use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use inventory::Listener;
use serde::{Deserialize, Serialize, Serializer};

use super::{Drift, Evidence, Register, StartedBy};
use crate::{DriftId, Finding};

/// Raised when what older releases wrote would be read wrong.
const VERSION: u32 = 1;

/// Text that is no register of this release.
#[derive(Debug, thiserror::Error)]
pub enum BrokenRegister {
    /// It is no JSON, or not what a register is written as.
    #[error("the open drifts cannot be read: {0}")]
    Content(#[from] serde_json::Error),
    /// Another release wrote it.
    #[error("the open drifts are written in version {0}, this release reads {VERSION}")]
    Version(u32),
}

/// When a register is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// By the clock, which can be set.
    pub at: SystemTime,
    /// By one that cannot be, and goes on while the host sleeps: CLOCK_BOOTTIME of clock_gettime(2).
    pub since_boot: Duration,
}

impl Written {
    /// By how much the clock went ahead of the time that passed until then; zero where the host booted since, for then nobody
    /// knows how much passed.
    pub fn leap(self, now: Written) -> Duration {
        let Some(passed) = now.since_boot.checked_sub(self.since_boot) else { return Duration::ZERO };
        now.at.duration_since(self.at).unwrap_or_default().saturating_sub(passed)
    }
}

/// As [`Saved`], of what is at hand: a copy would be as large as the register.
#[derive(Serialize)]
struct Saving<'a> {
    version: u32,
    revision: &'a str,
    drifts: Drifts<'a>,
    absent_since: &'a BTreeMap<DriftId, SystemTime>,
    written: Written,
}

struct Drifts<'a>(&'a Register);

impl Serialize for Drifts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.open.values().map(|drift| SavingDrift {
            finding: &drift.finding,
            first_seen: drift.first_seen,
            gone_since: drift.gone_since,
            hidden_since: drift.hidden_since,
            listeners: &drift.evidence.listeners,
            started_by: drift.started_by(),
        }))
    }
}

#[derive(Serialize)]
struct SavingDrift<'a> {
    finding: &'a Finding,
    first_seen: SystemTime,
    gone_since: Option<SystemTime>,
    hidden_since: Option<SystemTime>,
    listeners: &'a [Arc<Listener>],
    started_by: Option<&'a StartedBy>,
}

#[derive(Deserialize)]
struct Saved {
    revision: String,
    drifts: Vec<SavedDrift>,
    absent_since: BTreeMap<DriftId, SystemTime>,
}

#[derive(Deserialize)]
struct SavedDrift {
    finding: Finding,
    first_seen: SystemTime,
    gone_since: Option<SystemTime>,
    hidden_since: Option<SystemTime>,
    listeners: Vec<Arc<Listener>>,
    /// Older releases wrote none.
    started_by: Option<StartedBy>,
}

impl Register {
    /// Writes what must outlive a restart, bit by bit: put a buffer before a file.
    pub fn write_json(&self, written: Written, to: impl Write) -> Result<(), BrokenRegister> {
        let saving = Saving {
            version: VERSION,
            revision: &self.revision,
            drifts: Drifts(self),
            absent_since: &self.absent_since,
            written,
        };
        Ok(serde_json::to_writer(to, &saving)?)
    }

    /// When it was written, where that is told: older releases did not.
    pub fn written(text: &str) -> Option<Written> {
        #[derive(Deserialize)]
        struct When {
            written: Written,
        }
        serde_json::from_str(text).ok().map(|When { written }| written)
    }

    /// Reads what [`Register::write_json`] wrote.
    pub fn from_json(text: &str) -> Result<Self, BrokenRegister> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_str(text)?;
        if version != VERSION {
            return Err(BrokenRegister::Version(version));
        }
        let saved: Saved = serde_json::from_str(text)?;
        let mut register =
            Register { revision: saved.revision, absent_since: saved.absent_since, ..Register::default() };
        let mut starters = HashSet::new();
        for drift in saved.drifts.into_iter().take(Register::ROOM) {
            let SavedDrift { finding, first_seen, gone_since, hidden_since, listeners, started_by } = drift;
            let started_by =
                started_by.and_then(StartedBy::bounded).map(|starter| shared(&mut starters, starter));
            let kept = Drift::without_sockets(finding, first_seen, Evidence { listeners });
            let drift = Drift { gone_since, hidden_since, started_by, ..kept };
            register.open.insert(drift.id().clone(), drift.into());
        }
        Ok(register)
    }
}

/// Drifts of one process share it, as they did.
fn shared(known: &mut HashSet<Arc<StartedBy>>, starter: StartedBy) -> Arc<StartedBy> {
    if let Some(known) = known.get(&starter) {
        return known.clone();
    }
    let starter = Arc::new(starter);
    known.insert(starter.clone());
    starter
}
