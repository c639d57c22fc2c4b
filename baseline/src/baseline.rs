use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::index::Index;
use crate::standing::{Distrust, Standing, standings};
use crate::{Accounts, Approval, Diagnostic, HostPattern, Listen, NetNsPattern, SourceText, Trust, When};

/// Everything that is approved, read from a set of files whose order never decides.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Baseline {
    /// Ordered by id.
    approvals: Vec<Approval>,
    /// Of each approval, by place.
    standings: Vec<Standing>,
    revocations: Vec<Revocation>,
    scopes: Vec<ScopeRule>,
    warnings: Vec<Diagnostic>,
    named: Vec<NamedAccount>,
    revision: String,
    index: Index,
}

/// What a baseline is made of.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) approvals: Vec<Approval>,
    pub(crate) revocations: Vec<Revocation>,
    pub(crate) scopes: Vec<ScopeRule>,
    pub(crate) warnings: Vec<Diagnostic>,
    pub(crate) named: Vec<NamedAccount>,
}

/// A `[[scope]]`: what is judged. Where several match, one that judges prevails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeRule {
    /// Empty for all endpoints.
    pub listen: Vec<Listen>,
    /// At least one.
    pub netns: Vec<NetNsPattern>,
    /// Whether what matches is judged.
    pub judged: bool,
    /// Why.
    pub reason: Option<String>,
    /// Empty for all hosts.
    pub hosts: Vec<HostPattern>,
}

/// A `[[revoked]]`: approvals of this id, up to this serial, do not count again wherever they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The approval's.
    pub id: String,
    /// The highest one that is revoked.
    pub serial: u64,
    /// Who revoked it.
    pub by: Option<String>,
    /// When.
    pub at: Option<When>,
    /// Why.
    pub reason: Option<String>,
}

/// An account that some approval names, and where it first does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedAccount {
    pub(crate) name: String,
    pub(crate) is_group: bool,
    pub(crate) unknown: Diagnostic,
}

impl Baseline {
    /// Made of what was read, by people whose word counts.
    pub(crate) fn new(parts: Parts, revision: String, trust: &Trust) -> Self {
        let Parts { mut approvals, revocations, scopes, warnings, named } = parts;
        approvals.sort_by(|one, other| one.id.cmp(&other.id));
        let index = Index::over(&approvals);
        let mut baseline = Baseline {
            approvals,
            standings: Vec::new(),
            revocations,
            scopes,
            warnings,
            named,
            revision,
            index,
        };
        let revoked = baseline.revoked(trust);
        baseline.standings = standings(&baseline.approvals, |id| revoked.get(id).copied(), trust);
        baseline
    }

    /// The highest serial that was revoked, by id.
    fn revoked(&self, trust: &Trust) -> BTreeMap<String, u64> {
        let mut revoked = BTreeMap::clone(&trust.withdrawn);
        for revocation in &self.revocations {
            let serial = revoked.entry(revocation.id.clone()).or_default();
            *serial = revocation.serial.max(*serial);
        }
        revoked
    }

    /// The approvals, ordered by id.
    pub fn approvals(&self) -> &[Approval] {
        &self.approvals
    }

    /// The approval of this id.
    pub fn approval(&self, id: &str) -> Option<&Approval> {
        self.approvals.get(self.place(id)?)
    }

    pub(crate) fn place(&self, id: &str) -> Option<usize> {
        self.approvals.binary_search_by(|approval| approval.id.as_str().cmp(id)).ok()
    }

    /// What the signatures of the approval at this place are worth.
    pub(crate) fn distrust(&self, place: usize) -> Option<&Distrust> {
        self.standings.get(place)?.distrust.as_ref()
    }

    /// Each approval with what its signatures are worth, ordered by id.
    pub fn standings(&self) -> impl Iterator<Item = (&Approval, &Standing)> {
        self.approvals.iter().zip(&self.standings)
    }

    /// What the signatures of the approval of this id are worth.
    pub fn standing(&self, id: &str) -> Option<&Standing> {
        self.standings.get(self.place(id)?)
    }

    /// The serial that an approval is given when it is approved now: its own, where neither it nor one of its id was
    /// signed or revoked before.
    pub fn next_serial(&self, approval: &Approval, trust: &Trust) -> u64 {
        let standing = self.approval(&approval.id);
        let revoked = self.revoked(trust).get(&approval.id).copied().unwrap_or_default();
        let signed = standing.filter(|standing| standing.signature.is_some()).map(|standing| standing.serial);
        let known = revoked.max(signed.unwrap_or_default());
        known.saturating_add(1).max(standing.map_or(1, |standing| standing.serial))
    }

    /// What was revoked.
    pub fn revocations(&self) -> &[Revocation] {
        &self.revocations
    }

    /// Whether some approval is of programs with a hash, so that judging wants them hashed.
    pub fn pins_programs(&self) -> bool {
        self.approvals.iter().any(|approval| !approval.sha256.is_empty())
    }

    /// What is judged and what is not.
    pub fn scopes(&self) -> &[ScopeRule] {
        &self.scopes
    }

    /// What can be meant and probably is not.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The first twelve hexadecimal digits of a hash over the files; empty for a baseline that was not read.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The names of users and of groups that must be resolved before anything is assessed.
    pub fn accounts_named(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let of_kind = |is_group| {
            let named = self.named.iter().filter(move |account| account.is_group == is_group);
            named.map(|account| account.name.clone()).collect()
        };
        (of_kind(false), of_kind(true))
    }

    /// Warnings for the accounts that the baseline names and this host does not have.
    pub fn unknown_accounts<'a>(&'a self, accounts: &'a Accounts) -> impl Iterator<Item = &'a Diagnostic> {
        let is_unknown = |account: &&NamedAccount| match account.is_group {
            true => !accounts.has_group(&account.name),
            false => accounts.uid(&account.name).is_none(),
        };
        self.named.iter().filter(is_unknown).map(|account| &account.unknown)
    }

    /// The groups of accounts that some approval names and these accounts do not have.
    pub fn unknown_groups<'a>(&'a self, accounts: &'a Accounts) -> impl Iterator<Item = &'a str> {
        let groups = self.named.iter().filter(|account| account.is_group);
        groups.map(|account| account.name.as_str()).filter(|name| !accounts.has_group(name))
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }
}

/// The first twelve hexadecimal digits of a hash over paths and texts, in the order of the paths.
pub fn revision(texts: &[SourceText]) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut ordered: Vec<&SourceText> = texts.iter().collect();
    ordered.sort_by(|one, other| one.path.cmp(&other.path));
    let mut hash = Sha256::new();
    for source in ordered {
        for part in [source.path.as_os_str().as_bytes(), source.text.as_bytes()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    hex(&hash.finalize()[..6])
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
