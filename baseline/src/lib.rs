//! What is approved, and how an inventory drifts from it.
//!
//! Deciding is pure: the time, the accounts and the texts come in as values. Files stand in modules of their own.
#![forbid(unsafe_code)]

mod absent;
mod accounts;
mod approval;
mod assess;
mod assessment;
mod baseline;
mod canonical;
mod changes;
mod command_line;
mod covering;
mod diagnostic;
mod difference;
mod drift;
pub mod edit;
mod explain;
mod fleet;
mod format;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod git_commit;
mod group;
mod in_parts;
mod index;
mod interpreter;
mod last_good;
mod learn;
mod lint;
mod listen;
mod parse;
mod pattern;
mod plan;
mod policy;
mod propose;
mod reassess;
mod recorded;
mod register;
mod remedy;
mod service;
mod severity;
mod sources;
mod standing;
mod store;
mod trust;
mod view;
mod walk;
mod wanted;
mod when;
mod withdrawn;
mod written;

pub use accounts::{Accounts, User};
pub use approval::{Approval, Countersignature, HIGHEST_SERIAL};
pub use assess::assess;
pub use assessment::{Assessment, Judged, Mode, Verdict};
pub use baseline::{Baseline, Revocation, ScopeRule, revision};
pub use canonical::{NAMESPACE, canonical, countersigned};
pub use changes::{ApprovalChange, changes};
pub use command_line::command_line;
pub use covering::Covering;
pub use diagnostic::{Diagnostic, SourceText, shown_path};
pub use drift::{DriftId, DriftKind, Finding, Severity, Subject};
pub use explain::{Explained, Explanation, Regard, Regarded, Sought, explain, is_meant};
pub use fleet::HostInventory;
pub use format::{FormatError, format};
pub use git_commit::{git_commit, git_places};
pub use last_good::{LastGoodError, keep_last_good, load_last_good};
pub use learn::{learn, learn_from};
pub use lint::{Lint, LintCode, lint};
pub use listen::{AddressPattern, Listen, PortPattern};
pub use parse::parse;
pub use pattern::{HostPattern, NetNsPattern, Pattern, ProgramPattern};
pub use plan::{Change, Plan, Summary, Touched, Turn, plan};
pub use policy::{Host, Policy};
pub use propose::{CannotApprove, Request, propose};
pub use reassess::{Before, reassess};
pub use recorded::approval_of_json;
pub use register::{
    BrokenRegister, ClosedBecause, ClosedBy, Crowd, Dismissal, Drift, DriftEvent, Meanwhile, Passed,
    Register, StartedBy, Starter, Written,
};
pub use remedy::{Overdue, Remedy, remedy_by};
pub use service::{AddressWord, PortWord, Service, ServiceId, ServiceKey};
pub use severity::{RunningFile, SeverityRule, SeverityRules, Traits};
pub use sources::{ReadError, ReadErrorKind, Sources, read_of_anybody, read_trusted, read_trusted_bytes};
pub use standing::{Distrust, Signed, Standing};
pub use store::{LockedFile, StoreError};
pub use trust::{Approvers, Signatures, Trust};
pub use wanted::{Covered, Wanted};
pub use when::When;
pub use withdrawn::{
    WithdrawnError, keep_revoked, keep_withdrawn, load_revoked, load_withdrawn, refuse_foreign,
};
pub use written::approval_json;
