use std::net::SocketAddr;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use tokio::sync::watch;

use super::family::{Family, Sample, truth};
use crate::exposure::Exposure;
use crate::http::Security;
use crate::snapshot::Snapshot;

const EXPOSED: Family = Family::gauge(
    "portledger_web_listener_exposed",
    "Whether other hosts reach this listener of Portledger's own without TLS and authentication.",
    &["endpoint", "reach"],
);

/// How far our own listeners reach.
pub(super) struct ExposureMetrics {
    served: Vec<SocketAddr>,
    security: Arc<Security>,
    snapshots: watch::Receiver<Snapshot>,
    description: Desc,
}

impl ExposureMetrics {
    pub(super) fn new(
        served: Vec<SocketAddr>,
        security: Arc<Security>,
        snapshots: watch::Receiver<Snapshot>,
    ) -> Result<Self, prometheus::Error> {
        let labels = EXPOSED.labels.iter().map(|label| (*label).to_owned()).collect();
        let description =
            Desc::new(EXPOSED.name.to_owned(), EXPOSED.help.to_owned(), labels, Default::default())?;
        Ok(ExposureMetrics { served, security, snapshots, description })
    }
}

impl Collector for ExposureMetrics {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.description]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let pass = self.snapshots.borrow().judged.clone();
        let inventory = pass.as_deref().map(|pass| &*pass.inventory);
        let is_closed = self.security.is_closed();
        let exposures =
            self.served.iter().map(|endpoint| Exposure::of(*endpoint, std::process::id(), inventory));
        let samples = exposures.map(|exposure| {
            let reach = exposure.reach.map_or("unknown", |reach| reach.as_str());
            let labels = [exposure.endpoint.to_string(), reach.to_owned()];
            Sample::owned(labels, truth(exposure.beyond_loopback && !is_closed))
        });
        vec![EXPOSED.of(samples)]
    }
}
