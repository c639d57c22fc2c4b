use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::index::Index;
use crate::{Accounts, Approval, Diagnostic, HostPattern, Listen, NetNsPattern, SourceText};

/// Everything that is approved, read from a set of files whose order never decides.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Baseline {
    /// Ordered by id.
    approvals: Vec<Approval>,
    scopes: Vec<ScopeRule>,
    warnings: Vec<Diagnostic>,
    named: Vec<NamedAccount>,
    revision: String,
    index: Index,
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

/// An account that some approval names, and where it first does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedAccount {
    pub(crate) name: String,
    pub(crate) is_group: bool,
    pub(crate) unknown: Diagnostic,
}

impl Baseline {
    pub(crate) fn new(
        mut approvals: Vec<Approval>,
        scopes: Vec<ScopeRule>,
        warnings: Vec<Diagnostic>,
        named: Vec<NamedAccount>,
        revision: String,
    ) -> Self {
        approvals.sort_by(|one, other| one.id.cmp(&other.id));
        let index = Index::over(&approvals);
        Baseline { approvals, scopes, warnings, named, revision, index }
    }

    /// The approvals, ordered by id.
    pub fn approvals(&self) -> &[Approval] {
        &self.approvals
    }

    /// The approval of this id.
    pub fn approval(&self, id: &str) -> Option<&Approval> {
        let place = self.approvals.binary_search_by(|approval| approval.id.as_str().cmp(id)).ok()?;
        self.approvals.get(place)
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
