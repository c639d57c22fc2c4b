//! The report that an auditor asks for: whether only approved services listen on a network interface.

mod acts;
mod decide;
mod html;
mod text;

use std::io::Write;

use baseline::git_commit;

use self::decide::{Made, Report, Ruling, Seen};
use crate::arguments::{PageFormat, ReportOptions, Shared};
use crate::judge;
use crate::outcome::Outcome;

/// What is answered, as the benchmark words it.
#[derive(Clone, Copy, Debug, serde::Serialize)]
struct Control {
    benchmark: &'static str,
    item: &'static str,
    title: &'static str,
    /// Where it can be read.
    source: &'static str,
}

/// Who is audited by another benchmark maps it: the title is the same, the number is not everywhere.
const CONTROL: Control = Control {
    benchmark: "CIS Debian Linux 12 Benchmark v1.1.0",
    item: "2.1.22",
    title: "Ensure only approved services are listening on a network interface",
    source: "https://workbench.cisecurity.org/benchmarks/18960",
};

/// Looks once, judges and writes the report to the standard output: it is the caller who opens a file for it.
pub(crate) fn run(shared: &Shared, options: &ReportOptions) -> anyhow::Result<Outcome> {
    let judgement = judge::once(shared)?;
    let acts = acts::read(&judgement.paths.state);
    let first = judgement.texts.iter().flatten().next();
    let made = Made {
        by: crate::signer::user(),
        version: env!("CARGO_PKG_VERSION"),
        git: first.and_then(|source| git_commit(&source.path)),
    };
    let seen = Seen {
        inventory: &judgement.inventory,
        assessment: &judgement.assessment,
        policy: &judgement.policy,
        texts: judgement.texts.as_deref(),
        now: judgement.now,
    };
    let report = Report::of(&seen, &acts, made);
    let mut output = std::io::stdout().lock();
    match options.format {
        PageFormat::Table => output.write_all(crate::say::harmless(&text::page(&report)).as_bytes())?,
        PageFormat::Html => output.write_all(html::page(&report).as_bytes())?,
        PageFormat::Json => {
            serde_json::to_writer_pretty(&mut output, &report)?;
            writeln!(output)?;
        }
    }
    output.flush()?;
    Ok(match report.result {
        Ruling::Pass => Outcome::Clean,
        Ruling::Fail => Outcome::Drift,
        Ruling::CannotBeSaid => Outcome::Partial,
    })
}
