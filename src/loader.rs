use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context;
use sensor::Wanted;

use crate::arguments::LoaderOptions;
use crate::outcome::Outcome;

/// Loads BPF programs and hands them over on the standard output: a process of its own, for loading takes much memory.
pub(crate) fn run(options: &LoaderOptions) -> anyhow::Result<Outcome> {
    sensor::confine_loader()?;
    let wanted = if options.events { Wanted::Events } else { Wanted::Iterators };
    sensor::load(wanted, &std::io::stdout())
        .context("the standard output must be a socket, as the sensor makes one")?;
    Ok(Outcome::Clean)
}

/// The running program itself as the loader.
pub(crate) fn loader(wanted: Wanted) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("portledger").arg("loader").env_clear();
    if wanted == Wanted::Events {
        command.arg("--events");
    }
    command
}
