use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::family::{Family, Sample, timestamp, total};
use crate::alerting::Told;

const INFO: Family = Family::gauge(
    "portledger_alerting_info",
    "Who alerts of drift: Prometheus by its rules, or the exporter itself, which posts. The value is always 1.",
    &["path"],
);
const ALERTS: Family = Family::counter(
    "portledger_alerts_total",
    "Turns of alerts that were delivered, or refused for good, and those in tries that failed and are repeated.",
    &["receiver", "outcome"],
);
const PENDING: Family = Family::gauge(
    "portledger_alerts_pending",
    "Turns of alerts that have not arrived at a receiver yet.",
    &["receiver"],
);
const SUCCESS: Family = Family::gauge(
    "portledger_alerts_last_success_timestamp_seconds",
    "When a receiver last took something; 0 where it did not since the exporter started.",
    &["receiver"],
);

const ALL: [&Family; 4] = [&INFO, &ALERTS, &PENDING, &SUCCESS];

/// Who alerts, and how posting goes. Without receivers there is nothing to tell of these.
pub(super) struct AlertingMetrics {
    told: Arc<Told>,
    descriptions: Vec<Desc>,
}

impl AlertingMetrics {
    pub(super) fn new(told: Arc<Told>) -> Result<Self, prometheus::Error> {
        let describe = |family: &&Family| {
            let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(family.name.to_owned(), family.help.to_owned(), labels, Default::default())
        };
        Ok(AlertingMetrics { told, descriptions: ALL.iter().map(describe).collect::<Result<_, _>>()? })
    }
}

impl Collector for AlertingMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let statuses = &self.told.statuses;
        let newest = self.told.newest();
        let outcomes = statuses.iter().flat_map(|status| {
            let labels = |outcome: &str| [status.receiver.clone(), outcome.to_owned()];
            status.outcomes().map(|(outcome, count)| Sample::owned(labels(outcome), total(count)))
        });
        vec![
            INFO.of([Sample::new([self.told.path], 1.0)]),
            ALERTS.of(outcomes),
            PENDING.of(statuses
                .iter()
                .map(|status| Sample::owned([status.receiver.clone()], total(status.pending(newest))))),
            SUCCESS.of(statuses
                .iter()
                .map(|status| Sample::owned([status.receiver.clone()], timestamp(status.last_success())))),
        ]
    }
}
