mod approval;
mod fields;
mod revoked;
mod scope;
mod signature;
pub(crate) mod suggest;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use self::approval::Defaults;
use self::fields::Fields;
use crate::baseline::{NamedAccount, Parts, Revocation, revision};
use crate::diagnostic::line_starts;
use crate::{Approval, Baseline, Diagnostic, ScopeRule, Signatures, SourceText, Trust};

/// No file is told of more mistakes than a person will read.
const TOLD: usize = 50;

const UNSIGNED_SCOPE: &str = "this scope is not in force: where signatures are required, nothing that nobody signed leaves \
                              something unjudged";

/// Reads a baseline. All files are one set; everything that is wrong in any of them is told. Whether its signatures count
/// is no mistake of the file: see [`Baseline::standings`].
pub fn parse(texts: &[SourceText], trust: &Trust) -> Result<Baseline, Vec<Diagnostic>> {
    let mut ordered: Vec<&SourceText> = texts.iter().collect();
    ordered.sort_by(|one, other| one.path.cmp(&other.path));
    let mut set = Set::default();
    for source in ordered {
        let mut reader = Reader::new(source);
        reader.read_file(&mut set);
        set.errors.append(&mut reader.errors);
    }
    if !set.errors.is_empty() {
        return Err(set.errors);
    }
    let approvals = set.approvals.into_values().map(|(approval, _)| approval).collect();
    let named = set.named.into_values().collect();
    let Set { revocations, mut scopes, mut warnings, unjudging, .. } = set;
    // A line that nobody signed must not silence what an approval could not.
    if trust.signatures == Signatures::Required {
        scopes.retain(|scope| scope.judged);
        warnings.extend(unjudging);
    }
    let parts = Parts { approvals, revocations, scopes, warnings, named };
    Ok(Baseline::new(parts, revision(texts), trust))
}

/// What was read so far.
#[derive(Default)]
struct Set {
    /// By id, with the place of the id.
    approvals: BTreeMap<String, (Approval, String)>,
    revocations: Vec<Revocation>,
    scopes: Vec<ScopeRule>,
    /// Where scopes stand that leave something unjudged.
    unjudging: Vec<Diagnostic>,
    named: BTreeMap<(bool, String), NamedAccount>,
    warnings: Vec<Diagnostic>,
    errors: Vec<Diagnostic>,
}

/// Reads one file and remembers what is wrong with it.
struct Reader<'a> {
    source: &'a SourceText,
    lines: Vec<usize>,
    errors: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    fn new(source: &'a SourceText) -> Self {
        Reader { source, lines: line_starts(&source.text), errors: Vec::new() }
    }

    fn diagnostic(&self, span: Range<usize>, message: &str) -> Diagnostic {
        Diagnostic::new(self.source, &self.lines, span, message)
    }

    fn complain(&mut self, span: Range<usize>, message: &str) {
        if self.errors.len() < TOLD {
            self.errors.push(self.diagnostic(span, message));
        }
    }

    fn read_file(&mut self, set: &mut Set) {
        let source = self.source;
        let (file, mistakes) = DeTable::parse_recoverable(&source.text);
        for mistake in &mistakes {
            let end = source.text.len();
            self.complain(mistake.span().unwrap_or(end..end), mistake.message());
        }
        // What follows a mistake of syntax may be read wrong, and complaints about it would mislead.
        if !mistakes.is_empty() {
            return;
        }
        let file = file.get_ref();
        let mut fields = Fields::new(self, file, 0..0);
        fields.only(&["defaults", "approval", "scope", "revoked"], "a baseline");
        let defaults = self.read_defaults(file);
        for (table, span) in self.tables(file, "approval") {
            self.read_approval(table, span, &defaults, set);
        }
        for (table, span) in self.tables(file, "scope") {
            let scope = self.read_scope(table, span.clone(), &defaults);
            if scope.as_ref().is_some_and(|scope| !scope.judged) {
                set.unjudging.push(self.diagnostic(span, UNSIGNED_SCOPE));
            }
            set.scopes.extend(scope);
        }
        for (table, span) in self.tables(file, "revoked") {
            let revocation = self.read_revocation(table, span);
            set.revocations.extend(revocation);
        }
    }

    fn read_defaults(&mut self, file: &DeTable<'_>) -> Defaults {
        let Some(value) = file.get("defaults") else { return Defaults::default() };
        let DeValue::Table(table) = value.get_ref() else {
            self.complain(value.span(), "`defaults` is a table: write `[defaults]`");
            return Defaults::default();
        };
        let mut fields = Fields::new(self, table, value.span());
        fields.only(&["hosts", "team"], "`[defaults]`");
        Defaults { hosts: fields.hosts(), team: fields.text("team") }
    }

    /// The tables of an array of tables.
    fn tables<'t>(&mut self, file: &'t DeTable<'t>, name: &str) -> Vec<(&'t DeTable<'t>, Range<usize>)> {
        let Some(value) = file.get(name) else { return Vec::new() };
        let wrong = format!("each {name} is a table of its own: write `[[{name}]]`");
        let DeValue::Array(array) = value.get_ref() else {
            self.complain(value.span(), &wrong);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for element in array.iter() {
            match element.get_ref() {
                DeValue::Table(table) => tables.push((table, Spanned::span(element))),
                _ => self.complain(element.span(), &wrong),
            }
        }
        tables
    }

    fn keep(&mut self, approval: Approval, span: Range<usize>, set: &mut Set) {
        let place = self.diagnostic(span.clone(), "").place();
        match set.approvals.entry(approval.id.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert((approval, place));
            }
            Entry::Occupied(earlier) => {
                let (_, earlier) = earlier.get();
                let message = format!("duplicate id `{}`: it also stands at {earlier}", approval.id);
                self.complain(span, &message);
            }
        }
    }
}
