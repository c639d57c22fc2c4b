use std::time::{Duration, Instant};

use crate::Arguments;
use crate::brief::Opening;
use crate::load::Load;
use crate::measure::Spread;
use crate::serving::{self, Files, Serve};

const EACH_SECOND: u32 = 1_000;

/// Asks for /metrics fifty times a second while listeners open and close.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let _load = arguments.load(Load::LISTENERS).start()?;
    let files = Files::new("")?;
    files.learn(&arguments.portledger)?;
    let _serve = Serve::start(&files, &arguments.portledger)?;
    std::thread::sleep(Duration::from_secs(2));
    let opening = Opening::start(EACH_SECOND, None)?;
    std::thread::sleep(Duration::from_secs(1));
    let (began, before) = (Instant::now(), serving::scrape()?);
    let mut taken = Vec::new();
    let mut last = 0;
    for _ in 0..arguments.rounds(1_000) {
        let asked = Instant::now();
        last = serving::scrape()?.0.len();
        taken.push(asked.elapsed().as_secs_f64());
        std::thread::sleep(Duration::from_millis(20).saturating_sub(asked.elapsed()));
    }
    let (took, after) = (began.elapsed().as_secs_f64(), serving::scrape()?);
    opening.cookies()?;
    let rate = |family: &str| anyhow::Ok((after.sum(family)? - before.sum(family)?) / took);
    println!("a scrape of {last} bytes: {}", Spread::of(taken));
    println!(
        "meanwhile {:.0} opened and {:.0} closed each second, {} lost",
        rate("portledger_opened_total")?,
        rate("portledger_closed_total")?,
        after.sum("portledger_events_lost_total")?
    );
    Ok(())
}
