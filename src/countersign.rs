use std::time::SystemTime;

use anyhow::{Context, bail};
use baseline::{
    Approval, Countersignature, Distrust, Policy, Signatures, SourceText, When, countersigned, edit,
};
use ledger::ActKind;

use crate::acts::{self, Deed};
use crate::arguments::{CountersignOptions, Shared};
use crate::editing::Standing;
use crate::judge;
use crate::outcome::Outcome;
use crate::say;
use crate::signer::{self, Approver};

/// Adds somebody else's signature to approvals.
pub(crate) fn run(shared: &Shared, options: &CountersignOptions) -> anyhow::Result<Outcome> {
    let mut standing = Standing::read(shared, options.file.as_deref())?;
    if standing.policy.trust.signatures == Signatures::Off && options.signing.key.is_none() {
        bail!("the configuration says `signatures = \"off\"`: there is nothing to sign");
    }
    let approver = signer::find(&standing.policy.trust, &options.signing)?;
    for id in &options.approval {
        one(&mut standing, &approver, id, options)?;
    }
    standing.tell_daemon();
    Ok(Outcome::Clean)
}

fn one(
    standing: &mut Standing,
    approver: &Approver,
    id: &str,
    options: &CountersignOptions,
) -> anyhow::Result<()> {
    let old = standing.approval(id)?.clone();
    let path = standing.file_of(id)?;
    crate::approve::tell_text(&old);
    let new = signed(&standing.policy, approver, &old)?;
    let file = standing.lock(&path)?;
    let text = edit::sign(&file.source(), &new)?;
    let texts = standing.with(&SourceText { path: path.clone(), text: text.clone() });
    let trust = standing.policy.trust.clone();
    let baseline = judge::parsed(&texts, &trust).context("nothing was written, because afterwards")?;
    let known = baseline.standing(id).context("the approval is gone from the baseline")?;
    if let Some(wrong) = known.signed.last().and_then(|signed| signed.wrong.as_ref()) {
        bail!("nothing was written: the signature of {} would not count: {wrong}", approver.name);
    }
    let waits = known.distrust.clone();
    if !matches!(waits, None | Some(Distrust::Waits { .. })) {
        bail!("nothing was written: {}", waits.map(|why| why.to_string()).unwrap_or_default());
    }
    let deed = Deed {
        old: Some(&old),
        new: Some(&new),
        reason: options.reason.clone(),
        endpoints: new.listen.iter().map(ToString::to_string).collect(),
        revision: Some(baseline.revision().to_owned()),
        counts: Some(waits.is_none()),
        away: standing.is_checkout,
        retired: waits.is_none().then(|| new.serial.saturating_sub(1)),
        ticket: options.ticket.clone(),
        ..Deed::of(ActKind::Countersign, approver)
    };
    acts::write(&standing.paths, &standing.policy.host, file, &text, deed)?;
    say::done(format_args!("{}: approval `{id}` countersigned by {}.", path.display(), approver.name));
    if let Some(distrust) = waits {
        say::aside(format_args!("It does not count yet: {distrust}."));
    }
    standing.policy = Policy { baseline, ..standing.policy.clone() };
    standing.texts = texts;
    Ok(())
}

fn signed(policy: &Policy, approver: &Approver, old: &Approval) -> anyhow::Result<Approval> {
    let id = &old.id;
    if old.signature.is_none() {
        bail!("nobody signed approval `{id}` yet: `portledger approve {id} --reason TEXT` does");
    }
    let known = policy.baseline.standing(id);
    let known = known.context("the approval is gone from the baseline")?;
    if let Some(distrust) = known.distrust.as_ref().filter(|why| !matches!(why, Distrust::Waits { .. })) {
        bail!("there is nothing to add a signature to: {distrust}");
    }
    let counts = known.signed.iter().filter(|signed| signed.wrong.is_none());
    if counts.clone().any(|signed| signed.by == approver.name) {
        bail!("{} signed approval `{id}` already: it takes somebody else", approver.name);
    }
    if let Some(other) = counts.clone().find(|signed| signed.key.as_ref() == approver.key()) {
        bail!("the same key signed approval `{id}` already, as {}: it takes somebody else's", other.by);
    }
    let at = Some(When::instant(SystemTime::now()));
    let text = countersigned(old, &approver.name, at);
    let Some(signature) = approver.sign(&text)? else {
        bail!(
            "no key to sign with: name one with --key, or add it to the SSH agent (under sudo: \
             `sudo --preserve-env=SSH_AUTH_SOCK`)"
        );
    };
    let mut new = old.clone();
    // One that does not count is in the way of one that does.
    new.countersigned.retain(|counter| counts.clone().any(|signed| signed.by == counter.by));
    new.countersigned.push(Countersignature {
        by: approver.name.clone(),
        at,
        signature: signature.to_base64(),
    });
    Ok(new)
}
