use std::path::PathBuf;

use baseline::Severity;
use clap::{Args, ValueEnum};

use crate::filter::Filter;
use crate::list::SortKey;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
    Csv,
}

#[derive(Args, Debug)]
pub(crate) struct ListOptions {
    /// Tables for people, JSON and CSV for programs
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Format,
    /// Order of the rows
    #[arg(long, value_enum, default_value = "port")]
    pub(crate) sort: SortKey,
    /// Only what matches `KEY=VALUE[,VALUE]`; may be given several times, and then all must match
    ///
    /// Keys: port (number or range), protocol, address, program, name, user, workload, netns, reach, verdict. Values
    /// are globs: `program=*/nginx`, `reach=public,private`, `port=8000-8999`, `verdict=drift`.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<Filter>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    Table,
    Json,
}

#[derive(Args, Debug)]
pub(crate) struct DiffOptions {
    /// A report for people, or JSON for programs
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: ReportFormat,
}

#[derive(Args, Debug)]
pub(crate) struct NotifyOptions {
    /// Where the daemon answers users of this host: `api_socket` of its configuration
    #[arg(long, value_name = "PATH", default_value = "/run/portledger/api.sock")]
    pub(crate) socket: PathBuf,
    /// The least severity that is shown
    #[arg(long, value_name = "SEVERITY", default_value = "warning", value_parser = severity)]
    pub(crate) severity: Severity,
    /// Address of the daemon's pages, where it does not know its own (`serve --web.external-url`)
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:10433", value_parser = super::serving::external_url)]
    pub(crate) url: String,
}

#[derive(Args, Debug)]
pub(crate) struct ShowOptions {
    /// Id of a service, a drift, an alert of many or an approval, or an endpoint; all that matches is shown
    #[arg(value_name = "ID|ENDPOINT")]
    pub(crate) what: String,
    /// A report for people, or JSON for programs
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: ReportFormat,
    /// Print the text that signs an approval, byte for byte, and nothing else
    #[arg(long, conflicts_with_all = ["signature", "format"])]
    pub(crate) text: bool,
    /// Print the signature of an approval as ssh-keygen writes it, and nothing else
    #[arg(long, conflicts_with = "format")]
    pub(crate) signature: bool,
    /// With --text or --signature: of the countersignature by this person
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct WatchOptions {
    /// A line for people, or a JSON object a line for programs
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: ReportFormat,
    /// Only what matches `KEY=VALUE[,VALUE]`, as in `list`; may be given several times, and then all must match
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<Filter>,
    /// End after this time: 90s, 5m, 12h
    #[arg(long = "for", value_name = "TIME", value_parser = crate::config::duration)]
    pub(crate) lasting: Option<std::time::Duration>,
    /// End after so many lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct ReviewOptions {
    /// Those that matched nothing for this time of watching
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = crate::config::duration)]
    pub(crate) unused: std::time::Duration,
    /// Those that end within this time
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = crate::config::duration)]
    pub(crate) expiring: std::time::Duration,
    /// A report for people, or JSON for programs
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: ReportFormat,
}

#[derive(Args, Debug)]
pub(crate) struct DoctorOptions {
    /// A report for people, or JSON for programs
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: ReportFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PageFormat {
    #[value(alias = "text")]
    Table,
    Json,
    Html,
}

#[derive(Args, Debug)]
pub(crate) struct ReportOptions {
    /// A report for people, JSON for programs, or a page that prints
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: PageFormat,
}

fn severity(text: &str) -> Result<Severity, String> {
    let known = Severity::ALL.into_iter().find(|known| known.as_str() == text);
    known.ok_or_else(|| "one of info, warning, critical".to_owned())
}
