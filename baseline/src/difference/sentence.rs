use std::fmt;

use inventory::{ProgramFile, Unattributed, quoted};

use super::Difference;
use crate::baseline::hex;
use crate::view::{HolderView, ServiceView, Spot};
use crate::{Accounts, Approval, Pattern};

impl Difference<'_> {
    /// A sentence for people, escaped.
    pub(crate) fn sentence(
        &self,
        approval: &Approval,
        view: &ServiceView<'_>,
        accounts: &Accounts,
    ) -> String {
        match self {
            Difference::Bound(spot) => {
                format!("bound to {}, approved for {}", Bound { spot, view }, list(&approval.listen))
            }
            Difference::Device => format!(
                "bound to {}, approved for {} only",
                view.device
                    .as_ref()
                    .map_or("no device".to_owned(), |device| format!("device {}", quoted(device))),
                list(&approval.listen)
            ),
            Difference::Reach(reach) => {
                let ceiling = approval.reach.unwrap_or(*reach);
                format!("reach is {reach}, approved up to {ceiling}")
            }
            Difference::Program(holder) => {
                format!("held by {}, approved for {}", who(holder), list(&approval.program))
            }
            Difference::NotHostFile(holder) => not_host_file(holder),
            Difference::Arguments(holder) => format!(
                "{} runs with `{}`, approved with {}",
                who(holder),
                holder.command_line.replace('`', "\\x60"),
                between_ticks(&approval.arguments)
            ),
            Difference::Hash(holder) => hash(holder),
            Difference::User(holder) => {
                let user = quoted(&accounts.word(holder.holder.uid));
                format!("{} runs as {user}, approved for {}", who(holder), list(&approval.user))
            }
            Difference::Group(holder) => {
                let user = quoted(&accounts.word(holder.holder.uid));
                format!("{} runs as {user}, who is not in {}", who(holder), approval.group.join(" or "))
            }
            Difference::Unit(holder) => workload("unit", holder, holder.unit.as_deref(), &approval.unit),
            Difference::Image(holder) => workload("image", holder, holder.image.as_deref(), &approval.image),
            Difference::Service(holder) => {
                workload("service", holder, holder.service.as_deref(), &approval.service)
            }
            Difference::Unattributed(reason) => unattributed(*reason).to_owned(),
            Difference::Expired => {
                let since = approval.expires.map(|expires| expires.to_string()).unwrap_or_default();
                format!("the approval expired: {since}")
            }
        }
    }
}

struct Bound<'a> {
    spot: &'a Spot,
    view: &'a ServiceView<'a>,
}

impl fmt::Display for Bound<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = self.view.service.protocol;
        write!(f, "{protocol}/{}", self.spot.binding.exact_pattern())?;
        if let Some(device) = &self.view.device {
            write!(f, "%{}", quoted(device))?;
        }
        write!(f, ":{}", self.spot.port)
    }
}

fn list<T: fmt::Display>(all: &[T]) -> String {
    let all: Vec<String> = all.iter().map(T::to_string).collect();
    all.join(", ")
}

fn between_ticks(all: &[Pattern]) -> String {
    let all: Vec<String> = all.iter().map(|pattern| format!("`{pattern}`")).collect();
    all.join(" or ")
}

pub(crate) fn who(holder: &HolderView<'_>) -> String {
    match holder.holder.program {
        Some(_) => quoted(&holder.program),
        None => format!(
            "process {} ({}), whose program could not be read",
            holder.holder.id.pid,
            holder.holder.name.quoted()
        ),
    }
}

fn not_host_file(holder: &HolderView<'_>) -> String {
    match holder.file() {
        Some(ProgramFile::Foreign) => {
            format!("what runs as {} is not the host's file of that name", who(holder))
        }
        _ => format!("{} could not be compared with the host's file of that name", who(holder)),
    }
}

fn hash(holder: &HolderView<'_>) -> String {
    match holder.holder.program.as_ref().and_then(|program| program.sha256) {
        Some(hash) => {
            format!("{} has sha256 {}, another is pinned", who(holder), hex(&hash))
        }
        None => format!("the sha256 of {} could not be taken, and one is pinned", who(holder)),
    }
}

fn workload(sort: &str, holder: &HolderView<'_>, name: Option<&str>, approved: &[Pattern]) -> String {
    let name = name.map_or_else(|| format!("no known {sort}"), |name| format!("{sort} {}", quoted(name)));
    format!("{} belongs to {name}, approved for {}", who(holder), list(approved))
}

pub(crate) fn unattributed(reason: Unattributed) -> &'static str {
    match reason {
        Unattributed::Denied => "who holds it could not be seen: `portledger doctor` tells what that takes",
        Unattributed::Exited => "its holder was gone before it could be looked for",
        Unattributed::InFlight => {
            "no process shows a descriptor of it: it is on its way between two of them, or in an io_uring that none shows"
        }
        Unattributed::Kernel => "it is a socket of the kernel, which no process has open",
        Unattributed::Unknown => "no process was found to hold it",
    }
}
