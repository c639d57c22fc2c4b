use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use signing::{AllowedSigners, RevokedKeys};

/// Whose word makes an approval count.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Whether approvals must be signed.
    pub signatures: Signatures,
    /// How many people it takes.
    pub approvers: Approvers,
    /// Who may sign.
    pub signers: Arc<AllowedSigners>,
    /// Keys that never count, whatever they signed and when.
    pub revoked_keys: Arc<RevokedKeys>,
    /// What was revoked as this host remembers it, whether or not the baseline still says so: the highest serial by id.
    pub withdrawn: Arc<BTreeMap<String, u64>>,
    /// In which times of a baseline are meant that name no offset.
    pub time_zone: TimeZone,
}

impl Trust {
    /// Everything has to be signed, and nobody may sign: what holds where it cannot be read who may.
    pub fn in_nobody(time_zone: TimeZone) -> Self {
        Trust { signatures: Signatures::Required, ..Trust::in_everybody(time_zone) }
    }

    /// Nothing has to be signed, and nothing was withdrawn.
    pub fn in_everybody(time_zone: TimeZone) -> Self {
        let (approvers, signers, revoked_keys, withdrawn) = Default::default();
        Trust { signatures: Signatures::Off, approvers, signers, revoked_keys, withdrawn, time_zone }
    }
}

/// Whether approvals must be signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signatures {
    /// One that is not does not count.
    Required,
    /// They are made where the approver has a key, and shown; nothing depends on them.
    #[default]
    Recorded,
    /// They are neither made nor looked at.
    Off,
}

/// How many different people must have signed an approval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Approvers {
    /// One.
    #[default]
    One,
    /// Two.
    Two,
    /// Two for what is bound to all addresses or reaches the public, else one.
    TwoWhereExposed,
}

impl Signatures {
    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Signatures::Required => "required",
            Signatures::Recorded => "recorded",
            Signatures::Off => "off",
        }
    }
}
