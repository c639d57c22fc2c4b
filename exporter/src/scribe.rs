use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use baseline::{Register, Written};
use rustix::time::{ClockId, clock_gettime};
use tracing::{info, warn};

use crate::alerting::{self, Book, Turn, Turns};
use crate::event_log::{ALERTS, Entry, EventLog};
use crate::judge::LEAP;
use crate::log_heads::LogHeads;
use crate::priority::give_way;
use crate::snapshot::BestCoverage;
use crate::state::{self, StateError};

pub(crate) const REGISTER: &str = "register.json";
/// As many drifts as a register has room for, each with what it was found on.
pub(crate) const MAX_REGISTER: u64 = 256 << 20;
pub(crate) const COVERAGE: &str = "coverage.json";
const MAX_COVERAGE: u64 = 4096;
/// After a file that is replaced whole was written it is left alone for so many times as long, at most for a second: what
/// comes meanwhile is lost by a kill.
const REST: u32 = 20;
const LONGEST_REST: Duration = Duration::from_secs(1);
/// A register of so many drifts is written in the time that an alert may wait.
const FEW: usize = 1_000;
/// How many events wait to be logged. Those for which there is no room are counted.
const MAX_WAITING: usize = 65_536;

/// Writes into the state folder what must outlive this process, on a thread of its own: a slow disk keeps nothing from
/// being published. Whoever drops it waits until all is written.
pub(crate) struct Scribe {
    desk: Arc<Desk>,
    turns: Arc<Turns>,
    unlogged: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// What lies there to be written.
#[derive(Default)]
struct Desk {
    papers: Mutex<Papers>,
    more: Condvar,
}

#[derive(Default)]
struct Papers {
    register: Option<Arc<Register>>,
    coverage: Option<BestCoverage>,
    /// There are turns of alerts that are not logged, or a book that is not kept.
    turns: bool,
    book: bool,
    entries: Vec<Entry>,
    ends: bool,
}

impl Scribe {
    /// Counts in `unlogged` what cannot be logged, and in `unkept` how often a file could not be replaced.
    pub(crate) fn start(
        folder: PathBuf,
        (unlogged, unkept): (Arc<AtomicU64>, Arc<AtomicU64>),
        heads: &Arc<LogHeads>,
        turns: &Arc<Turns>,
    ) -> std::io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let writer = Writer {
            log: EventLog::new(&folder, heads),
            folder,
            heads: heads.clone(),
            turns: turns.clone(),
            torn: false,
            desk: desk.clone(),
            unlogged: unlogged.clone(),
            rests_until: None,
            unkept,
            is_behind: false,
        };
        let thread = std::thread::Builder::new().name("scribe".to_owned()).spawn(move || writer.work())?;
        Ok(Scribe { desk, turns: turns.clone(), unlogged, thread: Some(thread) })
    }

    pub(crate) fn keep_register(&self, register: Arc<Register>) {
        self.desk.lock().register = Some(register);
        self.desk.more.notify_one();
    }

    pub(crate) fn keep_coverage(&self, best: BestCoverage) {
        self.desk.lock().coverage = Some(best);
        self.desk.more.notify_one();
    }

    /// Tells alerts: whoever sends them has them at once.
    pub(crate) fn tell(&self, book: Arc<Book>, turns: &[Arc<Turn>]) {
        let lost = self.turns.add(book, turns);
        self.unlogged.fetch_add(lost, Ordering::Relaxed);
        if !turns.is_empty() {
            let mut papers = self.desk.lock();
            (papers.turns, papers.book) = (true, true);
            drop(papers);
            self.desk.more.notify_one();
        }
    }

    pub(crate) fn log(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut entries = entries.into_iter().peekable();
        if entries.peek().is_none() {
            return;
        }
        let mut papers = self.desk.lock();
        let room = MAX_WAITING.saturating_sub(papers.entries.len());
        papers.entries.extend(entries.by_ref().take(room));
        drop(papers);
        self.desk.more.notify_one();
        let too_many = entries.count();
        self.unlogged.fetch_add(u64::try_from(too_many).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        self.desk.lock().ends = true;
        self.desk.more.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("what was not written yet is lost: its thread has failed");
        }
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Papers> {
        // Nothing that is done under the lock can leave it half done.
        self.papers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unless something newer lies there.
    fn give_back<T>(&self, put: impl FnOnce(&mut Papers) -> &mut T) {
        put(&mut self.lock());
    }

    /// Waits for something to write. Files that are replaced whole stay until they may be written again, and turns that could
    /// not be logged (`torn`) with them.
    fn take(&self, not_before: Option<Instant>, torn: bool) -> Papers {
        let mut papers = self.lock();
        loop {
            let pause = not_before.map(|instant| instant.saturating_duration_since(Instant::now()));
            let pause = pause.filter(|pause| !pause.is_zero() && !papers.ends);
            let waits = papers.register.is_some()
                || papers.coverage.is_some()
                || papers.book
                || (papers.turns && torn);
            let comes = !papers.entries.is_empty() || (papers.turns && !torn);
            if papers.ends || comes || (waits && pause.is_none()) {
                let entries = std::mem::take(&mut papers.entries);
                let turns = std::mem::take(&mut papers.turns);
                let ends = papers.ends;
                if pause.is_some() {
                    return Papers { turns, entries, ends, ..Papers::default() };
                }
                let (register, coverage) = (papers.register.take(), papers.coverage.take());
                let book = std::mem::take(&mut papers.book);
                return Papers { register, coverage, turns, book, entries, ends };
            }
            papers = match pause.filter(|_| waits) {
                Some(pause) => {
                    self.more.wait_timeout(papers, pause).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.more.wait(papers).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

struct Writer {
    folder: PathBuf,
    heads: Arc<LogHeads>,
    turns: Arc<Turns>,
    /// The last turns of alerts could not be logged.
    torn: bool,
    desk: Arc<Desk>,
    log: EventLog,
    unlogged: Arc<AtomicU64>,
    /// Until when the files that are replaced whole are left alone.
    rests_until: Option<Instant>,
    unkept: Arc<AtomicU64>,
    /// What could not be replaced was said.
    is_behind: bool,
}

impl Writer {
    fn work(mut self) {
        give_way();
        self.log.open();
        loop {
            let mut papers = self.desk.take(self.rests_until, self.torn);
            // The register lay there before what it has was told: that which lies there now has all up to here.
            let up_to = self.turns.book().seq;
            // What lived for two seconds is known after a kill by the register alone: without it its alert would end.
            if papers.turns && self.turns.fire_unlogged() {
                let mut waiting = self.desk.lock();
                let newest = waiting.register.take_if(|register| register.len() <= FEW);
                drop(waiting);
                let newest = newest.or_else(|| papers.register.take_if(|register| register.len() <= FEW));
                self.replace(newest, None, false);
            }
            // An alert is known to be over before what it tells of is no more in the register.
            if papers.turns {
                self.log_turns(up_to);
            }
            let unlogged = self.log.write(&papers.entries);
            self.unlogged.fetch_add(unlogged, Ordering::Relaxed);
            let began = Instant::now();
            let replaces = papers.register.is_some() || papers.coverage.is_some() || papers.book;
            if replaces {
                let kept = self.replace(papers.register, papers.coverage, papers.book);
                let rest = if kept { began.elapsed() * REST } else { LONGEST_REST };
                self.rests_until = Some(Instant::now() + rest.min(LONGEST_REST));
            }
            if papers.ends {
                return;
            }
        }
    }

    fn log_turns(&mut self, up_to: u64) {
        self.torn = !self.log.write_turns(&self.turns, up_to);
        if self.torn {
            self.turns.are_not_logged();
            self.desk.give_back(|papers| {
                papers.turns = true;
                &mut papers.turns
            });
            self.rests_until = Some(Instant::now() + LONGEST_REST);
        }
    }

    /// What cannot be written lies on the desk again: it is no older for that.
    fn replace(
        &mut self,
        register: Option<Arc<Register>>,
        coverage: Option<BestCoverage>,
        book: bool,
    ) -> bool {
        let register = register.map(|register| {
            let kept = state::write_by(&self.folder, REGISTER, |file| {
                let mut buffered = BufWriter::new(file);
                register.write_json(written_now(), &mut buffered).map_err(io::Error::other)?;
                buffered.flush()
            });
            kept.inspect_err(|_| self.desk.give_back(|papers| papers.register.get_or_insert(register)))
        });
        let coverage = coverage.map(|best| {
            let kept =
                state::write_by(&self.folder, COVERAGE, |file| Ok(serde_json::to_writer(file, &best)?));
            kept.inspect_err(|_| self.desk.give_back(|papers| papers.coverage.get_or_insert(best)))
        });
        let book = book.then(|| {
            // The newest: no turn in the log is newer.
            let after = self.heads.of(ALERTS).unwrap_or_default();
            let kept = alerting::keep(&self.folder, after, &self.turns.book());
            kept.inspect_err(|_| self.desk.lock().book = true)
        });
        match register.into_iter().chain(coverage).chain(book).collect() {
            Ok(()) => {
                if std::mem::take(&mut self.is_behind) {
                    info!("what is known now is written down again");
                }
                true
            }
            Err(error) => {
                self.fall_behind(&error);
                false
            }
        }
    }

    fn fall_behind(&mut self, error: &StateError) {
        self.unkept.fetch_add(1, Ordering::Relaxed);
        if !std::mem::replace(&mut self.is_behind, true) {
            warn!("what is known now would not survive a restart; it is tried again each second: {error}");
        }
    }
}

/// What cannot be read is told and begun anew: a damaged file must not keep the host unwatched.
pub(crate) fn restore_register(folder: &Path) -> Register {
    let content = match state::read(folder, REGISTER, MAX_REGISTER) {
        Ok(Some(content)) => content,
        Ok(None) => return Register::default(),
        Err(error) => {
            warn!("which drifts were open is not known: {error}");
            return Register::default();
        }
    };
    let text = String::from_utf8_lossy(&content);
    let mut register = Register::from_json(&text).unwrap_or_else(|error| {
        warn!("which drifts were open is not known, {REGISTER} is damaged: {error}");
        Register::default()
    });
    let leap = Register::written(&text).map_or(Duration::ZERO, |written| written.leap(written_now()));
    if leap >= LEAP {
        warn!(
            "the clock went ahead by {} s since {REGISTER} was written: what is gone is not taken to be older",
            leap.as_secs()
        );
        register.clock_went_ahead(leap);
    }
    register
}

fn written_now() -> Written {
    let since_boot = clock_gettime(ClockId::Boottime);
    Written { at: SystemTime::now(), since_boot: Duration::try_from(since_boot).unwrap_or_default() }
}

pub(crate) fn restore_coverage(folder: &Path) -> BestCoverage {
    let read = state::read(folder, COVERAGE, MAX_COVERAGE).map_err(|error| error.to_string());
    let parsed = read.and_then(|content| match content {
        Some(content) => serde_json::from_slice(&content).map_err(|error| format!("{COVERAGE}: {error}")),
        None => Ok(BestCoverage::default()),
    });
    parsed.unwrap_or_else(|error| {
        warn!("what coverage was once held is not known: {error}");
        BestCoverage::default()
    })
}
