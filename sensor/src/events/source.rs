use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use inventory::{EventSource, Gap, RawText, Scope, Share};

use super::heard::Heard;
use super::perf::Perf;
use crate::bpf::{EventRecord, Files, Hook, Loader, Loading, Programs, Ring, Wanted};
use crate::sys::bpf;
use crate::watcher::Announced;

/// Pages of each ring of the tracepoint by perf.
const PERF_PAGES: usize = 8;

/// What tells of opens and closes, as much as the kernel lets us have.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) teller: Teller,
    pub(crate) announced: Announced,
    /// Children, programs and ends of processes that hold sockets.
    pub(crate) processes: bool,
    hooks: Vec<HookState>,
}

/// A way by which the kernel tells what happens, and whether it lets us use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookState {
    /// As documentation of the kernel calls it.
    pub name: String,
    /// Why it is not in force; `None` where it is.
    pub refused: Option<String>,
}

/// By what `serve` would learn here what happens between two looks.
#[derive(Clone, Debug)]
pub struct EventReport {
    /// The step of the chain that is in force.
    pub source: EventSource,
    /// Kinds of news that are told, of those that are wanted.
    pub share: Share,
    /// What was tried.
    pub hooks: Vec<HookState>,
    /// What is polled for, and why.
    pub gaps: Vec<Gap>,
}

/// What no event tells, whatever the kernel allows: it is seen at the next look.
pub const UNTOLD: &str = "UDP sockets that the kernel binds when they first send, a bound UDP socket that is connected or \
    disconnected, a descriptor that is sent to another process, shared by CLONE_FILES, or closed while others keep it, a holder that changes its user, \
    addresses in other network namespaces";

/// Tries what the kernel allows. Nothing stays attached.
pub fn event_report(loader: Loader) -> EventReport {
    let (source, _) = Source::find(loader);
    EventReport { source: source.word(), share: source.share(), gaps: source.gaps(), hooks: source.hooks }
}

/// Who tells.
#[derive(Debug)]
pub(crate) enum Teller {
    Bpf(Box<Attached>),
    Perf(Box<Perf>),
    Nobody,
}

/// BPF programs that are in force.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) ring: Ring,
    /// The cookies of sockets of which only the end is told by the hook for closes.
    pub(crate) waiting: OwnedFd,
    /// Processes of which children, programs and ends are told.
    pub(crate) holders: OwnedFd,
    links: Vec<(Hook, OwnedFd)>,
}

/// What was told since the last time.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) records: Vec<EventRecord>,
    /// How many events found no room.
    pub(crate) lost: u64,
    /// Something opened of which nothing else is known.
    pub(crate) calls_for_look: bool,
}

/// A program of ours is no longer attached.
#[derive(Debug, thiserror::Error)]
#[error("{0} was detached by somebody else")]
pub(crate) struct Detached(Hook);

impl Source {
    /// The best that there is, and the iterator where there is one.
    pub(crate) fn find(loader: Loader) -> (Self, Option<Files>) {
        match with_bpf(loader) {
            Ok((source, files)) if source.announced.streams => (source, files),
            // Of what was loaded only the iterator is kept.
            Ok((source, files)) => (Self::without_bpf(source.hooks), files),
            Err(reason) => {
                (Self::without_bpf(vec![HookState { name: "BPF".to_owned(), refused: Some(reason) }]), None)
            }
        }
    }

    /// That of programs which are loaded already.
    #[cfg(test)]
    pub(crate) fn of(programs: Programs) -> Result<(Self, Option<Files>), String> {
        of_programs(programs)
    }

    /// Without any.
    pub(crate) fn none() -> Self {
        let announced = Announced::default();
        Source { teller: Teller::Nobody, announced, processes: false, hooks: Vec::new() }
    }

    fn without_bpf(mut hooks: Vec<HookState>) -> Self {
        let name = "perf sock:inet_sock_set_state".to_owned();
        let (teller, refused) = match Perf::open(PERF_PAGES) {
            Ok(perf) => (Teller::Perf(Box::new(perf)), None),
            Err(refusal) => (Teller::Nobody, Some(refusal.to_string())),
        };
        hooks.push(HookState { name, refused });
        Source { teller, hooks, ..Source::none() }
    }

    /// Takes what waits, at most so many events.
    pub(crate) fn take(&mut self, heard: &mut Heard, most: usize) -> Taken {
        match &mut self.teller {
            Teller::Bpf(attached) => {
                let records = attached.ring.take(most);
                Taken { records, lost: attached.ring.lost(), calls_for_look: false }
            }
            Teller::Perf(perf) => {
                let drained = perf.drain();
                let calls_for_look = !drained.samples.is_empty();
                heard.take(drained.samples);
                Taken { records: Vec::new(), lost: drained.lost, calls_for_look }
            }
            Teller::Nobody => Taken::default(),
        }
    }

    /// What becomes readable when something waits.
    pub(crate) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        match &self.teller {
            Teller::Bpf(attached) => vec![attached.ring.fd()],
            Teller::Perf(perf) => perf.descriptors().collect(),
            Teller::Nobody => Vec::new(),
        }
    }

    /// Its word.
    pub(crate) fn word(&self) -> EventSource {
        match self.teller {
            Teller::Bpf(_) if self.is_complete() => EventSource::Bpf,
            Teller::Bpf(_) => EventSource::Tracepoint,
            Teller::Perf(_) => EventSource::Perf,
            Teller::Nobody => EventSource::Polls,
        }
    }

    /// Nothing has to be polled for.
    pub(crate) fn is_complete(&self) -> bool {
        self.told().iter().all(|told| *told)
    }

    fn told(&self) -> [bool; 4] {
        let Announced { streams, datagrams, raw } = self.announced;
        [streams, datagrams, raw, self.processes]
    }

    /// How many kinds of news are told, of those that are wanted.
    pub(crate) fn share(&self) -> Share {
        let told = self.told();
        let seen = told.iter().filter(|told| **told).count();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Share { seen: count(seen), of: count(told.len()) }
    }

    /// What is not told, and why.
    pub(crate) fn gaps(&self) -> Vec<Gap> {
        let kinds = ["TCP sockets", "UDP sockets", "raw sockets", "the processes that hold sockets"];
        let untold: Vec<&str> =
            kinds.iter().zip(self.told()).filter(|(_, told)| !told).map(|(kind, _)| *kind).collect();
        if untold.is_empty() {
            return Vec::new();
        }
        let by_perf = matches!(self.teller, Teller::Perf(_));
        let untold: Vec<&str> = untold.into_iter().skip(usize::from(by_perf)).collect();
        let mut reason =
            format!("news of {} are polled for; what lasts shorter can be missed", untold.join(", "));
        if let Teller::Perf(_) = self.teller {
            reason = format!("a perf event calls for a look when a TCP socket opens; {reason}");
        }
        for (refusal, hooks) in self.refusals() {
            reason = format!("{reason}; {}: {refusal}", hooks.join(", "));
        }
        vec![events_gap(&reason)]
    }

    /// Why something was refused, and what for the same reason.
    fn refusals(&self) -> Vec<(&str, Vec<&str>)> {
        let mut refusals: Vec<(&str, Vec<&str>)> = Vec::new();
        for HookState { name, refused } in &self.hooks {
            let Some(refusal) = refused else { continue };
            match refusals.iter_mut().find(|(known, _)| known == refusal) {
                Some((_, hooks)) => hooks.push(name),
                None => refusals.push((refusal, vec![name])),
            }
        }
        refusals
    }

    /// Whether all that was attached still is.
    pub(crate) fn check(&self) -> Result<(), Detached> {
        let Teller::Bpf(attached) = &self.teller else { return Ok(()) };
        for (hook, link) in &attached.links {
            let gone = match bpf::link_info(link.as_fd()) {
                Ok(info) => hook.is_of_cgroup() && info.cgroup == 0,
                Err(_) => true,
            };
            if gone {
                return Err(Detached(*hook));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
impl Attached {
    /// The links that somebody else can detach.
    pub(crate) fn of_cgroup(&self) -> impl Iterator<Item = (Hook, BorrowedFd<'_>)> {
        self.links.iter().filter(|(hook, _)| hook.is_of_cgroup()).map(|(hook, link)| (*hook, link.as_fd()))
    }
}

/// A gap of what happens between two looks.
pub(crate) fn events_gap(reason: &str) -> Gap {
    Gap {
        collector: "events".to_owned(),
        scope: Scope::Events,
        protocol: None,
        netns: None,
        reason: RawText::new(reason.as_bytes()),
    }
}

fn with_bpf(loader: Loader) -> Result<(Source, Option<Files>), String> {
    of_programs(Loading::start(loader(Wanted::Events))?.finish()?)
}

fn of_programs(mut programs: Programs) -> Result<(Source, Option<Files>), String> {
    let in_force = programs.links.iter().map(|(hook, _)| HookState { name: hook.to_string(), refused: None });
    let refused = programs.refused.iter();
    let refused =
        refused.map(|(hook, reason)| HookState { name: hook.to_string(), refused: Some(reason.clone()) });
    let hooks = in_force.chain(refused).collect();
    let files = programs.files().ok();
    let maps = programs.maps.ok_or("the loader has no maps of events")?;
    let ring = Ring::open(maps.events, &maps.lost).map_err(|error| format!("the ring of events: {error}"))?;
    let has = |hooks: &[Hook]| hooks.iter().all(|hook| programs.links.iter().any(|(have, _)| have == hook));
    let announced = Announced {
        // What opened is read from its process: without the iterator nothing can be told of it.
        streams: has(&[Hook::StreamState]) && files.is_some(),
        datagrams: files.is_some()
            && (has(&[Hook::AskedPort4, Hook::AskedPort6, Hook::Bound4, Hook::Bound6, Hook::Released])
                || has(&[Hook::FunctionBound4, Hook::FunctionBound6, Hook::FunctionReleased])),
        raw: files.is_some()
            && (has(&[Hook::RawCreated, Hook::Released])
                || has(&[Hook::FunctionMade4, Hook::FunctionMade6, Hook::FunctionReleased])),
    };
    let processes = has(&[Hook::Forked, Hook::Executed, Hook::Exited]);
    let attached = Attached { ring, waiting: maps.waiting, holders: maps.holders, links: programs.links };
    let teller = Teller::Bpf(Box::new(attached));
    Ok((Source { teller, announced, processes, hooks }, files))
}
