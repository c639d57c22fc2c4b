use std::time::{Duration, Instant};

/// Between complete walks, where nothing calls for one.
const INTERVAL: Duration = Duration::from_secs(300);
/// A complete walk is followed by so many times its own duration without one: at most 1 % of one processor.
const REST: u32 = 100;
/// What searches that cannot wait may take beyond the same share before they must wait too.
const MOST_DEBT: Duration = Duration::from_secs(5);

/// How far to look for holders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// Into processes that are new and those that hold listeners already.
    Likely,
    /// Into the others too, until every wanted socket has a holder.
    UntilFound,
    /// Into every process: this alone finds who was sent an old socket by `SCM_RIGHTS`.
    Complete,
}

/// What is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open {
    /// Some socket has no holder and was not looked for everywhere.
    pub(super) unheld: bool,
    /// Some socket has a holder, and was not looked for everywhere.
    pub(super) partly_searched: bool,
}

/// When to look how far, so that all is found soon and nobody can make us look all the time.
#[derive(Debug)]
pub(super) struct Schedule {
    last: Option<Complete>,
    /// Time taken by searches that could not wait, less the share of time that has passed since.
    debt: Duration,
    counted_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Complete {
    ended: Instant,
    took: Duration,
}

impl Schedule {
    pub(super) fn new() -> Self {
        Schedule { last: None, debt: Duration::ZERO, counted_at: None }
    }

    pub(super) fn decide(&mut self, now: Instant, open: Open) -> Search {
        self.repay(now);
        let due_in = self.complete_in(now, open.partly_searched);
        match due_in {
            Duration::ZERO => Search::Complete,
            _ if open.unheld && self.debt < MOST_DEBT => Search::UntilFound,
            _ => Search::Likely,
        }
    }

    /// How long until a complete walk is due, or may be made where one is called for.
    pub(super) fn complete_in(&self, now: Instant, called_for: bool) -> Duration {
        let Some(last) = self.last else { return Duration::ZERO };
        let rest = last.took.saturating_mul(REST);
        let wait = if called_for { rest } else { rest.max(INTERVAL) };
        wait.saturating_sub(now.saturating_duration_since(last.ended))
    }

    pub(super) fn walked(&mut self, search: Search, ended: Instant, took: Duration) {
        match search {
            Search::Likely => {}
            Search::UntilFound => self.debt += took,
            Search::Complete => self.last = Some(Complete { ended, took }),
        }
    }

    fn repay(&mut self, now: Instant) {
        let elapsed = self.counted_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.counted_at = Some(now);
        self.debt = self.debt.saturating_sub(elapsed / REST);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::{any, prop_assert, proptest};

    use super::{INTERVAL, Open, REST, Schedule, Search};

    const SETTLED: Open = Open { unheld: false, partly_searched: false };
    const PARTLY: Open = Open { unheld: false, partly_searched: true };
    const UNHELD: Open = Open { unheld: true, partly_searched: false };

    /// A schedule whose first, complete walk has just ended.
    fn after_first(took: Duration) -> (Schedule, Instant) {
        let mut schedule = Schedule::new();
        let now = Instant::now();
        assert_eq!(schedule.decide(now, SETTLED), Search::Complete);
        schedule.walked(Search::Complete, now, took);
        (schedule, now)
    }

    #[test]
    fn walks_everything_first_and_then_every_five_minutes() {
        let (mut schedule, ended) = after_first(Duration::from_millis(450));
        let second = Duration::from_secs(1);
        assert_eq!(schedule.decide(ended + INTERVAL - second, SETTLED), Search::Likely);
        assert_eq!(schedule.decide(ended + INTERVAL, SETTLED), Search::Complete);
    }

    #[test]
    fn completes_a_partial_search_as_soon_as_its_share_of_time_allows() {
        let (mut schedule, ended) = after_first(Duration::from_millis(450));
        assert_eq!(schedule.decide(ended + Duration::from_secs(44), PARTLY), Search::Likely);
        assert_eq!(schedule.complete_in(ended + Duration::from_secs(44), true), Duration::from_secs(1));
        assert_eq!(schedule.decide(ended + Duration::from_secs(45), PARTLY), Search::Complete);
    }

    #[test]
    fn rests_longer_than_five_minutes_after_a_long_walk() {
        let (mut schedule, ended) = after_first(Duration::from_secs(10));
        assert_eq!(schedule.decide(ended + INTERVAL, PARTLY), Search::Likely);
        assert_eq!(schedule.decide(ended + Duration::from_secs(1000), SETTLED), Search::Complete);
    }

    #[test]
    fn searches_at_once_for_a_socket_without_holder_until_it_is_too_deep_in_debt() {
        let (mut schedule, ended) = after_first(Duration::from_secs(2));
        let searches = (1..20).filter(|seconds| {
            let now = ended + Duration::from_secs(*seconds);
            let search = schedule.decide(now, UNHELD);
            schedule.walked(search, now, Duration::from_secs(2));
            search == Search::UntilFound
        });
        assert_eq!(searches.count(), 3);
    }

    proptest! {
        #[test]
        fn never_takes_more_than_its_share(
            steps in proptest::collection::vec((1_u64..5000, any::<bool>(), any::<bool>(), 1_u64..3000), 1..300)
        ) {
            let (mut schedule, began) = after_first(Duration::from_millis(1));
            let mut now = began;
            let (mut complete, mut urgent, mut longest) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
            for (pause, unheld, partly_searched, took) in steps {
                now += Duration::from_millis(pause);
                let search = schedule.decide(now, Open { unheld, partly_searched });
                let took = if search == Search::Likely { Duration::ZERO } else { Duration::from_millis(took) };
                now += took;
                schedule.walked(search, now, took);
                match search {
                    Search::Likely => {}
                    Search::UntilFound => urgent += took,
                    Search::Complete => complete += took,
                }
                longest = longest.max(took);
            }
            let share = (now - began) / REST;
            prop_assert!(complete <= share + longest, "{complete:?} of {share:?}");
            prop_assert!(urgent <= share + super::MOST_DEBT + longest, "{urgent:?} of {share:?}");
        }
    }
}
