use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::family::{Family, Sample, number, total};
use crate::http::{HttpCounts, Seats};

const CONNECTIONS: Family =
    Family::gauge("portledger_http_connections", "Connections that are being served.", &[]);
const ACCEPTED: Family =
    Family::counter("portledger_http_connections_total", "Connections that came in.", &[]);
const REFUSED: Family = Family::counter(
    "portledger_http_refused_total",
    "Connections that were cut off and requests that were refused, by the reason.",
    &["reason"],
);
const FAILED_LOGINS: Family =
    Family::counter("portledger_http_login_failures_total", "Requests with a wrong user or password.", &[]);

const ALL: [&Family; 4] = [&CONNECTIONS, &ACCEPTED, &REFUSED, &FAILED_LOGINS];

/// How it goes with those who ask by HTTP.
pub(super) struct HttpMetrics {
    counts: Arc<HttpCounts>,
    seats: Arc<Seats>,
    descriptions: Vec<Desc>,
}

impl HttpMetrics {
    pub(super) fn new(counts: Arc<HttpCounts>, seats: Arc<Seats>) -> Result<Self, prometheus::Error> {
        let describe = |family: &&Family| {
            let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(family.name.to_owned(), family.help.to_owned(), labels, Default::default())
        };
        let descriptions = ALL.iter().map(describe).collect::<Result<_, _>>()?;
        Ok(HttpMetrics { counts, seats, descriptions })
    }
}

impl Collector for HttpMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let refused = self.counts.refused();
        vec![
            CONNECTIONS.single(number(self.seats.taken())),
            ACCEPTED.single(total(self.counts.connections())),
            REFUSED.of(refused.map(|(refusal, count)| Sample::new([refusal.as_str()], total(count)))),
            FAILED_LOGINS.single(total(self.counts.failed_logins())),
        ]
    }
}
