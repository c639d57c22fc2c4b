mod target;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, anyhow, bail};
use baseline::{
    Approval, Distrust, DriftKind, Finding, HIGHEST_SERIAL, HostPattern, LockedFile, Policy, Request,
    Signatures, SourceText, Verdict, When, assess, edit, propose,
};
use inventory::Listener;
use ledger::ActKind;

use self::target::Target;
use crate::acts::{self, Deed};
use crate::arguments::{ApproveOptions, Lifetime, Shared};
use crate::editing::{PATIENCE, tell_daemon};
use crate::inventory_file;
use crate::judge::{self, Judgement};
use crate::outcome::Outcome;
use crate::paths::{Paths, trusted_owner};
use crate::say;
use crate::signer::{self, Approver};

/// Looks again, and writes an approval for each drift that is still as its id says, or signs one that stands there.
pub(crate) fn run(shared: &Shared, options: &ApproveOptions) -> anyhow::Result<Outcome> {
    if options.reason.as_ref().is_some_and(|reason| reason.trim().is_empty()) {
        bail!("--reason must say why: an auditor will read it");
    }
    if options.name.is_some() && options.id.len() > 1 {
        bail!("--name is for one approval, and {} are to be written", options.id.len());
    }
    acts::refuse_foreign_memory(&Paths::of(shared)?)?;
    let mut judgement = match &options.inventory {
        None => judge::once(shared)?,
        Some(inventory) => {
            let file = options.file.as_deref();
            let file =
                file.context("--inventory is of another host: name the file to write into with --file")?;
            inventory_file::judged_in(shared, inventory, file)?
        }
    };
    let approver = match options.propose {
        true => Approver::by_name(),
        false => signer::find(&judgement.policy.trust, &options.signing)?,
    };
    for id in &options.id {
        let possible = can_be(&judgement, &approver, id, options);
        match options.id.len() {
            1 => possible,
            _ => possible.with_context(|| format!("nothing was written, because `{id}` cannot be approved")),
        }?;
    }
    let mut written = Vec::new();
    let approved = options.id.iter().try_for_each(|id| {
        written.extend(one(&mut judgement, &approver, id, options)?);
        Ok(())
    });
    if options.inventory.is_none() && !written.is_empty() {
        tell_daemon(&judgement.paths);
    }
    if !written.is_empty() {
        let ids = written.join("`, `");
        approved.with_context(|| format!("`{ids}` is written and stays; not so the rest"))?;
        return Ok(Outcome::Clean);
    }
    approved.map(|()| Outcome::Clean)
}

/// Fails where it is known beforehand that this cannot be approved.
fn can_be(
    judgement: &Judgement,
    approver: &Approver,
    id: &str,
    options: &ApproveOptions,
) -> anyhow::Result<()> {
    let target = Target::find(judgement, id)?;
    let path = path_for(judgement, &target, options)?;
    draft(judgement, &target, approver, &path, options).map(drop)
}

/// The id of what was written; `None` where somebody approved it meanwhile.
fn one(
    judgement: &mut Judgement,
    approver: &Approver,
    id: &str,
    options: &ApproveOptions,
) -> anyhow::Result<Option<String>> {
    if is_covered(judgement, id) {
        return Ok(None);
    }
    let path = path_for(judgement, &Target::find(judgement, id)?, options)?;
    make_folder(&path)?;
    // A checkout may belong to anybody: no host is judged by it as it stands there.
    let file = match options.inventory {
        None => LockedFile::open(&path, trusted_owner(), PATIENCE)?,
        Some(_) => LockedFile::open_of_anybody(&path, PATIENCE)?,
    };
    look_again(judgement)?;
    if let Some(by) = target::covered_by(judgement, id) {
        say::done(format_args!(
            "`{id}` is covered by approval `{by}` meanwhile: nothing was written for it."
        ));
        return Ok(None);
    }
    let target = Target::find(judgement, id)?;
    if path_for(judgement, &target, options)? != path {
        bail!("`{id}`: the baseline was changed by somebody else in the meantime: look at it and try again");
    }
    let before = file.source();
    let draft = draft(judgement, &target, approver, &path, options)?;
    if let (Target::Standing(_), Some(_)) = (&target, approver.key()) {
        tell_text(&draft);
    }
    let approval = approver.approve(draft)?;
    let text = match &target {
        Target::Standing(standing) if standing.id == approval.id => edit::sign(&before, &approval)?,
        Target::New(..) | Target::Standing(_) => edit::add(&before, &approval)?,
    };
    let (texts, policy) = after(judgement, &path, &text)?;
    let counts = check(judgement, &policy, &target, &approval, &path)?;
    keep_in_force(judgement, &target, &approval, counts)?;
    let old = match &target {
        Target::New(..) => None,
        Target::Standing(old) => Some(&**old).filter(|old| old.id == approval.id),
    };
    let kind = if counts { ActKind::Approve } else { ActKind::Propose };
    let deed = Deed {
        drift: target.drift(),
        endpoints: approval.listen.iter().map(ToString::to_string).collect(),
        old,
        new: Some(&approval),
        reason: approval.reason.clone(),
        ticket: options.ticket.clone(),
        counts: Some(counts),
        away: options.inventory.is_some(),
        retired: (counts && approval.signature.is_some()).then(|| approval.serial - 1),
        revision: Some(policy.baseline.revision().to_owned()),
        ..Deed::of(kind, approver)
    };
    acts::write(&judgement.paths, &judgement.policy.host, file, &text, deed)?;
    say(judgement, &policy, &target, &approval, &path);
    judge_by(judgement, texts, policy);
    Ok(Some(approval.id))
}

/// Says so, where an approval came meanwhile: this run's own or somebody else's.
fn is_covered(judgement: &Judgement, id: &str) -> bool {
    let by = target::covered_by(judgement, id);
    if let Some(by) = &by {
        say::done(format_args!(
            "`{id}` is covered by approval `{by}` meanwhile: nothing was written for it."
        ));
    }
    by.is_some()
}

/// Somebody else may have written to the baseline since it was read, before the lock was ours.
fn look_again(judgement: &mut Judgement) -> anyhow::Result<()> {
    let texts = judgement.paths.sources.read()?;
    if texts == judgement.texts {
        return Ok(());
    }
    let texts = texts.context("the baseline is gone since it was read")?;
    let baseline = judge::parsed(&texts, &judgement.policy.trust)?;
    let policy = Policy { baseline, ..judgement.policy.clone() };
    judge_by(judgement, texts, policy);
    Ok(())
}

fn judge_by(judgement: &mut Judgement, texts: Vec<SourceText>, policy: Policy) {
    (judgement.texts, judgement.policy) = (Some(texts), policy);
    let Judgement { inventory, policy, accounts, now, .. } = &*judgement;
    judgement.assessment = assess(inventory, policy, accounts, *now);
}

fn path_for(judgement: &Judgement, target: &Target, options: &ApproveOptions) -> anyhow::Result<PathBuf> {
    let sources = &judgement.paths.sources;
    let named = options.file.clone();
    let path = match target {
        // It stays where it stands.
        Target::Standing(approval) => {
            let texts = judgement.texts.iter().flatten();
            let holds = texts.filter(|source| edit::holds(source, &approval.id));
            let path = holds.map(|source| source.path.clone()).next();
            let path = path.with_context(|| format!("no file holds the approval `{}`", approval.id))?;
            if named.is_some_and(|named| sources.spelled(&named).as_ref() != Some(&path)) {
                bail!(
                    "approval `{}` stands in {}: say --file {}, and for a checkout --inventory FILE as well",
                    approval.id,
                    path.display(),
                    path.display()
                );
            }
            path
        }
        Target::New(..) => {
            named.or_else(|| sources.local_file()).context("no file of a baseline is named")?
        }
    };
    let unread = || {
        format!(
            "{}: nothing reads that file: name one of the baseline, or add it with --baseline",
            path.display()
        )
    };
    sources.spelled(&path).with_context(unread)
}

/// `baseline.d` need not be there yet.
fn make_folder(path: &Path) -> anyhow::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(folder);
    made.with_context(|| format!("{}: cannot be made", folder.display()))
}

/// What is to be signed.
fn draft(
    judgement: &Judgement,
    target: &Target,
    approver: &Approver,
    path: &Path,
    options: &ApproveOptions,
) -> anyhow::Result<Approval> {
    let Judgement { inventory, policy, accounts, .. } = judgement;
    let at = SystemTime::now();
    let expires = expiry(judgement, at, path, options)?;
    let mut approval = match target {
        Target::New(judged, _) => {
            let hosts = options.hosts.iter().map(|host| HostPattern::new(host)).collect::<Result<_, _>>();
            let request = Request {
                reason: options.reason.clone().context("--reason must say why: an auditor will read it")?,
                by: approver.name.clone(),
                at,
                expires,
                hosts: hosts.map_err(|wrong| anyhow!("--hosts: {wrong}"))?,
                id: options.name.clone(),
            };
            propose(judged, inventory, &policy.baseline, accounts, request)?
        }
        Target::Standing(standing) => {
            if !options.hosts.is_empty() {
                bail!(
                    "approval `{}` stands in the baseline, and only its signature, dates and reason are written anew: leave \
                     --hosts out",
                    standing.id
                );
            }
            let reason = options.reason.clone().or_else(|| standing.reason.clone());
            Approval {
                id: options.name.clone().unwrap_or_else(|| standing.id.clone()),
                reason: Some(reason.context("--reason must say why: an auditor will read it")?),
                by: Some(approver.name.clone()),
                at: Some(When::instant(at)),
                expires: match options.lifetime {
                    Some(_) => expires,
                    None => standing.expires.filter(|_| !is_over(standing, judgement)).or(expires),
                },
                signature: None,
                countersigned: Vec::new(),
                ..Approval::clone(standing)
            }
        }
    };
    // That of an older decision is not this one's.
    if options.ticket.is_some() || options.reason.is_some() {
        approval.ticket.clone_from(&options.ticket);
    }
    approval.serial = policy.baseline.next_serial(&approval, &policy.trust);
    if approval.serial > HIGHEST_SERIAL {
        bail!(
            "approval `{0}` was revoked up to serial {HIGHEST_SERIAL}, the last there can be: choose another name with --name, \
             as in `--name {0}-2`",
            approval.id
        );
    }
    Ok(approval)
}

/// What is in force must not fall for want of a second signature under its renewal.
fn keep_in_force(
    judgement: &Judgement,
    target: &Target,
    approval: &Approval,
    counts: bool,
) -> anyhow::Result<()> {
    let Target::Standing(old) = target else { return Ok(()) };
    let standing = judgement.policy.baseline.standing(&old.id);
    let is_in_force =
        standing.is_some_and(|standing| standing.distrust.is_none()) && !is_over(old, judgement);
    if is_in_force && !counts && old.id == approval.id {
        bail!(
            "nothing was written: approval `{0}` is in force, and signed anew it would wait for another approver. Write the \
             renewal beside it with --name, as in `portledger approve {0} --name {0}-2`; revoke `{0}` when that is countersigned",
            old.id
        );
    }
    Ok(())
}

/// What is signed, before it is.
pub(crate) fn tell_text(approval: &Approval) {
    let text = baseline::canonical(approval);
    let lines = text.lines().skip(1).map(|line| format!("  {line}")).collect::<Vec<_>>();
    say::aside(format_args!("Signing approval `{}`:\n{}", approval.id, lines.join("\n")));
}

fn is_over(approval: &Approval, judgement: &Judgement) -> bool {
    let now = jiff::Timestamp::try_from(judgement.now).unwrap_or(jiff::Timestamp::MAX);
    approval.is_expired(now, &judgement.policy.trust.time_zone)
}

fn expiry(
    judgement: &Judgement,
    now: SystemTime,
    path: &Path,
    options: &ApproveOptions,
) -> anyhow::Result<Option<When>> {
    let local = judgement.paths.sources.is_local(path).then_some(judgement.local_approvals);
    let lifetime = match options.lifetime {
        Some(Lifetime::Ever) => return Ok(None),
        Some(Lifetime::For(lifetime)) => Some(lifetime),
        None => local,
    };
    let Some(lifetime) = lifetime else { return Ok(None) };
    let end = now.checked_add(lifetime).context("--for: that is beyond the calendar")?;
    // A day is what people mean by days and weeks: they are reminded in the morning of a working day.
    let day = jiff::Timestamp::try_from(end)?.to_zoned(judgement.policy.trust.time_zone.clone()).date();
    let is_days = lifetime.as_secs() >= 86_400;
    Ok(Some(if is_days { When::Date(day) } else { When::instant(end) }))
}

/// The set with the new text, which must be read by the next run, and what is judged by it.
fn after(judgement: &Judgement, path: &Path, text: &str) -> anyhow::Result<(Vec<SourceText>, Policy)> {
    let mut texts = judgement.texts.clone().unwrap_or_default();
    let changed = SourceText { path: path.to_owned(), text: text.to_owned() };
    match texts.iter_mut().find(|source| source.path == path) {
        Some(source) => *source = changed,
        None => texts.push(changed),
    }
    let policy = &judgement.policy;
    let baseline = judge::parsed(&texts, &policy.trust).context("nothing was written, because afterwards")?;
    Ok((texts, Policy { baseline, ..policy.clone() }))
}

/// Whether it counts afterwards, or waits for others to sign it. Nothing is written that does neither.
fn check(
    judgement: &Judgement,
    policy: &Policy,
    target: &Target,
    approval: &Approval,
    path: &Path,
) -> anyhow::Result<bool> {
    let standing = policy.baseline.standing(&approval.id);
    let waits = match standing.and_then(|standing| standing.distrust.as_ref()) {
        None => false,
        Some(Distrust::Waits { why: None, .. }) => true,
        Some(Distrust::Unsigned { .. }) if approval.signature.is_none() => true,
        Some(other) => bail!("nothing was written: {other}"),
    };
    let Target::New(judged, _) = target else { return Ok(!waits) };
    let Judgement { inventory, accounts, now, .. } = judgement;
    let after = assess(inventory, policy, accounts, *now);
    let verdict = after.services.iter().find(|other| other.service.id == judged.service.id);
    match verdict.map(|judged| &judged.verdict) {
        Some(Verdict::Approved(_)) => Ok(true),
        // A program that was replaced on disk stays a drift until it is restarted.
        Some(Verdict::Drift(finding)) if finding.kind == DriftKind::Outdated => Ok(true),
        Some(Verdict::Drift(finding)) if waits && is_untrusted(finding) => Ok(false),
        _ => bail!(
            "nothing was written: in {} the approval `{}` would not hold here; look at its hosts, at [defaults] of the \
             file and at the groups of this host",
            path.display(),
            approval.id
        ),
    }
}

fn is_untrusted(finding: &Finding) -> bool {
    finding.kind == DriftKind::Untrusted || finding.also.contains(&DriftKind::Untrusted)
}

fn say(judgement: &Judgement, policy: &Policy, target: &Target, approval: &Approval, path: &Path) {
    let signed = match (&approval.signature, policy.trust.signatures) {
        (Some(_), _) => format!(", signed by {}", approval.by.as_deref().unwrap_or_default()),
        (None, _) => String::new(),
    };
    let until = approval.expires.map(|expires| format!(", until {expires}")).unwrap_or_default();
    say::done(format_args!("{}: approval `{}` written{signed}{until}.", path.display(), approval.id));
    if let Some(distrust) = policy.baseline.standing(&approval.id).and_then(|known| known.distrust.as_ref()) {
        say::aside(format_args!("It does not count yet: {distrust}."));
    } else if approval.signature.is_none() && policy.trust.signatures == Signatures::Recorded {
        say::aside(
            "It is not signed: the name in it proves nothing. docs/approvals.md tells how approvers sign with their SSH keys.",
        );
    }
    if judgement.paths.sources.is_local(path) && approval.expires.is_some() {
        say::aside(
            "It is this host's own and ends by itself: put it into the baseline that your hosts share, or say --for never.",
        );
    }
    if let Target::New(judged, finding) = target {
        if let Some(old) = finding.approval.as_ref().filter(|_| finding.kind == DriftKind::Expired) {
            say::aside(format_args!(
                "Approval `{old}` stays as it is, expired: what else it spoke of needs `portledger approve {old} --reason TEXT`, or a \
                 later `expires` there."
            ));
        }
        let listeners = judged.service.listeners.iter().map(|place| &judgement.inventory.listeners[*place]);
        if listeners.into_iter().any(|listener| may_be_kernels(listener)) {
            say::aside(
                "The kernel may have chosen its port: if it is another after a restart, write `kernel` in place of the number.",
            );
        }
    }
}

/// The kernel may have chosen the port.
pub(crate) fn may_be_kernels(listener: &Listener) -> bool {
    listener.port_choice.may_be_kernel()
}
