//! Every family that is told of the host. The golden scrape guards these words.

use super::family::Family;

pub(super) const LISTENERS: Family = Family::gauge(
    "portledger_listeners",
    "Sockets that listen, by who can reach them and what the baseline says of them.",
    &["protocol", "reach", "verdict"],
);
pub(super) const LISTENER_INFO: Family = Family::gauge(
    "portledger_listener_info",
    "A service that listens, always 1.",
    &[
        "id", "protocol", "address", "port", "device", "netns", "program", "user", "workload", "reach",
        "verdict",
    ],
);
pub(super) const DRIFT: Family = Family::gauge(
    "portledger_drift",
    "Open drifts from the baseline, also those that are gone and not yet approved or aged.",
    &["kind", "severity"],
);
pub(super) const DRIFT_OVERDUE: Family = Family::gauge(
    "portledger_drift_overdue",
    "Open drifts whose time to remedy is over; 0 where the configuration gives none.",
    &["severity"],
);
pub(super) const DRIFT_INFO: Family = Family::gauge(
    "portledger_drift_info",
    "An open drift, always 1.",
    &[
        "drift", "kind", "severity", "protocol", "address", "port", "program", "user", "workload", "netns",
        "reach", "team",
    ],
);
pub(super) const DRIFT_PRESENT: Family = Family::gauge(
    "portledger_drift_present",
    "Whether an open drift was there when the sensor last looked.",
    &["drift"],
);
pub(super) const DRIFT_FIRST_SEEN: Family = Family::gauge(
    "portledger_drift_first_seen_timestamp_seconds",
    "When an open drift was first seen, in seconds since the epoch.",
    &["drift"],
);
pub(super) const DRIFT_DETAILS: Family = Family::gauge(
    "portledger_drift_details_info",
    "What to read of an open drift besides its name, always 1; each text is cut at 200 letters.",
    &["drift", "started_by", "approval", "differs", "page"],
);
pub(super) const DRIFT_EVENTS: Family = Family::counter(
    "portledger_drift_events_total",
    "Drifts that opened or came back; those that came back more than once between two judgements count once.",
    &["kind", "severity"],
);
pub(super) const SERIES_DROPPED: Family = Family::gauge(
    "portledger_series_dropped",
    "Series left out of this scrape because their family is full.",
    &["family"],
);
pub(super) const OPENED: Family =
    Family::counter("portledger_opened_total", "Sockets that began to listen.", &["protocol"]);
pub(super) const CLOSED: Family =
    Family::counter("portledger_closed_total", "Sockets that listened and are gone.", &["protocol"]);
pub(super) const UDP_CLIENTS: Family = Family::gauge(
    "portledger_udp_clients",
    "UDP sockets on a port that the kernel chose for a client: counted, not judged.",
    &[],
);
pub(super) const UNATTRIBUTED: Family = Family::gauge(
    "portledger_unattributed",
    "Sockets that listen and for which no process is named.",
    &["reason"],
);
pub(super) const COVERAGE: Family = Family::gauge(
    "portledger_coverage",
    "How much of what there was to look at was seen, from 0 to 1.",
    &["scope"],
);
pub(super) const COVERAGE_EXPECTED: Family = Family::gauge(
    "portledger_coverage_expected",
    "The widest coverage ever held on this host, from 0 to 1.",
    &["scope"],
);
pub(super) const EVENTS_LOST: Family = Family::counter(
    "portledger_events_lost_total",
    "Opens and closes that the kernel told and nobody could take, or judge in time; what is still there is found all the same.",
    &[],
);
pub(super) const EVENTS_UNLOGGED: Family = Family::counter(
    "portledger_events_unlogged_total",
    "Events that could not be written to the log of events.",
    &[],
);
pub(super) const STATE_FAILURES: Family = Family::counter(
    "portledger_state_failures_total",
    "How often what must outlive a restart could not be written into the state folder.",
    &[],
);
pub(super) const LOG_RECORDS: Family = Family::gauge(
    "portledger_log_records",
    "The number of the newest record of a log; it never falls unless somebody rewrote the log.",
    &["log"],
);
pub(super) const LOG_HEAD: Family = Family::gauge(
    "portledger_log_head",
    "The first 48 bits of the hash of the newest record of a log.",
    &["log"],
);
pub(super) const EVENT_SOURCE: Family = Family::gauge(
    "portledger_event_source",
    "How opens and closes are learned between two looks: 1 for the one in force.",
    &["source"],
);
pub(super) const EVENT_SOURCE_EXPECTED: Family = Family::gauge(
    "portledger_event_source_expected",
    "The best of them ever held on this host: 1 for it.",
    &["source"],
);
pub(super) const DISCREPANCIES: Family = Family::counter(
    "portledger_reconcile_discrepancies_total",
    "Sockets that a look found otherwise than events had told.",
    &["kind"],
);
pub(super) const RECONCILE_DURATION: Family = Family::gauge(
    "portledger_reconcile_duration_seconds",
    "How long the sensor's last whole look at the host took.",
    &[],
);
pub(super) const RECONCILE_SUCCESS: Family = Family::gauge(
    "portledger_reconcile_last_success_timestamp_seconds",
    "When the sensor last looked at the host, in seconds since the epoch; 0 for never.",
    &[],
);
pub(super) const LAST_FRAME: Family = Family::gauge(
    "portledger_sensor_last_frame_timestamp_seconds",
    "When the sensor was last heard of, in seconds since the epoch; 0 for never.",
    &[],
);
pub(super) const EVENTS_LAG: Family = Family::gauge(
    "portledger_events_lag_seconds",
    "How far what is told is behind what happens: for how long nothing that happened is judged; a sensor that has nothing \
     to tell says so every ten seconds.",
    &[],
);
pub(super) const SENSOR_RESTARTS: Family = Family::counter(
    "portledger_sensor_restarts_total",
    "How often the sensor ended and was started again; what opened and closed in between nobody saw.",
    &[],
);
pub(super) const BASELINE_APPROVALS: Family =
    Family::gauge("portledger_baseline_approvals", "Approvals in the baseline in force.", &[]);
pub(super) const APPROVALS: Family = Family::gauge(
    "portledger_approvals",
    "Approvals in force for this host, by what they are worth.",
    &["standing"],
);
pub(super) const APPROVAL_DAYS_LEFT: Family = Family::gauge(
    "portledger_approval_days_left",
    "Days until an approval ends, negative once it has; those for this host that end first.",
    &["approval", "team"],
);
pub(super) const BASELINE_INFO: Family = Family::gauge(
    "portledger_baseline_info",
    "The baseline in force, always 1; `none` where there is none.",
    &["revision"],
);
pub(super) const BASELINE_SUCCESSFUL: Family = Family::gauge(
    "portledger_baseline_last_reload_successful",
    "Whether the baseline could be read the last time.",
    &[],
);
pub(super) const BASELINE_SUCCESS: Family = Family::gauge(
    "portledger_baseline_last_reload_success_timestamp_seconds",
    "When the baseline could last be read, in seconds since the epoch; 0 for not since the start.",
    &[],
);
pub(super) const CONFIG_SUCCESSFUL: Family = Family::gauge(
    "portledger_config_last_reload_successful",
    "Whether the configuration could be read the last time.",
    &[],
);
pub(super) const CONFIG_SUCCESS: Family = Family::gauge(
    "portledger_config_last_reload_success_timestamp_seconds",
    "When the configuration could last be read, in seconds since the epoch; 0 for not since the start.",
    &[],
);
pub(super) const BUILD_INFO: Family =
    Family::gauge("portledger_build_info", "Which Portledger this is, always 1.", &["version"]);

pub(super) const ALL: [&Family; 37] = [
    &LISTENERS,
    &LISTENER_INFO,
    &DRIFT,
    &DRIFT_OVERDUE,
    &DRIFT_INFO,
    &DRIFT_PRESENT,
    &DRIFT_FIRST_SEEN,
    &DRIFT_EVENTS,
    &SERIES_DROPPED,
    &OPENED,
    &CLOSED,
    &UDP_CLIENTS,
    &UNATTRIBUTED,
    &COVERAGE,
    &COVERAGE_EXPECTED,
    &EVENTS_LOST,
    &EVENTS_UNLOGGED,
    &STATE_FAILURES,
    &LOG_RECORDS,
    &LOG_HEAD,
    &EVENT_SOURCE,
    &EVENT_SOURCE_EXPECTED,
    &DISCREPANCIES,
    &RECONCILE_DURATION,
    &RECONCILE_SUCCESS,
    &LAST_FRAME,
    &EVENTS_LAG,
    &SENSOR_RESTARTS,
    &BASELINE_APPROVALS,
    &APPROVALS,
    &APPROVAL_DAYS_LEFT,
    &BASELINE_INFO,
    &BASELINE_SUCCESSFUL,
    &BASELINE_SUCCESS,
    &CONFIG_SUCCESSFUL,
    &CONFIG_SUCCESS,
    &BUILD_INFO,
];
