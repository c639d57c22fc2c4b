use std::time::SystemTime;

use baseline::Verdict;
use inventory::{Happening, Holders, Inventory};
use serde::Serialize;

use super::{Escaped, GapEntry, NetNsEntry, SCHEMA, gaps, time};
use crate::event_log::HolderLine;
use crate::event_log::lived;
use crate::follower::Witnessed;

/// A line of `watch --format json`: one of `events.jsonl`, and what else is known of it at that moment.
pub fn witnessed_document(witnessed: &Witnessed) -> impl Serialize + '_ {
    let listener = witnessed.listener();
    let finding = match &witnessed.verdict {
        Verdict::Drift(finding) => Some(finding),
        _ => None,
    };
    let user = |uid| witnessed.accounts.name(uid);
    WitnessedEntry {
        time: time(witnessed.at()),
        event: match witnessed.what {
            Happening::Opened(_) => "open",
            Happening::Changed { .. } => "change",
            Happening::Closed { .. } => "close",
        },
        by: if witnessed.by_look { "look" } else { "event" },
        before: witnessed.was_before(),
        lived: witnessed.lived().map(lived),
        changes: witnessed.differences(),
        cookie: listener.id.cookie,
        protocol: listener.endpoint.protocol.as_str(),
        address: listener.endpoint.address.to_string(),
        port: listener.endpoint.port,
        device: listener.endpoint.device.as_ref().map(Escaped),
        port_choice: listener.port_choice.as_str(),
        peer: listener.peer.map(|peer| peer.to_string()),
        netns: NetNsEntry::of(&listener.netns),
        reach: listener.reach.as_str(),
        holders: listener
            .holders
            .known()
            .iter()
            .map(|holder| HolderLine::of(holder, user(holder.uid)))
            .collect(),
        unattributed: match &listener.holders {
            Holders::Known(_) => None,
            Holders::Unattributed(reason) => Some(reason.as_str()),
        },
        service: witnessed.service.as_ref().map(|id| id.as_str()),
        verdict: witnessed.verdict.as_str(),
        drift: finding.map(|finding| finding.id.as_str()),
        kind: finding.map(|finding| finding.kind.as_str()),
        severity: finding.map(|finding| finding.severity.as_str()),
        approval: match &witnessed.verdict {
            Verdict::Approved(approval) | Verdict::Learned(approval) => Some(approval),
            Verdict::Drift(finding) => finding.approval.as_deref(),
            Verdict::Unjudged => None,
        },
    }
}

#[derive(Serialize)]
struct WitnessedEntry<'a> {
    time: String,
    event: &'static str,
    by: &'static str,
    before: bool,
    lived: Option<f64>,
    changes: Vec<&'static str>,
    cookie: u64,
    protocol: &'static str,
    address: String,
    port: u16,
    device: Option<Escaped<'a>>,
    port_choice: &'static str,
    peer: Option<String>,
    netns: NetNsEntry<'a>,
    reach: &'static str,
    holders: Vec<HolderLine<'a>>,
    unattributed: Option<&'static str>,
    service: Option<&'a str>,
    verdict: &'static str,
    drift: Option<&'a str>,
    kind: Option<&'static str>,
    severity: Option<&'static str>,
    approval: Option<&'a str>,
}

/// How the view of those who watch stands, in the same stream. `event` is `began` or `coverage`.
pub fn standing_document<'a>(
    event: &'static str,
    inventory: &'a Inventory,
    drifting: usize,
) -> impl Serialize + 'a {
    Standing {
        time: time(inventory.taken_at),
        event,
        schema: SCHEMA,
        host: Escaped(&inventory.host),
        listeners: inventory.listeners.len(),
        drifting,
        source: inventory.coverage.events.as_str(),
        gaps: gaps(&inventory.coverage.gaps),
    }
}

#[derive(Serialize)]
struct Standing<'a> {
    time: String,
    event: &'static str,
    schema: u32,
    host: Escaped<'a>,
    listeners: usize,
    drifting: usize,
    source: &'static str,
    gaps: Vec<GapEntry<'a>>,
}

/// That so many events are not in the stream. `event` is `lost`, when the kernel had no room for them, or `unread`, when
/// the reader of the stream took too long.
pub fn missing_document(event: &'static str, count: u64, at: SystemTime) -> impl Serialize {
    Missing { time: time(at), event, count }
}

#[derive(Serialize)]
struct Missing {
    time: String,
    event: &'static str,
    count: u64,
}
