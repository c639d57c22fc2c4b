//! What an alert tells as one: drifts that differ in port alone.

use std::io::Write;

use anyhow::{Context, bail};
use baseline::{Drift, Register, is_meant};
use exporter::id_together;
use inventory::RawText;

use crate::arguments::{ReportFormat, ShowOptions};
use crate::outcome::Outcome;
use crate::page::{Page, moment, shown};

/// Ports past these are counted, not shown.
const PORTS: usize = 100;

/// Shows what stands behind the id of many: of what `serve` knows, for a host is not looked at for that.
pub(super) fn show(register: Option<&Register>, options: &ShowOptions) -> anyhow::Result<Outcome> {
    if options.format == ReportFormat::Json {
        bail!("there is no JSON of what is told as one: `portledger diff --format json` has each");
    }
    let register = register.context("`portledger serve` keeps what is told as one, and has not run here")?;
    let id = options.what.as_str();
    let mut drifts: Vec<&Drift> =
        register.drifts().filter(|drift| is_meant(&id_together(drift), id)).collect();
    let Some(gravest) = drifts.first().copied() else {
        let id = RawText::from(id);
        crate::say::aside(format_args!("portledger: no drift is open that is told as `{id}`"));
        return Ok(Outcome::Drift);
    };
    drifts.retain(|drift| drift.crowd() == gravest.crowd());
    std::io::stdout().lock().write_all(page(gravest, &drifts).as_bytes())?;
    Ok(Outcome::Clean)
}

fn page(gravest: &Drift, drifts: &[&Drift]) -> String {
    let subject = &gravest.finding.subject;
    let mut page = Page::default();
    let there = drifts.iter().filter(|drift| drift.is_present()).count();
    page.heading(&format!("{} drifts that differ in port alone, {there} of them there", drifts.len()));
    let kind = gravest.finding.kind.as_str().replace('_', " ");
    page.line("drift", format!("{kind}, {}", gravest.finding.severity.as_str()));
    page.line("listens on", format!("{}/{}", subject.protocol, subject.address));
    page.lines("ports", [ports(drifts)]);
    page.lines("program", subject.programs.iter().map(RawText::escaped));
    page.lines("user", subject.users.iter().map(|user| shown(user)));
    page.lines("workload", subject.workloads.iter().map(RawText::escaped));
    if let Some(first) = drifts.iter().map(|drift| drift.first_seen).min() {
        page.line("first seen", moment(first));
    }
    let next = match there {
        0 => {
            format!(
                "`sudo portledger dismiss {} --reason TEXT`, once it is known what it was",
                id_together(gravest)
            )
        }
        _ => "find out who started it; `sudo portledger diff` has the id of each".to_owned(),
    };
    page.line("next", next);
    page.into_text()
}

/// Those that are gone in brackets.
fn ports(drifts: &[&Drift]) -> String {
    let mut drifts = drifts.to_vec();
    drifts.sort_by_key(|drift| drift.finding.subject.port);
    let shown = drifts.iter().take(PORTS).map(|drift| match drift.is_present() {
        true => drift.finding.subject.port.to_string(),
        false => format!("({})", drift.finding.subject.port),
    });
    let shown = shown.collect::<Vec<_>>().join(", ");
    let gone = if drifts.iter().all(|drift| drift.is_present()) { "" } else { "; in brackets what is gone" };
    match drifts.len().saturating_sub(PORTS) {
        0 => format!("{shown}{gone}"),
        more => format!("{shown} and {more} more{gone}"),
    }
}
