use super::turn::{About, End, Step, Turn, Why};
use crate::alert::Moment;

/// What to read below the summary, one thing a line.
pub(crate) fn description(turn: &Turn) -> String {
    match (&turn.end, &turn.about) {
        (Some(end), _) => format!("{} Told since {}.", ended(end, turn.time), turn.about.first_seen()),
        (None, About::Drift(packed)) => packed.alert().description(),
        (None, About::Sensor(sensor)) => format!(
            "Nothing was heard of the sensor since {}. The exporter lives and keeps the last drift that it knew; what opens now \
             is not seen.\nLook: the log of portledger serve, whether portledger sensor is among the processes, and sudo \
             portledger doctor. Then restart the service. A sensor that somebody killed is an incident.",
            sensor.first_seen
        ),
        (None, About::Overdue(late)) => format!(
            "Some {} drift is open for longer than [remedy] of portledger.toml allows, the first since {}. Each has an alert of its \
             own, which somebody has seen, silenced or forgotten.\nLook: sudo portledger diff lists them with their ids, sudo \
             portledger show ID tells since when. It ends when they are stopped, dismissed or, where wanted, approved.",
            late.severity.as_str(),
            late.first_seen
        ),
    }
}

/// Where it is told what to do, as far as it is known by which address others reach our pages.
pub(crate) fn runbook(about: &About, external_url: &str) -> Option<String> {
    (!external_url.is_empty()).then(|| format!("{external_url}/runbooks/{}", about.name()))
}

/// Of an alert that goes on under another severity, to whom a severity is part of its name.
pub(crate) fn superseded(turn: &Turn) -> String {
    format!("It is not over: since {} it is {}.", turn.time, turn.about.severity().as_str())
}

fn ended(end: &End, at: Moment) -> String {
    let by = end.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let approval = end.approved_as.as_ref().map(|id| format!(" (approval {id})")).unwrap_or_default();
    match end.why {
        Why::Approved => format!("Over since {at}: approved{by}{approval}, or again as approved."),
        Why::Dismissed => format!("Over since {at}: dismissed{by}."),
        Why::Aged => format!("Over since {at}: closed, for it was gone, or hidden by gaps, for a day."),
        Why::Unjudged => format!("Over since {at}: closed, for the baseline leaves it unjudged by now."),
        Why::Crowded => format!(
            "Told no more since {at}: it may be there still. More drift is open than there is room for, and this was of the \
             least: sudo portledger diff."
        ),
        Why::Observed => format!("Told no more since {at}: mode is observe by now, and nobody is alerted."),
        Why::Heard => format!(
            "Over since {at}: the sensor is heard of again. What came and went meanwhile is not known."
        ),
        Why::Remedied => format!("Over since {at}: nothing of this severity is past its time to remedy."),
        Why::Unknown => format!(
            "Told no more since {at}: it is not known how it ended, for what was open was lost: sudo portledger diff."
        ),
    }
}

impl Turn {
    /// `firing`, `changed` or `resolved`.
    pub(crate) fn status(&self) -> &'static str {
        match self.event {
            Step::Firing => "firing",
            Step::Changed => "changed",
            Step::Resolved => "resolved",
        }
    }
}
