use std::borrow::Cow;
use std::time::SystemTime;

use baseline::{Overdue, Severity};
use serde::{Deserialize, Serialize};

use crate::alert::{self, Alert, InCommon, Moment, NAME, Packed};

/// What an alert is called that says that nothing of the sensor is heard, as the rule is.
pub(crate) const SENSOR_DEAD: &str = "PortledgerSensorDead";
/// What one is called that says that drift is open for too long, likewise.
pub(crate) const OVERDUE: &str = "PortledgerDriftOverdue";
/// The id of that alert: there is one sensor. No drift is called so: no approval can be.
pub(super) const SENSOR: &str = "(sensor)";
/// No text of an alert is longer, in characters: a record has room for all of them.
const MAX_TEXT: usize = 4096;
/// In how many things something differs is told.
const MAX_DIFFERS: usize = 16;

/// What is told of an alert, once: a record of `alerts.jsonl` as it stands there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Turn {
    pub(crate) time: Moment,
    pub(crate) event: Step,
    /// Ascends over restarts.
    pub(crate) seq: u64,
    #[serde(flatten)]
    pub(crate) about: About,
    /// Of a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) was: Option<Severity>,
    /// Of what is resolved.
    #[serde(flatten)]
    pub(crate) end: Option<Box<End>>,
}

/// What happened to an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    #[serde(rename = "alert_firing")]
    Firing,
    /// It is graver than it was.
    #[serde(rename = "alert_changed")]
    Changed,
    #[serde(rename = "alert_resolved")]
    Resolved,
}

/// What somebody is told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name")]
pub(crate) enum About {
    #[serde(rename = "PortledgerDrift")]
    Drift(Packed),
    /// Nothing is heard of the sensor.
    #[serde(rename = "PortledgerSensorDead")]
    Sensor(OfHost),
    /// Drift of a severity is open for longer than it may be.
    #[serde(rename = "PortledgerDriftOverdue")]
    Overdue(OfHost),
}

/// What is told of the host, and not of one drift.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OfHost {
    pub(crate) host: String,
    pub(crate) severity: Severity,
    pub(crate) summary: String,
    /// When the sensor was last heard of, or listened for; when the first drift became overdue.
    pub(crate) first_seen: Moment,
}

/// How an alert ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) why: Why,
    /// Who brought it about, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    /// The approval that covers it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) approved_as: Option<String>,
}

/// Why an alert is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Why {
    Approved,
    Unjudged,
    Aged,
    Dismissed,
    Crowded,
    /// The host is only observed by now.
    Observed,
    /// The sensor is heard of again.
    Heard,
    /// Nothing of that severity is overdue any more.
    Remedied,
    /// What was open is not known any more.
    Unknown,
}

impl Turn {
    pub(crate) fn firing(seq: u64, about: About, at: SystemTime) -> Self {
        Turn { time: at.into(), event: Step::Firing, seq, about, was: None, end: None }
    }

    /// What a receiver of JSON shows of it: who reads nothing but its first line knows whether it is over.
    pub(crate) fn told_about(&self) -> Cow<'_, About> {
        match &self.end {
            Some(end) => Cow::Owned(self.about.over(end.why.word())),
            None => Cow::Borrowed(&self.about),
        }
    }

    /// By this, and by when it was first seen, a receiver knows whether it was told before.
    pub(crate) fn id(&self) -> &str {
        match &self.about {
            About::Drift(alert) => alert.drift(),
            About::Sensor(_) => SENSOR,
            About::Overdue(late) => overdue_id(late.severity),
        }
    }
}

impl About {
    pub(crate) fn of(alert: Alert, in_common: &mut InCommon) -> Self {
        About::Drift(in_common.pack(bounded(alert)))
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            About::Drift(_) => NAME,
            About::Sensor(_) => SENSOR_DEAD,
            About::Overdue(_) => OVERDUE,
        }
    }

    pub(crate) fn host(&self) -> &str {
        match self {
            About::Drift(alert) => alert.host(),
            About::Sensor(told) | About::Overdue(told) => &told.host,
        }
    }

    pub(crate) fn severity(&self) -> Severity {
        match self {
            About::Drift(alert) => alert.severity(),
            About::Sensor(told) | About::Overdue(told) => told.severity,
        }
    }

    pub(crate) fn summary(&self) -> String {
        match self {
            About::Drift(alert) => alert.summary(),
            About::Sensor(told) | About::Overdue(told) => told.summary.clone(),
        }
    }

    fn over(&self, how: &str) -> About {
        let of_host = |told: &OfHost| OfHost { summary: alert::over(how, &told.summary), ..told.clone() };
        match self {
            About::Drift(packed) => {
                let alert = packed.alert();
                About::Drift(Alert { summary: alert::over(how, &alert.summary), ..alert }.into())
            }
            About::Sensor(told) => About::Sensor(of_host(told)),
            About::Overdue(told) => About::Overdue(of_host(told)),
        }
    }

    pub(crate) fn first_seen(&self) -> Moment {
        match self {
            About::Drift(alert) => alert.first_seen(),
            About::Sensor(told) | About::Overdue(told) => told.first_seen,
        }
    }

    pub(crate) fn drift(&self) -> Option<&Packed> {
        match self {
            About::Drift(alert) => Some(alert),
            About::Sensor(_) | About::Overdue(_) => None,
        }
    }
}

impl Why {
    /// As a line begins that tells of it.
    fn word(self) -> &'static str {
        match self {
            Why::Approved => "approved",
            Why::Dismissed => "dismissed",
            Why::Aged | Why::Unjudged => "closed",
            Why::Heard | Why::Remedied => "over",
            Why::Crowded | Why::Observed | Why::Unknown => "told no more",
        }
    }
}

impl OfHost {
    pub(crate) fn silent(host: &str, heard: SystemTime) -> Self {
        let summary = alert::of_host(host, "the sensor is silent, new drift is not seen");
        OfHost { host: host.to_owned(), severity: Severity::Critical, summary, first_seen: heard.into() }
    }

    pub(crate) fn overdue(host: &str, late: &Overdue) -> Self {
        let Overdue { severity, since, .. } = *late;
        // How many there are changes while it fires.
        let summary =
            alert::of_host(host, &format!("{} drift is past its time to remedy", severity.as_str()));
        OfHost { host: host.to_owned(), severity, summary, first_seen: since.into() }
    }
}

/// The id of the alert that tells of what is overdue: there is one for each severity.
pub(super) fn overdue_id(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "(overdue-critical)",
        Severity::Warning => "(overdue-warning)",
        Severity::Info => "(overdue-info)",
    }
}

/// A process that names itself at length must not keep others from being told.
fn bounded(mut alert: Alert) -> Alert {
    alert.differs.truncate(MAX_DIFFERS);
    let texts = [
        &mut alert.host,
        &mut alert.program,
        &mut alert.user,
        &mut alert.workload,
        &mut alert.netns,
        &mut alert.team,
        &mut alert.page,
    ];
    let optional = [&mut alert.started_by, &mut alert.approval].into_iter().flatten();
    texts.into_iter().chain(optional).chain(&mut alert.differs).for_each(cut);
    alert
}

fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
        text.truncate(end);
        text.push('…');
    }
}
