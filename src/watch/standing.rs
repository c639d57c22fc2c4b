use std::collections::BTreeSet;
use std::time::Duration;

use baseline::{Assessment, Verdict};
use inventory::{EventSource, Inventory, Scope};

/// What those who watch must know to read the lines that follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) listeners: usize,
    /// Listeners, not services: as many as `list --filter verdict=drift` shows.
    pub(crate) drifting: usize,
    pub(crate) source: EventSource,
    /// Where something is not seen.
    pub(crate) gaps: BTreeSet<Scope>,
}

impl Standing {
    pub(crate) fn of(inventory: &Inventory, assessment: &Assessment) -> Self {
        let drifts = |place: &&usize| {
            let judged = assessment.services.get(**place);
            judged.is_some_and(|judged| matches!(judged.verdict, Verdict::Drift(_)))
        };
        Standing {
            listeners: inventory.listeners.len(),
            drifting: assessment.service_of.iter().filter(drifts).count(),
            source: inventory.coverage.events,
            gaps: inventory.coverage.gaps.iter().map(|gap| gap.scope).collect(),
        }
    }

    /// True where a line of the one means as much as one of the other. Events that were lost are told by themselves.
    pub(crate) fn sees_as(&self, other: &Standing) -> bool {
        let lasting = |of: &Standing| {
            of.gaps.iter().copied().filter(|scope| *scope != Scope::Events).collect::<Vec<_>>()
        };
        self.source == other.source && lasting(self) == lasting(other)
    }

    pub(crate) fn at_the_start(&self, has_baseline: bool, interval: Duration) -> String {
        format!("{}\n{}", self.judged(has_baseline), self.sight(interval))
    }

    /// `412 listeners were there before, 3 of them drift.`
    pub(crate) fn judged(&self, has_baseline: bool) -> String {
        let listeners = match self.listeners {
            1 => "1 listener was there before".to_owned(),
            many => format!("{many} listeners were there before"),
        };
        if !has_baseline {
            return format!("{listeners}. There is no baseline yet: `portledger learn` writes one.");
        }
        match self.drifting {
            0 => format!("{listeners}, none of them drifts."),
            1 => format!("{listeners}, 1 of them drifts."),
            many => format!("{listeners}, {many} of them drift."),
        }
    }

    /// Who tells of what follows, and what is not seen.
    pub(crate) fn sight(&self, interval: Duration) -> String {
        let every = format!("a look every {} s", interval.as_secs_f64());
        let source = match self.source {
            EventSource::Bpf => "The kernel tells of opens and closes (bpf).".to_owned(),
            EventSource::Tracepoint => {
                format!(
                    "The kernel tells of TCP (tracepoint), {every} of the rest (~): what is shorter can be missed."
                )
            }
            EventSource::Perf => {
                format!(
                    "The kernel tells of TCP (perf), {every} of the rest (~): what is shorter can be missed."
                )
            }
            EventSource::Polls => {
                format!("Only {every} tells of opens and closes (polls, ~): what is shorter can be missed.")
            }
        };
        if self.gaps.is_empty() {
            return source;
        }
        let scopes: Vec<_> = self.gaps.iter().map(|scope| scope.as_str()).collect();
        format!("{source} Not all is seen of {}: `portledger doctor` says why.", scopes.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(listeners: usize, drifting: usize, source: EventSource, gaps: &[Scope]) -> Standing {
        Standing { listeners, drifting, source, gaps: gaps.iter().copied().collect() }
    }

    #[test]
    fn says_how_much_was_there() {
        let judged = |listeners, drifting, has_baseline| {
            standing(listeners, drifting, EventSource::Bpf, &[]).judged(has_baseline)
        };
        assert_eq!(judged(1, 0, true), "1 listener was there before, none of them drifts.");
        assert_eq!(judged(412, 3, true), "412 listeners were there before, 3 of them drift.");
        assert!(
            judged(412, 412, false).starts_with("412 listeners were there before. There is no baseline yet")
        );
    }

    #[test]
    fn says_what_it_does_not_see() {
        let interval = Duration::from_millis(200);
        let bpf = standing(1, 0, EventSource::Bpf, &[]);
        assert_eq!(bpf.sight(interval), "The kernel tells of opens and closes (bpf).");
        let polls = standing(1, 0, EventSource::Polls, &[Scope::Holders, Scope::Sockets]);
        let sight = polls.sight(interval);
        assert!(sight.starts_with("Only a look every 0.2 s tells"), "{sight}");
        assert!(
            sight.ends_with("Not all is seen of sockets, holders: `portledger doctor` says why."),
            "{sight}"
        );
        assert!(!bpf.sees_as(&polls));
        assert!(bpf.sees_as(&standing(9, 9, EventSource::Bpf, &[Scope::Events])), "a loss is told by itself");
    }
}
