use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ReportFormat;

#[derive(Debug, Subcommand)]
pub(crate) enum BaselineVerb {
    /// Say what is wrong with a baseline, and what deserves a look
    ///
    /// It looks at no host and wants no configuration: run it before each commit, and in continuous integration. It warns of
    /// approvals that another one covers, of groups that only one place names and that look like a slip, of what has
    /// expired or will within 30 days, of what was learned and not approved, and of what lacks a reason or an author.
    ///
    /// Exit status: 0 good, 1 mistakes, or with --strict warnings, 2 it could not be read.
    Check(CheckOptions),
    /// Say why something is approved, or is not
    ///
    /// For each service on an endpoint: its verdict, and which approvals speak of it. Of each that does not cover it, in what
    /// it differs; also those for other hosts, protocols and namespaces.
    ///
    /// Exit status: 0 shown, 1 nothing listens there (what speaks of it is shown), 2 failed.
    #[command(after_help = "\
Examples:
  portledger baseline explain 8443
  portledger baseline explain udp/127.0.0.1:53
  portledger baseline explain s1-02b4f... --inventory inv/web-017.json")]
    Explain(ExplainOptions),
    /// Show which verdicts a change of the baseline changes, on which hosts
    ///
    /// What many hosts printed with `portledger list --format json` is judged by both baselines. New drift comes first;
    /// what stays as it was is not listed.
    ///
    /// Exit status: 0 nothing gets worse, 1 something becomes drift, or graver, 2 failed, 3 nothing gets worse in what was
    /// seen, but the inventories have gaps.
    #[command(after_help = "\
Example:
  git worktree add /tmp/before main
  portledger baseline plan --old /tmp/before --new . --inventory 'inv/*.json'")]
    Plan(PlanOptions),
    /// Write files of a baseline in their one form: order of keys, lists, quotes, blanks
    ///
    /// Comments stay, as does the order of approvals; a file that would mean something else afterwards is left alone.
    ///
    /// Exit status: 0 done, 1 with --check some file is not in that form, 2 failed.
    Format(FormatOptions),
}

#[derive(Args, Debug)]
pub(crate) struct CheckOptions {
    /// Folders with baseline.toml and baseline.d/*.toml, each a baseline of its own, or files that are one together
    /// [default: the current folder if it is one, else what is installed]
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// A report for people, or JSON for programs
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: ReportFormat,
    /// Warnings fail too
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ExplainOptions {
    /// `8443`, `tcp/8443`, `udp/127.0.0.1:53`, `[::1]:631`, or the id of a service or drift
    pub(crate) endpoint: baseline::Sought,
    /// What a host printed with `list --format json`, in place of a look at this one
    #[arg(long, value_name = "FILE")]
    pub(crate) inventory: Option<PathBuf>,
    /// A report for people, or JSON for programs
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: ReportFormat,
}

#[derive(Args, Debug)]
pub(crate) struct PlanOptions {
    /// Folder of the baseline as it is
    #[arg(long, value_name = "DIR")]
    pub(crate) old: PathBuf,
    /// Folder of the baseline as it is to be
    #[arg(long, value_name = "DIR")]
    pub(crate) new: PathBuf,
    /// What hosts printed with `list --format json`: files, or a pattern in quotes; may be given several times
    #[arg(long, value_name = "FILES", required = true, num_args = 1..)]
    pub(crate) inventory: Vec<String>,
    /// A report for people, or JSON for programs
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: ReportFormat,
}

#[derive(Args, Debug)]
pub(crate) struct FormatOptions {
    /// Folders with baseline.toml and baseline.d/*.toml, or files [default: the current folder if it is one, else what is
    /// installed]
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Write nothing, and name the files that are not in that form
    #[arg(long)]
    pub(crate) check: bool,
}
