use inventory::Reach;

use super::{RunningFile, SeverityRule, Traits};
use crate::{DriftKind, Severity};

/// Whoever can write the file of approvals must not make his port look harmless by it: `untrusted` is among them.
const CHANGES: [DriftKind; 6] = [
    DriftKind::Unapproved,
    DriftKind::Widened,
    DriftKind::ProgramChanged,
    DriftKind::UserChanged,
    DriftKind::WorkloadChanged,
    DriftKind::Untrusted,
];

/// What holds where no rule of the configuration matches; each kind of drift is in the end.
pub(super) fn rules() -> Vec<SeverityRule> {
    let kinds = |kind: &[DriftKind], is| SeverityRule { of: of(kind), is };
    let change = |of: Traits, is| SeverityRule { of: Traits { kind: CHANGES.to_vec(), ..of }, is };
    let beyond_host = || Traits { reach: vec![Reach::Link, Reach::Private], ..Traits::default() };
    let within_host = Traits { reach: vec![Reach::Isolated, Reach::Loopback], ..Traits::default() };
    let gone = Traits { file: vec![RunningFile::Deleted, RunningFile::Memfd], ..Traits::default() };
    let (critical, warning, info) = (Severity::Critical, Severity::Warning, Severity::Info);
    vec![
        kinds(&[DriftKind::BinaryChanged], critical),
        change(gone, critical),
        change(Traits { temporary: Some(true), ..Traits::default() }, critical),
        change(Traits { wildcard: Some(true), ..Traits::default() }, critical),
        change(Traits { reach: vec![Reach::Public], ..Traits::default() }, critical),
        change(Traits { root: Some(true), ..beyond_host() }, critical),
        change(Traits { interpreter: Some(true), ..beyond_host() }, critical),
        change(Traits { home: Some(true), ..beyond_host() }, critical),
        change(within_host, info),
        kinds(&CHANGES, warning),
        kinds(&[DriftKind::Missing, DriftKind::Expired], warning),
        kinds(&[DriftKind::Outdated], info),
    ]
}

fn of(kind: &[DriftKind]) -> Traits {
    Traits { kind: kind.to_vec(), ..Traits::default() }
}
