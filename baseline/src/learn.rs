mod fleet;

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use inventory::{Inventory, PortChoice, Reach, Workload};

pub use self::fleet::learn_from;
use crate::interpreter::is_interpreter;
use crate::propose::{base_id, draft, free_id, tidy};
use crate::{Accounts, Approval, DriftKind, Policy, Service, Verdict, When, assess, edit::render};

/// A baseline for what listens now and the policy's own baseline does not cover: `by = "learn"`, with a word where
/// something deserves a look. It covers what it was learned from and nothing wider.
pub fn learn(inventory: &Inventory, policy: &Policy, accounts: &Accounts, now: SystemTime) -> String {
    let assessment = assess(inventory, policy, accounts, now);
    let mut learned = BTreeMap::new();
    let mut refused = BTreeSet::new();
    for judged in &assessment.services {
        let Verdict::Drift(finding) = &judged.verdict else { continue };
        // One that stands there unsigned wants a signature, and no second of its kind.
        if matches!(finding.kind, DriftKind::Outdated | DriftKind::Untrusted) {
            continue;
        }
        let service = &judged.service;
        match draft(service, inventory, accounts) {
            Ok(approval) => Learned::add(&mut learned, approval, notes(service, inventory)),
            Err(why) => {
                refused.insert(format!("{}: {why}", describe(service)));
            }
        }
    }
    let mut approvals: Vec<Learned> = learned.into_values().collect();
    approvals.iter_mut().for_each(|learned| tidy(&mut learned.approval.listen));
    approvals.sort_by_cached_key(Learned::order);
    name_all(&mut approvals, policy);
    write(approvals, &refused, inventory, now)
}

/// An approval in the making with what is to be said of it.
struct Learned {
    approval: Approval,
    notes: BTreeSet<String>,
}

impl Learned {
    /// What has the same holders and the same reach is one approval.
    fn add(all: &mut BTreeMap<String, Learned>, mut approval: Approval, notes: BTreeSet<String>) {
        let listen = std::mem::take(&mut approval.listen);
        let key = render(&approval);
        let learned = all.entry(key).or_insert(Learned { approval, notes: BTreeSet::new() });
        learned.approval.listen.extend(listen);
        learned.notes.extend(notes);
    }

    fn write(&self, text: &mut String) {
        let approval = Approval { by: Some("learn".to_owned()), ..self.approval.clone() };
        text.push('\n');
        self.notes.iter().for_each(|note| text.push_str(&format!("# {note}\n")));
        text.push_str(&render(&approval));
    }

    fn order(&self) -> (Option<(inventory::Protocol, crate::PortPattern)>, String) {
        let first = self.approval.listen.first().map(|listen| (listen.protocol, listen.port));
        (first, render(&self.approval))
    }
}

/// Where a name would be had by two, each is told apart by its port.
fn name_all(approvals: &mut [Learned], policy: &Policy) {
    let mut taken: BTreeSet<String> =
        policy.baseline.approvals().iter().map(|approval| approval.id.clone()).collect();
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for learned in approvals.iter() {
        *count.entry(base_id(&learned.approval)).or_default() += 1;
    }
    let shared = count.into_iter().filter(|(_, count)| *count > 1).map(|(base, _)| base);
    let mut reserved: BTreeSet<String> = shared.collect();
    reserved.append(&mut taken);
    for learned in approvals.iter_mut() {
        learned.approval.id = free_id(&learned.approval, &reserved);
        reserved.insert(learned.approval.id.clone());
    }
}

fn notes(service: &Service, inventory: &Inventory) -> BTreeSet<String> {
    let mut notes = BTreeSet::new();
    if service.reach == Reach::Public {
        let bound = if service.wildcard { "bound to all addresses" } else { "bound to a public address" };
        notes.insert(format!("reaches everybody: {bound}"));
    }
    for listener in service.listeners.iter().map(|place| &inventory.listeners[*place]) {
        let is_of_kernel = listener.holders.known().is_empty();
        if listener.port_choice == (PortChoice::Unknown { ephemeral: true }) && !is_of_kernel {
            let port = listener.endpoint.port;
            notes.insert(format!(
                "the kernel may have chosen port {port}: if it is another after a restart, `kernel` is the port to write"
            ));
        }
        for holder in listener.holders.known() {
            let Some(program) = &holder.program else { continue };
            let path = program.path.escaped();
            if is_interpreter(&path) {
                notes.insert(format!(
                    "{path} is an interpreter: see whether this says enough about what it runs"
                ));
            }
            if matches!(program.file, inventory::ProgramFile::Deleted { .. }) {
                notes.insert(format!("{path} was replaced on disk: what runs is older, and wants a restart"));
            }
            if matches!(holder.workload, Workload::Session(_)) {
                notes.insert(format!("{path} was started from a login session, and nothing starts it again"));
            }
        }
    }
    notes
}

fn describe(service: &Service) -> String {
    let holders: Vec<String> = service.programs.iter().map(crate::propose::name_of).collect();
    let by = if holders.is_empty() { String::new() } else { format!(" by {}", holders.join(", ")) };
    let netns = if service.netns_kind == inventory::NetNsKind::Host {
        String::new()
    } else {
        format!(" in {}", service.netns)
    };
    format!("{}/{}:{}{netns}{by}", service.protocol, service.address, service.port)
}

fn write(
    approvals: Vec<Learned>,
    refused: &BTreeSet<String>,
    inventory: &Inventory,
    now: SystemTime,
) -> String {
    let at = When::instant(now);
    let mut text = heading(&format!("{} at {at}", inventory.host));
    for mut learned in approvals {
        learned.approval.at = Some(at);
        learned.write(&mut text);
    }
    write_refused(refused, &mut text);
    text
}

fn heading(of_what: &str) -> String {
    format!(
        "# Learned from what listened on {of_what}.\n\
         # Nobody has approved it yet: read it, strike what should not be, and put your name to the rest.\n"
    )
}

fn write_refused(refused: &BTreeSet<String>, text: &mut String) {
    if !refused.is_empty() {
        text.push_str("\n# Not written, because no approval could cover it:\n");
        refused.iter().for_each(|line| text.push_str(&format!("# {line}\n")));
    }
}
