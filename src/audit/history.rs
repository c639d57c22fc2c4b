//! What was approved of an endpoint at some time, told from records: pure.

use std::collections::BTreeMap;

use baseline::{
    Approval, Covered, Host, HostPattern, Listen, NAMESPACE, Wanted, When, approval_of_json, canonical,
    countersigned,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Map, Value};
use signing::Signature;

use super::records::Record;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) wanted: Wanted,
    pub(crate) at: Timestamp,
    /// Whose approvals count; `None` where it is not known which host it was.
    pub(crate) host: Option<Host>,
    pub(crate) zone: TimeZone,
}

/// Which log a record stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    /// Acts of people.
    Ledger,
    /// What `serve` read, and so had in force.
    Reloads,
}

/// What records say of the question, and what they do not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Answer {
    pub(crate) endpoint: String,
    pub(crate) at: String,
    pub(crate) host: Option<String>,
    /// Ordered by id.
    pub(crate) approvals: Vec<Found>,
    /// Sentences.
    pub(crate) not_known: Vec<String>,
}

/// An approval that covered the endpoint, or a part of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Found {
    pub(crate) id: String,
    pub(crate) covers_all: bool,
    /// As it was recorded.
    pub(crate) approval: Value,
    pub(crate) expired: bool,
    /// The approver's first.
    pub(crate) signatures: Vec<Signed>,
    /// Acts of people that made it what it was.
    pub(crate) written: Vec<Trace>,
    /// Records by which `serve` had it in force; in this form since the last of them.
    pub(crate) in_force: Vec<Trace>,
    /// What became of it.
    pub(crate) later: Vec<Later>,
}

/// A signature and whether it is one of what was recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Signed {
    pub(crate) by: String,
    pub(crate) at: Option<String>,
    /// The key's fingerprint, where it can be read.
    pub(crate) key: Option<String>,
    /// What is wrong with it, a sentence.
    pub(crate) wrong: Option<String>,
}

/// A record, and what it says of who and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Trace {
    pub(crate) log: Source,
    pub(crate) record: u64,
    /// A signature of the host vouches for it.
    pub(crate) vouched: bool,
    pub(crate) time: String,
    /// `approve`, `revoke`, …; of `serve` itself `reload`.
    pub(crate) act: String,
    pub(crate) who: Option<Value>,
    pub(crate) reason: Option<String>,
    pub(crate) ticket: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) git: Option<String>,
}

/// A change after the time that is asked about.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Later {
    #[serde(flatten)]
    pub(crate) trace: Trace,
    /// Empty where it was withdrawn, or an act taken back.
    pub(crate) changed: Vec<Field>,
    /// It does not stand in the baseline any more.
    pub(crate) removed: bool,
}

/// A field that differs; null where it was not said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Field {
    pub(crate) field: String,
    pub(crate) old: Value,
    pub(crate) new: Value,
}

/// Takes records in their order, and keeps what bears on the question.
pub(crate) struct History {
    question: Question,
    states: BTreeMap<String, State>,
    later: BTreeMap<String, Vec<Later>>,
    begins: BTreeMap<Source, Timestamp>,
    unvouched: u64,
    /// Times at which a whole baseline was learned that spoke of the endpoint.
    learned: Vec<u64>,
}

/// One approval, as far as was read.
#[derive(Clone, Debug, Default)]
struct State {
    current: Option<Held>,
    /// The last act, and what was before: it may be taken back.
    before: Option<(u64, Option<Held>)>,
}

#[derive(Clone, Debug)]
struct Held {
    value: Value,
    covered: Covered,
    written: Vec<Trace>,
    in_force: Vec<Trace>,
}

impl History {
    pub(crate) fn new(question: Question) -> Self {
        let (states, later, begins, unvouched, learned) = Default::default();
        History { question, states, later, begins, unvouched, learned }
    }

    /// Records of each log in their order; between logs, the earlier first.
    pub(crate) fn take(&mut self, source: Source, record: &Record) {
        let time = record.time();
        if let Some(time) = time {
            self.begins.entry(source).or_insert(time);
        }
        let is_change = source == Source::Ledger || record.text("event") == Some("approval");
        let Some(id) = record.text("approval").filter(|_| is_change) else {
            return self.take_learned(record);
        };
        // What does not say when counts as of then: better told too early than not.
        if time.is_none_or(|time| time <= self.question.at) {
            self.unvouched += u64::from(!record.vouched);
            self.change(source, record, id.to_owned());
        } else if self.states.get(id).is_some_and(|state| state.current.is_some()) {
            let later = later(source, record);
            self.later.entry(id.to_owned()).or_default().extend(later);
        }
    }

    fn take_learned(&mut self, record: &Record) {
        let by_then = record.time().is_none_or(|time| time <= self.question.at);
        if by_then && record.text("act") == Some("learn") {
            let listens: Vec<Listen> =
                record.texts("endpoints").filter_map(|text| text.parse().ok()).collect();
            if self.question.wanted.covered_by(&listens).is_some() {
                self.learned.push(record.number);
            }
        }
    }

    fn change(&mut self, source: Source, record: &Record, id: String) {
        let state = self.states.entry(id.clone()).or_default();
        if let Some(of) = record.fields.get("of").and_then(Value::as_u64) {
            match state.before.take() {
                Some((act, before)) if act == of => state.current = before,
                other => state.before = other,
            }
            return;
        }
        let (old, new) = (object(record, "old"), object(record, "new"));
        if old.is_none() && new.is_none() {
            return;
        }
        let before = state.current.clone();
        state.current = new.and_then(|new| held(&self.question, source, record, new, state.current.take()));
        if source == Source::Ledger {
            state.before = Some((record.number, before));
        }
        if state.current.is_none() && state.before.as_ref().is_none_or(|(_, before)| before.is_none()) {
            self.states.remove(&id);
        }
    }

    pub(crate) fn answer(mut self) -> Answer {
        let mut not_known = self.beginnings();
        let mut approvals = Vec::new();
        for (id, state) in std::mem::take(&mut self.states) {
            let Some(held) = state.current else { continue };
            match hosts(&held.value, self.question.host.as_ref()) {
                Here::Yes => {}
                Here::No => continue,
                Here::Unknown => not_known.push(format!(
                    "whether approval `{id}` was for this host: it names hosts by group, or which host it was is not known"
                )),
            }
            let later = self.later.remove(&id).unwrap_or_default();
            approvals.push(self.found(id, held, later, &mut not_known));
        }
        if self.unvouched > 0 {
            not_known.push(format!(
                "whether {} of these records are what was written: no signature vouches for them",
                self.unvouched
            ));
        }
        for record in &self.learned {
            not_known.push(format!(
                "whether anybody had looked at it: ledger record {record} learned a whole baseline with this endpoint in it, \
                 which approves nothing"
            ));
        }
        Answer {
            endpoint: self.question.wanted.to_string(),
            at: self.question.at.to_string(),
            host: self.question.host.as_ref().map(|host| host.name.escaped()),
            approvals,
            not_known,
        }
    }

    fn found(&self, id: String, held: Held, later: Vec<Later>, not_known: &mut Vec<String>) -> Found {
        let signatures = match approval_of_json(&held.value) {
            Ok(approval) => signatures(&approval),
            Err(why) => {
                not_known.push(format!("what approval `{id}` says in full, and its signatures: {why}"));
                Vec::new()
            }
        };
        let expires = held.value.get("expires").and_then(Value::as_str).and_then(When::parse);
        let expired = expires.is_some_and(|when| when.takes_effect(&self.question.zone) <= self.question.at);
        let covers_all = held.covered == Covered::Whole;
        let Held { value: approval, written, in_force, .. } = held;
        Found { id, covers_all, approval, expired, signatures, written, in_force, later }
    }

    fn beginnings(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (source, name, what) in [
            (Source::Ledger, "the ledger", "who had approved what by then"),
            (Source::Reloads, "the log of reloads", "what `serve` had in force then"),
        ] {
            match self.begins.get(&source) {
                None => missing.push(format!("{what}: {name} has no record")),
                Some(begins) if *begins > self.question.at => {
                    missing.push(format!("{what}: {name} begins on {begins:.0}"));
                }
                Some(_) => {}
            }
        }
        missing
    }
}

fn object<'a>(record: &'a Record, field: &str) -> Option<&'a Value> {
    record.fields.get(field).filter(|value| value.is_object())
}

/// What is held after a record gave an approval this form; `None` where it does not bear on the question.
fn held(
    question: &Question,
    source: Source,
    record: &Record,
    new: &Value,
    current: Option<Held>,
) -> Option<Held> {
    let covered = question.wanted.covered_by(&listens(new))?;
    // Of another serial, it was approved anew.
    let current = current.filter(|held| held.value.get("serial") == new.get("serial"));
    let (mut written, mut in_force) = current.map(|held| (held.written, held.in_force)).unwrap_or_default();
    match source {
        Source::Ledger => written.push(trace(source, record)),
        Source::Reloads => in_force.push(trace(source, record)),
    }
    Some(Held { value: new.clone(), covered, written, in_force })
}

fn listens(approval: &Value) -> Vec<Listen> {
    let all = approval.get("listen").and_then(Value::as_array).into_iter().flatten();
    all.filter_map(|listen| listen.as_str()?.parse().ok()).collect()
}

enum Here {
    Yes,
    No,
    Unknown,
}

fn hosts(approval: &Value, host: Option<&Host>) -> Here {
    let all = approval.get("hosts").and_then(Value::as_array).into_iter().flatten();
    let all: Vec<HostPattern> = all.filter_map(|text| HostPattern::new(text.as_str()?).ok()).collect();
    match host {
        _ if all.is_empty() => Here::Yes,
        Some(host) if host.is_among(&all) => Here::Yes,
        // To which groups a host belonged is its configuration's word of today.
        Some(_) if !all.iter().any(|pattern| matches!(pattern, HostPattern::Group(_))) => Here::No,
        _ => Here::Unknown,
    }
}

fn trace(source: Source, record: &Record) -> Trace {
    let text = |field| record.text(field).map(str::to_owned);
    Trace {
        log: source,
        record: record.number,
        vouched: record.vouched,
        time: text("time").unwrap_or_default(),
        act: text("act").unwrap_or_else(|| "reload".to_owned()),
        who: record.fields.get("who").cloned(),
        reason: text("reason"),
        ticket: text("ticket"),
        revision: text("revision"),
        git: text("git"),
    }
}

fn later(source: Source, record: &Record) -> Option<Later> {
    let (old, new) = (object(record, "old"), object(record, "new"));
    let undone = record.fields.get("of").is_some();
    if old.is_none() && new.is_none() && !undone {
        return None;
    }
    let changed = match (old, new) {
        (Some(old), Some(new)) => differences(old, new),
        _ => Vec::new(),
    };
    Some(Later { trace: trace(source, record), changed, removed: new.is_none() && !undone })
}

fn differences(old: &Value, new: &Value) -> Vec<Field> {
    let none = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&none), new.as_object().unwrap_or(&none));
    let added = new.keys().filter(|key| !old.contains_key(*key));
    let value = |of: &Map<String, Value>, key: &String| of.get(key).cloned().unwrap_or(Value::Null);
    let fields = old.keys().chain(added).map(|key| Field {
        field: key.clone(),
        old: value(old, key),
        new: value(new, key),
    });
    fields.filter(|field| field.old != field.new).collect()
}

/// Whether each is a signature of what was recorded. Whose key it was then, the record of the act says.
fn signatures(approval: &Approval) -> Vec<Signed> {
    let own = approval.signature.as_ref().map(|signature| {
        let by = approval.by.clone().unwrap_or_default();
        signed(by, approval.at, signature, &canonical(approval))
    });
    let others = approval.countersigned.iter().map(|counter| {
        let text = countersigned(approval, &counter.by, counter.at);
        signed(counter.by.clone(), counter.at, &counter.signature, &text)
    });
    own.into_iter().chain(others).collect()
}

fn signed(by: String, at: Option<When>, signature: &str, text: &str) -> Signed {
    let at = at.map(|at| at.to_string());
    let (key, checked) = match Signature::from_base64(signature) {
        Ok(signature) => (Some(signature.key().fingerprint()), signature.verify(NAMESPACE, text.as_bytes())),
        Err(error) => (None, Err(error)),
    };
    Signed { by, at, key, wrong: checked.err().map(|error| error.to_string()) }
}

#[cfg(test)]
mod tests;
