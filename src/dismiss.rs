use anyhow::{Context, bail};
use baseline::{AddressWord, Drift, Register, Subject, is_meant};
use exporter::open_drifts;
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
    for id in &options.id {
        dismiss(&judgement, &register, id, options)?;
    }
    tell_daemon(&judgement.paths);
    Ok(Outcome::Clean)
}

fn dismiss(
    judgement: &Judgement,
    register: &Register,
    id: &str,
    options: &DismissOptions,
) -> anyhow::Result<()> {
    let drift = gone(register, id)?;
    let id = drift.id();
    if judgement.assessment.findings().any(|finding| finding.id == *id) {
        bail!("{id} is there again: `portledger diff` shows it; approve it, or end what listens");
    }
    let since = drift.gone_since.and_then(|since| Timestamp::try_from(since).ok());
    let subject = &drift.finding.subject;
    let deed = Deed {
        drift: Some(RawText::from(id.as_str()).escaped()),
        endpoints: vec![endpoint(subject)],
        reason: Some(options.reason.clone()),
        ticket: options.ticket.clone(),
        revision: Some(judgement.policy.baseline.revision().to_owned()),
        gone_since: since.map(|since| since.to_string()),
        ..Deed::of(ActKind::Dismiss, &Approver::by_name())
    };
    acts::record(&judgement.paths, &judgement.policy.host, deed)?;
    say::done(format_args!("{id} dismissed: it opens again if it comes back."));
    Ok(())
}

/// The one drift of this id, or of one that begins so, which is not there any more.
fn gone<'a>(register: &'a Register, id: &str) -> anyhow::Result<&'a Drift> {
    let is_meant = |drift: &&Drift| is_meant(drift.id().as_str(), id);
    let found: Vec<&Drift> = register.drifts().filter(is_meant).collect();
    match found[..] {
        [drift] if !drift.is_present() => Ok(drift),
        [drift] => bail!("{} is there, as far as `serve` knows: approve it, or end what listens", drift.id()),
        [] => bail!("no drift of the id `{id}` is open: `portledger diff` shows what is gone"),
        _ => bail!("`{id}` is the beginning of {} ids: write more of it", found.len()),
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
