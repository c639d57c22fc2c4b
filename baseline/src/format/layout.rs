use std::fmt;
use std::iter::Peekable;
use std::ops::Range;
use std::vec::IntoIter;

use toml_parser::Source;
use toml_parser::lexer::{Token, TokenKind};

use crate::diagnostic::line_starts;
use crate::edit::written;
use crate::{Diagnostic, SourceText};

/// A file as it is laid out: all that is not blanks.
pub(super) struct Layout {
    tables: Vec<Table>,
    /// What stands after the last table.
    end: Vec<Line>,
}

#[derive(Default)]
struct Table {
    /// What stands above its header.
    above: Vec<Line>,
    header: String,
    comment: Option<String>,
    entries: Vec<Entry>,
}

/// A line without a key or a header.
enum Line {
    Blank,
    Comment(String),
}

struct Entry {
    above: Vec<String>,
    key: String,
    value: Value,
    comment: Option<String>,
}

enum Value {
    One(String),
    List(Vec<Element>),
}

/// Of a list.
enum Element {
    Value(String),
    /// Behind what stands before it on its line.
    CommentBehind(String),
    CommentAlone(String),
}

/// The order of keys in each sort of table, as [`crate::edit::render`] has it; others follow as they stand.
const ORDER: [&str; 24] = [
    "id",
    "serial",
    "listen",
    "program",
    "arguments",
    "unit",
    "image",
    "service",
    "user",
    "group",
    "netns",
    "judged",
    "sha256",
    "reach",
    "required",
    "hosts",
    "team",
    "ticket",
    "reason",
    "by",
    "at",
    "expires",
    "signature",
    "countersigned",
];

impl Layout {
    /// Of a file that was parsed. Fails with the place of what is laid out in another way than as tables of plain keys.
    pub(super) fn of(file: &SourceText) -> Result<Self, Box<Diagnostic>> {
        let tokens = Source::new(&file.text).lex().into_vec();
        let mut reader = Reader { file, tokens: tokens.into_iter().peekable() };
        let mut layout = Layout { tables: Vec::new(), end: Vec::new() };
        let mut above = Vec::new();
        while let Some(token) = reader.next_on_line() {
            match token.kind() {
                TokenKind::Newline => above.push(Line::Blank),
                TokenKind::Comment => {
                    above.push(Line::Comment(reader.comment(&token)));
                    reader.end_line();
                }
                TokenKind::LeftSquareBracket => {
                    let header = reader.header(&token)?;
                    let comment = reader.comment_behind();
                    let above = std::mem::take(&mut above);
                    layout.tables.push(Table { above, header, comment, entries: Vec::new() });
                }
                _ => {
                    let Some(table) = layout.tables.last_mut() else { return Err(reader.unusual(&token)) };
                    let key = reader.key(&token)?;
                    let value = reader.value()?;
                    let comment = reader.comment_behind();
                    let above = above.drain(..).filter_map(|line| match line {
                        Line::Blank => None,
                        Line::Comment(text) => Some(text),
                    });
                    table.entries.push(Entry { above: above.collect(), key, value, comment });
                }
            }
        }
        layout.end = above;
        let place = |entry: &Entry| ORDER.iter().position(|key| *key == entry.key).unwrap_or(ORDER.len());
        layout.tables.iter_mut().for_each(|table| table.entries.sort_by_key(place));
        Ok(layout)
    }
}

/// Takes a file apart that is known to be good.
struct Reader<'a> {
    file: &'a SourceText,
    tokens: Peekable<IntoIter<Token>>,
}

impl Reader<'_> {
    fn text(&self, span: Range<usize>) -> &str {
        self.file.text.get(span).unwrap_or_default()
    }

    fn comment(&self, token: &Token) -> String {
        self.text(span(token)).trim_end().to_owned()
    }

    fn unusual(&self, token: &Token) -> Box<Diagnostic> {
        Box::new(Diagnostic::new(self.file, &line_starts(&self.file.text), span(token), ""))
    }

    /// The next token but blanks; a line's end is one.
    fn next_on_line(&mut self) -> Option<Token> {
        while self.tokens.next_if(|token| token.kind() == TokenKind::Whitespace).is_some() {}
        self.tokens.next().filter(|token| token.kind() != TokenKind::Eof)
    }

    fn end_line(&mut self) {
        while self.tokens.next().is_some_and(|token| token.kind() != TokenKind::Newline) {}
    }

    /// Takes the rest of a line.
    fn comment_behind(&mut self) -> Option<String> {
        let token = self.next_on_line()?;
        if token.kind() != TokenKind::Comment {
            return None;
        }
        self.end_line();
        Some(self.comment(&token))
    }

    fn header(&mut self, first: &Token) -> Result<String, Box<Diagnostic>> {
        let mut header = String::from("[");
        let ends =
            |token: &Token| matches!(token.kind(), TokenKind::Newline | TokenKind::Comment | TokenKind::Eof);
        while let Some(token) = self.tokens.next_if(|token| !ends(token)) {
            header.push_str(self.text(span(&token)).trim());
        }
        match header.as_str() {
            "[defaults]" | "[[approval]]" | "[[scope]]" | "[[revoked]]" => Ok(header),
            _ => Err(self.unusual(first)),
        }
    }

    fn key(&mut self, first: &Token) -> Result<String, Box<Diagnostic>> {
        let key = self.text(span(first)).to_owned();
        let equals = self.next_on_line().filter(|token| token.kind() == TokenKind::Equals);
        match first.kind() {
            TokenKind::Atom if equals.is_some() => Ok(key),
            _ => Err(self.unusual(first)),
        }
    }

    fn value(&mut self) -> Result<Value, Box<Diagnostic>> {
        let Some(first) = self.next_on_line() else { return Ok(Value::One(String::new())) };
        if first.kind() != TokenKind::LeftSquareBracket {
            let end = |kind| matches!(kind, TokenKind::Newline | TokenKind::Comment | TokenKind::Eof);
            return self.scalar(&first, end).map(Value::One);
        }
        let mut elements = Vec::new();
        let mut line_began = false;
        while let Some(token) = self.next_on_line() {
            match token.kind() {
                TokenKind::RightSquareBracket => break,
                TokenKind::Newline => line_began = true,
                TokenKind::Comma => {}
                TokenKind::Comment => {
                    let text = self.comment(&token);
                    elements.push(match line_began {
                        true => Element::CommentAlone(text),
                        false => Element::CommentBehind(text),
                    });
                }
                _ => {
                    let end = |kind| {
                        matches!(
                            kind,
                            TokenKind::Newline
                                | TokenKind::Comment
                                | TokenKind::Comma
                                | TokenKind::RightSquareBracket
                        )
                    };
                    elements.push(Element::Value(self.scalar(&token, end)?));
                    line_began = false;
                }
            }
        }
        Ok(Value::List(elements))
    }

    /// One that holds plain values alone.
    fn inline_table(&mut self, first: &Token) -> Result<String, Box<Diagnostic>> {
        let mut end = span(first).end;
        for token in self.tokens.by_ref() {
            end = span(&token).end;
            if token.kind() == TokenKind::RightCurlyBracket {
                break;
            }
        }
        let read: Result<toml::Table, _> =
            toml::from_str(&format!("v = {}", self.text(span(first).start..end)));
        match read.ok().and_then(|mut table| table.remove("v")) {
            Some(toml::Value::Table(table)) => Ok(inline(&table)),
            _ => Err(self.unusual(first)),
        }
    }

    /// A value that may be several tokens, as 2027-11-21 09:00:00.5 is, in its one form.
    fn scalar(&mut self, first: &Token, ends: impl Fn(TokenKind) -> bool) -> Result<String, Box<Diagnostic>> {
        if first.kind() == TokenKind::LeftCurlyBracket {
            return self.inline_table(first);
        }
        let mut end = span(first).end;
        while let Some(token) = self.tokens.next_if(|token| !ends(token.kind())) {
            end = span(&token).end;
        }
        let written = self.text(span(first).start..end).trim();
        let read: Result<toml::Table, _> = toml::from_str(&format!("v = {written}"));
        match read.ok().and_then(|mut table| table.remove("v")) {
            None | Some(toml::Value::Table(_) | toml::Value::Array(_)) => Err(self.unusual(first)),
            Some(value) => Ok(value.to_string()),
        }
    }
}

/// A signature on one line, as [`crate::edit::render`] has it.
fn inline(table: &toml::Table) -> String {
    let mut keys: Vec<&String> = table.keys().collect();
    keys.sort_by_key(|key| ORDER.iter().position(|known| known == key));
    let each: Vec<String> =
        keys.iter().filter_map(|key| Some(format!("{key} = {}", table.get(*key)?))).collect();
    format!("{{ {} }}", each.join(", "))
}

fn span(token: &Token) -> Range<usize> {
    token.span().start()..token.span().end()
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, table) in self.tables.iter().enumerate() {
            let touches = write_above(f, &table.above, place == 0, true)?;
            if !touches && (place > 0 || has_comment(&table.above)) {
                writeln!(f)?;
            }
            writeln!(f, "{}{}", table.header, behind(table.comment.as_ref()))?;
            table.entries.iter().try_for_each(|entry| entry.write(f))?;
        }
        write_above(f, &self.end, self.tables.is_empty(), false).map(drop)
    }
}

fn has_comment(lines: &[Line]) -> bool {
    lines.iter().any(|line| matches!(line, Line::Comment(_)))
}

fn behind(comment: Option<&String>) -> String {
    comment.map(|comment| format!(" {comment}")).unwrap_or_default()
}

/// Comments with one blank line for each gap between them. True if the last one touches what follows, which is about it
/// then. One that touches what stands before it and not what follows stays there.
fn write_above(
    f: &mut fmt::Formatter<'_>,
    lines: &[Line],
    first: bool,
    followed: bool,
) -> Result<bool, fmt::Error> {
    let mut blocks: Vec<Vec<&str>> = vec![Vec::new()];
    for line in lines {
        match (line, blocks.last_mut()) {
            (Line::Comment(text), Some(block)) => block.push(text),
            _ => blocks.push(Vec::new()),
        }
    }
    let touches_before = blocks.first().is_some_and(|block| !block.is_empty()) && !first;
    let touches_after = followed && blocks.last().is_some_and(|block| !block.is_empty());
    blocks.retain(|block| !block.is_empty());
    let stays = touches_before && !(touches_after && blocks.len() == 1);
    for (place, block) in blocks.iter().enumerate() {
        if place > 0 || !first && !stays {
            writeln!(f)?;
        }
        block.iter().try_for_each(|comment| writeln!(f, "{comment}"))?;
    }
    Ok(touches_after)
}

impl Entry {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.above.iter().try_for_each(|comment| writeln!(f, "{comment}"))?;
        let behind = behind(self.comment.as_ref());
        let values = |elements: &[Element]| -> Option<Vec<String>> {
            let value = |element: &Element| match element {
                Element::Value(value) => Some(value.clone()),
                Element::CommentBehind(_) | Element::CommentAlone(_) => None,
            };
            elements.iter().map(value).collect()
        };
        match &self.value {
            Value::One(value) => writeln!(f, "{} = {value}{behind}", self.key),
            Value::List(elements) => match values(elements) {
                Some(values) if !values.iter().any(|value| value.starts_with('{')) => {
                    writeln!(f, "{} = {}{behind}", self.key, written(&values))
                }
                _ => {
                    write!(f, "{} = [", self.key)?;
                    write_elements(f, elements)?;
                    writeln!(f, "\n]{behind}")
                }
            },
        }
    }
}

/// A list that has comments, each value on a line of its own.
fn write_elements(f: &mut fmt::Formatter<'_>, elements: &[Element]) -> fmt::Result {
    elements.iter().try_for_each(|element| match element {
        Element::Value(value) => write!(f, "\n    {value},"),
        Element::CommentBehind(comment) => write!(f, " {comment}"),
        Element::CommentAlone(comment) => write!(f, "\n    {comment}"),
    })
}
