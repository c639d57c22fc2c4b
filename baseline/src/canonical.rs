use std::collections::BTreeSet;
use std::fmt::{Display, Write};

use crate::baseline::hex;
use crate::{Approval, Countersignature, When};

/// What SSH signatures of approvals are made for, and no other signature counts as: the namespace of PROTOCOL.sshsig.
pub const NAMESPACE: &str = "approval@portledger";

/// Raised when an approval means something that older texts could not say.
const HEADING: &str = "portledger approval 1";

/// The text that an approver signs: everything that decides what is approved, where, by whom and until when, one value a
/// line, in an order of its own. How the file is laid out does not matter, nor in which order a list stands; the reason,
/// the ticket and the team may be mended later.
///
/// ```text
/// portledger approval 1
/// id "web"
/// serial 1
/// listen "tcp/*:443"
/// program "/usr/sbin/nginx"
/// netns "host"
/// reach "public"
/// by "alice@example.org"
/// at "2026-11-21T09:00:00Z"
/// ```
pub fn canonical(approval: &Approval) -> String {
    let mut text = Text(format!("{HEADING}\n"));
    text.value("id", Some(&approval.id));
    text.line("serial", &approval.serial.to_string());
    text.list("listen", &approval.listen);
    text.list("program", &approval.program);
    text.list("arguments", &approval.arguments);
    text.list("unit", &approval.unit);
    text.list("image", &approval.image);
    text.list("service", &approval.service);
    text.list("user", &approval.user);
    text.list("group", &approval.group);
    text.list("netns", &approval.netns);
    let hashes: Vec<String> = approval.sha256.iter().map(|hash| hex(hash)).collect();
    text.list("sha256", &hashes);
    text.value("reach", approval.reach);
    if approval.required {
        text.line("required", "true");
    }
    text.list("hosts", &approval.hosts);
    text.value("by", approval.by.as_ref());
    text.value("at", approval.at);
    text.value("expires", approval.expires);
    text.0
}

/// The text that a further approver signs: the first one's with who signs, and when.
pub fn countersigned(approval: &Approval, by: &str, at: Option<When>) -> String {
    let mut text = Text(canonical(approval));
    text.value("countersigned-by", Some(by));
    text.value("countersigned-at", at);
    text.0
}

/// What this countersignature must be one of.
pub(crate) fn text_of(approval: &Approval, signature: &Countersignature) -> String {
    countersigned(approval, &signature.by, signature.at)
}

struct Text(String);

impl Text {
    fn line(&mut self, key: &str, value: &str) {
        // Writing into memory does not fail.
        writeln!(self.0, "{key} {value}").unwrap_or_default();
    }

    fn value(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.line(key, &quoted(&value));
        }
    }

    fn list<T: Display>(&mut self, key: &str, values: &[T]) {
        let ordered: BTreeSet<String> = values.iter().map(|value| quoted(value)).collect();
        ordered.iter().for_each(|value| self.line(key, value));
    }
}

/// As JSON quotes it: no value can pass for the end of its line.
fn quoted(value: &impl Display) -> String {
    serde_json::Value::String(value.to_string()).to_string()
}
