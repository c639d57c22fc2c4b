use inventory::{ProgramFile, Protocol, Reach, Unattributed};

use super::{RunningFile, Traits};
use crate::interpreter::is_interpreter;
use crate::view::{HolderView, ServiceView};
use crate::{Accounts, DriftKind, Mode, Policy, PortPattern, PortWord, ProgramPattern, Severity, Subject};

/// What is known of a drift, and of one of those who hold it.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(super) kind: DriftKind,
    pub(super) protocol: Protocol,
    pub(super) port: PortWord,
    pub(super) reach: Option<Reach>,
    pub(super) wildcard: Option<bool>,
    pub(super) team: Option<&'a str>,
    pub(super) held_by: HeldBy<'a>,
}

/// Who holds a socket.
#[derive(Clone, Copy)]
pub(super) enum HeldBy<'a> {
    /// A process.
    Process(&'a HolderView<'a>, &'a Accounts),
    /// The kernel.
    Kernel,
    /// Somebody who was not seen, or nobody, of what is missing.
    Unknown,
}

/// How grave drift of this kind is on a service.
pub(crate) fn severity_of(
    view: &ServiceView<'_>,
    kind: DriftKind,
    team: Option<&str>,
    policy: &Policy,
    accounts: &Accounts,
) -> Severity {
    let service = view.service;
    let facts = |held_by| Facts {
        kind,
        protocol: service.protocol,
        port: service.port,
        reach: Some(service.reach),
        wildcard: Some(service.wildcard),
        team,
        held_by,
    };
    let seen = view.holders.iter().map(|holder| HeldBy::Process(holder, accounts));
    let unseen = view.unattributed.iter().map(|reason| match reason {
        Unattributed::Kernel => HeldBy::Kernel,
        _ => HeldBy::Unknown,
    });
    gravest(seen.chain(unseen).map(facts), policy)
}

impl Facts<'_> {
    /// How grave it is that something is missing.
    pub(crate) fn severity_of_missing(subject: &Subject, team: Option<&str>, policy: &Policy) -> Severity {
        let facts = Facts {
            kind: DriftKind::Missing,
            protocol: subject.protocol,
            port: subject.port,
            reach: None,
            wildcard: None,
            team,
            held_by: HeldBy::Unknown,
        };
        gravest([facts].into_iter(), policy)
    }

    pub(super) fn have(&self, of: &Traits) -> bool {
        let is_among = |port: &PortPattern| is_port(*port, self.port);
        asks(&of.kind, |kind| *kind == self.kind)
            && asks(&of.reach, |reach| Some(*reach) == self.reach)
            && is(of.wildcard, || self.wildcard)
            && asks(&of.protocol, |protocol| *protocol == self.protocol)
            && asks(&of.port, is_among)
            && asks(&of.team, |team| Some(team.as_str()) == self.team)
            && self.held_by.have(of)
    }
}

impl HeldBy<'_> {
    fn have(&self, of: &Traits) -> bool {
        asks(&of.user, |user| self.users().iter().flatten().any(|name| user.matches(name)))
            && is(of.root, || self.is_root())
            && asks(&of.program, |program| self.runs(program))
            && asks(&of.file, |file| self.file() == Some(*file))
            && is(of.interpreter, || self.program_is(is_interpreter))
            && is(of.home, || self.program_is(|path| is_below(path, &Traits::HOMES)))
            && is(of.temporary, || self.program_is(|path| is_below(path, &Traits::TEMPORARY)))
    }

    /// The number, and the name where it has one.
    fn users(&self) -> [Option<String>; 2] {
        match self {
            HeldBy::Process(view, accounts) => {
                let uid = view.holder.uid;
                [Some(uid.to_string()), accounts.name(uid).map(str::to_owned)]
            }
            HeldBy::Kernel | HeldBy::Unknown => [None, None],
        }
    }

    fn is_root(&self) -> Option<bool> {
        match self {
            HeldBy::Process(view, _) => Some(view.holder.uid == 0),
            HeldBy::Kernel | HeldBy::Unknown => None,
        }
    }

    fn runs(&self, pattern: &ProgramPattern) -> bool {
        match (self, pattern) {
            (HeldBy::Process(view, _), ProgramPattern::Path(path)) => path.matches(&view.program),
            (HeldBy::Kernel, ProgramPattern::Kernel) => true,
            _ => false,
        }
    }

    /// `None` of the kernel's sockets, which no file holds.
    fn file(&self) -> Option<RunningFile> {
        let program = match self {
            HeldBy::Process(view, _) => view.holder.program.as_ref(),
            HeldBy::Unknown => None,
            HeldBy::Kernel => return None,
        };
        let Some(program) = program else { return Some(RunningFile::Unknown) };
        Some(match program.file {
            ProgramFile::Deleted { .. } if program.is_memfd() => RunningFile::Memfd,
            ProgramFile::Deleted { replaced: true } => RunningFile::Replaced,
            ProgramFile::Deleted { replaced: false } => RunningFile::Deleted,
            ProgramFile::Host => RunningFile::Host,
            ProgramFile::Foreign => RunningFile::Foreign,
            ProgramFile::Unknown => RunningFile::Unknown,
        })
    }

    fn program_is(&self, what: impl Fn(&str) -> bool) -> Option<bool> {
        match self {
            HeldBy::Process(view, _) => view.holder.program.as_ref().map(|_| what(&view.program)),
            HeldBy::Kernel => Some(false),
            HeldBy::Unknown => None,
        }
    }
}

fn gravest<'a>(facts: impl Iterator<Item = Facts<'a>>, policy: &Policy) -> Severity {
    match policy.mode {
        Mode::Observe => Severity::Info,
        // A service has a holder, or a reason why none is known.
        Mode::Enforce => facts.map(|facts| policy.severities.of(&facts)).max().unwrap_or(Severity::Critical),
    }
}

fn asks<T>(any_of: &[T], is_it: impl Fn(&T) -> bool) -> bool {
    any_of.is_empty() || any_of.iter().any(is_it)
}

fn is(asked: Option<bool>, known: impl Fn() -> Option<bool>) -> bool {
    asked.is_none_or(|asked| known() == Some(asked))
}

fn is_below(path: &str, folders: &[&str]) -> bool {
    folders.iter().any(|folder| path.starts_with(folder))
}

fn is_port(pattern: PortPattern, port: PortWord) -> bool {
    match (pattern, port) {
        (PortPattern::Any, _) | (PortPattern::Kernel, PortWord::Kernel) => true,
        (PortPattern::Range(first, last), PortWord::Number(port)) => (first..=last).contains(&port),
        (PortPattern::Range(..), PortWord::Kernel | PortWord::Any)
        | (PortPattern::Kernel, PortWord::Number(_) | PortWord::Any) => false,
    }
}
