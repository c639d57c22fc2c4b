use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use confine::ConfineError;
use inventory::frame::Closing;
use inventory::{Event, Gap, Inventory};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::Sensor;
use crate::addresses::AddressChanges;
use crate::bpf::{EventRecord, Loader};
use crate::confined;
use crate::events::clock::Clock;
use crate::events::followed::Followed;
use crate::events::heard::Heard;
use crate::events::source::{Detached, Source, Taken, Teller, events_gap};
use crate::manager::Manager;
use crate::readers::Readers;
use crate::sys::give_memory_back;
use crate::telling::{Telling, Told};
use crate::watcher::{Announced, Reconciled, Watcher};

/// Nothing comes back by which a reader that is out of step could ask: everything is told again so often.
const WHOLE_EVERY: Duration = Duration::from_secs(60);
/// A reader that is told nothing for so long is told that there is nothing.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Whoever opens a socket pays for waking us: what follows shortly after is taken together.
const TOGETHER: Duration = Duration::from_millis(2);
const SHORTLY: Duration = Duration::from_millis(5);
/// A loss that goes on is told of so often.
const WARN_EVERY: Duration = Duration::from_secs(10);
/// Events of one batch.
const MOST_EVENTS: usize = 8_192;
/// A look that something called for is followed by so many times its own duration without another.
const REST: u32 = 100;
/// The same where events were lost, or tell too little to do without.
const REST_AFTER_LOSS: u32 = 10;

/// When a sensor looks, and what else tells it what happens.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How often it looks where something has to be polled for.
    pub interval: Duration,
    /// How often it looks where all is told by events.
    pub reconcile: Duration,
    /// Loads what tells events; `None` to poll.
    pub events: Option<Loader>,
    /// Another sensor ended before this one began: what happened in between nobody saw.
    pub again: bool,
}

/// Why the sensor ended although somebody may still read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum RunError {
    #[error("a frame could not be sent: {0}")]
    Send(#[from] Errno),
    #[error("{0}: the sensor is blind to it until it is started again")]
    Blind(String),
    #[error("the sensor cannot be confined: {0}")]
    Confine(#[from] ConfineError),
}

impl From<Detached> for RunError {
    fn from(detached: Detached) -> Self {
        RunError::Blind(detached.to_string())
    }
}

/// To whom a sensor tells what it sees.
#[derive(Debug)]
pub enum Output {
    /// A packet socket with the one reader at its other end. The sensor ends with it.
    Reader(OwnedFd),
    /// One reader after the other.
    Readers(Readers),
}

/// Tells what listens to `output`, until nobody can read there any more: at once, where the kernel tells us, and
/// at each look what differs. A reader that hangs delays nothing but what it reads, and is told everything when it takes
/// frames again.
///
/// This process gives up for good what it does not need: it can be called once, and by nothing that goes on afterwards.
pub fn run(mut sensor: Sensor, timing: Timing, output: Output) -> Result<(), RunError> {
    confined::before_loading()?;
    let source = match timing.events {
        Some(loader) => {
            let (source, files) = Source::find(loader);
            sensor.files = files;
            source
        }
        None => Source::none(),
    };
    let listening = match &output {
        Output::Reader(_) => None,
        Output::Readers(readers) => Some(readers.as_fd()),
    };
    // Of a child of `serve` nobody asks: what its environment names is told by `serve`.
    let manager = listening.and_then(|_| Manager::of_environment());
    confined::after_loading(&source, sensor.files.as_ref(), listening)?;
    let mut run = Run::new(sensor, source, timing, output);
    run.manager = manager;
    run.begin()?;
    while run.step()? == Told::Whole || run.readers.is_some() {}
    Ok(())
}

/// The last look.
#[derive(Clone, Copy, Debug)]
struct Looked {
    ended: Instant,
    took: Duration,
}

/// What ended a wait.
#[derive(Clone, Copy, Debug)]
struct Woken {
    nobody_reads: bool,
    by_reader: bool,
    by_addresses: bool,
    by_events: bool,
}

struct Run {
    watcher: Watcher,
    source: Source,
    heard: Heard,
    addresses: Option<AddressChanges>,
    telling: Telling,
    /// Where the next reader comes from, if any comes.
    readers: Option<Readers>,
    manager: Option<Manager>,
    timing: Timing,
    looked: Looked,
    /// When to look before it is time.
    look_at: Option<Instant>,
    told: Instant,
    told_whole: Instant,
    /// When it was last seen that what tells events is in force.
    checked: Instant,
    /// When events were last taken.
    taken: Instant,
    lost: u64,
    lost_since_look: u64,
    /// When it was last warned of, and how many were lost until then.
    warned_of_loss: Option<(Instant, u64)>,
}

impl Run {
    /// Looks for the first time.
    fn new(mut sensor: Sensor, source: Source, timing: Timing, output: Output) -> Self {
        let began = Instant::now();
        let now = sensor.pass();
        let addresses = AddressChanges::open()
            .map_err(|errno| tracing::warn!("changes of addresses are polled for: {errno}"))
            .ok();
        let ended = Instant::now();
        let (reader, readers) = match output {
            Output::Reader(reader) => (Some(reader), None),
            Output::Readers(readers) => (None, Some(readers)),
        };
        Run {
            watcher: Watcher::new(sensor, now),
            source,
            heard: Heard::default(),
            addresses,
            telling: Telling::new(reader),
            readers,
            manager: None,
            timing,
            looked: Looked { ended, took: ended - began },
            look_at: None,
            told: ended,
            told_whole: ended,
            checked: ended,
            taken: ended,
            lost: 0,
            lost_since_look: 0,
            warned_of_loss: None,
        }
    }

    fn begin(&mut self) -> Result<(), RunError> {
        self.follow_what_is_known();
        self.brand(0, self.timing.again);
        let closing = Closing { took: self.looked.took, ..Closing::default() };
        self.telling.look(None, &self.watcher.now, closing)?;
        give_memory_back();
        if let Some(manager) = &mut self.manager {
            manager.tell_ready();
        }
        Ok(())
    }

    /// Waits for what comes next and does it. [`Told::NobodyReads`] is the end.
    fn step(&mut self) -> Result<Told, RunError> {
        let woken = self.wait()?;
        if let Some(manager) = &mut self.manager {
            manager.keep_alive();
        }
        if woken.nobody_reads {
            self.telling = Telling::new(None);
            return Ok(Told::NobodyReads);
        }
        if woken.by_reader {
            self.take_reader()?;
        }
        if woken.by_events && self.taken.elapsed() < SHORTLY {
            std::thread::sleep(TOGETHER);
        }
        if woken.by_addresses && self.addresses.as_ref().is_some_and(AddressChanges::take) {
            self.want_look(REST);
        }
        let records = if woken.by_events { self.take() } else { Vec::new() };
        let mut events = if records.is_empty() { Vec::new() } else { self.watcher.take(records) };
        events.extend(self.watcher.catch_up());
        if self.watcher.wants_look() {
            self.want_look(REST);
        }
        let mut told = Told::Whole;
        if !events.is_empty() {
            told = self.tell(&events)?;
        }
        let now = Instant::now();
        if told != Told::NobodyReads && now >= self.next_look() {
            told = self.look()?;
        }
        if self.checked.elapsed() >= HEARTBEAT {
            self.check()?;
        }
        if told != Told::NobodyReads && self.told.elapsed() >= HEARTBEAT {
            told = self.tell(&[])?;
        }
        if told == Told::NobodyReads {
            self.telling = Telling::new(None);
        }
        // A reader that is behind is told everything at the next look.
        Ok(if told == Told::NobodyReads { told } else { Told::Whole })
    }

    /// The next one is told all that is known, without a look.
    fn take_reader(&mut self) -> Result<(), RunError> {
        let Some(reader) = self.readers.as_ref().and_then(Readers::next) else { return Ok(()) };
        self.telling = Telling::new(Some(reader));
        (self.told, self.told_whole) = (Instant::now(), Instant::now());
        self.telling.look(None, &self.watcher.now, self.closing())?;
        Ok(())
    }

    /// What arrived at what is known now.
    fn tell(&mut self, events: &[Event]) -> Result<Told, RunError> {
        self.watcher.now.taken_at = SystemTime::now();
        let closing = self.closing();
        let told = self.telling.events(events, &self.watcher.now, closing)?;
        self.told_events(events, told)
    }

    /// What arrived at what was known before a look.
    fn tell_before(&mut self, before: &Inventory, events: &[Event]) -> Result<Told, RunError> {
        let told = self.telling.events(events, before, self.closing())?;
        self.told_events(events, told)
    }

    fn closing(&self) -> Closing {
        Closing { took: self.looked.took, lost: self.lost, ..Closing::default() }
    }

    fn told_events(&mut self, events: &[Event], told: Told) -> Result<Told, RunError> {
        self.told = Instant::now();
        if told == Told::Torn {
            self.count_unheard(events);
            self.want_look(REST_AFTER_LOSS);
        }
        Ok(told)
    }

    fn check(&mut self) -> Result<(), RunError> {
        self.checked = Instant::now();
        Ok(self.source.check()?)
    }

    /// What a reader does not take is lost to it as what the kernel had no room for: it is told so when it reads again.
    fn count_unheard(&mut self, events: &[Event]) {
        let unheard = self.telling.leave_out(events);
        if unheard > 0 {
            tracing::warn!("nobody took {unheard} events of sockets that are gone by now");
        }
        self.lost += unheard;
        self.lost_since_look += unheard;
    }

    fn look(&mut self) -> Result<Told, RunError> {
        self.look_at = None;
        self.check()?;
        let known = self.followed();
        let lost_before = std::mem::take(&mut self.lost_since_look);
        let (began, clock) = (Instant::now(), Clock::now());
        let announced = if lost_before == 0 { self.source.announced } else { Announced::default() };
        let (source, heard) = (&mut self.source, &mut self.heard);
        let reconciled = self.watcher.reconcile(announced, || source.take(heard, MOST_EVENTS));
        let Reconciled { before, opened, discrepancies, mut passed, records, lost } = reconciled;
        self.looked = Looked { ended: Instant::now(), took: began.elapsed() };
        self.lose(lost);
        passed.extend(self.heard.looked(&mut self.watcher, clock.boot_nanos()));
        if self.heard.waits_for_look() {
            self.want_look(REST_AFTER_LOSS);
        }
        self.forget_what_is_gone(known);
        self.follow_what_is_known();
        self.brand(lost_before, false);
        let closing = Closing { took: self.looked.took, lost: self.lost, discrepancies };
        if !opened.is_empty() && self.tell_before(&before, &opened)? == Told::NobodyReads {
            return Ok(Told::NobodyReads);
        }
        let whole = self.told_whole.elapsed() >= WHOLE_EVERY;
        let told = self.telling.look(Some(&before).filter(|_| !whole), &self.watcher.now, closing)?;
        self.told = Instant::now();
        if whole {
            self.told_whole = self.told;
        }
        drop(before);
        give_memory_back();
        passed.extend(self.watcher.take(records));
        match told {
            Told::Whole if !passed.is_empty() => return self.tell(&passed),
            Told::Torn => {
                self.count_unheard(&passed);
                // Nobody was told of it in this look.
                self.lost_since_look += lost_before;
            }
            Told::Whole | Told::NobodyReads => {}
        }
        Ok(told)
    }

    /// Adds what is known of events to what a look tells.
    fn brand(&mut self, lost: u64, began_again: bool) {
        let coverage = &mut self.watcher.now.coverage;
        coverage.events = self.source.word();
        coverage.shares.events = self.source.share();
        coverage.gaps.extend(self.source.gaps());
        if let (Teller::Bpf(_), None) = (&self.source.teller, &self.watcher.sensor.files) {
            let reason = self.watcher.sensor.without_bpf.as_deref().unwrap_or("nobody tells descriptors");
            coverage.gaps.push(events_gap(&format!("what opens is read by looks alone: {reason}")));
        }
        if began_again {
            coverage.shares.events.seen = 0;
            coverage.gaps.push(Gap::of_restart());
        }
        if lost > 0 {
            coverage.shares.events.seen = 0;
            coverage.gaps.push(events_gap(&format!(
                "{lost} events found no room before this look: what opened and closed meanwhile may not be known"
            )));
        }
        coverage.gaps.sort();
    }

    fn next_look(&self) -> Instant {
        let every = if self.source.is_complete() { self.timing.reconcile } else { self.timing.interval };
        let regular = self.looked.ended + every.saturating_sub(self.looked.took);
        self.look_at.map_or(regular, |early| early.min(regular))
    }

    fn want_look(&mut self, rest: u32) {
        let at = self.looked.ended + self.looked.took * rest;
        self.look_at = Some(self.look_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn take(&mut self) -> Vec<EventRecord> {
        self.taken = Instant::now();
        let Taken { records, lost, calls_for_look } = self.source.take(&mut self.heard, MOST_EVENTS);
        self.lose(lost);
        if calls_for_look {
            self.want_look(REST_AFTER_LOSS);
        }
        records
    }

    fn lose(&mut self, lost: u64) {
        if lost > 0 {
            self.lost += lost;
            self.lost_since_look += lost;
            self.warn_of_loss();
            self.want_look(REST_AFTER_LOSS);
        }
    }

    /// In a storm there is some loss many times a second.
    fn warn_of_loss(&mut self) {
        if self.warned_of_loss.is_some_and(|(at, _)| at.elapsed() < WARN_EVERY) {
            return;
        }
        let before = self.warned_of_loss.map_or(0, |(_, lost)| lost);
        let lost = self.lost - before;
        tracing::warn!("{lost} events of opens and closes found no room: looking at everything");
        self.warned_of_loss = Some((Instant::now(), self.lost));
    }

    fn wait(&self) -> Result<Woken, RunError> {
        let beat = self.told.min(self.checked) + HEARTBEAT;
        let manager = self.manager.as_ref().and_then(Manager::next);
        let deadline = [Some(self.next_look()), self.watcher.next(), Some(beat), manager];
        let deadline = deadline.into_iter().flatten().min().unwrap_or_else(Instant::now);
        let left = deadline.saturating_duration_since(Instant::now());
        // A part of a millisecond would be waited for in turns of none.
        let left = left + Duration::from_micros(100);
        let reader = self.telling.reader();
        let next =
            self.readers.as_ref().map(|readers| PollFd::from_borrowed_fd(readers.as_fd(), PollFlags::IN));
        let reader = reader.map(|reader| PollFd::from_borrowed_fd(reader, PollFlags::empty()));
        let has_reader = reader.is_some();
        // One at a time: others wait until that one is gone.
        let mut polled: Vec<PollFd<'_>> = reader.or(next).into_iter().collect();
        let first_address = polled.len();
        let addresses = self.addresses.iter().map(AddressChanges::fd);
        polled.extend(addresses.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let first_source = polled.len();
        polled.extend(self.source.fds().into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |place: usize| polled.get(place).is_some_and(|fd| fd.revents().contains(PollFlags::IN));
        Ok(Woken {
            nobody_reads: has_reader && polled[0].revents().intersects(PollFlags::HUP | PollFlags::ERR),
            by_reader: !has_reader && ready(0),
            by_addresses: first_source > first_address && ready(first_address),
            by_events: (first_source..polled.len()).any(ready),
        })
    }

    /// What the programs follow before a look.
    fn followed(&self) -> Option<Followed> {
        let Teller::Bpf(attached) = &self.source.teller else { return None };
        Followed::of(attached)
    }

    fn follow_what_is_known(&mut self) {
        if let Teller::Bpf(attached) = &self.source.teller {
            attached.follow(&self.watcher);
        }
    }

    fn forget_what_is_gone(&mut self, known: Option<Followed>) {
        if let (Teller::Bpf(attached), Some(known)) = (&self.source.teller, known) {
            attached.forget(&known, &self.watcher);
        }
    }
}

#[cfg(test)]
mod tests;
