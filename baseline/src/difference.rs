mod sentence;

use inventory::{ProgramFile, Reach, Unattributed};
use jiff::Timestamp;
use jiff::tz::TimeZone;

pub(crate) use self::sentence::{unattributed, who};
use crate::view::{HolderView, ServiceView, Spot};
use crate::{Accounts, Approval, DriftKind, Listen, Pattern, PortPattern, ProgramPattern};

/// One thing in which a service is not as an approval says.
#[derive(Clone, Copy)]
pub(crate) enum Difference<'a> {
    Bound(Spot),
    Device,
    Reach(Reach),
    Program(&'a HolderView<'a>),
    NotHostFile(&'a HolderView<'a>),
    Arguments(&'a HolderView<'a>),
    Hash(&'a HolderView<'a>),
    User(&'a HolderView<'a>),
    Group(&'a HolderView<'a>),
    Unit(&'a HolderView<'a>),
    Image(&'a HolderView<'a>),
    Service(&'a HolderView<'a>),
    Unattributed(Unattributed),
    Expired,
}

/// What is not in the service or the approval and yet decides.
#[derive(Clone, Copy)]
pub(crate) struct Circumstances<'a> {
    pub(crate) accounts: &'a Accounts,
    pub(crate) zone: &'a TimeZone,
    pub(crate) now: Timestamp,
}

/// Whether an approval is about this service at all, hosts apart.
pub(crate) fn speaks_of(approval: &Approval, view: &ServiceView<'_>) -> bool {
    let netns = |pattern: &crate::NetNsPattern| pattern.matches(view.service.netns_kind, &view.netns);
    let speaks =
        |spot: &Spot| approval.listen.iter().any(|listen| listen_speaks_of(approval, listen, spot, view));
    approval.netns.iter().any(netns) && view.spots.iter().any(speaks)
}

fn listen_speaks_of(approval: &Approval, listen: &Listen, spot: &Spot, view: &ServiceView<'_>) -> bool {
    let protocol_and_port =
        listen.protocol == view.service.protocol && listen.port.matches(spot.port, spot.port_choice);
    // The port that a kernel chose is nobody's: there the program says what the approval is about.
    protocol_and_port && (listen.port != PortPattern::Kernel || names_some_program(approval, view))
}

fn names_some_program(approval: &Approval, view: &ServiceView<'_>) -> bool {
    view.is_unseen() || view.holders.iter().any(|holder| matches_program(approval, holder))
}

fn matches_program(approval: &Approval, holder: &HolderView<'_>) -> bool {
    approval.program.iter().any(|program| match program {
        ProgramPattern::Kernel => false,
        ProgramPattern::Path(pattern) => pattern.matches(&holder.program),
    })
}

/// All differences, none of which means that the approval covers the service.
pub(crate) fn differences<'a>(
    approval: &Approval,
    view: &ServiceView<'a>,
    around: Circumstances<'_>,
) -> Vec<Difference<'a>> {
    let mut found = Vec::new();
    differences_of_endpoint(approval, view, &mut found);
    for holder in &view.holders {
        if !may_co_hold(approval, holder) {
            differences_of_holder(approval, holder, around.accounts, &mut found);
        }
    }
    for reason in &view.unattributed {
        let of_kernel = approval.program.contains(&ProgramPattern::Kernel);
        if *reason != Unattributed::Kernel || !of_kernel {
            found.push(Difference::Unattributed(*reason));
        }
    }
    if approval.is_expired(around.now, around.zone) {
        found.push(Difference::Expired);
    }
    found
}

fn differences_of_endpoint<'a>(approval: &Approval, view: &ServiceView<'a>, found: &mut Vec<Difference<'a>>) {
    // A service can have thousands of ports that the kernel chose; the first that differs tells it.
    if let Some(spot) = view.spots.iter().find(|spot| !is_bound_within(&approval.listen, spot, view, true)) {
        let but_for_device = is_bound_within(&approval.listen, spot, view, false);
        found.push(if but_for_device { Difference::Device } else { Difference::Bound(*spot) });
    }
    if approval.reach.is_some_and(|ceiling| view.service.reach > ceiling) {
        found.push(Difference::Reach(view.service.reach));
    }
}

/// Whether the addresses that a socket is bound to are in what these patterns say for its port.
pub(crate) fn is_bound_within(
    patterns: &[Listen],
    spot: &Spot,
    view: &ServiceView<'_>,
    heed_device: bool,
) -> bool {
    let for_device = |pattern: &Pattern| view.device.as_deref().is_some_and(|device| pattern.matches(device));
    let of_port = patterns.iter().filter(|listen| {
        listen.protocol == view.service.protocol
            && listen.port.matches(spot.port, spot.port_choice)
            && (!heed_device || listen.device.as_ref().is_none_or(for_device))
    });
    spot.binding.is_within(of_port.map(|listen| listen.address))
}

/// Pid 1 holds what a socket unit opened, beside the service or until that is started.
fn may_co_hold(approval: &Approval, holder: &HolderView<'_>) -> bool {
    if !holder.is_systemd() {
        return false;
    }
    match holder.unit.as_deref() {
        Some(socket) if socket.ends_with(".socket") => {
            approval.unit.iter().any(|unit| unit.as_str().ends_with(".socket") && unit.matches(socket))
        }
        _ => approval.unit.iter().any(|unit| unit.as_str().ends_with(".socket")),
    }
}

fn differences_of_holder<'a>(
    approval: &Approval,
    holder: &'a HolderView<'a>,
    accounts: &Accounts,
    found: &mut Vec<Difference<'a>>,
) {
    let is_one_of = |patterns: &[Pattern], name: Option<&str>| {
        patterns.is_empty() || name.is_some_and(|name| patterns.iter().any(|pattern| pattern.matches(name)))
    };
    let uid = holder.holder.uid;
    if !approval.program.is_empty() && !matches_program(approval, holder) {
        found.push(Difference::Program(holder));
    } else if !approval.is_for_containers() && !is_believable(holder) {
        found.push(Difference::NotHostFile(holder));
    }
    if !is_one_of(&approval.arguments, Some(&holder.command_line)) {
        found.push(Difference::Arguments(holder));
    }
    let hash = holder.holder.program.as_ref().and_then(|program| program.sha256);
    if !approval.sha256.is_empty() && !hash.is_some_and(|hash| approval.sha256.contains(&hash)) {
        found.push(Difference::Hash(holder));
    }
    if !approval.user.is_empty() && !approval.user.iter().any(|user| user.is(uid, accounts)) {
        found.push(Difference::User(holder));
    }
    if !approval.group.is_empty() && !approval.group.iter().any(|group| accounts.is_member(uid, group)) {
        found.push(Difference::Group(holder));
    }
    if !is_one_of(&approval.unit, holder.unit.as_deref()) {
        found.push(Difference::Unit(holder));
    }
    if !is_one_of(&approval.image, holder.image.as_deref()) {
        found.push(Difference::Image(holder));
    }
    if !is_one_of(&approval.service, holder.service.as_deref()) {
        found.push(Difference::Service(holder));
    }
}

/// A file that is gone is told as such, whatever an approval says, and not a second time as another program.
fn is_believable(holder: &HolderView<'_>) -> bool {
    matches!(holder.file(), Some(ProgramFile::Host | ProgramFile::Deleted { .. }))
}

impl Difference<'_> {
    /// What it makes of the service; `None` where nothing can be told for want of sight.
    pub(crate) fn kind(&self) -> Option<DriftKind> {
        Some(match self {
            Difference::Bound(_) | Difference::Device | Difference::Reach(_) => DriftKind::Widened,
            Difference::Program(_) | Difference::NotHostFile(_) | Difference::Arguments(_) => {
                DriftKind::ProgramChanged
            }
            Difference::Hash(_) => DriftKind::BinaryChanged,
            Difference::User(_) | Difference::Group(_) => DriftKind::UserChanged,
            Difference::Unit(_) | Difference::Image(_) | Difference::Service(_) => DriftKind::WorkloadChanged,
            Difference::Unattributed(Unattributed::Denied | Unattributed::Exited) => return None,
            Difference::Unattributed(_) => DriftKind::ProgramChanged,
            Difference::Expired => DriftKind::Expired,
        })
    }
}
