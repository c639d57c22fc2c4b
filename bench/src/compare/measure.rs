use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};
use nix::sys::resource::{UsageWho, getrusage};

/// What one run of a command took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) seconds: f64,
    /// The largest resident set, as wait4(2) tells it. That of the process which started it, some 3 MiB, is the floor.
    pub(crate) peak_kib: f64,
}

impl Run {
    /// Runs it below a process of its own, so that the peak of its children is the peak of this run.
    pub(crate) fn of(command: &[String]) -> anyhow::Result<Self> {
        let output = Command::new(std::env::current_exe()?).args(["measure", "--"]).args(command).output()?;
        if !output.status.success() {
            bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let text = String::from_utf8(output.stdout)?;
        let (seconds, peak) = text.trim().split_once(' ').context("no measurement")?;
        Ok(Run { seconds: seconds.parse()?, peak_kib: peak.parse()? })
    }
}

/// The other side of [`Run::of`].
pub(crate) fn once(command: &[String]) -> anyhow::Result<()> {
    let (program, arguments) = command.split_first().context("no command")?;
    let began = Instant::now();
    let mut run = Command::new(program);
    let output =
        run.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output()?;
    let seconds = began.elapsed().as_secs_f64();
    // lsof ends with 1 where something that it was asked for is not there.
    if !matches!(output.status.code(), Some(0 | 1)) {
        bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    println!("{seconds} {}", getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss());
    Ok(())
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n => (values[(n - 1) / 2] + values[n / 2]) / 2.0,
    }
}
