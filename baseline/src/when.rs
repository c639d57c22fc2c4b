use std::fmt;
use std::time::SystemTime;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// A moment as a baseline tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// With an offset from UTC: the same moment everywhere.
    Instant(Timestamp),
    /// Without one: on the clock of the host that reads it.
    Local(DateTime),
    /// A day.
    Date(Date),
}

impl When {
    /// This moment to the second; one beyond what a calendar can tell becomes the calendar's end.
    pub fn instant(time: SystemTime) -> Self {
        let exact = timestamp(time);
        When::Instant(Timestamp::from_second(exact.as_second()).unwrap_or(exact))
    }

    /// Reads what TOML calls an offset date-time, a local date-time or a local date.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(instant) = text.parse() {
            return Some(When::Instant(instant));
        }
        match text.len() {
            10 => text.parse().ok().map(When::Date),
            _ => text.parse().ok().map(When::Local),
        }
    }

    /// When an approval that expires at this moment stops to be in force. A day ends at 10:00 of the next working
    /// day, so that nobody is paged for it at midnight or on a Sunday.
    pub fn takes_effect(&self, zone: &TimeZone) -> Timestamp {
        let local = match self {
            When::Instant(instant) => return *instant,
            When::Local(local) => *local,
            When::Date(date) => next_working_day(*date).at(10, 0, 0, 0),
        };
        zone.to_ambiguous_timestamp(local).compatible().unwrap_or(Timestamp::MAX)
    }
}

impl When {
    /// The moment that is told; of a day its beginning.
    pub(crate) fn exactly(&self, zone: &TimeZone) -> Timestamp {
        match self {
            When::Date(date) => When::Local(date.at(0, 0, 0, 0)).takes_effect(zone),
            told => told.takes_effect(zone),
        }
    }
}

fn next_working_day(date: Date) -> Date {
    let days = match date.weekday() {
        Weekday::Friday => 3,
        Weekday::Saturday => 2,
        _ => 1,
    };
    date.saturating_add(days.days())
}

/// One beyond what a calendar can tell becomes the calendar's end.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    let beyond = if time < SystemTime::UNIX_EPOCH { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::try_from(time).unwrap_or(beyond)
}

impl fmt::Display for When {
    /// As TOML writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            When::Instant(instant) => instant.fmt(f),
            When::Local(local) => local.fmt(f),
            When::Date(date) => date.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::{TimeZone, offset};

    use super::When;

    #[test]
    fn a_day_ends_when_people_are_back_at_work() {
        let zone = TimeZone::fixed(offset(2));
        let cases = [
            ("2027-11-21", "2027-11-22T08:00:00Z", "a Sunday"),
            ("2027-11-20", "2027-11-22T08:00:00Z", "a Saturday"),
            ("2027-11-19", "2027-11-22T08:00:00Z", "a Friday"),
            ("2027-11-18", "2027-11-19T08:00:00Z", "a Thursday"),
            ("2027-11-21T09:00:00Z", "2027-11-21T09:00:00Z", "with an offset: exact"),
            ("2027-11-21T09:00:00", "2027-11-21T07:00:00Z", "on the host's clock: exact"),
        ];
        for (text, expected, what) in cases {
            let effect = When::parse(text).unwrap().takes_effect(&zone);
            assert_eq!(effect.to_string(), expected, "{text}: {what}");
        }
    }
}
