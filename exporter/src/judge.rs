mod alerts;
mod clocks;
mod news;
mod restored;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use baseline::{Dismissal, Meanwhile, Passed, Register, assess, reassess};
use inventory::frame::{Assembler, Message, decode};
use inventory::{Happening, Inventory};
use tokio::sync::{mpsc, watch};
use tracing::warn;

use self::clocks::Clocks;
pub(crate) use self::clocks::LEAP;
use self::news::News;
use self::restored::Restored;
use crate::AccountBook;
use crate::alert::Sender;
use crate::alerting::{Book, Turns};
use crate::assessed::Assessed;
use crate::crier::Crier;
use crate::dismissals::Dismissals;
use crate::event_log::Entry;
use crate::frames::{Packet, Resumed};
use crate::history::{HistoryKeeper, Judgement};
use crate::log_heads::LogHeads;
use crate::matched::MatchedKeeper;
use crate::muffler::Muffler;
use crate::rules::Rules;
use crate::scribe::{Scribe, restore_coverage};
use crate::silence::PATIENCE;
use crate::snapshot::{self, Documents, JudgedPass, SensorStatus, Snapshot};

/// What the judge is asked to do.
pub(crate) enum Work {
    /// Take a packet of the sensor.
    Frame(Packet),
    /// Know that another sensor tells what follows.
    Resume(Resumed),
    /// Read configuration and baseline again.
    Reload,
    /// Write these into the log of events.
    Log(Vec<Entry>),
    /// Know that nothing was heard of the sensor for so long.
    Silent(Duration),
    /// Look whether time alone has changed something.
    Tick,
    /// Write down what is not written yet, and end.
    End,
}

impl From<Packet> for Work {
    fn from(packet: Packet) -> Self {
        Work::Frame(packet)
    }
}

impl From<Resumed> for Work {
    fn from(resumed: Resumed) -> Self {
        Work::Resume(resumed)
    }
}

/// How long news that wait already are gathered before they are judged together.
const GATHER: Duration = Duration::from_millis(5);
/// Likewise, in times of how long the judgement before took: what it costs follows what is open, not what is new.
const WORTH: u32 = 4;
const LONGEST_GATHER: Duration = Duration::from_millis(500);
/// How many of them at most.
const MAX_GATHERED: usize = 8_192;
/// How long news may have waited, be it here, on the way, or in the kernel. Of what waits longer is left out what came and
/// went in crowds.
const PATIENT_FOR: Duration = Duration::from_secs(2);
/// Fewer are judged however long they waited: they are no crowd, and a machine that stood still is no storm.
const CROWD: usize = 1_024;

/// Takes what the sensor tells, holds it against the rules and publishes what comes of it. It runs on a thread of its
/// own, so that a long judgement keeps nobody waiting who asks by HTTP.
pub(crate) struct Judge {
    rules: Rules,
    accounts: AccountBook,
    assembler: Assembler,
    scribe: Scribe,
    matched: MatchedKeeper,
    history: HistoryKeeper,
    publish: watch::Sender<Snapshot>,
    sensor: SensorStatus,
    news: News,
    /// How long what is gathered had waited by then, at most.
    waited: Duration,
    /// How long the last judgement took.
    judged_for: Duration,
    broken: Muffler,
    crowded: Muffler,
    hurried: Muffler,
    crier: Crier,
    dismissals: Dismissals,
    clocks: Clocks,
    /// When the last reload was: what it brought about is no older.
    told_at: SystemTime,
    /// What is to be closed at the next judgement.
    dismissed: Vec<Dismissal>,
    /// Which alerts fire.
    book: Arc<Book>,
    /// The drifts that it was last held against, and whether they counted.
    alerted: Option<(Arc<Register>, bool)>,
    turns: Arc<Turns>,
}

impl Judge {
    /// Picks up what an earlier process left in the state folder.
    pub(crate) fn new(
        rules: Rules,
        state: PathBuf,
        external_url: String,
    ) -> std::io::Result<(Self, watch::Receiver<Snapshot>)> {
        let sender = Sender::of(rules.policy(), external_url);
        let Restored { register, recalled, book, dismissals, dismissed } = Restored::of(&state);
        let snapshot = Snapshot {
            register: Arc::new(register),
            best: restore_coverage(&state),
            rules: rules.status(),
            logs: Arc::new(LogHeads::new(&state)),
            sender: Arc::new(sender),
            ..Snapshot::default()
        };
        let matched = MatchedKeeper::restore(state.clone());
        let history = HistoryKeeper::restore(state.clone())?;
        let counts = (snapshot.unlogged.clone(), snapshot.unkept.clone());
        let turns = Arc::new(Turns::new(book));
        let scribe = Scribe::start(state, counts, &snapshot.logs, &turns)?;
        // Nothing about it may change: whoever dismisses reads it there.
        if recalled > 0 {
            scribe.keep_register(snapshot.register.clone());
        }
        let (publish, snapshots) = watch::channel(snapshot);
        let (accounts, assembler, sensor, news) = Default::default();
        let (broken, crowded, hurried, crier) = Default::default();
        let mut judge = Judge {
            rules,
            accounts,
            assembler,
            scribe,
            matched,
            history,
            publish,
            sensor,
            news,
            waited: Duration::ZERO,
            judged_for: Duration::ZERO,
            broken,
            crowded,
            hurried,
            crier,
            dismissals,
            clocks: Clocks::default(),
            told_at: SystemTime::UNIX_EPOCH,
            dismissed,
            book: turns.book(),
            alerted: None,
            turns,
        };
        judge.log_changes(SystemTime::now());
        Ok((judge, snapshots))
    }

    /// What is told of alerts, for those who send them.
    pub(crate) fn turns(&self) -> Arc<Turns> {
        self.turns.clone()
    }

    /// Works until it is told to end, or nobody is left who could. What came while it judged is judged together.
    pub(crate) fn work(mut self, mut inbox: mpsc::Receiver<Work>) {
        while let Some(first) = inbox.blocking_recv() {
            let began = Instant::now();
            let at_least = self.gathers_for();
            self.waited = Duration::ZERO;
            let mut next = Some(first);
            while let Some(work) = next {
                match work {
                    Work::Frame(packet) => {
                        self.waited = self.waited.max(packet.waited());
                        let now = self.now();
                        self.take(&packet, now);
                    }
                    Work::Resume(Resumed(times)) => {
                        self.sensor.restarts = self.sensor.restarts.max(times);
                        self.assembler.resume();
                    }
                    Work::Reload => {
                        let now = self.now();
                        self.reload(now);
                    }
                    Work::Log(entries) => self.scribe.log(entries),
                    Work::Silent(lasted) => {
                        let now = self.now();
                        self.note_silence(lasted, now);
                    }
                    Work::Tick => {
                        let now = self.now();
                        self.tick(now);
                    }
                    Work::End => {
                        let now = self.now();
                        return self.end(now);
                    }
                }
                if self.news.happened.len() >= MAX_GATHERED {
                    self.leave_out_if_behind();
                }
                let enough = began.elapsed() >= self.gathers_for().max(at_least)
                    || self.news.happened.len() >= MAX_GATHERED;
                next = if enough { None } else { inbox.try_recv().ok() };
            }
            self.leave_out_if_behind();
            let began = Instant::now();
            let now = self.now();
            self.catch_up(now);
            self.judged_for = began.elapsed();
        }
    }

    fn gathers_for(&self) -> Duration {
        let worth = if self.is_behind() { LONGEST_GATHER } else { self.judged_for * WORTH };
        worth.clamp(GATHER, LONGEST_GATHER)
    }

    fn is_behind(&self) -> bool {
        self.waited >= PATIENT_FOR
    }

    /// What is there is judged in time, whatever came and went: of the crowds of these the first few are kept, and the
    /// others told as lost, as what the kernel had no room for.
    fn leave_out_if_behind(&mut self) {
        if !self.is_behind() || self.news.happened.len() < CROWD {
            return;
        }
        let sockets = self.news.left_out.take_from(&mut self.news.happened);
        if sockets == 0 {
            return;
        }
        let events = 2 * sockets;
        self.sensor.lost = self.sensor.lost.saturating_add(events);
        self.assembler.leave_out(events);
        self.hurried.say(|| {
            format!(
                "{events} events of sockets that are gone by now are left out: they came faster than they can be judged"
            )
        });
    }

    fn end(&mut self, now: SystemTime) {
        self.catch_up(now);
        self.matched.settle(self.rules.policy(), now);
    }

    fn take(&mut self, packet: &[u8], now: SystemTime) {
        let messages = match decode(packet) {
            Ok(messages) => messages,
            Err(broken) => return self.broken.say(|| format!("a frame of the sensor is dropped: {broken}")),
        };
        for message in messages {
            let message = match message {
                Ok(message) => message,
                Err(broken) => {
                    return self
                        .broken
                        .say(|| format!("the rest of a frame of the sensor is dropped: {broken}"));
                }
            };
            if let Message::StartedAgain(times) = message {
                // Its keeper tells so: a sensor that ends again and again was not heard of.
                self.sensor.restarts = self.sensor.restarts.max(times);
                continue;
            }
            self.sensor.last_frame = Some(now);
            self.note_word(now);
            match self.assembler.take(message) {
                Ok(None) => {}
                Ok(Some(pass)) => {
                    self.waited = self.waited.max(snapshot::waited(&pass, now));
                    self.sensor.note(&pass, now);
                    self.news.add(pass);
                }
                Err(broken) => self.broken.say(|| {
                    format!("a pass of the sensor is dropped, the inventory before it stays: {broken}")
                }),
            }
        }
    }

    /// Judges and publishes what came in since the last time. A sensor that only says that it lives costs nothing here.
    fn catch_up(&mut self, now: SystemTime) {
        self.crier.turn(Instant::now());
        let news = std::mem::take(&mut self.news);
        let sensor = self.sensor;
        if !news.is_any() {
            self.publish.send_if_modified(|snapshot| {
                let before = std::mem::replace(&mut snapshot.sensor, sensor);
                before != sensor
            });
            return;
        }
        let Some(inventory) = self.assembler.inventory() else { return };
        let mut snapshot = self.publish.borrow().clone();
        snapshot.sensor = sensor;
        snapshot.counts.count(&news.happened);
        snapshot.counts.add(&news.left_out.counts);
        let best = snapshot.best.raised_by(&inventory);
        if best != std::mem::replace(&mut snapshot.best, best) {
            self.scribe.keep_coverage(best);
        }
        match snapshot.judged.clone() {
            Some(pass) if !news.is_to_be_judged() && !pass.is_due(now) => {
                let (inventory, documents) = (Arc::new(inventory), Documents::default());
                let lost = sensor.lost;
                let pass = JudgedPass { inventory, lost, documents, ..JudgedPass::clone(&pass) };
                self.publish(Snapshot { judged: Some(Arc::new(pass)), ..snapshot });
            }
            before => self.judge(snapshot, before.as_deref(), Arc::new(inventory), &news, now),
        }
        if news.first {
            self.warn_of_unknown_accounts();
        }
    }

    fn reload(&mut self, now: SystemTime) {
        self.catch_up(now);
        self.matched.settle(self.rules.policy(), now);
        self.rules.reload(now);
        self.dismissed.extend(self.dismissals.read());
        let mut snapshot = self.publish.borrow().clone();
        snapshot.rules = self.rules.status();
        let external_url = snapshot.sender.external_url.clone();
        snapshot.sender = Arc::new(Sender::of(self.rules.policy(), external_url));
        self.log_changes(now);
        match snapshot.judged.clone() {
            Some(pass) => {
                // As of what was last heard: how long something is gone is not known of a sensor that has been silent
                // since.
                let heard = snapshot.sensor.last_frame.map_or(now, |heard| heard.min(now));
                self.told_at = now;
                self.judge(snapshot, None, pass.inventory.clone(), &News::default(), heard);
            }
            None => self.publish(snapshot),
        }
        self.warn_of_unknown_accounts();
    }

    /// What has settled, is missing or gone for long enough, or expired is told without waiting for the sensor to tell
    /// anything, as long as it lives.
    fn tick(&mut self, now: SystemTime) {
        let lives = |heard: SystemTime| now.duration_since(heard).unwrap_or_default() <= PATIENCE;
        if self.news.is_any() || !self.sensor.last_frame.is_some_and(lives) {
            return;
        }
        let Some(pass) = self.publish.borrow().judged.clone() else { return };
        if pass.is_due(now) {
            let snapshot = self.publish.borrow().clone();
            self.judge(snapshot, Some(&pass), pass.inventory.clone(), &News::default(), now);
        }
    }

    /// Publishes what the rules say of an inventory at this moment, and only then writes it down. `before` was judged by
    /// the same rules.
    fn judge(
        &mut self,
        mut snapshot: Snapshot,
        before: Option<&JudgedPass>,
        inventory: Arc<Inventory>,
        news: &News,
        now: SystemTime,
    ) {
        let (policy, happened) = (self.rules.policy(), &news.happened);
        let accounts = self.accounts.resolve(&inventory, &policy.baseline);
        let assessment = match before {
            Some(before) => reassess(before.known(), &inventory, policy, &accounts, now),
            None => assess(&inventory, policy, &accounts, now),
        };
        let past = Assessed::past(&inventory, happened, policy, &mut self.accounts, now);
        let mut register = Register::clone(&snapshot.register);
        let passed = past.as_ref().map(|Assessed { inventory, assessment, accounts, .. }| Passed {
            inventory,
            assessment,
            accounts,
        });
        let meanwhile = Meanwhile { passed, ended: &news.ended };
        let policy = self.rules.policy();
        let mut events = register.update_after(meanwhile, &inventory, &assessment, policy, &accounts, now);
        let (due, host) = (register.due(policy), policy.host.clone());
        events.extend(register.dismiss(&std::mem::take(&mut self.dismissed)));
        snapshot.counts.count_drifts(&events);
        if register.left_out() > 0 {
            let left_out = register.left_out();
            self.crowded.say(|| format!("{left_out} drifts found no room among those that are open"));
        }
        if register != *snapshot.register {
            snapshot.register = Arc::new(register);
            self.scribe.keep_register(snapshot.register.clone());
        }
        let (register, documents) = (snapshot.register.clone(), Documents::default());
        let (assessment, accounts) = (Arc::new(assessment), Arc::new(accounts));
        let lost = snapshot.sensor.lost;
        let sender = snapshot.sender.clone();
        let pass = JudgedPass {
            inventory,
            assessment,
            accounts,
            host,
            sender,
            register,
            judged_at: now,
            due,
            lost,
            documents,
        };
        let pass = Arc::new(pass);
        snapshot.judged = Some(pass.clone());
        self.publish(snapshot);
        let judgement = Judgement { happened, before, pass: &pass, past: past.as_ref(), events: &events };
        let sockets = happened.iter().map(|happening| entry(happening, &judgement, now));
        // It is judged as of what was last heard, and told as of now.
        let at = self.told_at.max(now);
        self.alert(&pass, &events, at);
        let drifts = events.iter().map(|event| Entry::Drift { at, event: event.clone() });
        let left_out = news.left_out.crowds.values().cloned().map(Entry::Crowd);
        self.scribe.log(sockets.flatten().chain(drifts).chain(left_out));
        self.crier.tell(&events);
        self.history.take_in(&judgement, now);
        self.note_matched(&pass, past.as_ref(), now);
    }

    /// What came and went since the last time matched as well.
    fn note_matched(&mut self, pass: &JudgedPass, past: Option<&Assessed>, now: SystemTime) {
        let past = past.map(|past| &past.assessment);
        let sees = !pass.inventory.coverage.may_hide_listeners();
        let assessments = [&*pass.assessment].into_iter().chain(past);
        self.matched.take_in(assessments, self.rules.policy(), sees, now);
    }

    /// What is in force now, and in which approvals it differs from what was: an act that was done in git is told too.
    fn log_changes(&mut self, now: SystemTime) {
        let (changes, git) = self.rules.take_changes();
        let status = self.rules.status();
        let revision = status.revision.clone();
        let reload = Entry::Reload { at: now, status, git: git.clone(), changed: changes.len() };
        let each = changes.into_iter().map(|change| Entry::Approval {
            at: now,
            change: Box::new(change),
            revision: revision.clone(),
            git: git.clone(),
        });
        self.scribe.log(std::iter::once(reload).chain(each));
    }

    fn warn_of_unknown_accounts(&self) {
        let snapshot = self.publish.borrow();
        let Some(pass) = &snapshot.judged else { return };
        for unknown in self.rules.policy().baseline.unknown_accounts(&pass.accounts) {
            warn!("{unknown}");
        }
    }

    /// Nobody who listens any more is no error: the process is about to end.
    fn publish(&self, snapshot: Snapshot) {
        self.publish.send_replace(snapshot);
    }
}

/// What the log of events says of it; nothing of a socket that only changed.
fn entry(happening: &Happening, judgement: &Judgement<'_>, now: SystemTime) -> Option<Entry> {
    match happening {
        Happening::Changed { .. } => None,
        Happening::Closed { listener, at } => {
            let judged = judgement.of_closed(listener.id);
            let service = judged.map(|judged| judged.service.id.clone());
            Some(Entry::Closed { listener: listener.clone(), at: *at, service })
        }
        Happening::Opened(listener) => {
            Some(Entry::opened(listener.clone(), judgement.of_opened(listener.id), now))
        }
    }
}

#[cfg(test)]
mod speed;
#[cfg(test)]
pub(crate) mod tests;
