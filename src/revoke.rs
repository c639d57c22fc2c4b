use std::time::SystemTime;

use anyhow::Context;
use baseline::{Revocation, SourceText, When, edit};
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
    // What nobody signed proves nothing, and can as well be written anew.
    if old.signature.is_some() {
        let revocation = Revocation {
            id: id.clone(),
            serial: old.serial,
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
        ..Deed::of(ActKind::Revoke, &who)
    };
    acts::write(&standing.paths, &standing.policy.host, file, &changed.text, deed)?;
    say::done(format_args!("{}: approval `{id}` withdrawn.", path.display()));
    standing.tell_daemon();
    Ok(Outcome::Clean)
}
