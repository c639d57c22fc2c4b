use std::io::{IsTerminal, Write};

use serde::Serialize;
use serde_json::Value;

use super::records::Record;
use crate::page::shown;
use crate::table;

/// Endpoints past these are counted, not named, in a table.
const NAMED: usize = 3;
/// Of a fingerprint.
const SHORT: usize = "SHA256:".len() + 10;
const HEADER: [&str; 5] = ["TIME", "WHO", "ACT", "ABOUT", "REASON"];
/// Of all columns but the last, with what parts them.
const WIDTHS: [u16; 4] = [12, 20, 13, 18];

/// Prints records as a person reads them, each as it comes.
pub(crate) struct Rows {
    /// `None` where no terminal is: nothing is wrapped then.
    width: Option<u16>,
    begun: bool,
}

impl Rows {
    pub(crate) fn new() -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        Rows { width: is_terminal.then(table::width), begun: false }
    }

    pub(crate) fn print(&mut self, record: &Record) -> anyhow::Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            self.row(&HEADER.map(str::to_owned))?;
        }
        let named = if self.width.is_some() { NAMED } else { usize::MAX };
        self.row(&[time(record), who(record), act(record), about(record, named), reason(record)])
    }

    fn row(&self, cells: &[String; 5]) -> anyhow::Result<()> {
        let Some(width) = self.width else {
            writeln!(std::io::stdout().lock(), "{}", line(cells))?;
            return Ok(());
        };
        let last = width.saturating_sub(WIDTHS.iter().sum()).max(WIDTHS[0]);
        let widths: Vec<u16> = WIDTHS.into_iter().chain([last]).collect();
        table::print(&table::row(cells, &widths))
    }
}

/// A record on one line, of which a search finds all.
fn line(cells: &[String; 5]) -> String {
    let [time, rest @ ..] = cells;
    let time = time.replacen('\n', "T", 1);
    let mut line = format!("{time:<20}");
    for (cell, width) in rest.iter().zip([30, 12, 24, 0]) {
        line += &format!("  {:<width$}", cell.replace('\n', " "));
    }
    line.trim_end().to_owned()
}

/// The day above the time of day.
fn time(record: &Record) -> String {
    shown(record.text("time").unwrap_or("unknown")).replacen('T', "\n", 1)
}

fn who(record: &Record) -> String {
    let told = |field| record.text_in("who", field).map(shown);
    match (told("principal"), told("user")) {
        (Some(principal), _) => {
            let key = told("key").unwrap_or_default();
            let short: String = key.chars().take(SHORT).collect();
            format!("{principal}\n{short}…")
        }
        (None, Some(user)) if record.text("act") == Some("undone") => user,
        (None, None) if record.text("act") == Some(RELOAD) => "serve".to_owned(),
        (None, Some(user)) => format!("{user}\nunproven"),
        (None, None) => "unknown".to_owned(),
    }
}

fn act(record: &Record) -> String {
    let vouched = if record.vouched { "" } else { "\nNOT VOUCHED" };
    let away = record.fields.get("away").and_then(Value::as_bool) == Some(true);
    let away = if away { "\n(checkout)" } else { "" };
    format!("{}\n#{}{away}{vouched}", shown(record.text("act").unwrap_or("unknown")), record.number)
}

fn about(record: &Record, named: usize) -> String {
    let subject = record.text("approval").or_else(|| record.text("drift")).map(shown);
    let all: Vec<String> = record.texts("endpoints").map(shown).collect();
    let more = all.len().saturating_sub(named);
    let more = (more > 0).then(|| format!("and {more} more"));
    subject.into_iter().chain(all.into_iter().take(named)).chain(more).collect::<Vec<_>>().join("\n")
}

fn reason(record: &Record) -> String {
    if record.text("act") == Some(RELOAD) {
        return reloaded(record);
    }
    let of = record.fields.get("of").and_then(Value::as_u64).map(|number| format!("#{number}:"));
    let ticket = record.text("ticket").map(|ticket| format!("[{}]", shown(ticket)));
    let all = [of, record.text("reason").map(shown), ticket];
    all.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The act of a record of `serve`: it read what no act wrote.
pub(crate) const RELOAD: &str = "reload";

/// A change that `serve` read, told beside the acts of the ledger.
pub(crate) fn as_row(mut record: Record) -> Record {
    let forms = ["new", "old"].iter().filter_map(|field| record.fields.get(*field)?.get("listen").cloned());
    let listen = forms.into_iter().next().unwrap_or_else(|| Value::Array(Vec::new()));
    record.fields.insert("act".to_owned(), RELOAD.into());
    record.fields.insert("log".to_owned(), "reloads".into());
    record.fields.insert("endpoints".to_owned(), listen);
    record
}

fn reloaded(record: &Record) -> String {
    let is_there = |field: &str| record.fields.get(field).is_some_and(Value::is_object);
    let what = match (is_there("old"), is_there("new")) {
        (false, _) => "added",
        (true, false) => "removed",
        (true, true) => "changed",
    };
    let mut text = format!("{what} without an act here");
    for (name, field) in [("revision", "revision"), ("commit", "git"), ("it does not count:", "distrust")] {
        if let Some(value) = record.text(field) {
            text += &format!(", {name} {}", shown(value));
        }
    }
    text
}

/// The record as it stands in the log, with `vouched`: on one line.
pub(crate) fn json_line(record: &Record) -> String {
    let mut fields = record.fields.clone();
    fields.insert("vouched".to_owned(), record.vouched.into());
    plain(&Value::Object(fields).to_string())
}

/// JSON on one line that no terminal is misled by: what is not printable within its strings is written as `\uNNNN`.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            ' '..='~' => plain.push(character),
            _ if character.escape_debug().len() == 1 => plain.push(character),
            _ => {
                let mut units = [0; 2];
                let units = character.encode_utf16(&mut units);
                plain.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
            }
        }
    }
    plain
}

pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{}", plain(&serde_json::to_string(value)?))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_the_same_and_misleads_no_terminal() {
        let value = json!({"reason": "a\u{1b}[2J\u{9b}\u{202e}é\u{e0001}\\"});
        let line = plain(&value.to_string());
        assert!(line.contains("é") && !line.is_ascii(), "{line}");
        assert!(!line.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\u{e0001}']), "{line}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
    }

    #[test]
    fn a_row_tells_who_is_proven() {
        let fields = json!({
            "time": "2026-03-14T09:00:00Z", "act": "approve", "approval": "web", "ticket": "OPS-17",
            "who": {"user": "root", "principal": "alice@example.org", "key": "SHA256:abcdefghijklmnop"},
            "endpoints": ["tcp/*:1", "tcp/*:2", "tcp/*:3", "tcp/*:4"], "reason": "a\u{1b}b",
        });
        let mut record = Record { number: 7, vouched: false, fields: fields.as_object().unwrap().clone() };
        assert_eq!(who(&record), "alice@example.org\nSHA256:abcdefghij…");
        assert_eq!(act(&record), "approve\n#7\nNOT VOUCHED");
        assert_eq!(about(&record, NAMED), "web\ntcp/*:1\ntcp/*:2\ntcp/*:3\nand 1 more");
        assert_eq!(reason(&record), "a\\x1bb [OPS-17]");
        let line =
            line(&[time(&record), who(&record), act(&record), about(&record, usize::MAX), reason(&record)]);
        assert!(line.starts_with("2026-03-14T09:00:00Z  alice@example.org"), "{line}");
        assert!(!line.contains('\n') && line.contains("tcp/*:3 tcp/*:4"), "{line}");
        record.fields.insert("away".to_owned(), true.into());
        assert_eq!(act(&record), "approve\n#7\n(checkout)\nNOT VOUCHED");
        record.fields["who"] = json!({"user": "bob", "principal": null});
        assert_eq!(who(&record), "bob\nunproven");
    }
}
