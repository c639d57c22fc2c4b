use std::time::{Duration, SystemTime};

/// How long a receiver may keep us waiting that says so.
const LONGEST: Duration = Duration::from_secs(300);

/// What a receiver answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status of HTTP.
    pub(crate) status: u16,
    /// The header of that name.
    pub(crate) retry_after: Option<String>,
    /// What its clock says.
    pub(crate) date: Option<SystemTime>,
    /// The beginning of its body, escaped.
    pub(crate) text: String,
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Delivered,
    /// It will never take this.
    Refused(String),
    /// It may take it another time, and not before so long.
    Failed(String, Option<Duration>),
}

impl Answer {
    pub(crate) fn outcome(&self) -> Outcome {
        let told = self.told();
        match self.status {
            200..=299 => Outcome::Delivered,
            400 | 413 | 422 => Outcome::Refused(told),
            300..=399 => Outcome::Failed(
                format!("{told}: a redirect is not followed, name the place that it leads to as `url`"),
                None,
            ),
            _ => Outcome::Failed(told, self.retry_after.as_deref().and_then(pause)),
        }
    }

    fn told(&self) -> String {
        match self.text.is_empty() {
            true => format!("it answered {}", self.status),
            false => format!("it answered {}: {}", self.status, self.text),
        }
    }
}

/// In seconds, RFC 9110 section 10.2.3. A date would be told by another clock, and is taken for nothing.
fn pause(header: &str) -> Option<Duration> {
    header.trim().parse().ok().map(|seconds| Duration::from_secs(seconds).min(LONGEST))
}

/// RFC 9110 section 5.6.7, without its obsolete forms.
pub(crate) fn date(header: &str) -> Option<SystemTime> {
    jiff::fmt::rfc2822::parse(header).ok().map(|date| date.timestamp().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_one_meaning() {
        let of = |status, retry_after: Option<&str>| {
            let retry_after = retry_after.map(str::to_owned);
            Answer { status, retry_after, date: None, text: "no".to_owned() }.outcome()
        };
        assert_eq!(of(200, None), Outcome::Delivered);
        assert_eq!(of(204, None), Outcome::Delivered);
        for status in [400, 413, 422] {
            assert_eq!(of(status, None), Outcome::Refused(format!("it answered {status}: no")));
        }
        for (status, header, expected) in [
            (429, Some("7"), Some(7)),
            (503, Some("86400"), Some(300)),
            (503, Some("Fri, 31 Dec 1999 23:59:59 GMT"), None),
            (500, None, None),
            (401, None, None),
            (404, None, None),
        ] {
            let expected = expected.map(Duration::from_secs);
            assert!(matches!(of(status, header), Outcome::Failed(_, pause) if pause == expected));
        }
        assert!(matches!(of(302, None), Outcome::Failed(told, None) if told.contains("not followed")));
    }

    #[test]
    fn a_date_is_read_as_servers_write_it() {
        let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(expected));
        for wrong in ["", "now", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 32 Nov 1994 08:49:37 GMT"] {
            assert_eq!(date(wrong), None, "{wrong}");
        }
    }
}
