use std::sync::Arc;

use baseline::Policy;
use inventory::RawText;
use jiff::Timestamp;

/// What is told of an approval that is for this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApprovalStatus {
    /// Its id.
    pub(crate) id: String,
    /// Its team; empty where it has none.
    pub(crate) team: String,
    /// When it stops to be in force; `None` where it has no end.
    pub(crate) ends: Option<Timestamp>,
    /// What it is until then.
    pub(crate) before: StandingWord,
}

/// What an approval is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StandingWord {
    /// It is in force, and somebody approved it.
    Approved,
    /// It is in force; `learn` wrote it, and nobody has approved it.
    Learned,
    /// Its time is over.
    Expired,
    /// It was revoked, or lacks signatures that it must have.
    Untrusted,
}

impl StandingWord {
    /// All of them.
    pub(crate) const ALL: [StandingWord; 4] =
        [StandingWord::Approved, StandingWord::Learned, StandingWord::Expired, StandingWord::Untrusted];

    /// The word in labels.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            StandingWord::Approved => "approved",
            StandingWord::Learned => "learned",
            StandingWord::Expired => "expired",
            StandingWord::Untrusted => "untrusted",
        }
    }
}

impl ApprovalStatus {
    /// Of each approval in force for this host, ordered by id.
    pub(crate) fn all(policy: &Policy) -> Arc<[Self]> {
        let of_host = policy.baseline.standings().filter(|(known, _)| policy.host.is_among(&known.hosts));
        let statuses = of_host.map(|(approval, standing)| ApprovalStatus {
            id: RawText::from(approval.id.as_str()).escaped(),
            team: RawText::from(approval.team.as_deref().unwrap_or_default()).escaped(),
            ends: approval.expires.map(|expires| expires.takes_effect(&policy.trust.time_zone)),
            before: match standing.distrust {
                Some(_) => StandingWord::Untrusted,
                None if approval.is_learned() => StandingWord::Learned,
                None => StandingWord::Approved,
            },
        });
        statuses.collect()
    }

    /// What it is worth at this moment. What never counted does not expire.
    pub(crate) fn standing(&self, now: Timestamp) -> StandingWord {
        match self.before {
            StandingWord::Untrusted => StandingWord::Untrusted,
            _ if self.ends.is_some_and(|ends| ends <= now) => StandingWord::Expired,
            before => before,
        }
    }
}
