use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::Arguments;
use crate::load::Load;
use crate::measure::Spread;
use crate::serving::{self, Files, Serve};

/// Opens a listener that nobody approved, asks for /metrics over and over until its drift is counted, closes it.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let _load = arguments.load(Load::LISTENERS).start()?;
    let files = Files::new("")?;
    files.learn(&arguments.portledger)?;
    let _serve = Serve::start(&files, &arguments.portledger)?;
    std::thread::sleep(Duration::from_secs(2));
    let (mut told, mut polls) = (Vec::new(), Vec::new());
    for round in 0..arguments.rounds(500) {
        let before = serving::scrape()?.sum("portledger_drift_events_total")?;
        // Each is a service of its own.
        let listener = TcpListener::bind(("127.0.0.1", 11_000 + u16::try_from(round)?))?;
        told.push(until_counted(before, &mut polls)?);
        drop(listener);
        // By another part of a millisecond each time, so that nothing falls into step.
        std::thread::sleep(Duration::from_micros(40_000 + u64::from(round) * 37 % 10_000));
    }
    println!("from listen(2) to its drift on /metrics: {}", Spread::of(told));
    println!("one poll, the resolution of this:        {}", Spread::of(polls));
    Ok(())
}

fn until_counted(before: f64, polls: &mut Vec<f64>) -> anyhow::Result<f64> {
    let opened = Instant::now();
    while opened.elapsed() < Duration::from_secs(10) {
        let asked = Instant::now();
        let scrape = serving::scrape()?;
        polls.push(asked.elapsed().as_secs_f64());
        if scrape.sum("portledger_drift_events_total")? > before {
            return Ok(opened.elapsed().as_secs_f64());
        }
    }
    bail!("a drift was not counted within ten seconds")
}
