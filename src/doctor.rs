mod boxes;

use std::io::Write;

use anyhow::Context;
use inventory::{EventSource, Protocol, Scope};
use sensor::{Bpf, Disagreement, EventReport, Hashing, Privilege, Sensor, UNTOLD};
use serde_json::{Value, json};

use self::boxes::Boxes;
use crate::arguments::{DoctorOptions, ReportFormat, Shared};
use crate::config::Config;
use crate::gaps::gap_line;
use crate::loader::loader;
use crate::outcome::Outcome;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::say;

/// What can be seen here, and what a second look by other means says of it.
struct Examination {
    privileges: Vec<Privilege>,
    protocols: Vec<Protocol>,
    inventory: inventory::Inventory,
    events: EventReport,
    /// Why there is no second opinion, or what it says.
    second_opinion: Result<Vec<Disagreement>, String>,
    boxes: Boxes,
}

/// Tells what this host lets us see, and how to see the rest.
pub(crate) fn run(shared: &Shared, options: &DoctorOptions) -> anyhow::Result<Outcome> {
    let paths = Paths::of(shared)?;
    let config = Config::load(&paths)?;
    let examination = examine(&config, &paths)?;
    match options.format {
        ReportFormat::Table => tell(&examination)?,
        ReportFormat::Json => say::out(format_args!("{:#}", document(&examination)))?,
    }
    Ok(match &examination.second_opinion {
        Ok(disagreements) if !disagreements.is_empty() => Outcome::Drift,
        Ok(_) if is_whole(&examination) => Outcome::Clean,
        _ => Outcome::Partial,
    })
}

fn examine(config: &Config, paths: &Paths) -> anyhow::Result<Examination> {
    let _progress = Progress::of("looking at sockets and their holders, twice");
    let mut sensor = Sensor::new(crate::sensor::options(
        config,
        Hashing::Off,
        crate::sensor::workers(),
        Bpf::Always(loader),
    ))
    .context("cannot look at this host")?;
    let second_opinion = sensor::second_opinion(&mut sensor).map_err(|error| error.to_string());
    let mut inventory = sensor.pass();
    let events = sensor::event_report(loader);
    let coverage = &mut inventory.coverage;
    coverage.shares.events = events.share;
    coverage.gaps.retain(|gap| gap.scope != Scope::Events);
    coverage.gaps.extend(events.gaps.iter().cloned());
    Ok(Examination {
        privileges: sensor::privileges()?,
        protocols: sensor::kernel_protocols(),
        inventory,
        events,
        second_opinion,
        boxes: Boxes::look(&paths.state),
    })
}

fn is_whole(examination: &Examination) -> bool {
    examination.inventory.coverage.gaps.is_empty()
}

fn tell(examination: &Examination) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "Privileges")?;
    for privilege in &examination.privileges {
        match privilege.held {
            true => writeln!(out, "  ok       {}", privilege.name)?,
            false => writeln!(out, "  missing  {}: {}", privilege.name, privilege.without)?,
        }
    }
    if let Some(cure) = cure_of("doctor", &examination.privileges, rustix::process::geteuid().is_root()) {
        writeln!(out, "  {cure}")?;
    }
    let protocols: Vec<_> = examination.protocols.iter().map(ToString::to_string).collect();
    writeln!(out, "\nProtocols of this kernel\n  {}", protocols.join(", "))?;
    writeln!(out, "\nSeen")?;
    for scope in Scope::ALL {
        let share = examination.inventory.coverage.shares.of(scope);
        writeln!(out, "  {:<11}{} of {} {}", scope.as_str(), share.seen, share.of, unit(scope))?;
    }
    writeln!(out, "\nNot seen")?;
    let gaps = &examination.inventory.coverage.gaps;
    for gap in gaps {
        writeln!(out, "  {}", gap_line(gap))?;
    }
    if gaps.is_empty() {
        writeln!(out, "  nothing that was looked for")?;
    }
    writeln!(out, "  packet, vsock and Unix sockets are not looked for by this release")?;
    tell_events(&mut out, &examination.events)?;
    examination.boxes.tell(&mut out)?;
    writeln!(out, "\nSecond opinion (the crate netstat2, this network namespace only)")?;
    match &examination.second_opinion {
        Err(reason) => writeln!(out, "  none: {reason}")?,
        Ok(disagreements) if disagreements.is_empty() => writeln!(out, "  agrees")?,
        Ok(disagreements) => {
            for disagreement in disagreements {
                writeln!(out, "  {disagreement}")?;
            }
        }
    }
    Ok(())
}

/// What to do about privileges that this process lacks, to see with `verb` what they hide.
pub(crate) fn cure(verb: &str) -> anyhow::Result<Option<String>> {
    Ok(cure_of(verb, &sensor::privileges()?, rustix::process::geteuid().is_root()))
}

fn cure_of(verb: &str, privileges: &[Privilege], is_root: bool) -> Option<String> {
    let lacking = privileges.iter().filter(|privilege| !privilege.held);
    let lacking: Vec<&str> = lacking.map(|privilege| privilege.name).collect();
    match (lacking.is_empty(), is_root) {
        (true, _) => None,
        (false, false) => Some(format!("To see the rest run as root: sudo portledger {verb}.")),
        (false, true) => Some(format!(
            "This is root already: the container or unit that it runs in has to give {}.",
            lacking.join(", ")
        )),
    }
}

fn tell_events(out: &mut impl Write, events: &EventReport) -> std::io::Result<()> {
    writeln!(out, "\nEvents: {}", meaning(events.source))?;
    for hook in &events.hooks {
        match &hook.refused {
            None => writeln!(out, "  ok       {}", hook.name)?,
            Some(reason) => writeln!(out, "  refused  {}: {reason}", hook.name)?,
        }
    }
    writeln!(out, "  Only a look tells of {UNTOLD}")
}

fn meaning(source: EventSource) -> &'static str {
    match source {
        EventSource::Bpf => "bpf, the kernel tells opens and closes as they happen",
        EventSource::Tracepoint => "tracepoint, the kernel tells those of TCP; others are polled for",
        EventSource::Perf => "perf, a TCP socket that opens calls for a look; others are polled for",
        EventSource::Polls => "polls, what opens and closes between two looks of `serve` can be missed",
    }
}

fn unit(scope: Scope) -> &'static str {
    match scope {
        Scope::Sockets => "socket tables",
        Scope::Holders => "processes' descriptors",
        Scope::Namespaces => "network namespaces",
        Scope::Addresses => "namespaces' addresses",
        Scope::Events => "kinds of news that the kernel tells by itself",
    }
}

fn document(examination: &Examination) -> Value {
    let privileges = examination.privileges.iter();
    let privileges: Vec<_> = privileges
        .map(
            |privilege| json!({"name": privilege.name, "held": privilege.held, "without": privilege.without}),
        )
        .collect();
    let protocols: Vec<_> = examination.protocols.iter().map(|protocol| protocol.as_str()).collect();
    let shares = Scope::ALL.map(|scope| {
        let share = examination.inventory.coverage.shares.of(scope);
        json!({"scope": scope.as_str(), "seen": share.seen, "of": share.of})
    });
    let second_opinion = match &examination.second_opinion {
        Err(reason) => json!({"had": false, "reason": reason}),
        Ok(found) => {
            let told: Vec<_> = found.iter().map(ToString::to_string).collect();
            json!({"had": true, "disagreements": told})
        }
    };
    let hooks = examination.events.hooks.iter();
    let hooks: Vec<_> = hooks.map(|hook| json!({"name": hook.name, "refused": hook.refused})).collect();
    let gaps =
        serde_json::to_value(exporter::gaps_document(&examination.inventory.coverage)).unwrap_or_default();
    json!({
        "schema": 1,
        "host": examination.inventory.host.to_string(),
        "privileges": privileges,
        "protocols": protocols,
        "coverage": shares,
        "events": {"source": examination.events.source.as_str(), "hooks": hooks},
        "gaps": gaps,
        "second_opinion": second_opinion,
        "confinement": examination.boxes.document(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_not_told_to_become_root() {
        let privilege = |held| Privilege { name: "CAP_BPF", held, without: "" };
        assert_eq!(cure_of("learn", &[privilege(true)], false), None);
        let of_user = cure_of("learn", &[privilege(false)], false).unwrap();
        assert!(of_user.ends_with("sudo portledger learn."), "{of_user}");
        let of_root = cure_of("learn", &[privilege(false)], true).unwrap();
        assert!(of_root.ends_with("has to give CAP_BPF."), "{of_root}");
    }
}
