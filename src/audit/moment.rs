use std::str::FromStr;
use std::time::Duration;

use baseline::When;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// A time as somebody asks for it: `2026-03-14T09:00:00Z`, `2026-03-14`, or `7d` for as long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Ago(Duration),
    At(When),
}

impl Moment {
    /// Of a day its first instant.
    pub(crate) fn begin(self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        match self {
            Moment::Ago(time) => now.saturating_sub(time).unwrap_or(Timestamp::MIN),
            Moment::At(When::Date(day)) => When::Local(day.at(0, 0, 0, 0)).takes_effect(zone),
            Moment::At(when) => when.takes_effect(zone),
        }
    }

    /// Of a day its last second.
    pub(crate) fn end(self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        match self {
            Moment::At(When::Date(day)) => {
                let next = When::Local(day.saturating_add(1.day()).at(0, 0, 0, 0)).takes_effect(zone);
                next.saturating_sub(1.second()).unwrap_or(next)
            }
            other => other.begin(now, zone),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    /// Fails with a sentence about what is wrong with it.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(when) = When::parse(text) {
            return Ok(Moment::At(when));
        }
        crate::config::duration(text).map(Moment::Ago).map_err(|_| {
            format!("`{text}` is no time: it may be 2026-03-14T09:00:00Z, 2026-03-14, or 7d for as long ago")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_lasts_from_its_first_second_to_its_last() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        for (text, begin, end) in [
            ("2026-03-14", "2026-03-13T22:00:00Z", "2026-03-14T21:59:59Z"),
            ("2026-03-14T09:00:00", "2026-03-14T07:00:00Z", "2026-03-14T07:00:00Z"),
            ("2026-03-14T09:00:00Z", "2026-03-14T09:00:00Z", "2026-03-14T09:00:00Z"),
            ("7d", "2026-11-14T12:00:00Z", "2026-11-14T12:00:00Z"),
        ] {
            let moment: Moment = text.parse().unwrap();
            assert_eq!(moment.begin(now, &zone).to_string(), begin, "{text}");
            assert_eq!(moment.end(now, &zone).to_string(), end, "{text}");
        }
        for text in ["", "yesterday", "2026-13-14", "-7d"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }
}
