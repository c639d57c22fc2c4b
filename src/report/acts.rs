use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::audit::{Entry, Kept, Place, Record, Soundness, Span, soundness, told_who};
use crate::page::shown;

/// What the ledger of this host tells of approvals.
#[derive(Debug)]
pub(super) struct Acts {
    pub(super) ledger: Ledger,
    by_approval: ByApproval,
}

/// Those that wrote an approval, by its id: the last, and the one before, for it may have been taken back.
type ByApproval = BTreeMap<String, Vec<Act>>;

impl Acts {
    /// The last that wrote this approval.
    pub(super) fn last(&self, approval: &str) -> Option<&Act> {
        self.by_approval.get(approval)?.last()
    }

    #[cfg(test)]
    pub(super) fn fixed(state: LedgerState, acts: Vec<(&str, Act)>) -> Self {
        let by_approval = acts.into_iter().map(|(id, act)| (id.to_owned(), vec![act])).collect();
        Acts { ledger: Ledger { state, told: "of a test".to_owned() }, by_approval }
    }
}

/// Whether the ledger is worth anything as evidence.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Ledger {
    pub(super) state: LedgerState,
    /// A sentence.
    pub(super) told: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LedgerState {
    /// Its hashes and signatures hold, from its first record to its end.
    Whole,
    /// They do not, or its end is gone.
    Broken,
    /// No act was done on this host.
    Empty,
    /// It could not be read.
    Unread,
}

/// One that wrote an approval.
#[derive(Clone, Debug)]
pub(super) struct Act {
    pub(super) record: u64,
    /// A signature of this host stands for the record.
    pub(super) vouched: bool,
    pub(super) time: String,
    pub(super) act: String,
    pub(super) who: String,
    /// What it wrote; null where it took the approval out.
    pub(super) new: Value,
}

/// Reads all of the ledger, and verifies it.
pub(super) fn read(state: &Path) -> Acts {
    let mut by_approval = ByApproval::new();
    let ledger = match read_into(state, &mut by_approval) {
        Ok(ledger) => ledger,
        Err(error) => Ledger { state: LedgerState::Unread, told: shown(&format!("{error:#}")) },
    };
    Acts { ledger, by_approval }
}

fn read_into(state: &Path, acts: &mut ByApproval) -> anyhow::Result<Ledger> {
    let place = Place::of_state(state)?;
    let kept = Kept::of(&place)?;
    let log = place.ledger();
    let verified = log.verify()?;
    let mut span = Span::default();
    for entry in log.records(&verified) {
        if let Entry::Record(record) = entry? {
            span.take(&record);
            take(acts, &record);
        }
    }
    let told = soundness(&place, &log, &verified, &span);
    if let Some(lost) = kept.lost(&log, &verified)? {
        acts.values_mut().flatten().for_each(|act| act.vouched = false);
        return Ok(Ledger { state: LedgerState::Broken, told: lost });
    }
    let state = match &verified {
        Soundness::Broken(_) => LedgerState::Broken,
        Soundness::Sound(verified) if verified.records == 0 => LedgerState::Empty,
        Soundness::Sound(_) => LedgerState::Whole,
    };
    Ok(Ledger { state, told })
}

fn take(acts: &mut ByApproval, record: &Record) {
    let is_away = record.fields.get("away").and_then(Value::as_bool) == Some(true);
    let Some(id) = record.text("approval").filter(|_| !is_away) else { return };
    if record.text("act") == Some("undone") {
        let of = record.fields.get("of").and_then(Value::as_u64);
        let known = acts.entry(id.to_owned()).or_default();
        known.retain(|act| Some(act.record) != of);
        return;
    }
    let object = |field: &str| record.fields.get(field).filter(|value| value.is_object());
    if object("old").is_none() && object("new").is_none() {
        return;
    }
    let text = |field| record.text(field).map(shown).unwrap_or_default();
    let act = Act {
        record: record.number,
        vouched: record.vouched,
        time: text("time"),
        act: text("act"),
        who: told_who(record.fields.get("who")),
        new: object("new").cloned().unwrap_or_default(),
    };
    let known = acts.entry(id.to_owned()).or_default();
    known.push(act);
    known.drain(..known.len().saturating_sub(2));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_act_that_was_carried_out_here_is_kept() {
        let mut acts = ByApproval::new();
        let mut add = |number: u64, fields: Value| {
            let fields = fields.as_object().unwrap().clone();
            take(&mut acts, &Record { number, vouched: true, fields });
            acts.get("web").and_then(|known| Some(known.last()?.record))
        };
        let web = |act: &str| json!({"act": act, "approval": "web", "new": {"id": "web"}});
        assert_eq!(add(1, json!({"act": "learn"})), None);
        assert_eq!(add(2, web("approve")), Some(2));
        assert_eq!(add(3, json!({"act": "dismiss", "approval": "web"})), Some(2), "it wrote nothing");
        let mut away = web("approve");
        away["away"] = true.into();
        assert_eq!(add(4, away), Some(2), "it is of a checkout");
        assert_eq!(add(5, web("countersign")), Some(5));
        assert_eq!(add(6, json!({"act": "undone", "approval": "web", "of": 5})), Some(2));
    }

    #[test]
    fn what_cannot_be_read_or_is_broken_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).ledger.state, LedgerState::Empty);
        std::fs::write(folder.path().join("ledger.jsonl"), "nonsense\n").unwrap();
        assert_eq!(read(folder.path()).ledger.state, LedgerState::Broken);
        std::fs::remove_file(folder.path().join("ledger.jsonl")).unwrap();
        std::fs::create_dir(folder.path().join("ledger.jsonl")).unwrap();
        assert_eq!(read(folder.path()).ledger.state, LedgerState::Unread);
    }
}
