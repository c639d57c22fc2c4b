use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use super::ReportFormat;
use crate::check::{Measure, Range};
use crate::filter::{Filter, Key};

/// For which monitoring a verdict is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Manner {
    /// Nagios, Icinga, and what else runs their plugins
    Nagios,
    /// Centreon: its names of metrics
    Centreon,
    /// Pandora FMS: modules and inventory of its agent, as XML; ends with 0
    Pandora,
}

#[derive(Args, Debug)]
pub(crate) struct HostCheckOptions {
    /// Where the daemon answers users of this host: `api_socket` of its configuration
    #[arg(long, value_name = "PATH", default_value = "/run/portledger/api.sock")]
    pub(crate) socket: PathBuf,
    /// For which monitoring
    #[arg(long = "as", value_enum, value_name = "MONITORING", default_value = "nagios")]
    pub(crate) manner: Manner,
    /// A verdict with its details for people and monitoring, or JSON for programs
    #[arg(long, value_enum, default_value = "table", conflicts_with_all = ["manner", "disco_format", "disco_show"])]
    pub(crate) format: ReportFormat,
    /// Look in this process and ask no daemon; only root sees all
    #[arg(long, conflicts_with = "socket")]
    pub(crate) one_shot: bool,
    /// UNKNOWN after so many seconds, 60 at most
    #[arg(short, long, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(crate) timeout: u64,
    /// More below the first line: -v 500 drifts, -vv all, -vvv also what was asked
    #[arg(short, long, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Only drift and listeners that match `KEY=VALUE[,VALUE]`, as in `list`; may be given several times, and then all must
    /// match
    ///
    /// Keys: port, protocol, address, program, user, workload, netns, reach, verdict. Values are globs.
    #[arg(long, value_name = "KEY=VALUE", value_parser = filter)]
    filter: Vec<Filter>,
    #[command(flatten)]
    filters: FilterOptions,
    #[command(flatten)]
    thresholds: ThresholdOptions,
    /// Centreon's discovery of services: the keys, as XML
    #[arg(long, help_heading = "Discovery", conflicts_with = "disco_show")]
    pub(crate) disco_format: bool,
    /// Centreon's discovery of services: each that listens, as XML
    #[arg(long, help_heading = "Discovery")]
    pub(crate) disco_show: bool,
}

/// As Centreon's plugins write filters. An empty value is none: it is what a macro that is not set gives.
#[derive(Args, Debug)]
#[command(
    next_help_heading = "Filters as Centreon writes them; `--filter-KEY VALUE` is `--filter KEY=VALUE`"
)]
struct FilterOptions {
    #[arg(long, value_name = "PORTS", value_parser = |text: &str| given("port", text))]
    filter_port: Vec<Given<Filter>>,
    #[arg(long, value_name = "GLOBS", value_parser = |text: &str| given("protocol", text))]
    filter_protocol: Vec<Given<Filter>>,
    #[arg(long, value_name = "GLOBS", value_parser = |text: &str| given("address", text))]
    filter_address: Vec<Given<Filter>>,
    #[arg(long, value_name = "GLOBS", value_parser = |text: &str| given("program", text))]
    filter_program: Vec<Given<Filter>>,
    #[arg(long, value_name = "GLOBS", value_parser = |text: &str| given("user", text))]
    filter_user: Vec<Given<Filter>>,
    #[arg(long, value_name = "GLOBS", value_parser = |text: &str| given("workload", text))]
    filter_workload: Vec<Given<Filter>>,
    #[arg(long, value_name = "GLOBS", value_parser = |text: &str| given("netns", text))]
    filter_netns: Vec<Given<Filter>>,
    #[arg(long, value_name = "GLOBS", value_parser = |text: &str| given("reach", text))]
    filter_reach: Vec<Given<Filter>>,
    #[arg(long, value_name = "GLOBS", value_parser = |text: &str| given("verdict", text))]
    filter_verdict: Vec<Given<Filter>>,
}

/// `None` where the value is empty.
#[derive(Clone, Debug)]
struct Given<T>(Option<T>);

#[derive(Args, Debug)]
#[command(
    next_help_heading = "Thresholds: [@]start:end, as in 5, 10:, ~:3, @1:2; `~:` tells of nothing, an empty one is none"
)]
struct ThresholdOptions {
    /// Drift of severity critical and warning; in place of `any warning drift`
    #[arg(short, long = "warning-drift", visible_alias = "warning", value_name = "RANGE", value_parser = range, allow_hyphen_values = true)]
    warning_drift: Option<Given<Range>>,
    /// Drift of severity critical and warning; in place of `any critical drift`
    #[arg(short, long = "critical-drift", visible_alias = "critical", value_name = "RANGE", value_parser = range, allow_hyphen_values = true)]
    critical_drift: Option<Given<Range>>,
    /// Drift of severity critical [default: 0]
    #[arg(long, value_name = "RANGE", value_parser = range, allow_hyphen_values = true)]
    warning_drift_critical: Option<Given<Range>>,
    /// [default: 0]
    #[arg(long, value_name = "RANGE", value_parser = range, allow_hyphen_values = true)]
    critical_drift_critical: Option<Given<Range>>,
    /// Drift of severity warning [default: 0]
    #[arg(long, value_name = "RANGE", value_parser = range, allow_hyphen_values = true)]
    warning_drift_warning: Option<Given<Range>>,
    #[arg(long, value_name = "RANGE", value_parser = range, allow_hyphen_values = true)]
    critical_drift_warning: Option<Given<Range>>,
    /// Drift of severity info
    #[arg(long, value_name = "RANGE", value_parser = range, allow_hyphen_values = true)]
    warning_drift_info: Option<Given<Range>>,
    #[arg(long, value_name = "RANGE", value_parser = range, allow_hyphen_values = true)]
    critical_drift_info: Option<Given<Range>>,
    /// Open drift that is gone, of any severity
    #[arg(long, value_name = "RANGE", value_parser = range, allow_hyphen_values = true)]
    warning_drift_gone: Option<Given<Range>>,
    #[arg(long, value_name = "RANGE", value_parser = range, allow_hyphen_values = true)]
    critical_drift_gone: Option<Given<Range>>,
    /// Listeners, those of UDP clients left out
    #[arg(long, value_name = "RANGE", value_parser = range, allow_hyphen_values = true)]
    warning_listeners: Option<Given<Range>>,
    #[arg(long, value_name = "RANGE", value_parser = range, allow_hyphen_values = true)]
    critical_listeners: Option<Given<Range>>,
    /// Seconds since the sensor was heard of; after 30 it is UNKNOWN anyway, unless this makes it CRITICAL
    #[arg(long, value_name = "RANGE", value_parser = range, allow_hyphen_values = true)]
    warning_age: Option<Given<Range>>,
    #[arg(long, value_name = "RANGE", value_parser = range, allow_hyphen_values = true)]
    critical_age: Option<Given<Range>>,
    /// Percent that was seen of sockets, holders, namespaces, addresses, each, as in 99:
    #[arg(long, value_name = "RANGE", value_parser = range, allow_hyphen_values = true)]
    warning_coverage: Option<Given<Range>>,
    #[arg(long, value_name = "RANGE", value_parser = range, allow_hyphen_values = true)]
    critical_coverage: Option<Given<Range>>,
}

impl HostCheckOptions {
    /// However they were written.
    pub(crate) fn filters(&self) -> Vec<Filter> {
        let FilterOptions {
            filter_port,
            filter_protocol,
            filter_address,
            filter_program,
            filter_user,
            filter_workload,
            filter_netns,
            filter_reach,
            filter_verdict,
        } = &self.filters;
        let named = [
            filter_port,
            filter_protocol,
            filter_address,
            filter_program,
            filter_user,
            filter_workload,
            filter_netns,
            filter_reach,
            filter_verdict,
        ];
        let named = named.into_iter().flatten().filter_map(|given| given.0.as_ref());
        self.filter.iter().chain(named).cloned().collect()
    }

    /// Those of WARNING that were given.
    pub(crate) fn warning(&self) -> impl Iterator<Item = (Measure, Range)> {
        let given = &self.thresholds;
        ranges([
            (Measure::Drift, &given.warning_drift),
            (Measure::Critical, &given.warning_drift_critical),
            (Measure::Warning, &given.warning_drift_warning),
            (Measure::Info, &given.warning_drift_info),
            (Measure::Gone, &given.warning_drift_gone),
            (Measure::Listeners, &given.warning_listeners),
            (Measure::Age, &given.warning_age),
            (Measure::Coverage, &given.warning_coverage),
        ])
    }

    /// Those of CRITICAL that were given.
    pub(crate) fn critical(&self) -> impl Iterator<Item = (Measure, Range)> {
        let given = &self.thresholds;
        ranges([
            (Measure::Drift, &given.critical_drift),
            (Measure::Critical, &given.critical_drift_critical),
            (Measure::Warning, &given.critical_drift_warning),
            (Measure::Info, &given.critical_drift_info),
            (Measure::Gone, &given.critical_drift_gone),
            (Measure::Listeners, &given.critical_listeners),
            (Measure::Age, &given.critical_age),
            (Measure::Coverage, &given.critical_coverage),
        ])
    }
}

fn ranges(given: [(Measure, &Option<Given<Range>>); 8]) -> impl Iterator<Item = (Measure, Range)> {
    given.into_iter().filter_map(|(measure, range)| Some((measure, range.as_ref()?.0.clone()?)))
}

fn range(text: &str) -> Result<Given<Range>, String> {
    if text.is_empty() { Ok(Given(None)) } else { text.parse().map(|range| Given(Some(range))) }
}

fn given(key: &str, values: &str) -> Result<Given<Filter>, String> {
    if values.is_empty() {
        Ok(Given(None))
    } else {
        filter(&format!("{key}={values}")).map(|filter| Given(Some(filter)))
    }
}

fn filter(text: &str) -> Result<Filter, String> {
    let filter: Filter = text.parse()?;
    match filter.key() {
        Some(Key::Name) => Err("drift is not known by the names of processes: use program=GLOB".to_owned()),
        _ => Ok(filter),
    }
}
