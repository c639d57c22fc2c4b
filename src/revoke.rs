use anyhow::{Context, bail};
use baseline::{Baseline, LockedFile, SourceText, edit};

use crate::arguments::{RevokeOptions, Shared};
use crate::editing::{PATIENCE, tell_daemon};
use crate::judge;
use crate::outcome::Outcome;
use crate::paths::{Paths, trusted_owner};
use crate::say;

/// Takes an approval out of the file that it stands in.
pub(crate) fn run(shared: &Shared, options: &RevokeOptions) -> anyhow::Result<Outcome> {
    let paths = Paths::of(shared)?;
    let id = &options.approval;
    let Some(texts) = paths.sources.read()? else { bail!("there is no baseline, so nothing is approved") };
    let parsed = judge::parsed(&texts)?;
    let holds_it = |source: &&SourceText| edit::remove(source, id).is_ok();
    let Some(source) = texts.iter().find(holds_it) else {
        bail!("no approval has the id `{id}`; {}", known_ids(&parsed));
    };
    let file = LockedFile::open(&source.path, trusted_owner(), PATIENCE)?;
    let text = edit::remove(&file.source(), id)?;
    let changed = SourceText { path: source.path.clone(), text: text.clone() };
    let after: Vec<SourceText> = texts
        .iter()
        .map(|other| if other.path == changed.path { changed.clone() } else { other.clone() })
        .collect();
    judge::parsed(&after).context("nothing was written, because afterwards")?;
    file.replace(&text)?;
    say::out(format_args!("{}: approval `{id}` withdrawn.", source.path.display()))?;
    tell_daemon(&paths);
    Ok(Outcome::Clean)
}

fn known_ids(baseline: &Baseline) -> String {
    let ids: Vec<&str> = baseline.approvals().iter().map(|approval| approval.id.as_str()).collect();
    if ids.is_empty() { "there is none".to_owned() } else { format!("there are {}", ids.join(", ")) }
}
