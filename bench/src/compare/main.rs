//! Runs portledger and its neighbours over one load, in pairs, and prints ratios.
#![forbid(unsafe_code)]

mod measure;
mod serving;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};

use measure::{Run, median};

/// Ratios of time and peak memory against ss, lsof, netstat and the crates listeners and netstat2.
#[derive(Debug, Parser)]
struct Arguments {
    /// Processes that share the load evenly
    #[arg(long, default_value_t = 300)]
    processes: u32,
    /// Open descriptors in all, beside the sockets
    #[arg(long, default_value_t = 130_000)]
    fds: u32,
    /// TCP sockets in LISTEN
    #[arg(long, default_value_t = 400)]
    listeners: u32,
    /// TCP sockets in ESTABLISHED
    #[arg(long, default_value_t = 100_000)]
    established: u32,
    /// Network namespaces with one listener each
    #[arg(long, default_value_t = 0)]
    namespaces: u32,
    /// Pairs of runs for each neighbour
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// The program to measure
    #[arg(long, default_value = "target/release/portledger")]
    portledger: PathBuf,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What this program does when it starts itself again.
#[derive(Debug, Subcommand)]
enum Part {
    /// In namespaces of our own, where nothing else runs
    #[command(hide = true)]
    Inside,
    /// Runs a command once and prints what it took
    #[command(hide = true)]
    Measure { command: Vec<String> },
    /// One inventory by a crate
    #[command(hide = true)]
    Neighbour { name: String },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match &arguments.part {
        None => enter(&arguments),
        Some(Part::Inside) => compare(&arguments),
        Some(Part::Measure { command }) => measure::once(command),
        Some(Part::Neighbour { name }) => neighbour(name),
    }
}

/// Goes on in a network, process and mount namespace of our own: the load is all that there is to see.
fn enter(arguments: &Arguments) -> anyhow::Result<()> {
    if !arguments.portledger.exists() {
        bail!("{}: not there; `cargo build --release` makes it", arguments.portledger.display());
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--"]);
    command.args(["sh", "-ec", "mount -t tmpfs none /run; ip link set lo up; exec \"$@\"", "sh"]);
    let status =
        command.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).arg("inside").status()?;
    if !status.success() {
        bail!("the measurement failed ({status}); without root it cannot make its namespaces");
    }
    Ok(())
}

fn neighbour(name: &str) -> anyhow::Result<()> {
    use netstat2::{AddressFamilyFlags, ProtocolFlags, get_sockets_info};
    let found = match name {
        "listeners" => listeners::get_all().map_err(|error| anyhow::anyhow!("{error}"))?.len(),
        "netstat2" => {
            let families = AddressFamilyFlags::IPV4 | AddressFamilyFlags::IPV6;
            get_sockets_info(families, ProtocolFlags::TCP | ProtocolFlags::UDP)?.len()
        }
        _ => bail!("no neighbour is called {name}"),
    };
    println!("{found}");
    Ok(())
}

fn start_load(arguments: &Arguments) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?.with_file_name("load"));
    for (flag, value) in [
        ("--processes", arguments.processes),
        ("--fds", arguments.fds),
        ("--listeners", arguments.listeners),
        ("--established", arguments.established),
        ("--namespaces", arguments.namespaces),
    ] {
        command.arg(flag).arg(value.to_string());
    }
    let mut load = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("load")?;
    let mut line = String::new();
    BufReader::new(load.stdout.take().context("load has no output")?).read_line(&mut line)?;
    if line != "ready\n" {
        bail!("the load could not be made; fewer of something may do");
    }
    Ok(load)
}

fn compare(arguments: &Arguments) -> anyhow::Result<()> {
    println!(
        "{} processes, {} fds, {} listeners, {} established, {} namespaces; medians of {} pairs",
        arguments.processes,
        arguments.fds,
        arguments.listeners,
        arguments.established,
        arguments.namespaces,
        arguments.rounds
    );
    let mut load = start_load(arguments)?;
    let own = std::env::current_exe()?.display().to_string();
    // The file system that `enter` mounted: it goes with the namespace.
    let folder = std::path::Path::new("/run/portledger-bench");
    std::fs::create_dir(folder)?;
    let files = serving::Files::new(folder)?;
    let ours = files.portledger(&arguments.portledger, &["list", "--format", "json"]);
    let crates = |name: &str| vec![own.clone(), "neighbour".to_owned(), name.to_owned()];
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let peers = [
        ("ss -tulpn", words("ss -Htulpn")),
        ("netstat -tulpn", words("netstat -tulpn")),
        ("lsof -nP -i", words("lsof -nP -i")),
        ("listeners 0.6", crates("listeners")),
        ("netstat2 0.11", crates("netstat2")),
    ];
    println!(
        "\n{:16} {:>10} {:>10} {:>12} {:>10} {:>10}",
        "", "ms", "ours ms", "ours/theirs", "peak KiB", "ours KiB"
    );
    let mut ss = None;
    for (name, peer) in peers {
        let pairs = pairs(&ours, &peer, arguments.rounds).with_context(|| name.to_owned())?;
        let of = |pick: fn(&(Run, Run)) -> f64| median(pairs.iter().map(pick).collect());
        let theirs = of(|(_, theirs)| theirs.seconds);
        println!(
            "{name:16} {:>10.1} {:>10.1} {:>12.3} {:>10.0} {:>10.0}",
            theirs * 1e3,
            of(|(ours, _)| ours.seconds) * 1e3,
            of(|(ours, theirs)| ours.seconds / theirs.seconds),
            of(|(_, theirs)| theirs.peak_kib),
            of(|(ours, _)| ours.peak_kib)
        );
        ss.get_or_insert(theirs);
    }
    let served = serving::second_inventory(&files, &arguments.portledger)?;
    let ss = ss.context("nothing was compared")?;
    println!(
        "\nsecond inventory inside serve: {:.2} ms, {:.4} of ss -tulpn",
        served.seconds * 1e3,
        served.seconds / ss
    );
    println!("sensor: {} KiB now, {} KiB at its peak", served.resident_kib, served.peak_kib);
    drop(load.stdin.take());
    load.wait()?;
    Ok(())
}

/// Ours, theirs, ours, theirs …: what else the machine does falls on both alike. The first pair warms up and is dropped.
fn pairs(ours: &[String], theirs: &[String], rounds: u32) -> anyhow::Result<Vec<(Run, Run)>> {
    let mut pairs = Vec::new();
    for _ in 0..=rounds {
        pairs.push((Run::of(ours)?, Run::of(theirs)?));
    }
    Ok(pairs.split_off(1))
}
