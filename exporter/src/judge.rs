use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use baseline::{Accounts, Assessment, ClosedBecause, DriftEvent, Register, assess};
use inventory::frame::{Assembler, Pass, decode};
use inventory::{Holders, Inventory, Listener};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::AccountBook;
use crate::muffler::Muffler;
use crate::rules::Rules;
use crate::snapshot::{BestCoverage, Documents, JudgedPass, Snapshot};
use crate::state;

pub(crate) const REGISTER: &str = "register.json";
/// As many drifts as a register has room for, each with what it was found on.
pub(crate) const MAX_REGISTER: u64 = 256 << 20;
const COVERAGE: &str = "coverage.json";
const MAX_COVERAGE: u64 = 4096;

/// What the judge is asked to do.
pub(crate) enum Work {
    /// Take a packet of the sensor.
    Frame(Vec<u8>),
    /// Read configuration and baseline again.
    Reload,
    /// Look whether what had to settle has settled.
    Settle,
}

/// How long after a look that look may still tell what has settled.
const SETTLE_WITHIN: Duration = Duration::from_secs(4);

/// When an inventory is judged, and when it came in.
#[derive(Clone, Copy)]
struct Moment {
    now: SystemTime,
    looked: SystemTime,
}

/// Takes what the sensor tells, holds it against the rules and publishes what comes of it. It runs on a thread of its
/// own, so that a long judgement keeps nobody waiting who asks by HTTP.
pub(crate) struct Judge {
    rules: Rules,
    accounts: AccountBook,
    assembler: Assembler,
    state: PathBuf,
    publish: watch::Sender<Snapshot>,
    broken: Muffler,
    unkept: Muffler,
}

impl Judge {
    /// Picks up what an earlier process left in the state folder.
    pub(crate) fn new(rules: Rules, state: PathBuf) -> (Self, watch::Receiver<Snapshot>) {
        let snapshot = Snapshot {
            register: Arc::new(restore_register(&state)),
            best: restore_coverage(&state),
            rules: rules.status(),
            ..Snapshot::default()
        };
        let (publish, snapshots) = watch::channel(snapshot);
        let (accounts, assembler) = Default::default();
        let (broken, unkept) = Default::default();
        (Judge { rules, accounts, assembler, state, publish, broken, unkept }, snapshots)
    }

    /// Works until nobody is left who could ask.
    pub(crate) fn work(mut self, mut inbox: mpsc::Receiver<Work>) {
        while let Some(work) = inbox.blocking_recv() {
            match work {
                Work::Frame(packet) => self.take(&packet, SystemTime::now()),
                Work::Reload => self.reload(SystemTime::now()),
                Work::Settle => self.settle(SystemTime::now()),
            }
        }
    }

    fn take(&mut self, packet: &[u8], now: SystemTime) {
        let message = match decode(packet) {
            Ok(message) => message,
            Err(broken) => return self.broken.say(|| format!("a frame of the sensor is dropped: {broken}")),
        };
        self.publish.send_modify(|snapshot| snapshot.last_frame = Some(now));
        match self.assembler.take(message) {
            Ok(None) => {}
            Ok(Some(pass)) => self.take_pass(&pass, now),
            Err(broken) => self
                .broken
                .say(|| format!("a pass of the sensor is dropped, the inventory before it stays: {broken}")),
        }
    }

    fn take_pass(&mut self, pass: &Pass, now: SystemTime) {
        let Some(inventory) = self.assembler.inventory() else { return };
        let mut snapshot = self.publish.borrow().clone();
        snapshot.counts.count(&pass.happened);
        snapshot.best = self.raise_coverage(snapshot.best, &inventory);
        self.judge(snapshot, Arc::new(inventory), pass.closing.took, Moment { now, looked: now });
        if pass.first {
            self.warn_of_unknown_accounts();
        }
    }

    fn reload(&mut self, now: SystemTime) {
        self.rules.reload(now);
        let mut snapshot = self.publish.borrow().clone();
        snapshot.rules = self.rules.status();
        match snapshot.judged.clone() {
            Some(pass) => {
                self.judge(snapshot, pass.inventory.clone(), pass.took, Moment { now, looked: pass.looked });
            }
            None => self.publish(snapshot),
        }
        self.warn_of_unknown_accounts();
    }

    /// A drift that waits for its holder to be found is told without waiting for the next pass.
    fn settle(&mut self, now: SystemTime) {
        let mut snapshot = self.publish.borrow().clone();
        let Some(pass) = snapshot.judged.clone() else { return };
        let fresh = now.duration_since(pass.looked).is_ok_and(|age| age <= SETTLE_WITHIN);
        let unattributed = |listener: &Listener| matches!(listener.holders, Holders::Unattributed(_));
        if fresh && pass.inventory.listeners.iter().any(unattributed) {
            self.register(&mut snapshot, &pass.inventory, &pass.assessment, &pass.accounts, now);
            if !Arc::ptr_eq(&snapshot.register, &pass.register) {
                let documents = Documents::default();
                let register = snapshot.register.clone();
                snapshot.judged =
                    Some(Arc::new(JudgedPass { register, documents, ..JudgedPass::clone(&pass) }));
                self.publish(snapshot);
            }
        }
    }

    fn judge(&mut self, mut snapshot: Snapshot, inventory: Arc<Inventory>, took: Duration, at: Moment) {
        let policy = self.rules.policy();
        let accounts = self.accounts.resolve(&inventory, &policy.baseline);
        let assessment = Arc::new(assess(&inventory, policy, &accounts, at.now));
        // As of the look: how long something is gone is not known of a sensor that has been silent since.
        self.register(&mut snapshot, &inventory, &assessment, &accounts, at.looked);
        let register = snapshot.register.clone();
        let documents = Documents::default();
        let pass =
            JudgedPass { inventory, assessment, accounts, register, took, looked: at.looked, documents };
        snapshot.judged = Some(Arc::new(pass));
        self.publish(snapshot);
    }

    /// Writes drift into the register, and the register into the state folder where it changed.
    fn register(
        &mut self,
        snapshot: &mut Snapshot,
        inventory: &Inventory,
        assessment: &Assessment,
        accounts: &Accounts,
        now: SystemTime,
    ) {
        let mut register = Register::clone(&snapshot.register);
        for event in register.update(inventory, assessment, self.rules.policy(), accounts, now) {
            tell(&event);
            if let DriftEvent::Opened(drift) | DriftEvent::Returned(drift) = event {
                let of = (drift.finding.kind, drift.finding.severity);
                *snapshot.counts.drift_events.entry(of).or_default() += 1;
            }
        }
        if register.left_out() > 0 {
            self.unkept
                .say(|| format!("{} drifts found no room among those that are open", register.left_out()));
        }
        if register != *snapshot.register {
            match register.to_json() {
                Ok(json) => self.keep(REGISTER, json.as_bytes()),
                Err(error) => self.unkept.say(|| error.to_string()),
            }
            snapshot.register = Arc::new(register);
        }
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

    fn raise_coverage(&mut self, before: BestCoverage, inventory: &Inventory) -> BestCoverage {
        let best = before.raised_by(inventory);
        if best != before {
            match serde_json::to_vec(&best) {
                Ok(json) => self.keep(COVERAGE, &json),
                Err(error) => self.unkept.say(|| format!("{COVERAGE} cannot be written: {error}")),
            }
        }
        best
    }

    fn keep(&mut self, name: &str, content: &[u8]) {
        if let Err(error) = state::write(&self.state, name, content) {
            self.unkept.say(|| format!("what is known now will not survive a restart: {error}"));
        }
    }
}

/// What cannot be read is told and begun anew: a damaged file must not keep the host unwatched.
fn restore_register(folder: &std::path::Path) -> Register {
    let content = match state::read(folder, REGISTER, MAX_REGISTER) {
        Ok(Some(content)) => content,
        Ok(None) => return Register::default(),
        Err(error) => {
            warn!("which drifts were open is not known: {error}");
            return Register::default();
        }
    };
    let text = String::from_utf8_lossy(&content);
    Register::from_json(&text).unwrap_or_else(|error| {
        warn!("which drifts were open is not known, {REGISTER} is damaged: {error}");
        Register::default()
    })
}

fn restore_coverage(folder: &std::path::Path) -> BestCoverage {
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

fn tell(event: &DriftEvent) {
    let (what, drift) = match event {
        DriftEvent::Opened(drift) => ("opened", drift),
        DriftEvent::Returned(drift) => ("is back", drift),
        DriftEvent::Gone(drift) => ("is gone", drift),
        DriftEvent::Closed { drift, why } => (reason(*why), drift),
    };
    let finding = &drift.finding;
    let subject = &finding.subject;
    info!(
        "drift {} {what}: {} {} at {} {}, port {} in {}",
        finding.id,
        finding.severity,
        finding.kind,
        subject.protocol,
        subject.address,
        subject.port,
        subject.netns
    );
}

fn reason(why: ClosedBecause) -> &'static str {
    match why {
        ClosedBecause::Approved => "is closed: it is as approved",
        ClosedBecause::Unjudged => "is closed: a scope leaves it unjudged",
        ClosedBecause::Aged => "is closed: it has been gone for a day",
        ClosedBecause::Crowded => "is closed: others needed its place",
    }
}

#[cfg(test)]
pub(crate) mod tests;
