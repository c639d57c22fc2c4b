use std::io::Write;

use baseline::{Host, Wanted};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::history::{Answer, Field, Found, History, Later, Question, Source, Trace};
use super::place::Place;
use super::records::{Entry, Record, Records, Soundness};
use super::rows;
use super::told::{self, Span};
use crate::arguments::ReportFormat;
use crate::outcome::Outcome;
use crate::page::shown;
use crate::say::aside;

/// Answers what was approved of an endpoint at some time.
pub(super) fn run(
    place: &Place,
    wanted: Wanted,
    at: Timestamp,
    host: Option<Host>,
    format: ReportFormat,
) -> anyhow::Result<Outcome> {
    if at > Timestamp::now() {
        anyhow::bail!("--at {at:.0} lies in the future: `portledger diff` says what is approved now");
    }
    let mut history = History::new(Question { wanted, at, host, zone: TimeZone::system() });
    let (ledger, reloads) = (place.ledger(), place.reloads());
    let (of_ledger, of_reloads) = (ledger.verify()?, reloads.verify()?);
    let mut sources = [
        Stream::of(Source::Ledger, ledger.records(&of_ledger))?,
        Stream::of(Source::Reloads, reloads.records(&of_reloads))?,
    ];
    while let Some(stream) = earliest(&mut sources) {
        stream.hand_on(&mut history)?;
    }
    let mut answer = history.answer();
    for (name, stream) in ["ledger", "log of reloads"].iter().zip(&sources) {
        let notes = stream.span.notes().into_iter();
        answer.not_known.extend(notes.map(|note| format!("exact times: in the {name} {note}")));
    }
    match format {
        ReportFormat::Table => std::io::stdout().lock().write_all(text(&answer).as_bytes())?,
        ReportFormat::Json => rows::print_json(&answer)?,
    }
    let [first, second] = &sources;
    aside(format_args!("ledger: {}", told::soundness(&ledger, &of_ledger, &first.span)));
    aside(format_args!("reloads: {}", told::soundness(&reloads, &of_reloads, &second.span)));
    let sound = [of_ledger, of_reloads].iter().all(|one| matches!(one, Soundness::Sound(_)));
    Ok(if sound { Outcome::Clean } else { Outcome::Drift })
}

/// A log that is read record by record.
struct Stream<'a> {
    source: Source,
    records: Records<'a>,
    next: Option<Record>,
    /// The latest time so far: a clock that was set back does not tear the order.
    time: Timestamp,
    span: Span,
}

impl<'a> Stream<'a> {
    fn of(source: Source, records: Records<'a>) -> anyhow::Result<Self> {
        let mut stream = Stream { source, records, next: None, time: Timestamp::MIN, span: Span::default() };
        stream.advance()?;
        Ok(stream)
    }

    fn advance(&mut self) -> anyhow::Result<()> {
        self.next = None;
        for entry in self.records.by_ref() {
            if let Entry::Record(record) = entry? {
                self.span.take(&record);
                self.time = self.time.max(record.time().unwrap_or(self.time));
                self.next = Some(record);
                break;
            }
        }
        Ok(())
    }

    fn hand_on(&mut self, history: &mut History) -> anyhow::Result<()> {
        if let Some(record) = self.next.take() {
            history.take(self.source, &record);
        }
        self.advance()
    }
}

/// Of two at the same second the act comes first.
fn earliest<'a, 'b>(streams: &'a mut [Stream<'b>; 2]) -> Option<&'a mut Stream<'b>> {
    let waiting = streams.iter_mut().filter(|stream| stream.next.is_some());
    waiting.min_by_key(|stream| (stream.time, stream.source))
}

fn text(answer: &Answer) -> String {
    let host = answer.host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
    let mut text = format!("{} at {}{host}\n", answer.endpoint, answer.at);
    if answer.approvals.is_empty() {
        text += "\nNo approval covered it, as far as the records tell.\n";
    }
    for found in &answer.approvals {
        text += &block(found);
    }
    if !answer.not_known.is_empty() {
        text += "\nNot known:\n";
        for note in &answer.not_known {
            text += &format!("  {}\n", shown(note));
        }
    }
    text
}

fn block(found: &Found) -> String {
    let field = |name: &str| found.approval.get(name).and_then(serde_json::Value::as_str).map(shown);
    let listen: Vec<String> = texts(found.approval.get("listen"));
    let how = if found.covers_all { "covered it" } else { "covered a part of it" };
    let mut text = format!("\nApproval `{}` {how}: {}\n", shown(&found.id), listen.join(", "));
    let mut line = |name: &str, words: String| text += &format!("  {name:<13} {words}\n");
    if found.expired {
        line("expired", format!("{}, so it did not count any more", field("expires").unwrap_or_default()));
    } else if let Some(expires) = field("expires") {
        line("expires", expires);
    }
    match (field("by"), field("at")) {
        (Some(by), Some(at)) => line("approved by", format!("{by}, {at}")),
        (Some(by), None) => line("approved by", by),
        (None, _) => line("approved by", "nobody is named".to_owned()),
    }
    for (place, signed) in found.signatures.iter().enumerate() {
        let name = if place == 0 { "signed" } else { "countersigned" };
        let key = signed.key.clone().unwrap_or_else(|| "a key that cannot be read".to_owned());
        let worth = match &signed.wrong {
            None => "the signature is one of this approval".to_owned(),
            Some(wrong) => format!("DOES NOT COUNT: {}", shown(wrong)),
        };
        let at = signed.at.as_ref().map(|at| format!(", {}", shown(at))).unwrap_or_default();
        line(name, format!("by {} with {}{at}; {worth}", shown(&signed.by), shown(&key)));
    }
    if found.signatures.is_empty() {
        line("signed", "by nobody: the name proves nothing".to_owned());
    }
    line("reason", field("reason").unwrap_or_else(|| "none is given".to_owned()));
    if let Some(ticket) = field("ticket") {
        line("ticket", ticket);
    }
    for trace in &found.written {
        line("written", told_of(trace));
    }
    for trace in &found.in_force {
        line("in force", format!("since {}", told_of(trace)));
    }
    if found.in_force.is_empty() {
        line("in force", "no record tells that `serve` had read it by then".to_owned());
    }
    for later in &found.later {
        line("later", told_later(later));
    }
    text
}

fn texts(value: Option<&serde_json::Value>) -> Vec<String> {
    let all = value.and_then(serde_json::Value::as_array).into_iter().flatten();
    all.filter_map(serde_json::Value::as_str).map(shown).collect()
}

/// `2026-01-05T09:00:00Z, ledger record 17: approve by alice@example.org (SHA256:…), revision 3f2a…`
fn told_of(trace: &Trace) -> String {
    let log = match trace.log {
        Source::Ledger => "ledger",
        Source::Reloads => "reloads",
    };
    let mut text = format!("{}, {log} record {}", shown(&trace.time), trace.record);
    if let Some(who) = &trace.who {
        let told = |field: &str| who.get(field).and_then(serde_json::Value::as_str).map(shown);
        let who = match (told("principal"), told("key"), told("user")) {
            (Some(principal), Some(key), _) => format!("{principal} ({key})"),
            (_, _, user) => format!("{}, unproven", user.unwrap_or_default()),
        };
        text += &format!(": {} by {who}", shown(&trace.act));
    }
    let named = [
        ("revision", &trace.revision),
        ("commit", &trace.git),
        ("reason", &trace.reason),
        ("ticket", &trace.ticket),
    ];
    for (name, value) in named {
        // The reason of an approval stands in it.
        let again = trace.log == Source::Ledger && name == "reason" && trace.act == "approve";
        if let Some(value) = value.as_ref().filter(|_| !again) {
            text += &format!(", {name} {}", shown(value));
        }
    }
    if trace.vouched { text } else { text + " (NOT VOUCHED FOR)" }
}

fn told_later(later: &Later) -> String {
    let changed: Vec<String> = later.changed.iter().map(told_change).collect();
    let what = match (later.removed, changed.is_empty()) {
        (true, _) => "removed".to_owned(),
        (false, true) => "an act was taken back".to_owned(),
        (false, false) => changed.join("; "),
    };
    format!("{}: {what}", told_of(&later.trace))
}

fn told_change(change: &Field) -> String {
    let value = |value: &serde_json::Value| match value {
        serde_json::Value::Null => "nothing".to_owned(),
        serde_json::Value::String(text) => shown(text),
        serde_json::Value::Array(_) => texts(Some(value)).join(", "),
        other => shown(&other.to_string()),
    };
    match change.field.as_str() {
        // Nobody reads base64.
        "signature" | "countersigned" => format!("another {}", change.field),
        field => format!("{} was {}, now {}", shown(field), value(&change.old), value(&change.new)),
    }
}
