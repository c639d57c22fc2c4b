use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use inventory::RawText;

/// One file of a baseline, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceText {
    /// Where it was read from.
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
}

/// Something wrong at a place in a file.
///
/// ```text
/// /etc/portledger/baseline.toml:3:1: unknown key `programm`: did you mean `program`?
///   3 | programm = "/usr/sbin/sshd"
///     | ^^^^^^^^
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file.
    pub path: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// A sentence, escaped.
    pub message: String,
    before: String,
    marked: String,
    after: String,
}

/// Longer lines are cut where they are shown.
const SHOWN: usize = 160;

impl Diagnostic {
    /// `lines` is where each line begins, `span` is in bytes and may lie at the end of the text. `message` may quote
    /// the file.
    pub(crate) fn new(source: &SourceText, lines: &[usize], span: Range<usize>, message: &str) -> Self {
        let text = &source.text;
        let at = floor(text, span.start);
        let line = lines.partition_point(|start| *start <= at);
        let start = line.checked_sub(1).and_then(|place| lines.get(place)).copied().unwrap_or(0);
        let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
        let stop = floor(text, span.end).clamp(at, end);
        Diagnostic {
            path: source.path.clone(),
            line,
            column: text[start..at].chars().count() + 1,
            message: escape(message),
            before: last(&text[start..at]),
            marked: first(&text[at..stop]),
            after: first(text[stop..end].trim_end_matches('\r')),
        }
    }

    /// `path:line:column`, escaped.
    pub fn place(&self) -> String {
        format!("{}:{}:{}", shown_path(&self.path), self.line, self.column)
    }
}

/// Where each line of a text begins, in bytes.
pub(crate) fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

/// A path as it may stand in a message.
pub fn shown_path(path: &Path) -> RawText {
    use std::os::unix::ffi::OsStrExt;
    RawText::new(path.as_os_str().as_bytes())
}

fn floor(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Messages are ours but for what they quote; backslashes of ours would be doubled, so they hold none.
fn escape(text: &str) -> String {
    RawText::from(text.replace('\t', " ").as_str()).escaped()
}

fn first(text: &str) -> String {
    escape(&text.chars().take(SHOWN).collect::<String>())
}

fn last(text: &str) -> String {
    let skipped = text.chars().count().saturating_sub(SHOWN);
    escape(&text.chars().skip(skipped).collect::<String>())
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.place(), self.message)?;
        let number = self.line.to_string();
        writeln!(f, "  {number} | {}{}{}", self.before, self.marked, self.after)?;
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(self.before.chars().count());
        write!(f, "  {margin} | {indent}{}", "^".repeat(self.marked.chars().count().max(1)))
    }
}
