use std::borrow::Cow;
use std::cmp::Reverse;
use std::time::{Duration, Instant};

use baseline::{ClosedBecause, ClosedBy, DriftEvent, Severity};
use inventory::RawText;
use tracing::info;

/// So many lines in so long a time. A storm makes thousands a second, and whoever collects the log pays for each.
const MOST: usize = 100;
const WHILE: Duration = Duration::from_secs(1);

/// Tells the log what became of drifts. `events.jsonl` has all of it.
#[derive(Default)]
pub(crate) struct Crier {
    began: Option<Instant>,
    told: usize,
    untold: usize,
}

impl Crier {
    /// The worst first.
    pub(crate) fn tell(&mut self, events: &[DriftEvent]) {
        self.turn(Instant::now());
        self.choose(events).into_iter().for_each(tell);
    }

    /// Counts anew where the time is over, and says what found no room in it.
    pub(crate) fn turn(&mut self, now: Instant) {
        if self.began.is_none_or(|began| now.duration_since(began) >= WHILE) {
            if let Some(line) = self.rest() {
                info!("{line}");
            }
            (self.began, self.told) = (Some(now), 0);
        }
    }

    fn choose<'a>(&mut self, events: &'a [DriftEvent]) -> Vec<&'a DriftEvent> {
        let mut chosen: Vec<_> = events.iter().collect();
        chosen.sort_by_key(|event| Reverse(severity(event)));
        chosen.retain(|event| {
            let has_room = self.told < room(severity(event));
            self.told += usize::from(has_room);
            has_room
        });
        self.untold += events.len() - chosen.len();
        chosen
    }

    fn rest(&mut self) -> Option<String> {
        let more = std::mem::take(&mut self.untold);
        (more > 0).then(|| {
            format!("drifts opened, returned, went or were closed {more} more times: see events.jsonl")
        })
    }
}

impl Drop for Crier {
    fn drop(&mut self) {
        if let Some(line) = self.rest() {
            info!("{line}");
        }
    }
}

fn severity(event: &DriftEvent) -> Severity {
    event.drift().finding.severity
}

/// Up to how many lines this severity is told: what a flood of lesser ones leaves is for graver ones that come later.
fn room(severity: Severity) -> usize {
    match severity {
        Severity::Info => MOST / 2,
        Severity::Warning => MOST * 3 / 4,
        Severity::Critical => MOST,
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

fn what_happened(event: &DriftEvent) -> Cow<'static, str> {
    Cow::Borrowed(match event {
        DriftEvent::Opened(_) => "opened",
        DriftEvent::Returned(_) => "is back",
        DriftEvent::Gone(_) => "is gone",
        DriftEvent::Closed { why, .. } => match why {
            ClosedBecause::Approved(None) => "is closed: it is required no more",
            ClosedBecause::Approved(Some(ClosedBy { approval, by })) => {
                let by = by.as_ref().map(|by| format!(" of {}", escaped(by))).unwrap_or_default();
                return format!("is closed: it is as approved, by {}{by}", escaped(approval)).into();
            }
            ClosedBecause::Unjudged => {
                "is closed: it is not judged any more, being out of scope or too little seen"
            }
            ClosedBecause::Aged => "is closed: it has been gone for a day",
            ClosedBecause::Dismissed { by } => {
                return format!("is closed: it was dismissed by {}", escaped(by)).into();
            }
            ClosedBecause::Crowded => "is closed: others needed its place",
        },
    })
}

fn escaped(text: &str) -> String {
    RawText::from(text).escaped()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::tests::snapshot_of_the_fixture;

    fn opened(severity: Severity, times: usize) -> Vec<DriftEvent> {
        let snapshot = snapshot_of_the_fixture();
        let mut drift = snapshot.register.drifts().next().unwrap().clone();
        std::sync::Arc::make_mut(&mut drift.finding).severity = severity;
        vec![DriftEvent::Opened(drift.into()); times]
    }

    #[test]
    fn what_is_closed_is_told_with_whose_word_it_was() {
        let [DriftEvent::Opened(drift)] = &opened(Severity::Critical, 1)[..] else { panic!("opened") };
        let told = |why| what_happened(&DriftEvent::Closed { drift: drift.clone(), why }).into_owned();
        let by = |by: Option<&str>| Some(ClosedBy { approval: "web".into(), by: by.map(Into::into) });
        for (why, expected) in [
            (ClosedBecause::Approved(by(Some("carol"))), "is closed: it is as approved, by web of carol"),
            (ClosedBecause::Approved(by(None)), "is closed: it is as approved, by web"),
            (ClosedBecause::Approved(None), "is closed: it is required no more"),
            (
                ClosedBecause::Dismissed { by: "a\n\x1bb".into() },
                r"is closed: it was dismissed by a\x0a\x1bb",
            ),
        ] {
            assert_eq!(told(why), expected);
        }
    }

    #[test]
    fn a_storm_is_one_line_more_and_what_comes_later_is_told() {
        let mut crier = Crier::default();
        let begin = Instant::now();
        crier.turn(begin);
        let critical = opened(Severity::Critical, 60);
        let told = [1, 2, 3].map(|_| crier.choose(&critical).len());
        assert_eq!(told, [60, MOST - 60, 0]);
        crier.turn(begin);
        assert_eq!(crier.untold, 80, "nothing is said of it while the time lasts");
        crier.turn(begin + WHILE);
        assert_eq!(crier.untold, 0, "it is said once the time is over");
        assert_eq!(crier.choose(&critical[..2]).len(), 2);
    }

    #[test]
    fn the_worst_is_told_first_and_no_flood_of_lesser_ones_takes_its_place() {
        let mut crier = Crier::default();
        let mut flood = opened(Severity::Info, MOST);
        flood.extend(opened(Severity::Critical, 1));
        let told = crier.choose(&flood);
        assert_eq!((severity(told[0]), told.len()), (Severity::Critical, MOST / 2));
        assert_eq!(crier.choose(&opened(Severity::Info, 1)).len(), 0);
        assert_eq!(crier.choose(&opened(Severity::Warning, MOST)).len(), MOST / 4);
        assert_eq!(crier.choose(&opened(Severity::Critical, 1)).len(), 1);
    }
}
