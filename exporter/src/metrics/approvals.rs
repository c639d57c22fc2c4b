use std::time::SystemTime;

use jiff::Timestamp;
use prometheus::proto::MetricFamily;

use super::families::{APPROVAL_DAYS_LEFT, APPROVALS};
use super::family::{Sample, number};
use crate::approvals::{ApprovalStatus, StandingWord};

/// How many approvals are told with how long they hold.
const MAX_APPROVALS: usize = 200;
const DAY: f64 = 86_400.0;

/// The series of approvals.
pub(super) struct ApprovalSeries {
    pub(super) families: [MetricFamily; 2],
    /// How many are left out of [`APPROVAL_DAYS_LEFT`]: those that end last.
    pub(super) dropped: usize,
}

pub(super) fn series(approvals: &[ApprovalStatus], now: SystemTime) -> ApprovalSeries {
    let now = Timestamp::try_from(now).unwrap_or(Timestamp::MAX);
    let mut ending: Vec<(Timestamp, &ApprovalStatus)> =
        approvals.iter().filter_map(|approval| Some((approval.ends?, approval))).collect();
    ending.sort_unstable_by_key(|(ends, approval)| (*ends, &approval.id));
    let dropped = ending.len().saturating_sub(MAX_APPROVALS);
    let left = ending.into_iter().take(MAX_APPROVALS).map(|(ends, approval)| {
        let days = ends.duration_since(now).as_secs_f64() / DAY;
        Sample::owned([approval.id.clone(), approval.team.clone()], days)
    });
    let counts = StandingWord::ALL.map(|word| {
        let count = approvals.iter().filter(|approval| approval.standing(now) == word).count();
        Sample::new([word.as_str()], number(count))
    });
    ApprovalSeries { families: [APPROVAL_DAYS_LEFT.of(left), APPROVALS.of(counts)], dropped }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;
    use crate::fixtures::now;

    fn approval(id: String, ends: Option<i64>, before: StandingWord) -> ApprovalStatus {
        let now = Timestamp::try_from(now()).unwrap();
        let ends = ends.map(|hours| now + jiff::SignedDuration::from_hours(hours));
        ApprovalStatus { id, team: "web".to_owned(), ends, before }
    }

    fn text(approvals: &[ApprovalStatus]) -> (String, usize) {
        let told = series(approvals, now());
        let families: Vec<_> =
            told.families.into_iter().filter(|family| !family.get_metric().is_empty()).collect();
        (TextEncoder::new().encode_to_string(&families).unwrap(), told.dropped)
    }

    #[test]
    fn days_count_down_through_zero() {
        use StandingWord::{Approved, Learned, Untrusted};
        let (text, _) = text(&[
            approval("half".to_owned(), Some(12), Approved),
            approval("over".to_owned(), Some(-36), Learned),
            approval("ever".to_owned(), None, Approved),
            approval("ends-now".to_owned(), Some(0), Approved),
            approval("forged".to_owned(), Some(-36), Untrusted),
            approval("learned".to_owned(), Some(36), Learned),
        ]);
        for line in [
            "portledger_approval_days_left{approval=\"half\",team=\"web\"} 0.5",
            "portledger_approval_days_left{approval=\"over\",team=\"web\"} -1.5",
            "portledger_approval_days_left{approval=\"ends-now\",team=\"web\"} 0",
            "portledger_approvals{standing=\"approved\"} 2",
            "portledger_approvals{standing=\"learned\"} 1",
            "portledger_approvals{standing=\"expired\"} 2",
            "portledger_approvals{standing=\"untrusted\"} 1",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} in {text}");
        }
        assert!(!text.contains("ever"), "{text}");
    }

    #[test]
    fn those_that_end_last_are_left_out() {
        let many: Vec<_> = (0..203)
            .map(|hours| approval(format!("a{hours}"), Some(hours), StandingWord::Approved))
            .collect();
        let (text, dropped) = text(&many);
        assert_eq!(dropped, 3);
        assert!(text.contains("\"a199\"") && !text.contains("\"a200\""), "{text}");
        assert!(text.contains("portledger_approvals{standing=\"approved\"} 202"), "{text}");
    }
}
