use std::collections::HashSet;
use std::net::Ipv4Addr;

use baseline::Register;
use inventory::Holders;

use super::*;
use crate::approvals::{ApprovalStatus, StandingWord};
use crate::fixtures::{self, assert_golden};
use crate::judge;
use crate::log_heads::LogHeads;

fn scrape(snapshot: Snapshot, listener_info: bool) -> String {
    let (_, snapshots) = watch::channel(snapshot);
    let metrics = Metrics::new(snapshots, listener_info, fixtures::now).unwrap();
    metrics.render().unwrap()
}

#[test]
fn is_the_scrape_that_rules_and_dashboards_know() {
    let mut snapshot = judge::tests::snapshot_of_the_fixture();
    let folder = tempfile::tempdir().unwrap();
    let logs = LogHeads::new(folder.path());
    for (log, record) in [("events", 1_234_567), ("reloads", 3)] {
        let hash = ledger::LineHash([0xab; 32]);
        logs.set(log, Some(Head { record, hash }));
    }
    snapshot.logs = logs.into();
    snapshot.rules.of_host = [ApprovalStatus {
        id: "web".to_owned(),
        team: "shop".to_owned(),
        ends: jiff::Timestamp::try_from(fixtures::now() + std::time::Duration::from_secs(129_600)).ok(),
        before: StandingWord::Learned,
    }]
    .into();
    let text = scrape(snapshot, true);
    // The exporter's own figures differ from run to run.
    let ours = text.lines().filter(|line| !line.contains("process_"));
    let ours: String = ours.map(|line| line.to_owned() + "\n").collect();
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    assert_golden("metrics.txt", &ours.replace(&version, "version=\"VERSION\""));
}

#[test]
fn tells_of_the_exporter_itself() {
    let text = scrape(Snapshot::default(), false);
    for family in [
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_max_fds",
        "process_virtual_memory_bytes",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
    ] {
        assert!(text.contains(&format!("\n{family} ")), "{family}");
    }
}

#[test]
fn tells_every_aggregate_from_the_first_scrape_on() {
    let text = scrape(Snapshot::default(), false);
    let count = |family: &str| text.lines().filter(|line| line.starts_with(&format!("{family}{{"))).count();
    assert_eq!(count("portledger_listeners"), 140);
    assert_eq!(count("portledger_drift"), 30);
    assert_eq!(count("portledger_drift_events_total"), 30);
    assert_eq!(count("portledger_opened_total"), 7);
    assert_eq!(count("portledger_coverage"), 5);
    assert_eq!(count("portledger_unattributed"), 5);
    assert_eq!(count("portledger_approvals"), 4);
}

#[test]
fn tells_no_series_twice() {
    for info in [false, true] {
        let text = scrape(judge::tests::snapshot_of_the_fixture(), info);
        let mut seen = HashSet::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(seen.insert(series.to_owned()), "{series}");
        }
    }
}

#[test]
fn passes_promtools_checks() {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut check = Command::new("promtool");
    check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut promtool) = check.spawn() else {
        return eprintln!("SKIP passes_promtools_checks: promtool is not installed (package prometheus)");
    };
    let text = scrape(judge::tests::snapshot_of_the_fixture(), true);
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn tells_two_hundred_drifts_and_how_many_it_leaves_out() {
    let listeners = |programs: std::ops::Range<u16>| {
        programs.map(|number| {
            let holders = Holders::Known(vec![fixtures::holder(format!("/opt/{number}").as_bytes())]);
            fixtures::listener(number.into(), Protocol::Tcp, Ipv4Addr::UNSPECIFIED, 7000 + number, holders)
        })
    };
    let told = |snapshot| {
        let text = scrape(snapshot, false);
        let count = text.lines().filter(|line| line.starts_with("portledger_drift_info{")).count();
        let dropped = text.lines().find_map(|line| {
            line.strip_prefix("portledger_series_dropped{family=\"portledger_drift_info\"} ")
                .map(str::to_owned)
        });
        (count, dropped.unwrap())
    };
    assert_eq!(told(judge::tests::snapshot_of(listeners(0..200).collect())), (200, "0".to_owned()));
    assert_eq!(told(judge::tests::snapshot_of(listeners(0..203).collect())), (200, "3".to_owned()));
}

#[test]
fn tells_what_the_register_had_no_room_for() {
    let ports = (7000..).take(Register::ROOM + 7);
    let listener = |port: u16| {
        let holders = Holders::Known(vec![fixtures::holder(b"/opt/many")]);
        fixtures::listener(port.into(), Protocol::Tcp, Ipv4Addr::UNSPECIFIED, port, holders)
    };
    let text = scrape(judge::tests::snapshot_of(ports.map(listener).collect()), false);
    for line in [
        "portledger_series_dropped{family=\"portledger_drift_info\"} 7",
        "portledger_drift{kind=\"unapproved\",severity=\"critical\"} 10007",
    ] {
        assert!(text.lines().any(|told| told == line), "{line}");
    }
}
