use std::time::{Duration, Instant};

use baseline::{ClosedBecause, DriftEvent};
use tracing::info;

/// So many lines in so long a time. A storm makes thousands a second, and whoever collects the log pays for each.
const MOST: usize = 100;
const WHILE: Duration = Duration::from_secs(1);

/// Tells the log what became of drifts. `events.jsonl` has all of it.
#[derive(Default)]
pub(crate) struct Crier {
    began: Option<Instant>,
    told: usize,
}

impl Crier {
    pub(crate) fn tell(&mut self, events: &[DriftEvent]) {
        let room = self.room(events.len(), Instant::now());
        events.iter().take(room).for_each(tell);
        match events.len() - room {
            0 => {}
            more => info!("drifts opened, returned, went or were closed {more} more times: see events.jsonl"),
        }
    }

    /// How many of so many are told.
    fn room(&mut self, events: usize, now: Instant) -> usize {
        if self.began.is_none_or(|began| now.duration_since(began) >= WHILE) {
            (self.began, self.told) = (Some(now), 0);
        }
        let room = events.min(MOST - self.told);
        self.told += room;
        room
    }
}

fn tell(event: &DriftEvent) {
    let drift = event.drift();
    let finding = &drift.finding;
    let subject = &finding.subject;
    info!(
        "drift {} {}: {} {} at {} {}, port {} in {}",
        finding.id,
        what_happened(event),
        finding.severity,
        finding.kind,
        subject.protocol,
        subject.address,
        subject.port,
        subject.netns
    );
}

fn what_happened(event: &DriftEvent) -> &'static str {
    match event {
        DriftEvent::Opened(_) => "opened",
        DriftEvent::Returned(_) => "is back",
        DriftEvent::Gone(_) => "is gone",
        DriftEvent::Closed { why, .. } => match why {
            ClosedBecause::Approved => "is closed: it is as approved",
            ClosedBecause::Unjudged => "is closed: a scope leaves it unjudged",
            ClosedBecause::Aged => "is closed: it has been gone for a day",
            ClosedBecause::Crowded => "is closed: others needed its place",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_fills_its_room_and_what_comes_later_is_told() {
        let mut crier = Crier::default();
        let begin = Instant::now();
        assert_eq!(crier.room(MOST - 1, begin), MOST - 1);
        assert_eq!(crier.room(2, begin), 1);
        assert_eq!(crier.room(2, begin), 0);
        assert_eq!(crier.room(2, begin + WHILE), 2);
    }
}
