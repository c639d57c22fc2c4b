use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use baseline::{SourceText, Trust, approval_json, load_last_good, parse, read_trusted};
use inventory::RawText;
use jiff::tz::TimeZone;
use rustix::fs::OFlags;
use serde_json::{Map, Value, json};
use signing::PublicKey;

use super::kept::Kept;
use super::place::Place;
use super::records::Entry;
use super::rows;
use super::{outcome, tell_strangers, told};
use crate::acts;
use crate::arguments::{ReportFormat, Shared};
use crate::config::Config;
use crate::outcome::Outcome;
use crate::page::shown;
use crate::paths::{Paths, trusted_owner};
use crate::say::{aside, out};
use crate::trust::signers_path;

/// Tells everything that is stored about somebody, and where.
pub(super) fn run(
    shared: &Shared,
    place: &Place,
    name: &str,
    format: ReportFormat,
) -> anyhow::Result<Outcome> {
    let files = if place.manifest.is_none() { Some(Files::read(shared)?) } else { None };
    let signers = files.as_ref().map(|files| files.signers.as_str()).unwrap_or_default();
    let person = Person::of(name, signers);
    let mut finds = Finds { person: &person, format, counts: BTreeMap::new() };
    let mut gravest = Outcome::Clean;
    for log in place.logs() {
        let kept = (log.name == acts::LEDGER).then(|| Kept::of(place)).transpose()?;
        let soundness = log.verify()?;
        for entry in log.records(&soundness) {
            if let Entry::Record(record) = entry? {
                finds.search(log.name, &Value::Object(record.fields))?;
            }
        }
        tell_strangers(&log, &format!("{}: ", log.name))?;
        if outcome(&soundness) != Outcome::Clean {
            aside(format_args!(
                "{}: {}",
                log.name,
                told::soundness(place, &log, &soundness, &Default::default())
            ));
            gravest = Outcome::Drift;
        }
        if let Some(lost) = kept.map_or(Ok(None), |kept| kept.lost(&log, &soundness))? {
            aside(lost);
            gravest = Outcome::Drift;
        }
    }
    match &files {
        Some(files) => files.search(&mut finds)?,
        None => aside("Of the bundle, its logs alone were searched."),
    }
    finds.finish(name)?;
    Ok(gravest)
}

/// Under which words somebody is known.
#[derive(Debug, Default, PartialEq, Eq)]
struct Person {
    /// User, principal, fingerprints.
    words: BTreeSet<String>,
    uids: BTreeSet<u32>,
}

impl Person {
    /// A user of this host with its uid, or a uid with its user; a principal with its keys, or a key with its principals.
    fn of(name: &str, signers: &str) -> Self {
        let mut person = Person { words: BTreeSet::from([name.to_owned()]), uids: BTreeSet::new() };
        match name.parse() {
            Ok(uid) => {
                person.uids.insert(uid);
                person.words.extend(exporter::user_name(uid));
            }
            Err(_) => person.uids.extend(exporter::user_id(name)),
        }
        for (principals, key) in signers.lines().filter_map(signer) {
            let key = key.map(|key| key.fingerprint());
            let is_one = principals.contains(&name) || key.as_deref() == Some(name);
            if is_one {
                person.words.extend(key);
                person.words.extend(principals.iter().map(|principal| (*principal).to_owned()));
            }
        }
        person
    }

    /// The paths of the fields that speak of somebody.
    fn fields(&self, value: &Value) -> Vec<String> {
        let mut found = Vec::new();
        self.walk(value, &mut String::new(), "", &mut found);
        found
    }

    fn walk(&self, value: &Value, path: &mut String, field: &str, found: &mut Vec<String>) {
        let length = path.len();
        match value {
            Value::Object(fields) => {
                for (name, inner) in fields {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(name);
                    self.walk(inner, path, name, found);
                    path.truncate(length);
                }
            }
            Value::Array(all) => {
                path.push_str("[]");
                all.iter().for_each(|inner| self.walk(inner, path, field, found));
                path.truncate(length);
            }
            Value::String(text) if self.is_meant(field, text) => found.push(path.clone()),
            Value::Number(number) if field.ends_with("uid") => {
                let uid = number.as_u64().and_then(|number| u32::try_from(number).ok());
                if uid.is_some_and(|uid| self.uids.contains(&uid)) {
                    found.push(path.clone());
                }
            }
            _ => {}
        }
    }

    fn is_meant(&self, field: &str, text: &str) -> bool {
        let is_it = |word: &String| text == word || text == RawText::from(word.as_str()).escaped();
        let is_uid = || text.parse().is_ok_and(|uid| self.uids.contains(&uid));
        self.words.iter().any(is_it)
            || (matches!(field, "user" | "users") && is_uid())
            || (field == "reason" && self.words.iter().any(|word| mentions(text, word)))
    }
}

/// As a word of its own.
fn mentions(text: &str, word: &str) -> bool {
    let part = |character: char| character.is_alphanumeric() || matches!(character, '_' | '-');
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// The principals of a line of `allowed_signers`, and its key where that can be read.
fn signer(line: &str) -> Option<(Vec<&str>, Option<PublicKey>)> {
    let mut words = line.split_ascii_whitespace();
    let principals = words.next().filter(|word| !word.starts_with('#'))?;
    let rest: Vec<&str> = words.collect();
    let key = rest.windows(2).find_map(|pair| format!("{} {}", pair[0], pair[1]).parse().ok());
    Some((principals.trim_matches('"').split(',').collect(), key))
}

/// What is stored on this host besides logs.
struct Files {
    signers: String,
    signers_path: String,
    baseline: Vec<SourceText>,
    last_good: Vec<SourceText>,
    register: Option<Value>,
}

const REGISTER: &str = "register.json";
/// As the exporter bounds it.
const MAX_REGISTER: u64 = 256 << 20;

impl Files {
    fn read(shared: &Shared) -> anyhow::Result<Self> {
        let paths = Paths::of(shared)?;
        let config = Config::load(&paths)?;
        let signers_path = signers_path(&paths, &config);
        let signers = read_trusted(&signers_path, trusted_owner())?;
        Ok(Files {
            signers: signers.map(|source| source.text).unwrap_or_default(),
            signers_path: signers_path.display().to_string(),
            baseline: paths.sources.read()?.unwrap_or_default(),
            last_good: load_last_good(&paths.state)?.unwrap_or_default(),
            register: register(&paths.state.join(REGISTER))?,
        })
    }

    fn search(&self, finds: &mut Finds<'_>) -> anyhow::Result<()> {
        for (place, sources) in [(None, &self.baseline), (Some("last-good-baseline.json"), &self.last_good)] {
            for source in sources {
                let path = place.map_or_else(|| source.path.display().to_string(), str::to_owned);
                search_baseline(&path, source, finds)?;
            }
        }
        for (number, line) in (1..).zip(self.signers.lines()) {
            if let Some((principals, key)) = signer(line) {
                let key = key.map(|key| key.fingerprint());
                finds.search(
                    &self.signers_path,
                    &json!({"line": number, "principal": principals, "key": key}),
                )?;
            }
        }
        let drifts =
            self.register.as_ref().and_then(|register| register.get("drifts")).and_then(Value::as_array);
        match drifts {
            Some(drifts) => drifts.iter().try_for_each(|drift| finds.search(REGISTER, drift)),
            None => self.register.iter().try_for_each(|register| finds.search(REGISTER, register)),
        }
    }
}

fn search_baseline(path: &str, source: &SourceText, finds: &mut Finds<'_>) -> anyhow::Result<()> {
    let trust = Trust::in_everybody(TimeZone::system());
    let Ok(read) = parse(std::slice::from_ref(source), &trust) else {
        aside(format_args!("{}: it cannot be read as a baseline, and was not searched.", shown(path)));
        return Ok(());
    };
    for approval in read.approvals() {
        finds.search(path, &json!({ "approval": approval_json(approval) }))?;
    }
    for revoked in read.revocations() {
        let told = json!({"id": revoked.id, "by": revoked.by, "reason": revoked.reason});
        finds.search(path, &json!({ "revoked": told }))?;
    }
    Ok(())
}

/// `None` where there is none.
fn register(path: &Path) -> anyhow::Result<Option<Value>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    let failed = || path.display().to_string();
    let file = match std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.with_context(failed)?,
    };
    let mut text = Vec::new();
    file.take(MAX_REGISTER).read_to_end(&mut text).with_context(failed)?;
    serde_json::from_slice(&text).map(Some).with_context(failed)
}

/// What was found so far: told at once as JSON, counted for a table.
struct Finds<'a> {
    person: &'a Person,
    format: ReportFormat,
    counts: BTreeMap<(String, String), u64>,
}

impl Finds<'_> {
    fn search(&mut self, place: &str, stored: &Value) -> anyhow::Result<()> {
        let fields = self.person.fields(stored);
        if fields.is_empty() {
            return Ok(());
        }
        if self.format == ReportFormat::Json {
            let mut told = Map::new();
            told.insert("where".to_owned(), place.into());
            told.insert("fields".to_owned(), fields.clone().into());
            told.insert("stored".to_owned(), stored.clone());
            rows::print_json(&told)?;
        }
        for field in fields.into_iter().collect::<BTreeSet<_>>() {
            *self.counts.entry((place.to_owned(), field)).or_default() += 1;
        }
        Ok(())
    }

    fn finish(&self, name: &str) -> anyhow::Result<()> {
        let also: Vec<String> =
            self.person.words.iter().filter(|word| *word != name).map(|word| shown(word)).collect();
        let uids = self.person.uids.iter().map(|uid| format!("uid {uid}"));
        let also: Vec<String> = also.into_iter().chain(uids).collect();
        if !also.is_empty() {
            aside(format_args!("{}: also looked for as {}", shown(name), also.join(", ")));
        }
        if self.format == ReportFormat::Table {
            for ((place, field), count) in &self.counts {
                out(format_args!("{count:>9}  {}  {}", shown(place), shown(field)))?;
            }
        }
        if self.counts.is_empty() {
            aside(format_args!("Nothing is stored about {}.", shown(name)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_that_speaks_of_somebody_is_told() {
        let person = Person { words: ["bob".to_owned(), "SHA256:x".to_owned()].into(), uids: [1000].into() };
        let stored = json!({
            "who": {"user": "bob", "uid": 1000, "key": "SHA256:x", "principal": "alice"},
            "holders": [{"uid": 1000, "pid": 1000}, {"user": "bob"}],
            "new": {"user": ["1000", "www"], "by": "bobby", "reason": "asked by bob."},
            "reason": "bobby-bob", "host": "bob", "ticket": "1000",
        });
        let fields = person.fields(&stored);
        let expected = [
            "holders[].uid",
            "holders[].user",
            "host",
            "new.reason",
            "new.user[]",
            "who.key",
            "who.uid",
            "who.user",
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_principal_is_known_by_its_keys() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJSSS2RTxwq9b7hMMfHNFyrQvGSYGfiphUjLNk6fWrVH";
        let signers =
            format!("# people\nalice@example.org,al namespaces=\"approval@portledger\" {key}\nbob {key}x\n");
        let person = Person::of("alice@example.org", &signers);
        assert_eq!(person.words.len(), 3, "{person:?}");
        assert!(person.words.iter().any(|word| word.starts_with("SHA256:")), "{person:?}");
    }
}
