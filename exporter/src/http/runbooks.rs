//! What to do about each alert, on the host that it is about: a link that works without any other server.

macro_rules! runbook {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../docs/runbooks/", $name, ".md")))
    };
}

/// By the names of the alerts, in their order.
const RUNBOOKS: [(&str, &str); 26] = [
    runbook!("PortledgerAlertsRefused"),
    runbook!("PortledgerAlertsStuck"),
    runbook!("PortledgerApprovalExpires"),
    runbook!("PortledgerBaselineNotLoaded"),
    runbook!("PortledgerBehind"),
    runbook!("PortledgerConfigNotLoaded"),
    runbook!("PortledgerCoverageBelowExpected"),
    runbook!("PortledgerDrift"),
    runbook!("PortledgerDriftOverdue"),
    runbook!("PortledgerEventSourceWorse"),
    runbook!("PortledgerEventsLost"),
    runbook!("PortledgerEventsNotLogged"),
    runbook!("PortledgerExportStuck"),
    runbook!("PortledgerExporterDown"),
    runbook!("PortledgerFleetDrift"),
    runbook!("PortledgerHostUnreachable"),
    runbook!("PortledgerLogRewritten"),
    runbook!("PortledgerNoBaseline"),
    runbook!("PortledgerSensorDead"),
    runbook!("PortledgerSensorRestarted"),
    runbook!("PortledgerSeriesDropped"),
    runbook!("PortledgerStateNotWritten"),
    runbook!("PortledgerTextfileStale"),
    runbook!("PortledgerWebCertificateExpires"),
    runbook!("PortledgerWebConfigNotLoaded"),
    runbook!("PortledgerWebListenerExposed"),
];

/// In Markdown.
pub(super) fn runbook(name: &str) -> Option<&'static str> {
    RUNBOOKS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}
