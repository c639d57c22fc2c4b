use serde::{Deserialize, Serialize};

use crate::{NetNs, Protocol, RawText};

/// What kind of knowledge a gap is a gap in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Scope {
    Sockets,
    Holders,
    Namespaces,
    Addresses,
    Events,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 5] =
        [Scope::Sockets, Scope::Holders, Scope::Namespaces, Scope::Addresses, Scope::Events];

    /// The word used in labels and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::Sockets => "sockets",
            Scope::Holders => "holders",
            Scope::Namespaces => "namespaces",
            Scope::Addresses => "addresses",
            Scope::Events => "events",
        }
    }
}

/// Something that a collector looked for and could not see.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Gap {
    /// Which collector: `sock_diag`, `procfs`, `netstat2` …
    pub collector: String,
    /// What is not known for want of it.
    pub scope: Scope,
    /// The one protocol it concerns; `None` for all.
    pub protocol: Option<Protocol>,
    /// The one namespace it concerns; `None` for all.
    pub netns: Option<NetNs>,
    /// A sentence for a person: what failed, on what, and what would mend it.
    pub reason: RawText,
}

impl Gap {
    /// Of the first look of a sensor that followed another.
    pub fn of_restart() -> Self {
        Gap::of_events(
            "the sensor was started again: what opened and closed before this look, since the one before ended, is not known",
        )
    }

    /// Of so many events since the last look that came faster than they could be judged.
    pub(crate) fn of_haste(events: u64) -> Self {
        Gap::of_events(&format!(
            "{events} events since the last look came faster than they could be judged: what opened and closed meanwhile \
             may not be known"
        ))
    }

    fn of_events(reason: &str) -> Self {
        Gap {
            collector: "events".to_owned(),
            scope: Scope::Events,
            protocol: None,
            netns: None,
            reason: RawText::from(reason),
        }
    }
}

/// How much of what there was to look at was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Share {
    /// How many were seen.
    pub seen: u32,
    /// Out of how many.
    pub of: u32,
}

impl Share {
    /// Between 0 and 1; 1 where there was nothing to look at.
    pub fn ratio(self) -> f64 {
        if self.of == 0 { 1.0 } else { f64::from(self.seen) / f64::from(self.of) }
    }
}

/// A share for each scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shares {
    /// Socket tables dumped whole, of those that the kernel has (protocols times namespaces).
    pub sockets: Share,
    /// Processes whose descriptors could be read.
    pub holders: Share,
    /// Namespaces looked into, of those known to exist.
    pub namespaces: Share,
    /// Namespaces whose interfaces could be read, of those looked into.
    pub addresses: Share,
    /// Kinds of news that the kernel tells by itself, of those that are wanted; the others are polled for.
    pub events: Share,
}

impl Shares {
    /// The share of one scope.
    pub const fn of(&self, scope: Scope) -> Share {
        match scope {
            Scope::Sockets => self.sockets,
            Scope::Holders => self.holders,
            Scope::Namespaces => self.namespaces,
            Scope::Addresses => self.addresses,
            Scope::Events => self.events,
        }
    }
}

/// How a sensor learns of opens and closes between two looks, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EventSource {
    /// BPF programs tell all of them.
    Bpf,
    /// BPF programs tell those of TCP; others are polled for.
    Tracepoint,
    /// A perf event calls for a look when a TCP socket opens; others are polled for.
    Perf,
    /// Nothing is told: all are polled for, or one look is all there is.
    #[default]
    Polls,
}

impl EventSource {
    /// All of them.
    pub const ALL: [EventSource; 4] =
        [EventSource::Bpf, EventSource::Tracepoint, EventSource::Perf, EventSource::Polls];

    /// The word used in labels and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventSource::Bpf => "bpf",
            EventSource::Tracepoint => "tracepoint",
            EventSource::Perf => "perf",
            EventSource::Polls => "polls",
        }
    }
}

/// What one pass looked at and what it could not see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Each thing not seen, once.
    pub gaps: Vec<Gap>,
    /// In numbers.
    pub shares: Shares,
    /// How what happens between two looks is learned.
    pub events: EventSource,
}

impl Coverage {
    /// True when some listener may be missing from the inventory.
    pub fn may_hide_listeners(&self) -> bool {
        self.gaps.iter().any(|gap| matches!(gap.scope, Scope::Sockets | Scope::Namespaces))
    }

    /// True when some holder may be missing from a listener.
    pub fn may_hide_holders(&self) -> bool {
        self.gaps.iter().any(|gap| gap.scope == Scope::Holders)
    }
}
