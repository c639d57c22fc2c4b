use std::collections::HashSet;
use std::sync::Arc;

use baseline::Severity;
use serde::{Deserialize, Serialize, Serializer};

use super::{Alert, Moment};

/// An alert as it is kept as long as it fires. What it has in common with others is there once: of a crowd all but a few
/// numbers. It is written and read as what it was packed of.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Alert")]
pub(crate) struct Packed {
    common: Arc<Common>,
    drift: Arc<str>,
    /// Where it is a number.
    port: Option<u16>,
    first_seen: Moment,
    pub(crate) gone_since: Option<Moment>,
    remedy_by: Option<Moment>,
}

/// An alert without what [`Packed`] has, and where its texts had that.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Common {
    alert: Alert,
    /// Of the summary, at which byte the port was.
    port_at: Option<usize>,
    /// Of the page, at which byte the drift was.
    drift_at: Option<usize>,
}

/// What packed alerts have in common, each once.
#[derive(Debug, Default)]
pub(crate) struct InCommon(HashSet<Arc<Common>>);

impl InCommon {
    pub(crate) fn pack(&mut self, alert: Alert) -> Packed {
        let mut packed = Packed::from(alert);
        self.share(&mut packed);
        packed
    }

    /// Has it refer to what others have already.
    pub(crate) fn share(&mut self, packed: &mut Packed) {
        match self.0.get(&packed.common) {
            Some(known) => packed.common = known.clone(),
            None => drop(self.0.insert(packed.common.clone())),
        }
    }
}

impl From<Alert> for Packed {
    fn from(mut alert: Alert) -> Self {
        let drift = std::mem::take(&mut alert.drift);
        let port = alert.port.parse::<u16>().ok().filter(|port| port.to_string() == alert.port);
        if port.is_some() {
            alert.port = String::new();
        }
        Packed {
            port,
            first_seen: std::mem::take(&mut alert.first_seen),
            gone_since: alert.gone_since.take(),
            remedy_by: alert.remedy_by.take(),
            common: Arc::new(Common {
                port_at: port.and_then(|port| take_out(&mut alert.summary, &in_summary(port))),
                drift_at: take_out(&mut alert.page, &drift),
                alert,
            }),
            drift: drift.into(),
        }
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.alert().serialize(serializer)
    }
}

impl Packed {
    pub(crate) fn alert(&self) -> Alert {
        let mut alert = Alert {
            drift: self.drift.to_string(),
            first_seen: self.first_seen,
            gone_since: self.gone_since,
            remedy_by: self.remedy_by,
            summary: self.summary(),
            ..self.common.alert.clone()
        };
        if let Some(port) = self.port {
            alert.port = port.to_string();
        }
        if let Some(at) = self.common.drift_at {
            alert.page.insert_str(at, &self.drift);
        }
        alert
    }

    pub(crate) fn drift(&self) -> &Arc<str> {
        &self.drift
    }

    pub(crate) fn host(&self) -> &str {
        &self.common.alert.host
    }

    pub(crate) fn severity(&self) -> Severity {
        self.common.alert.severity
    }

    pub(crate) fn first_seen(&self) -> Moment {
        self.first_seen
    }

    pub(crate) fn summary(&self) -> String {
        let mut summary = self.common.alert.summary.clone();
        if let (Some(port), Some(at)) = (self.port, self.common.port_at) {
            summary.insert_str(at, &in_summary(port));
        }
        summary
    }
}

/// As a summary has a port.
fn in_summary(port: u16) -> String {
    format!(":{port}")
}

/// Where it was; the first, where there are more.
fn take_out(text: &mut String, word: &str) -> Option<usize> {
    let at = text.find(word)?;
    text.replace_range(at..at + word.len(), "");
    Some(at)
}

#[cfg(test)]
mod tests;
