use std::time::{Duration, Instant};

use crate::Arguments;
use crate::load::Load;
use crate::serving::{self, Files, Process, Serve};

/// Lets `serve` be for a while, and counts what its processes and their children took of a processor.
pub(crate) fn run(arguments: &Arguments, seconds: u64) -> anyhow::Result<()> {
    let load = Load { fds: 500_000, ..Load::LISTENERS };
    let _load = arguments.load(load).start()?;
    let files = Files::new("")?;
    files.learn(&arguments.portledger)?;
    let serve = Serve::start(&files, &arguments.portledger)?;
    // The first look is judged and written down meanwhile.
    std::thread::sleep(Duration::from_secs(2));
    let before = taken(&serve)?;
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(seconds));
    let after = taken(&serve)?;
    let wall = began.elapsed().as_secs_f64();
    let mut all = 0;
    for ((verb, before), (_, after)) in before.iter().zip(&after) {
        let took = (after.ticks - before.ticks) * 10;
        println!("{verb:8} {took:>6} ms, woken {} times", after.wakes - before.wakes);
        all += took;
    }
    let share = f64::from(u32::try_from(all)?) / 10.0 / wall;
    println!("in {wall:.0} s: {all} ms of a processor, {share:.3} % of one");
    let scrape = serving::scrape()?;
    let took = scrape.sum("portledger_reconcile_duration_seconds")?;
    println!("the last look took {:.1} ms", took * 1e3);
    Ok(())
}

struct Taken {
    ticks: u64,
    /// More than the clock of each calls for: something happened on the machine.
    wakes: u64,
}

fn taken(serve: &Serve) -> anyhow::Result<Vec<(String, Taken)>> {
    let one = |(verb, process): &(String, Process)| {
        anyhow::Ok((verb.clone(), Taken { ticks: process.ticks()?, wakes: process.wakes()? }))
    };
    serve.processes().iter().map(one).collect()
}
