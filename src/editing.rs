use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use baseline::{Approval, Policy, SourceText, edit};
use exporter::daemon;

use crate::arguments::Shared;
use crate::config::Config;
use crate::judge;
use crate::paths::Paths;
use crate::say::aside;

/// How long another run of ours that edits the baseline is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// The baseline as it stands, for verbs that need not look at what listens.
pub(crate) struct Standing {
    pub(crate) paths: Paths,
    pub(crate) policy: Policy,
    pub(crate) texts: Vec<SourceText>,
}

impl Standing {
    pub(crate) fn read(shared: &Shared) -> anyhow::Result<Self> {
        let paths = Paths::of(shared)?;
        let config = Config::load(&paths)?;
        let Some(texts) = paths.sources.read()? else {
            bail!("there is no baseline, so nothing is approved");
        };
        let policy = judge::policy_over(&paths, &config, &texts)?;
        Ok(Standing { paths, policy, texts })
    }

    pub(crate) fn approval(&self, id: &str) -> anyhow::Result<&Approval> {
        self.policy
            .baseline
            .approval(id)
            .with_context(|| format!("no approval has the id `{id}`; {}", self.known()))
    }

    /// The file that holds an approval.
    pub(crate) fn file_of(&self, id: &str) -> anyhow::Result<PathBuf> {
        let source = self.texts.iter().find(|source| edit::holds(source, id));
        let source =
            source.with_context(|| format!("no file holds the approval `{id}` as a [[approval]]"))?;
        Ok(source.path.clone())
    }

    /// The files, one of them changed.
    pub(crate) fn with(&self, changed: &SourceText) -> Vec<SourceText> {
        let or_changed =
            |other: &SourceText| if other.path == changed.path { changed.clone() } else { other.clone() };
        self.texts.iter().map(or_changed).collect()
    }

    fn known(&self) -> String {
        let ids: Vec<&str> =
            self.policy.baseline.approvals().iter().map(|approval| approval.id.as_str()).collect();
        match ids.len() {
            0 => "there is none".to_owned(),
            1..=KNOWN => format!("there are {}", ids.join(", ")),
            more => format!("there are {}, and {} more", ids[..KNOWN].join(", "), more - KNOWN),
        }
    }
}

/// More names are not read.
const KNOWN: usize = 20;

/// Has a running `serve` read the baseline again. What was written stands either way.
pub(crate) fn tell_daemon(paths: &Paths) {
    match daemon::reload_running(&paths.state) {
        Ok(Some(pid)) => aside(format_args!("Process {pid} serves, and reads it again.")),
        Ok(None) => {}
        Err(error) => aside(format_args!("portledger: a running `serve` was not told: {error}")),
    }
}
