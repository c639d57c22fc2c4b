//! Edits of a baseline's text that leave what they do not touch, byte for byte.

use std::fmt::Display;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::line_starts;
use crate::{Approval, Diagnostic, NetNsPattern, SourceText};

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
    let found = tables.iter().find(|table| table.id == id);
    let table = found.ok_or_else(|| EditError::Unknown { path: shown(file), id: id.to_owned() })?;
    let text = &file.text;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let starts = line_starts(text);
    let line_of = |at: usize| starts.partition_point(|start| *start <= at).saturating_sub(1);
    let header =
        (0..=line_of(table.keys.start)).rev().find(|line| lines[*line].trim_start().starts_with("[["));
    let header = header.unwrap_or_default();
    let comment =
        header - lines[..header].iter().rev().take_while(|line| line.trim_start().starts_with('#')).count();
    // What stands at the very top is about the file.
    let mut first = if comment == 0 { header } else { comment };
    let mut after = line_of(table.keys.end.saturating_sub(1)) + 1;
    let is_blank = |line: Option<&&str>| line.is_some_and(|line| line.trim().is_empty());
    if is_blank(lines.get(after)) {
        after += 1;
    } else if after >= lines.len() && first > 0 && is_blank(lines.get(first - 1)) {
        first -= 1;
    }
    Ok(lines[..first].iter().chain(&lines[after..]).copied().collect())
}

/// An approval's table: its id, and from where to where its keys and values stand.
struct Table {
    id: String,
    keys: Range<usize>,
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
    Some(Table { id, keys: start..end })
}

fn shown(file: &SourceText) -> String {
    crate::diagnostic::shown_path(&file.path).escaped()
}

/// An approval as it stands in a file.
pub fn render(approval: &Approval) -> String {
    let mut table = Rendered("[[approval]]\n".to_owned());
    table.text("id", Some(&approval.id));
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
    table.0
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
        let line = quoted.join(", ");
        match quoted.as_slice() {
            [] => {}
            [one] => self.bare(key, Some(one)),
            _ if line.len() <= WIDTH => self.bare(key, Some(format!("[{line}]"))),
            _ => self.bare(key, Some(format!("[\n    {},\n]", quoted.join(",\n    ")))),
        }
    }
}

fn quote(value: &impl Display) -> String {
    toml::Value::String(value.to_string()).to_string()
}
