use std::collections::BTreeMap;
use std::time::SystemTime;

use inventory::Listener;
use serde::{Deserialize, Serialize};

use super::{Drift, Evidence, Register};
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

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    revision: String,
    drifts: Vec<SavedDrift>,
    absent_since: BTreeMap<DriftId, SystemTime>,
}

#[derive(Serialize, Deserialize)]
struct SavedDrift {
    finding: Finding,
    first_seen: SystemTime,
    gone_since: Option<SystemTime>,
    listeners: Vec<Listener>,
}

impl Register {
    /// Writes what must outlive a restart.
    pub fn to_json(&self) -> Result<String, BrokenRegister> {
        let drifts = self.open.values().map(|drift| SavedDrift {
            finding: drift.finding.clone(),
            first_seen: drift.first_seen,
            gone_since: drift.gone_since,
            listeners: drift.evidence.listeners.clone(),
        });
        let saved = Saved {
            version: VERSION,
            revision: self.revision.clone(),
            drifts: drifts.collect(),
            absent_since: self.absent_since.clone(),
        };
        Ok(serde_json::to_string(&saved)?)
    }

    /// Reads what [`Register::to_json`] wrote.
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
        for drift in saved.drifts.into_iter().take(Register::ROOM) {
            let SavedDrift { finding, first_seen, gone_since, listeners } = drift;
            let evidence = Evidence { listeners };
            let id = finding.id.clone();
            register.open.insert(id, Drift::saved(finding, first_seen, gone_since, evidence).into());
        }
        Ok(register)
    }
}
