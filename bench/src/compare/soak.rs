use std::time::{Duration, Instant};

use anyhow::Context;

use crate::Arguments;
use crate::churn::{self, Churn, Done};
use crate::load::Load;
use crate::serving::{self, Files, Process, Scrape, Serve};

/// What a busy host opens and closes in a second.
const OF_A_BUSY_HOST: f64 = 100.0;
/// As many drifts as can be open: they fill up before the time begins.
const PROGRAMS: u32 = 10_000;
/// The share of the time in which what else is bounded fills up.
const WARM_UP: f64 = 1.0 / 3.0;
const ROWS: u32 = 30;
/// What may come and go between two rows.
const SLACK_KIB: f64 = 512.0;
const SLACK: f64 = 0.05;

/// Hours of a busy host in minutes, and whether the memory and the descriptors of `serve` are flat meanwhile.
pub(crate) fn run(arguments: &Arguments, minutes: f64, hours: f64) -> anyhow::Result<()> {
    let _load = arguments.load(Load { fds: 2_000, ..Load::LISTENERS }).start()?;
    let files = Files::new("")?;
    files.learn(&arguments.portledger)?;
    let baseline = files.baseline()?;
    let serve = Serve::start(&files, &arguments.portledger)?;
    let time = Duration::from_secs_f64(minutes * 60.0);
    let each_second = OF_A_BUSY_HOST * hours * 3600.0 / time.as_secs_f64();
    println!("{hours} h of {OF_A_BUSY_HOST} listeners a second in {minutes} min: {each_second:.0} a second");
    churn::fill(PROGRAMS)?;
    println!("{PROGRAMS} programs listened once each");
    let before = serving::scrape()?;
    let churn = Churn::start(each_second)?;
    let began = Instant::now();
    let (mut rows, mut lags, mut number) = (Vec::new(), Vec::new(), 0_u32);
    head(&serve);
    while began.elapsed() < time {
        number += 1;
        lags.push(visit(number)?);
        if number % 3 == 0 {
            files.replace_baseline(&format!("{baseline}{}", approvals(number)))?;
            serve.reload()?;
        }
        if began.elapsed() > time * u32::try_from(rows.len())? / ROWS {
            rows.push(Row::of(&serve, began.elapsed())?);
            rows.last().context("no row")?.print();
        }
        std::thread::sleep(
            Duration::from_secs(1)
                .saturating_sub(began.elapsed().saturating_sub(Duration::from_secs(1) * (number - 1))),
        );
    }
    rows.push(Row::of(&serve, began.elapsed())?);
    rows.last().context("no row")?.print();
    let Done { sockets, services } = churn.ends()?;
    let after = settled()?;
    files.warnings()?.iter().for_each(|line| println!("{line}"));
    anyhow::ensure!(
        after.sum("portledger_baseline_last_reload_successful")? == 1.0,
        "the approvals were not taken over"
    );
    println!(
        "opened {sockets} listeners, and {services} programs with one each; {number} scrapes, {} reloads",
        number / 3
    );
    lags.sort_by(f64::total_cmp);
    let lag = |part: f64| lags.get((lags.len() as f64 * part) as usize).copied().unwrap_or_default();
    println!(
        "behind what happens: p50 {:.1} s, p99 {:.1} s, at most {:.1} s",
        lag(0.5),
        lag(0.99),
        lags.last().unwrap_or(&0.0)
    );
    for family in [
        "portledger_opened_total",
        "portledger_closed_total",
        "portledger_drift_events_total",
        "portledger_events_lost_total",
        "portledger_events_unlogged_total",
        "portledger_sensor_restarts_total",
    ] {
        println!("{family} rose by {}", after.sum(family)? - before.sum(family)?);
    }
    verdict(&serve, &rows, time.mul_f64(WARM_UP));
    Ok(())
}

/// The counters once they stand still: what was opened last is told by then.
fn settled() -> anyhow::Result<Scrape> {
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut before = 0.0;
    loop {
        std::thread::sleep(Duration::from_secs(3));
        let scrape = serving::scrape()?;
        let closed = scrape.sum("portledger_closed_total")?;
        if closed <= before || Instant::now() > deadline {
            return Ok(scrape);
        }
        before = closed;
    }
}

/// What readers ask for. Returns by how many seconds it is behind.
fn visit(number: u32) -> anyhow::Result<f64> {
    let lag = serving::scrape()?.sum("portledger_events_lag_seconds")?;
    let pages = ["/api/v1/listeners", "/api/v1/drift", "/", "/-/ready"];
    serving::get(pages[usize::try_from(number)? % pages.len()])?;
    Ok(lag)
}

/// Others each time, of what comes and goes.
fn approvals(number: u32) -> String {
    (0..20)
        .map(|place| {
            let port = 1_024 + (number * 20 + place) % 60_000;
            format!("\n[[approval]]\nid = \"soak-{number}-{place}\"\nlisten = \"tcp/*:{port}\"\nprogram = \"/run/portledger-bench/bin/soak-{number}\"\nreason = \"soak {number}\"\n")
        })
        .collect()
}

/// What the processes hold at a time.
struct Row {
    at: Duration,
    holds: Vec<Holds>,
}

struct Holds {
    resident_kib: u64,
    /// Shared with nobody and written to.
    private_kib: u64,
    descriptors: usize,
}

fn head(serve: &Serve) {
    print!("{:>8}", "min");
    for (verb, _) in serve.processes() {
        print!(" | {verb:>8} RSS  private  fds");
    }
    println!("  (KiB)");
}

impl Row {
    fn of(serve: &Serve, at: Duration) -> anyhow::Result<Self> {
        let one = |(_, process): &(String, Process)| {
            anyhow::Ok(Holds {
                resident_kib: process.kib("VmRSS:")?,
                private_kib: process.private_kib()?,
                descriptors: process.descriptors()?,
            })
        };
        Ok(Row { at, holds: serve.processes().iter().map(one).collect::<Result<_, _>>()? })
    }

    fn print(&self) {
        print!("{:>8.1}", self.at.as_secs_f64() / 60.0);
        for holds in &self.holds {
            print!(" | {:>12} {:>8} {:>4}", holds.resident_kib, holds.private_kib, holds.descriptors);
        }
        println!();
    }
}

fn verdict(serve: &Serve, rows: &[Row], warm_up: Duration) {
    let rest: Vec<&Row> = rows.iter().filter(|row| row.at >= warm_up).collect();
    for (place, (verb, _)) in serve.processes().iter().enumerate() {
        let of = |pick: fn(&Holds) -> f64| -> Vec<(f64, f64)> {
            rest.iter().map(|row| (row.at.as_secs_f64() / 60.0, pick(&row.holds[place]))).collect()
        };
        let private =
            Line::through(&of(|holds| f64::from(u32::try_from(holds.private_kib).unwrap_or(u32::MAX))));
        let fds = Line::through(&of(|holds| f64::from(u32::try_from(holds.descriptors).unwrap_or(u32::MAX))));
        let is_flat =
            private.rise <= SLACK_KIB.max(private.mean * SLACK) && fds.rise < 1.0_f64.max(fds.mean * SLACK);
        println!(
            "{verb}: after the warm-up private memory rises by {:.0} KiB ({:.1} % of {:.0} KiB), fds by {:.1} (of {:.0}): {}",
            private.rise,
            private.rise / private.mean * 100.0,
            private.mean,
            fds.rise,
            fds.mean,
            if is_flat { "flat" } else { "GROWS" }
        );
    }
}

/// The line of least squares: how much it rises from the first point to the last.
struct Line {
    rise: f64,
    mean: f64,
}

impl Line {
    fn through(points: &[(f64, f64)]) -> Self {
        let count = points.len() as f64;
        let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / count;
        let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
        let above: f64 = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
        let below: f64 = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
        let span = points.last().zip(points.first()).map_or(0.0, |(last, first)| last.0 - first.0);
        Line { rise: if below > 0.0 { above / below * span } else { 0.0 }, mean: y_mean }
    }
}
