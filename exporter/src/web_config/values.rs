//! What a scalar of the file may be. YAML 1.1, as the toolkit reads it: a quoted `"true"` is a string, `yes` is not.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A boolean; nothing at all is false.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Switch(pub(super) bool);

/// A time span in nanoseconds: `1m30s`, or a bare number of nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Span(pub(super) i64);

/// A number without fraction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Count(pub(super) i64);

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Truth;
        impl Visitor<'_> for Truth {
            type Value = Switch;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("true or false, without quotes")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Switch, E> {
                Ok(Switch(value))
            }

            fn visit_unit<E: Error>(self) -> Result<Switch, E> {
                Ok(Switch(false))
            }
        }
        deserializer.deserialize_any(Truth)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Number { of_text: nanoseconds }).map(Span)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Number { of_text: |_| None }).map(Count)
    }
}

/// Whole numbers; what follows the point of others is cut off.
struct Number {
    of_text: fn(&str) -> Option<i64>,
}

impl Visitor<'_> for Number {
    type Value = i64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match (self.of_text)("1s") {
            Some(_) => "a time span such as 500ms, 1s or 1m30s",
            None => "a whole number, without quotes",
        })
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<i64, E> {
        Ok(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<i64, E> {
        i64::try_from(value).map_err(|_| E::custom("this number is too large"))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<i64, E> {
        whole(value).ok_or_else(|| E::custom("this number is too large"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<i64, E> {
        (self.of_text)(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }

    fn visit_unit<E: Error>(self) -> Result<i64, E> {
        Ok(0)
    }
}

/// `None` for what is no number or does not fit.
#[allow(clippy::cast_possible_truncation)]
fn whole(value: f64) -> Option<i64> {
    (value.abs() < 9.2e18).then_some(value as i64)
}

/// A duration as Go writes it (`time.ParseDuration`): signed decimal numbers, each with its unit.
fn nanoseconds(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut sum = 0.0;
    loop {
        let number = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (count, after) = rest.split_at(number);
        let ends = |character: char| character.is_ascii_digit() || character == '.';
        let (unit, after) = after.split_at(after.find(ends).unwrap_or(after.len()));
        let each = match unit {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        sum += count.parse::<f64>().ok()? * each;
        if after.is_empty() {
            return whole(sign * sum);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations_as_go_does() {
        for (text, expected) in [
            ("1s", Some(1_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            ("500µs", Some(500_000)),
            ("-1s", Some(-1_000_000_000)),
            ("+2ns", Some(2)),
            (".5s", Some(500_000_000)),
            ("0", Some(0)),
            ("", None),
            ("-", None),
            ("s", None),
            (".s", None),
            ("5", None),
            ("1 s", None),
            ("1d", None),
            ("1s2", None),
            ("1..5s", None),
            ("999999999h", None),
        ] {
            assert_eq!(nanoseconds(text), expected, "{text}");
        }
    }

    #[test]
    fn tells_a_boolean_from_a_string() {
        let of = |text: &str| serde_saphyr::from_str::<Vec<Switch>>(text).map(|list| list[0].0).ok();
        for (text, expected) in [
            ("[yes]", Some(true)),
            ("[off]", Some(false)),
            ("[True]", Some(true)),
            ("[y]", Some(true)),
            ("[~]", Some(false)),
            ("[\"true\"]", None),
            ("['']", None),
            ("[1]", None),
            ("[maybe]", None),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
    }

    #[test]
    fn takes_numbers_and_spans() {
        let span = |text: &str| serde_saphyr::from_str::<Vec<Span>>(text).map(|list| list[0].0).ok();
        assert_eq!(
            [span("[0]"), span("[1s]"), span("['2s']")],
            [Some(0), Some(1_000_000_000), Some(2_000_000_000)]
        );
        assert_eq!([span("['5']"), span("[x]"), span("[1e30]")], [None, None, None]);
        let count = |text: &str| serde_saphyr::from_str::<Vec<Count>>(text).map(|list| list[0].0).ok();
        assert_eq!(
            [count("[5]"), count("[-1]"), count("[1.5]"), count("[~]")],
            [Some(5), Some(-1), Some(1), Some(0)]
        );
        assert_eq!([count("['5']"), count("[1s]"), count("[99999999999999999999]")], [None; 3]);
    }
}
