use std::path::{Path, PathBuf};

use anyhow::Context;
use baseline::Sources;

use crate::arguments::Shared;

/// Where things stand on this host for this user.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// The configuration; it need not exist unless it was named.
    pub(crate) config: PathBuf,
    /// True when the configuration was named on the command line.
    pub(crate) config_was_named: bool,
    pub(crate) sources: Sources,
    pub(crate) state: PathBuf,
}

impl Paths {
    pub(crate) fn of(shared: &Shared) -> anyhow::Result<Self> {
        let root = rustix::process::geteuid().is_root();
        let home = |variable: &str, below: &str| {
            xdg(variable, below)
                .with_context(|| format!("neither {variable} nor HOME is set to an absolute path"))
        };
        let folder = match &shared.config {
            Some(file) => file.parent().unwrap_or(Path::new("")).to_owned(),
            None if root => PathBuf::from("/etc/portledger"),
            None => home("XDG_CONFIG_HOME", ".config")?,
        };
        let state = match &shared.state {
            Some(folder) => folder.clone(),
            None if root => PathBuf::from("/var/lib/portledger"),
            None => home("XDG_STATE_HOME", ".local/state")?,
        };
        let sources = if shared.baseline.is_empty() {
            Sources::of_folder(&folder, trusted_owner())
        } else {
            Sources::named(shared.baseline.clone(), trusted_owner())
        };
        let config = shared.config.clone().unwrap_or_else(|| folder.join("portledger.toml"));
        Ok(Paths { config, config_was_named: shared.config.is_some(), sources, state })
    }

    /// The set that a file is one of, where this host is judged by it, and what that set calls it. A path may lead there
    /// by links.
    pub(crate) fn own(shared: &Shared, file: &Path) -> anyhow::Result<Option<(Sources, PathBuf)>> {
        let installed = Shared { config: None, baseline: Vec::new(), state: shared.state.clone() };
        let folder = shared.config.as_deref().map(|config| config.parent().unwrap_or(Path::new("")));
        // Whoever works on a checkout names its configuration from within it, or its files, and no state.
        let may_be_checkout = folder == Some(Path::new("")) || !shared.baseline.is_empty();
        let named = (shared.state.is_some() || !may_be_checkout).then_some(shared);
        for shared in named.into_iter().chain([&installed]) {
            // For a user without a home nothing is installed.
            let Ok(Paths { sources, .. }) = Paths::of(shared) else { continue };
            let reached = sources.reached(file).with_context(|| file.display().to_string())?;
            if let Some(path) = reached {
                return Ok(Some((sources, path)));
            }
        }
        Ok(None)
    }

    /// As [`Paths::of`], each a path that means the same from every folder.
    pub(crate) fn absolute(shared: &Shared) -> anyhow::Result<Self> {
        let absolute = |path: &PathBuf| std::path::absolute(path).context("the current folder is gone");
        let baseline = shared.baseline.iter().map(absolute).collect::<anyhow::Result<_>>()?;
        let config = shared.config.as_ref().map(absolute).transpose()?;
        let state = shared.state.as_ref().map(absolute).transpose()?;
        Paths::of(&Shared { config, baseline, state })
    }
}

/// A folder of ours as the XDG base directory specification has it: relative values do not count.
fn xdg(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute(variable).or_else(|| Some(absolute("HOME")?.join(below_home)))?;
    Some(base.join("portledger"))
}

/// The one user besides root whose files are believed: the one who runs us.
pub(crate) fn trusted_owner() -> u32 {
    rustix::process::geteuid().as_raw()
}
