//! What is told of a record, whoever it is told to.

use inventory::RawText;
use serde_json::{Value, json};

use super::receiver::Log;

/// A record, or what we have to say about a log, taken apart for those who search by field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) log: Log,
    /// What happened, in one word.
    pub(crate) word: String,
    pub(crate) level: Level,
    /// RFC 3339 in UTC; `None` where the record does not say, or says no time.
    pub(crate) time: Option<String>,
    /// In the order in which they are shown, none twice.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// The record as it stands in the log. What the log could not have from us is escaped.
    pub(crate) json: String,
}

/// How grave it is, by the numbers of syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Critical = 2,
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
}

/// Where in a record each field is. `*` goes through a list; of several places the first that has something counts.
const FIELDS: [(&str, &[&str]); 25] = [
    ("approval", &["approval"]),
    ("serial", &["serial"]),
    ("drift", &["drift"]),
    ("kind", &["kind"]),
    ("severity", &["severity"]),
    ("verdict", &["verdict"]),
    ("by", &["who/principal", "who/user", "by"]),
    ("key", &["who/key"]),
    ("of", &["of"]),
    ("endpoint", &["endpoints/*"]),
    ("protocol", &["protocol"]),
    ("address", &["address"]),
    ("port", &["port"]),
    ("reach", &["reach"]),
    ("netns", &["netns/name"]),
    ("program", &["holders/*/program"]),
    ("user", &["holders/*/user", "user"]),
    ("peer", &["peer"]),
    ("why", &["why"]),
    ("reason", &["reason"]),
    ("ticket", &["ticket"]),
    ("baseline_successful", &["baseline_successful"]),
    ("config_successful", &["config_successful"]),
    ("revision", &["revision"]),
    ("git", &["git"]),
];

/// No field is longer, in bytes: the record itself has it whole.
const MAX_FIELD: usize = 1024;

impl Event {
    /// Of a line without its newline.
    pub(crate) fn of(log: Log, record: u64, hash: &str, line: &[u8]) -> Self {
        let value = serde_json::from_slice(line).unwrap_or(Value::Null);
        let word = text(&value["act"]).or_else(|| text(&value["event"]));
        let word = word.filter(|word| is_word(word)).unwrap_or_else(|| "record".to_owned());
        let mut fields =
            vec![("log", log.as_str().to_owned()), ("record", record.to_string()), ("hash", hash.to_owned())];
        for (name, places) in FIELDS {
            let found = places.iter().map(|place| gathered(&value, place)).find(|found| !found.is_empty());
            fields.extend(found.map(|found| (name, cut(found, MAX_FIELD))));
        }
        Event {
            log,
            level: level(&value, &word),
            word,
            time: text(&value["time"]).and_then(|time| to_the_microsecond(&time)),
            fields,
            json: shown(line),
        }
    }

    /// These records were not exported, and never will be.
    pub(crate) fn missed(log: Log, from: u64, to: u64) -> Self {
        let json = json!({"event": "missed", "log": log.as_str(), "from": from, "to": to});
        let fields = vec![
            ("log", log.as_str().to_owned()),
            ("from", from.to_string()),
            ("to", to.to_string()),
            ("why", "they were dropped before they were exported, or are damaged".to_owned()),
        ];
        Event::own(log, "missed", Level::Warning, fields, &json)
    }

    /// The log cannot be read on as it was.
    pub(crate) fn damaged(log: Log, after: u64, why: &str) -> Self {
        let why = shown(why.as_bytes());
        let json = json!({"event": "damaged", "log": log.as_str(), "after": after, "why": why});
        let fields = vec![
            ("log", log.as_str().to_owned()),
            ("after", after.to_string()),
            ("why", cut(why, MAX_FIELD)),
        ];
        Event::own(log, "damaged", Level::Error, fields, &json)
    }

    fn own(log: Log, word: &str, level: Level, fields: Vec<(&'static str, String)>, json: &Value) -> Self {
        Event { log, word: word.to_owned(), level, time: None, fields, json: json.to_string() }
    }
}

/// An opened drift is as grave as it says. What ended is news, and wakes nobody.
fn level(value: &Value, word: &str) -> Level {
    let fails = |key: &str| value[key] == Value::Bool(false);
    match (word, value["severity"].as_str()) {
        ("drift_closed" | "alert_resolved", _) => Level::Notice,
        (_, Some("critical")) => Level::Critical,
        (_, Some("warning")) => Level::Warning,
        ("reload", _) if fails("baseline_successful") || fails("config_successful") => Level::Error,
        ("web_config", _) if fails("successful") => Level::Error,
        ("refused" | "crowd", _) => Level::Warning,
        ("reload" | "approval" | "admitted" | "web_config", _) => Level::Notice,
        _ if value["act"].is_string() => Level::Notice,
        _ => Level::Info,
    }
}

/// What may stand as MSGID, RFC 5424 section 6.2.7.
fn is_word(word: &str) -> bool {
    (1..=32).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_graphic())
}

/// All values at a place, each once, parted by commas.
fn gathered(value: &Value, place: &str) -> String {
    let mut found: Vec<String> = Vec::new();
    gather(value, place, &mut found);
    found.join(",")
}

fn gather(value: &Value, place: &str, found: &mut Vec<String>) {
    let (key, rest) = place.split_once('/').unwrap_or((place, ""));
    let below: Vec<&Value> = match (key, value) {
        ("", _) => {
            found.extend(text(value).filter(|text| !text.is_empty() && !found.contains(text)));
            return;
        }
        ("*", Value::Array(values)) => values.iter().collect(),
        (key, value) => value.get(key).into_iter().collect(),
    };
    // As many as find room in a field.
    below.into_iter().take(MAX_FIELD).for_each(|value| gather(value, rest, found));
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(shown(text.as_bytes())),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// Escaped as names in the log are, but for backslashes: in the log they are escapes already.
fn shown(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for (place, part) in bytes.split(|byte| *byte == b'\\').enumerate() {
        if place > 0 {
            shown.push('\\');
        }
        shown.push_str(&RawText::new(part).escaped());
    }
    shown
}

fn cut(mut text: String, room: usize) -> String {
    if text.len() > room {
        text.truncate(boundary(&text, room.saturating_sub('…'.len_utf8())));
        text.push('…');
    }
    text
}

/// The last place up to this one where a text may be cut.
pub(crate) fn boundary(text: &str, most: usize) -> usize {
    (0..=most.min(text.len())).rev().find(|place| text.is_char_boundary(*place)).unwrap_or(0)
}

/// As RFC 5424 wants it: not to the nanosecond, and in no other zone.
fn to_the_microsecond(time: &str) -> Option<String> {
    let time: jiff::Timestamp = time.parse().ok()?;
    Some(format!("{time:.6}"))
}

#[cfg(test)]
mod tests;
