use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

/// Reads `YYYYMMDD[HHMM[SS]]`, and after it `Z` or `UTC` where it is not the time of the zone.
///
/// OpenSSH takes a time of the zone for its standard time, in summer too, and nothing up to 1970-01-01. Days that no
/// calendar has, which it counts on into the next month, are refused here.
pub(super) fn parse(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let (digits, is_utc) =
        match strip_suffix_ignoring_case(text, "UTC").or(strip_suffix_ignoring_case(text, "Z")) {
            Some(digits) => (digits, true),
            None => (text, false),
        };
    let is_of_length = matches!(digits.len(), 8 | 12 | 14);
    if !is_of_length || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |at: usize, count: usize| match digits.get(at..at + count) {
        Some(part) => part.parse::<i8>().ok(),
        None => Some(0),
    };
    let year = digits[..4].parse().ok()?;
    let civil =
        DateTime::new(year, part(4, 2)?, part(6, 2)?, part(8, 2)?, part(10, 2)?, part(12, 2)?, 0).ok()?;
    let offset = if is_utc { Offset::UTC } else { standard_offset(civil, zone)? };
    offset.to_timestamp(civil).ok().filter(|time| time.as_second() > 0)
}

/// The offset of the zone at that time; in summer that of the winter which is nearest.
fn standard_offset(civil: DateTime, zone: &TimeZone) -> Option<Offset> {
    let time = zone.to_ambiguous_timestamp(civil).compatible().ok()?;
    let now = zone.to_offset_info(time);
    if !now.dst().is_dst() {
        return Some(now.offset());
    }
    let winter = |transition: &jiff::tz::TimeZoneTransition<'_>| !transition.dst().is_dst();
    // The nearest one back is that into this summer, the one before it is that into the winter.
    let before = zone.preceding(time).find(winter).map(|transition| transition.offset());
    before
        .or_else(|| zone.following(time).find(winter).map(|transition| transition.offset()))
        .or(Some(now.offset()))
}

fn strip_suffix_ignoring_case<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let (head, tail) = text.split_at_checked(text.len().checked_sub(suffix.len())?)?;
    tail.eq_ignore_ascii_case(suffix).then_some(head)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::parse;

    #[test]
    fn reads_times_as_openssh_does() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let cases = [
            ("20240101", Some("2023-12-31T23:00:00Z")),
            ("20240101Z", Some("2024-01-01T00:00:00Z")),
            ("20240101utc", Some("2024-01-01T00:00:00Z")),
            ("202401011234", Some("2024-01-01T11:34:00Z")),
            ("20240101123456z", Some("2024-01-01T12:34:56Z")),
            ("202407011200", Some("2024-07-01T11:00:00Z")),
            ("20240229", Some("2024-02-28T23:00:00Z")),
            ("20230229", None),
            ("20241301", None),
            ("202401012400", None),
            ("20240101123460", None),
            ("2024010112", None),
            ("+2240101", None),
            ("19700101Z", None),
            ("Z", None),
            ("", None),
            ("2024010\u{661}", None),
        ];
        for (text, expected) in cases {
            let read = parse(text, &zone).map(|time| time.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }
}
