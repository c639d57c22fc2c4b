use std::time::SystemTime;

use baseline::{AddressWord, Assessment, Drift, Finding, Mode, Policy, PortWord, Register};
use inventory::Inventory;
use serde::{Serialize, Serializer};

use super::{Escaped, GapEntry, SCHEMA, gaps, time};
use crate::alert::{Sender, started_by, summary};

/// What `/api/v1/drift` gives: every open drift, also what is gone.
pub(crate) fn drift_document<'a>(
    inventory: &'a Inventory,
    assessment: &'a Assessment,
    register: &'a Register,
    sender: &Sender,
) -> impl Serialize + use<'a> {
    document(inventory, assessment, register.drifts().map(|drift| kept(drift, sender)).collect())
}

/// What `diff --format json` gives: what `assessment` finds, of which it does not know since when; then those that are
/// `gone`.
pub fn diff_document<'a>(
    inventory: &'a Inventory,
    assessment: &'a Assessment,
    gone: &[&'a Drift],
    policy: &Policy,
) -> impl Serialize + use<'a> {
    let sender = Sender::of(policy, String::new());
    let found = assessment.findings().chain(&assessment.absent).map(|finding| entry(finding, &sender));
    document(inventory, assessment, found.chain(gone.iter().map(|drift| kept(drift, &sender))).collect())
}

fn kept<'a>(drift: &'a Drift, sender: &Sender) -> DriftEntry<'a> {
    DriftEntry {
        first_seen: Some(time(drift.first_seen)),
        gone_since: drift.gone_since.map(time),
        state: state_of(drift.gone_since),
        started_by: started_by(drift),
        remedy_by: sender.remedy_by(drift).map(time),
        ..entry(&drift.finding, sender)
    }
}

fn document<'a>(
    inventory: &'a Inventory,
    assessment: &'a Assessment,
    drifts: Vec<DriftEntry<'a>>,
) -> Document<'a> {
    Document {
        schema: SCHEMA,
        host: Escaped(&inventory.host),
        taken_at: time(inventory.taken_at),
        mode: mode(assessment.mode),
        drifts,
        gaps: gaps(&inventory.coverage.gaps),
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    host: Escaped<'a>,
    taken_at: String,
    mode: &'static str,
    drifts: Vec<DriftEntry<'a>>,
    gaps: Vec<GapEntry<'a>>,
}

#[derive(Serialize)]
struct DriftEntry<'a> {
    id: &'a str,
    kind: &'static str,
    also: Vec<&'static str>,
    severity: &'static str,
    approval: Option<&'a str>,
    differs: &'a [String],
    protocol: &'static str,
    address: Address,
    port: Port,
    device: Option<Escaped<'a>>,
    netns: Escaped<'a>,
    programs: Vec<Escaped<'a>>,
    users: &'a [String],
    workloads: Vec<Escaped<'a>>,
    reach: Option<&'static str>,
    team: Option<&'a str>,
    first_seen: Option<String>,
    gone_since: Option<String>,
    state: &'static str,
    summary: String,
    started_by: Option<String>,
    remedy_by: Option<String>,
    page: String,
}

/// `"*"` or an address.
struct Address(AddressWord);

/// A number, `"kernel"`, or `"*"` of something absent for which several were approved.
struct Port(PortWord);

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            PortWord::Number(number) => serializer.serialize_u16(number),
            PortWord::Kernel | PortWord::Any => serializer.collect_str(&self.0),
        }
    }
}

/// One of which it is not known since when it is there.
fn entry<'a>(finding: &'a Finding, sender: &Sender) -> DriftEntry<'a> {
    let subject = &finding.subject;
    DriftEntry {
        id: finding.id.as_str(),
        kind: finding.kind.as_str(),
        also: finding.also.iter().map(|kind| kind.as_str()).collect(),
        severity: finding.severity.as_str(),
        approval: finding.approval.as_deref(),
        differs: &finding.differs,
        protocol: subject.protocol.as_str(),
        address: Address(subject.address),
        port: Port(subject.port),
        device: subject.device.as_ref().map(Escaped),
        netns: Escaped(&subject.netns),
        programs: subject.programs.iter().map(Escaped).collect(),
        users: &subject.users,
        workloads: subject.workloads.iter().map(Escaped).collect(),
        reach: subject.reach.map(|reach| reach.as_str()),
        team: finding.team.as_deref(),
        first_seen: None,
        gone_since: None,
        state: state_of(None),
        summary: summary(&sender.host, finding, false),
        started_by: None,
        remedy_by: None,
        page: sender.page(finding.id.as_str()),
    }
}

pub(super) fn state_of(gone_since: Option<SystemTime>) -> &'static str {
    if gone_since.is_some() { "gone" } else { "present" }
}

pub(super) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "observe",
        Mode::Enforce => "enforce",
    }
}
