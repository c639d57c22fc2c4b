use std::time::SystemTime;

use jiff::Timestamp;
use tracing::{info, warn};

/// What the log has been told of the certificate that we serve with.
#[derive(Default)]
pub(super) struct Validity {
    /// When it ends, and whether it was told that it has.
    told: Option<(SystemTime, bool)>,
}

/// What is to be told.
#[derive(Debug, PartialEq)]
enum Turn {
    Begins,
    Ended,
}

impl Validity {
    /// Tells of a certificate that was not there before, and once that it has ended.
    pub(super) fn watch(&mut self, ends: Option<SystemTime>, now: SystemTime) {
        let turn = self.turn(ends, now);
        let Some(ends) = ends.filter(|_| turn.is_some()) else { return };
        let ends = Timestamp::try_from(ends)
            .map_or_else(|_| "a time out of range".to_owned(), |at| format!("{at:.0}"));
        match turn {
            Some(Turn::Ended) => warn!(
                "the certificate that HTTPS is served with ended at {ends}: whoever verifies it asks no more; put another \
                 into the file of cert_file, with its key, and the next connection is served with it"
            ),
            _ => info!("the certificate that HTTPS is served with ends at {ends}"),
        }
    }

    fn turn(&mut self, ends: Option<SystemTime>, now: SystemTime) -> Option<Turn> {
        let known = self.told;
        self.told = ends.map(|ends| (ends, ends <= now));
        match (known, self.told?) {
            (Some((before, told)), (ends, has_ended)) if before == ends => {
                // A clock that was set back tells it once more.
                (has_ended && !told).then_some(Turn::Ended)
            }
            (_, (_, true)) => Some(Turn::Ended),
            (_, (_, false)) => Some(Turn::Begins),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_certificate_is_told_of_when_it_begins_and_when_it_ends() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut validity = Validity::default();
        for (ends, now, told) in [
            (None, 0, None),
            (Some(10), 1, Some(Turn::Begins)),
            (Some(10), 9, None),
            (Some(10), 10, Some(Turn::Ended)),
            (Some(10), 99, None),
            (Some(100), 99, Some(Turn::Begins)),
            (Some(50), 99, Some(Turn::Ended)),
            (None, 99, None),
            (Some(50), 99, Some(Turn::Ended)),
        ] {
            assert_eq!(validity.turn(ends.map(at), at(now)), told, "{ends:?} at {now}");
        }
    }
}
