use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::net::sockopt::socket_cookie;
use serde_json::Value;

use crate::Arguments;
use crate::load::Load;
use crate::serving::{self, Files, Scrape, Serve};

const THREADS: u32 = 4;
/// How long each of them listens.
const LIFE: Duration = Duration::from_millis(1);

/// Opens listeners of a millisecond and looks for each in the log of events and in the counters.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let _load = arguments.load(Load::LISTENERS).start()?;
    let files = Files::new("")?;
    files.learn(&arguments.portledger)?;
    let _serve = Serve::start(&files, &arguments.portledger)?;
    std::thread::sleep(Duration::from_secs(2));
    let count = arguments.rounds(10_000);
    let before = serving::scrape()?;
    let began = Instant::now();
    let opening = Opening::start(0, Some(count))?;
    let cookies = opening.cookies()?;
    let took = began.elapsed();
    let after = settled(&before, f64::from(count))?;
    println!("{} listeners of {LIFE:?} in {took:.1?} by {THREADS} threads", cookies.len());
    for family in [
        "portledger_opened_total",
        "portledger_closed_total",
        "portledger_drift_events_total",
        "portledger_events_lost_total",
        "portledger_events_unlogged_total",
        "portledger_reconcile_discrepancies_total",
    ] {
        println!("{family} rose by {}", after.sum(family)? - before.sum(family)?);
    }
    let events = files.events()?;
    for word in ["open", "close"] {
        let found = found(&events, word);
        let times = |wanted: fn(u32) -> bool| {
            let known = cookies.iter().map(|cookie| found.get(cookie).copied().unwrap_or_default());
            known.filter(|times| wanted(*times)).count()
        };
        let (once, missed, more) = (times(|n| n == 1), times(|n| n == 0), times(|n| n > 1));
        println!("events.jsonl, {word}: {once} once, {missed} missed, {more} more than once");
    }
    Ok(())
}

/// The counters once they stand still.
fn settled(before: &Scrape, count: f64) -> anyhow::Result<Scrape> {
    let closed = "portledger_closed_total";
    let deadline = Instant::now() + Duration::from_secs(20);
    while serving::scrape()?.sum(closed)? - before.sum(closed)? < count && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
    }
    // What would be told twice would be told by now.
    std::thread::sleep(Duration::from_secs(2));
    serving::scrape()
}

/// How often each socket is in the log.
fn found(events: &str, word: &str) -> HashMap<u64, u32> {
    let mut found = HashMap::new();
    for line in events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        if let (Some(event), Some(cookie)) = (line["event"].as_str(), line["cookie"].as_u64())
            && event == word
        {
            *found.entry(cookie).or_default() += 1;
        }
    }
    found
}

/// A process that opens and closes listeners.
pub(crate) struct Opening(Child);

impl Opening {
    pub(crate) fn start(each_second: u32, count: Option<u32>) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["open", "--each-second", &each_second.to_string()]);
        if let Some(count) = count {
            command.args(["--count", &count.to_string()]);
        }
        Ok(Opening(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?))
    }

    /// Ends it where it has no end of its own, and gives the cookies of what it opened.
    pub(crate) fn cookies(mut self) -> anyhow::Result<Vec<u64>> {
        drop(self.0.stdin.take());
        let mut text = String::new();
        self.0.stdout.take().context("no output")?.read_to_string(&mut text)?;
        if !self.0.wait()?.success() {
            bail!("not all listeners could be opened");
        }
        text.lines().map(|line| Ok(line.parse()?)).collect()
    }
}

/// The other side of [`Opening`].
pub(crate) fn open(each_second: u32, count: Option<u32>) -> anyhow::Result<()> {
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let share = count.map(|count| count / THREADS + u32::from(number < count % THREADS));
            std::thread::spawn(move || open_in_turn(number, each_second / THREADS, share))
        })
        .collect();
    if count.is_none() {
        let _end = std::io::stdin().read(&mut [0]);
        // What is open ends with us; nobody asks for its cookie.
        return Ok(());
    }
    let mut output = std::io::stdout().lock();
    for thread in threads {
        for cookie in thread.join().map_err(|_| anyhow::anyhow!("a thread failed"))?? {
            writeln!(output, "{cookie}")?;
        }
    }
    Ok(())
}

fn open_in_turn(number: u32, each_second: u32, count: Option<u32>) -> anyhow::Result<Vec<u64>> {
    let mut cookies = Vec::new();
    let began = Instant::now();
    for place in 0..count.unwrap_or(u32::MAX) {
        // 1,000 services in all.
        let port = u16::try_from(12_000 + number * 250 + place % 250)?;
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        if count.is_some() {
            cookies.push(socket_cookie(&listener)?);
        }
        std::thread::sleep(LIFE);
        drop(listener);
        if each_second > 0 {
            let next = began + Duration::from_secs(1) * (place + 1) / each_second;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }
    Ok(cookies)
}
