use std::fmt::Write;

use jiff::Timestamp;
use ledger::Verified;
use serde_json::Value;

use super::place::Place;
use super::records::{Log, Record, Soundness};
use crate::page::shown;

/// What is counted while records go by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Span {
    records: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    /// The first records with an earlier time than the one before, and how many there are.
    backwards: (Vec<u64>, u64),
    untimed: u64,
    /// Ledgers that a `restore` put aside, sentences.
    replaced: Vec<String>,
}

/// Of records whose time runs backwards, no more are named.
const NAMED: usize = 3;

impl Span {
    pub(crate) fn take(&mut self, record: &Record) {
        self.records += 1;
        self.replaced.extend(replaced(record));
        let Some(time) = record.time() else {
            self.untimed += 1;
            return;
        };
        if self.last.is_some_and(|last| time < last) {
            self.backwards.1 += 1;
            if self.backwards.0.len() < NAMED {
                self.backwards.0.push(record.number);
            }
        }
        self.first = self.first.or(Some(time));
        self.last = Some(time);
    }

    /// What a reader should know, sentences.
    pub(crate) fn notes(&self) -> Vec<String> {
        [self.clock(), self.replaced.clone()].concat()
    }

    /// Acts that are not in this log.
    pub(crate) fn replaced(&self) -> &[String] {
        &self.replaced
    }

    /// What a reader should know of the clock.
    pub(crate) fn clock(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let (first, all) = &self.backwards;
        if *all > 0 {
            let named: Vec<String> = first.iter().map(u64::to_string).collect();
            let more = if *all > NAMED as u64 { ", …" } else { "" };
            notes.push(format!(
                "the clock was set back before record {}{more}: their order is certain, their times are not",
                named.join(", ")
            ));
        }
        match self.untimed {
            0 => {}
            1 => notes.push("1 record does not say when".to_owned()),
            many => notes.push(format!("{many} records do not say when")),
        }
        notes
    }

    fn days(&self) -> String {
        match (self.first, self.last) {
            (Some(first), Some(last)) => format!(", {first:.0} to {last:.0}"),
            _ => String::new(),
        }
    }
}

/// Which acts a `restore` put aside: they were done, and stand elsewhere.
fn replaced(record: &Record) -> Vec<String> {
    let new = record.fields.get("new").filter(|_| record.text("act") == Some("restore"));
    let all = new.and_then(|new| new.get("replaced")?.as_array()).into_iter().flatten();
    let told = |one: &Value| {
        let text = |field: &str| one.get(field).and_then(Value::as_str).map(shown).unwrap_or_default();
        let head = |field: &str| one.get("head").and_then(|head| head.get(field));
        let records = match one.get("records").and_then(Value::as_u64) {
            Some(records) => format!("of {records} records"),
            None => format!("that was broken ({})", text("broken")),
        };
        let hash = head("hash").and_then(Value::as_str).map(shown).unwrap_or_default();
        let what = match head("record").and_then(Value::as_u64) {
            Some(record) => format!("{records}, head {record}:{hash},"),
            None => records,
        };
        format!(
            "record {} put a ledger {what} aside: its acts are in {} of that host's state folder, which `portledger audit \
             --state` reads",
            record.number,
            text("folder")
        )
    };
    all.map(told).collect()
}

/// One line that says what a log is worth, and what to do where it is broken.
pub(crate) fn soundness(place: &Place, log: &Log, soundness: &Soundness, span: &Span) -> String {
    match soundness {
        Soundness::Sound(verified) => sound(place, verified, span),
        Soundness::Broken(broken) => format!(
            "BROKEN: {}. Leave {} as it is, and hold it against what left this host: a bundle of `portledger audit export`, \
             a backup, the records that your log server has",
            shown(&broken.to_string()),
            shown(&log.folder.join(format!("{}.jsonl", log.name)).display().to_string())
        ),
    }
}

fn sound(place: &Place, verified: &Verified, span: &Span) -> String {
    if verified.records == 0 {
        let but = if verified.unfinished { ", but a line without its end" } else { "" };
        return format!("no record in {}{but}", shown(&place.name()));
    }
    let records = if verified.records == 1 { "record" } else { "records" };
    let mut text = format!("{} {records}{}", verified.records, span.days());
    if verified.first > 1 {
        // Writing into memory does not fail.
        write!(text, " (those before {} are not there)", verified.first).unwrap_or_default();
    }
    match verified.keys.as_slice() {
        [] => {}
        [key] => write!(text, ", all signed by {}", key.fingerprint).unwrap_or_default(),
        keys => {
            let uses = keys.iter().map(|key| format!("{} from record {}", key.fingerprint, key.from));
            let uses: Vec<String> = uses.collect();
            write!(text, ", all signed: by {}", uses.join(", by ")).unwrap_or_default();
        }
    }
    write!(text, "; head {}:{}", verified.head.record, verified.head.hash).unwrap_or_default();
    if verified.unfinished {
        text += "; behind it stands a line without its end, which a writer is at, or which was cut";
    }
    text
}
