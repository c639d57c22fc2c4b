use std::os::fd::{AsFd, OwnedFd};

use anyhow::Context;
use rustix::process::Signal;
use sensor::{Bpf, Hashing, Output, Readers, RunError, Sensor, Timing};

use crate::arguments::{SensorOptions, Shared};
use crate::config::Config;
use crate::loader::loader;
use crate::log::log_to_stderr;
use crate::outcome::Outcome;
use crate::paths::Paths;
use crate::serve::{FIRST_PASSED, close_what_is_not_ours};

/// Looks at an interval and tells what it sees in frames: on the standard output, until nobody reads there, or to one reader
/// after the other who comes to the socket that the service manager passed.
pub(crate) fn run(shared: &Shared, SensorOptions { again }: &SensorOptions) -> anyhow::Result<Outcome> {
    // Before anything is opened.
    let readers = Readers::passed()?;
    close_what_is_not_ours(FIRST_PASSED + u32::from(readers.is_some()));
    log_to_stderr();
    let config = Config::load(&Paths::of(shared)?)?;
    let output = match readers {
        Some(readers) => Output::Readers(readers),
        None => Output::Reader(output_of_child()?),
    };
    let sensor =
        Sensor::new(options(&config, Hashing::On, 1, Bpf::Never)).context("cannot look at this host")?;
    let timing = Timing {
        interval: config.sensor.interval,
        reconcile: config.sensor.reconcile,
        events: Some(loader),
        again: *again,
    };
    ::sensor::run(sensor, timing, output).map_err(explained)?;
    Ok(Outcome::Clean)
}

/// Of a process that must not outlive its keeper.
fn output_of_child() -> anyhow::Result<OwnedFd> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
        .context("cannot ask the kernel to end this process with its parent")?;
    std::io::stdout().as_fd().try_clone_to_owned().context("cannot use the standard output")
}

fn explained(error: RunError) -> anyhow::Error {
    let is_of_output = matches!(error, RunError::Send(_));
    let error = anyhow::Error::from(error);
    if !is_of_output {
        return error;
    }
    error.context(
        "frames cannot be written to the standard output; `serve` starts the sensor with a socket there",
    )
}

/// What the configuration tells the sensor.
pub(crate) fn options(config: &Config, hashing: Hashing, workers: usize, bpf: Bpf) -> sensor::Options {
    sensor::Options {
        public: config.reach.public.clone(),
        namespaces: config.sensor.namespaces,
        redact: config.sensor.redact.clone(),
        hashing,
        workers,
        bpf,
    }
}

/// Threads for a look that somebody waits for. One that runs in the background takes one.
pub(crate) fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get().min(4))
}
