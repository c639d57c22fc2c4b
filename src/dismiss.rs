use std::collections::{BTreeSet, HashSet};

use anyhow::{Context, bail};
use baseline::{AddressWord, Drift, Register, Subject, is_meant};
use exporter::{id_together, is_of_many, open_drifts};
use inventory::RawText;
use jiff::Timestamp;
use ledger::ActKind;

use crate::acts::{self, Deed};
use crate::arguments::{DismissOptions, Shared};
use crate::editing::tell_daemon;
use crate::judge::{self, Judgement};
use crate::outcome::Outcome;
use crate::say;
use crate::signer::Approver;

/// Records that drift which is gone may be let be; `serve` closes it when it reads that.
pub(crate) fn run(shared: &Shared, options: &DismissOptions) -> anyhow::Result<Outcome> {
    if options.reason.trim().is_empty() {
        bail!("--reason must say why: an auditor will read it");
    }
    // What `serve` wrote down says what is gone; whether it is there is looked at.
    let judgement = judge::once(shared)?;
    let register = open_drifts(&judgement.paths.state)?;
    let register = register
        .context("nothing is known to be gone: `portledger serve` keeps that, and has not run here")?;
    let mut recorded = 0;
    let done =
        options.id.iter().try_for_each(|id| dismiss(&judgement, &register, id, options, &mut recorded));
    // What was recorded counts, also where more could not be.
    if recorded > 0 {
        tell_daemon(&judgement.paths);
    }
    done.map(|()| Outcome::Clean)
}

fn dismiss(
    judgement: &Judgement,
    register: &Register,
    id: &str,
    options: &DismissOptions,
    recorded: &mut usize,
) -> anyhow::Result<()> {
    let drifts = match is_of_many(id) {
        true => gone_together(register, id)?,
        false => vec![gone(register, id)?],
    };
    let there: HashSet<_> = judgement.assessment.findings().map(|finding| &finding.id).collect();
    if let Some(drift) = drifts.iter().find(|drift| there.contains(drift.id())) {
        let id = drift.id();
        bail!("{id} is there again: `portledger diff` shows it; approve it, or end what listens");
    }
    for drift in &drifts {
        record(judgement, drift, options)?;
        *recorded += 1;
    }
    match drifts[..] {
        [drift] => say::done(format_args!("{} dismissed: it opens again if it comes back.", drift.id())),
        _ => say::done(format_args!("{id}: {} dismissed: each opens again if it comes back.", drifts.len())),
    }
    Ok(())
}

fn record(judgement: &Judgement, drift: &Drift, options: &DismissOptions) -> anyhow::Result<()> {
    let since = drift.gone_since.and_then(|since| Timestamp::try_from(since).ok());
    let subject = &drift.finding.subject;
    let deed = Deed {
        drift: Some(RawText::from(drift.id().as_str()).escaped()),
        endpoints: vec![endpoint(subject)],
        reason: Some(options.reason.clone()),
        ticket: options.ticket.clone(),
        revision: Some(judgement.policy.baseline.revision().to_owned()),
        gone_since: since.map(|since| since.to_string()),
        ..Deed::of(ActKind::Dismiss, &Approver::by_name())
    };
    acts::record(&judgement.paths, &judgement.policy.host, deed)
}

/// The one drift of this id, or of one that begins so, which is not there any more.
fn gone<'a>(register: &'a Register, id: &str) -> anyhow::Result<&'a Drift> {
    let is_meant = |drift: &&Drift| is_meant(drift.id().as_str(), id);
    let found: Vec<&Drift> = register.drifts().filter(is_meant).collect();
    match found[..] {
        [drift] if !drift.is_present() => Ok(drift),
        [drift] => bail!("{} is there, as far as `serve` knows: approve it, or end what listens", drift.id()),
        [] => bail!(
            "no drift of the id `{id}` is open, as far as `serve` wrote it down: `portledger diff` shows what is gone"
        ),
        _ => bail!("`{id}` is the beginning of {} ids: write more of it", found.len()),
    }
}

/// All that are told as one by this id. None of them may be there: whoever listens at another port each time is not done, and
/// of what is gone nobody would be told any more.
fn gone_together<'a>(register: &'a Register, id: &str) -> anyhow::Result<Vec<&'a Drift>> {
    let alike = register.drifts().map(|drift| (id_together(drift), drift));
    let found: Vec<(String, &Drift)> = alike.filter(|(known, _)| is_meant(known, id)).collect();
    let groups: BTreeSet<&String> = found.iter().map(|(known, _)| known).collect();
    if groups.len() > 1 {
        bail!("`{id}` is the beginning of {} ids: write more of it", groups.len());
    }
    let drifts: Vec<&Drift> = found.iter().map(|(_, drift)| *drift).collect();
    let present = drifts.iter().filter(|drift| drift.is_present()).count();
    match (drifts.len(), present) {
        (0, _) => bail!("no drift is open that is told as `{id}`: `portledger diff` shows what is gone"),
        (_, 0) => Ok(drifts),
        (all, _) => bail!(
            "{present} of the {all} that are told as {id} are there, as far as `serve` knows: end what listens; or dismiss what \
             is gone by the id of each, as `portledger diff` shows it"
        ),
    }
}

/// As a baseline writes it.
fn endpoint(subject: &Subject) -> String {
    let address = match subject.address {
        AddressWord::One(std::net::IpAddr::V6(address)) => format!("[{address}]"),
        other => other.to_string(),
    };
    format!("{}/{address}:{}", subject.protocol, subject.port)
}
