use std::collections::BTreeSet;
use std::time::Duration;

use baseline::{Severity, Verdict};
use exporter::Witnessed;
use inventory::{Happening, NetNsKind, Workload};
use jiff::tz::TimeZone;

use crate::table::Row;

/// Where columns begin: what is longer moves the rest of its line. Eighty in all, with a short name at the end.
const COLUMNS: [usize; 6] = [13, 7, 5, 18, 8, 10];

/// Lines for people.
pub(crate) struct Lines {
    pub(crate) coloured: bool,
    pub(crate) zone: TimeZone,
}

impl Lines {
    pub(crate) fn header() -> String {
        columns(["TIME", "WHAT", "PROTO", "LISTENS ON", "REACH", "VERDICT"].map(str::to_owned), "HELD BY")
    }

    pub(crate) fn line(&self, witnessed: &Witnessed) -> String {
        let row = row(witnessed);
        let cells = [
            self.time(witnessed),
            what(witnessed).to_owned(),
            row.listener.endpoint.protocol.to_string(),
            row.place(),
            row.listener.reach.to_string(),
            row.said(),
        ];
        self.dyed(columns(cells, &last(witnessed, &row)), &row)
    }

    /// Local time; with `~` where it is that of a look.
    fn time(&self, witnessed: &Witnessed) -> String {
        let about = if witnessed.by_look { "~" } else { "" };
        // Beyond the year 9999: a clock that lies.
        let Ok(time) = jiff::Timestamp::try_from(witnessed.at()) else { return "?".to_owned() };
        format!("{}{about}", time.to_zoned(self.zone.clone()).strftime("%H:%M:%S%.3f"))
    }

    fn dyed(&self, line: String, row: &Row<'_>) -> String {
        let colour = match row.verdict {
            Verdict::Drift(finding) if self.coloured => match finding.severity {
                Severity::Critical => "\x1b[31m",
                Severity::Warning => "\x1b[33m",
                Severity::Info => return line,
            },
            _ => return line,
        };
        format!("{colour}{line}\x1b[0m")
    }
}

/// As `list` would show it.
pub(crate) fn row(witnessed: &Witnessed) -> Row<'_> {
    Row {
        listener: witnessed.listener(),
        service: witnessed.service.as_ref(),
        verdict: &witnessed.verdict,
        accounts: &witnessed.accounts,
    }
}

fn what(witnessed: &Witnessed) -> &'static str {
    match witnessed.what {
        Happening::Opened(_) => "opened",
        Happening::Changed { .. } => "changed",
        Happening::Closed { .. } => "closed",
    }
}

/// Who holds it, and whatever else there is to say.
fn last(witnessed: &Witnessed, row: &Row<'_>) -> String {
    let listener = row.listener;
    let mut words = row.held_by();
    let workloads = listener.holders.known().iter().filter_map(|holder| of_workload(&holder.workload));
    words.extend(workloads.collect::<BTreeSet<_>>());
    if listener.netns.kind != NetNsKind::Host {
        words.push(format!("in {}", listener.netns));
    }
    match &witnessed.what {
        Happening::Opened(_) => {}
        Happening::Changed { .. } => words.push(format!("changed {}", witnessed.differences().join(" "))),
        Happening::Closed { .. } => words.push(match witnessed.lived() {
            Some(lived) => format!("lived {}", span(lived)),
            None => "before".to_owned(),
        }),
    }
    words.join(", ")
}

fn of_workload(workload: &Workload) -> Option<String> {
    let name = workload.stable_name()?;
    Some(match workload {
        Workload::Session(_) => name.escaped(),
        _ => format!("{} {}", workload.kind(), name.quoted()),
    })
}

/// Three digits and a unit, or two units.
fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 if span.as_millis() < 1 => format!("{} µs", span.as_micros()),
        0 if span.as_millis() < 10 => format!("{:.1} ms", span.as_secs_f64() * 1e3),
        0 => format!("{} ms", span.as_millis()),
        1..60 => format!("{:.1} s", span.as_secs_f64()),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

fn columns(cells: [String; 6], last: &str) -> String {
    let mut line = String::new();
    let mut end = 0;
    for (cell, width) in cells.iter().zip(COLUMNS) {
        line += cell;
        end += width + 1;
        let missing = end.saturating_sub(line.chars().count()).max(1);
        line.extend(std::iter::repeat_n(' ', missing));
    }
    line += last;
    line
}

#[cfg(test)]
mod tests;
