use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ledger::{LogError, Position, Reader, Told};

use super::event::Event;
use super::receiver::Log;
use super::resync::{self, Resumed};
use super::status::LogStatus;
use crate::muffler::Muffler;

/// How long a log is left alone that cannot be read on.
const REST: Duration = Duration::from_secs(60);
/// The same where a call of the system failed.
const SHORT_REST: Duration = Duration::from_secs(5);

/// One log, read for one receiver.
pub(crate) struct Source {
    pub(crate) log: Log,
    folder: PathBuf,
    reader: Reader,
    /// What is told before more is read.
    waiting: VecDeque<Item>,
    rests_until: Option<Instant>,
    /// What was last told to be damaged: once each.
    damage: Option<String>,
    /// The newest record that was counted as missed.
    missed: u64,
    status: Arc<LogStatus>,
    unread: Muffler,
}

/// What is sent next.
pub(crate) struct Item {
    pub(crate) event: Event,
    /// How far the log is read with it.
    pub(crate) position: Position,
    /// How many of the log's records it is.
    pub(crate) records: u64,
}

impl Source {
    pub(crate) fn new(folder: &Path, status: Arc<LogStatus>, from: Position) -> Self {
        let log = status.log;
        Source {
            log,
            folder: folder.to_owned(),
            reader: Reader::new(folder, log.as_str(), from),
            waiting: VecDeque::new(),
            rests_until: None,
            damage: None,
            missed: 0,
            status,
            unread: Muffler::default(),
        }
    }

    /// Goes back: what came after is told again.
    pub(crate) fn rewind(&mut self, to: Position) {
        self.reader = Reader::new(&self.folder, self.log.as_str(), to);
        self.waiting.clear();
    }

    /// `None` where nothing is left, or nothing can be read for now.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Item> {
        loop {
            if let Some(item) = self.waiting.pop_front() {
                return Some(item);
            }
            if self.rests_until.is_some_and(|until| now < until) {
                return None;
            }
            self.rests_until = None;
            match self.reader.read() {
                Ok(None) => {
                    self.status.is_readable(true);
                    self.status.head(self.reader.position().after.record);
                    return None;
                }
                Ok(Some(told)) => {
                    self.status.is_readable(true);
                    return Some(self.item(told));
                }
                Err(error @ (LogError::Damaged { .. } | LogError::Rewritten { .. })) => {
                    self.go_on_behind(error.to_string(), now);
                }
                Err(error) => self.rest(&error.to_string(), now + SHORT_REST),
            }
        }
    }

    /// Notes the newest record there is, for a receiver that is away.
    pub(crate) fn look_at_head(&mut self) {
        match ledger::head(&self.folder, self.log.as_str()) {
            Ok(head) => {
                self.status.is_readable(true);
                self.status.head(head.map_or(0, |head| head.record));
            }
            Err(error) => {
                self.status.is_readable(false);
                self.unread.say(|| format!("it is not known how much waits to be exported: {error}"));
            }
        }
    }

    fn item(&mut self, told: Told) -> Item {
        match told {
            Told::Line(line) => {
                let hash = line.position.after.hash.to_string();
                let event = Event::of(self.log, line.record, &hash, &line.whole);
                Item { event, position: line.position, records: 1 }
            }
            // The position moves with the next record: one that is not known to have arrived is told again.
            Told::Missed { from, to } => self.missed(from, to, self.reader.position()),
        }
    }

    fn missed(&mut self, from: u64, to: u64, position: Position) -> Item {
        let new = to.saturating_sub(self.missed.max(from - 1));
        self.missed = self.missed.max(to);
        self.status.missed(new);
        Item { event: Event::missed(self.log, from, to), position, records: 0 }
    }

    fn go_on_behind(&mut self, why: String, now: Instant) {
        let after = self.reader.position().after;
        let resumed = match resync::behind(&self.folder, self.log, after) {
            Ok(resumed) => resumed,
            Err(other) => return self.rest(&format!("{why}; and {other}"), now + SHORT_REST),
        };
        let (found, from) = match resumed {
            Resumed::Nowhere => return self.rest(&why, now + REST),
            // From its start it was read already, up to here.
            Resumed::Anew if self.damage.as_ref() == Some(&why) => {
                self.damage = None;
                return self.rest(&why, now + REST);
            }
            Resumed::Anew => (Vec::new(), Position::default()),
            Resumed::With(found) => {
                let last = found.last().map(|found| found.position);
                (found, last.unwrap_or(self.reader.position()))
            }
        };
        self.unread.say(|| format!("{why}: what stands behind is exported"));
        let before = self.reader.position();
        if self.damage.as_ref() != Some(&why) {
            let event = Event::damaged(self.log, after.record, &why);
            self.waiting.push_back(Item { event, position: before, records: 0 });
            self.damage = Some(why);
        }
        let mut last = after.record;
        for found in found {
            let head = found.position.after;
            if head.record > last + 1 {
                let missed = self.missed(last + 1, head.record - 1, before);
                self.waiting.push_back(missed);
            }
            let event = Event::of(self.log, head.record, &head.hash.to_string(), &found.line);
            self.waiting.push_back(Item { event, position: found.position, records: 1 });
            last = head.record;
        }
        self.reader = Reader::new(&self.folder, self.log.as_str(), from);
    }

    fn rest(&mut self, why: &str, until: Instant) {
        self.status.is_readable(false);
        self.unread.say(|| {
            format!(
                "the log of {} cannot be read on for now, nor what waits in it be sent: {why}",
                self.log.as_str()
            )
        });
        self.rests_until = Some(until);
    }
}

#[cfg(test)]
mod tests;
