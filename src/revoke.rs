use std::time::SystemTime;

use anyhow::Context;
use baseline::{Revocation, Signatures, SourceText, When, edit};
use ledger::ActKind;

use crate::acts::{self, Deed};
use crate::arguments::{RevokeOptions, Shared};
use crate::editing::Standing;
use crate::judge;
use crate::outcome::Outcome;
use crate::say;
use crate::signer::Approver;

/// Takes an approval out of the file that it stands in.
pub(crate) fn run(shared: &Shared, options: &RevokeOptions) -> anyhow::Result<Outcome> {
    let standing = Standing::read(shared, options.file.as_deref())?;
    let id = &options.approval;
    let old = standing.approval(id)?;
    let path = standing.file_of(id)?;
    let who = Approver::by_name();
    let file = standing.lock(&path)?;
    let mut changed = SourceText { path: path.clone(), text: edit::remove(&file.source(), id)? };
    let trust = &standing.policy.trust;
    let known = trust.withdrawn.get(id).copied();
    // Where nobody signs, an approval can as well be written anew. A signature or a serial may have been taken out before.
    let is_for_good = trust.signatures == Signatures::Required || old.signature.is_some() || known.is_some();
    let serial = known.map_or(old.serial, |known| old.serial.max(known.saturating_add(1)));
    if is_for_good {
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
        away: options.file.is_some(),
        ..Deed::of(ActKind::Revoke, &who)
    };
    acts::write(&standing.paths, &standing.policy.host, file, &changed.text, deed)?;
    say::done(format_args!("{}: approval `{id}` withdrawn.", path.display()));
    standing.tell_daemon();
    Ok(Outcome::Clean)
}
