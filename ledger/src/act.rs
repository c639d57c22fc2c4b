use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What somebody did, as a record of the ledger tells it. Fields that do not apply are null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Act {
    /// RFC 3339, in UTC.
    pub time: String,
    /// The host's name, escaped.
    pub host: String,
    /// What was done.
    pub act: ActKind,
    /// Who did it.
    pub who: Who,
    /// The approval that it is about.
    pub approval: Option<String>,
    /// The approval's serial, after the act.
    pub serial: Option<u64>,
    /// The drift or service that it is about.
    pub drift: Option<String>,
    /// What that listens on, as a baseline writes it.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// The approval before.
    pub old: Option<Value>,
    /// The approval after.
    pub new: Option<Value>,
    /// Why.
    pub reason: Option<String>,
    /// The ticket that the decision was taken in.
    pub ticket: Option<String>,
    /// The file that was written, escaped, with what it held and holds.
    pub file: Option<FileChange>,
    /// The baseline's revision after the act.
    pub revision: Option<String>,
    /// The commit that the baseline's folder stood at, where it is a checkout of git.
    pub git: Option<String>,
    /// Whether the approval counted after the act: false of what waits for a signature. `None` where that says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<bool>,
    /// The file is a checkout's: no host was judged by it as it stood there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub away: bool,
    /// Up to which serial approvals of this id count no more on the host, whatever becomes of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired: Option<u64>,
    /// Of `dismiss`: since when the drift was gone. One that came back since then is another matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_since: Option<String>,
    /// Of `undone`: the record of the act that was not carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
}

/// What people do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActKind {
    /// Wrote a baseline from what listened.
    Learn,
    /// Wrote an approval that does not count until others sign it.
    Propose,
    /// Approved.
    Approve,
    /// Signed what somebody else approved.
    Countersign,
    /// Let drift be that was gone.
    Dismiss,
    /// Withdrew an approval.
    Revoke,
    /// Put a backup back.
    Restore,
    /// Nobody's act: the one before it was recorded and then not carried out.
    Undone,
}

impl ActKind {
    /// All of them.
    pub const ALL: [ActKind; 8] = [
        ActKind::Learn,
        ActKind::Propose,
        ActKind::Approve,
        ActKind::Countersign,
        ActKind::Dismiss,
        ActKind::Revoke,
        ActKind::Restore,
        ActKind::Undone,
    ];

    /// The word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            ActKind::Learn => "learn",
            ActKind::Propose => "propose",
            ActKind::Approve => "approve",
            ActKind::Countersign => "countersign",
            ActKind::Dismiss => "dismiss",
            ActKind::Revoke => "revoke",
            ActKind::Restore => "restore",
            ActKind::Undone => "undone",
        }
    }
}

/// Who did something, as far as it is known. Only a key proves anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The user who called: of sudo, who called that.
    pub user: String,
    /// The user that the process ran as.
    pub uid: u32,
    /// The user who logged in, as the kernel's audit remembers it over su and sudo.
    pub login_uid: Option<u32>,
    /// The principal whose key signed.
    pub principal: Option<String>,
    /// The fingerprint of that key.
    pub key: Option<String>,
}

/// A file before and after an act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// Its path, escaped.
    pub path: String,
    /// The SHA-256 of what it held, in hexadecimal; `None` where there was none.
    pub before: Option<String>,
    /// The SHA-256 of what it holds.
    pub after: String,
}
