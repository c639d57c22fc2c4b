use std::fmt;
use std::sync::Arc;

use inventory::{Protocol, RawText, Reach};
use serde::{Deserialize, Serialize};

use crate::{AddressWord, PortWord, Service};

/// Why a service is not as approved, from the gravest to the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum DriftKind {
    BinaryChanged,
    Unapproved,
    Widened,
    ProgramChanged,
    UserChanged,
    WorkloadChanged,
    Untrusted,
    Missing,
    Expired,
    Outdated,
}

impl DriftKind {
    /// All of them, gravest first.
    pub const ALL: [DriftKind; 10] = [
        DriftKind::BinaryChanged,
        DriftKind::Unapproved,
        DriftKind::Widened,
        DriftKind::ProgramChanged,
        DriftKind::UserChanged,
        DriftKind::WorkloadChanged,
        DriftKind::Untrusted,
        DriftKind::Missing,
        DriftKind::Expired,
        DriftKind::Outdated,
    ];

    /// The word used in labels and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            DriftKind::BinaryChanged => "binary_changed",
            DriftKind::Unapproved => "unapproved",
            DriftKind::Widened => "widened",
            DriftKind::ProgramChanged => "program_changed",
            DriftKind::UserChanged => "user_changed",
            DriftKind::WorkloadChanged => "workload_changed",
            DriftKind::Untrusted => "untrusted",
            DriftKind::Missing => "missing",
            DriftKind::Expired => "expired",
            DriftKind::Outdated => "outdated",
        }
    }
}

impl fmt::Display for DriftKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How soon somebody should look. Ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

impl Severity {
    /// All of them, least first.
    pub const ALL: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];

    /// The word used in labels and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Names a drift: the service's id, or for `missing` and `expired` the approval's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DriftId(pub(crate) Arc<str>);

impl DriftId {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for DriftId {
    fn from(id: &str) -> Self {
        DriftId(id.into())
    }
}

impl fmt::Display for DriftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What a drift is about, in words that stand when the service is gone. For `missing` it comes from the approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The protocol.
    pub protocol: Protocol,
    /// The bound address; `*` for all.
    pub address: AddressWord,
    /// The port.
    pub port: PortWord,
    /// The bound device.
    pub device: Option<RawText>,
    /// The namespace's name.
    pub netns: RawText,
    /// Programs, in order, joined by `,` where they are shown.
    pub programs: Arc<[RawText]>,
    /// Users likewise.
    pub users: Arc<[String]>,
    /// Workloads likewise.
    pub workloads: Arc<[RawText]>,
    /// Who can reach it; `None` for something absent.
    pub reach: Option<Reach>,
}

impl Subject {
    pub(crate) fn of(service: &Service) -> Self {
        Subject {
            protocol: service.protocol,
            address: service.address,
            port: service.port,
            device: service.device.clone(),
            netns: service.netns.clone(),
            programs: service.programs.clone(),
            users: service.users.clone(),
            workloads: service.workloads.clone(),
            reach: Some(service.reach),
        }
    }
}

/// One departure from the baseline in one assessment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is called, the same at each assessment.
    pub id: DriftId,
    /// The gravest reason.
    pub kind: DriftKind,
    /// The others, gravest first.
    pub also: Vec<DriftKind>,
    /// How soon somebody should look.
    pub severity: Severity,
    /// The approval that differs least, or that is missing or expired.
    pub approval: Option<String>,
    /// In what it differs, a sentence each.
    pub differs: Vec<String>,
    /// The approval's team.
    pub team: Option<String>,
    /// What it is about.
    pub subject: Subject,
}
