use inventory::Reach;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::{HostPattern, Listen, NetNsPattern, Pattern, ProgramPattern, User, When};

/// Of [`Approval::serial`]: nobody approves anything that often.
pub const HIGHEST_SERIAL: u64 = 1_000_000_000;

/// What somebody approved. An empty list restrains nothing, except where it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Approval {
    /// Unique in a baseline, and kept over edits.
    pub id: String,
    /// Counts how often something was approved under this id; one that was revoked never counts again. From 1 on.
    pub serial: u64,
    /// At least one.
    pub listen: Vec<Listen>,
    pub program: Vec<ProgramPattern>,
    pub unit: Vec<Pattern>,
    pub user: Vec<User>,
    /// Groups that every holder's user must be in one of.
    pub group: Vec<String>,
    /// Globs over the command line from its second word on, as [`crate::command_line`] writes it.
    pub arguments: Vec<Pattern>,
    pub image: Vec<Pattern>,
    pub service: Vec<Pattern>,
    /// At least one.
    pub netns: Vec<NetNsPattern>,
    /// The widest reach that is still approved.
    pub reach: Option<Reach>,
    pub sha256: Vec<[u8; 32]>,
    /// Its absence is drift.
    pub required: bool,
    pub hosts: Vec<HostPattern>,
    pub ticket: Option<String>,
    pub team: Option<String>,
    pub reason: Option<String>,
    pub by: Option<String>,
    pub at: Option<When>,
    pub expires: Option<When>,
    /// An SSH signature of [`crate::canonical`] by the key of `by`: the blob of PROTOCOL.sshsig in base64, without lines.
    pub signature: Option<String>,
    /// Signatures by further people.
    pub countersigned: Vec<Countersignature>,
}

/// Somebody else's word for an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Countersignature {
    /// Who: a principal of the allowed signers.
    pub by: String,
    /// When.
    pub at: Option<When>,
    /// As [`Approval::signature`], of [`crate::countersigned`].
    pub signature: String,
}

impl Approval {
    /// One that restrains nothing but where it listens, on the host's own namespace.
    pub fn new(id: impl Into<String>, listen: Vec<Listen>) -> Self {
        Approval {
            id: id.into(),
            serial: 1,
            listen,
            program: Vec::new(),
            unit: Vec::new(),
            user: Vec::new(),
            group: Vec::new(),
            arguments: Vec::new(),
            image: Vec::new(),
            service: Vec::new(),
            netns: vec![NetNsPattern::Host],
            reach: None,
            sha256: Vec::new(),
            required: false,
            hosts: Vec::new(),
            ticket: None,
            team: None,
            reason: None,
            by: None,
            at: None,
            expires: None,
            signature: None,
            countersigned: Vec::new(),
        }
    }

    /// `learn` wrote it, and nobody has approved it.
    pub fn is_learned(&self) -> bool {
        self.by.as_deref() == Some("learn")
    }

    /// Whether it has expired at this moment.
    pub fn is_expired(&self, now: Timestamp, zone: &TimeZone) -> bool {
        self.expires.is_some_and(|expires| expires.takes_effect(zone) <= now)
    }

    /// It lets in who reaches a host from outside: bound to all addresses, or within reach of the public. Without `reach`
    /// an address beyond the link may be that: a private one that is translated, or a container's that is published.
    pub fn is_exposed(&self) -> bool {
        let unbounded =
            || self.reach.is_none() && self.listen.iter().any(|listen| !listen.address.is_confined());
        self.listen.iter().any(|listen| listen.address.is_wildcard())
            || self.reach == Some(Reach::Public)
            || unbounded()
    }

    /// Without these, only a program that is the host's own file can be told by its path.
    pub(crate) fn is_for_containers(&self) -> bool {
        !self.image.is_empty() || !self.service.is_empty()
    }

    /// It says which unit or container must be behind it.
    pub(crate) fn names_workload(&self) -> bool {
        !self.unit.is_empty() || self.is_for_containers()
    }

    /// Nothing restrains who listens.
    pub(crate) fn approves_anything(&self) -> bool {
        self.program.is_empty()
            && !self.names_workload()
            && self.user.is_empty()
            && self.group.is_empty()
            && self.arguments.is_empty()
            && self.sha256.is_empty()
    }
}
