use std::time::{Duration, Instant};

use crate::Arguments;
use crate::load::Load;
use crate::serving::{self, Files, Serve};

/// Lets `serve` be for a while, and counts what its processes and their children took of a processor.
pub(crate) fn run(arguments: &Arguments, seconds: u64) -> anyhow::Result<()> {
    let load = Load { fds: 500_000, ..Load::LISTENERS };
    let _load = arguments.load(load).start()?;
    let files = Files::new("")?;
    files.learn(&arguments.portledger)?;
    let serve = Serve::start(&files, &arguments.portledger)?;
    // The first look is judged and written down meanwhile.
    std::thread::sleep(Duration::from_secs(2));
    let before = ticks(&serve)?;
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(seconds));
    let after = ticks(&serve)?;
    let wall = began.elapsed().as_secs_f64();
    let mut all = 0;
    for ((verb, before), (_, after)) in before.iter().zip(&after) {
        println!("{verb:8} {:>6} ms", (after - before) * 10);
        all += (after - before) * 10;
    }
    let share = f64::from(u32::try_from(all)?) / 10.0 / wall;
    println!("in {wall:.0} s: {all} ms of a processor, {share:.3} % of one");
    let scrape = serving::scrape()?;
    let took = scrape.sum("portledger_reconcile_duration_seconds")?;
    println!("the last look took {:.1} ms", took * 1e3);
    Ok(())
}

fn ticks(serve: &Serve) -> anyhow::Result<Vec<(String, u64)>> {
    serve.processes().iter().map(|(verb, process)| Ok((verb.clone(), process.ticks()?))).collect()
}
