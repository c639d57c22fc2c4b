use std::time::{Duration, SystemTime};

use serde_json::json;

use super::alertmanager;
use super::answer::Outcome;
use super::client::Client;
use super::receiver::{AlertReceiver, AlertReceiverKind};
use crate::document::time;

/// What the alert is called that means nothing.
pub(super) const TRIAL: &str = "PortledgerTest";
pub(super) const TRIAL_TEXT: &str = "Somebody tried whether alerts arrive: sudo portledger alerts test. Nothing is to be done; it ends by itself within 5 minutes.";
/// How long it fires.
const LASTS: Duration = Duration::from_secs(300);

/// Posts an alert that means nothing, in one try. Its severity is `info`: whoever is woken at night by severity sleeps on.
pub fn try_receiver(receiver: &AlertReceiver, host: &str) -> Result<String, String> {
    let now = SystemTime::now();
    let over = now.checked_add(LASTS).unwrap_or(now);
    let body = match receiver.kind {
        AlertReceiverKind::Alertmanager => alertmanager::trial(host, now, over),
        AlertReceiverKind::Webhook => serde_json::to_vec(&json!({
            "schema": 1,
            "host": host,
            "alerts": [{
                "seq": 0, "status": "firing", "time": time(now), "id": "test", "name": TRIAL, "host": host,
                "severity": "info", "summary": trial_summary(host), "first_seen": time(now), "ends": time(over),
                "description": TRIAL_TEXT, "runbook": null, "was": null, "why": null, "by": null, "approved_as": null,
            }],
        })),
    };
    let key = format!("test-{}", time(now));
    let mut client = Client::new(receiver.clone()).map_err(|error| error.to_string())?;
    let answer = body.map_err(|error| error.to_string()).and_then(|body| {
        client
            .post(body, Some(&key))
            .map_err(|error| inventory::RawText::from(error.to_string().as_str()).escaped())
    })?;
    match answer.outcome() {
        Outcome::Delivered => Ok(format!("{}: it answered {}", receiver.to, answer.status)),
        Outcome::Refused(why) | Outcome::Failed(why, _) => Err(format!("{}: {why}", receiver.to)),
    }
}

pub(super) fn trial_summary(host: &str) -> String {
    format!("{host}: a test, nothing is to be done")
}
