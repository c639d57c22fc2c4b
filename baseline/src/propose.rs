use std::collections::BTreeSet;
use std::time::SystemTime;

use inventory::{Inventory, PortChoice, ProgramFile, RawText, Unattributed};

use crate::difference::{unattributed, who};
use crate::interpreter::is_interpreter;
use crate::view::{HolderView, ServiceView, view_holders};
use crate::{
    Accounts, Approval, Baseline, HostPattern, Judged, Listen, NetNsPattern, Pattern, PortPattern,
    ProgramPattern, Service, User, When,
};

/// What a person adds to a service to approve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
    /// When.
    pub at: SystemTime,
    /// Until when.
    pub expires: Option<When>,
    /// For which hosts; empty for what the file says.
    pub hosts: Vec<HostPattern>,
    /// What the approval is called; a name is made up where there is none.
    pub id: Option<String>,
}

/// Why nothing in a baseline could cover a service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotApprove {
    /// An approval names who holds it, and nobody knows.
    #[error("{}", unattributed(*.0))]
    Unattributed(Unattributed),
    /// /proc/PID/exe could not be read.
    #[error("the program of process {0} could not be read: `portledger doctor` tells what that takes")]
    NoProgram(u32),
    /// A path is no name of a file that is gone, or never was one.
    #[error("the file that {0} runs from is gone: restart it, then approve it")]
    NoFile(String),
    /// The path is not the host's, and no image says whose it is.
    #[error("what runs as {0} is not the host's file of that name, and no container image is known")]
    NotHostFile(String),
    /// The path could not be compared with the host's.
    #[error(
        "{0} could not be compared with the host's file of that name: `portledger doctor` tells what that takes"
    )]
    NotCompared(String),
}

/// An approval that covers one service of this inventory and nothing that is wider.
pub fn propose(
    judged: &Judged,
    inventory: &Inventory,
    baseline: &Baseline,
    accounts: &Accounts,
    request: Request,
) -> Result<Approval, CannotApprove> {
    let mut approval = draft(&judged.service, inventory, accounts)?;
    let taken = baseline.approvals().iter().map(|approval| approval.id.clone()).collect();
    approval.id = request.id.unwrap_or_else(|| free_id(&approval, &taken));
    approval.reason = Some(request.reason);
    approval.by = Some(request.by);
    approval.at = Some(When::instant(request.at));
    approval.expires = request.expires;
    approval.hosts = request.hosts;
    Ok(approval)
}

/// The same without a name and without anything that a person says.
pub(crate) fn draft(
    service: &Service,
    inventory: &Inventory,
    accounts: &Accounts,
) -> Result<Approval, CannotApprove> {
    let listeners = service.listeners.iter().map(|place| inventory.listeners[*place].clone()).collect();
    let part = Inventory { listeners, ..inventory_without_listeners(inventory) };
    let holders = view_holders(&part.listeners);
    let own = Service { listeners: (0..part.listeners.len()).collect(), ..service.clone() };
    let view = ServiceView::of(&own, &part, &holders);
    if let Some(reason) = view.unattributed.iter().find(|reason| **reason != Unattributed::Kernel) {
        return Err(CannotApprove::Unattributed(*reason));
    }
    let mut approval = Approval::new("", Vec::new());
    if !view.unattributed.is_empty() {
        approval.program.push(ProgramPattern::Kernel);
    }
    name_workload(&view, &mut approval);
    for holder in &view.holders {
        check_program(holder, approval.is_for_containers())?;
    }
    let programs: BTreeSet<&str> = view.programs();
    approval.program.extend(programs.into_iter().map(Pattern::exactly_text).map(ProgramPattern::Path));
    approval.user = view.holders.iter().map(|holder| user(holder.holder.uid, accounts)).collect();
    approval.user.sort();
    approval.user.dedup();
    if !approval.names_workload() && view.holders.iter().any(|holder| is_interpreter(&holder.program)) {
        approval.arguments = each(&view, |holder| Some(&holder.command_line)).unwrap_or_default();
    }
    approval.netns = vec![NetNsPattern::exactly(service.netns_kind, &service.netns)];
    approval.reach = Some(service.reach);
    approval.listen = listen(&view, &approval, &part);
    Ok(approval)
}

fn inventory_without_listeners(inventory: &Inventory) -> Inventory {
    Inventory {
        host: inventory.host.clone(),
        taken_at: inventory.taken_at,
        listeners: Vec::new(),
        coverage: inventory.coverage.clone(),
    }
}

fn user(uid: u32, accounts: &Accounts) -> User {
    match accounts.name(uid) {
        // A name that reads as a number would be read as another uid.
        Some(name) if User::new(name) == User::Name(name.to_owned()) => User::Name(name.to_owned()),
        _ => User::Uid(uid),
    }
}

/// The name that each holder has, where each has one.
fn each<'a>(
    view: &ServiceView<'a>,
    name: impl Fn(&'a HolderView<'a>) -> Option<&'a String>,
) -> Option<Vec<Pattern>> {
    let names: Option<BTreeSet<&String>> = view.holders.iter().map(|holder| name(holder)).collect();
    Some(names?.into_iter().map(|name| Pattern::exactly_text(name)).collect())
}

fn name_workload(view: &ServiceView<'_>, approval: &mut Approval) {
    approval.unit = each(view, |holder| holder.unit.as_ref()).unwrap_or_default();
    approval.image = each(view, |holder| holder.image.as_ref()).unwrap_or_default();
    approval.service = each(view, |holder| holder.service.as_ref()).unwrap_or_default();
}

fn check_program(holder: &HolderView<'_>, in_container: bool) -> Result<(), CannotApprove> {
    match holder.file() {
        // Of a mount that is gone; an approval names paths from the root.
        Some(_) if !holder.program.starts_with('/') => Err(CannotApprove::NotHostFile(who(holder))),
        None => Err(CannotApprove::NoProgram(holder.holder.id.pid)),
        Some(ProgramFile::Deleted { replaced: false }) => Err(CannotApprove::NoFile(who(holder))),
        Some(ProgramFile::Host | ProgramFile::Deleted { replaced: true }) => Ok(()),
        Some(_) if in_container => Ok(()),
        Some(ProgramFile::Foreign) => Err(CannotApprove::NotHostFile(who(holder))),
        Some(ProgramFile::Unknown) => Err(CannotApprove::NotCompared(who(holder))),
    }
}

fn listen(view: &ServiceView<'_>, approval: &Approval, part: &Inventory) -> Vec<Listen> {
    let Some(first) = part.listeners.first() else { return Vec::new() };
    let nameless_port = !approval.program.is_empty()
        && approval.names_workload()
        && view.spots.iter().all(|spot| spot.port_choice == PortChoice::Kernel);
    let spots = view.spots.iter().map(|spot| {
        let port = if nameless_port { PortPattern::Kernel } else { PortPattern::Range(spot.port, spot.port) };
        Listen::exactly(&first.endpoint, spot.binding.exact_pattern(), port)
    });
    let mut all: Vec<Listen> = spots.collect();
    tidy(&mut all);
    all
}

/// Ordered for people, each once, without what another one of them holds.
pub(crate) fn tidy(all: &mut Vec<Listen>) {
    use crate::AddressPattern::{Any, AnyV4, AnyV6};
    let has = |listen: &Listen, address| all.contains(&Listen { address, ..listen.clone() });
    let twins: Vec<Listen> = all
        .iter()
        .filter(|listen| listen.address == AnyV4 && has(listen, AnyV6))
        .map(|listen| Listen { address: Any, ..listen.clone() })
        .collect();
    all.extend(twins);
    let whole: BTreeSet<Listen> = all.iter().filter(|listen| listen.address == Any).cloned().collect();
    all.retain(|listen| {
        !matches!(listen.address, AnyV4 | AnyV6)
            || !whole.contains(&Listen { address: Any, ..listen.clone() })
    });
    all.sort_by(|one, other| {
        let key = |listen: &Listen| (listen.protocol, listen.port, listen.address);
        key(one).cmp(&key(other)).then_with(|| one.device.cmp(&other.device))
    });
    all.dedup();
}

/// A name that nobody has: of the unit, the container or the program, then with the port, then with the first of its
/// hosts, then numbered.
pub(crate) fn free_id(approval: &Approval, taken: &BTreeSet<String>) -> String {
    let base = base_id(approval);
    let mut candidates = vec![base.clone()];
    if let Some(first) = approval.listen.first() {
        let with_port = format!("{base}-{}", first.port.to_string().replace('*', "any"));
        candidates.push(with_port.clone());
        candidates.extend(
            approval.hosts.first().map(|host| format!("{with_port}-{}", plain_id(&host.to_string()))),
        );
        candidates.push(format!("{with_port}-{}", first.protocol));
    }
    let numbered = (2..).map(|number: u64| format!("{base}-{number}"));
    let mut free = candidates.into_iter().chain(numbered).filter(|id| !taken.contains(id));
    free.next().unwrap_or(base)
}

/// What the approval would be called if it were alone.
pub(crate) fn base_id(approval: &Approval) -> String {
    let last = |text: &str| text.rsplit('/').next().unwrap_or(text).to_owned();
    let service_unit = approval.unit.iter().find(|unit| unit.as_str().ends_with(".service"));
    let name = if let Some(unit) = service_unit.or(approval.unit.first()) {
        let name = last(unit.as_str());
        name.rsplit_once('.').map_or(name.clone(), |(stem, _)| stem.to_owned())
    } else if let Some(service) = approval.service.first() {
        last(service.as_str())
    } else if let Some(image) = approval.image.first() {
        let name = last(image.as_str());
        name.split([':', '@']).next().unwrap_or_default().to_owned()
    } else {
        let program = approval.program.iter().find(|program| !program.to_string().ends_with("/systemd"));
        last(&program.or(approval.program.first()).map(ToString::to_string).unwrap_or_default())
    };
    plain_id(&name)
}

fn plain_id(name: &str) -> String {
    let plain =
        |letter: char| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '-' };
    let id: String = name.chars().take(48).map(plain).collect();
    match id.trim_matches('-') {
        "" => "service".to_owned(),
        id if id.starts_with("s1-") => format!("service-{id}"),
        id => id.to_owned(),
    }
}

/// For notes beside an approval.
pub(crate) fn name_of(text: &RawText) -> String {
    text.escaped()
}
