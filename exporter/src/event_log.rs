//! `events.jsonl`: one JSON object a line for each socket that opened or closed, each turn of a drift, each reload.

mod line;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use baseline::{Accounts, Change, DriftEvent, DriftId, Judged, Verdict};
use inventory::Listener;
use rustix::fs::OFlags;

use crate::muffler::Muffler;
use crate::snapshot::RulesStatus;
use crate::state::StateError;

pub(crate) use line::{HolderLine, lived};

const FILE: &str = "events.jsonl";
/// What stood in it before it was begun anew.
const OLD: &str = "events.jsonl.1";
/// How long it grows.
const MAX_FILE: u64 = 16 << 20;

/// What there is to log.
pub(crate) enum Entry {
    Opened {
        listener: Arc<Listener>,
        /// When it was noticed: it may not be known when it opened.
        at: SystemTime,
        verdict: &'static str,
        drift: Option<DriftId>,
        /// The names of its holders' users, in their order.
        users: Vec<Option<String>>,
    },
    Closed {
        listener: Arc<Listener>,
        at: SystemTime,
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
        change: Change,
        revision: Option<String>,
        git: Option<String>,
    },
}

impl Entry {
    pub(crate) fn opened(
        listener: Arc<Listener>,
        judged: Option<(&Judged, &Accounts)>,
        at: SystemTime,
    ) -> Self {
        let verdict = judged.map_or(&Verdict::Unjudged, |(judged, _)| &judged.verdict);
        let drift = match verdict {
            Verdict::Drift(finding) => Some(finding.id.clone()),
            _ => None,
        };
        let name = |uid| judged.and_then(|(_, accounts)| accounts.name(uid)).map(str::to_owned);
        let users = listener.holders.known().iter().map(|holder| name(holder.uid)).collect();
        Entry::Opened { verdict: verdict.as_str(), drift, users, at, listener }
    }
}

/// The file. It is opened when there is something to write, and again after a failure.
pub(crate) struct EventLog {
    path: PathBuf,
    old: PathBuf,
    open: Option<Open>,
    broken: Muffler,
    mended: Muffler,
    /// How many could not be written since it was last told that they are again.
    missing: u64,
}

struct Open {
    file: File,
    length: u64,
}

impl EventLog {
    pub(crate) fn new(folder: &Path) -> Self {
        let (open, broken, mended, missing) = Default::default();
        EventLog { path: folder.join(FILE), old: folder.join(OLD), open, broken, mended, missing }
    }

    /// Returns how many could not be written, the last of them.
    pub(crate) fn write(&mut self, entries: &[Entry]) -> u64 {
        if entries.is_empty() {
            return 0;
        }
        let mut text = Vec::new();
        for entry in entries {
            line::append(&mut text, entry);
        }
        let mut rest = &text[..];
        let Err(error) = self.append_all(&mut rest) else {
            self.tell_mended();
            return 0;
        };
        self.open = None;
        let missing = rest.iter().filter(|byte| **byte == b'\n').count();
        self.broken.say(|| format!("{missing} events are not logged: {error}"));
        let missing = u64::try_from(missing).unwrap_or(u64::MAX);
        self.missing += missing;
        missing
    }

    /// Said once, not at every turn of a disk that is full every other second.
    fn tell_mended(&mut self) {
        if self.missing > 0 && self.mended.would_say() {
            let missing = std::mem::take(&mut self.missing);
            let path = self.path.display();
            self.mended.say(|| format!("events are logged again; {missing} before are missing in {path}"));
        }
    }

    /// Leaves in `rest` what could not be written.
    fn append_all(&mut self, rest: &mut &[u8]) -> Result<(), StateError> {
        while !rest.is_empty() {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => Open::at(&self.path)?,
            };
            let mut fits = whole_lines(rest, MAX_FILE.saturating_sub(open.length));
            if fits == 0 && open.length > 0 {
                std::fs::rename(&self.path, &self.old).map_err(fail(&self.path, "rename"))?;
                open = Open::at(&self.path)?;
                fits = whole_lines(rest, MAX_FILE);
            }
            // No line is that long; one that were would have to stand somewhere.
            let (lines, later) = rest.split_at(if fits == 0 { rest.len() } else { fits });
            self.append(open, lines)?;
            *rest = later;
        }
        Ok(())
    }

    /// All of it or nothing.
    fn append(&mut self, mut open: Open, text: &[u8]) -> Result<(), StateError> {
        let written = open.file.write_all(text);
        if let Err(error) = written {
            // What of it was written would be half a line.
            open.file.set_len(open.length).map_err(fail(&self.path, "truncate"))?;
            return Err(fail(&self.path, "write")(error));
        }
        open.length += u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.open = Some(open);
        Ok(())
    }
}

/// How many bytes of this text are lines that find so much room.
fn whole_lines(text: &[u8], room: u64) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    match text.get(..room) {
        Some(head) => head.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1),
        None => text.len(),
    }
}

impl Open {
    /// A kill may have left half a line: it is ended, so that the next begins a line of its own.
    fn at(path: &Path) -> Result<Self, StateError> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o640).custom_flags(flags);
        let mut file = options.open(path).map_err(fail(path, "open"))?;
        let meta = file.metadata().map_err(fail(path, "stat"))?;
        if !meta.is_file() {
            return Err(StateError::NoFile(path.to_owned()));
        }
        let mut length = meta.len();
        if length > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))
                .and_then(|_| file.read_exact(&mut last))
                .map_err(fail(path, "read"))?;
            if last != *b"\n" {
                file.write_all(b"\n").map_err(fail(path, "write"))?;
                length += 1;
            }
        }
        Ok(Open { file, length })
    }
}

fn fail(path: &Path, step: &'static str) -> impl FnOnce(io::Error) -> StateError {
    move |error| StateError::Io { path: path.to_owned(), step, error }
}

#[cfg(test)]
mod tests;
