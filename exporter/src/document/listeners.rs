use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use baseline::{Accounts, Assessment, Finding, Host, Judged, Register, Verdict};
use inventory::{
    Holder, Holders, Inventory, Listener, NetNs, NetNsId, Parent, PortChoice, ProgramFile, Scope, Share,
    Workload,
};
use serde::Serialize;

use super::drift::state_of;
use super::{Escaped, GapEntry, SCHEMA, gaps, time};

/// What `list --format json` and `/api/v1/listeners` tell of.
#[derive(Clone, Copy)]
pub struct Listed<'a> {
    /// All that listens, or what passed the filters of `list`.
    pub inventory: &'a Inventory,
    /// What the baseline says of it.
    pub assessment: &'a Assessment,
    /// Without one nobody knows since when a drift is open.
    pub register: Option<&'a Register>,
    /// The accounts that the assessment was made with.
    pub accounts: &'a Accounts,
    /// What the configuration calls the host, and its groups.
    pub host: &'a Host,
    /// Events that were lost since the looking began, where it goes on.
    pub lost: Option<u64>,
    /// Listeners were left out.
    pub filtered: bool,
    /// Whether whoever reads it may know with what arguments processes were started; else these are null.
    pub command_lines: bool,
}

/// What `list --format json` and `/api/v1/listeners` give; [`super::read_listeners`] reads it back.
///
/// Names are escaped as [`inventory::RawText`] does; times are RFC 3339 in UTC.
pub fn listeners_document(listed: Listed<'_>) -> impl Serialize + '_ {
    let Listed { inventory, assessment, register, accounts, host, lost, filtered, command_lines } = listed;
    let page = Page { accounts, register, command_lines };
    let judged = assessment.service_of.iter().map(|place| assessment.services.get(*place));
    let listeners = inventory.listeners.iter().zip(judged.chain(std::iter::repeat(None)));
    Document {
        schema: SCHEMA,
        host: Escaped(&inventory.host),
        name: Escaped(&host.name),
        groups: &host.groups,
        taken_at: time(inventory.taken_at),
        filtered,
        listeners: listeners.map(|(listener, judged)| page.listener(listener, judged)).collect(),
        members: members(inventory, accounts),
        gaps: gaps(&inventory.coverage.gaps),
        shares: Scope::ALL.map(|scope| (scope.as_str(), inventory.coverage.shares.of(scope))).into(),
        events: EventsEntry { source: inventory.coverage.events.as_str(), lost },
    }
}

/// Of each group of accounts that the baseline names, those that hold something here.
fn members<'a>(inventory: &Inventory, accounts: &'a Accounts) -> BTreeMap<&'a str, Vec<u32>> {
    let holders = inventory.listeners.iter().flat_map(|listener| listener.holders.known());
    let present: BTreeSet<u32> = holders.map(|holder| holder.uid).collect();
    let of_group = |uids: &BTreeSet<u32>| uids.intersection(&present).copied().collect();
    accounts.groups().map(|(name, uids)| (name, of_group(uids))).collect()
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
    name: Escaped<'a>,
    groups: &'a BTreeSet<String>,
    taken_at: String,
    filtered: bool,
    listeners: Vec<ListenerEntry<'a>>,
    members: BTreeMap<&'a str, Vec<u32>>,
    gaps: Vec<GapEntry<'a>>,
    shares: BTreeMap<&'static str, Share>,
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
    inode: u64,
    ipv6_only: Option<bool>,
    reuse_port: Option<bool>,
    backlog: Option<u32>,
    socket_uid: u32,
    reach: &'static str,
    wildcard: bool,
    port_choice: &'static str,
    ephemeral: Option<bool>,
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
    start_ticks: u64,
    program: Option<Escaped<'a>>,
    file: Option<&'static str>,
    replaced: Option<bool>,
    sha256: Option<String>,
    name: Escaped<'a>,
    arguments: Option<Vec<Escaped<'a>>>,
    uid: u32,
    user: Option<&'a str>,
    workload: WholeWorkloadEntry<'a>,
    parents: Vec<ParentEntry<'a>>,
}

/// With what is another after each start, which no log of events needs.
#[derive(Serialize)]
struct WholeWorkloadEntry<'a> {
    #[serde(flatten)]
    stable: WorkloadEntry<'a>,
    runtime: Option<&'static str>,
    id: Option<String>,
    from: Option<Escaped<'a>>,
}

#[derive(Serialize)]
struct ParentEntry<'a> {
    pid: u32,
    name: Escaped<'a>,
    program: Option<Escaped<'a>>,
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
    command_lines: bool,
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
            inode: listener.id.inode,
            ipv6_only: listener.ipv6_only,
            reuse_port: listener.reuse_port,
            backlog: listener.backlog,
            socket_uid: listener.uid,
            reach: listener.reach.as_str(),
            wildcard: listener.endpoint.is_wildcard(),
            port_choice: listener.port_choice.as_str(),
            ephemeral: match listener.port_choice {
                PortChoice::Unknown { ephemeral } => Some(ephemeral),
                PortChoice::Explicit | PortChoice::Kernel => None,
            },
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
            start_ticks: holder.id.start_ticks,
            program: program.map(|program| Escaped(&program.path)),
            file: program.map(|program| program.file.as_str()),
            replaced: match program.map(|program| program.file) {
                Some(ProgramFile::Deleted { replaced }) => Some(replaced),
                _ => None,
            },
            sha256: program.and_then(|program| program.sha256.as_ref()).map(hexadecimal),
            name: Escaped(&holder.name),
            arguments: self.command_lines.then(|| holder.arguments.iter().map(Escaped).collect()),
            uid: holder.uid,
            user: self.accounts.name(holder.uid),
            workload: WholeWorkloadEntry::of(&holder.workload),
            parents: holder.parents.iter().map(ParentEntry::of).collect(),
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

impl<'a> WholeWorkloadEntry<'a> {
    fn of(workload: &'a Workload) -> Self {
        let (runtime, id, from) = match workload {
            Workload::Container(container) => {
                (Some(container.runtime.as_str()), Some(container.id.clone()), None)
            }
            Workload::Session(session) => (None, Some(session.id.escaped()), session.from.as_ref()),
            Workload::Unit(_) | Workload::None => (None, None, None),
        };
        WholeWorkloadEntry { stable: WorkloadEntry::of(workload), runtime, id, from: from.map(Escaped) }
    }
}

impl<'a> ParentEntry<'a> {
    fn of(parent: &'a Parent) -> Self {
        let program = parent.program.as_ref().map(Escaped);
        ParentEntry { pid: parent.pid, name: Escaped(&parent.name), program }
    }
}

fn hexadecimal(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
