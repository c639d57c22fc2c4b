//! The network namespaces of this host: which there are, what is seen from inside each.

mod find;
mod identity;
mod leads;
mod mounts;
mod observe;
#[cfg(test)]
mod tests;
mod threads;
mod visit;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use inventory::{Gap, NetNs, NetNsId, RawText, Scope, Share};

use crate::collector::Socket;
use crate::interfaces::Interface;
use crate::protocols::Protocols;
use find::{Found, namespace_of};
use identity::Identities;
pub(crate) use leads::Leads;
#[cfg(any(test, fuzzing))]
pub use mounts::fuzzed;
use threads::Threads;
use visit::Visitor;

/// A descriptor of some process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub(crate) struct Descriptor {
    pub pid: u32,
    /// The thread, where its table is not that of the process.
    pub tid: Option<u32>,
    pub fd: u32,
}

/// What a descriptor is by which a namespace was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Through {
    /// A socket that was made in it.
    Socket(Descriptor),
    /// The namespace itself, its link `net:[INODE]`.
    Namespace(Descriptor),
}

/// How much one pass may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Namespaces entered.
    pub namespaces: usize,
    /// Sockets kept, over all namespaces.
    pub sockets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { namespaces: 1_000, sockets: 131_072 }
    }
}

/// What was seen from inside one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamespaceView {
    /// `Host`, `Named` or `Anonymous`; who knows the processes can name it better.
    pub netns: NetNs,
    /// The inode of `/proc/PID/ns/net`: unique only as long as it lives.
    pub inode: u64,
    /// Some of the processes that live in it, lowest pids first; none of one that a socket alone keeps alive.
    pub pids: Vec<u32>,
    /// Of one that was found through a descriptor: which, to be offered again at the next pass.
    pub through: Option<Through>,
    /// What listens in it, each once, in no order.
    pub sockets: Vec<Socket>,
    /// Socket tables read whole, of those that the kernel has.
    pub tables: Share,
    /// `None` where they could not be read, which is a gap.
    pub interfaces: Option<Vec<Interface>>,
    /// `ip_local_port_range`, out of which the kernel chooses ports.
    pub local_ports: RangeInclusive<u16>,
}

impl NamespaceView {
    /// Of one that was not looked into.
    pub(crate) fn unknown(netns: NetNs, inode: u64) -> Self {
        NamespaceView {
            netns,
            inode,
            pids: Vec::new(),
            through: None,
            sockets: Vec::new(),
            tables: Share { seen: 0, of: 0 },
            interfaces: None,
            local_ports: observe::USUAL_PORTS,
        }
    }
}

/// What one round of visits saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visits {
    /// The host first, then named namespaces, then the others by their lowest pid.
    pub views: Vec<NamespaceView>,
    /// All that was not seen. What several namespaces lack alike is told once, of all of them.
    pub gaps: Vec<Gap>,
    /// The inodes of all that are known to exist, looked into or not.
    known: BTreeSet<u64>,
    /// Some process or path would not tell its namespace: there may be others.
    hidden: bool,
    /// How many of them were beyond the limit.
    capped: usize,
}

impl Visits {
    /// Namespaces looked into, of those known to exist, and one more where some may be hidden.
    pub(crate) fn namespaces(&self) -> Share {
        share(self.views.len(), self.known.len() + usize::from(self.hidden))
    }

    /// Namespaces whose interfaces could be read, of those looked into.
    pub(crate) fn addresses(&self) -> Share {
        share(self.views.iter().filter(|view| view.interfaces.is_some()).count(), self.views.len())
    }

    /// Socket tables read whole, of those there are in the namespaces looked into.
    pub(crate) fn tables(&self) -> Share {
        self.views.iter().fold(Share { seen: 0, of: 0 }, |sum, view| Share {
            seen: sum.seen.saturating_add(view.tables.seen),
            of: sum.of.saturating_add(view.tables.of),
        })
    }
}

fn share(seen: usize, of: usize) -> Share {
    let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
    Share { seen: count(seen), of: count(of) }
}

/// Visits namespaces, each pass on threads that end with it. Between passes nothing of a namespace is kept, only what
/// tells it from one that has its inode later.
#[derive(Debug)]
pub(crate) struct Namespaces {
    proc: PathBuf,
    limits: Limits,
    identities: Identities,
    threads: Threads,
}

impl Namespaces {
    /// Nothing seen yet. `proc` is where procfs is mounted.
    pub(crate) fn new(proc: &Path, limits: Limits) -> Self {
        Namespaces {
            proc: proc.to_owned(),
            limits,
            identities: Identities::default(),
            threads: Threads::default(),
        }
    }

    /// Finds and visits the namespaces that processes live in and those bound to a path.
    pub(crate) fn visit(&mut self, protocols: &Protocols) -> Visits {
        self.identities.begin_pass();
        self.threads.begin_pass();
        self.visit_found(protocols, |_| true)
    }

    /// Visits those with these inodes once more in the same pass. Our own need not be found.
    pub(crate) fn visit_again(&mut self, protocols: &Protocols, inodes: &BTreeSet<u64>) -> Visits {
        let own = namespace_of(&self.proc.join("self")).ok();
        if let Some(own) = own.filter(|own| inodes.iter().all(|inode| inode == own)) {
            let mut visitor = self.visitor(protocols, Visits::default());
            visitor.visit_all(vec![Found::host(own)]);
            return visitor.into_visits();
        }
        self.visit_found(protocols, |inode| inodes.contains(&inode))
    }

    fn visit_found(&mut self, protocols: &Protocols, wanted: impl Fn(u64) -> bool) -> Visits {
        let mut threads = std::mem::take(&mut self.threads);
        let mut visitor = self.visitor(protocols, Visits::default());
        let others = visitor.visit_own(&mut threads, wanted);
        let visits = match others.is_empty() {
            true => visitor.into_visits(),
            false => on_a_thread(visitor, |visitor| visitor.visit_others(others, &mut threads)),
        };
        self.threads = threads;
        visits
    }

    /// Visits those that `leads` lead to, beyond what `seen`, of the same pass, has; its views, gaps and shares grow.
    pub(crate) fn visit_unlived(&mut self, protocols: &Protocols, leads: &Leads, seen: Visits) -> Visits {
        on_a_thread(self.visitor(protocols, seen), |visitor| visitor.visit_leads(leads))
    }

    /// Visits the namespace that a process lives in, between two passes. `None` where it cannot be entered, or where
    /// neither that process nor, if given, a socket that it holds is of the namespace with this cookie.
    pub(crate) fn visit_new(
        &mut self,
        protocols: &Protocols,
        cookie: u64,
        pid: u32,
        socket: Option<Descriptor>,
    ) -> Option<NamespaceView> {
        let is_it = |view: &NamespaceView| view.netns.id == NetNsId::Cookie(cookie);
        let lived_in =
            on_a_thread(self.visitor(protocols, Visits::default()), |visitor| visitor.visit_that_of(pid));
        if let Some(view) = lived_in.views.into_iter().find(is_it) {
            return Some(view);
        }
        let mut leads = Leads::default();
        leads.socket(socket?);
        let led_to = self.visit_unlived(protocols, &leads, Visits::default());
        led_to.views.into_iter().find(is_it)
    }

    fn visitor<'a>(&'a mut self, protocols: &'a Protocols, seen: Visits) -> Visitor<'a> {
        Visitor::new(&self.proc, protocols, self.limits, &mut self.identities, seen)
    }
}

/// A thread can move to another namespace and cannot be trusted to come back: nothing else ever runs on it.
fn on_a_thread<'a>(mut visitor: Visitor<'a>, round: impl FnOnce(&mut Visitor<'a>) + Send) -> Visits {
    let ended = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("namespaces".to_owned());
        thread.spawn_scoped(scope, || round(&mut visitor)).map(std::thread::ScopedJoinHandle::join)
    });
    let failure = match ended {
        Ok(Ok(())) => None,
        Ok(Err(_)) => Some("the thread that visits namespaces panicked".to_owned()),
        Err(error) => Some(format!("no thread to visit namespaces with: {error}")),
    };
    let mut visits = visitor.into_visits();
    visits.gaps.extend(failure.map(gap));
    visits
}

/// Namespaces that were not seen, or not all of them.
fn gap(reason: String) -> Gap {
    Gap {
        collector: "namespaces".to_owned(),
        scope: Scope::Namespaces,
        protocol: None,
        netns: None,
        reason: RawText::new(reason.into_bytes()),
    }
}
