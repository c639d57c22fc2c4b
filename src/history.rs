//! When services were there, as `serve` remembers it and the logs tell it.

use std::cmp::Reverse;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use baseline::Sought;
use exporter::{CoveredBy, Past, ServicePast, Turns, history, oldest_event};
use inventory::RawText;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ledger::{Position, Reader, Told};
use serde_json::{Value, json};

use crate::acts::LEDGER;
use crate::arguments::{HistoryOptions, ReportFormat, Shared};
use crate::outcome::Outcome;
use crate::owned;
use crate::page::{Page, names, shown};
use crate::paths::Paths;
use crate::say::{aside, harmless};
use crate::show::history::{History, Topic, read};
use crate::show::words;

/// Of one service no more is told of what the logs have.
const TURNS: usize = 100;
/// Of no more services what the logs have is told.
const TOLD: usize = 20;

/// Shows the history of all services, of those of which something is new, or of those that are meant.
pub(crate) fn run(shared: &Shared, options: &HistoryOptions) -> anyhow::Result<Outcome> {
    let state = Paths::of(shared)?.state;
    let wanted = options.what.as_deref().map(str::parse::<Sought>).transpose().map_err(anyhow::Error::msg)?;
    let Some(past) = history(&state)? else {
        bail!(
            "{}: no history.json: `portledger serve` keeps it, and has written nothing in this state folder yet",
            state.display()
        );
    };
    let since = options.since.map(|since| since.begin(Timestamp::now(), &TimeZone::system()));
    let mut told = Telling::of(&past, wanted.as_ref(), since);
    if wanted.is_some() {
        told.read_logs(&state);
    }
    let reaches = Reaches::of(&state, &past);
    let mut output = std::io::stdout().lock();
    match options.format {
        ReportFormat::Table => output.write_all(harmless(&told.page(&reaches)).as_bytes())?,
        ReportFormat::Json => {
            serde_json::to_writer_pretty(&mut output, &told.document(&reaches))?;
            writeln!(output)?;
        }
    }
    output.flush()?;
    if !told.services.is_empty() {
        return Ok(Outcome::Clean);
    }
    match (&options.what, since) {
        (Some(what), _) => {
            aside(format_args!("portledger: nothing is known of `{}`", RawText::from(what.as_str())));
        }
        (None, Some(since)) => aside(format_args!("portledger: nothing is new since {since:.0}")),
        (None, None) => aside("portledger: no service was ever there"),
    }
    Ok(Outcome::Drift)
}

/// Newest first.
struct Telling<'a> {
    past: &'a Past,
    services: Vec<Service<'a>>,
    /// Why it is not told what the logs have, or not all of it.
    unread: Vec<String>,
    with_logs: bool,
}

struct Service<'a> {
    id: &'a str,
    past: &'a ServicePast,
    /// What was asked for, newest first.
    news: Vec<(Timestamp, &'static str)>,
    history: History,
}

impl<'a> Telling<'a> {
    fn of(past: &'a Past, wanted: Option<&Sought>, since: Option<Timestamp>) -> Self {
        let meant =
            past.services.iter().filter(|(id, line)| wanted.is_none_or(|wanted| is(wanted, id, line)));
        let told = meant.map(|(id, line)| Service {
            id,
            past: line,
            news: news(line, since.unwrap_or(Timestamp::MIN)),
            history: History::default(),
        });
        let mut services: Vec<Service<'_>> = told.filter(|service| !service.news.is_empty()).collect();
        services.sort_by_key(|service| Reverse(service.news.first().map(|(at, _)| *at)));
        Telling { past, services, unread: Vec::new(), with_logs: false }
    }

    fn read_logs(&mut self, state: &Path) {
        self.with_logs = true;
        let told = self.services.iter_mut().take(TOLD);
        let topics: Vec<Topic> = told.map(|service| Topic::of_past(service.id, service.past)).collect();
        if topics.is_empty() {
            return;
        }
        let (histories, unread) = read(state, &topics, TURNS);
        self.unread = unread;
        for (service, history) in self.services.iter_mut().zip(histories) {
            service.history = history;
        }
        if let Some(more) = self.services.len().checked_sub(TOLD).filter(|more| *more > 0) {
            self.unread.push(format!("what the logs have of {more} more services: name one of them"));
        }
    }

    fn page(&self, reaches: &Reaches) -> String {
        let mut page = Page::default();
        for service in &self.services {
            match self.with_logs {
                true => service.tell(&mut page, self.past),
                false => page.entry(&service.line()),
            }
        }
        page.heading("How far back this reaches:");
        reaches.each().into_iter().for_each(|(log, told)| page.line(log, told));
        self.unread.iter().for_each(|why| page.line("not read", shown(why)));
        page.into_text()
    }

    fn document(&self, reaches: &Reaches) -> Value {
        json!({
            "schema": 1,
            "looked": self.past.looked.map(told),
            "reaches": {
                "history": reaches.history,
                "events": reaches.events.as_ref().ok(),
                "ledger": reaches.ledger.as_ref().ok(),
            },
            "unread": self.unread,
            "services": self.services.iter().map(|service| service.document(self.past)).collect::<Vec<_>>(),
        })
    }
}

/// By its id, by that of the approval that covers it, or by where it was bound.
fn is(wanted: &Sought, id: &str, line: &ServicePast) -> bool {
    wanted.is_named(id)
        || line.approval.as_ref().is_some_and(|approval| wanted.is_named(&approval.id))
        || wanted.is_bound(line.protocol, line.address, line.port, line.device.as_ref())
}

/// What is known to have happened since then, newest first.
fn news(line: &ServicePast, since: Timestamp) -> Vec<(Timestamp, &'static str)> {
    let covered = line.approval.as_deref();
    let unseen = (!line.is_there()).then_some(line.last_seen);
    let word = |approval: &CoveredBy| if approval.learned { "learned" } else { "approved" };
    let mut news: Vec<_> = [
        (Some(line.first_seen), "first seen"),
        (line.opened.last, "opened"),
        (line.drifted.last, "drifted"),
        (covered.map(|covered| covered.since), covered.map_or("", word)),
        (covered.and_then(|covered| covered.until), "no longer covered"),
        (line.closed.last, "closed"),
        (unseen, "last seen"),
    ]
    .into_iter()
    .filter_map(|(at, what)| Some((at.filter(|at| *at >= since)?, what)))
    .collect();
    news.sort_by_key(|(at, _)| Reverse(*at));
    news
}

impl Service<'_> {
    fn endpoint(&self) -> String {
        let ServicePast { protocol, address, port, device, netns, .. } = self.past;
        words(*protocol, *address, *port, device.as_ref(), netns)
    }

    /// By which programs, as which users, in which workloads.
    fn held(&self) -> String {
        let ServicePast { programs, users, workloads, .. } = self.past;
        if programs.is_empty() && users.is_empty() {
            return "nobody that was seen".to_owned();
        }
        let workloads = match &workloads[..] {
            [] => String::new(),
            workloads => format!(", in {}", names(workloads)),
        };
        format!("{} as {}{workloads}", names(&**programs), names(&**users))
    }

    /// What is new of it, on one line.
    fn line(&self) -> String {
        let first = self.news.first().map(|(at, _)| told(*at)).unwrap_or_default();
        let news = self.news.iter().map(|(at, what)| match told(*at) {
            at if at == first => (*what).to_owned(),
            at => format!("{what} {at}"),
        });
        let news: Vec<String> = news.collect();
        format!("{first} {}, {}: {} ({})", self.endpoint(), self.held(), news.join(", "), shown(self.id))
    }

    fn tell(&self, page: &mut Page, past: &Past) {
        let line = self.past;
        page.heading(&self.endpoint());
        page.line("service", shown(self.id));
        page.line("held by", self.held());
        let first = told(line.first_seen);
        match (line.is_there(), past.looked) {
            (true, Some(looked)) => page.line("there", format!("first seen {first}, last {}", told(looked))),
            _ => page.line("unseen", format!("since {}, first seen {first}", told(line.last_seen))),
        }
        for (what, turns) in [("opened", line.opened), ("closed", line.closed), ("drifted", line.drifted)] {
            page.line(what, counted(turns));
        }
        page.line("approved", line.approval.as_deref().map_or("never".to_owned(), covered));
        match self.history.is_empty() {
            true => page.line("logged", "nothing"),
            false => page.lines("logged", self.history.told()),
        }
    }

    fn document(&self, past: &Past) -> Value {
        let line = self.past;
        let turns = |turns: exporter::Turns| json!({ "count": turns.count, "first": turns.first.map(told), "last": turns.last.map(told) });
        let last_seen = past.looked.filter(|_| line.is_there()).unwrap_or(line.last_seen);
        json!({
            "service": self.id,
            "endpoint": self.endpoint(),
            "netns": line.netns.escaped(),
            "programs": line.programs,
            "users": line.users,
            "workloads": line.workloads,
            "state": if line.is_there() { "present" } else { "unseen" },
            "first_seen": told(line.first_seen),
            "last_seen": told(last_seen),
            "opened": turns(line.opened),
            "closed": turns(line.closed),
            "drifted": turns(line.drifted),
            "approval": line.approval.as_ref().map(|approval| json!({
                "id": approval.id,
                "learned": approval.learned,
                "since": told(approval.since),
                "until": approval.until.map(told),
            })),
            "news": self.news.iter().map(|(at, what)| json!({ "time": told(*at), "what": what })).collect::<Vec<_>>(),
            "logged": self.history.document(),
        })
    }
}

fn counted(turns: Turns) -> String {
    match (turns.count, turns.first, turns.last) {
        (1, _, Some(last)) => format!("once, {}", told(last)),
        (2.., Some(first), Some(last)) => {
            format!("{} times, {} to {}", turns.count, told(first), told(last))
        }
        _ => "never, since it is remembered".to_owned(),
    }
}

fn covered(approval: &CoveredBy) -> String {
    let how = if approval.learned { "no: learned as" } else { "by" };
    let until = approval.until.map(|until| format!(" until {}", told(until))).unwrap_or_default();
    format!("{how} {}, since {}{until}", shown(&approval.id), told(approval.since))
}

fn told(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// Since when each tells what happened; `None` of one that has no record.
struct Reaches {
    history: Option<String>,
    events: Result<Option<String>, String>,
    ledger: Result<Option<String>, String>,
}

impl Reaches {
    fn of(state: &Path, past: &Past) -> Self {
        let time = |line: &[u8]| {
            let record: Value = serde_json::from_slice(line).ok()?;
            record["time"].as_str().map(shown)
        };
        let events = oldest_event(state).map(|line| line.as_deref().and_then(time));
        Reaches {
            history: past.since.map(told),
            events: events.map_err(|error| shown(&error.to_string())),
            ledger: oldest_act(state).map_err(|error| shown(&format!("{error:#}"))),
        }
    }

    fn each(&self) -> [(&'static str, String); 3] {
        let of_log = |reach: &Result<Option<String>, String>| match reach {
            Ok(Some(since)) => since.clone(),
            Ok(None) => "no record".to_owned(),
            Err(why) => format!("not known: {why}"),
        };
        [
            ("history", self.history.clone().unwrap_or_else(|| "not known".to_owned())),
            ("events", of_log(&self.events)),
            ("ledger", of_log(&self.ledger)),
        ]
    }
}

fn oldest_act(state: &Path) -> anyhow::Result<Option<String>> {
    owned::check_ledger(state)?;
    let mut reader = Reader::new(state, LEDGER, Position::default());
    while let Some(told) = reader.read()? {
        if let Told::Line(line) = told {
            let record: Value = serde_json::from_slice(&line.whole).context("its first record is no JSON")?;
            return Ok(record["time"].as_str().map(shown));
        }
    }
    Ok(None)
}
