use std::time::SystemTime;

use anyhow::Context;
use baseline::{Approval, Revocation, Signatures, SourceText, When, edit};
use ledger::ActKind;

use crate::acts::{self, Deed};
use crate::arguments::{RevokeOptions, Shared};
use crate::editing::Standing;
use crate::judge;
use crate::outcome::Outcome;
use crate::say;
use crate::signer::Approver;

/// Takes an approval out of the file that it stands in. What is revoked already stays so, and is not written again.
pub(crate) fn run(shared: &Shared, options: &RevokeOptions) -> anyhow::Result<Outcome> {
    let standing = Standing::read(shared, options.file.as_deref())?;
    let id = &options.approval;
    let told = told(&standing, id);
    if let (None, Some(serial)) = (standing.policy.baseline.approval(id), told) {
        say::done(format_args!(
            "Approval `{id}` was revoked already, up to serial {serial}, and stands nowhere in the baseline: nothing was written."
        ));
        return Ok(Outcome::Clean);
    }
    let old = standing.approval(id)?;
    let path = standing.file_of(id)?;
    let who = Approver::by_name();
    let file = standing.lock(&path)?;
    let mut changed = SourceText { path: path.clone(), text: edit::remove(&file.source(), id)? };
    let trust = &standing.policy.trust;
    let known = trust.withdrawn.get(id).copied().max(told);
    // Where nobody signs, an approval can as well be written anew. A signature or a serial may have been taken out before.
    let is_for_good = trust.signatures == Signatures::Required || old.signature.is_some() || known.is_some();
    let serial = serial(&standing, old, known);
    let was_revoked = known.is_some_and(|known| known >= serial);
    if is_for_good && told.is_none_or(|told| told < serial) {
        let revocation = Revocation {
            id: id.clone(),
            serial,
            by: Some(who.name.clone()),
            at: Some(When::instant(SystemTime::now())),
            reason: options.reason.clone(),
        };
        changed.text = edit::revoke(&changed, &revocation);
    }
    let after = standing.with(&changed);
    let baseline =
        judge::parsed(&after, &standing.policy.trust).context("nothing was written, because afterwards")?;
    let deed = Deed {
        old: Some(old),
        reason: options.reason.clone(),
        ticket: options.ticket.clone(),
        endpoints: old.listen.iter().map(ToString::to_string).collect(),
        revision: Some(baseline.revision().to_owned()),
        retired: is_for_good.then_some(serial),
        away: standing.is_checkout,
        ..Deed::of(ActKind::Revoke, &who)
    };
    acts::write(&standing.paths, &standing.policy.host, file, &changed.text, deed)?;
    match was_revoked {
        true => say::done(format_args!(
            "{}: approval `{id}` taken out; it was revoked already, up to serial {serial}.",
            path.display()
        )),
        false => say::done(format_args!("{}: approval `{id}` withdrawn.", path.display())),
    }
    standing.tell_daemon();
    Ok(Outcome::Clean)
}

/// Up to which serial the files themselves say that it is revoked.
fn told(standing: &Standing, id: &str) -> Option<u64> {
    let of_id = standing.policy.baseline.revocations().iter().filter(|revocation| revocation.id == id);
    of_id.map(|revocation| revocation.serial).max()
}

/// Up to which serial it is to count no more. Only a signature that counts proves its own: one that was taken out, or a
/// serial that was made smaller, must not make the revocation smaller.
fn serial(standing: &Standing, old: &Approval, known: Option<u64>) -> u64 {
    let signed = standing.policy.baseline.standing(&old.id).and_then(|known| known.signed.first());
    let is_proven = signed.is_some_and(|signed| signed.wrong.is_none());
    let least = known.map_or(old.serial, |known| if is_proven { known } else { known.saturating_add(1) });
    old.serial.max(least)
}
