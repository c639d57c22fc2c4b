//! The scrape: every family computed from one snapshot, when it is asked for.

mod alerting;
mod approvals;
mod drift;
mod export;
mod exposure;
mod families;
mod family;
mod http;
mod listeners;
mod process;
mod textfile;
mod web_config;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use baseline::{DriftKind, Severity};
use inventory::{Discrepancies, EventSource, Protocol, RawText, Scope};
use ledger::Head;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Registry, TextEncoder};
use tokio::sync::watch;

use self::family::{Sample, number, timestamp, total, truth};
use crate::alerting::Told;
use crate::http::{HttpCounts, Seats, Security};
use crate::outbox::Status;
use crate::snapshot::{RulesStatus, Snapshot};
use crate::textfile::TextFileStatus;
use crate::web_config::InForce;

pub(crate) use prometheus::TEXT_FORMAT;

/// What is scraped.
pub(crate) struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// `listener_info` adds a series for each service; `clock` says how long approvals hold still.
    pub(crate) fn new(
        snapshots: watch::Receiver<Snapshot>,
        listener_info: bool,
        clock: fn() -> SystemTime,
    ) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(Board::new(snapshots, listener_info, clock)?))?;
        registry.register(Box::new(process::ProcessMetrics::new()?))?;
        Ok(Metrics { registry })
    }

    /// Adds how the export of logs goes.
    pub(crate) fn with_exports(self, statuses: Arc<[Arc<Status>]>) -> Result<Self, prometheus::Error> {
        self.registry.register(Box::new(export::ExportMetrics::new(statuses)?))?;
        Ok(self)
    }

    /// Adds who alerts, and how posting goes.
    pub(crate) fn with_alerting(self, told: Arc<Told>) -> Result<Self, prometheus::Error> {
        self.registry.register(Box::new(alerting::AlertingMetrics::new(told)?))?;
        Ok(self)
    }

    /// Adds how the web configuration fares, where there is one.
    pub(crate) fn with_web_config(self, config: Option<&Arc<InForce>>) -> Result<Self, prometheus::Error> {
        if let Some(config) = config {
            self.registry.register(Box::new(web_config::WebConfigMetrics::new(config.clone())?))?;
        }
        Ok(self)
    }

    /// Adds how it goes with those who ask.
    pub(crate) fn with_http(
        self,
        counts: Arc<HttpCounts>,
        seats: Arc<Seats>,
    ) -> Result<Self, prometheus::Error> {
        self.registry.register(Box::new(http::HttpMetrics::new(counts, seats)?))?;
        Ok(self)
    }

    /// Adds how far the addresses reach that are `served`; nobody is kept from reading there but by `security`.
    pub(crate) fn with_listeners(
        self,
        served: Vec<SocketAddr>,
        security: Arc<Security>,
        snapshots: watch::Receiver<Snapshot>,
    ) -> Result<Self, prometheus::Error> {
        if !served.is_empty() {
            self.registry.register(Box::new(exposure::ExposureMetrics::new(served, security, snapshots)?))?;
        }
        Ok(self)
    }

    /// Adds how writing the file of metrics goes.
    pub(crate) fn with_text_file(self, status: Arc<TextFileStatus>) -> Result<Self, prometheus::Error> {
        self.registry.register(Box::new(textfile::TextFileMetrics::new(status)?))?;
        Ok(self)
    }

    /// The text of a scrape without what every exporter tells of itself.
    pub(crate) fn render_own(&self) -> Result<String, prometheus::Error> {
        let mut families = self.registry.gather();
        families.retain(|family| family.name().starts_with("portledger_"));
        TextEncoder::new().encode_to_string(&families)
    }

    /// The text of a scrape, in the format of [`TEXT_FORMAT`].
    pub(crate) fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// The families that are told of the host.
struct Board {
    snapshots: watch::Receiver<Snapshot>,
    listener_info: bool,
    clock: fn() -> SystemTime,
    descriptions: Vec<Desc>,
}

impl Board {
    fn new(
        snapshots: watch::Receiver<Snapshot>,
        listener_info: bool,
        clock: fn() -> SystemTime,
    ) -> Result<Self, prometheus::Error> {
        let describe = |family: &&family::Family| {
            let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(family.name.to_owned(), family.help.to_owned(), labels, Default::default())
        };
        let descriptions = families::ALL.iter().map(describe).collect::<Result<_, _>>()?;
        Ok(Board { snapshots, listener_info, clock, descriptions })
    }
}

impl Collector for Board {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let snapshot = self.snapshots.borrow().clone();
        let mut dropped = BTreeMap::new();
        let mut families = vec![listeners::aggregate(&snapshot)];
        if self.listener_info {
            let info = listeners::info(&snapshot);
            dropped.insert(families::LISTENER_INFO.name, info.dropped);
            families.push(info.family);
        }
        let drift = drift::series(&snapshot, (self.clock)());
        dropped.extend(drift::PER_DRIFT.map(|family| (family, drift.dropped)));
        families.extend(drift.families);
        let approvals = approvals::series(&snapshot.rules.of_host, (self.clock)());
        dropped.insert(families::APPROVAL_DAYS_LEFT.name, approvals.dropped);
        families.extend(approvals.families);
        families.push(
            families::SERIES_DROPPED
                .of(dropped.into_iter().map(|(family, count)| Sample::new([family], number(count)))),
        );
        families.extend(events(&snapshot));
        families.extend(logs(&snapshot));
        families.extend(sensor(&snapshot, (self.clock)()));
        families.extend(rules(&snapshot.rules));
        families.push(families::BUILD_INFO.of([Sample::new([env!("CARGO_PKG_VERSION")], 1.0)]));
        families
    }
}

fn events(snapshot: &Snapshot) -> [MetricFamily; 6] {
    let by_protocol = |counts: &BTreeMap<Protocol, u64>| {
        Protocol::ALL.map(|protocol| {
            Sample::new([protocol.as_str()], total(counts.get(&protocol).copied().unwrap_or_default()))
        })
    };
    let counts = &snapshot.counts;
    let drift = kinds_and_severities().map(|(kind, severity)| {
        let count = counts.drift_events.get(&(kind, severity)).copied().unwrap_or_default();
        Sample::new([kind.as_str(), severity.as_str()], total(count))
    });
    [
        families::OPENED.of(by_protocol(&counts.opened)),
        families::CLOSED.of(by_protocol(&counts.closed)),
        families::DRIFT_EVENTS.of(drift),
        families::EVENTS_LOST.single(total(snapshot.sensor.lost)),
        families::EVENTS_UNLOGGED.single(total(snapshot.unlogged.load(Ordering::Relaxed))),
        families::STATE_FAILURES.single(total(snapshot.unkept.load(Ordering::Relaxed))),
    ]
}

fn logs(snapshot: &Snapshot) -> [MetricFamily; 2] {
    let heads = snapshot.logs.told(Instant::now());
    let each = |value: fn(&Head) -> u64| {
        let samples = heads.iter().map(|(log, head)| Sample::new([*log], total(value(head))));
        samples.collect::<Vec<_>>()
    };
    [families::LOG_RECORDS.of(each(|head| head.record)), families::LOG_HEAD.of(each(Head::short))]
}

fn sensor(snapshot: &Snapshot, now: SystemTime) -> [MetricFamily; 12] {
    let pass = snapshot.judged.as_deref();
    let source = pass.map(|pass| pass.inventory.coverage.events);
    let sources = |held: Option<EventSource>| {
        EventSource::ALL.map(|source| Sample::new([source.as_str()], truth(held == Some(source))))
    };
    let found = Discrepancies::default().by_kind().map(|(kind, _)| {
        let known = snapshot.sensor.discrepancies.iter().find(|(known, _)| *known == kind);
        Sample::new([kind], total(known.map_or(0, |(_, count)| *count)))
    });
    let share = |scope| pass.map_or(0.0, |pass| pass.inventory.coverage.shares.of(scope).ratio());
    [
        families::UDP_CLIENTS.single(pass.map_or(0.0, |pass| number(pass.assessment.udp_clients))),
        listeners::unattributed(snapshot),
        families::COVERAGE.of(Scope::ALL.map(|scope| Sample::new([scope.as_str()], share(scope)))),
        families::COVERAGE_EXPECTED
            .of(Scope::ALL.map(|scope| Sample::new([scope.as_str()], snapshot.best.of(scope)))),
        families::EVENT_SOURCE.of(sources(source)),
        families::EVENT_SOURCE_EXPECTED.of(sources(Some(snapshot.best.source))),
        families::DISCREPANCIES.of(found),
        families::RECONCILE_DURATION.single(snapshot.sensor.took.as_secs_f64()),
        families::RECONCILE_SUCCESS.single(timestamp(snapshot.sensor.looked_at)),
        families::LAST_FRAME.single(timestamp(snapshot.sensor.last_frame)),
        families::EVENTS_LAG.single(snapshot.sensor.lag(now).as_secs_f64()),
        families::SENSOR_RESTARTS.single(total(u64::from(snapshot.sensor.restarts))),
    ]
}

fn rules(rules: &RulesStatus) -> [MetricFamily; 6] {
    let revision = rules.revision.clone().unwrap_or_else(|| "none".to_owned());
    [
        families::BASELINE_APPROVALS.single(number(rules.approvals)),
        families::BASELINE_INFO.of([Sample::owned([revision], 1.0)]),
        families::BASELINE_SUCCESSFUL.single(truth(rules.baseline.successful)),
        families::BASELINE_SUCCESS.single(timestamp(rules.baseline.succeeded_at)),
        families::CONFIG_SUCCESSFUL.single(truth(rules.config.successful)),
        families::CONFIG_SUCCESS.single(timestamp(rules.config.succeeded_at)),
    ]
}

fn kinds_and_severities() -> impl Iterator<Item = (DriftKind, Severity)> {
    DriftKind::ALL.into_iter().flat_map(|kind| Severity::ALL.map(|severity| (kind, severity)))
}

/// Several names as one label value.
pub(crate) fn join<'a>(names: impl IntoIterator<Item = &'a RawText>) -> String {
    names.into_iter().map(RawText::escaped).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
