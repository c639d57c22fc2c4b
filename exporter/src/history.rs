//! When each service was first and last there, opened, closed, drifted and approved: `history.json` in the state folder.

mod index;
mod rebuild;

use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use baseline::{Accounts, DriftEvent, Judged};
use inventory::{Happening, SocketId};
use jiff::Timestamp;
use tracing::{info, warn};

pub use self::index::{CoveredBy, Past, ServicePast, Turns};
use crate::assessed::Assessed;
use crate::priority::give_way;
use crate::snapshot::JudgedPass;
use crate::state::{self, StateError};

const FILE: &str = "history.json";
/// As many services as there is room for, each with names as long as they are kept.
const MAX: u64 = 64 << 20;
/// How often all services are gone through: what their verdicts are is told by no event.
const WALK: Duration = Duration::from_secs(60);
/// That what is there was there still is written this seldom, where nothing else is new.
const SELDOM: Duration = Duration::from_secs(600);
/// After the file was written it is left alone for so many times as long, within these bounds.
const REST: u32 = 20;
const SHORTEST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Why it is not known what was.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum HistoryError {
    #[error("{0} cannot be read as this user: run as root")]
    Denied(PathBuf),
    #[error(transparent)]
    State(StateError),
    #[error("{path}: it does not hold what services were: {error}")]
    Broken { path: PathBuf, error: serde_json::Error },
    #[error("{path} is of version {version}, which another release of Portledger writes")]
    Version { path: PathBuf, version: u32 },
}

/// What `serve` remembers of services; `None` where it wrote nothing. The exporter's user could have written anything: it is
/// for people to see, never to decide by.
pub fn history(state: &Path) -> Result<Option<Past>, HistoryError> {
    let content = state::read(state, FILE, MAX).map_err(|error| match error {
        StateError::Io { path, error, .. } if error.kind() == ErrorKind::PermissionDenied => {
            HistoryError::Denied(path)
        }
        other => HistoryError::State(other),
    })?;
    let Some(content) = content else { return Ok(None) };
    let path = state.join(FILE);
    match serde_json::from_slice::<Past>(&content) {
        Ok(past) if past.version == Past::VERSION => Ok(Some(past.bounded())),
        Ok(past) => Err(HistoryError::Version { path, version: past.version }),
        Err(error) => Err(HistoryError::Broken { path, error }),
    }
}

/// What came of one judgement.
pub(crate) struct Judgement<'a> {
    pub(crate) happened: &'a [Happening],
    /// By the same rules; `None` where all was judged anew.
    pub(crate) before: Option<&'a JudgedPass>,
    pub(crate) pass: &'a JudgedPass,
    /// What came and went since then.
    pub(crate) past: Option<&'a Assessed>,
    pub(crate) events: &'a [DriftEvent],
}

impl<'a> Judgement<'a> {
    /// What is said of a socket that opened: as it was when it did, or when it was first known who holds it.
    pub(crate) fn of_opened(&self, id: SocketId) -> Option<(&'a Judged, &'a Accounts)> {
        let of_past = || self.past.and_then(|past| Some((past.of(id)?, &past.accounts)));
        of_past().or_else(|| Some((of(self.pass, id)?, &*self.pass.accounts)))
    }

    /// What was said of a socket that is closed.
    pub(crate) fn of_closed(&self, id: SocketId) -> Option<&'a Judged> {
        self.before.and_then(|before| of(before, id)).or_else(|| self.past.and_then(|past| past.of(id)))
    }
}

fn of(pass: &JudgedPass, id: SocketId) -> Option<&Judged> {
    let at = pass.inventory.listeners.binary_search_by_key(&id, |other| other.id).ok()?;
    pass.assessment.services.get(*pass.assessment.service_of.get(at)?)
}

/// Remembers services over restarts, and writes it down on a thread of its own. Whoever drops it waits until all is
/// written.
pub(crate) struct HistoryKeeper {
    desk: Arc<Desk>,
    walked: Option<SystemTime>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Desk {
    papers: Mutex<Papers>,
    more: Condvar,
}

#[derive(Default)]
struct Papers {
    past: Past,
    /// Something is not written yet.
    unwritten: bool,
    ends: bool,
}

impl HistoryKeeper {
    /// What cannot be read is told, and made anew of what the logs have.
    pub(crate) fn restore(folder: PathBuf) -> std::io::Result<Self> {
        let past = match history(&folder) {
            Ok(Some(past)) => past,
            Ok(None) => rebuilt(&folder),
            Err(error) => {
                warn!("what services were is not known: {error}");
                rebuilt(&folder)
            }
        };
        let desk =
            Arc::new(Desk { papers: Mutex::new(Papers { past, ..Papers::default() }), ..Desk::default() });
        let writer = Writer { folder, desk: desk.clone(), is_behind: false };
        let thread = std::thread::Builder::new().name("history".to_owned()).spawn(move || writer.work())?;
        Ok(HistoryKeeper { desk, walked: None, thread: Some(thread) })
    }

    /// Takes in what happened, at the cost of what did; once a minute, and where all was judged anew, all services.
    pub(crate) fn take_in(&mut self, judgement: &Judgement<'_>, now: SystemTime) {
        let Ok(at) = Timestamp::try_from(now) else { return };
        let mut papers = self.desk.lock();
        let past = &mut papers.past;
        past.begin(at);
        for happening in judgement.happened {
            match happening {
                Happening::Opened(listener) => {
                    let judged = judgement.of_opened(listener.id);
                    judged.into_iter().for_each(|(judged, _)| past.opened(judged, listener.since));
                }
                Happening::Closed { listener, at } => {
                    judgement.of_closed(listener.id).into_iter().for_each(|judged| past.closed(judged, *at));
                }
                Happening::Changed { .. } => {}
            }
        }
        for event in judgement.events {
            if let DriftEvent::Opened(drift) | DriftEvent::Returned(drift) = event {
                let id = drift.id().as_str();
                // One that expired lends its drift its own id.
                let socket = drift.listeners().first().filter(|_| !past.knows(id));
                let judged = socket.and_then(|listener| judgement.of_opened(listener.id));
                past.drifted(judged.map_or(id, |(judged, _)| judged.service.id.as_str()));
            }
        }
        let mut is_new = !judgement.happened.is_empty() || !judgement.events.is_empty();
        let since = self.walked.map(|walked| now.duration_since(walked).unwrap_or(WALK));
        if judgement.before.is_none() || since.is_none_or(|since| since >= WALK) {
            self.walked = Some(now);
            is_new |= past.walk(&judgement.pass.assessment.services);
            is_new |= past.written.is_none_or(|written| at.duration_since(written).unsigned_abs() >= SELDOM);
        }
        past.make_room(false);
        if is_new {
            papers.unwritten = true;
            drop(papers);
            self.desk.more.notify_one();
        }
    }
}

impl Drop for HistoryKeeper {
    fn drop(&mut self) {
        self.desk.lock().ends = true;
        self.desk.more.notify_one();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            warn!("what services were may not be written down: its thread has failed");
        }
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Papers> {
        // Nothing that is done under the lock can leave it half done.
        self.papers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is something to write and it may be, and gives it; also whether that is the last.
    fn take(&self, not_before: Instant) -> (Past, bool) {
        let mut papers = self.lock();
        loop {
            let pause = not_before.saturating_duration_since(Instant::now());
            if papers.ends || (papers.unwritten && pause.is_zero()) {
                papers.unwritten = false;
                papers.past.make_room(true);
                papers.past.written = papers.past.looked;
                return (papers.past.clone(), papers.ends);
            }
            papers = match papers.unwritten {
                true => self.more.wait_timeout(papers, pause).unwrap_or_else(PoisonError::into_inner).0,
                false => self.more.wait(papers).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

struct Writer {
    folder: PathBuf,
    desk: Arc<Desk>,
    /// What could not be replaced was said.
    is_behind: bool,
}

impl Writer {
    fn work(mut self) {
        give_way();
        let mut not_before = Instant::now();
        loop {
            let (past, is_last) = self.desk.take(not_before);
            let began = Instant::now();
            // A host that was never looked at has no history.
            if past.looked.is_some() {
                self.write(&past);
            }
            if is_last {
                return;
            }
            not_before = Instant::now() + (began.elapsed() * REST).clamp(SHORTEST_REST, LONGEST_REST);
        }
    }

    /// What cannot be written is tried again.
    fn write(&mut self, past: &Past) {
        match keep(&self.folder, past) {
            Ok(()) if std::mem::take(&mut self.is_behind) => {
                info!("the history is written down again");
            }
            Ok(()) => {}
            Err(error) => {
                self.desk.lock().unwritten = true;
                if !std::mem::replace(&mut self.is_behind, true) {
                    warn!("the history is not written down, which is tried again: {error}");
                }
            }
        }
    }
}

fn keep(folder: &Path, past: &Past) -> Result<(), StateError> {
    state::write_by(folder, FILE, |file| {
        let mut buffered = BufWriter::new(file);
        serde_json::to_writer(&mut buffered, past)?;
        buffered.flush()
    })
}

fn rebuilt(folder: &Path) -> Past {
    match rebuild::from_logs(folder) {
        Ok(past) => {
            if !past.services.is_empty() {
                let services = past.services.len();
                info!("{FILE} is made anew of the logs, which tell of {services} services");
            }
            past
        }
        Err(error) => {
            warn!("{FILE} is begun anew, without what the logs have: {error}");
            Past::default()
        }
    }
}

/// The history, as the file says it.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzzed(bytes: &[u8]) {
    let Ok(past) = serde_json::from_slice::<Past>(bytes) else { return };
    let mut past = past.bounded();
    past.begin(Timestamp::UNIX_EPOCH);
    past.make_room(true);
    let written = serde_json::to_vec(&past).unwrap_or_default();
    assert_eq!(serde_json::from_slice::<Past>(&written).ok(), Some(past));
}

#[cfg(test)]
mod tests;
