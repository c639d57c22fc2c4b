use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};
use clap::Args;

/// Parts of a load that are asked for.
#[derive(Args, Clone, Debug)]
pub(crate) struct Flags {
    /// Processes that share the load evenly
    #[arg(long, global = true)]
    processes: Option<u32>,
    /// Open descriptors in all, beside the sockets
    #[arg(long, global = true)]
    fds: Option<u32>,
    /// TCP sockets in LISTEN
    #[arg(long, global = true)]
    listeners: Option<u32>,
    /// How many of these a second process has open too
    #[arg(long, global = true)]
    shared: Option<u32>,
    /// TCP sockets in ESTABLISHED
    #[arg(long, global = true)]
    established: Option<u32>,
    /// Network namespaces with a process each
    #[arg(long, global = true)]
    namespaces: Option<u32>,
    /// Listeners of each of these
    #[arg(long, global = true)]
    each: Option<u32>,
}

impl Flags {
    pub(crate) fn or(&self, load: Load) -> Load {
        Load {
            processes: self.processes.unwrap_or(load.processes),
            fds: self.fds.unwrap_or(load.fds),
            listeners: self.listeners.unwrap_or(load.listeners),
            shared: self.shared.unwrap_or(load.shared),
            established: self.established.unwrap_or(load.established),
            namespaces: self.namespaces.unwrap_or(load.namespaces),
            each: self.each.unwrap_or(load.each),
        }
    }
}

/// What there is to see.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    pub(crate) processes: u32,
    pub(crate) fds: u32,
    pub(crate) listeners: u32,
    pub(crate) shared: u32,
    pub(crate) established: u32,
    pub(crate) namespaces: u32,
    pub(crate) each: u32,
}

impl Load {
    /// 2,000 listeners in the host's namespace and 50 others.
    pub(crate) const LISTENERS: Load = Load {
        processes: 300,
        fds: 20_000,
        listeners: 1_500,
        shared: 100,
        established: 0,
        namespaces: 50,
        each: 10,
    };

    pub(crate) fn start(self) -> anyhow::Result<Loaded> {
        println!("load: {self}");
        let mut command = Command::new(std::env::current_exe()?.with_file_name("load"));
        for (flag, value) in [
            ("--processes", self.processes),
            ("--fds", self.fds),
            ("--listeners", self.listeners),
            ("--shared", self.shared),
            ("--established", self.established),
            ("--namespaces", self.namespaces),
            ("--each", self.each),
        ] {
            command.arg(flag).arg(value.to_string());
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("load")?;
        let mut loaded = Loaded(child);
        let mut line = String::new();
        BufReader::new(loaded.0.stdout.take().context("load has no output")?).read_line(&mut line)?;
        if line != "ready\n" {
            bail!("the load could not be made; fewer of something may do");
        }
        Ok(loaded)
    }
}

impl fmt::Display for Load {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load { processes, fds, shared, established, namespaces, each, .. } = self;
        let listeners = self.listeners + namespaces * each;
        write!(
            to,
            "{processes} processes, {fds} fds, {listeners} listeners ({shared} held by two processes), \
             {established} established, {namespaces} namespaces"
        )
    }
}

/// A load that is there until this is dropped.
pub(crate) struct Loaded(Child);

impl Drop for Loaded {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        if let Err(error) = self.0.wait() {
            eprintln!("the load: {error}");
        }
    }
}
