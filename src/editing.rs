use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use baseline::{Approval, LockedFile, Policy, SourceText, Sources, edit};
use exporter::daemon;

use crate::acts::refuse_foreign_memory;
use crate::arguments::Shared;
use crate::baseline::Repository;
use crate::config::Config;
use crate::judge;
use crate::paths::{Paths, trusted_owner};
use crate::say::aside;

/// How long another run of ours that edits the baseline is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// The baseline as it stands, for verbs that need not look at what listens.
pub(crate) struct Standing {
    pub(crate) paths: Paths,
    pub(crate) policy: Policy,
    pub(crate) texts: Vec<SourceText>,
    /// It is a checkout's, which may belong to anybody, and by which no host is judged as it stands there.
    pub(crate) is_checkout: bool,
    /// The file that was named.
    named: Option<PathBuf>,
}

impl Standing {
    /// The installed baseline, or that of the checkout which this file is part of.
    pub(crate) fn read(shared: &Shared, file: Option<&Path>) -> anyhow::Result<Self> {
        let mut paths = Paths::of(shared)?;
        let mut named = file.map(Path::to_owned);
        let own = file.map(|file| Paths::own(shared, file)).transpose()?.flatten();
        let is_checkout = file.is_some() && own.is_none();
        if let Some((sources, path)) = own {
            (paths.sources, named) = (sources, Some(path));
        } else if let Some(file) = file {
            let around = Repository::around(file).map(|around| around.sources);
            let alone = || Sources::named(vec![file.to_owned()], trusted_owner()).of_anybody();
            paths.sources = around.unwrap_or_else(alone);
        }
        refuse_foreign_memory(&paths)?;
        let config = Config::load(&paths)?;
        let Some(texts) = paths.sources.read()? else {
            bail!("there is no baseline, so nothing is approved");
        };
        let policy = judge::policy_over(&paths, &config, &texts)?;
        Ok(Standing { paths, policy, texts, is_checkout, named })
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
        let path = source.path.clone();
        if let Some(named) = &self.named
            && self.paths.sources.spelled(named).as_ref() != Some(&path)
        {
            bail!("approval `{id}` stands in {}: say --file {}", path.display(), path.display());
        }
        Ok(path)
    }

    /// Locks one of the files.
    pub(crate) fn lock(&self, path: &Path) -> anyhow::Result<LockedFile> {
        Ok(match self.is_checkout {
            true => LockedFile::open_of_anybody(path, PATIENCE)?,
            false => LockedFile::open(path, trusted_owner(), PATIENCE)?,
        })
    }

    /// Has the daemon of this host read it again, where it is this host's.
    pub(crate) fn tell_daemon(&self) {
        if !self.is_checkout {
            tell_daemon(&self.paths);
        }
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
