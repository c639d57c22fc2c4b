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
mod command_line;
mod diagnostic;
mod difference;
mod drift;
pub mod edit;
mod group;
mod index;
mod interpreter;
mod last_good;
mod learn;
mod listen;
mod parse;
mod pattern;
mod policy;
mod propose;
mod reassess;
mod register;
mod service;
mod sources;
mod store;
mod view;
mod when;

pub use accounts::{Accounts, User};
pub use approval::Approval;
pub use assess::assess;
pub use assessment::{Assessment, Judged, Mode, Verdict};
pub use baseline::{Baseline, ScopeRule, revision};
pub use command_line::command_line;
pub use diagnostic::{Diagnostic, SourceText};
pub use drift::{DriftId, DriftKind, Finding, Severity, Subject};
pub use last_good::{LastGoodError, keep_last_good, load_last_good};
pub use learn::learn;
pub use listen::{AddressPattern, Listen, PortPattern};
pub use parse::parse;
pub use pattern::{HostPattern, NetNsPattern, Pattern, ProgramPattern};
pub use policy::{Host, Policy};
pub use propose::{CannotApprove, Request, propose};
pub use reassess::{Before, reassess};
pub use register::{BrokenRegister, ClosedBecause, Drift, DriftEvent, Meanwhile, Passed, Register};
pub use service::{AddressWord, PortWord, Service, ServiceId, ServiceKey};
pub use sources::{ReadError, ReadErrorKind, Sources, read_trusted};
pub use store::{LockedFile, StoreError};
pub use when::When;
