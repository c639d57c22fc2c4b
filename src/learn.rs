mod from;

use std::path::Path;

use anyhow::{Context, bail};
use baseline::{Baseline, Host, LockedFile};
use ledger::ActKind;

use crate::acts::{self, Deed};
use crate::arguments::{LearnOptions, Shared};
use crate::doctor;
use crate::editing::{PATIENCE, tell_daemon};
use crate::judge;
use crate::outcome::Outcome;
use crate::paths::{Paths, trusted_owner};
use crate::say;
use crate::signer::Approver;

/// Writes a baseline from what listens now. One that is there is never added to: what is new in it has to be approved.
pub(crate) fn run(shared: &Shared, options: &LearnOptions) -> anyhow::Result<Outcome> {
    if !options.from.is_empty() {
        return from::run(shared, options);
    }
    let judgement = judge::once(shared)?;
    let judge::Judgement { paths, policy, inventory, accounts, now, .. } = &judgement;
    let path = paths.sources.default_file().context("no file of a baseline is named")?;
    if judgement.has_baseline() && !options.stdout {
        bail!(
            "there is a baseline already, at {}: approve what is new with `portledger approve`, or see what learning \
             would add with `portledger learn --stdout`",
            path.display()
        );
    }
    let text = baseline::learn(inventory, policy, accounts, *now);
    if options.stdout {
        say::out(text.trim_end())?;
        judgement.tell_gaps();
        return Ok(Outcome::Clean);
    }
    let source = baseline::SourceText { path: path.to_owned(), text: text.clone() };
    let learned = judge::parsed(&[source], &policy.trust)?;
    if learned.approvals().is_empty() && judgement.assessment.findings().next().is_some() {
        judgement.tell_gaps();
        bail!(
            "nothing was written: of {} listeners none could be learned, for nobody that holds them was seen. {} Or look \
             at what would be written with `portledger learn --stdout`",
            inventory.listeners.len(),
            doctor::cure("learn")?
                .unwrap_or_else(|| "`portledger doctor` tells what was not seen.".to_owned())
        );
    }
    write_new(paths, &policy.host, path, &text, &learned)?;
    say::done(format_args!(
        "{}: {} approvals learned from {} listeners.\n\
         They count as learned, not as approved: read the file and give each entry a reason, then `portledger diff`.",
        path.display(),
        learned.approvals().len(),
        inventory.listeners.len()
    ));
    tell_daemon(paths);
    judgement.tell_gaps();
    Ok(Outcome::Clean)
}

/// Writes a file that must not be there, or be empty, and the folder that it stands in.
fn write_new(paths: &Paths, host: &Host, path: &Path, text: &str, learned: &Baseline) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        std::fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
    }
    let file = LockedFile::open(path, trusted_owner(), PATIENCE)?;
    if !file.source().text.is_empty() {
        bail!("{}: somebody wrote a baseline in the meantime", path.display());
    }
    let deed = Deed {
        endpoints: endpoints(learned),
        revision: Some(learned.revision().to_owned()),
        ..Deed::of(ActKind::Learn, &Approver::by_name())
    };
    acts::write(paths, host, file, text, deed)
}

/// What was learned, as far as a record should grow: the file itself is named in it with its hash.
fn endpoints(learned: &Baseline) -> Vec<String> {
    let all = learned.approvals().iter().flat_map(|approval| &approval.listen);
    all.map(ToString::to_string).take(RECORDED).collect()
}

pub(crate) const RECORDED: usize = 1000;
