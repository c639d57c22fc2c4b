//! The index made anew of what the logs still have.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use baseline::{AddressWord, PortWord};
use inventory::{Protocol, RawText};
use jiff::Timestamp;
use serde_json::Value;

use super::index::{CoveredBy, Past, ServicePast, Turns, few};
use crate::past_events::{RELOADS, past, past_events};
use crate::state::StateError;

/// All of `events.jsonl`, and as much of `reloads.jsonl`.
const BOUND: u64 = 64 << 20;

/// What `events.jsonl` tells of services, and `reloads.jsonl` of since when approvals were in force. Records of releases
/// that did not name the service tell nothing.
pub(super) fn from_logs(state: &Path) -> Result<Past, StateError> {
    let mut in_force = BTreeMap::new();
    past(state, RELOADS, BOUND, |line| {
        serde_json::from_slice(line).iter().for_each(|record| reload(&mut in_force, record));
        ControlFlow::Continue(())
    })?;
    let (mut made, mut drifted) = (Past::default(), BTreeMap::new());
    past_events(state, BOUND, |line| {
        serde_json::from_slice(line).iter().for_each(|record| event(&mut made, &mut drifted, record));
        ControlFlow::Continue(())
    })?;
    Ok(finish(made, &drifted, in_force))
}

/// Turns of drifts by id: newest first they are told before that of which they are.
type Drifted = BTreeMap<String, Turns>;

/// More are not remembered.
const MOST_DRIFTED: usize = 20_000;

/// Newest first: the last time that it was put in.
fn reload(in_force: &mut BTreeMap<String, Timestamp>, record: &Value) {
    let is_new = record["event"] == "approval" && record["old"].is_null() && record["new"].is_object();
    if let (true, Some(id), Some(time)) = (is_new, record["approval"].as_str(), time(record)) {
        in_force.entry(RawText::from(id).escaped()).or_insert(time);
    }
}

/// Newest first.
fn event(made: &mut Past, drifted: &mut Drifted, record: &Value) {
    let Some(at) = time(record) else { return };
    let word = record["event"].as_str().unwrap_or_default();
    if let ("drift_opened" | "drift_returned", Some(id)) = (word, record["drift"].as_str())
        && (drifted.len() < MOST_DRIFTED || drifted.contains_key(id))
    {
        drifted.entry(id.to_owned()).or_default().count(at);
    }
    let Some(id) = record["service"].as_str() else { return };
    made.looked = made.looked.max(Some(at));
    made.since = Some(made.since.map_or(at, |since| since.min(at)));
    if !made.knows(id) {
        let Some(line) = bare(record, at) else { return };
        made.services.insert(id.into(), line.into());
    }
    let Some(line) = made.services.get_mut(id).map(Arc::make_mut) else { return };
    line.first_seen = line.first_seen.min(at);
    line.last_seen = line.last_seen.max(at);
    match word {
        "open" => {
            line.opened.count(at);
            if line.programs.is_empty() {
                line.describe(record);
            }
            line.was_covered(record, at);
        }
        "close" => line.closed.count(at),
        _ => {}
    }
    made.make_room(false);
}

fn finish(mut made: Past, drifted: &Drifted, in_force: BTreeMap<String, Timestamp>) -> Past {
    let (Some(since), Some(looked)) = (made.since, made.looked) else { return made };
    let between = |from: Timestamp, to: Timestamp| {
        u64::try_from(to.duration_since(from).as_millis()).unwrap_or_default()
    };
    made.age = between(since, looked);
    for (id, line) in &mut made.services {
        let line = Arc::make_mut(line);
        line.drifted = drifted.get(&**id).copied().unwrap_or_default();
        line.seen_at = made.age.saturating_sub(between(line.last_seen, looked));
        line.was_in_force(&in_force);
    }
    made.in_force = in_force;
    made.bounded()
}

fn time(record: &Value) -> Option<Timestamp> {
    record["time"].as_str()?.parse().ok()
}

/// What a record of a socket says of its service.
fn bare(record: &Value, at: Timestamp) -> Option<ServicePast> {
    let protocol: Protocol = record["protocol"].as_str()?.parse().ok()?;
    let address: IpAddr = record["address"].as_str()?.parse().ok()?;
    let address = match address.to_canonical() {
        any if any.is_unspecified() => AddressWord::Any,
        one => AddressWord::One(one),
    };
    let port = u16::try_from(record["port"].as_u64()?).ok()?;
    let (programs, users, workloads, device, approval) = Default::default();
    let (opened, closed, drifted) = Default::default();
    let mut line = ServicePast {
        protocol,
        address,
        port: PortWord::Number(port),
        device,
        netns: RawText::from("host"),
        programs,
        users,
        workloads,
        first_seen: at,
        last_seen: at,
        seen_at: 0,
        sockets: 0,
        opened,
        closed,
        drifted,
        approval,
    };
    line.describe(record);
    Some(line)
}

impl ServicePast {
    /// By whom it was held where it opened: the end of a socket does not say that.
    fn describe(&mut self, record: &Value) {
        if record["port_choice"] == "kernel" {
            self.port = PortWord::Kernel;
        }
        if let Some(name) = record["netns"]["name"].as_str().and_then(RawText::from_escaped) {
            self.netns = name;
        }
        let holders = || record["holders"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().map(shown);
        self.programs = few(each(holders().filter_map(|holder| text(&holder["program"]))));
        self.workloads = few(each(holders().filter_map(|holder| text(&holder["workload"]["name"]))));
        self.users = few(each(holders().filter_map(|holder| {
            text(&holder["user"]).or_else(|| Some(holder["uid"].as_u64()?.to_string()))
        })));
    }

    /// Newest first: what is known already is of later.
    fn was_covered(&mut self, record: &Value, at: Timestamp) {
        let Some(id) = record["approval"].as_str().map(|id| RawText::from(id).escaped()) else { return };
        let learned = record["verdict"] == "learned";
        match &mut self.approval {
            Some(known) if known.id == id && known.learned == learned => known.since = known.since.min(at),
            Some(_) => {}
            None => self.approval = Some(CoveredBy { id, learned, since: at, until: None }.into()),
        }
    }
}

/// In order, each once.
fn each(names: impl Iterator<Item = String>) -> std::collections::btree_set::IntoIter<String> {
    names.collect::<std::collections::BTreeSet<_>>().into_iter()
}

fn shown(text: &str) -> String {
    match RawText::from_escaped(text) {
        Some(_) => text.to_owned(),
        None => RawText::from(text).escaped(),
    }
}
