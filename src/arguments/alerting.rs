use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ReportFormat;

#[derive(Debug, Subcommand)]
pub(crate) enum AlertsVerb {
    /// Post a harmless alert to the receivers that portledger.toml names, and tell what each answered
    ///
    /// It is called PortledgerTest, of severity info, and ends by itself within 5 minutes. It asks each once, from this
    /// command: `serve` need not run, and is told nothing.
    ///
    /// Exit status: 0 each took it, 2 one did not, or it failed.
    Test(AlertsTestOptions),
    /// Show whom the running daemon posts to, how that goes, and what waits
    ///
    /// Exit status: 0 told, 1 a receiver could not be told of late, 2 failed.
    Status(AlertsStatusOptions),
}

#[derive(Args, Debug)]
pub(crate) struct AlertsTestOptions {
    /// Only this one
    #[arg(long, value_name = "NAME")]
    pub(crate) receiver: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct AlertsStatusOptions {
    /// Where the daemon answers users of this host: `api_socket` of its configuration
    #[arg(long, value_name = "PATH", default_value = "/run/portledger/api.sock")]
    pub(crate) socket: PathBuf,
    /// As lines for people, or as JSON
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: ReportFormat,
}
