use std::path::{Path, PathBuf};

use anyhow::bail;
use baseline::{ReadErrorKind, SourceText, Sources, read_trusted};

use crate::arguments::Shared;
use crate::paths::{Paths, trusted_owner};
use crate::say::aside;

/// The files of a baseline where they are worked on: a checkout, which may belong to anybody, or what is installed.
pub(crate) struct Repository {
    pub(crate) sources: Sources,
    /// What it is called where it is not there.
    named: PathBuf,
}

impl Repository {
    /// Where nobody names one: what `--baseline` names, else that of the current folder, else the installed one.
    pub(crate) fn found(shared: &Shared) -> anyhow::Result<Self> {
        let here = Path::new("");
        let is_here = here.join("baseline.toml").exists() || here.join("baseline.d").is_dir();
        if shared.baseline.is_empty() && is_here {
            return Ok(Repository::of_folder(here));
        }
        let sources = Paths::of(shared)?.sources;
        let sources = match shared.baseline.is_empty() {
            true => sources.installed_by_anybody(),
            false => sources.of_anybody(),
        };
        let named = sources.default_file().map(Path::to_owned).unwrap_or_default();
        Ok(Repository { sources, named })
    }

    /// `baseline.toml` and `baseline.d/*.toml` of a folder.
    pub(crate) fn of_folder(folder: &Path) -> Self {
        let sources = Sources::of_folder(folder, trusted_owner()).of_anybody();
        Repository { sources, named: folder.join("baseline.toml") }
    }

    /// What the paths name: each folder a baseline of its own, all files together one.
    pub(crate) fn named(shared: &Shared, paths: &[PathBuf]) -> anyhow::Result<Vec<Self>> {
        if paths.is_empty() {
            return Ok(vec![Repository::found(shared)?]);
        }
        let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) =
            paths.iter().cloned().partition(|path| path.is_dir());
        let mut all: Vec<Repository> = folders.iter().map(|folder| Repository::of_folder(folder)).collect();
        if let Some(first) = files.first() {
            let named = first.clone();
            let sources = Sources::named(files, trusted_owner()).of_anybody();
            all.push(Repository { sources, named });
        }
        Ok(all)
    }

    /// The one that a file is written into: of the folder that it stands in or below, where it is called as its files
    /// are.
    pub(crate) fn around(file: &Path) -> Option<Self> {
        let folder = file.parent()?;
        let is_part = folder.file_name().is_some_and(|name| name == "baseline.d");
        match file.file_name() {
            _ if is_part => Some(Repository::of_folder(folder.parent()?)),
            Some(name) if name == "baseline.toml" => Some(Repository::of_folder(folder)),
            _ => None,
        }
    }

    /// Its texts. That there is none is an error.
    pub(crate) fn read(&self) -> anyhow::Result<Vec<SourceText>> {
        match self.sources.read()? {
            Some(texts) => Ok(texts),
            None => bail!(
                "{}: there is no baseline: name a folder with baseline.toml or baseline.d/*.toml, or its files",
                baseline::shown_path(&self.named)
            ),
        }
    }
}

/// Says which of the files no host would believe as they are.
pub(crate) fn tell_untrusted(texts: &[SourceText]) {
    let is_untrusted = |source: &&SourceText| {
        let refused = read_trusted(&source.path, trusted_owner()).err().map(|error| error.kind);
        matches!(refused, Some(ReadErrorKind::Owner { .. } | ReadErrorKind::Mode { .. }))
    };
    let untrusted: Vec<&SourceText> = texts.iter().filter(is_untrusted).collect();
    if let Some(first) = untrusted.first() {
        let path = baseline::shown_path(&first.path);
        let more = match untrusted.len() {
            1 => String::new(),
            all => format!(" and {} more", all - 1),
        };
        aside(format_args!(
            "portledger: others can write to {path}{more}: install them as root's, writable to root alone, or hosts \
             refuse them"
        ));
    }
}
