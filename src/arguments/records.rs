use std::path::PathBuf;

use baseline::Wanted;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use ledger::ActKind;

use super::ReportFormat;
use crate::audit::{Moment, Remembered};

#[derive(Args, Debug)]
pub(crate) struct AuditOptions {
    #[command(subcommand)]
    pub(crate) verb: Option<AuditVerb>,
    /// Only acts of this user, principal or key (SHA256:...)
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Only from then on: 2026-03-14T09:00:00Z, 2026-03-14, or 7d for as long ago
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Moment>,
    /// Only until then; a day counts whole
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Moment>,
    /// Only acts of this kind; may be given several times
    #[arg(long, visible_alias = "kind", value_name = "KIND", value_parser = act_kind())]
    pub(crate) act: Vec<ActKind>,
    /// Only what is about this endpoint: tcp/8443, 8443, tcp/127.0.0.1:8443, an address
    #[arg(long, value_name = "ENDPOINT")]
    pub(crate) endpoint: Option<Wanted>,
    /// Only what is about the approval with this id
    #[arg(long, value_name = "ID")]
    pub(crate) approval: Option<String>,
    /// The newest so many of them
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// What was approved of --endpoint at this time, by whom and why, from acts and reloads of `serve`; of a day, at its end.
    /// Exit status: 0 both logs are whole, 1 one is broken, 2 failed
    #[arg(long, value_name = "TIME", requires = "endpoint")]
    #[arg(conflicts_with_all = ["user", "since", "until", "act", "approval", "limit", "person", "verify"])]
    pub(crate) at: Option<Moment>,
    /// Everything that is stored about somebody: user, uid, principal or key
    #[arg(long, value_name = "NAME")]
    #[arg(conflicts_with_all = ["user", "since", "until", "act", "endpoint", "approval", "limit", "verify"])]
    pub(crate) person: Option<String>,
    /// Only verify: ledger, events, reloads, logins and alerts, a line for each
    #[arg(long, conflicts_with_all = ["user", "since", "until", "act", "endpoint", "approval", "limit"])]
    pub(crate) verify: bool,
    /// The ledger must have this record: `head` of an earlier run, or portledger_log_records and portledger_log_head in
    /// hexadecimal (`printf %012x`)
    #[arg(long, value_name = "RECORD:HASH", conflicts_with_all = ["at", "person"])]
    pub(crate) head: Option<Remembered>,
    /// A table for people, or a JSON object a line for programs
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: ReportFormat,
    /// Read a bundle of `audit export` or `backup` in place of this host's logs
    #[arg(long, value_name = "BUNDLE", requires = "host_keys")]
    pub(crate) from: Option<PathBuf>,
    /// Public keys of the host that the bundle is of: its ledger.key.pub, fetched before
    #[arg(long, value_name = "FILE", requires = "from")]
    pub(crate) host_keys: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditVerb {
    /// Write the three logs and the public keys into one file that the host signs
    ///
    /// Exit status: 0 written, 1 written, but a log in it is broken, 2 failed.
    Export(ExportOptions),
    /// Verify a bundle on any machine: no root and no configuration is needed
    ///
    /// Exit status: 0 whole and signed by a key of --host-keys, 1 not so, 2 failed: it cannot be read or is no bundle.
    Verify(VerifyOptions),
}

#[derive(Args, Debug)]
pub(crate) struct ExportOptions {
    /// File to write, which must not be there yet
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyOptions {
    /// What `audit export` or `backup` wrote
    pub(crate) bundle: PathBuf,
    /// Public keys of the host: its ledger.key.pub, fetched before, as over ssh
    #[arg(long, value_name = "FILE")]
    pub(crate) host_keys: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct BackupOptions {
    /// File to write, which must not be there yet
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct RestoreOptions {
    /// What `backup` wrote
    pub(crate) backup: PathBuf,
    /// Public keys of the host: its ledger.key.pub [default: that of this host's state folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) host_keys: Option<PathBuf>,
    /// Show what would be written where
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Put a ledger aside that says something else than the one in the backup
    #[arg(long)]
    pub(crate) replace: bool,
}

fn act_kind() -> impl TypedValueParser<Value = ActKind> {
    let words = PossibleValuesParser::new(ActKind::ALL.map(ActKind::as_str));
    words.try_map(|word| {
        let known = ActKind::ALL.into_iter().find(|kind| kind.as_str() == word);
        known.ok_or_else(|| format!("`{word}` is no act"))
    })
}

#[derive(Args, Debug)]
pub(crate) struct HistoryOptions {
    /// Only this: an endpoint, or the id of a service, a drift or an approval, with what the logs have of it
    #[arg(value_name = "ENDPOINT|ID")]
    pub(crate) what: Option<String>,
    /// Only services of which something is new since then: 7d, 2026-03-14, 2026-03-14T09:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Moment>,
    /// A report for people, or JSON for programs
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: ReportFormat,
}
