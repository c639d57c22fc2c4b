use std::net::SocketAddr;
use std::path::PathBuf;

use baseline::Wanted;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use ledger::{ActKind, Head, LineHash};

use crate::audit::Moment;
use crate::filter::Filter;
use crate::list::SortKey;

/// What listens on this host, who holds it, who can reach it, and whether somebody approved it.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "\
A first hour:
  portledger list                        what listens now
  portledger learn                       write down what listens as the baseline
  portledger diff                        what listens and is not in the baseline
  portledger watch                       what begins to listen, and ends, from now on
  portledger approve ID --reason TEXT    add it to the baseline
  portledger serve                       do it all the time, for Prometheus")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Flags of every verb.
#[derive(Args, Clone, Debug)]
pub(crate) struct Shared {
    /// Configuration [default: /etc/portledger/portledger.toml as root, else $XDG_CONFIG_HOME/portledger/portledger.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Baseline, in place of baseline.toml and baseline.d/ beside the configuration; may be given several times
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) baseline: Vec<PathBuf>,
    /// What the daemon keeps over restarts [default: /var/lib/portledger as root, else $XDG_STATE_HOME/portledger]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show what listens: as `ss -tulpn`, with namespaces, containers, reach and approval
    ///
    /// Exit status: 0 listed, also where not all was seen, 2 failed, also where the baseline cannot be used.
    List(ListOptions),
    /// Show what differs from the baseline
    ///
    /// Exit status: 0 no drift, 1 drift, 2 failed, 3 no drift in what was seen, but sockets or holders were not all seen.
    /// Drift that is gone is shown and does not count.
    Diff(DiffOptions),
    /// Show all there is to know of a service, a drift or an approval
    ///
    /// Who holds it, who can reach it, what the baseline says and why, what to do next, and what is logged of it.
    ///
    /// Exit status: 0 shown, 1 nothing is known of it, 2 failed, also where the baseline cannot be used.
    #[command(after_help = "\
Examples:
  portledger show 8443                  whatever is bound to port 8443
  portledger show udp/127.0.0.1:53      or tcp/*:443, [::1]:631
  portledger show s1-3f2a91c04d         a service or drift: 11 characters and more of its id
  portledger show nginx                 an approval
  portledger show nginx --text          what its signature was made over:
    portledger show nginx --signature > sig
    portledger show nginx --text | ssh-keygen -Y verify -f /etc/portledger/allowed_signers \\
      -I alice@example.org -n approval@portledger -s sig")]
    Show(ShowOptions),
    /// Write a baseline from what listens now
    ///
    /// What it writes counts as learned, not as approved: read it, and give each entry a reason.
    ///
    /// With --from it learns from what many hosts printed with `portledger list --format json`: what is alike on several is
    /// one approval, for the groups that have it, else for the hosts. What the baseline around the file, or else that of
    /// the current folder, covers already is left out.
    ///
    /// Exit status: 0 written or printed, 2 failed.
    #[command(after_help = "\
Example:
  portledger learn --from 'inv/*.json' --file baseline.d/learned.toml")]
    Learn(LearnOptions),
    /// Add drift to the baseline, or sign an approval that stands there
    ///
    /// It looks again, and refuses what is no longer as it was shown. Where the configuration names approvers
    /// (`signatures`, allowed_signers), the approval is signed with an SSH key: --key, or one of the SSH agent's.
    ///
    /// On a host it is written to baseline.d/90-local.toml, where it holds for 90 days unless --for says otherwise.
    ///
    /// Exit status: 0 approved, or written to wait for another approver; 2 failed.
    #[command(after_help = "\
Examples:
  portledger approve s1-3f2a --reason 'metrics of the new pool' --ticket OPS-17 --for 30d
  portledger approve nginx postgres --reason reviewed       what `learn` wrote, once it was read
  portledger approve s1-3f2a --reason 'rollout' --inventory web-017.json --hosts @web --file baselines/web.toml")]
    Approve(ApproveOptions),
    /// Sign what somebody else approved, where the configuration asks for two
    ///
    /// Exit status: 0 signed, 2 failed.
    Countersign(CountersignOptions),
    /// Let drift be that is gone, without approving it
    ///
    /// It closes at once, and opens again if it comes back. What is there cannot be dismissed: approve it, or end it.
    ///
    /// Exit status: 0 dismissed, 2 failed.
    Dismiss(DismissOptions),
    /// Take an approval out of the baseline
    ///
    /// One that is signed never counts again, wherever it is pasted: its id and serial stay behind in a [[revoked]].
    ///
    /// Exit status: 0 revoked, 2 failed.
    Revoke(RevokeOptions),
    /// Work on baselines as files: in git, for many hosts
    #[command(subcommand)]
    Baseline(BaselineVerb),
    /// Show approvals that somebody should look at again
    ///
    /// Those that matched nothing for long, that end soon or have ended, that were learned and never approved, that are not
    /// signed. What matched is remembered by `serve`; what it watched for a shorter time is too young to tell.
    ///
    /// Exit status: 0 nothing to review, 1 something, 2 failed.
    #[command(after_help = "\
Examples:
  portledger review --unused 30d
  portledger review --format json | jq -r '.approvals[] | select(.unused).approval'")]
    Review(ReviewOptions),
    /// Show who approved and revoked what, and whether the record of it is whole
    ///
    /// It reads the ledger of this host, or of a bundle (--from), and verifies its hashes and signatures while it does. Its
    /// last line, on the standard error, says how many records there are and who signed them, or which is the first that
    /// nothing vouches for.
    ///
    /// Exit status: 0 the log is whole, 1 it is broken, 2 failed, also where it cannot be read.
    #[command(args_conflicts_with_subcommands = true)]
    #[command(after_help = "\
Examples:
  portledger audit --since 7d                              acts of the last week
  portledger audit --user alice --act approve --act revoke
  portledger audit --endpoint tcp/8443                     all acts about a port
  portledger audit --endpoint tcp/8443 --at 2026-03-14     who had approved it then, and why
  portledger audit --person alice --format json            everything that is stored about somebody
  portledger audit --verify                                all three logs
  portledger audit export --to web-17.bundle               for an auditor
  portledger audit verify web-17.bundle --host-keys web-17.pub
  portledger audit --from web-17.bundle --host-keys web-17.pub --since 2026-01-01")]
    Audit(Box<AuditOptions>),
    /// Write baseline, configuration, logs and open drift into one file
    ///
    /// It is signed with the host's key, and holds no private key: what `restore` needs, and what an auditor can read with
    /// `audit --from`.
    ///
    /// Exit status: 0 written, 1 written, but a log in it is broken, 2 failed.
    Backup(BackupOptions),
    /// Put back what `backup` wrote
    ///
    /// The whole file is verified before anything is written. A host that was set up anew makes a new key, and its first
    /// record says what was restored from where. One that is ended in the middle is completed by running it again.
    ///
    /// Exit status: 0 restored, or shown with --dry-run, 2 failed; nothing was changed, unless it says so.
    #[command(after_help = "\
Examples:
  portledger restore web-17.bundle --host-keys web-17.pub --dry-run
  portledger restore web-17.bundle --host-keys web-17.pub")]
    Restore(RestoreOptions),
    /// Show opens and closes as they happen
    ///
    /// It says on the standard error how much listened before and how it learns of more, then prints a line for each
    /// socket that begins to listen, listens otherwise, or ends. A time with `~` is that of the look which found it. What
    /// was there before is not printed, until it changes or closes (`before` in place of how long it listened).
    ///
    /// The baseline is read at the start and at SIGHUP. Events that were lost are told on the standard error.
    ///
    /// Exit status: 0 ended by Ctrl-C, --for, --count or the reader of the output, 2 failed.
    #[command(after_help = "\
Examples:
  portledger watch --filter verdict=drift         what the baseline does not approve
  portledger watch --filter port=8000-8999 --for 10m
  portledger watch --format json --count 1 --filter program=*/nginx | jq .holders")]
    Watch(WatchOptions),
    /// Look all the time, and serve metrics, drift and inventory over HTTP
    ///
    /// Exit status: 0 ended by a signal, 2 failed.
    Serve(ServeOptions),
    /// The half of `serve` that needs privileges; writes frames to its standard output
    #[command(hide = true)]
    Sensor(SensorOptions),
    /// Starts the sensor, and starts it again when it ends
    #[command(hide = true)]
    Keeper,
    /// Loads BPF programs for the process that started it
    #[command(hide = true)]
    Loader(LoaderOptions),
    /// Tell what this host lets us see, and how to see the rest
    ///
    /// Exit status: 0 all is seen, 1 a second opinion differs from what we see, 2 failed, 3 something is not seen.
    Doctor(DoctorOptions),
}

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
pub(crate) struct ShowOptions {
    /// Id of a service, a drift or an approval, or an endpoint; all that matches is shown
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
pub(crate) struct LearnOptions {
    /// Print the baseline instead of writing it
    #[arg(long)]
    pub(crate) stdout: bool,
    /// What hosts printed with `list --format json`, in place of a look at this one: files, or a pattern in quotes; may be
    /// given several times
    #[arg(long, value_name = "FILES", num_args = 1..)]
    pub(crate) from: Vec<String>,
    /// With --from: file to write, which is not there yet [default: the first of the baseline]
    #[arg(long, value_name = "FILE", requires = "from", conflicts_with = "stdout")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct ApproveOptions {
    /// Ids of drift, as `diff` shows them, or of approvals that are learned, expired or not signed
    #[arg(required = true, value_name = "ID")]
    pub(crate) id: Vec<String>,
    /// Why it may listen; an auditor reads this
    #[arg(long)]
    pub(crate) reason: String,
    /// How long it may: 30d, 12h, 8w, never for without end
    #[arg(long = "for", value_name = "TIME", value_parser = lifetime)]
    pub(crate) lifetime: Option<Lifetime>,
    /// Hosts that it holds for: names with wildcards, or @group; may be given several times [default: all that read the file]
    #[arg(long, value_name = "HOSTS")]
    pub(crate) hosts: Vec<String>,
    /// Ticket that the decision was taken in
    #[arg(long)]
    pub(crate) ticket: Option<String>,
    /// File of the baseline to write into [default: baseline.d/90-local.toml, or the first that --baseline names]
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Approve what another host listed, as `list --format json` printed it there; wants --file
    #[arg(long, value_name = "FILE", requires = "file")]
    pub(crate) inventory: Option<PathBuf>,
    /// Name of the approval in the baseline [default: made from the program]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Write it without a signature, for an approver to sign
    #[arg(long, conflicts_with = "key")]
    pub(crate) propose: bool,
    #[command(flatten)]
    pub(crate) signing: SigningOptions,
}

/// How long an approval holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    Ever,
    For(std::time::Duration),
}

#[derive(Args, Debug)]
pub(crate) struct SigningOptions {
    /// SSH key to sign with: a private key, or a public one whose private half the agent has [default: the agent's first that may]
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Whose name the signature stands for [default: the key's principal in allowed_signers]
    #[arg(long, value_name = "NAME")]
    pub(crate) principal: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct CountersignOptions {
    /// Ids of approvals, as `diff` names them
    #[arg(required = true, value_name = "APPROVAL")]
    pub(crate) approval: Vec<String>,
    /// Why; an auditor reads this
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// File of a checkout that holds them [default: the installed baseline]
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) signing: SigningOptions,
}

#[derive(Args, Debug)]
pub(crate) struct DismissOptions {
    /// Ids of drift that is gone, as `diff` shows them
    #[arg(required = true, value_name = "ID")]
    pub(crate) id: Vec<String>,
    /// Why nobody need look into it; an auditor reads this
    #[arg(long)]
    pub(crate) reason: String,
    /// Ticket that the decision was taken in
    #[arg(long)]
    pub(crate) ticket: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct RevokeOptions {
    /// Id of an approval, as the baseline has it
    pub(crate) approval: String,
    /// File of a checkout that holds it [default: the installed baseline]
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Why; an auditor reads this
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Ticket that the decision was taken in
    #[arg(long)]
    pub(crate) ticket: Option<String>,
}

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
    /// What was approved of --endpoint at this time, by whom and why; of a day, at its end
    #[arg(long, value_name = "TIME", requires = "endpoint")]
    #[arg(conflicts_with_all = ["user", "since", "until", "act", "approval", "limit", "person", "verify"])]
    pub(crate) at: Option<Moment>,
    /// Everything that is stored about somebody: user, uid, principal or key
    #[arg(long, value_name = "NAME")]
    #[arg(conflicts_with_all = ["user", "since", "until", "act", "endpoint", "approval", "limit", "verify"])]
    pub(crate) person: Option<String>,
    /// Only verify: ledger, events and reloads, a line for each
    #[arg(long, conflicts_with_all = ["user", "since", "until", "act", "endpoint", "approval", "limit"])]
    pub(crate) verify: bool,
    /// The ledger must have this record: `head` of an earlier run. A cut off end is found by it alone
    #[arg(long, value_name = "RECORD:HASH", value_parser = head, conflicts_with_all = ["at", "person"])]
    pub(crate) head: Option<Head>,
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
    /// Exit status: 0 whole and signed by a key of --host-keys, 1 not so, 2 failed.
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

#[derive(Args, Debug)]
pub(crate) struct ServeOptions {
    /// Address to serve on; may be given several times
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = "127.0.0.1:10433")]
    #[arg(value_parser = listen_address)]
    pub(crate) listen: Vec<SocketAddr>,
    /// Path of the metrics
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path)]
    pub(crate) telemetry_path: String,
    /// Also export a series for each listener
    #[arg(long = "metrics.listener-info")]
    pub(crate) listener_info: bool,
}

#[derive(Args, Debug)]
pub(crate) struct SensorOptions {
    /// Another sensor ended before this one began
    #[arg(long)]
    pub(crate) again: bool,
}

#[derive(Args, Debug)]
pub(crate) struct LoaderOptions {
    /// Also what tells opens and closes
    #[arg(long)]
    pub(crate) events: bool,
}

#[derive(Args, Debug)]
pub(crate) struct DoctorOptions {
    /// A report for people, or JSON for programs
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: ReportFormat,
}

fn head(text: &str) -> Result<Head, String> {
    let read = |text: &str| {
        let (record, hash) = text.split_once(':')?;
        Some(Head { record: record.parse().ok()?, hash: LineHash::try_from(hash.to_owned()).ok()? })
    };
    read(text).ok_or_else(|| "not RECORD:HASH, as `audit` ends with it".to_owned())
}

fn act_kind() -> impl TypedValueParser<Value = ActKind> {
    let words = PossibleValuesParser::new(ActKind::ALL.map(ActKind::as_str));
    words.try_map(|word| {
        let known = ActKind::ALL.into_iter().find(|kind| kind.as_str() == word);
        known.ok_or_else(|| format!("`{word}` is no act"))
    })
}

fn lifetime(text: &str) -> Result<Lifetime, String> {
    match text {
        "never" => Ok(Lifetime::Ever),
        time => crate::config::duration(time).map(Lifetime::For),
    }
}

/// As exporters write it: `:9100` is every address.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
    full.parse().map_err(|_| "not ADDRESS:PORT, as in 127.0.0.1:10433, [::1]:10433 or :10433".to_owned())
}

fn telemetry_path(text: &str) -> Result<String, String> {
    let fits = text.starts_with('/')
        && text.len() > 1
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_-.".contains(&byte));
    let taken = text.starts_with("/-/") || text.starts_with("/api/");
    if fits && !taken { Ok(text.to_owned()) } else { Err("not a path such as /metrics".to_owned()) }
}
