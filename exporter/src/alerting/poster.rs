use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use inventory::RawText;
use tracing::{info, warn};

use super::answer::{Answer, Outcome};
use super::book::TOLD_AGAIN;
use super::client::{Client, ClientError};
use super::clocks::{Clocks, TheirClock};
use super::cursor::Cursor;
use super::feed::Feed;
use super::receiver::{AlertReceiver, AlertReceiverKind};
use super::status::Status;
use super::turn::{Step, Turn};
use super::turns::Turns;
use super::{alertmanager, webhook};
use crate::muffler::Muffler;
use crate::outbox::{Backoff, random};

/// How many are posted at once.
const BATCH: usize = 64;
/// How often an Alertmanager is told again what fires.
const AGAIN: Duration = Duration::from_secs(60);
/// How long the log may keep an alert waiting: what was told and is not in it is told as new after a kill.
const LOGGED_WITHIN: Duration = Duration::from_secs(1);
/// How often it is written down how far a receiver was told, while there is more.
const STEP: Duration = Duration::from_secs(1);

/// Posts alerts to one receiver, on a thread of its own: one that is slow or away keeps nothing from the others.
pub(crate) struct Poster {
    name: String,
    url: String,
    kind: AlertReceiverKind,
    client: Client,
    external_url: String,
    clock: Option<TheirClock>,
    turns: Arc<Turns>,
    feed: Feed,
    cursor: Cursor,
    kept_at: Instant,
    status: Arc<Status>,
    /// Left of what is told again.
    again: VecDeque<Arc<Turn>>,
    again_at: Instant,
    /// It took something since this process began.
    took: bool,
    /// When it was last asked for what it refused.
    asked_at: Option<Instant>,
    /// Up to which turn the last batch went where that failed: it is the same batch when it is posted again.
    tried: Option<u64>,
    backoff: Backoff,
    was_reached: bool,
    lost: Muffler,
    unkept: Muffler,
}

/// It is tried again after so long.
struct Later(Duration);

impl Poster {
    pub(crate) fn new(
        receiver: AlertReceiver,
        turns: Arc<Turns>,
        folder: &Path,
        external_url: &str,
        status: Arc<Status>,
    ) -> std::io::Result<Self> {
        let cursor = Cursor::restore(folder, &receiver.name);
        status.refuses(cursor.refused().len());
        Ok(Poster {
            name: receiver.name.clone(),
            url: receiver.to.to_string(),
            kind: receiver.kind,
            client: Client::new(receiver)?,
            external_url: external_url.to_owned(),
            clock: None,
            feed: Feed::new(turns.clone(), folder),
            turns,
            cursor,
            kept_at: Instant::now(),
            status,
            again: VecDeque::new(),
            again_at: Instant::now(),
            took: false,
            asked_at: None,
            tried: None,
            backoff: Backoff::default(),
            was_reached: false,
            lost: Muffler::default(),
            unkept: Muffler::default(),
        })
    }

    pub(crate) fn work(mut self) {
        while !self.turns.has_ended() {
            match self.turn() {
                Ok(true) => {}
                Ok(false) => self.wait(),
                // Nothing can be sent, whatever is told.
                Err(Later(pause)) => self.turns.wait(u64::MAX, pause),
            }
        }
        self.keep(true);
    }

    /// Sends what comes next. True where there may be more.
    fn turn(&mut self) -> Result<bool, Later> {
        let batch = self.feed.next(self.cursor.seq(), BATCH);
        let waiting = u64::try_from(batch.turns.len()).unwrap_or(u64::MAX);
        // Of a receiver that is new only what fires waits.
        let at = self.cursor.seq().unwrap_or(batch.up_to.saturating_sub(waiting));
        self.status.is_at(at, batch.turns.first().map(|turn| turn.time));
        if !batch.turns.is_empty() || self.cursor.seq() != Some(batch.up_to) {
            self.turns.wait_until_logged(batch.up_to, LOGGED_WITHIN);
            for turns in batches(&batch.turns, self.tried) {
                self.send(turns)?;
            }
            self.arrived(batch.up_to);
            return Ok(true);
        }
        self.keep(true);
        self.ask_again()?;
        if self.kind == AlertReceiverKind::Webhook {
            return Ok(false);
        }
        if self.again.is_empty() && Instant::now() >= self.again_at {
            self.again_at = Instant::now() + AGAIN;
            self.again = self.told_again(SystemTime::now());
        }
        let some = self.again.len().min(BATCH);
        let turns: Vec<_> = self.again.iter().take(some).cloned().collect();
        if !turns.is_empty() {
            self.send(&turns)?;
            self.again.drain(..some);
        }
        Ok(!self.again.is_empty())
    }

    /// A batch in which one is refused does not take the others along.
    fn send(&mut self, turns: &[Arc<Turn>]) -> Result<(), Later> {
        self.tried = None;
        match self.post(turns) {
            Outcome::Delivered => {
                self.have_arrived(turns);
                Ok(())
            }
            Outcome::Refused(why) => match turns {
                [one] if self.takes_others()? => self.once_more(one),
                [_] => Err(self.refuses_all(1, &why)),
                many => self.send_singly(many),
            },
            Outcome::Failed(why, pause) => {
                // Perhaps it did arrive, and only the answer did not.
                self.tried = turns.last().map(|turn| turn.seq);
                Err(self.fail(turns.len(), &why, pause))
            }
        }
    }

    /// What is refused alone is given up only where others are taken: who refuses everything is not whom we mean.
    fn send_singly(&mut self, turns: &[Arc<Turn>]) -> Result<(), Later> {
        let mut doubtful: Vec<(&Arc<Turn>, String)> = Vec::new();
        for turn in turns {
            match self.post(std::slice::from_ref(turn)) {
                Outcome::Delivered => {
                    // Perhaps it is only now that it takes anything.
                    self.took = true;
                    for (turn, _) in doubtful.drain(..) {
                        self.once_more(turn)?;
                    }
                    self.have_arrived(std::slice::from_ref(turn));
                }
                Outcome::Refused(why) => match self.takes_others()? {
                    true => self.once_more(turn)?,
                    false => doubtful.push((turn, why)),
                },
                Outcome::Failed(why, pause) => return Err(self.fail(1, &why, pause)),
            }
        }
        match doubtful.first() {
            None => Ok(()),
            Some((_, why)) => Err(self.refuses_all(doubtful.len(), why)),
        }
    }

    /// What was refused and still fires is posted alone once in a while: perhaps it refused everything then.
    fn ask_again(&mut self) -> Result<(), Later> {
        if self.cursor.refused().is_empty() || self.asked_at.is_some_and(|at| at.elapsed() < AGAIN) {
            return Ok(());
        }
        self.asked_at = Some(Instant::now());
        let fires = self.turns.book().between(0, self.cursor.seq().unwrap_or_default());
        let mut refused: Vec<_> = fires.into_iter().filter(|turn| turn.event != Step::Resolved).collect();
        refused.retain(|turn| self.cursor.refused().contains(&turn.seq));
        let left: HashSet<u64> = refused.iter().map(|turn| turn.seq).collect();
        self.refuses_only(|seq| left.contains(&seq));
        for turn in refused.iter().take(BATCH) {
            match self.post(std::slice::from_ref(turn)) {
                Outcome::Delivered => {
                    self.is_reached();
                    self.status.delivered(1);
                    self.refuses_only(|seq| seq != turn.seq);
                }
                Outcome::Refused(_) => {}
                Outcome::Failed(why, pause) => return Err(self.fail(1, &why, pause)),
            }
        }
        Ok(())
    }

    fn refuses_only(&mut self, is_left: impl Fn(u64) -> bool) {
        self.cursor.refuses_only(is_left);
        self.status.refuses(self.cursor.refused().len());
        self.keep(false);
    }

    /// It was refused, and others are taken: what is refused again has to wait.
    fn once_more(&mut self, turn: &Arc<Turn>) -> Result<(), Later> {
        match self.post(std::slice::from_ref(turn)) {
            Outcome::Delivered => self.have_arrived(std::slice::from_ref(turn)),
            Outcome::Refused(why) => self.refuse(turn, &why),
            Outcome::Failed(why, pause) => return Err(self.fail(1, &why, pause)),
        }
        Ok(())
    }

    fn refuses_all(&mut self, alerts: usize, why: &str) -> Later {
        let why = format!("{why} (and it took nothing else so far: is its `url` right?)");
        self.fail(alerts, &why, None)
    }

    /// A webhook has no question that means nothing: it is known by what it took.
    fn takes_others(&mut self) -> Result<bool, Later> {
        if self.kind == AlertReceiverKind::Webhook {
            return Ok(self.took);
        }
        match self.ask(alertmanager::NONE.to_vec(), None) {
            Outcome::Delivered => Ok(true),
            Outcome::Refused(why) => Err(self.refuses_all(1, &why)),
            Outcome::Failed(why, pause) => Err(self.fail(1, &why, pause)),
        }
    }

    fn post(&mut self, turns: &[Arc<Turn>]) -> Outcome {
        let (body, key) = match self.kind {
            AlertReceiverKind::Webhook => {
                (webhook::body(turns, &self.external_url), Some(webhook::idempotency_key(turns)))
            }
            AlertReceiverKind::Alertmanager => {
                (alertmanager::body(turns, self.clocks(), &self.external_url), None)
            }
        };
        match body {
            Ok(body) => self.ask(body, key.as_deref()),
            Err(error) => Outcome::Refused(format!("it cannot be written as JSON: {error}")),
        }
    }

    fn ask(&mut self, body: Vec<u8>, key: Option<&str>) -> Outcome {
        let answered = self.client.post(body, key);
        let date = answered.as_ref().ok().and_then(|answer: &Answer| answer.date);
        self.clock = date.map(|date| TheirClock::new(date, Instant::now())).or(self.clock);
        answered.map_or_else(
            |error: ClientError| Outcome::Failed(RawText::from(error.to_string().as_str()).escaped(), None),
            |answer| answer.outcome(),
        )
    }

    fn clocks(&self) -> Clocks {
        Clocks { ours: SystemTime::now(), theirs: self.clock.map(|clock| clock.at(Instant::now())) }
    }

    fn have_arrived(&mut self, turns: &[Arc<Turn>]) {
        self.is_reached();
        self.took = true;
        let at = self.cursor.seq().unwrap_or_default();
        let new = turns.iter().filter(|turn| turn.seq > at).count();
        self.status.delivered(u64::try_from(new).unwrap_or_default());
        self.passed(turns);
    }

    fn refuse(&mut self, turn: &Arc<Turn>, why: &str) {
        self.backoff.after_success();
        self.status.refused(why, SystemTime::now());
        if self.cursor.refused().is_empty() {
            self.asked_at = Some(Instant::now());
        }
        if turn.event != Step::Resolved {
            self.cursor.refuses(turn.seq);
        }
        self.status.refuses(self.cursor.refused().len());
        warn!(
            "alert {} ({}) is not told to {}, which refuses it: {why}",
            turn.id(),
            turn.status(),
            self.name
        );
        self.passed(std::slice::from_ref(turn));
    }

    fn fail(&mut self, alerts: usize, why: &str, pause: Option<Duration>) -> Later {
        let pause = self.backoff.after_failure(random()).max(pause.unwrap_or_default());
        self.status.failed(u64::try_from(alerts).unwrap_or_default(), why, SystemTime::now());
        self.was_reached = false;
        let (name, url) = (&self.name, &self.url);
        self.lost.say(|| {
            let seconds = pause.as_secs_f64();
            format!(
                "alerts are not posted to {name} ({url}): {why}: tried again in {seconds:.0} s, and nothing is left out then"
            )
        });
        Later(pause)
    }

    fn is_reached(&mut self) {
        self.backoff.after_success();
        self.status.succeeded(SystemTime::now());
        if !std::mem::replace(&mut self.was_reached, true) {
            info!("alerts are posted to {} ({})", self.name, self.url);
        }
    }

    /// A new receiver was told nothing until it was told all that fires.
    fn passed(&mut self, turns: &[Arc<Turn>]) {
        if let (Some(at), Some(last)) = (self.cursor.seq(), turns.last()) {
            self.arrived(last.seq.max(at));
        }
    }

    fn arrived(&mut self, seq: u64) {
        self.cursor.set(seq);
        self.status.is_at(seq, None);
        self.keep(false);
    }

    /// What fires, and what was resolved of late: an Alertmanager may have been started anew, and keeps no log.
    fn told_again(&mut self, now: SystemTime) -> VecDeque<Arc<Turn>> {
        let (book, at) = (self.turns.book(), self.cursor.seq().unwrap_or_default());
        let is_late = |turn: &Arc<Turn>| {
            turn.event == Step::Resolved
                && turn.time.at().is_none_or(|at| now.duration_since(at).unwrap_or_default() > TOLD_AGAIN)
        };
        let turns = book.between(0, at);
        turns
            .into_iter()
            .filter(|turn| !is_late(turn) && !self.cursor.refused().contains(&turn.seq))
            .collect()
    }

    fn keep(&mut self, at_once: bool) {
        if !at_once && self.kept_at.elapsed() < STEP {
            return;
        }
        self.kept_at = Instant::now();
        if let Err(error) = self.cursor.keep() {
            let name = &self.name;
            self.unkept.say(|| format!("after a restart {name} is told some alerts again: {error}"));
        }
    }

    fn wait(&self) {
        let until = match self.kind {
            AlertReceiverKind::Alertmanager => self.again_at.saturating_duration_since(Instant::now()),
            AlertReceiverKind::Webhook => AGAIN,
        };
        // A full disk may have room by then.
        let until = if self.cursor.is_kept() { until } else { until.min(STEP) };
        self.turns.wait(self.cursor.seq().unwrap_or_default(), until);
    }
}

/// What is posted at once: first that which was tried already, as it was.
fn batches(turns: &[Arc<Turn>], tried: Option<u64>) -> impl Iterator<Item = &[Arc<Turn>]> {
    let first = tried.map_or(0, |last| turns.partition_point(|turn| turn.seq <= last));
    let (first, others) = turns.split_at(if first <= BATCH { first } else { 0 });
    std::iter::once(first).filter(|first| !first.is_empty()).chain(others.chunks(BATCH))
}

#[cfg(test)]
mod tests;
