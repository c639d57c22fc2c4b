use std::collections::BTreeSet;

use inventory::RawText;
use jiff::Timestamp;
use signing::{PublicKey, Signature};

use crate::canonical::{NAMESPACE, canonical, text_of};
use crate::in_parts::in_parts;
use crate::trust::{Approvers, Signatures, Trust};
use crate::{Approval, When};

/// What an approval's signatures are worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Each signature that stands in it, the approver's own first.
    pub signed: Vec<Signed>,
    /// Why it does not count; `None` where it does.
    pub distrust: Option<Distrust>,
}

/// One signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Who is said to have signed.
    pub by: String,
    /// When that is said to have been.
    pub at: Option<When>,
    /// The key, where the signature can be read.
    pub key: Option<PublicKey>,
    /// What is wrong with it, a sentence.
    pub wrong: Option<String>,
}

/// Why an approval does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// It was withdrawn, or another took its place.
    #[error("approval `{id}` was revoked or renewed: up to serial {serial} it does not count again")]
    Revoked {
        /// The approval.
        id: String,
        /// The highest serial that does not count.
        serial: u64,
    },
    /// Nobody signed it.
    #[error("approval `{id}` is not signed: `portledger approve {id} --reason TEXT` signs it")]
    Unsigned {
        /// The approval.
        id: String,
    },
    /// Its signature is not valid.
    #[error("in approval `{id}` the signature of {by} does not count: {why}")]
    Invalid {
        /// The approval.
        id: String,
        /// Whose signature.
        by: String,
        /// A sentence.
        why: String,
    },
    /// Not enough people signed it.
    #[error("approval `{id}` is signed by {by} and waits for another approver{}{}", whom(id, .others), aside(.why))]
    Waits {
        /// The approval.
        id: String,
        /// Who signed.
        by: String,
        /// Who else may, as far as a person will read.
        others: Vec<String>,
        /// What is wrong with the second signature, where there is one.
        why: Option<String>,
    },
}

fn whom(id: &str, others: &[String]) -> String {
    if others.is_empty() {
        ", and nobody else may sign: add a second person's key to allowed_signers".to_owned()
    } else {
        format!(", {}: `portledger countersign {id}`", others.join(" or "))
    }
}

fn aside(why: &Option<String>) -> String {
    why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default()
}

/// That of each approval, in their order. Verifying takes some fifty microseconds a signature, so that the work is shared.
pub(crate) fn standings(
    approvals: &[Approval],
    revoked: impl Fn(&str) -> Option<u64> + Sync,
    trust: &Trust,
) -> Vec<Standing> {
    in_parts(approvals.iter().collect(), |part: Vec<&Approval>| {
        part.into_iter().map(|approval| standing(approval, revoked(&approval.id), trust)).collect()
    })
}

/// More names are not read.
const NAMED: usize = 5;

/// What is said of an approval's signatures; `revoked` is the highest serial of its id that was withdrawn.
fn standing(approval: &Approval, revoked: Option<u64>, trust: &Trust) -> Standing {
    let mut standing = Standing { signed: Vec::new(), distrust: None };
    if trust.signatures != Signatures::Off {
        standing.signed = signed(approval, trust);
    }
    standing.distrust = match revoked.filter(|serial| approval.serial <= *serial) {
        Some(serial) => Some(Distrust::Revoked { id: approval.id.clone(), serial }),
        None if trust.signatures == Signatures::Required => distrust(approval, &standing.signed, trust),
        None => None,
    };
    standing
}

fn distrust(approval: &Approval, signed: &[Signed], trust: &Trust) -> Option<Distrust> {
    let id = approval.id.clone();
    if approval.signature.is_none() {
        return Some(Distrust::Unsigned { id });
    }
    let first = signed.first()?;
    if let Some(why) = &first.wrong {
        return Some(Distrust::Invalid { id, by: shown(&first.by), why: why.clone() });
    }
    let two = match trust.approvers {
        Approvers::One => false,
        Approvers::Two => true,
        Approvers::TwoWhereExposed => approval.is_exposed(),
    };
    let further = || signed.iter().skip(1);
    if !two || further().any(|signed| signed.wrong.is_none()) {
        return None;
    }
    let why = further().find_map(|signed| {
        signed.wrong.as_ref().map(|why| format!("that of {} does not count: {why}", shown(&signed.by)))
    });
    let others = others(&first.by, trust).into_iter().take(NAMED).map(shown).collect();
    Some(Distrust::Waits { id, by: shown(&first.by), others, why })
}

/// Who may sign what this person has signed: by keys that count and are not this person's too.
fn others<'t>(first: &str, trust: &'t Trust) -> BTreeSet<&'t str> {
    let counts = |key: &PublicKey| !trust.revoked_keys.contains(key) && !trust.signers.belongs_to(key, first);
    trust.signers.everybody(NAMESPACE, counts)
}

fn shown(name: &str) -> String {
    RawText::from(name).escaped()
}

/// Every signature with what is wrong with it. Each must be of another person and by another key.
fn signed(approval: &Approval, trust: &Trust) -> Vec<Signed> {
    let own = approval.signature.iter().map(|signature| {
        let by = approval.by.clone().unwrap_or_default();
        (by, approval.at, signature, canonical(approval))
    });
    let others = approval
        .countersigned
        .iter()
        .map(|counter| (counter.by.clone(), counter.at, &counter.signature, text_of(approval, counter)));
    let mut people = BTreeSet::new();
    let mut keys: Vec<PublicKey> = Vec::new();
    let mut all = Vec::new();
    for (by, at, signature, text) in own.chain(others) {
        let (key, checked) = match Signature::from_base64(signature) {
            Ok(signature) => {
                let checked = check(&signature, &by, at, &text, trust);
                (Some(signature.key().clone()), checked)
            }
            Err(error) => (None, Err(error.to_string())),
        };
        let checked = checked.and_then(|()| match &key {
            _ if people.contains(&by) => Err(format!("{} signed it already", RawText::from(by.as_str()))),
            Some(key) if keys.contains(key) => {
                Err("the same key signed it already under another name".to_owned())
            }
            // Of whom a key is said to be that of several, it cannot be told that these are two.
            Some(key) => {
                match one_person(trust, &by, key, all.iter().filter(|one: &&Signed| one.wrong.is_none())) {
                    Some(other) => Err(format!(
                        "allowed_signers does not tell {} from {}: a key of one may sign for the other",
                        RawText::from(by.as_str()),
                        RawText::from(other)
                    )),
                    None => Ok(()),
                }
            }
            None => Ok(()),
        });
        if checked.is_ok() {
            people.insert(by.clone());
            keys.extend(key.clone());
        }
        all.push(Signed { by, at, key, wrong: checked.err() });
    }
    all
}

/// Somebody who signed before, and who may sign by this key, or by whose key this person may.
fn one_person<'s>(
    trust: &Trust,
    by: &str,
    key: &PublicKey,
    mut before: impl Iterator<Item = &'s Signed>,
) -> Option<&'s str> {
    let may = |name: &str, key: &PublicKey| trust.signers.belongs_to(key, name);
    let is_one =
        |other: &&Signed| may(&other.by, key) || other.key.as_ref().is_some_and(|others| may(by, others));
    before.find(is_one).map(|other| other.by.as_str())
}

/// Whether this person's key made this signature, and was allowed to at the time that it names.
fn check(signature: &Signature, by: &str, at: Option<When>, text: &str, trust: &Trust) -> Result<(), String> {
    if by.is_empty() {
        return Err("it does not say `by` whom it is".to_owned());
    }
    let at = at.ok_or("it does not say `at` what time it was made")?;
    signature.verify(NAMESPACE, text.as_bytes()).map_err(|error| error.to_string())?;
    if trust.revoked_keys.contains(signature.key()) {
        return Err(format!("its key {} is revoked", signature.key().fingerprint()));
    }
    let at: Timestamp = at.exactly(&trust.time_zone);
    trust.signers.allows(by, signature.key(), NAMESPACE, at).map_err(|error| error.to_string())
}
