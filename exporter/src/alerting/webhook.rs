use std::borrow::Cow;
use std::sync::Arc;

use baseline::Severity;
use serde::Serialize;

use super::told::{description, runbook};
use super::turn::{About, Turn, Why};
use crate::alert::Moment;

/// Raised when a field changes its meaning or goes; new fields do not raise it.
const SCHEMA: u32 = 1;

/// docs/alerting.md has it field by field.
#[derive(Serialize)]
struct Body<'a> {
    schema: u32,
    host: &'a str,
    alerts: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    seq: u64,
    status: &'static str,
    time: Moment,
    id: &'a str,
    #[serde(flatten)]
    about: Cow<'a, About>,
    description: String,
    runbook: Option<String>,
    was: Option<Severity>,
    why: Option<Why>,
    by: Option<&'a str>,
    approved_as: Option<&'a str>,
}

/// What is posted of these.
pub(crate) fn body(turns: &[Arc<Turn>], external_url: &str) -> serde_json::Result<Vec<u8>> {
    let alerts = turns.iter().map(|turn| Entry::of(turn, external_url)).collect();
    serde_json::to_vec(&Body { schema: SCHEMA, host: host(turns), alerts })
}

/// The same of the same turns, each time they are posted, and never of others: a number that was given again after a disk
/// failed is of another time.
pub(crate) fn idempotency_key(turns: &[Arc<Turn>]) -> String {
    let numbers = |turn: Option<&Arc<Turn>>| turn.map_or(0, |turn| turn.seq);
    let time = turns.last().map_or(String::new(), |turn| turn.time.to_string());
    let plain = |letter: char| if letter.is_ascii_graphic() { letter } else { '_' };
    let host: String = host(turns).chars().map(plain).collect();
    format!("{host}-{}-{}-{time}", numbers(turns.first()), numbers(turns.last()))
}

fn host(turns: &[Arc<Turn>]) -> &str {
    turns.first().map_or("", |turn| turn.about.host())
}

impl<'a> Entry<'a> {
    fn of(turn: &'a Turn, external_url: &str) -> Self {
        let end = turn.end.as_ref();
        Entry {
            seq: turn.seq,
            status: turn.status(),
            time: turn.time,
            id: turn.id(),
            about: turn.told_about(),
            description: description(turn),
            runbook: runbook(&turn.about, external_url),
            was: turn.was,
            why: end.map(|end| end.why),
            by: end.and_then(|end| end.by.as_deref()),
            approved_as: end.and_then(|end| end.approved_as.as_deref()),
        }
    }
}
