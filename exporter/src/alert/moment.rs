use std::fmt;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::document::BEYOND;

/// A time as alerts tell it: RFC 3339 in UTC, to the millisecond. It is kept in milliseconds since 1970; those that no such
/// text has a year for are one, later than all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Moment(i64);

impl Moment {
    const BEYOND: Moment = Moment(i64::MAX);

    fn parse(text: &str) -> Result<Self, jiff::Error> {
        if text == BEYOND { Ok(Moment::BEYOND) } else { text.parse().map(Moment::of) }
    }

    /// As a text has it: what is below a millisecond is left out, before 1970 too.
    fn of(time: Timestamp) -> Self {
        i64::try_from(time.as_nanosecond().div_euclid(1_000_000)).map_or(Moment::BEYOND, Moment)
    }

    /// `None` where its year is beyond what is known.
    pub(crate) fn at(self) -> Option<SystemTime> {
        Timestamp::from_millisecond(self.0).ok().map(SystemTime::from)
    }
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        Timestamp::try_from(time).map_or(Moment::BEYOND, Moment::of)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => f.write_str(BEYOND),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Moment::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::document::time;

    proptest! {
        #[test]
        fn it_is_written_as_every_time_and_read_back(before in any::<bool>(), nanoseconds in any::<u64>()) {
            let distance = Duration::from_nanos(nanoseconds);
            let epoch = SystemTime::UNIX_EPOCH;
            let at = if before { epoch - distance } else { epoch + distance };
            let moment = Moment::from(at);
            prop_assert_eq!(moment.to_string(), time(at));
            prop_assert_eq!(Moment::parse(&time(at)).unwrap(), moment);
            prop_assert_eq!(moment.at().map(Moment::from), Some(moment));
        }
    }

    #[test]
    fn of_a_clock_that_lies_it_is_later_than_all_others() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(400_000_000_000);
        let moment = Moment::from(at);
        assert_eq!(moment.to_string(), time(at));
        assert_eq!((Moment::parse(&time(at)).unwrap(), moment.at()), (moment, None));
        assert!(moment > Moment::from(SystemTime::now()));
        assert!(Moment::parse("today").is_err());
    }
}
