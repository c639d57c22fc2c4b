use std::io::Write;
use std::time::SystemTime;

use baseline::{Diagnostic, LintCode, SourceText, Trust, lint, parse, shown_path};
use serde::Serialize;

use super::Repository;
use super::repository::tell_untrusted;
use crate::arguments::{CheckOptions, ReportFormat, Shared};
use crate::outcome::Outcome;

/// A table tells no more warnings of one sort than a person will read; JSON tells all.
const TOLD: usize = 50;

/// Says what is wrong with baselines, and what deserves a look.
pub(crate) fn run(shared: &Shared, options: &CheckOptions) -> anyhow::Result<Outcome> {
    let trust = crate::trust::of(shared)?;
    let mut found = Found::default();
    for repository in Repository::named(shared, &options.paths)? {
        let texts = repository.read()?;
        found.add(&texts, &trust, SystemTime::now());
        if options.format == ReportFormat::Table {
            tell_untrusted(&texts);
        }
    }
    let mut output = std::io::BufWriter::new(std::io::stdout().lock());
    match options.format {
        ReportFormat::Table => found.tell(&mut output)?,
        ReportFormat::Json => {
            serde_json::to_writer_pretty(&mut output, &found.document())?;
            writeln!(output)?;
        }
    }
    output.flush()?;
    let is_bad = found.mistakes() > 0 || options.strict && !found.told.is_empty();
    Ok(if is_bad { Outcome::Drift } else { Outcome::Clean })
}

/// What was found in all baselines.
#[derive(Default)]
struct Found {
    told: Vec<Told>,
    files: usize,
    approvals: usize,
}

struct Told {
    severity: &'static str,
    /// `None` of what the parser tells.
    code: Option<&'static str>,
    diagnostic: Diagnostic,
}

impl Found {
    fn add(&mut self, texts: &[SourceText], trust: &Trust, now: SystemTime) {
        self.files += texts.len();
        let of_parser = |severity| {
            move |diagnostic: &Diagnostic| Told { severity, code: None, diagnostic: diagnostic.clone() }
        };
        match parse(texts, trust) {
            Err(mistakes) => self.told.extend(mistakes.iter().map(of_parser("error"))),
            Ok(baseline) => {
                self.approvals += baseline.approvals().len();
                self.told.extend(baseline.warnings().iter().map(of_parser("warning")));
                let lints = lint(texts, &baseline, &trust.time_zone, now);
                self.told.extend(lints.into_iter().map(|lint| Told {
                    severity: if lint.code == LintCode::Untrusted { "error" } else { "warning" },
                    code: Some(lint.code.as_str()),
                    diagnostic: lint.diagnostic,
                }));
            }
        }
    }

    fn mistakes(&self) -> usize {
        self.told.iter().filter(|told| told.severity == "error").count()
    }

    fn tell(&self, output: &mut impl Write) -> anyhow::Result<()> {
        let mut counts = std::collections::BTreeMap::new();
        for told in &self.told {
            let count: &mut usize = counts.entry(told.code).or_default();
            *count += 1;
            if *count <= TOLD || told.severity == "error" {
                let mut diagnostic = told.diagnostic.clone();
                if told.severity == "warning" {
                    diagnostic.message.insert_str(0, "warning: ");
                }
                writeln!(output, "{diagnostic}")?;
            }
        }
        for (code, count) in counts {
            if let Some(more) = count.checked_sub(TOLD).filter(|more| *more > 0) {
                let sort = code.map(|code| format!(" `{code}`")).unwrap_or_default();
                writeln!(output, "and {more} more{sort}: `--format json` tells all")?;
            }
        }
        let mistakes = self.mistakes();
        writeln!(
            output,
            "{} in {}: {}, {}",
            counted(self.approvals, "approval"),
            counted(self.files, "file"),
            counted(mistakes, "mistake"),
            counted(self.told.len() - mistakes, "warning")
        )?;
        Ok(())
    }

    fn document(&self) -> Document {
        let entry = |told: &Told| Entry {
            path: shown_path(&told.diagnostic.path).escaped(),
            line: told.diagnostic.line,
            column: told.diagnostic.column,
            severity: told.severity,
            code: told.code,
            message: told.diagnostic.message.clone(),
        };
        Document {
            schema: 1,
            files: self.files,
            approvals: self.approvals,
            diagnostics: self.told.iter().map(entry).collect(),
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    files: usize,
    approvals: usize,
    diagnostics: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    path: String,
    line: usize,
    column: usize,
    severity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    message: String,
}
