use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use crate::Finding;

/// What a drift is told as without its port: equal of those that whoever scans or floods brings about by the thousand.
///
/// It is a hash, taken once because what it is of is long and scattered, by a key of this process: it means nothing outside,
/// and nobody there can make two of them equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Crowd(u64);

static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl Crowd {
    /// More than so many are a crowd.
    pub const FROM: usize = 20;

    pub(super) fn of(finding: &Finding) -> Self {
        let subject = &finding.subject;
        Crowd(KEY.hash_one((
            (finding.kind, finding.severity, &finding.team),
            (subject.protocol, subject.address, &subject.netns, subject.reach),
            (&subject.programs, &subject.users, &subject.workloads),
        )))
    }
}
