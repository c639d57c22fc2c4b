use std::time::SystemTime;

use jiff::Timestamp;
use tracing::warn;

/// What the log has been told of the end of the certificate that we serve with.
#[derive(Default)]
pub(super) struct Validity {
    /// Of the one that has ended.
    told: Option<SystemTime>,
}

impl Validity {
    /// Tells once of each certificate that it has ended.
    pub(super) fn watch(&mut self, ends: Option<SystemTime>, now: SystemTime) {
        let Some(ended) = self.has_ended(ends, now) else { return };
        let ended = Timestamp::try_from(ended)
            .map_or_else(|_| "a time out of range".to_owned(), |at| format!("{at:.0}"));
        warn!(
            "the certificate that HTTPS is served with ended at {ended}: whoever verifies it asks no more; put another \
             into the file of cert_file, with its key, and the next connection is served with it"
        );
    }

    /// `None` also where it was told before. A clock that was set back has it told once more.
    fn has_ended(&mut self, ends: Option<SystemTime>, now: SystemTime) -> Option<SystemTime> {
        let ended = ends.filter(|ends| *ends <= now);
        let before = std::mem::replace(&mut self.told, ended);
        ended.filter(|ended| before != Some(*ended))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_end_of_each_certificate_is_told_once() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut validity = Validity::default();
        for (ends, now, is_told) in [
            (None, 0, false),
            (Some(10), 1, false),
            (Some(10), 9, false),
            (Some(10), 10, true),
            (Some(10), 99, false),
            (Some(10), 9, false),
            (Some(10), 99, true),
            (Some(100), 99, false),
            (Some(50), 99, true),
            (None, 99, false),
            (Some(50), 99, true),
        ] {
            let told = validity.has_ended(ends.map(at), at(now));
            assert_eq!(told, ends.map(at).filter(|_| is_told), "{ends:?} at {now}");
        }
    }
}
