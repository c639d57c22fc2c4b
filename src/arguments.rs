mod alerting;
mod approving;
mod baseline;
mod checking;
mod looking;
mod records;
mod sensing;
mod serving;

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

pub(crate) use self::alerting::{AlertsStatusOptions, AlertsTestOptions, AlertsVerb};
pub(crate) use self::approving::{
    ApproveOptions, CountersignOptions, DismissOptions, LearnOptions, Lifetime, RevokeOptions, SigningOptions,
};
pub(crate) use self::baseline::{BaselineVerb, CheckOptions, ExplainOptions, FormatOptions, PlanOptions};
pub(crate) use self::checking::{HostCheckOptions, Manner};
pub(crate) use self::looking::{
    DiffOptions, DoctorOptions, Format, ListOptions, NotifyOptions, PageFormat, ReportFormat, ReportOptions,
    ReviewOptions, ShowOptions, WatchOptions,
};
pub(crate) use self::records::{
    AuditOptions, AuditVerb, BackupOptions, ExportOptions, HistoryOptions, RestoreOptions, VerifyOptions,
};
pub(crate) use self::serving::{LoaderOptions, SensorOptions, ServeOptions};

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
  portledger serve                       do it all the time, for Prometheus
  portledger check                       ask it how the host stands, for monitoring")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

impl Arguments {
    /// Reads the command line.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        Arguments::try_parse()
    }
}

/// For which monitoring the command line asks for `check`, also where it is not understood; `None` where it asks for
/// another verb.
pub(crate) fn are_of_check() -> Option<Manner> {
    let lenient = Arguments::command().ignore_errors(true).disable_help_flag(true).disable_version_flag(true);
    lenient.try_get_matches().ok().filter(|matches| matches.subcommand_name() == Some("check"))?;
    // What stands behind the first mistake is not parsed.
    let words: Vec<_> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let names = |manner: &str| {
        words.contains(&format!("--as={manner}")) || words.windows(2).any(|pair| pair == ["--as", manner])
    };
    Some(match (names("pandora"), names("centreon")) {
        (true, _) => Manner::Pandora,
        (_, true) => Manner::Centreon,
        _ => Manner::Nagios,
    })
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
  portledger approve s1-3f2a91c04d --reason 'metrics of the new pool' --ticket OPS-17 --for 30d
  portledger approve nginx postgres --reason reviewed       what `learn` wrote, once it was read
  portledger approve s1-3f2a91c04d --reason 'rollout' --inventory web-017.json --hosts @web --file baselines/web.toml")]
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
    /// Show when each service was first and last there, opened, closed, drifted and approved
    ///
    /// `serve` remembers it: of 10,000 services, and of what is gone for 400 days. Of what is asked for it also tells what
    /// the logs still have, with who did what, and says how far back they reach. Services of which something is new come
    /// first.
    ///
    /// Exit status: 0 shown, 1 nothing is known of it, 2 failed, also where `serve` has remembered nothing.
    #[command(after_help = "\
Examples:
  sudo portledger history --since 7d              what is new since a week ago
  sudo portledger history tcp/8443                whatever was bound to port 8443
  sudo portledger history s1-3f2a91c04d           a service or drift: 11 characters and more of its id
  sudo portledger history nginx                   what an approval covers, or covered last
  sudo portledger history --format json | jq -r '.services[] | select(.approval == null) | .endpoint'")]
    History(HistoryOptions),
    /// Report whether only approved services listen on a network interface, for an auditor
    ///
    /// It answers item 2.1.22 of the CIS Debian Linux 12 Benchmark v1.1.0, which other benchmarks have under other numbers:
    /// each service that other hosts can reach, its verdict, and the evidence: who approved it, when, by what signature and
    /// what act of the ledger. What was learned and never approved is a finding. Services on loopback are listed apart.
    ///
    /// Exit status: 0 pass, 1 fail, 2 failed, 3 it cannot be said: something was not seen or is not judged, or the ledger is
    /// broken.
    #[command(after_help = "\
Examples:
  sudo portledger report
  sudo portledger report --format html > report.html
  sudo portledger report --format json | jq -r '.services[] | select(.bears == \"fail\") | .endpoint'")]
    Report(ReportOptions),
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
    /// Ask the running daemon how this host stands, for monitoring
    ///
    /// It needs no privileges: it asks `portledger serve` over the socket of its local API, and waits 10 seconds at most. The
    /// first line is the verdict with what monitoring draws graphs of, what follows tells of each drift, and of what is not
    /// seen. Drift that is gone counts as long as it is open: `approve` or `dismiss` closes it.
    ///
    /// Exit status, that of the Monitoring Plugins Development Guidelines: 0 OK, no drift but of severity info; 1 WARNING,
    /// drift of severity warning; 2 CRITICAL, critical drift; 3 UNKNOWN, it could not be told: the daemon does not answer,
    /// has not heard of its sensor, has no baseline, or found no drift and did not see all. So are arguments that are
    /// not understood, and this help. With --as pandora it is 0, whatever it tells.
    #[command(
        version,
        after_help = "\
Examples:
  portledger check
  portledger check --filter reach=public,private --warning-listeners 40 --critical-age 60
  portledger check --as centreon --filter-port 443 --critical-listeners 1:
  portledger check --as pandora                            as a `module_plugin` of the agent
  sudo portledger check --one-shot                         where no daemon runs
  portledger check --format json | jq -r '.drifts[]? | .id'"
    )]
    Check(Box<HostCheckOptions>),
    /// Show drift on the desktop of the user who runs it
    ///
    /// It runs in the session of whoever is logged in, asks the daemon over the socket of its local API, and shows what
    /// drifts as notifications: one for each, replaced when it changes, closed when it is over. At most five at once: what is
    /// beyond is counted in one. What was put away stays away, until it is graver or comes back. A click opens its page.
    ///
    /// The unit portledger-notify.service starts it with the session: `systemctl --user enable --now portledger-notify`.
    ///
    /// Exit status: 0 ended by Ctrl-C or with the session, 2 failed, also where no notification service answers.
    #[command(after_help = "\
Examples:
  portledger notify
  portledger notify --severity critical --url https://web-17.example.org:10433")]
    Notify(NotifyOptions),
    /// Try whether alerts arrive that `serve` posts, or show what waits
    #[command(subcommand)]
    Alerts(AlertsVerb),
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
