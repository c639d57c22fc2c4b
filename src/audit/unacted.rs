//! Changes of approvals that no act of the ledger made: pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::history::Source;
use super::records::Record;

/// Remembers acts until `serve` has read what they wrote.
#[derive(Debug, Default)]
pub(super) struct Unacted {
    /// By id: the last act's record, and what it left; null where it took the approval out.
    acts: BTreeMap<String, (u64, Value)>,
    /// Revisions of acts on a whole baseline that `serve` has not read yet.
    whole: BTreeSet<String>,
    /// The revision that it read last, and whether such an act wrote it.
    read: Option<String>,
    by_whole: bool,
}

impl Unacted {
    /// Takes the records of both logs in their order. True for one that tells of a change without an act.
    pub(super) fn take(&mut self, source: Source, record: &Record) -> bool {
        match source {
            Source::Ledger => {
                self.act(record);
                false
            }
            Source::Reloads => {
                self.read(record.text("revision"));
                record.text("event") == Some("approval") && self.reload(record)
            }
        }
    }

    fn act(&mut self, record: &Record) {
        if record.fields.get("away").and_then(Value::as_bool) == Some(true) {
            return;
        }
        let Some(id) = record.text("approval") else {
            self.whole.extend(record.text("revision").map(str::to_owned));
            return;
        };
        if record.text("act") == Some("undone") {
            let of = record.fields.get("of").and_then(Value::as_u64);
            self.acts.retain(|_, (act, _)| Some(*act) != of);
        } else if writes(record) {
            let new = record.fields.get("new").cloned().unwrap_or_default();
            self.acts.insert(id.to_owned(), (record.number, new));
        }
    }

    /// An act on a whole baseline explains the reload after it: who puts the same text back later did so without one.
    fn read(&mut self, revision: Option<&str>) {
        if self.read.as_deref() != revision {
            self.by_whole = revision.is_some_and(|revision| self.whole.contains(revision));
            self.whole.clear();
            self.read = revision.map(str::to_owned);
        }
    }

    /// One act makes one change: what comes again came otherwise.
    fn reload(&mut self, record: &Record) -> bool {
        let new = record.fields.get("new").unwrap_or(&Value::Null);
        let acted = record.text("approval").and_then(|id| self.acts.remove(id));
        let by_act = acted.is_some_and(|(_, left)| left == *new);
        !by_act && !self.by_whole
    }
}

fn writes(record: &Record) -> bool {
    ["old", "new"].iter().any(|field| record.fields.get(*field).is_some_and(Value::is_object))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(number: u64, fields: Value) -> Record {
        Record { number, vouched: true, fields: fields.as_object().unwrap().clone() }
    }

    fn act(number: u64, kind: &str, old: Value, new: Value) -> (Source, Record) {
        (Source::Ledger, record(number, json!({"act": kind, "approval": "web", "old": old, "new": new})))
    }

    fn reload(revision: &str, old: Value, new: Value) -> (Source, Record) {
        let fields =
            json!({"event": "approval", "approval": "web", "revision": revision, "old": old, "new": new});
        (Source::Reloads, record(1, fields))
    }

    #[test]
    fn what_no_act_explains_is_told() {
        let (one, other) = (|| json!({"id": "web"}), || json!({"id": "web", "reason": "edited"}));
        let null = || Value::Null;
        let learn = (Source::Ledger, record(1, json!({"act": "learn", "revision": "r1"})));
        let undone = (Source::Ledger, record(2, json!({"act": "undone", "approval": "web", "of": 1})));
        let mut away = act(1, "approve", null(), one());
        away.1.fields.insert("away".to_owned(), true.into());
        let cases = [
            ("an act", vec![act(1, "approve", null(), one()), reload("r", null(), one())], 0),
            ("git", vec![reload("r", null(), one())], 1),
            ("an act on a checkout", vec![away, reload("r", null(), one())], 1),
            (
                "an act taken back",
                vec![act(1, "approve", null(), one()), undone, reload("r", null(), one())],
                1,
            ),
            ("an edit within", vec![act(1, "approve", null(), one()), reload("r", null(), other())], 1),
            (
                "the same again",
                vec![
                    act(1, "approve", null(), one()),
                    reload("r", null(), one()),
                    reload("r", one(), null()),
                    reload("r", null(), one()),
                ],
                2,
            ),
            ("a learned baseline", vec![learn.clone(), reload("r1", null(), one())], 0),
            ("after it", vec![learn.clone(), reload("r2", null(), one())], 1),
            (
                "put back",
                vec![
                    learn.clone(),
                    reload("r1", null(), one()),
                    act(2, "revoke", one(), null()),
                    reload("r2", one(), null()),
                    reload("r1", null(), one()),
                ],
                1,
            ),
            (
                "put back, and never read before",
                vec![
                    learn,
                    act(2, "revoke", one(), null()),
                    reload("r2", one(), null()),
                    reload("r1", null(), one()),
                ],
                1,
            ),
            ("a revocation", vec![act(1, "revoke", one(), null()), reload("r", one(), null())], 0),
        ];
        for (what, records, told) in cases {
            let mut unacted = Unacted::default();
            let found = records.iter().filter(|(source, record)| unacted.take(*source, record)).count();
            assert_eq!(found, told, "{what}");
        }
    }
}
