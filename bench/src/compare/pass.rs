use std::time::{Duration, Instant};

use anyhow::bail;

use crate::Arguments;
use crate::load::Load;
use crate::measure::{Run, median};
use crate::serving::{self, Files, Serve};

/// Far enough apart for a run of ss between two looks.
const RECONCILE: &str = "[sensor]\nreconcile = \"15s\"\n";

/// Times `ss -tulpn` and the next look of the sensor in turn.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let load = Load { fds: 1_000_000, ..Load::LISTENERS };
    let _load = arguments.load(load).start()?;
    let files = Files::new(RECONCILE)?;
    let ss: Vec<String> = ["ss", "-Htulpn"].map(str::to_owned).to_vec();
    Run::of(&ss)?;
    let _serve = Serve::start(&files, &arguments.portledger)?;
    let rounds = arguments.rounds(5);
    let mut pairs = Vec::new();
    for _ in 0..rounds {
        let ours = next_look()?;
        pairs.push((ours, Run::of(&ss)?.seconds));
    }
    println!("\n{:>10} {:>12} {:>10}", "pass ms", "ss -tulpn ms", "ss/pass");
    for (ours, theirs) in &pairs {
        println!("{:>10.1} {:>12.1} {:>10.1}", ours * 1e3, theirs * 1e3, theirs / ours);
    }
    let of = |pick: fn(&(f64, f64)) -> f64| median(pairs.iter().map(pick).collect());
    println!(
        "pass: median {:.1} ms, ss -tulpn {:.1} ms, {:.1} times as fast (median of {rounds} pairs)",
        of(|(ours, _)| *ours) * 1e3,
        of(|(_, theirs)| *theirs) * 1e3,
        of(|(ours, theirs)| theirs / ours)
    );
    Ok(())
}

/// How long the next look takes.
fn next_look() -> anyhow::Result<f64> {
    let looked = "portledger_reconcile_last_success_timestamp_seconds";
    let before = serving::scrape()?.sum(looked)?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        let scrape = serving::scrape()?;
        if scrape.sum(looked)? > before {
            return scrape.sum("portledger_reconcile_duration_seconds");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("the sensor did not look within a minute")
}
