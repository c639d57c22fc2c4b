use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Reader;
use super::suggest::nearest;
use crate::{HostPattern, Listen, NetNsPattern, Pattern, When};

/// Takes the keys of one table apart and complains to the reader of what they hold.
pub(super) struct Fields<'r, 'a, 't> {
    reader: &'r mut Reader<'a>,
    table: &'t DeTable<'t>,
    span: Range<usize>,
}

/// A text of the file with its place.
pub(super) type Placed = (String, Range<usize>);

impl<'r, 'a, 't> Fields<'r, 'a, 't> {
    pub(super) fn new(reader: &'r mut Reader<'a>, table: &'t DeTable<'t>, span: Range<usize>) -> Self {
        Fields { reader, table, span }
    }

    pub(super) fn complain(&mut self, span: Range<usize>, message: &str) {
        self.reader.complain(span, message);
    }

    /// Where a key's value stands; the table's own place if there is no such key.
    pub(super) fn span_of(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or(self.span.clone(), Spanned::span)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Complains of keys that nobody knows.
    pub(super) fn only(&mut self, known: &[&str], of_what: &str) {
        for key in self.table.keys() {
            let word = key.get_ref().as_ref();
            if !known.contains(&word) {
                let message = match nearest(word, known) {
                    Some(meant) => format!("unknown key `{word}`: did you mean `{meant}`?"),
                    None => format!("unknown key `{word}`: {of_what} has {}", known.join(", ")),
                };
                self.reader.complain(key.span(), &message);
            }
        }
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.placed_text(key).map(|(text, _)| text)
    }

    pub(super) fn placed_text(&mut self, key: &str) -> Option<Placed> {
        let value = self.table.get(key)?;
        match value.get_ref() {
            DeValue::String(text) if !text.trim().is_empty() => Some((text.to_string(), value.span())),
            DeValue::String(_) => {
                self.reader.complain(value.span(), &format!("`{key}` is empty: leave it out or fill it in"));
                None
            }
            other => {
                let message = format!("`{key}` is one text, not {}", kind(other));
                self.reader.complain(value.span(), &message);
                None
            }
        }
    }

    pub(super) fn value(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.get(key)
    }

    /// Those of a table that stands in this one.
    pub(super) fn inner<'n>(&mut self, table: &'n DeTable<'n>, span: Range<usize>) -> Fields<'_, 'a, 'n> {
        Fields::new(self.reader, table, span)
    }

    pub(super) fn number(&mut self, key: &str) -> Option<(i64, Range<usize>)> {
        let value = self.table.get(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(number) => number.to_string().parse().ok(),
            _ => None,
        };
        if number.is_none() {
            self.reader
                .complain(value.span(), &format!("`{key}` is a number, not {}", kind(value.get_ref())));
        }
        Some((number?, value.span()))
    }

    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        let value = self.table.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            other => {
                let message = format!("`{key}` is true or false, not {}", kind(other));
                self.reader.complain(value.span(), &message);
                None
            }
        }
    }

    pub(super) fn when(&mut self, key: &str) -> Option<When> {
        let value = self.table.get(key)?;
        let DeValue::Datetime(time) = value.get_ref() else {
            let message = format!(
                "`{key}` is a date or a time without quotes, as in 2027-11-21 or \
                                   2027-11-21T09:00:00Z, not {}",
                kind(value.get_ref())
            );
            self.reader.complain(value.span(), &message);
            return None;
        };
        let when = When::parse(&time.to_string());
        if when.is_none() {
            let message = format!("`{key}` wants a day that exists, with or without a time of day");
            self.reader.complain(value.span(), &message);
        }
        when
    }

    /// One text or a list of them; a number counts as its digits. None where the key is missing.
    pub(super) fn texts(&mut self, key: &str) -> Vec<Placed> {
        let Some(value) = self.table.get(key) else { return Vec::new() };
        let DeValue::Array(array) = value.get_ref() else {
            return self.one_of_texts(key, value).into_iter().collect();
        };
        if array.is_empty() {
            let message =
                format!("`{key}` is an empty list, which nothing could match: leave it out or fill it in");
            self.reader.complain(value.span(), &message);
        }
        array.iter().filter_map(|element| self.one_of_texts(key, element)).collect()
    }

    fn one_of_texts(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Placed> {
        match value.get_ref() {
            DeValue::String(text) if text.is_empty() && key != "arguments" => {
                self.reader.complain(value.span(), &format!("`{key}` is empty: leave it out or fill it in"));
                None
            }
            DeValue::String(text) if text.chars().any(char::is_control) => {
                let message = format!("`{key}` holds a control character: write it as \\xNN within '...'");
                self.reader.complain(value.span(), &message);
                None
            }
            DeValue::String(text) => Some((text.to_string(), value.span())),
            DeValue::Integer(number) if key == "user" => Some((number.to_string(), value.span())),
            other => {
                let message = format!("`{key}` is a text or a list of texts, not {}", kind(other));
                self.reader.complain(value.span(), &message);
                None
            }
        }
    }

    /// Reads each text of a key, and complains of those that cannot be read.
    pub(super) fn each<T>(&mut self, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let mut all = Vec::new();
        for (text, span) in self.texts(key) {
            match read(&text) {
                Ok(one) => all.push(one),
                Err(wrong) => self.reader.complain(span, &format!("`{key}`: {wrong}")),
            }
        }
        all
    }

    pub(super) fn patterns(&mut self, key: &str) -> Vec<Pattern> {
        self.each(key, Pattern::new)
    }

    pub(super) fn listen(&mut self) -> Vec<Listen> {
        self.each("listen", str::parse)
    }

    pub(super) fn hosts(&mut self) -> Vec<HostPattern> {
        self.each("hosts", HostPattern::new)
    }

    /// The host's own where nothing is said.
    pub(super) fn netns(&mut self) -> Vec<NetNsPattern> {
        match self.has("netns") {
            true => self.each("netns", NetNsPattern::new),
            false => vec![NetNsPattern::Host],
        }
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
