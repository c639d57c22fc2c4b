use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::Arguments;
use crate::load::Load;
use crate::measure::median;
use crate::serving::{Files, Serve};

/// Runs `check` beside a daemon that has no drift, and beside one for which all that listens is drift.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let _load = arguments.load(Load::LISTENERS).start()?;
    for learned in [false, true] {
        let files = Files::new("")?;
        if learned {
            files.learn(&arguments.portledger)?;
        }
        let serve = Serve::start(&files, &arguments.portledger)?;
        let program = &arguments.portledger.display().to_string();
        std::thread::sleep(Duration::from_secs(3));
        println!("{}", if learned { "all is approved" } else { "all is drift" });
        for manner in ["nagios", "centreon", "pandora"] {
            let taken = (0..arguments.rounds(200)).map(|_| once(program, manner));
            report(manner, taken.collect::<anyhow::Result<_>>()?)?;
        }
        drop(serve);
        files.remove()?;
    }
    Ok(())
}

/// Seconds from its start to its end; what could not be told is no measurement.
fn once(program: &str, manner: &str) -> anyhow::Result<f64> {
    let began = Instant::now();
    let output = Command::new(program).args(["check", "--as", manner]).stdin(Stdio::null()).output()?;
    let seconds = began.elapsed().as_secs_f64();
    if !matches!(output.status.code(), Some(0..=2)) {
        bail!("check: {}: {}", output.status, String::from_utf8_lossy(&output.stdout));
    }
    Ok(seconds)
}

fn report(manner: &str, mut taken: Vec<f64>) -> anyhow::Result<()> {
    taken.sort_by(f64::total_cmp);
    let (least, most) = (taken.first().context("no rounds")?, taken.last().context("no rounds")?);
    let [least, middle, most] = [*least, median(taken.clone()), *most].map(|seconds| seconds * 1e3);
    println!(
        "check --as {manner}: least {least:.1} ms, median {middle:.1} ms, most {most:.1} ms ({} runs)",
        taken.len()
    );
    Ok(())
}
