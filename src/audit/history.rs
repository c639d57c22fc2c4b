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

pub(crate) use self::answer::{Answer, Field, Found, Later, Said, Signed, Trace};
use self::counting::{Counting, Revoked, is_same_decision};
use super::records::Record;

mod answer;
mod counting;

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

/// Takes records in their order, and keeps what bears on the question.
pub(crate) struct History {
    question: Question,
    states: BTreeMap<String, State>,
    /// Likewise what acts wrote to checkouts.
    checkouts: BTreeMap<String, State>,
    revoked: BTreeMap<String, Vec<Revoked>>,
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
    counting: Counting,
    said: Option<Said>,
    written: Vec<Trace>,
    in_force: Vec<Trace>,
}

impl History {
    pub(crate) fn new(question: Question) -> Self {
        let (states, checkouts, revoked, later, begins, unvouched, learned) = Default::default();
        History { question, states, checkouts, revoked, later, begins, unvouched, learned }
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
        let away = is_away(record);
        if time.is_none_or(|time| time <= self.question.at) {
            self.unvouched += u64::from(!record.vouched && !away);
            self.change(source, record, id.to_owned());
        } else if !away && self.states.get(id).is_some_and(|state| state.current.is_some()) {
            let later = later(source, record);
            self.later.entry(id.to_owned()).or_default().extend(later);
        }
    }

    fn take_learned(&mut self, record: &Record) {
        let by_then = record.time().is_none_or(|time| time <= self.question.at);
        if by_then && !is_away(record) && record.text("act") == Some("learn") {
            let listens: Vec<Listen> =
                record.texts("endpoints").filter_map(|text| text.parse().ok()).collect();
            if self.question.wanted.covered_by(&listens).is_some() {
                self.learned.push(record.number);
            }
        }
    }

    fn change(&mut self, source: Source, record: &Record, id: String) {
        let away = is_away(record);
        let states = if away { &mut self.checkouts } else { &mut self.states };
        let state = states.entry(id.clone()).or_default();
        if let Some(of) = taken_back(record) {
            match state.before.take() {
                Some((act, before)) if act == of => state.current = before,
                other => state.before = other,
            }
            if let Some(all) = self.revoked.get_mut(&id) {
                all.retain(|revoked| revoked.record != of);
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
            states.remove(&id);
        }
        if !away && let Some(revoked) = Revoked::by(record) {
            self.revoked.entry(id).or_default().push(revoked);
        }
    }

    pub(crate) fn answer(mut self) -> Answer {
        let mut not_known = self.beginnings();
        let mut approvals = Vec::new();
        let mut checkouts = std::mem::take(&mut self.checkouts);
        for (id, state) in std::mem::take(&mut self.states) {
            let Some(mut held) = state.current else { continue };
            if let Some(checkout) = checkouts.get_mut(&id) {
                held.adopt(checkout);
            }
            match hosts(&held.value, self.question.host.as_ref()) {
                Here::Yes => {}
                Here::No => continue,
                Here::Unknown => not_known.push(format!(
                    "whether approval `{id}` was for this host: it names hosts by group, or which host it was is not known"
                )),
            }
            held.counting = held.counting.with(&held.value, self.revoked.get(&id).map_or(&[], Vec::as_slice));
            let later = self.later.remove(&id).unwrap_or_default();
            approvals.push(self.found(id, held, later, &mut not_known));
        }
        for (id, state) in checkouts {
            let Some(held) = state.current else { continue };
            if !matches!(hosts(&held.value, self.question.host.as_ref()), Here::No) {
                // What no host was judged by leaves nothing open here.
                approvals.push(self.found(id, held.in_checkout(), Vec::new(), &mut Vec::new()));
            }
        }
        approvals.sort_by(|one, other| one.id.cmp(&other.id));
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
        let Held { value: approval, counting, said, written, in_force, .. } = held;
        let (counts, why_not, not_since) = match (counting, expires.filter(|_| expired)) {
            (Counting::No { why, since }, _) => (Some(false), Some(why), Some(since)),
            (_, Some(when)) => (Some(false), Some("it had expired".to_owned()), Some(when.to_string())),
            (Counting::Yes, None) => (Some(true), None, None),
            (Counting::Unknown, None) => {
                not_known.push(format!("whether approval `{id}` counted: its records do not say"));
                (None, None, None)
            }
        };
        Found {
            id,
            covers_all,
            counts,
            why_not,
            not_since,
            approval,
            said,
            expired,
            signatures,
            written,
            in_force,
            later,
        }
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

impl Held {
    /// The acts on a checkout that this host got its form from: they tell who decided.
    fn adopt(&mut self, checkout: &mut State) {
        let came = |held: &mut Held| is_same_decision(&held.value, &self.value);
        let Some(mut held) = checkout.current.take_if(came) else { return };
        if self.written.is_empty() {
            self.written = std::mem::take(&mut held.written);
            self.said = held.said;
        }
    }

    fn in_checkout(mut self) -> Self {
        let since = self.written.first().map(|trace| trace.time.clone()).unwrap_or_default();
        let why = "it was written to a checkout, and this host was not judged by it".to_owned();
        self.counting = Counting::No { why, since };
        self
    }
}

/// Of acts on a checkout: no host was judged by it.
fn is_away(record: &Record) -> bool {
    record.fields.get("away").and_then(Value::as_bool) == Some(true)
}

/// The act of this number was recorded, and not carried out.
fn taken_back(record: &Record) -> Option<u64> {
    record.fields.get("of").and_then(Value::as_u64).filter(|_| record.text("act") == Some("undone"))
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
    let known = current.as_ref().map(|held| (&held.value, &held.counting));
    let counting = Counting::after(source, record, new, known);
    let (said, mut written, mut in_force) =
        current.map(|held| (held.said, held.written, held.in_force)).unwrap_or_default();
    match source {
        Source::Ledger => written.push(trace(source, record)),
        Source::Reloads => in_force.push(trace(source, record)),
    }
    let said = said_in(record, new).or(said);
    Some(Held { value: new.clone(), covered, counting, said, written, in_force })
}

/// An act that gave an approval its reason. Without one of its own, it kept the one that stood there.
fn said_in(record: &Record, new: &Value) -> Option<Said> {
    matches!(record.text("act")?, "approve" | "propose").then(|| {
        let said = |field| {
            let text = record.text(field).or_else(|| new.get(field).and_then(Value::as_str));
            text.map(str::to_owned)
        };
        Said {
            record: record.number,
            who: record.fields.get("who").cloned(),
            reason: said("reason"),
            ticket: said("ticket"),
        }
    })
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
        away: is_away(record),
        distrust: text("distrust"),
    }
}

fn later(source: Source, record: &Record) -> Option<Later> {
    let (old, new) = (object(record, "old"), object(record, "new"));
    let undone = taken_back(record);
    if old.is_none() && new.is_none() && undone.is_none() {
        return None;
    }
    let changed = match (old, new) {
        (Some(old), Some(new)) => differences(old, new),
        _ => Vec::new(),
    };
    let (removed, added) = (new.is_none() && undone.is_none(), old.is_none() && new.is_some());
    Some(Later { trace: trace(source, record), changed, removed, added, undone })
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
