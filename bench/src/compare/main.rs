//! Measures portledger over loads of its own: beside its neighbours in pairs, and what it promises.
#![forbid(unsafe_code)]

mod alerts;
mod assess;
mod brief;
mod burden;
mod check;
mod churn;
mod idle;
mod latency;
mod ledger;
mod load;
mod machine;
mod measure;
mod one_shot;
mod pass;
mod peers;
mod resident;
mod scrape;
mod serving;
mod sink;
mod soak;

use std::path::PathBuf;
use std::process::Command;

use anyhow::bail;
use clap::{Parser, Subcommand};

use load::Load;

/// Without a name: time and peak memory of `list` beside ss, lsof, netstat and the crates listeners and netstat2.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    #[command(flatten)]
    load: load::Flags,
    /// How often: pairs of runs, looks, or samples; each measurement has a number of its own
    #[arg(long, global = true)]
    rounds: Option<u32>,
    /// The program to measure
    #[arg(long, global = true, default_value = "target/release/portledger")]
    portledger: PathBuf,
    /// Set when this program starts itself in namespaces of its own
    #[arg(long, global = true, hide = true)]
    inside: bool,
    #[command(subcommand)]
    name: Option<Name>,
}

#[derive(Clone, Debug, Subcommand)]
enum Name {
    /// A pass of the sensor in `serve`, as a share of `ss -tulpn`
    Pass,
    /// A one-shot `list`, as a share of `ss -tulpn`
    OneShot,
    /// What `serve` with all of its processes takes of a processor when nothing happens
    Idle {
        /// How long
        #[arg(long, default_value_t = 300)]
        seconds: u64,
    },
    /// From listen(2) to the drift on /metrics
    Latency,
    /// From listen(2) to the webhook's call, and 10,000 drifts at once
    Alerts,
    /// Listeners of a millisecond: each told once
    Brief,
    /// What others pay while the sensor is attached
    Burden,
    /// Memory of the processes of `serve`
    Resident {
        /// After how long
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// A scrape of /metrics while sockets open and close
    Scrape,
    /// `check` as monitoring runs it beside a daemon, without drift and with much
    Check,
    /// Hours of a busy host in minutes: whether memory and descriptors are flat
    Soak {
        /// How long it takes
        #[arg(long, default_value_t = 15.0)]
        minutes: f64,
        /// As much as so many hours bring, at 100 listeners a second
        #[arg(long, default_value_t = 10.0)]
        hours: f64,
    },
    /// Many listeners held against as many approvals, and again after one changed
    Assess,
    /// A log of many records, each signed: written, and verified
    Ledger,
    /// Verifies the log in a folder
    #[command(hide = true)]
    VerifyLedger { folder: PathBuf },
    /// Runs a command once and prints what it took
    #[command(hide = true)]
    Measure { command: Vec<String> },
    /// One inventory by a crate
    #[command(hide = true)]
    Neighbour { name: String },
    /// Opens and closes listeners and prints their cookies
    #[command(hide = true)]
    Open {
        /// How many a second at most; 0 for as many as there can be
        #[arg(long)]
        each_second: u32,
        /// How many, or until standard input is closed
        #[arg(long)]
        count: Option<u32>,
    },
    /// Opens and closes listeners and programs of which none is like another
    #[command(hide = true)]
    Churn {
        #[arg(long)]
        each_second: f64,
    },
    /// Listens until standard input is closed
    #[command(hide = true)]
    Listen {
        #[arg(long)]
        port: u16,
        /// Makes one command line unlike another
        #[arg(long)]
        note: Option<String>,
    },
    /// Does something over and over and prints what it takes
    #[command(hide = true)]
    Work { name: String },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match &arguments.name {
        Some(Name::Measure { command }) => measure::once(command),
        Some(Name::Neighbour { name }) => peers::neighbour(name),
        Some(Name::Open { each_second, count }) => brief::open(*each_second, *count),
        Some(Name::Churn { each_second }) => churn::run(*each_second),
        Some(Name::Listen { port, .. }) => churn::listen(*port),
        Some(Name::Work { name }) => burden::work(name),
        Some(Name::Assess) => assess::run(&arguments),
        Some(Name::Ledger) => ledger::run(&arguments),
        Some(Name::VerifyLedger { folder }) => ledger::verify(folder),
        _ if !arguments.inside => enter(&arguments),
        Some(Name::Pass) => pass::run(&arguments),
        Some(Name::OneShot) => one_shot::run(&arguments),
        Some(Name::Idle { seconds }) => idle::run(&arguments, *seconds),
        Some(Name::Latency) => latency::run(&arguments),
        Some(Name::Alerts) => alerts::run(&arguments),
        Some(Name::Brief) => brief::run(&arguments),
        Some(Name::Burden) => burden::run(&arguments),
        Some(Name::Resident { seconds }) => resident::run(&arguments, *seconds),
        Some(Name::Scrape) => scrape::run(&arguments),
        Some(Name::Check) => check::run(&arguments),
        Some(Name::Soak { minutes, hours }) => soak::run(&arguments, *minutes, *hours),
        None => peers::run(&arguments),
    }
}

/// Goes on in a network, process and mount namespace of our own: the load is all that there is to see, and all of it
/// ends with us.
fn enter(arguments: &Arguments) -> anyhow::Result<()> {
    if !arguments.portledger.exists() {
        bail!("{}: not there; `cargo build --release` makes it", arguments.portledger.display());
    }
    machine::print()?;
    let mut command = Command::new("unshare");
    command.args(["--net", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--"]);
    command.args(["sh", "-ec", "mount -t tmpfs none /run; ip link set lo up; exec \"$@\"", "sh"]);
    let status =
        command.arg(std::env::current_exe()?).arg("--inside").args(std::env::args_os().skip(1)).status()?;
    if !status.success() {
        bail!("the measurement failed ({status}); without root it cannot make its namespaces");
    }
    Ok(())
}

impl Arguments {
    /// What is asked for, or else what the measurement wants.
    fn load(&self, wanted: Load) -> Load {
        self.load.or(wanted)
    }

    fn rounds(&self, wanted: u32) -> u32 {
        self.rounds.unwrap_or(wanted)
    }
}
