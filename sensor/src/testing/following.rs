//! Following events in a test.

use std::os::fd::BorrowedFd;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use inventory::{Event, Listener, NetNsId};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use crate::bpf::{Bpf, EventRecord, Programs, Wanted, load_here};
use crate::events::heard::Heard;
use crate::events::source::{Source, Taken, Teller};
use crate::process::Hashing;
use crate::watcher::{Reconciled, Watcher};
use crate::{Options, Sensor};

/// One at a time: each fills the rings of all others.
static ALONE: Mutex<()> = Mutex::new(());
/// What takes longer never comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Held by a test that follows what others would disturb.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The programs, loaded by this process. Says why not where the kernel refuses them.
pub(crate) fn programs(test: &str) -> Option<Programs> {
    let programs = load_here().map_err(|reason| eprintln!("SKIP {test}: {reason}")).ok()?;
    if programs.refused.is_empty() {
        return Some(programs);
    }
    let refused: Vec<String> =
        programs.refused.iter().map(|(hook, reason)| format!("{hook}: {reason}")).collect();
    eprintln!("SKIP {test}: {}", refused.join("; "));
    None
}

/// A sensor that is told nothing by BPF.
pub(crate) fn sensor() -> Sensor {
    let options = Options {
        public: Vec::new(),
        namespaces: 1_000,
        redact: Vec::new(),
        hashing: Hashing::Off,
        workers: 1,
        bpf: Bpf::Never,
    };
    Sensor::new(options).unwrap()
}

/// What [`crate::run`] does with events, step by step. The ring is emptied all the while, for others on this machine fill
/// it too.
pub(crate) struct Following {
    pub(crate) source: Arc<Mutex<Source>>,
    pub(crate) watcher: Watcher,
    taken: Arc<Mutex<Taken>>,
    deaf: Arc<AtomicBool>,
    pub(crate) lost: u64,
    _alone: MutexGuard<'static, ()>,
}

impl Following {
    /// Begins with a look. Says why not where the kernel lets us not.
    pub(crate) fn begin(test: &str) -> Option<Self> {
        let alone = alone();
        let (source, files) = Source::of(programs(test)?).unwrap();
        let (source, taken) = (Arc::new(Mutex::new(source)), Arc::default());
        let deaf = Arc::new(AtomicBool::new(false));
        empty(Arc::downgrade(&source), Arc::clone(&taken), Arc::clone(&deaf));
        let mut sensor = sensor();
        sensor.files = files;
        let now = sensor.pass();
        let watcher = Watcher::new(sensor, now);
        let following = Following { source, watcher, taken, deaf, lost: 0, _alone: alone };
        following.follow();
        Some(following)
    }

    /// Lets the ring fill until the next look.
    pub(crate) fn be_deaf(&self) {
        self.deaf.store(true, Ordering::SeqCst);
        // A turn that had begun has ended with this.
        drop(self.source.lock().unwrap());
    }

    fn follow(&self) {
        let source = self.source.lock().unwrap();
        let Teller::Bpf(attached) = &source.teller else { panic!("{source:?}") };
        attached.follow(&self.watcher);
    }

    /// What comes until `enough`, of everybody.
    pub(crate) fn until(&mut self, mut enough: impl FnMut(&[Event], &Watcher) -> bool) -> Vec<Event> {
        let end = Instant::now() + PATIENCE;
        let mut events = Vec::new();
        while !enough(&events, &self.watcher) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
            events.extend(self.take());
        }
        events
    }

    /// Whether others on this machine left no room for what a test is about; says so.
    pub(crate) fn is_drowned(&self, test: &str) -> bool {
        if self.lost > 0 {
            eprintln!("SKIP {test}: {} events were lost, for others fill the ring", self.lost);
        }
        self.lost > 0
    }

    /// What comes in this time, of everybody.
    pub(crate) fn during(&mut self, time: Duration) -> Vec<Event> {
        let end = Instant::now() + time;
        self.until(|_, _| Instant::now() >= end)
    }

    /// What came.
    pub(crate) fn take(&mut self) -> Vec<Event> {
        let records = self.records();
        let mut events = self.watcher.take(records);
        events.extend(self.watcher.catch_up());
        events
    }

    fn records(&mut self) -> Vec<EventRecord> {
        if !self.deaf.load(Ordering::SeqCst) {
            take(&mut self.source.lock().unwrap(), &self.taken);
        }
        let taken = std::mem::take(&mut *self.taken.lock().unwrap());
        self.lost += taken.lost;
        taken.records
    }

    /// Looks at everything.
    pub(crate) fn look(&mut self) -> Reconciled {
        self.deaf.store(false, Ordering::SeqCst);
        let announced = self.source.lock().unwrap().announced;
        let before = self.records();
        self.watcher.take(before);
        let (source, taken) = (&self.source, &self.taken);
        let mut reconciled = self.watcher.reconcile(announced, || {
            take(&mut source.lock().unwrap(), taken);
            let records = std::mem::take(&mut taken.lock().unwrap().records);
            Taken { records, ..Taken::default() }
        });
        let records = std::mem::take(&mut reconciled.records);
        reconciled.passed.extend(self.watcher.take(records));
        self.follow();
        reconciled
    }

    /// The listener with this cookie, as it is known now.
    pub(crate) fn knows(&self, cookie: u64) -> Option<&Listener> {
        let mut listeners = self.watcher.now.listeners.iter().map(|listener| &**listener);
        listeners.find(|listener| listener.id.cookie == cookie)
    }
}

fn take(source: &mut Source, taken: &Mutex<Taken>) {
    let Taken { records, lost, .. } = source.take(&mut Heard::default(), 8_192);
    let mut taken = taken.lock().unwrap();
    taken.records.extend(records);
    taken.lost += lost;
}

/// Empties the ring on a thread of its own, as long as it is there.
fn empty(source: Weak<Mutex<Source>>, taken: Arc<Mutex<Taken>>, deaf: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        while let Some(source) = source.upgrade() {
            let mut source = source.lock().unwrap();
            if !deaf.load(Ordering::SeqCst) {
                take(&mut source, &taken);
            }
            drop(source);
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

/// Events of one namespace, in short: `+`, `~` or `-` and the listener's endpoint, or its cookie.
pub(crate) fn of(events: &[Event], netns: u64) -> Vec<&Event> {
    let id = NetNsId::Cookie(netns);
    let is_there = |event: &&Event| match event {
        Event::Opened(listener) | Event::Changed(listener) => listener.id.netns == id,
        Event::Closed(socket, _) => socket.netns == id,
    };
    events.iter().filter(is_there).collect()
}

/// As [`crate::Loader`]: the test of this name in this program loads, with its third descriptor as the way out, for on
/// its standard output the harness speaks.
pub(crate) fn loader(wanted: Wanted) -> Command {
    loader_by("", wanted)
}

/// The same after a line of shell.
pub(crate) fn loader_by(before: &str, wanted: Wanted) -> Command {
    let mut command = Command::new("sh");
    let line = format!("{before}\nexec \"$@\" 3>&1 >/dev/null");
    command.args(["-c", &line, "sh"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "testing::following::loads_for_another_process", "--nocapture"]);
    command.env(WANTED, if wanted == Wanted::Events { "events" } else { "iterator" });
    command
}

const WANTED: &str = "PORTLEDGER_TEST_LOADS";

#[test]
fn loads_for_another_process() {
    let Ok(wanted) = std::env::var(WANTED) else { return };
    let wanted = if wanted == "events" { Wanted::Events } else { Wanted::Iterators };
    let itself = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let output = pidfd_getfd(&itself, 3, PidfdGetfdFlags::empty()).unwrap();
    crate::load(wanted, &output).unwrap();
}

/// Closes what is behind it for everybody.
pub(crate) fn detach(link: BorrowedFd<'_>) {
    crate::sys::bpf::detach(link).unwrap();
}
