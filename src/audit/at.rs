use std::io::Write;

use baseline::{Host, Wanted};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::history::{Answer, Field, Found, History, Later, Question, Source, Trace};
use super::kept::Kept;
use super::place::Place;
use super::records::Soundness;
use super::streams::{self, Stream};
use super::{rows, tell_strangers, told};
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
    let kept = Kept::of(place)?;
    let (of_ledger, of_reloads) = (ledger.verify()?, reloads.verify()?);
    let mut sources = [
        Stream::of(Source::Ledger, ledger.records(&of_ledger))?,
        Stream::of(Source::Reloads, reloads.records(&of_reloads))?,
    ];
    while let Some((source, record)) = streams::next(&mut sources)? {
        history.take(source, &record);
    }
    let mut answer = history.answer();
    for (name, stream) in ["ledger", "log of reloads"].iter().zip(&sources) {
        let notes = stream.span.clock().into_iter();
        answer.not_known.extend(notes.map(|note| format!("exact times: in the {name} {note}")));
        let replaced = stream.span.replaced().iter();
        answer.not_known.extend(replaced.map(|note| format!("what was done in between: {name} {note}")));
    }
    answer.not_known.extend(missing("ledger", &of_ledger));
    answer.not_known.extend(missing("log of reloads", &of_reloads));
    match format {
        ReportFormat::Table => std::io::stdout().lock().write_all(text(&answer).as_bytes())?,
        ReportFormat::Json => rows::print_json(&answer)?,
    }
    tell_strangers(&ledger, "ledger: ")?;
    tell_strangers(&reloads, "reloads: ")?;
    let [first, second] = &sources;
    aside(format_args!("ledger: {}", told::soundness(place, &ledger, &of_ledger, &first.span)));
    aside(format_args!("reloads: {}", told::soundness(place, &reloads, &of_reloads, &second.span)));
    let lost = kept.lost(&ledger, &of_ledger)?;
    if let Some(lost) = &lost {
        aside(lost);
    }
    let sound =
        lost.is_none() && [of_ledger, of_reloads].iter().all(|one| matches!(one, Soundness::Sound(_)));
    Ok(if sound { Outcome::Clean } else { Outcome::Drift })
}

/// What a log once told, and tells no more.
fn missing(name: &str, soundness: &Soundness) -> Option<String> {
    match soundness {
        Soundness::Sound(verified) if verified.first > 1 => Some(format!(
            "what the {name} said before record {}: its older segments are not there",
            verified.first
        )),
        Soundness::Sound(_) => None,
        Soundness::Broken(broken) => {
            Some(format!("what the {name} said from record {} on: {}", broken.record, broken.why))
        }
    }
}

fn text(answer: &Answer) -> String {
    let host = answer.host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
    let mut text = format!("{} at {}{host}\n", answer.endpoint, answer.at);
    let (not, covered): (Vec<&Found>, Vec<&Found>) =
        answer.approvals.iter().partition(|found| found.counts == Some(false));
    if covered.is_empty() {
        text += "\nNo approval covered it, as far as the records tell.\n";
    }
    for found in covered {
        let how = if found.covers_all { "covered it" } else { "covered a part of it" };
        let counts = if found.counts.is_none() { ", if it counted" } else { "" };
        text += &block(found, &format!("{how}{counts}"));
    }
    if !not.is_empty() {
        text += "\nSpoke of it, and did not count:\n";
    }
    for found in not {
        text += &block(found, if found.covers_all { "names it" } else { "names a part of it" });
    }
    if !answer.not_known.is_empty() {
        text += "\nNot known:\n";
        for note in &answer.not_known {
            text += &format!("  {}\n", shown(note));
        }
    }
    text
}

fn block(found: &Found, how: &str) -> String {
    let field = |name: &str| found.approval.get(name).and_then(serde_json::Value::as_str).map(shown);
    let listen: Vec<String> = texts(found.approval.get("listen"));
    let mut text = format!("\nApproval `{}` {how}: {}\n", shown(&found.id), listen.join(", "));
    let mut line = |name: &str, words: String| text += &format!("  {name:<13} {words}\n");
    if let Some(why) = &found.why_not {
        let since = found.not_since.as_deref().unwrap_or_default();
        line("did not count", format!("since {}: {}", shown(since), shown(why)));
    } else if found.counts.is_none() {
        line("counted", "not known: its records do not say".to_owned());
    }
    if let Some(expires) = field("expires") {
        line(if found.expired { "expired" } else { "expires" }, expires);
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
    for (name, words) in reasons(found) {
        line(name, words);
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

/// What was said when it was approved; and what the file said, where it was edited since then.
fn reasons(found: &Found) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    for name in ["reason", "ticket"] {
        let in_file = found.approval.get(name).and_then(serde_json::Value::as_str);
        let Some(said) = &found.said else {
            lines.extend(in_file.map(|text| (name, shown(text))));
            continue;
        };
        let recorded = if name == "reason" { &said.reason } else { &said.ticket };
        if recorded.as_deref() == in_file {
            lines.extend(in_file.map(|text| (name, shown(text))));
            continue;
        }
        let none = || "none".to_owned();
        let recorded = recorded.as_deref().map_or_else(none, shown);
        let who = told_who(said.who.as_ref());
        lines.push((name, format!("{recorded}, as {who} said in ledger record {}", said.record)));
        let in_file = in_file.map_or_else(none, shown);
        lines.push(("in the file", format!("{name} {in_file}: reason and ticket are not signed")));
    }
    if !lines.iter().any(|(name, _)| *name == "reason") {
        lines.insert(0, ("reason", "none is given".to_owned()));
    }
    lines
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
    if trace.who.is_some() {
        let away = if trace.away { " (checkout)" } else { "" };
        text += &format!(": {}{away} by {}", shown(&trace.act), told_who(trace.who.as_ref()));
    }
    let named = [
        ("revision", &trace.revision),
        ("commit", &trace.git),
        ("reason", &trace.reason),
        ("ticket", &trace.ticket),
    ];
    for (name, value) in named {
        // That of an approval has a line of its own.
        let again =
            matches!(name, "reason" | "ticket") && matches!(trace.act.as_str(), "approve" | "propose");
        if let Some(value) = value.as_ref().filter(|_| !again) {
            text += &format!(", {name} {}", shown(value));
        }
    }
    if let Some(why) = &trace.distrust {
        text += &format!(", did not count: {}", shown(why));
    }
    if trace.vouched { text } else { text + " (NOT VOUCHED FOR)" }
}

/// Who did it: proven by a key, or as the system called them.
pub(crate) fn told_who(who: Option<&serde_json::Value>) -> String {
    let told = |field: &str| who?.get(field).and_then(serde_json::Value::as_str).map(shown);
    match (told("principal"), told("key"), told("user")) {
        (Some(principal), Some(key), _) => format!("{principal} ({key})"),
        (_, _, Some(user)) => format!("{user}, unproven"),
        (_, _, None) => "somebody unknown".to_owned(),
    }
}

fn told_later(later: &Later) -> String {
    let changed: Vec<String> = later.changed.iter().map(told_change).collect();
    let what = match later.undone {
        Some(act) => format!("ledger record {act} was taken back: it was not carried out"),
        None if later.removed => "removed".to_owned(),
        None if later.added => "put in anew".to_owned(),
        None if changed.is_empty() => "nothing in it differs".to_owned(),
        None => changed.join("; "),
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
