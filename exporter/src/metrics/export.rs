use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::family::{Family, Sample, total, truth};
use crate::outbox::Status;

const RECORDS: Family = Family::counter(
    "portledger_export_records_total",
    "Records of logs that have arrived at a receiver.",
    &["receiver", "log"],
);
const LAG: Family = Family::gauge(
    "portledger_export_lag_records",
    "Records that are not known to have arrived at a receiver yet; those of the last seconds are among them.",
    &["receiver"],
);
const CONNECTED: Family = Family::gauge(
    "portledger_export_connected",
    "Whether there is a connection to a receiver.",
    &["receiver"],
);
const MISSED: Family = Family::counter(
    "portledger_export_missed_total",
    "Records that were dropped or damaged before a receiver had them.",
    &["receiver"],
);
const READABLE: Family = Family::gauge(
    "portledger_export_log_readable",
    "Whether a log that is exported could be read the last time.",
    &["receiver", "log"],
);

const ALL: [&Family; 5] = [&RECORDS, &LAG, &CONNECTED, &MISSED, &READABLE];

/// How the export of logs goes. Without receivers there is nothing to tell, and no family.
pub(super) struct ExportMetrics {
    statuses: Arc<[Arc<Status>]>,
    descriptions: Vec<Desc>,
}

impl ExportMetrics {
    pub(super) fn new(statuses: Arc<[Arc<Status>]>) -> Result<Self, prometheus::Error> {
        let describe = |family: &&Family| {
            let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(family.name.to_owned(), family.help.to_owned(), labels, Default::default())
        };
        Ok(ExportMetrics { statuses, descriptions: ALL.iter().map(describe).collect::<Result<_, _>>()? })
    }
}

impl Collector for ExportMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let each = |family: &Family, value: fn(&Status) -> f64| {
            family.of(self
                .statuses
                .iter()
                .map(|status| Sample::owned([status.receiver.clone()], value(status))))
        };
        let logs =
            || self.statuses.iter().flat_map(|status| status.logs.iter().map(move |log| (status, log)));
        let labels = |status: &Status, log: &str| [status.receiver.clone(), log.to_owned()];
        vec![
            RECORDS.of(logs()
                .map(|(status, log)| Sample::owned(labels(status, log.log.as_str()), total(log.exported())))),
            each(&LAG, |status| total(status.lag())),
            each(&CONNECTED, |status| truth(status.connected())),
            each(&MISSED, |status| total(status.missed())),
            READABLE.of(logs()
                .map(|(status, log)| Sample::owned(labels(status, log.log.as_str()), truth(log.readable())))),
        ]
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Registry, TextEncoder};

    use super::*;
    use crate::outbox::{Receiver, TlsFiles};

    fn scrape(receivers: &[Receiver]) -> String {
        let statuses: Arc<[Arc<Status>]> =
            receivers.iter().map(|receiver| Arc::new(Status::new(receiver))).collect();
        statuses.iter().for_each(|status| {
            status.is_connected(true);
            status.logs[0].head(9);
            status.logs[0].arrived(7, 5);
            status.logs[0].missed(2);
            status.logs[0].is_readable(false);
        });
        let registry = Registry::new();
        registry.register(Box::new(ExportMetrics::new(statuses).unwrap())).unwrap();
        TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
    }

    #[test]
    fn tells_of_each_receiver_and_log() {
        let logs = ["events".to_owned()];
        let receiver = Receiver::new("siem", "journald", TlsFiles::default(), Some(&logs), None).unwrap();
        let text = scrape(&[receiver]);
        let told: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            told,
            [
                "portledger_export_connected{receiver=\"siem\"} 1",
                "portledger_export_lag_records{receiver=\"siem\"} 2",
                "portledger_export_log_readable{receiver=\"siem\",log=\"events\"} 0",
                "portledger_export_missed_total{receiver=\"siem\"} 2",
                "portledger_export_records_total{receiver=\"siem\",log=\"events\"} 5",
            ]
        );
    }

    #[test]
    fn tells_nothing_where_nothing_is_exported() {
        assert_eq!(scrape(&[]), "");
    }
}
