use std::sync::Arc;

use baseline::{Accounts, Assessment, Finding, Judged, Register, Verdict};
use inventory::{Holder, Holders, Inventory, Listener, NetNs, NetNsId, Workload};
use serde::Serialize;

use super::drift::state_of;
use super::{Escaped, GapEntry, SCHEMA, gaps, time};

/// What `list --format json` and `/api/v1/listeners` give. Without a register nobody knows since when a drift is open.
/// `lost` are the events that were lost since the looking began, where it goes on.
///
/// Names are escaped as [`inventory::RawText`] does; times are RFC 3339 in UTC.
pub fn listeners_document<'a>(
    inventory: &'a Inventory,
    assessment: &'a Assessment,
    register: Option<&'a Register>,
    accounts: &'a Accounts,
    lost: Option<u64>,
) -> impl Serialize + 'a {
    let page = Page { accounts, register };
    let judged = assessment.service_of.iter().map(|place| assessment.services.get(*place));
    let listeners = inventory.listeners.iter().zip(judged.chain(std::iter::repeat(None)));
    Document {
        schema: SCHEMA,
        host: Escaped(&inventory.host),
        taken_at: time(inventory.taken_at),
        listeners: listeners.map(|(listener, judged)| page.listener(listener, judged)).collect(),
        gaps: gaps(&inventory.coverage.gaps),
        events: EventsEntry { source: inventory.coverage.events.as_str(), lost },
    }
}

#[derive(Serialize)]
struct EventsEntry {
    source: &'static str,
    lost: Option<u64>,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    host: Escaped<'a>,
    taken_at: String,
    listeners: Vec<ListenerEntry<'a>>,
    gaps: Vec<GapEntry<'a>>,
    events: EventsEntry,
}

#[derive(Serialize)]
struct ListenerEntry<'a> {
    service: Option<&'a str>,
    protocol: &'static str,
    address: String,
    port: u16,
    device: Option<Escaped<'a>>,
    netns: NetNsEntry<'a>,
    cookie: u64,
    ipv6_only: Option<bool>,
    reuse_port: Option<bool>,
    backlog: Option<u32>,
    socket_uid: u32,
    reach: &'static str,
    wildcard: bool,
    port_choice: &'static str,
    peer: Option<String>,
    published: Vec<String>,
    since: Option<String>,
    holders: Vec<HolderEntry<'a>>,
    unattributed: Option<&'static str>,
    verdict: &'static str,
    drift: Option<DriftEntry<'a>>,
}

#[derive(Serialize)]
pub(crate) struct NetNsEntry<'a> {
    kind: &'static str,
    name: Escaped<'a>,
    cookie: Option<u64>,
}

#[derive(Serialize)]
struct HolderEntry<'a> {
    pid: u32,
    started_at: String,
    program: Option<Escaped<'a>>,
    file: Option<&'static str>,
    sha256: Option<String>,
    name: Escaped<'a>,
    arguments: Vec<Escaped<'a>>,
    uid: u32,
    user: Option<&'a str>,
    workload: WorkloadEntry<'a>,
}

#[derive(Serialize)]
pub(crate) struct WorkloadEntry<'a> {
    kind: &'static str,
    name: Option<String>,
    image: Option<Escaped<'a>>,
    service: Option<Escaped<'a>>,
}

#[derive(Serialize)]
struct DriftEntry<'a> {
    id: &'a str,
    kind: &'static str,
    also: Vec<&'static str>,
    severity: &'static str,
    approval: Option<&'a str>,
    first_seen: Option<String>,
    state: &'static str,
}

/// What every entry is looked up in.
struct Page<'a> {
    accounts: &'a Accounts,
    register: Option<&'a Register>,
}

impl<'a> Page<'a> {
    fn listener(&self, listener: &'a Listener, judged: Option<&'a Judged>) -> ListenerEntry<'a> {
        let verdict = judged.map_or(&Verdict::Unjudged, |judged| &judged.verdict);
        ListenerEntry {
            service: judged.map(|judged| judged.service.id.as_str()),
            protocol: listener.endpoint.protocol.as_str(),
            address: listener.endpoint.address.to_string(),
            port: listener.endpoint.port,
            device: listener.endpoint.device.as_ref().map(Escaped),
            netns: NetNsEntry::of(&listener.netns),
            cookie: listener.id.cookie,
            ipv6_only: listener.ipv6_only,
            reuse_port: listener.reuse_port,
            backlog: listener.backlog,
            socket_uid: listener.uid,
            reach: listener.reach.as_str(),
            wildcard: listener.endpoint.is_wildcard(),
            port_choice: listener.port_choice.as_str(),
            peer: listener.peer.map(|peer| peer.to_string()),
            published: listener.published.iter().map(|endpoint| endpoint.to_string()).collect(),
            since: listener.since.map(time),
            holders: listener.holders.known().iter().map(|holder| self.holder(holder)).collect(),
            unattributed: match &listener.holders {
                Holders::Known(_) => None,
                Holders::Unattributed(reason) => Some(reason.as_str()),
            },
            verdict: verdict.as_str(),
            drift: match verdict {
                Verdict::Drift(finding) => Some(self.drift(finding)),
                _ => None,
            },
        }
    }

    fn holder(&self, holder: &'a Arc<Holder>) -> HolderEntry<'a> {
        let program = holder.program.as_ref();
        HolderEntry {
            pid: holder.id.pid,
            started_at: time(holder.started_at),
            program: program.map(|program| Escaped(&program.path)),
            file: program.map(|program| program.file.as_str()),
            sha256: program.and_then(|program| program.sha256.as_ref()).map(hexadecimal),
            name: Escaped(&holder.name),
            arguments: holder.arguments.iter().map(Escaped).collect(),
            uid: holder.uid,
            user: self.accounts.name(holder.uid),
            workload: WorkloadEntry::of(&holder.workload),
        }
    }

    fn drift(&self, finding: &'a Finding) -> DriftEntry<'a> {
        let open = self.register.and_then(|register| register.drift(&finding.id));
        DriftEntry {
            id: finding.id.as_str(),
            kind: finding.kind.as_str(),
            also: finding.also.iter().map(|kind| kind.as_str()).collect(),
            // It never falls while it is open, so the register knows better.
            severity: open.map_or(finding.severity, |drift| drift.finding.severity).as_str(),
            approval: finding.approval.as_deref(),
            first_seen: open.map(|drift| time(drift.first_seen)),
            state: state_of(open.and_then(|drift| drift.gone_since)),
        }
    }
}

impl<'a> NetNsEntry<'a> {
    pub(crate) fn of(netns: &'a NetNs) -> Self {
        let cookie = match netns.id {
            NetNsId::Cookie(cookie) => Some(cookie),
            NetNsId::Inode { .. } => None,
        };
        NetNsEntry { kind: netns.kind.as_str(), name: Escaped(&netns.name), cookie }
    }
}

impl<'a> WorkloadEntry<'a> {
    pub(crate) fn of(workload: &'a Workload) -> Self {
        let container = match workload {
            Workload::Container(container) => Some(container),
            _ => None,
        };
        WorkloadEntry {
            kind: workload.kind(),
            name: workload.stable_name().map(|name| name.escaped()),
            image: container.and_then(|container| container.image.as_ref()).map(Escaped),
            service: container.and_then(|container| container.service.as_ref()).map(Escaped),
        }
    }
}

fn hexadecimal(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
