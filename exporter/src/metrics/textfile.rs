use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::family::{Family, timestamp, total};
use crate::textfile::TextFileStatus;

const WRITTEN: Family = Family::gauge(
    "portledger_textfile_written_timestamp_seconds",
    "When the file of metrics was written the last time.",
    &[],
);
const FAILURES: Family = Family::counter(
    "portledger_textfile_failures_total",
    "How often the file of metrics could not be written.",
    &[],
);

/// How writing the file of metrics goes.
pub(super) struct TextFileMetrics {
    status: Arc<TextFileStatus>,
    descriptions: Vec<Desc>,
}

impl TextFileMetrics {
    pub(super) fn new(status: Arc<TextFileStatus>) -> Result<Self, prometheus::Error> {
        let describe = |family: &&Family| {
            Desc::new(family.name.to_owned(), family.help.to_owned(), Vec::new(), Default::default())
        };
        let descriptions = [&WRITTEN, &FAILURES].iter().map(describe).collect::<Result<_, _>>()?;
        Ok(TextFileMetrics { status, descriptions })
    }
}

impl Collector for TextFileMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        vec![
            WRITTEN.single(timestamp(self.status.written_at())),
            FAILURES.single(total(self.status.failed())),
        ]
    }
}
