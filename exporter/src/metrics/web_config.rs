use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::family::{Family, timestamp, truth};
use crate::web_config::InForce;

const SUCCESSFUL: Family = Family::gauge(
    "portledger_web_config_last_reload_successful",
    "Whether the web configuration could be read the last time.",
    &[],
);
const SUCCESS: Family = Family::gauge(
    "portledger_web_config_last_reload_success_timestamp_seconds",
    "When the web configuration could last be read, in seconds since the epoch.",
    &[],
);
const EXPIRY: Family = Family::gauge(
    "portledger_web_certificate_expiry_timestamp_seconds",
    "When the first certificate of the chain that HTTPS is served with ends, in seconds since the epoch.",
    &[],
);

/// How the web configuration fares. Without one there is nothing to tell, and no family.
pub(super) struct WebConfigMetrics {
    config: Arc<InForce>,
    descriptions: Vec<Desc>,
}

impl WebConfigMetrics {
    pub(super) fn new(config: Arc<InForce>) -> Result<Self, prometheus::Error> {
        let describe = |family: &Family| {
            Desc::new(family.name.to_owned(), family.help.to_owned(), Vec::new(), Default::default())
        };
        let descriptions = [&SUCCESSFUL, &SUCCESS, &EXPIRY].map(describe);
        Ok(WebConfigMetrics { config, descriptions: descriptions.into_iter().collect::<Result<_, _>>()? })
    }
}

impl Collector for WebConfigMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let reload = self.config.reload();
        let mut families = vec![
            SUCCESSFUL.single(truth(reload.successful)),
            SUCCESS.single(timestamp(Some(reload.succeeded_at))),
        ];
        let ends = self.config.last().tls.as_ref().and_then(|tls| tls.certificate_ends);
        families.extend(ends.map(|ends| EXPIRY.single(timestamp(Some(ends)))));
        families
    }
}
