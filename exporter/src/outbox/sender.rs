use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing::info;

use super::backoff::{Backoff, random};
use super::bell::Bell;
use super::event::Event;
use super::link::Link;
use super::positions::Positions;
use super::receiver::Receiver;
use super::rfc5424::Origin;
use super::seam::{SETTLES_AFTER, Seam, Sent};
use super::source::Source;
use super::status::{LogStatus, Status};
use crate::muffler::Muffler;
use crate::priority::give_way;

/// How much of a log is sent before it is the next one's turn: acts of people do not wait for a storm of sockets.
const BATCH: usize = 256 << 10;
/// How often it is looked whether something has arrived, and written down how far.
const STEP: Duration = Duration::from_secs(1);

/// Exports logs to one receiver, on a thread of its own: one that is slow or away keeps nothing from the others.
pub(crate) struct Sender {
    receiver: Receiver,
    origin: Origin,
    status: Arc<Status>,
    sources: Vec<Source>,
    positions: Positions,
    kept_at: Option<Instant>,
    seam: Seam,
    link: Option<Link>,
    /// When it was last tried to connect.
    tried_at: Instant,
    backoff: Backoff,
    retry_at: Instant,
    bell: Bell,
    lost: Muffler,
    unkept: Muffler,
}

impl Sender {
    pub(crate) fn new(receiver: Receiver, origin: Origin, folder: &Path, status: Arc<Status>) -> Self {
        let positions = Positions::restore(folder, &receiver.name);
        let source = |status: &Arc<LogStatus>| {
            let from = positions.of(status.log);
            status.arrived(from.after.record, 0);
            Source::new(folder, status.clone(), from)
        };
        let sources = status.logs.iter().map(source).collect();
        Sender {
            receiver,
            origin,
            status,
            sources,
            positions,
            kept_at: None,
            seam: Seam::default(),
            link: None,
            tried_at: Instant::now(),
            backoff: Backoff::default(),
            retry_at: Instant::now(),
            bell: Bell::of(folder),
            lost: Muffler::default(),
            unkept: Muffler::default(),
        }
    }

    pub(crate) fn work(mut self, ends: &AtomicBool) {
        give_way();
        while !ends.load(Ordering::Relaxed) {
            let has_more = match self.link.take() {
                None => self.connect(),
                Some(link) => self.turn(link),
            };
            self.keep(Instant::now());
            if !has_more {
                self.wait(Instant::now());
            }
        }
        self.kept_at = None;
        self.keep(Instant::now());
    }

    /// True where there is no reason to wait.
    fn connect(&mut self) -> bool {
        if Instant::now() < self.retry_at {
            return false;
        }
        self.tried_at = Instant::now();
        self.sources.iter_mut().for_each(Source::look_at_head);
        match Link::connect(&self.receiver.to, self.receiver.facility) {
            Ok(link) => {
                info!("logs are exported to {} ({})", self.receiver.name, self.receiver.to);
                self.status.is_connected(true);
                self.link = Some(link);
                true
            }
            Err(error) => {
                self.try_later(&error);
                false
            }
        }
    }

    /// Sends of each log what there is of it, up to its share, and notes what has arrived meanwhile.
    fn turn(&mut self, mut link: Link) -> bool {
        match self.exchange(&mut link) {
            Ok(has_more) => {
                self.link = Some(link);
                has_more
            }
            Err(error) => {
                drop(link);
                self.status.is_connected(false);
                self.seam = Seam::default();
                for source in &mut self.sources {
                    source.rewind(self.positions.of(source.log));
                }
                self.try_later(&error);
                false
            }
        }
    }

    fn exchange(&mut self, link: &mut Link) -> io::Result<bool> {
        // Its end is noticed before something is written to it: the kernel would take that for nobody.
        link.check()?;
        self.settle(link);
        let mut has_more = false;
        for source in &mut self.sources {
            let (events, sent, is_full) = batch(source, Instant::now());
            if let Some(sent) = sent {
                link.send(&self.origin, &events)?;
                self.seam.note(source.log, sent, Instant::now());
            }
            has_more |= is_full;
        }
        Ok(has_more)
    }

    fn settle(&mut self, link: &Link) {
        let now = Instant::now();
        // One that breaks off each time before anything arrives is tried less and less.
        if now.duration_since(self.tried_at) >= SETTLES_AFTER {
            self.backoff.after_success();
        }
        if self.seam.is_empty() {
            return;
        }
        if link.has_left() {
            self.seam.all_left(now);
        }
        for (log, sent) in self.seam.settle(now) {
            self.positions.set(log, sent.position);
            let known = self.status.logs.iter().find(|known| known.log == log);
            known.inspect(|known| known.arrived(sent.position.after.record, sent.records));
        }
    }

    fn try_later(&mut self, error: &io::Error) {
        let pause = self.backoff.after_failure(random());
        self.retry_at = Instant::now() + pause;
        let Receiver { name, to, .. } = &self.receiver;
        self.lost.say(|| {
            format!(
                "logs are not exported to {name} ({to}): {error}: tried again in {:.0} s, and what was not sent follows then",
                pause.as_secs_f64()
            )
        });
    }

    fn keep(&mut self, now: Instant) {
        if self.kept_at.is_some_and(|kept| now.duration_since(kept) < STEP) {
            return;
        }
        self.kept_at = Some(now);
        if let Err(error) = self.positions.keep() {
            let name = &self.receiver.name;
            self.unkept.say(|| format!("after a restart {name} is told some records again: {error}"));
        }
    }

    fn wait(&self, now: Instant) {
        match &self.link {
            // Nothing can be sent, whatever is written.
            None => std::thread::sleep(self.retry_at.saturating_duration_since(now).min(STEP)),
            Some(link) => self.bell.wait(Some(link.as_fd()), (!self.seam.is_empty()).then_some(STEP)),
        }
    }
}

/// What of a log is sent at once, how far it is read with it, and whether there may be more.
fn batch(source: &mut Source, now: Instant) -> (Vec<Event>, Option<Sent>, bool) {
    let (mut events, mut sent, mut bytes) = (Vec::new(), None, 0);
    while bytes < BATCH {
        let Some(item) = source.next(now) else { return (events, sent, false) };
        bytes += item.event.json.len() + 512;
        let before: Sent = sent.unwrap_or_default();
        sent = Some(Sent { position: item.position, records: before.records + item.records });
        events.push(item.event);
    }
    (events, sent, true)
}

#[cfg(test)]
mod tests;
