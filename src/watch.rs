mod child;
mod line;
mod printer;

mod standing;

use std::io::IsTerminal;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use exporter::{Follower, News, Packet, Witnessed, missing_document, standing_document, witnessed_document};
use jiff::tz::TimeZone;
use tokio::sync::mpsc;

use crate::arguments::{ReportFormat, Shared, WatchOptions};
use crate::config::Config;
use crate::judge;
use crate::outcome::Outcome;
use crate::paths::Paths;
use crate::say::aside;
use crate::signals::{Signals, Wanted};
use child::Sensor;
use line::Lines;
use printer::Printer;
use standing::Standing;

/// How many frames wait to be judged before no more are read, as far as there is room for their bytes.
const INBOX: usize = 65_536;
/// How many sockets, to which something happened, are judged together while more are there to be read.
const MOST_HAPPENED: usize = 8_192;
/// How long no frame may come: a sensor says every ten seconds that it lives.
const PATIENCE: Duration = Duration::from_secs(30);

/// Shows opens and closes as they happen, told by a sensor of its own.
pub(crate) fn run(shared: &Shared, options: &WatchOptions) -> anyhow::Result<Outcome> {
    let paths = Paths::of(shared)?;
    let config = Config::load(&paths)?;
    let (policy, has_baseline) = judge::rules(&paths, &config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let sensor = Sensor::start(shared)?;
    let watch = Watch {
        options,
        paths,
        interval: config.sensor.interval,
        has_baseline,
        follower: Follower::new(policy),
        printer: Printer::start().context("cannot start a thread")?,
        lines: Lines {
            coloured: std::io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty()),
            zone: TimeZone::system(),
        },
        standing: None,
        printed: 0,
        unread: 0,
    };
    runtime.block_on(watch.until_it_ends(sensor))
}

struct Watch<'a> {
    options: &'a WatchOptions,
    paths: Paths,
    interval: Duration,
    has_baseline: bool,
    follower: Follower,
    printer: Printer,
    lines: Lines,
    /// As it was last told; `None` before the first look is done.
    standing: Option<Standing>,
    printed: u64,
    /// What found no room in the output since this was last told.
    unread: u64,
}

/// Why it ends.
enum End {
    Wanted,
    OfSensor,
}

impl Watch<'_> {
    async fn until_it_ends(mut self, mut sensor: Sensor) -> anyhow::Result<Outcome> {
        let ended = self.follow(&sensor).await;
        let status = sensor.end().context("the sensor cannot be ended");
        let (ended, status) = (ended?, status?);
        self.tell_unread();
        if !self.printer.finish().await? {
            aside("portledger: the last events are not shown: the output was not read");
        }
        match ended {
            End::Wanted => Ok(Outcome::Clean),
            End::OfSensor => {
                let how = status.map_or("it hung".to_owned(), |status| status.to_string());
                bail!(
                    "the sensor has ended ({how}): what opens and closes now is not seen; start `watch` again"
                )
            }
        }
    }

    async fn follow(&mut self, sensor: &Sensor) -> anyhow::Result<End> {
        let mut signals = Signals::catch().context("cannot catch signals")?;
        let frames = sensor.frames.try_clone().context("cannot read what the sensor tells")?;
        let (inbox, mut packets) = mpsc::channel::<Packet>(INBOX);
        let mut frames_ended =
            exporter::forward(frames, inbox).context("cannot read what the sensor tells")?;
        let mut heard = Instant::now();
        let mut silent = false;
        let mut deadline: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                wanted = signals.next() => match wanted {
                    Wanted::End => return Ok(End::Wanted),
                    Wanted::Reload => self.reload(),
                },
                error = self.printer.broken() => return Err(error.into()),
                () = until(deadline.unwrap_or(heard)), if deadline.is_some() => return Ok(End::Wanted),
                () = until(heard + PATIENCE), if !silent => {
                    silent = true;
                    aside(format_args!(
                        "portledger: the sensor has told nothing for {} s: what opens now may not be seen",
                        PATIENCE.as_secs()
                    ));
                }
                packet = packets.recv() => {
                    let Some(packet) = packet else {
                        return match frames_ended.try_recv() {
                            Ok(Err(error)) => Err(error).context("what the sensor tells cannot be read"),
                            Ok(Ok(())) | Err(_) => Ok(End::OfSensor),
                        };
                    };
                    if self.take(packet, &mut packets)? {
                        return Ok(End::Wanted);
                    }
                    (heard, silent) = (Instant::now(), false);
                    if deadline.is_none() && self.standing.is_some() {
                        deadline = self.options.lasting.and_then(|lasting| heard.checked_add(lasting));
                    }
                }
            }
        }
    }

    /// Takes a packet and what else is there, and tells what came of it. True when enough is told.
    fn take(&mut self, first: Packet, packets: &mut mpsc::Receiver<Packet>) -> anyhow::Result<bool> {
        let mut next = Some(first);
        let mut taken = Ok(());
        while let Some(packet) = next {
            taken = self.follower.take(&packet);
            let enough = taken.is_err() || self.follower.waiting() >= MOST_HAPPENED;
            next = if enough { None } else { packets.try_recv().ok() };
        }
        // What was told before is told on.
        let enough = self.tell_news();
        taken.context("what opens and closes now is not known; start `watch` again")?;
        Ok(enough)
    }

    /// True when enough is told.
    fn tell_news(&mut self) -> bool {
        let Some(news) = self.follower.news(SystemTime::now()) else { return false };
        if news.first {
            self.begin();
        } else if news.covers_otherwise {
            self.tell_coverage();
        }
        self.tell_lost(&news);
        self.tell_unread();
        let mut text = Vec::new();
        for witnessed in &news.happened {
            let row = line::row(witnessed);
            if !self.options.filter.iter().all(|filter| filter.passes(&row)) {
                continue;
            }
            if self.printer.is_full() {
                self.unread += 1;
                continue;
            }
            self.add(&mut text, witnessed);
            self.printed += 1;
            if self.has_enough() {
                break;
            }
        }
        self.print(text);
        self.has_enough()
    }

    fn has_enough(&self) -> bool {
        self.options.count.is_some_and(|count| self.printed >= count)
    }

    fn add(&self, text: &mut Vec<u8>, witnessed: &Witnessed) {
        match self.options.format {
            ReportFormat::Table => text.extend(self.lines.line(witnessed).into_bytes()),
            ReportFormat::Json => add_json(text, &witnessed_document(witnessed)),
        }
        text.push(b'\n');
    }

    fn print(&self, text: Vec<u8>) {
        if !text.is_empty() {
            self.printer.print(text);
        }
    }

    fn begin(&mut self) {
        let Some((inventory, assessment, accounts)) = self.follower.present() else { return };
        for unknown in self.follower.policy().baseline.unknown_accounts(accounts) {
            aside(format_args!("portledger: {unknown}"));
        }
        let standing = Standing::of(inventory, assessment);
        aside(standing.at_the_start(self.has_baseline, self.interval));
        self.standing = Some(standing);
        match self.options.format {
            ReportFormat::Table => self.print((Lines::header() + "\n").into_bytes()),
            ReportFormat::Json => self.print_standing("began"),
        }
    }

    /// Says it when the kernel tells otherwise, or other things are not seen, than was said last.
    fn tell_coverage(&mut self) {
        let Some((inventory, assessment, _)) = self.follower.present() else { return };
        let standing = Standing::of(inventory, assessment);
        if self.standing.as_ref().is_some_and(|told| told.sees_as(&standing)) {
            return;
        }
        aside(format_args!("portledger: from now on: {}", standing.sight(self.interval)));
        self.standing = Some(standing);
        self.print_standing("coverage");
    }

    fn print_standing(&self, event: &'static str) {
        let (Some((inventory, ..)), Some(standing)) = (self.follower.present(), &self.standing) else {
            return;
        };
        if self.options.format == ReportFormat::Json {
            let mut text = Vec::new();
            add_json(&mut text, &standing_document(event, inventory, standing.drifting));
            text.push(b'\n');
            self.print(text);
        }
    }

    fn tell_lost(&self, news: &News) {
        if news.lost > 0 {
            aside(format_args!(
                "portledger: {} events were lost: what opened and closed meanwhile may not be shown; what is there is \
                 found by the look that follows",
                news.lost
            ));
            self.print_missing("lost", news.lost);
        }
    }

    fn tell_unread(&mut self) {
        if self.unread > 0 && !self.printer.is_full() {
            let unread = std::mem::take(&mut self.unread);
            aside(format_args!("portledger: {unread} events are not shown: the output was not read"));
            self.print_missing("unread", unread);
        }
    }

    fn print_missing(&self, event: &'static str, count: u64) {
        if self.options.format == ReportFormat::Json {
            let mut text = Vec::new();
            add_json(&mut text, &missing_document(event, count, SystemTime::now()));
            text.push(b'\n');
            self.print(text);
        }
    }

    /// What cannot be used leaves the one before in force.
    fn reload(&mut self) {
        let read = Config::load(&self.paths).and_then(|config| judge::rules(&self.paths, &config));
        let (policy, has_baseline) = match read {
            Ok(read) => read,
            Err(error) => {
                return aside(format_args!("portledger: the baseline before stays in force: {error:#}"));
            }
        };
        self.has_baseline = has_baseline;
        self.follower.judge_by(policy, SystemTime::now());
        let Some((inventory, assessment, _)) = self.follower.present() else { return };
        let standing = Standing::of(inventory, assessment);
        aside(format_args!("portledger: read again: {}", standing.judged(has_baseline)));
        self.standing = Some(standing);
        self.print_standing("reload");
    }
}

fn add_json(text: &mut Vec<u8>, document: &impl serde::Serialize) {
    // Writing to memory what has no maps in it cannot fail.
    serde_json::to_writer(text, document).unwrap_or_default();
}

async fn until(instant: Instant) {
    tokio::time::sleep_until(instant.into()).await;
}
