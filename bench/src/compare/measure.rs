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

/// Ours, theirs, ours, theirs …: what else the machine does falls on both alike. The first pair warms up and is dropped.
pub(crate) fn pairs(ours: &[String], theirs: &[String], rounds: u32) -> anyhow::Result<Vec<(Run, Run)>> {
    let mut pairs = Vec::new();
    for _ in 0..=rounds {
        pairs.push((Run::of(ours)?, Run::of(theirs)?));
    }
    Ok(pairs.split_off(1))
}

/// The middle, the 99th of a hundred, and the largest.
pub(crate) struct Spread {
    pub(crate) count: usize,
    p50: f64,
    p99: f64,
    most: f64,
}

impl Spread {
    pub(crate) fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        let at = |hundredths: usize| {
            let place = (seconds.len() * hundredths).div_ceil(100).saturating_sub(1);
            seconds.get(place).copied().unwrap_or(f64::NAN)
        };
        Spread { count: seconds.len(), p50: at(50), p99: at(99), most: at(100) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [p50, p99, most] = [self.p50, self.p99, self.most].map(|seconds| seconds * 1e3);
        write!(to, "p50 {p50:.2} ms, p99 {p99:.2} ms, most {most:.2} ms ({} samples)", self.count)
    }
}
