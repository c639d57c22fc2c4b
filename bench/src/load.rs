//! Something to look at: processes, descriptors, listeners, established connections, namespaces.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The first port of each address.
const FIRST_PORT: u32 = 20_000;

/// Makes a load, prints `ready`, and keeps it until its standard input is closed.
#[derive(Clone, Debug, Parser)]
struct Load {
    /// Processes that share all of it evenly
    #[arg(long, default_value_t = 300)]
    processes: u32,
    /// Open descriptors in all, beside the sockets
    #[arg(long, default_value_t = 0)]
    fds: u32,
    /// TCP sockets in LISTEN, on addresses of 127.2.0.0/16
    #[arg(long, default_value_t = 400)]
    listeners: u32,
    /// How many of these a second process has open too
    #[arg(long, default_value_t = 0)]
    shared: u32,
    /// TCP sockets in ESTABLISHED: both ends of each connection count
    #[arg(long, default_value_t = 0)]
    established: u32,
    /// Network namespaces with a process each
    #[arg(long, default_value_t = 0)]
    namespaces: u32,
    /// Listeners of each of these
    #[arg(long, default_value_t = 1)]
    each: u32,
    /// Which of the processes this is; set by the first one
    #[arg(long, hide = true)]
    worker: Option<u32>,
    /// Keeps its standard output open and does nothing else; set by the workers
    #[arg(long, hide = true)]
    hold: bool,
}

fn main() -> anyhow::Result<()> {
    let load = Load::parse();
    match load.worker {
        _ if load.hold => wait_for_end(),
        Some(number) => work(&load, number)?,
        None => lead(&load)?,
    }
    Ok(())
}

/// Also the end of whoever started us ends us.
fn wait_for_end() {
    let _end = std::io::stdin().read(&mut [0]);
}

fn lead(load: &Load) -> anyhow::Result<()> {
    // As many descriptors as we may have; the workers inherit it.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let mut workers = Vec::new();
    for number in 0..load.processes {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(std::env::args_os().skip(1)).args(["--worker", &number.to_string()]);
        workers.push(start(command)?);
    }
    for _ in 0..load.namespaces {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-ec", "ip link set lo up; exec \"$@\"", "sh"]);
        command.arg(std::env::current_exe()?).args(["--worker", "0", "--processes", "1"]);
        command.args(["--listeners", &load.each.to_string()]);
        workers.push(start(command)?);
    }
    println!("ready");
    wait_for_end();
    end(workers)
}

/// They are told to end at once, and then waited for.
fn end(mut children: Vec<Child>) -> anyhow::Result<()> {
    for child in &mut children {
        drop(child.stdin.take());
    }
    for mut child in children {
        child.wait()?;
    }
    Ok(())
}

fn start(mut command: Command) -> anyhow::Result<Child> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut said = [0; 6];
    let stdout = child.stdout.as_mut().context("a worker without output")?;
    if stdout.read_exact(&mut said).is_err() || said != *b"ready\n" {
        bail!("a worker could not make its part of the load: {command:?}");
    }
    Ok(child)
}

fn work(load: &Load, number: u32) -> anyhow::Result<()> {
    let share = |whole: u32| whole / load.processes + u32::from(number < whole % load.processes);
    // Opened one by one: copies of one file would be read from the processor's cache.
    let _files: Vec<File> =
        (0..share(load.fds)).map(|_| File::open("/dev/null")).collect::<Result<_, _>>()?;
    let (high, low) = (number / 250, 1 + number % 250);
    let listeners: Vec<TcpListener> = (0..share(load.listeners))
        .map(|place| TcpListener::bind(format!("127.2.{high}.{low}:{}", FIRST_PORT + place)))
        .collect::<Result<_, _>>()?;
    let mut others = Vec::new();
    for place in 0..share(load.shared) {
        let listener = listeners.get(usize::try_from(place)?).context("more shared than there are")?;
        let mut other = Command::new(std::env::current_exe()?);
        other.arg("--hold").stdin(Stdio::piped()).stdout(OwnedFd::from(listener.try_clone()?));
        others.push(other.spawn()?);
    }
    let mut connections = Vec::new();
    if share(load.established) > 0 {
        let server = TcpListener::bind(format!("127.3.{high}.{low}:0"))?;
        for _ in 0..share(load.established) / 2 {
            connections.push(TcpStream::connect(server.local_addr()?)?);
            connections.push(server.accept()?.0);
        }
    }
    println!("ready");
    std::io::stdout().flush()?;
    wait_for_end();
    end(others)
}
