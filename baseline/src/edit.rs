//! Edits of a baseline's text that leave what they do not touch, byte for byte.

use std::collections::HashMap;
use std::fmt::Display;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::line_starts;
use crate::{Approval, Countersignature, Diagnostic, NetNsPattern, Revocation, SourceText};

/// Why a file was not edited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// Nothing is written into a file that cannot be read.
    #[error("{0}")]
    Broken(Box<Diagnostic>),
    /// It holds `approval = [...]` instead of `[[approval]]`.
    #[error("{0}: its approvals stand in one array: write each as a table, `[[approval]]`, and try again")]
    Inline(String),
    /// The id is taken.
    #[error("{path} holds an approval `{id}` already")]
    Taken {
        /// The file.
        path: String,
        /// The id.
        id: String,
    },
    /// There is no such approval.
    #[error("{path} holds no approval `{id}`")]
    Unknown {
        /// The file.
        path: String,
        /// The id.
        id: String,
    },
}

const HEADER: &str =
    "# What is approved to listen. `portledger approve` and `revoke` keep comments and order.\n";

/// Puts an approval at the end. An empty text is given a heading first.
pub fn add(file: &SourceText, approval: &Approval) -> Result<String, EditError> {
    if tables(file)?.iter().any(|table| table.id == approval.id) {
        return Err(EditError::Taken { path: shown(file), id: approval.id.clone() });
    }
    let mut text = if file.text.trim().is_empty() { HEADER.to_owned() } else { file.text.clone() };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&render(approval));
    Ok(text)
}

/// Takes an approval out, with the comment that stands right above it, and leaves every other byte.
pub fn remove(file: &SourceText, id: &str) -> Result<String, EditError> {
    let tables = tables(file)?;
    let table = found(&tables, file, id)?;
    let lines: Vec<&str> = file.text.split_inclusive('\n').collect();
    let Range { start: header, end: mut after } = lines_of(table, &lines, &file.text);
    let comment =
        header - lines[..header].iter().rev().take_while(|line| line.trim_start().starts_with('#')).count();
    // What stands at the very top is about the file.
    let mut first = if comment == 0 { header } else { comment };
    let is_blank = |line: Option<&&str>| line.is_some_and(|line| line.trim().is_empty());
    if is_blank(lines.get(after)) {
        after += 1;
    } else if after >= lines.len() && first > 0 && is_blank(lines.get(first - 1)) {
        first -= 1;
    }
    Ok(lines[..first].iter().chain(&lines[after..]).copied().collect())
}

/// Where an approval stands, and how it is written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stands<'a> {
    /// Of its `[[approval]]`, counted from 1.
    pub line: usize,
    /// From there to the end of its last value.
    pub text: &'a str,
}

/// The place of an approval in a file; `None` where the file does not hold it as a table of its own.
pub fn find<'a>(file: &'a SourceText, id: &str) -> Option<Stands<'a>> {
    let tables = tables(file).ok()?;
    let table = tables.iter().find(|table| table.id == id)?;
    let lines: Vec<&str> = file.text.split_inclusive('\n').collect();
    let stands = lines_of(table, &lines, &file.text);
    let length = |lines: &[&str]| lines.iter().map(|line| line.len()).sum::<usize>();
    let start = length(lines.get(..stands.start)?);
    let end = start + length(lines.get(stands.clone())?);
    Some(Stands { line: stands.start + 1, text: file.text.get(start..end)? })
}

/// From its header to the line after its last value.
fn lines_of(table: &Table, lines: &[&str], text: &str) -> Range<usize> {
    let starts = line_starts(text);
    let line_of = |at: usize| starts.partition_point(|start| *start <= at).saturating_sub(1);
    let is_header = |line: &usize| lines.get(*line).is_some_and(|line| line.trim_start().starts_with("[["));
    let header = (0..=line_of(table.keys.start)).rev().find(is_header).unwrap_or_default();
    header..line_of(table.keys.end.saturating_sub(1)) + 1
}

/// An approval's table: its id, and from where to where its keys and values stand.
struct Table {
    id: String,
    keys: Range<usize>,
    values: HashMap<String, Place>,
}

/// Where a key stands, and its value.
struct Place {
    key: Range<usize>,
    value: Range<usize>,
}

fn found<'t>(tables: &'t [Table], file: &SourceText, id: &str) -> Result<&'t Table, EditError> {
    let found = tables.iter().find(|table| table.id == id);
    found.ok_or_else(|| EditError::Unknown { path: shown(file), id: id.to_owned() })
}

fn tables(file: &SourceText) -> Result<Vec<Table>, EditError> {
    let broken = |error: toml::de::Error| {
        let end = file.text.len();
        let span = error.span().unwrap_or(end..end);
        let lines = line_starts(&file.text);
        EditError::Broken(Box::new(Diagnostic::new(file, &lines, span, error.message())))
    };
    let document = DeTable::parse(&file.text).map_err(broken)?;
    let Some(approvals) = document.get_ref().get("approval") else { return Ok(Vec::new()) };
    let inline = || EditError::Inline(shown(file));
    let DeValue::Array(array) = approvals.get_ref() else { return Err(inline()) };
    let is_table = |element: &Spanned<DeValue<'_>>| file.text[element.span()].starts_with("[[");
    if !array.iter().all(is_table) {
        return Err(inline());
    }
    Ok(array.iter().filter_map(table).collect())
}

fn table(element: &Spanned<DeValue<'_>>) -> Option<Table> {
    let DeValue::Table(table) = element.get_ref() else { return None };
    let id = table.get("id")?.get_ref().as_str()?.to_owned();
    let start = table.keys().map(|key| key.span().start).min()?;
    let end = table.values().map(|value| value.span().end).max()?;
    let values = table
        .iter()
        .map(|(key, value)| (key.get_ref().to_string(), Place { key: key.span(), value: value.span() }));
    Some(Table { id, keys: start..end, values: values.collect() })
}

fn shown(file: &SourceText) -> String {
    crate::diagnostic::shown_path(&file.path).escaped()
}

/// An approval as it stands in a file.
pub fn render(approval: &Approval) -> String {
    let mut table = Rendered("[[approval]]\n".to_owned());
    table.text("id", Some(&approval.id));
    table.bare("serial", (approval.serial > 1 || approval.signature.is_some()).then_some(approval.serial));
    table.list("listen", &approval.listen);
    table.list("program", &approval.program);
    table.list("arguments", &approval.arguments);
    table.list("unit", &approval.unit);
    table.list("image", &approval.image);
    table.list("service", &approval.service);
    table.list("user", &approval.user);
    table.list("group", &approval.group);
    if approval.netns != [NetNsPattern::Host] {
        table.list("netns", &approval.netns);
    }
    let hashes: Vec<String> = approval.sha256.iter().map(|hash| crate::baseline::hex(hash)).collect();
    table.list("sha256", &hashes);
    table.text("reach", approval.reach);
    table.bare("required", approval.required.then_some(true));
    table.list("hosts", &approval.hosts);
    table.text("team", approval.team.as_ref());
    table.text("ticket", approval.ticket.as_ref());
    table.text("reason", approval.reason.as_ref());
    table.text("by", approval.by.as_ref());
    table.bare("at", approval.at);
    table.bare("expires", approval.expires);
    table.text("signature", approval.signature.as_ref());
    if !approval.countersigned.is_empty() {
        table.bare("countersigned", Some(rendered_countersignatures(&approval.countersigned)));
    }
    table.0
}

fn rendered_countersignatures(all: &[Countersignature]) -> String {
    let each = all.iter().map(|one| {
        let at = one.at.map(|at| format!("at = {at}, ")).unwrap_or_default();
        format!("    {{ by = {}, {at}signature = {} }},\n", quote(&one.by), quote(&one.signature))
    });
    format!("[\n{}]", each.collect::<String>())
}

/// Whether a file holds this approval.
pub fn holds(file: &SourceText, id: &str) -> bool {
    tables(file).is_ok_and(|tables| tables.iter().any(|table| table.id == id))
}

/// Gives an approval that stands in the file what says who approved it and until when, all as in `approval`; what it
/// matches stays as it is written.
pub fn sign(file: &SourceText, approval: &Approval) -> Result<String, EditError> {
    let bare = |value: Option<&dyn Display>| value.map(ToString::to_string);
    let text = |value: Option<&String>| value.map(quote);
    let wants_serial = approval.serial > 1 || approval.signature.is_some();
    let countersigned = &approval.countersigned;
    let keys = [
        ("serial", wants_serial.then(|| approval.serial.to_string())),
        ("ticket", text(approval.ticket.as_ref())),
        ("reason", text(approval.reason.as_ref())),
        ("by", text(approval.by.as_ref())),
        ("at", bare(approval.at.as_ref().map(|at| at as &dyn Display))),
        ("expires", bare(approval.expires.as_ref().map(|at| at as &dyn Display))),
        ("signature", text(approval.signature.as_ref())),
        ("countersigned", (!countersigned.is_empty()).then(|| rendered_countersignatures(countersigned))),
    ];
    let mut edited = file.clone();
    for (key, value) in keys {
        edited.text = set(&edited, &approval.id, key, value.as_deref())?;
    }
    Ok(edited.text)
}

/// Gives one key of an approval this value, or takes it away.
fn set(file: &SourceText, id: &str, key: &str, value: Option<&str>) -> Result<String, EditError> {
    let tables = tables(file)?;
    let table = found(&tables, file, id)?;
    let text = &file.text;
    let place = table.values.get(key);
    Ok(match (place, value) {
        (None, None) => text.clone(),
        (Some(place), Some(value)) => {
            format!("{}{value}{}", &text[..place.value.start], &text[place.value.end..])
        }
        (Some(place), None) => {
            let start = text[..place.key.start].rfind('\n').map_or(0, |newline| newline + 1);
            let end = line_end(text, place.value.end);
            format!("{}{}", &text[..start], &text[end..])
        }
        (None, Some(value)) => {
            let end = line_end(text, table.keys.end);
            let ended = if text[..end].ends_with('\n') { "" } else { "\n" };
            format!("{}{ended}{key} = {value}\n{}", &text[..end], &text[end..])
        }
    })
}

/// Where the line after the one that this place is in begins.
fn line_end(text: &str, place: usize) -> usize {
    text[place..].find('\n').map_or(text.len(), |newline| place + newline + 1)
}

/// Says at the end of a file that an approval was revoked, so that it never counts again.
pub fn revoke(file: &SourceText, revocation: &Revocation) -> String {
    let mut table = Rendered("[[revoked]]\n".to_owned());
    table.text("id", Some(&revocation.id));
    table.bare("serial", Some(revocation.serial));
    table.text("by", revocation.by.as_ref());
    table.bare("at", revocation.at);
    table.text("reason", revocation.reason.as_ref());
    let mut text = file.text.trim_end().to_owned();
    text.push_str(if text.is_empty() { "" } else { "\n\n" });
    text + &table.0
}

/// Longer lists stand on lines of their own.
const WIDTH: usize = 100;

struct Rendered(String);

impl Rendered {
    fn bare(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.0.push_str(&format!("{key} = {value}\n"));
        }
    }

    fn text(&mut self, key: &str, value: Option<impl Display>) {
        self.bare(key, value.map(|value| quote(&value)));
    }

    fn list<T: Display>(&mut self, key: &str, values: &[T]) {
        let quoted: Vec<String> = values.iter().map(|value| quote(value)).collect();
        self.bare(key, (!quoted.is_empty()).then(|| written(&quoted)));
    }
}

/// Values as one: a list, where there are several.
pub(crate) fn written(values: &[String]) -> String {
    let line = values.join(", ");
    match values {
        [one] => one.clone(),
        _ if line.len() <= WIDTH => format!("[{line}]"),
        _ => format!("[\n    {},\n]", values.join(",\n    ")),
    }
}

fn quote(value: &impl Display) -> String {
    toml::Value::String(value.to_string()).to_string()
}
