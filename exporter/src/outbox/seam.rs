use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use ledger::Position;

use super::receiver::Log;

/// How long after it left us something is not known to have arrived. Longer than [`PATIENCE`](super::link::PATIENCE): what
/// a peer's kernel did not acknowledge for that long ends the connection, so that what left over a connection that still
/// lives now is in the peer's kernel. The rest of the time is the peer's to read it; no protocol here tells that it did.
pub(crate) const SETTLES_AFTER: Duration = Duration::from_secs(12);
/// How much is remembered as sent at once: the marks stay few however much is sent.
const GRAIN: Duration = Duration::from_secs(1);

/// What was sent and is not known to have arrived: where the connection ends, it is sent again.
#[derive(Debug, Default)]
pub(crate) struct Seam {
    marks: VecDeque<Mark>,
}

#[derive(Debug)]
struct Mark {
    began: Instant,
    /// Since when all of it has left us.
    left: Option<Instant>,
    sent: BTreeMap<Log, Sent>,
}

/// How far a log was sent, and how many of its records that were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) position: Position,
    pub(crate) records: u64,
}

impl Seam {
    pub(crate) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Notes what was given to the kernel.
    pub(crate) fn note(&mut self, log: Log, sent: Sent, now: Instant) {
        let is_open = |mark: &Mark| mark.left.is_none() && now.duration_since(mark.began) < GRAIN;
        if !self.marks.back().is_some_and(is_open) {
            self.marks.push_back(Mark { began: now, left: None, sent: BTreeMap::new() });
        }
        if let Some(mark) = self.marks.back_mut() {
            let entry = mark.sent.entry(log).or_default();
            *entry = Sent { position: sent.position, records: entry.records + sent.records };
        }
    }

    /// Notes that the kernel has sent all that it was given.
    pub(crate) fn all_left(&mut self, now: Instant) {
        self.marks.iter_mut().rev().take_while(|mark| mark.left.is_none()).for_each(|mark| {
            mark.left = Some(now);
        });
    }

    /// What has arrived by now, if the connection lives.
    pub(crate) fn settle(&mut self, now: Instant) -> BTreeMap<Log, Sent> {
        let mut settled: BTreeMap<Log, Sent> = BTreeMap::new();
        let has_arrived =
            |mark: &Mark| mark.left.is_some_and(|left| now.duration_since(left) >= SETTLES_AFTER);
        let arrived = self.marks.iter().take_while(|mark| has_arrived(mark)).count();
        for mark in self.marks.drain(..arrived) {
            for (log, sent) in mark.sent {
                let entry = settled.entry(log).or_default();
                *entry = Sent { position: sent.position, records: entry.records + sent.records };
            }
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(record: u64) -> Sent {
        let mut position = Position::default();
        position.after.record = record;
        Sent { position, records: 1 }
    }

    #[test]
    fn nothing_arrives_before_its_time_or_before_it_left() {
        let (start, mut seam) = (Instant::now(), Seam::default());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        seam.note(Log::Ledger, sent(1), at(0));
        seam.note(Log::Ledger, sent(2), at(0));
        seam.note(Log::Events, sent(7), at(0));
        assert!(seam.settle(at(100)).is_empty());
        seam.all_left(at(100));
        seam.note(Log::Ledger, sent(3), at(100));
        assert!(seam.settle(at(111)).is_empty());
        let settled = seam.settle(at(112));
        assert_eq!(settled[&Log::Ledger], Sent { records: 2, ..sent(2) });
        assert_eq!(settled[&Log::Events], sent(7));
        assert!(!seam.is_empty());
        seam.all_left(at(113));
        assert!(seam.settle(at(124)).is_empty());
        assert_eq!(seam.settle(at(125))[&Log::Ledger], sent(3));
        assert!(seam.is_empty());
    }

    #[test]
    fn a_flood_is_a_mark_a_second() {
        let (start, mut seam) = (Instant::now(), Seam::default());
        for millisecond in 0..5000 {
            seam.note(Log::Events, sent(millisecond), start + Duration::from_millis(millisecond));
        }
        assert_eq!(seam.marks.len(), 5);
    }
}
