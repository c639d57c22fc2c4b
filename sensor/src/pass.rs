use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use inventory::{
    Coverage, EventSource, Gap, Holders, Inventory, Listener, NetNs, NetNsId, Protocol, RawText, Scope,
    Share, Shares, SocketId, Unattributed,
};
use ipnet::IpNet;

use crate::assemble::{self, Seen};
use crate::bpf::{Bpf, Chosen, FileKind, FileRecord, Files, Hook, Loading, choose};
use crate::collector::Socket;
use crate::holders::{Attribution, Memory, Place, Sightings};
use crate::joined::join;
use crate::namespaces::{Descriptor, Leads, Limits, NamespaceView, Namespaces, Through, Visits};
use crate::naming::Names;
use crate::process::{Describer, Hashing, ProcRoot, Redaction};
use crate::protocols::Protocols;
use crate::workload::SocketUnits;

const PROC: &str = "/proc";
const HOST_ROOT: &str = "/";
/// More gaps than these are counted, not told one by one.
const MOST_GAPS: usize = 1_000;

/// How a sensor is to look.
#[derive(Clone, Debug)]
pub struct Options {
    /// Networks that everybody reaches, by other addresses, although their own are private.
    pub public: Vec<IpNet>,
    /// How many network namespaces one pass looks into.
    pub namespaces: usize,
    /// Names of options and variables whose values are secret, besides the built-in ones.
    pub redact: Vec<String>,
    /// Whether programs are hashed.
    pub hashing: Hashing,
    /// How many threads share the look into every process.
    pub workers: usize,
    /// Whether BPF spares that look.
    pub bpf: Bpf,
}

/// Looks at what listens, again and again, and remembers what makes the next look cheap.
#[derive(Debug)]
pub struct Sensor {
    pub(crate) public: Vec<IpNet>,
    pub(crate) namespaces: Namespaces,
    pub(crate) holders: Memory,
    pub(crate) names: Names,
    /// Read when the first process is first seen to hold a listener.
    socket_units: Option<SocketUnits>,
    /// By which descriptors namespaces were found in which no process lives, by their inodes.
    unlived: HashMap<u64, Through>,
    /// What the pass before saw; `None` before the first.
    known: Option<HashMap<SocketId, Known>>,
    pub(crate) files: Option<Files>,
    /// Iterators that the first look is to have: namespaces are visited while they are loaded.
    loading: Option<Loading>,
    /// The processes that hold sockets, as the initial pid namespace counts.
    pub(crate) kernel_pids: HashSet<u32>,
    /// What the last pass saw of each namespace with a cookie, but for its sockets.
    pub(crate) surroundings: HashMap<u64, Surroundings>,
    /// Namespaces of passing sockets since then that were gone before they could be looked into.
    pub(crate) vanished: HashSet<u64>,
    /// Why BPF is not used although it was asked for.
    pub(crate) without_bpf: Option<String>,
}

/// What gives an address its meaning.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) view: NamespaceView,
    pub(crate) netns: NetNs,
}

/// What is remembered of a socket from pass to pass.
#[derive(Clone, Copy, Debug)]
struct Known {
    since: Option<SystemTime>,
    was_held: bool,
}

impl Sensor {
    /// Ready for its first pass.
    ///
    /// # Errors
    /// Where there is no /proc to read.
    pub fn new(options: Options) -> io::Result<Self> {
        let proc = ProcRoot::open(Path::new(PROC))?;
        let redaction = Redaction::with_names(&options.redact);
        let describer = Describer::new(&proc, Path::new(HOST_ROOT), redaction, options.hashing)?;
        let (mut files, mut loading, mut without_bpf) = (None, None, None);
        match choose(options.bpf, &proc, Path::new(PROC)) {
            Ok(Chosen::Walk) => {}
            Ok(Chosen::Shared(shared)) => files = Some(shared),
            Ok(Chosen::Loading(begun)) => loading = Some(begun),
            Err(reason) => without_bpf = Some(reason),
        }
        let limits = Limits { namespaces: options.namespaces, ..Limits::default() };
        Ok(Sensor {
            public: options.public,
            namespaces: Namespaces::new(Path::new(PROC), limits),
            holders: Memory::new(proc, describer, options.workers),
            names: Names::default(),
            socket_units: None,
            unlived: HashMap::new(),
            known: None,
            files,
            loading,
            kernel_pids: HashSet::new(),
            surroundings: HashMap::new(),
            vanished: HashSet::new(),
            without_bpf,
        })
    }

    /// Looks at everything once. Partial views are told as gaps.
    pub fn pass(&mut self) -> Inventory {
        let taken_at = SystemTime::now();
        let (protocols, missing) = Protocols::read(Path::new(PROC));
        let (visits, attribution) = self.look(&protocols);
        let netns = self.names.of(&visits.views, &mut self.holders);
        let seen = Seen { visits: &visits, netns: &netns, attribution: &attribution, public: &self.public };
        let mut listeners = assemble::listeners(&seen);
        self.tell_exited(&mut listeners, &visits, &protocols);
        if attribution.involves_first_process() {
            self.name_socket_units(&mut listeners);
        }
        self.date(&mut listeners, taken_at);
        self.remember_surroundings(&visits, netns);
        let listeners = listeners.into_iter().map(Arc::new).collect();
        Inventory { host: host_name(), taken_at, listeners, coverage: coverage(visits, attribution, missing) }
    }

    fn remember_surroundings(&mut self, visits: &Visits, netns: Vec<NetNs>) {
        self.surroundings.clear();
        self.vanished.clear();
        for (view, netns) in visits.views.iter().zip(netns) {
            if let NetNsId::Cookie(cookie) = netns.id {
                let view = NamespaceView { sockets: Vec::new(), ..view.clone() };
                self.surroundings.insert(cookie, Surroundings { view, netns });
            }
        }
    }

    /// A socket of which an event told, for the next pass to know since when it is there.
    pub(crate) fn remember(&mut self, listener: &Listener) {
        if let Some(known) = &mut self.known {
            let was_held = matches!(listener.holders, Holders::Known(_));
            known.insert(listener.id, Known { since: listener.since, was_held });
        }
    }

    /// Visits the namespaces and finds who holds their sockets.
    fn look(&mut self, protocols: &Protocols) -> (Visits, Attribution) {
        let visits = self.visit_known(protocols);
        let (visits, attribution) = match self.told() {
            Some(files) => self.attribute_told(protocols, visits, &files),
            None => self.attribute_walked(protocols, visits),
        };
        self.remember_ways(&visits);
        (visits, attribution)
    }

    /// All descriptors, where the kernel tells them in one pass.
    fn told(&mut self) -> Option<Vec<FileRecord>> {
        // Its loader is waited for when there was time for it to end.
        let mut _loaded = None;
        if let Some(loading) = self.loading.take() {
            match loading.finish().and_then(|mut programs| Ok((programs.files()?, programs))) {
                Ok((files, programs)) => (self.files, _loaded) = (Some(files), Some(programs)),
                Err(reason) => self.without_bpf = Some(reason),
            }
        }
        match self.files.as_ref()?.all() {
            Ok(files) => Some(files),
            Err(error) => {
                self.without_bpf = Some(format!("{}: {error}", Hook::Files));
                self.files = None;
                None
            }
        }
    }

    fn attribute_told(
        &mut self,
        protocols: &Protocols,
        mut visits: Visits,
        files: &[FileRecord],
    ) -> (Visits, Attribution) {
        let leads = Leads::told(&visits, files);
        if !leads.is_empty() {
            visits = self.namespaces.visit_unlived(protocols, &leads, visits);
        }
        join(&mut visits.views, files);
        let holders = files.iter().filter(|file| file.kind == FileKind::Socket);
        self.kernel_pids = holders.map(|file| file.kernel_pid).collect();
        let attribution = self.holders.attribute_told(files, &inodes(&visits));
        (visits, attribution)
    }

    /// The same by a walk over the descriptors under /proc.
    fn attribute_walked(&mut self, protocols: &Protocols, mut visits: Visits) -> (Visits, Attribution) {
        let mut leads = Leads::beyond(&visits);
        let mut attribution = self.holders.attribute(&inodes(&visits), &mut leads);
        if !leads.is_empty() {
            let before = visits.views.len();
            visits = self.namespaces.visit_unlived(protocols, &leads, visits);
            if visits.views[before..].iter().any(|view| !view.sockets.is_empty()) {
                self.holders.search_everywhere();
                attribution = self.holders.attribute(&inodes(&visits), &mut ());
            }
        }
        (visits, attribution)
    }

    fn remember_ways(&mut self, visits: &Visits) {
        // Whoever passes through one for a moment is no reason to forget the way.
        self.unlived.retain(|inode, _| visits.views.iter().any(|view| view.inode == *inode));
        let through = |view: &NamespaceView| view.through.map(|through| (view.inode, through));
        self.unlived.extend(visits.views.iter().filter_map(through));
    }

    /// Visits those that can be found, and those that the descriptors seen before lead to.
    fn visit_known(&mut self, protocols: &Protocols) -> Visits {
        let visits = self.namespaces.visit(protocols);
        self.follow_ways(protocols, visits, |_| true)
    }

    fn follow_ways(&mut self, protocols: &Protocols, seen: Visits, wanted: impl Fn(u64) -> bool) -> Visits {
        let mut known = Leads::beyond(&seen);
        let ways = self.unlived.iter().filter(|(inode, _)| wanted(**inode));
        ways.for_each(|(inode, through)| known.again(*through, *inode));
        if known.is_empty() { seen } else { self.namespaces.visit_unlived(protocols, &known, seen) }
    }

    /// A socket that nobody holds and that somebody held, or that is new, may have been closed while its holder was
    /// looked for: a second look into the tables tells. What was known and is closed is left out; what is new was there,
    /// however short.
    fn tell_exited(&mut self, listeners: &mut Vec<Listener>, visits: &Visits, protocols: &Protocols) {
        let known = self.known.take();
        let before = |id: &SocketId| known.as_ref().and_then(|known| known.get(id));
        let is_lost = |listener: &Listener| {
            let was_held = before(&listener.id).is_none_or(|known| known.was_held);
            was_held
                && matches!(listener.holders, Holders::Unattributed(reason) if reason != Unattributed::Kernel)
        };
        let of_lost: HashSet<NetNsId> =
            listeners.iter().filter(|listener| is_lost(listener)).map(|listener| listener.id.netns).collect();
        if !of_lost.is_empty() {
            let theirs = visits.views.iter().filter(|view| of_lost.contains(&view.netns.id));
            let there = self.sockets_there(protocols, &theirs.map(|view| view.inode).collect());
            let is_closed = |listener: &Listener| is_lost(listener) && there.lacks(&listener.id);
            listeners.retain(|listener| before(&listener.id).is_none() || !is_closed(listener));
            for listener in listeners.iter_mut().filter(|listener| is_closed(listener)) {
                listener.holders = Holders::Unattributed(Unattributed::Exited);
            }
        }
        self.known = known;
    }

    /// The sockets that listen now in the namespaces with these inodes.
    fn sockets_there(&mut self, protocols: &Protocols, inodes: &BTreeSet<u64>) -> SecondLook {
        let visits = self.namespaces.visit_again(protocols, inodes);
        let visits = self.follow_ways(protocols, visits, |inode| inodes.contains(&inode));
        let of_view = |view: &NamespaceView| {
            let netns = view.netns.id;
            let id = move |socket: &Socket| SocketId { netns, cookie: socket.cookie, inode: socket.inode };
            view.sockets.iter().map(id).collect::<Vec<_>>()
        };
        SecondLook {
            sockets: visits.views.iter().flat_map(of_view).collect(),
            seen: visits
                .views
                .iter()
                .map(|view| (view.netns.id, view.tables.seen == view.tables.of))
                .collect(),
            has_gaps: !visits.gaps.is_empty(),
        }
    }

    /// What the first process holds was opened for a socket unit. The units are read again when it holds a new socket.
    fn name_socket_units(&mut self, listeners: &mut [Listener]) {
        let known = self.known.as_ref();
        let is_new = |listener: &&Listener| known.is_none_or(|known| !known.contains_key(&listener.id));
        let held_by_first =
            |listener: &&Listener| listener.holders.known().first().is_some_and(|holder| holder.id.pid == 1);
        if listeners.iter().filter(held_by_first).any(|listener| is_new(&listener)) {
            self.socket_units = Some(SocketUnits::load(Path::new(HOST_ROOT)));
        }
        let Some(units) = &mut self.socket_units else { return };
        for listener in listeners {
            if let Holders::Known(holders) = &mut listener.holders
                && let Some(first) = holders.first_mut().filter(|holder| holder.id.pid == 1)
            {
                *first = units.as_holder_of(first, &listener.endpoint);
            }
        }
    }

    /// What was there at the first pass has no beginning that we know.
    fn date(&mut self, listeners: &mut [Listener], now: SystemTime) {
        for listener in listeners.iter_mut() {
            listener.since = match &self.known {
                None => None,
                Some(known) => known.get(&listener.id).map_or(Some(now), |known| known.since),
            };
        }
        let remembered = |listener: &Listener| {
            let was_held = matches!(listener.holders, Holders::Known(_));
            (listener.id, Known { since: listener.since, was_held })
        };
        self.known = Some(listeners.iter().map(remembered).collect());
    }
}

/// What listens a moment later.
struct SecondLook {
    sockets: HashSet<SocketId>,
    /// The namespaces that were seen, and whether all of each was.
    seen: HashMap<NetNsId, bool>,
    has_gaps: bool,
}

impl SecondLook {
    /// It is not there, and not for want of seeing. A namespace that is not there is gone with what listened in it.
    fn lacks(&self, socket: &SocketId) -> bool {
        !self.sockets.contains(socket) && self.seen.get(&socket.netns).copied().unwrap_or(!self.has_gaps)
    }
}

impl Sightings for Leads {
    fn another(&self) -> Self {
        Leads::another(self)
    }

    fn join(&mut self, other: Self) {
        Leads::join(self, other);
    }

    fn other_socket(&mut self, place: Place, _inode: u64) {
        self.socket(descriptor(place));
    }

    fn namespace(&mut self, place: Place, inode: u64) {
        Leads::namespace(self, descriptor(place), inode);
    }
}

fn descriptor(Place { pid, tid, fd }: Place) -> Descriptor {
    Descriptor { pid, tid, fd }
}

fn inodes(visits: &Visits) -> Vec<u64> {
    let sockets = visits.views.iter().flat_map(|view| &view.sockets);
    sockets.map(|socket| socket.inode).filter(|inode| *inode != 0).collect()
}

fn coverage(visits: Visits, attribution: Attribution, missing: Option<Gap>) -> Coverage {
    let shares = Shares {
        sockets: visits.tables(),
        holders: attribution.share,
        namespaces: visits.namespaces(),
        addresses: visits.addresses(),
        events: Share { seen: 0, of: 1 },
    };
    let mut gaps: Vec<Gap> = visits.gaps.into_iter().chain(attribution.gaps).chain(missing).collect();
    gaps.sort();
    gaps.dedup();
    if gaps.len() > MOST_GAPS {
        let left_out = gaps.len() - MOST_GAPS;
        gaps.truncate(MOST_GAPS);
        gaps.push(Gap {
            collector: "sensor".to_owned(),
            scope: Scope::Sockets,
            protocol: None,
            netns: None,
            reason: RawText::new(format!("{left_out} gaps more than {MOST_GAPS} are not told one by one")),
        });
    }
    Coverage { gaps, shares, events: EventSource::Polls }
}

/// The protocols that this kernel has and whose sockets are looked for.
pub fn kernel_protocols() -> Vec<Protocol> {
    Protocols::read(Path::new(PROC)).0.iter().map(|(protocol, _)| protocol).collect()
}

fn host_name() -> RawText {
    RawText::new(rustix::system::uname().nodename().to_bytes())
}

#[cfg(test)]
mod parity;
#[cfg(test)]
mod tests;
