//! `events.jsonl`, `reloads.jsonl`, `logins.jsonl` and `alerts.jsonl`: chained and signed logs, in which each socket that
//! opened or closed, each turn of a drift, each reload, each login and refusal, each turn of an alert is a record. All but
//! sockets and drift have logs of their own: no storm of sockets pushes out what was in force when, who came in, or what
//! somebody is to be told.

mod line;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use baseline::{Accounts, ApprovalChange, DriftEvent, DriftId, Judged, ServiceId, Verdict};
use inventory::Listener;
use ledger::{HostKey, Keeping, KeyError, LogError, Writer};
use tracing::info;

use crate::alerting::Turns;
use crate::crowd::Crowd;
use crate::log_heads::LogHeads;
use crate::muffler::Muffler;
use crate::snapshot::RulesStatus;
use crate::web_config::News;

pub(crate) use line::{HolderLine, lived};

pub(crate) const EVENTS: &str = "events";
pub(crate) const RELOADS: &str = "reloads";
pub(crate) const LOGINS: &str = "logins";
pub(crate) const ALERTS: &str = "alerts";
/// Signs all; it is the exporter's own.
const KEY: &str = "events.key";
/// Two files of 16 MiB.
const KEEP_EVENTS: Keeping = Keeping { segment: 16 << 20, segments: Some(1), mode: 0o640, synced: false };
const KEEP_RELOADS: Keeping = Keeping { segment: 1 << 20, segments: Some(64), mode: 0o640, synced: false };
/// At the pace at which logins are told they stay for weeks.
const KEEP_LOGINS: Keeping = KEEP_RELOADS;
/// Whoever is told by it must find what was told before a power failure.
const KEEP_ALERTS: Keeping = Keeping { segment: 16 << 20, segments: Some(3), mode: 0o640, synced: true };
/// How much is signed at once: neither memory nor a file grows with what the scribe takes at a time.
const BATCH: usize = 1 << 20;
/// How many turns of alerts are signed at once.
const TURNS: usize = 256;
/// For whoever had the log before to be gone.
const WAIT: Duration = Duration::from_secs(1);

/// What there is to log.
pub(crate) enum Entry {
    Opened {
        listener: Arc<Listener>,
        /// When it was noticed: it may not be known when it opened.
        at: SystemTime,
        verdict: &'static str,
        drift: Option<DriftId>,
        /// Which service it belongs to, where that is known.
        service: Option<ServiceId>,
        /// What covers it.
        approval: Option<Arc<str>>,
        /// The names of its holders' users, in their order.
        users: Vec<Option<String>>,
    },
    Closed {
        listener: Arc<Listener>,
        at: SystemTime,
        /// Which service it belonged to, where that is known.
        service: Option<ServiceId>,
    },
    Drift {
        at: SystemTime,
        event: DriftEvent,
    },
    Reload {
        at: SystemTime,
        status: RulesStatus,
        /// The commit that the baseline stood at.
        git: Option<String>,
        /// How many approvals are not as they were.
        changed: usize,
    },
    Approval {
        at: SystemTime,
        change: Box<ApprovalChange>,
        revision: Option<String>,
        git: Option<String>,
    },
    /// Sockets that came and went by so many that they are told together.
    Crowd(Crowd),
    Visit(Visit),
    WebConfig(News),
}

/// Somebody who asked over HTTP.
pub(crate) struct Visit {
    pub(crate) at: SystemTime,
    /// `admitted` or `refused`.
    pub(crate) event: &'static str,
    pub(crate) peer: String,
    pub(crate) user: Option<String>,
    pub(crate) why: Option<&'static str>,
    /// More of it in words, escaped.
    pub(crate) detail: Option<String>,
    pub(crate) times: u64,
    /// Refusals of others that there was no room to tell.
    pub(crate) untold: u64,
}

impl Entry {
    pub(crate) fn opened(
        listener: Arc<Listener>,
        judged: Option<(&Judged, &Accounts)>,
        at: SystemTime,
    ) -> Self {
        let verdict = judged.map_or(&Verdict::Unjudged, |(judged, _)| &judged.verdict);
        let (drift, approval) = match verdict {
            Verdict::Drift(finding) => (Some(finding.id.clone()), None),
            Verdict::Approved(id) | Verdict::Learned(id) => (None, Some(id.clone())),
            Verdict::Unjudged => (None, None),
        };
        let service = judged.map(|(judged, _)| judged.service.id.clone());
        let name = |uid| judged.and_then(|(_, accounts)| accounts.name(uid)).map(str::to_owned);
        let users = listener.holders.known().iter().map(|holder| name(holder.uid)).collect();
        Entry::Opened { verdict: verdict.as_str(), drift, service, approval, users, at, listener }
    }

    fn log(&self) -> &'static str {
        match self {
            Entry::Reload { .. } | Entry::Approval { .. } | Entry::WebConfig(_) => RELOADS,
            Entry::Visit(_) => LOGINS,
            _ => EVENTS,
        }
    }
}

/// All of them.
pub(crate) struct EventLog {
    logs: [Log; 4],
}

/// One of them. It is opened when there is something to write, and again after a failure.
struct Log {
    folder: PathBuf,
    name: &'static str,
    keeping: Keeping,
    open: Option<Writer>,
    heads: Arc<LogHeads>,
    broken: Muffler,
    mended: Muffler,
    /// How many could not be written since it was last told that they are again.
    missing: u64,
}

/// Why a log cannot be written.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{path}: it is of an older form and cannot be put aside: {error}")]
    Aside { path: PathBuf, error: std::io::Error },
    #[error("a record cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl EventLog {
    /// Tells `heads` how far they are.
    pub(crate) fn new(folder: &Path, heads: &Arc<LogHeads>) -> Self {
        let log = |name, keeping| Log {
            folder: folder.to_owned(),
            name,
            keeping,
            open: None,
            heads: heads.clone(),
            broken: Muffler::default(),
            mended: Muffler::default(),
            missing: 0,
        };
        EventLog {
            logs: [
                log(EVENTS, KEEP_EVENTS),
                log(RELOADS, KEEP_RELOADS),
                log(LOGINS, KEEP_LOGINS),
                log(ALERTS, KEEP_ALERTS),
            ],
        }
    }

    /// Opens all, so that it is known how far they are before there is something to write.
    pub(crate) fn open(&mut self) {
        for log in &mut self.logs {
            if let Err(trouble) = log.writer() {
                log.broken.say(|| format!("what happens is not logged: {trouble}"));
            }
        }
    }

    /// Returns how many could not be written, the last of each log.
    pub(crate) fn write(&mut self, entries: &[Entry]) -> u64 {
        self.logs.iter_mut().map(|log| log.write(entries)).sum()
    }

    /// Writes turns of alerts, up to this number, that are not written yet; false where some are left for want of room, or
    /// for another trouble.
    pub(crate) fn write_turns(&mut self, turns: &Turns, up_to: u64) -> bool {
        self.logs.iter_mut().find(|log| log.name == ALERTS).is_none_or(|log| log.write_turns(turns, up_to))
    }
}

impl Log {
    fn write(&mut self, entries: &[Entry]) -> u64 {
        let name = self.name;
        let mut entries = entries.iter().filter(|entry| entry.log() == name).peekable();
        while entries.peek().is_some() {
            let (mut bodies, mut size) = (Vec::new(), 0);
            let mut taken = 0;
            let mut trouble = None;
            while let Some(entry) = entries.next_if(|_| size < BATCH && trouble.is_none()) {
                taken += 1;
                match line::body(entry) {
                    Ok(body) => {
                        size += body.len();
                        bodies.push(body);
                    }
                    Err(error) => trouble = Some(error.into()),
                }
            }
            let written = match trouble {
                Some(trouble) => Err(trouble),
                None => self.append(&bodies),
            };
            if let Err(trouble) = written {
                return self.miss(taken + entries.count(), &trouble);
            }
        }
        self.tell_mended();
        0
    }

    fn write_turns(&mut self, turns: &Turns, up_to: u64) -> bool {
        loop {
            let batch = turns.unlogged(TURNS, up_to);
            let Some(last) = batch.last() else { return true };
            let bodies: Result<Vec<_>, _> = batch.iter().map(|turn| serde_json::to_vec(&**turn)).collect();
            if let Err(trouble) = bodies.map_err(Trouble::from).and_then(|bodies| self.append(&bodies)) {
                self.open = None;
                self.broken
                    .say(|| format!("alerts are told, but not logged until this is mended: {trouble}"));
                return false;
            }
            turns.are_logged(last.seq);
        }
    }

    fn append(&mut self, bodies: &[Vec<u8>]) -> Result<(), Trouble> {
        let head = self.writer()?.append(bodies)?;
        self.heads.set(self.name, Some(head));
        Ok(())
    }

    fn writer(&mut self) -> Result<&mut Writer, Trouble> {
        let writer = match self.open.take() {
            Some(writer) => writer,
            None => self.open_anew()?,
        };
        self.heads.set(self.name, Some(writer.head()));
        Ok(self.open.insert(writer))
    }

    fn open_anew(&self) -> Result<Writer, Trouble> {
        if self.name == EVENTS {
            put_aside(&self.folder)?;
        }
        let key = HostKey::load_or_create(&self.folder.join(KEY))?;
        let writer = Writer::open(&self.folder, self.name, key, self.keeping, WAIT)?;
        if writer.cut_off() > 0 {
            let (name, cut) = (self.name, writer.cut_off());
            info!("{name}.jsonl ended in {cut} bytes of records that were never finished; they are cut off");
        }
        Ok(writer)
    }

    fn miss(&mut self, missing: usize, trouble: &Trouble) -> u64 {
        self.open = None;
        self.broken.say(|| format!("{missing} events are not logged: {trouble}"));
        let missing = u64::try_from(missing).unwrap_or(u64::MAX);
        self.missing += missing;
        missing
    }

    /// Said once, not at every turn of a disk that is full every other second.
    fn tell_mended(&mut self) {
        if self.missing > 0 && self.open.is_some() && self.mended.would_say() {
            let missing = std::mem::take(&mut self.missing);
            let name = self.name;
            self.mended
                .say(|| format!("events are logged again; {missing} before are missing in {name}.jsonl"));
        }
    }
}

/// What was written before records were chained is no part of the log: it goes to `….before-chain`, once.
fn put_aside(folder: &Path) -> Result<(), Trouble> {
    for name in ["events.jsonl.1", "events.jsonl"] {
        let path = folder.join(name);
        if ledger::begins_with_record(&path)? != Some(false) {
            continue;
        }
        let aside = folder.join(format!("{name}.before-chain"));
        let moved = match std::fs::symlink_metadata(&aside) {
            Ok(_) => Err(std::io::ErrorKind::AlreadyExists.into()),
            Err(_) => std::fs::rename(&path, &aside),
        };
        moved.map_err(|error| Trouble::Aside { path, error })?;
        info!("{name} is of an older form and is now {name}.before-chain");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
