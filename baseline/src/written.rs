use std::fmt::Display;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::baseline::hex;
use crate::{Approval, canonical};

/// A record holds two of them.
const LONGEST: usize = 256 << 10;

/// An approval as records and answers tell it: the keys of the file, each list as a list, what is not said left out. Of
/// one that no record could hold, its dates and the SHA-256 of [`canonical`].
pub fn approval_json(approval: &Approval) -> Value {
    let whole = all_of(approval);
    if whole.to_string().len() <= LONGEST {
        return whole;
    }
    let hash = Sha256::digest(canonical(approval).as_bytes());
    let Value::Object(mut all) = whole else { return whole };
    all.retain(|key, _| ["id", "serial", "by", "at", "expires"].contains(&key.as_str()));
    all.insert("too_long".to_owned(), true.into());
    all.insert("canonical_sha256".to_owned(), hex(&hash).into());
    Value::Object(all)
}

fn all_of(approval: &Approval) -> Value {
    let mut all = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            all.insert(key.to_owned(), value);
        }
    };
    put("id", one(Some(&approval.id)));
    put("serial", Some(approval.serial.into()));
    put("listen", list(&approval.listen));
    put("program", list(&approval.program));
    put("arguments", list(&approval.arguments));
    put("unit", list(&approval.unit));
    put("image", list(&approval.image));
    put("service", list(&approval.service));
    put("user", list(&approval.user));
    put("group", list(&approval.group));
    put("netns", list(&approval.netns));
    put("sha256", list(&approval.sha256.iter().map(|hash| hex(hash)).collect::<Vec<_>>()));
    put("reach", one(approval.reach));
    put("required", approval.required.then_some(Value::Bool(true)));
    put("hosts", list(&approval.hosts));
    put("team", one(approval.team.as_ref()));
    put("ticket", one(approval.ticket.as_ref()));
    put("reason", one(approval.reason.as_ref()));
    put("by", one(approval.by.as_ref()));
    put("at", one(approval.at));
    put("expires", one(approval.expires));
    put("signature", one(approval.signature.as_ref()));
    let countersigned = approval.countersigned.iter().map(|counter| {
        let mut of = Map::new();
        of.insert("by".to_owned(), counter.by.clone().into());
        of.extend(one(counter.at).map(|at| ("at".to_owned(), at)));
        of.insert("signature".to_owned(), counter.signature.clone().into());
        Value::Object(of)
    });
    let countersigned: Vec<Value> = countersigned.collect();
    put("countersigned", (!countersigned.is_empty()).then_some(Value::Array(countersigned)));
    Value::Object(all)
}

fn one(value: Option<impl Display>) -> Option<Value> {
    value.map(|value| Value::String(value.to_string()))
}

fn list<T: Display>(values: &[T]) -> Option<Value> {
    let all: Vec<Value> = values.iter().map(|value| Value::String(value.to_string())).collect();
    (!all.is_empty()).then_some(Value::Array(all))
}
