use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use baseline::When;
use ledger::bundle::{self, BundledLog, Manifest, Source};
use ledger::{HostKey, segments};

use crate::acts;
use crate::audit::{EVENTS_KEY, Kept, LEDGER_KEY, Log, Place, STATE, Soundness};
use crate::owned;
use crate::say::aside;

/// What is to be put into a bundle.
#[derive(Debug)]
pub(crate) struct Parcel {
    key: HostKey,
    logs: Vec<BundledLog>,
    sources: Vec<Source>,
    /// A log in it is broken.
    pub(crate) broken: bool,
}

impl Parcel {
    /// The logs of a state folder and the public keys that they are verified with. A broken log comes as it is: it is
    /// evidence.
    pub(crate) fn of_logs(state: &Path) -> anyhow::Result<Self> {
        // Made first where there is none: its public half is one of the files.
        acts::make_folder(state)?;
        owned::check_ledger(state)?;
        let key = HostKey::load_or_create(&state.join(acts::KEY))?;
        let mut parcel = Parcel { key, logs: Vec::new(), sources: Vec::new(), broken: false };
        let place = Place::of_state(state)?;
        // Before the ledger, which a writer may be at.
        let mut kept = Some(Kept::head_of(&place));
        parcel.add(&state.join(acts::HEAD), &format!("{STATE}/{}", acts::HEAD))?;
        for log in place.logs() {
            parcel.add_log(&log, kept.take_if(|_| log.name == acts::LEDGER))?;
        }
        for name in [LEDGER_KEY, EVENTS_KEY] {
            parcel.add(&state.join(name), &format!("{STATE}/{name}"))?;
        }
        Ok(parcel)
    }

    /// What the ledger lacks is said; the bundle tells it to who verifies it, by the head in it.
    fn add_log(&mut self, log: &Log, kept: Option<Kept>) -> anyhow::Result<()> {
        let soundness = log.verify()?;
        let lost = kept.map(|kept| kept.lost(log, &soundness)).transpose()?.flatten();
        lost.iter().for_each(aside);
        let is_sound = matches!(soundness, Soundness::Sound(_));
        self.broken |= !is_sound || lost.is_some();
        let bundled = bundle::log(&log.folder, log.name, &format!("{STATE}/{}", log.name));
        match bundled.ok().filter(|_| is_sound) {
            Some((told, sources)) => {
                // The others are signed by another key than the bundle.
                if log.name == acts::LEDGER {
                    self.logs.push(told);
                }
                self.sources.extend(sources);
                Ok(())
            }
            None => self.add_broken(&log.folder, log.name),
        }
    }

    fn add_broken(&mut self, state: &Path, name: &str) -> anyhow::Result<()> {
        for first in segments(state, name)? {
            let file = format!("{name}.jsonl.{first}");
            self.add(&state.join(&file), &format!("{STATE}/{file}"))?;
        }
        let file = format!("{name}.jsonl");
        self.add(&state.join(&file), &format!("{STATE}/{file}"))
    }

    /// A file, where it is there.
    pub(crate) fn add(&mut self, from: &Path, path: &str) -> anyhow::Result<()> {
        let source = Source::open(from, path).with_context(|| from.display().to_string())?;
        self.sources.extend(source);
        Ok(())
    }

    /// Writes it to a file that is not there yet, signed with the host's key.
    pub(crate) fn write(mut self, to: &Path, host: &str) -> anyhow::Result<Manifest> {
        let new = New::create(to)?;
        let made_at = When::instant(std::time::SystemTime::now()).to_string();
        let mut file = BufWriter::new(&new.file);
        let logs = std::mem::take(&mut self.logs);
        let written = bundle::write(&mut file, host, &made_at, logs, &mut self.sources, &self.key);
        let manifest = written.with_context(|| to.display().to_string())?;
        file.flush().with_context(|| to.display().to_string())?;
        drop(file);
        new.keep()?;
        Ok(manifest)
    }
}

/// A file that is written beside its place; gone again unless it is kept.
struct New {
    file: File,
    beside: PathBuf,
    to: PathBuf,
    kept: bool,
}

impl New {
    fn create(to: &Path) -> anyhow::Result<Self> {
        if to.symlink_metadata().is_ok() {
            bail!("{}: it is there already, and nothing is written over it", to.display());
        }
        let name = to.file_name().with_context(|| format!("{}: it names no file", to.display()))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}", std::process::id()));
        let beside = to.with_file_name(hidden);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside);
        let file = file.with_context(|| format!("{}: cannot be written", beside.display()))?;
        Ok(New { file, beside, to: to.to_owned(), kept: false })
    }

    /// Whole or not at all, and over nothing that came in between.
    fn keep(mut self) -> anyhow::Result<()> {
        let to = self.to.clone();
        let failed = || format!("{}: cannot be written", to.display());
        self.file.sync_all().with_context(failed)?;
        fs::hard_link(&self.beside, &self.to).with_context(failed)?;
        self.kept = true;
        fs::remove_file(&self.beside).with_context(failed)?;
        let folder = self.to.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all()).with_context(failed)
    }
}

impl Drop for New {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = fs::remove_file(&self.beside)
        {
            aside(format_args!("portledger: {} is left behind: {error}", self.beside.display()));
        }
    }
}
