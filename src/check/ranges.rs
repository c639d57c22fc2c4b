use std::fmt;
use std::str::FromStr;

/// What is as it should be, as the Monitoring Plugins Development Guidelines write it: `[@]start:end`, both ends within;
/// `10` is `0:10`, `10:` has no end, `~` is minus infinity, and `@` turns it round.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Range {
    start: f64,
    end: f64,
    /// It tells of what is within.
    turned: bool,
    written: String,
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let turned = text.starts_with('@');
        let (start, end) = {
            let range = text.strip_prefix('@').unwrap_or(text);
            range.split_once(':').unwrap_or(("", range))
        };
        let start = match start {
            "" => 0.0,
            "~" => f64::NEG_INFINITY,
            start => number(start)?,
        };
        let end = match end {
            "" if text.contains(':') => f64::INFINITY,
            end => number(end)?,
        };
        if start > end {
            return Err(format!("`{text}` begins behind its end"));
        }
        Ok(Range { start, end, turned, written: text.to_owned() })
    }
}

/// Digits, and what may stand beside them: `inf`, `nan` and `1e9`, which Rust reads too, are no numbers of the guidelines.
fn number(text: &str) -> Result<f64, String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
    let number = text.parse().ok().filter(|number: &f64| is_plain && number.is_finite());
    number.ok_or_else(|| format!("`{text}` is no number; a range is [@]start:end, as in 5, 10:, ~:3 or @1:2"))
}

impl Range {
    /// Up to this, from zero.
    pub(super) fn up_to(end: u32) -> Self {
        Range { start: 0.0, end: end.into(), turned: false, written: end.to_string() }
    }

    /// Whether a value is one to tell of.
    pub(super) fn tells_of(&self, value: f64) -> bool {
        (self.start <= value && value <= self.end) == self.turned
    }

    /// The least whole number that it tells of, where it tells of all from there on.
    pub(super) fn least(&self) -> Option<f64> {
        let (from_zero, has_end) = (self.start <= 0.0, self.end.is_finite() && self.end >= 0.0);
        (!self.turned && from_zero && has_end).then(|| self.end.floor() + 1.0)
    }

    /// Why a value is told of.
    pub(super) fn reason(&self) -> String {
        match self.turned {
            false => format!("not within {self}"),
            true => format!("within {}", self.written.trim_start_matches('@')),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(text: &str) -> Range {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// The table of the guidelines.
    #[test]
    fn a_range_tells_of_what_the_guidelines_say() {
        for (text, told, untold) in [
            ("10", &[-0.5, 10.1, 11.0][..], &[0.0, 10.0][..]),
            ("10:", &[9.9, -1.0], &[10.0, 1e9]),
            ("~:10", &[10.1], &[-1e9, 10.0]),
            ("10:20", &[9.0, 21.0], &[10.0, 20.0]),
            ("@10:20", &[10.0, 15.0, 20.0], &[9.0, 21.0]),
            ("0", &[1.0], &[0.0]),
            ("~:", &[], &[-1e9, 0.0, 1e9]),
            ("@0", &[0.0], &[1.0]),
            ("@~:", &[-1e9, 0.0], &[]),
            ("-3:-1", &[0.0], &[-2.0]),
            (":5", &[6.0], &[0.0]),
            ("99.5:", &[99.4], &[99.5]),
        ] {
            assert!(told.iter().all(|value| range(text).tells_of(*value)), "{text}");
            assert!(!untold.iter().any(|value| range(text).tells_of(*value)), "{text}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "@", "x", "20:10", "1:2:3", "~", "10:~", "1e9", "inf", "nan", "@@1", "1 ", "٣", "-"]
        {
            assert!(text.parse::<Range>().is_err(), "{text}");
        }
        assert!("9".repeat(400).parse::<Range>().is_err());
    }

    #[test]
    fn only_what_has_an_upper_end_alone_has_a_least() {
        for (text, least) in [("0", Some(1.0)), ("5", Some(6.0)), ("~:2.5", Some(3.0)), ("1:5", None)] {
            assert_eq!(range(text).least(), least, "{text}");
        }
        for text in ["10:", "~:", "@1:5", "~:-5"] {
            assert_eq!(range(text).least(), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[@~:0-9.+-]{0,12}", value: f64) {
            if let Ok(range) = text.parse::<Range>() {
                let turned = text.strip_prefix('@').map_or_else(|| format!("@{text}"), str::to_owned);
                prop_assert_ne!(range.tells_of(value), turned.parse::<Range>().unwrap().tells_of(value));
                prop_assert_eq!(range.to_string(), text);
            }
        }

        #[test]
        fn both_ends_are_within(start in -1000_i32..1000, length in 0_i32..1000) {
            let end = start + length;
            let range = range(&format!("{start}:{end}"));
            prop_assert!(!range.tells_of(start.into()) && !range.tells_of(end.into()));
            prop_assert!(range.tells_of((start - 1).into()) && range.tells_of((end + 1).into()));
        }

        #[test]
        fn the_least_is_where_it_begins(end in 0_u32..100_000) {
            let range = Range::up_to(end);
            let least = range.least().unwrap();
            prop_assert!(range.tells_of(least) && !range.tells_of(least - 1.0));
        }
    }
}
