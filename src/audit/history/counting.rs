//! Whether an approval counted, told from records: pure.

use serde_json::Value;

use super::super::records::Record;
use super::Source;

/// Whether an approval counted, as far as records say.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Counting {
    Yes,
    No {
        /// The end of a sentence.
        why: String,
        /// As the record has it that said so first.
        since: String,
    },
    Unknown,
}

/// A revocation of what was signed: up to this serial nothing of the id counts again.
#[derive(Clone, Debug)]
pub(super) struct Revoked {
    pub(super) record: u64,
    pub(super) serial: u64,
    pub(super) time: String,
}

impl Counting {
    /// After a record gave an approval a form. `before` is what was known of the same serial, with its form then.
    pub(super) fn after(
        source: Source,
        record: &Record,
        new: &Value,
        before: Option<(&Value, &Counting)>,
    ) -> Self {
        let said = match source {
            Source::Ledger => said_by_act(record, new),
            Source::Reloads => said_by_reload(record),
        };
        match (said, before) {
            (Some(Ok(())), _) => Counting::Yes,
            (Some(Err(why)), Some((_, Counting::No { since, .. }))) => {
                Counting::No { why, since: since.clone() }
            }
            (Some(Err(why)), _) => Counting::no(why, record),
            (None, Some((old, before))) if is_same_decision(old, new) => before.clone(),
            (None, _) => Counting::Unknown,
        }
    }

    fn no(why: String, record: &Record) -> Self {
        Counting::No { why, since: record.text("time").unwrap_or_default().to_owned() }
    }

    /// With what was revoked by then. What stands although it was revoked was put back.
    pub(super) fn with(self, approval: &Value, revoked: &[Revoked]) -> Self {
        let serial = serial(approval);
        match (revoked.iter().rev().find(|revoked| serial <= revoked.serial), self) {
            (Some(revoked), Counting::Unknown | Counting::Yes) => Counting::No {
                why: format!(
                    "ledger record {} revoked it, up to serial {}: it was put back",
                    revoked.record, revoked.serial
                ),
                since: revoked.time.clone(),
            },
            (_, counting) => counting,
        }
    }
}

impl Revoked {
    /// What a record revokes. What nobody signed is not remembered as revoked, and can be written anew.
    pub(super) fn by(record: &Record) -> Option<Self> {
        let old = record.fields.get("old").filter(|_| record.text("act") == Some("revoke"))?;
        old.get("signature").and_then(Value::as_str)?;
        let time = record.text("time").unwrap_or_default().to_owned();
        Some(Revoked { record: record.number, serial: serial(old), time })
    }
}

/// Reason and ticket are not signed, and decide nothing.
pub(super) fn is_same_decision(one: &Value, other: &Value) -> bool {
    let fields = |value: &Value| {
        let fields = value.as_object().cloned().unwrap_or_default().into_iter();
        let decide = fields.filter(|(name, _)| name != "reason" && name != "ticket");
        decide.collect::<serde_json::Map<_, _>>()
    };
    fields(one) == fields(other)
}

/// An approval that does not say its serial has the first.
fn serial(approval: &Value) -> u64 {
    approval.get("serial").and_then(Value::as_u64).unwrap_or(1)
}

/// `None` where it says nothing; else why not.
fn said_by_act(record: &Record, new: &Value) -> Option<Result<(), String>> {
    let counts = record.fields.get("counts").and_then(Value::as_bool);
    let proposed = record.text("act") == Some("propose");
    match counts.or(proposed.then_some(false))? {
        true => Some(Ok(())),
        false if new.get("signature").is_some_and(Value::is_string) => {
            Some(Err("it was proposed, and its signatures did not suffice".to_owned()))
        }
        false => Some(Err("it was proposed, and nobody had signed it".to_owned())),
    }
}

fn said_by_reload(record: &Record) -> Option<Result<(), String>> {
    match record.fields.get("distrust")? {
        Value::Null => Some(Ok(())),
        Value::String(why) => Some(Err(why.clone())),
        _ => None,
    }
}
