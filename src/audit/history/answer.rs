//! What is answered.

use serde::Serialize;
use serde_json::Value;

use super::Source;

/// What records say of the question, and what they do not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Answer {
    pub(crate) endpoint: String,
    pub(crate) at: String,
    pub(crate) host: Option<String>,
    /// Ordered by id.
    pub(crate) approvals: Vec<Found>,
    /// Sentences.
    pub(crate) not_known: Vec<String>,
}

/// An approval that spoke of the endpoint, or of a part of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Found {
    pub(crate) id: String,
    pub(crate) covers_all: bool,
    /// Whether it counted; `None` where the records do not say.
    pub(crate) counts: Option<bool>,
    /// Why it did not, the end of a sentence.
    pub(crate) why_not: Option<String>,
    /// Since when it did not, as the records have it.
    pub(crate) not_since: Option<String>,
    /// As it stood in the file.
    pub(crate) approval: Value,
    /// Why, as whoever approved it said.
    pub(crate) said: Option<Said>,
    pub(crate) expired: bool,
    /// The approver's first.
    pub(crate) signatures: Vec<Signed>,
    /// Acts of people that made it what it was.
    pub(crate) written: Vec<Trace>,
    /// Records by which `serve` had it in force; in this form since the last of them.
    pub(crate) in_force: Vec<Trace>,
    /// What became of it.
    pub(crate) later: Vec<Later>,
}

/// What somebody gave as the reason of an approval, as the act recorded it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Said {
    /// The act's, of the ledger.
    pub(crate) record: u64,
    pub(crate) who: Option<Value>,
    pub(crate) reason: Option<String>,
    pub(crate) ticket: Option<String>,
}

/// A signature and whether it is one of what was recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Signed {
    pub(crate) by: String,
    pub(crate) at: Option<String>,
    /// The key's fingerprint, where it can be read.
    pub(crate) key: Option<String>,
    /// What is wrong with it, a sentence.
    pub(crate) wrong: Option<String>,
}

/// A record, and what it says of who and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Trace {
    pub(crate) log: Source,
    pub(crate) record: u64,
    /// A signature of the host vouches for it.
    pub(crate) vouched: bool,
    pub(crate) time: String,
    /// `approve`, `revoke`, …; of `serve` itself `reload`.
    pub(crate) act: String,
    pub(crate) who: Option<Value>,
    pub(crate) reason: Option<String>,
    pub(crate) ticket: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) git: Option<String>,
    /// Written to a checkout, by which no host was judged.
    pub(crate) away: bool,
    /// Of `reload`: why it did not count.
    pub(crate) distrust: Option<String>,
}

/// A change after the time that is asked about.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Later {
    #[serde(flatten)]
    pub(crate) trace: Trace,
    /// Empty where it was withdrawn or put in, or an act taken back.
    pub(crate) changed: Vec<Field>,
    /// It does not stand in the baseline any more.
    pub(crate) removed: bool,
    /// It did not stand in the baseline before.
    pub(crate) added: bool,
    /// The ledger's record of the act that was not carried out.
    pub(crate) undone: Option<u64>,
}

/// A field that differs; null where it was not said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Field {
    pub(crate) field: String,
    pub(crate) old: Value,
    pub(crate) new: Value,
}
