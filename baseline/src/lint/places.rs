use std::collections::HashMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Lint, LintCode};
use crate::diagnostic::line_starts;
use crate::{Diagnostic, SourceText};

/// Where things stand in the texts of a baseline.
pub(super) struct Places<'a> {
    texts: &'a [SourceText],
    lines: Vec<Vec<usize>>,
    approvals: HashMap<String, Entry>,
    groups: Vec<Named>,
}

/// A part of one of the texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Which text.
    pub(super) text: usize,
    /// In bytes.
    pub(super) span: Range<usize>,
}

/// A group of hosts where it is named.
pub(super) struct Named {
    /// Without the `@`.
    pub(super) name: String,
    pub(super) place: Place,
}

struct Entry {
    id: Place,
    expires: Option<Place>,
}

impl<'a> Places<'a> {
    /// Texts that can be parsed; others have no places.
    pub(super) fn of(texts: &'a [SourceText]) -> Self {
        let lines = texts.iter().map(|source| line_starts(&source.text)).collect();
        let mut places = Places { texts, lines, approvals: HashMap::new(), groups: Vec::new() };
        for (number, source) in texts.iter().enumerate() {
            let Ok(document) = DeTable::parse(&source.text) else { continue };
            let document = document.get_ref();
            let of_name = |name: &str| document.get(name).map(Spanned::get_ref);
            if let Some(DeValue::Table(defaults)) = of_name("defaults") {
                places.add_groups(number, defaults);
            }
            for name in ["approval", "scope"] {
                let Some(DeValue::Array(tables)) = of_name(name) else { continue };
                for element in tables.iter() {
                    let DeValue::Table(table) = element.get_ref() else { continue };
                    places.add(number, table);
                }
            }
        }
        places
    }

    fn add(&mut self, text: usize, table: &DeTable<'_>) {
        self.add_groups(text, table);
        let place = |key: &str| Some(Place { text, span: table.get(key)?.span() });
        let id = table.get("id").and_then(|id| id.get_ref().as_str());
        if let Some((id, at)) = id.zip(place("id")) {
            self.approvals.insert(id.to_owned(), Entry { id: at, expires: place("expires") });
        }
    }

    fn add_groups(&mut self, text: usize, table: &DeTable<'_>) {
        let Some(hosts) = table.get("hosts") else { return };
        let one = std::slice::from_ref(hosts);
        let values = if let DeValue::Array(list) = hosts.get_ref() { &list[..] } else { one };
        for value in values {
            let name = value.get_ref().as_str().and_then(|host| host.strip_prefix('@'));
            if let Some(name) = name {
                let place = Place { text, span: value.span() };
                self.groups.push(Named { name: name.to_owned(), place });
            }
        }
    }

    /// Where the id of an approval stands.
    pub(super) fn id(&self, id: &str) -> Option<&Place> {
        self.approvals.get(id).map(|entry| &entry.id)
    }

    /// Where it says until when.
    pub(super) fn expires(&self, id: &str) -> Option<&Place> {
        self.approvals.get(id)?.expires.as_ref()
    }

    /// All groups of hosts in the order of the texts.
    pub(super) fn groups(&self) -> &[Named] {
        &self.groups
    }

    /// `path:line:column`.
    pub(super) fn shown(&self, place: Option<&Place>) -> String {
        place.and_then(|place| self.diagnostic(place, "")).map(|at| at.place()).unwrap_or_default()
    }

    pub(super) fn lint(&self, code: LintCode, place: Option<&Place>, message: &str) -> Option<Lint> {
        Some(Lint { code, diagnostic: self.diagnostic(place?, message)? })
    }

    fn diagnostic(&self, place: &Place, message: &str) -> Option<Diagnostic> {
        let (source, lines) = (self.texts.get(place.text)?, self.lines.get(place.text)?);
        Some(Diagnostic::new(source, lines, place.span.clone(), message))
    }
}
