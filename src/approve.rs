use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, anyhow, bail};
use baseline::{
    Approval, DriftKind, Finding, HostPattern, Judged, LockedFile, Policy, Request, SourceText, Verdict,
    When, assess, edit, propose,
};
use inventory::Listener;

use crate::arguments::{ApproveOptions, Shared};
use crate::editing::{PATIENCE, tell_daemon};
use crate::judge::{self, Judgement};
use crate::outcome::Outcome;
use crate::paths::trusted_owner;
use crate::say;

/// Shorter beginnings of an id are no id.
const SHORTEST_ID: usize = 11;

/// Looks again, and writes an approval for a drift that is still as its id says.
pub(crate) fn run(shared: &Shared, options: &ApproveOptions) -> anyhow::Result<Outcome> {
    if options.reason.trim().is_empty() {
        bail!("--reason must say why: an auditor will read it");
    }
    let judgement = judge::once(shared)?;
    let path = options.file.as_deref().or(judgement.paths.sources.default_file());
    let path = path.context("no file of a baseline is named")?;
    if !judgement.paths.sources.would_read(path) {
        bail!(
            "{}: nothing reads that file: name one of the baseline, or add it with --baseline",
            path.display()
        );
    }
    let (judged, finding) = find(&judgement, &options.id)?;
    let file = LockedFile::open(path, trusted_owner(), PATIENCE)?;
    let before = file.source();
    let (approval, text) = edited(&judgement, judged, options, &before)?;
    check(&judgement, judged, &approval, path, &text)?;
    file.replace(&text)?;
    say::out(format_args!("{}: approval `{}` written.", path.display(), approval.id))?;
    if let Some(old) = finding.approval.as_ref().filter(|_| finding.kind == DriftKind::Expired) {
        say::aside(format_args!(
            "Approval `{old}` stays as it is, expired: what else it spoke of needs an approval of its own, or a later \
             `expires` there."
        ));
    }
    if judged.service.listeners.iter().any(|place| may_be_kernels(&judgement.inventory.listeners[*place])) {
        say::aside(
            "The kernel may have chosen its port: if it is another after a restart, write `kernel` in place of the number.",
        );
    }
    tell_daemon(&judgement.paths);
    Ok(Outcome::Clean)
}

/// The one drift of this id, or of one that begins so, among what is there now.
fn find<'a>(judgement: &'a Judgement, id: &str) -> anyhow::Result<(&'a Judged, &'a Finding)> {
    let assessment = &judgement.assessment;
    let is_meant = |known: &str| known == id || known.starts_with(id) && id.len() >= SHORTEST_ID;
    let drifting = assessment.services.iter().filter_map(|judged| match &judged.verdict {
        Verdict::Drift(finding) => Some((judged, &**finding)),
        _ => None,
    });
    let found: Vec<_> = drifting
        .filter(|(judged, finding)| is_meant(finding.id.as_str()) || is_meant(judged.service.id.as_str()))
        .collect();
    match found[..] {
        [one] => return Ok(one),
        [] => {}
        _ => bail!(
            "`{id}` is the id of {} services; approve them one by one: {}",
            found.len(),
            found.iter().map(|(judged, _)| judged.service.id.as_str()).collect::<Vec<_>>().join(", ")
        ),
    }
    if assessment.absent.iter().any(|finding| finding.id.as_str() == id) {
        bail!(
            "`{id}` is missing, not unapproved: start it, or withdraw its approval with `portledger revoke {id}`"
        );
    }
    let known = assessment.services.iter().find(|judged| is_meant(judged.service.id.as_str()));
    match known.map(|judged| &judged.verdict) {
        Some(Verdict::Approved(by) | Verdict::Learned(by)) => {
            bail!("`{id}` is covered by approval `{by}` already")
        }
        Some(_) => bail!("`{id}` is not judged, so there is nothing to approve: a [[scope]] decides what is"),
        None => bail!(
            "no drift has the id `{id}` now: it is gone, or it is no longer what was shown (another program, user, \
             address or unit gives another id); see `portledger diff`"
        ),
    }
}

/// The new text of the file. One that has expired stays as it is: it may speak of more than what is approved here.
fn edited(
    judgement: &Judgement,
    judged: &Judged,
    options: &ApproveOptions,
    before: &SourceText,
) -> anyhow::Result<(Approval, String)> {
    let hosts = options.hosts.iter().map(|host| HostPattern::new(host)).collect::<Result<_, _>>();
    let request = Request {
        reason: options.reason.clone(),
        by: who(),
        at: judgement.now,
        expires: expiry(judgement.now, options)?,
        hosts: hosts.map_err(|wrong| anyhow!("--hosts: {wrong}"))?,
        id: options.name.clone(),
    };
    let Judgement { inventory, policy, accounts, .. } = judgement;
    let mut approval = propose(judged, inventory, &policy.baseline, accounts, request)?;
    approval.ticket.clone_from(&options.ticket);
    let text = edit::add(before, &approval)?;
    Ok((approval, text))
}

fn expiry(now: SystemTime, options: &ApproveOptions) -> anyhow::Result<Option<When>> {
    let Some(lifetime) = options.lifetime else { return Ok(None) };
    let end = now.checked_add(lifetime).context("--for: that is beyond the calendar")?;
    // A day is what people mean by days and weeks: they are reminded in the morning of a working day.
    let day = jiff::Timestamp::try_from(end)?.to_zoned(jiff::tz::TimeZone::system()).date();
    let is_days = lifetime.as_secs() >= 86_400;
    Ok(Some(if is_days { When::Date(day) } else { When::instant(end) }))
}

/// What is written must be read by the next run and approve what was asked for, and nothing is written that does not.
fn check(
    judgement: &Judgement,
    judged: &Judged,
    approval: &Approval,
    path: &Path,
    text: &str,
) -> anyhow::Result<()> {
    let mut texts = judgement.texts.clone().unwrap_or_default();
    let changed = SourceText { path: path.to_owned(), text: text.to_owned() };
    match texts.iter_mut().find(|source| source.path == path) {
        Some(source) => *source = changed,
        None => texts.push(changed),
    }
    let baseline = judge::parsed(&texts).context("nothing was written, because afterwards")?;
    let Judgement { inventory, policy, accounts, now, .. } = judgement;
    let policy = Policy { baseline, ..policy.clone() };
    let after = assess(inventory, &policy, accounts, *now);
    let verdict = after.services.iter().find(|other| other.service.id == judged.service.id);
    match verdict.map(|judged| &judged.verdict) {
        Some(Verdict::Approved(_)) => Ok(()),
        // A program that was replaced on disk stays a drift until it is restarted.
        Some(Verdict::Drift(finding)) if finding.kind == DriftKind::Outdated => Ok(()),
        _ => bail!(
            "nothing was written: in {} the approval `{}` would not hold here; look at its hosts, at [defaults] of the \
             file and at the groups of this host",
            path.display(),
            approval.id
        ),
    }
}

/// The kernel may have chosen the port.
pub(crate) fn may_be_kernels(listener: &Listener) -> bool {
    listener.port_choice.may_be_kernel()
}

/// Who approves: whoever called sudo, else the user. It proves nothing, and says who to ask.
fn who() -> String {
    let by_sudo = std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty());
    let me = rustix::process::getuid().as_raw();
    by_sudo.or_else(|| exporter::user_name(me)).unwrap_or_else(|| format!("uid {me}"))
}
