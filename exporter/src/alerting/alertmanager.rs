use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use baseline::Severity;
use serde::Serialize;

use super::clocks::Clocks;
use super::told::{description, runbook, superseded};
use super::turn::{Step, Turn};
use crate::alert::{Moment, Packed};

/// For how long what was told holds without being told again. A host that is down, or on which `serve` was stopped, has not
/// resolved anything: within the usual few minutes Alertmanager would say so.
const HOLDS: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The label by which a fleet tells who alerts.
const JOB: &str = "portledger";

/// As `POST /api/v2/alerts` takes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Posted {
    labels: BTreeMap<&'static str, String>,
    annotations: BTreeMap<&'static str, String>,
    starts_at: Moment,
    ends_at: Moment,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<String>,
}

/// No alert: who takes it is an Alertmanager, and would take others.
pub(crate) const NONE: &[u8] = b"[]";

/// What is posted of these as of now.
pub(crate) fn body(turns: &[Arc<Turn>], clocks: Clocks, external_url: &str) -> serde_json::Result<Vec<u8>> {
    let context = Context {
        now: clocks.earliest().into(),
        holds_until: clocks.latest().checked_add(HOLDS).unwrap_or(clocks.latest()).into(),
        external_url,
    };
    serde_json::to_vec(&turns.iter().flat_map(|turn| context.posted(turn)).collect::<Vec<_>>())
}

/// A harmless one, which is over by itself.
pub(crate) fn trial(host: &str, now: SystemTime, over: SystemTime) -> serde_json::Result<Vec<u8>> {
    let labels = [("alertname", super::TRIAL), ("job", JOB), ("instance", host), ("severity", "info")];
    let annotations =
        [("summary", super::trial_summary(host)), ("description", super::TRIAL_TEXT.to_owned())];
    let posted = Posted {
        labels: labels.map(|(name, value)| (name, value.to_owned())).into(),
        annotations: annotations.into(),
        starts_at: now.into(),
        ends_at: over.into(),
        generator_url: None,
    };
    serde_json::to_vec(&[posted])
}

/// What is not in the turns themselves.
struct Context<'a> {
    /// What has begun or ended has done so by then, by either clock: an end in its future would fire until then.
    now: Moment,
    holds_until: Moment,
    external_url: &'a str,
}

impl Context<'_> {
    /// Severity is a label, and labels are an alert's name there: under the former it is over.
    fn posted(&self, turn: &Turn) -> Vec<Posted> {
        let (severity, description) = (turn.about.severity(), description(turn));
        let over = turn.time.min(self.now);
        match (turn.event, turn.was) {
            (Step::Resolved, _) => vec![self.of(turn, severity, over, description)],
            (Step::Changed, Some(was)) => vec![
                self.of(turn, was, over, superseded(turn)),
                self.of(turn, severity, self.holds_until, description),
            ],
            _ => vec![self.of(turn, severity, self.holds_until, description)],
        }
    }

    fn of(&self, turn: &Turn, severity: Severity, ends_at: Moment, description: String) -> Posted {
        let about = &turn.about;
        let mut labels = BTreeMap::from([
            ("alertname", about.name().to_owned()),
            ("job", JOB.to_owned()),
            ("instance", about.host().to_owned()),
        ]);
        let mut annotations = BTreeMap::from([("summary", about.summary()), ("description", description)]);
        annotations.extend(runbook(about, self.external_url).map(|url| ("runbook_url", url)));
        let alert = about.drift().map(Packed::alert);
        if let Some(alert) = &alert {
            let named = alert.labels().into_iter().filter(|(_, value)| !value.is_empty());
            labels.extend(named.map(|(name, value)| (name, value.to_owned())));
            annotations.insert("page", alert.page.clone());
        }
        labels.insert("severity", severity.as_str().to_owned());
        let page = alert.map(|alert| alert.page).filter(|page| page.starts_with("http"));
        let starts_at = about.first_seen().min(self.now);
        Posted {
            labels,
            annotations,
            starts_at,
            // Where the clock was set back meanwhile: an end before its beginning is refused.
            ends_at: ends_at.max(starts_at),
            generator_url: page,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::turn::{About, End, OfHost, Why};
    use super::*;
    use crate::document::time;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_251_600 + seconds)
    }

    /// When what began at 100 starts, and ends where it was resolved at 200.
    fn told(event: Step, clocks: Clocks) -> (String, String) {
        let about = About::Sensor(OfHost::silent("web", at(100)));
        let mut turn = Turn::firing(1, about, at(200));
        turn.event = event;
        let end = || Box::new(End { why: Why::Heard, by: None, approved_as: None });
        turn.end = (event == Step::Resolved).then(end);
        let body: Value = serde_json::from_slice(&body(&[Arc::new(turn)], clocks, "").unwrap()).unwrap();
        let time = |key: &str| body[0][key].as_str().unwrap().to_owned();
        (time("startsAt"), time("endsAt"))
    }

    #[test]
    fn what_is_over_is_over_by_either_clock() {
        let (ours, week) = (at(300), 7 * 86_400);
        for (theirs, start, end, holds) in [
            (None, 100, 200, 300 + week),
            (Some(300), 100, 200, 300 + week),
            // Theirs is behind: nothing starts or ends in its future.
            (Some(150), 100, 150, 300 + week),
            (Some(50), 50, 50, 300 + week),
            // Ours is behind: a week is counted from theirs.
            (Some(99_999_999), 100, 200, 99_999_999 + week),
        ] {
            let clocks = Clocks { ours, theirs: theirs.map(at) };
            assert_eq!(told(Step::Resolved, clocks), (time(at(start)), time(at(end))), "{theirs:?}");
            assert_eq!(told(Step::Firing, clocks), (time(at(start)), time(at(holds))), "{theirs:?}");
        }
        // Our clock was set back after it began.
        let (start, end) = told(Step::Resolved, Clocks { ours: at(10), theirs: None });
        assert_eq!((start, end), (time(at(10)), time(at(10))));
    }
}
