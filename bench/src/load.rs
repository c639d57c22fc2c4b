//! Something to look at: processes, descriptors, listeners, established connections, namespaces.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

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
    /// TCP sockets in ESTABLISHED: both ends of each connection count
    #[arg(long, default_value_t = 0)]
    established: u32,
    /// Network namespaces with one listener each
    #[arg(long, default_value_t = 0)]
    namespaces: u32,
    /// Which of the processes this is; set by the first one
    #[arg(long, hide = true)]
    worker: Option<u32>,
}

fn main() -> anyhow::Result<()> {
    let load = Load::parse();
    match load.worker {
        Some(number) => work(&load, number),
        None => lead(&load),
    }
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
        command.arg(std::env::current_exe()?).args(["--worker", "0", "--processes", "1", "--listeners", "1"]);
        workers.push(start(command)?);
    }
    println!("ready");
    let _end = std::io::stdin().read(&mut [0]);
    for worker in &mut workers {
        drop(worker.stdin.take());
    }
    for mut worker in workers {
        worker.wait()?;
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
    let null = File::open("/dev/null")?;
    let _files: Vec<File> = (0..share(load.fds)).map(|_| null.try_clone()).collect::<Result<_, _>>()?;
    let (high, low) = (number / 250, 1 + number % 250);
    let _listeners: Vec<TcpListener> = (0..share(load.listeners))
        .map(|_| TcpListener::bind(format!("127.2.{high}.{low}:0")))
        .collect::<Result<_, _>>()?;
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
    let _end = std::io::stdin().read(&mut [0]);
    Ok(())
}
