use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use baseline::{WithdrawnError, keep_withdrawn, load_revoked, load_withdrawn, read_trusted};
use inventory::RawText;
use ledger::bundle::Manifest;
use ledger::{Head, HostKeys};
use sha2::{Digest, Sha256};

use super::files::{Owner, Target};
use crate::acts::LEDGER;
use crate::audit::{EVENTS_KEY, LEDGER_KEY, Log, Place, Scratch, Soundness};
use crate::backup::{PLACES, Places, REVOKED, STATE_FILES, WITHDRAWN};
use crate::config::Config;
use crate::paths::{Paths, trusted_owner};
use crate::trust::{revoked_path, signers_path};

/// A backup, unpacked and found as it should be.
pub(super) struct Archive {
    pub(super) manifest: Manifest,
    /// Of the file itself, in hexadecimal.
    pub(super) sha256: String,
    /// Logs in it that are not whole, and why.
    pub(super) broken: Vec<String>,
    place: Place,
    logs: Vec<Log>,
    head: Head,
    places: Places,
    /// For what is made of several files.
    made: Scratch,
}

impl Archive {
    /// Verifies all of it. One whose ledger is broken restores nothing.
    pub(super) fn open(path: &Path, believed: &HostKeys) -> anyhow::Result<Self> {
        let sha256 = digest(path).with_context(|| path.display().to_string())?;
        let place = Place::of_bundle(path, believed.clone())?;
        let manifest = place.manifest.clone().context("it has no manifest")?;
        let (mut logs, mut broken, mut head) = (Vec::new(), Vec::new(), Head::default());
        for log in place.logs() {
            match log.verify()? {
                Soundness::Sound(verified) => {
                    if log.name == LEDGER {
                        head = verified.head;
                    }
                    logs.push(log);
                }
                Soundness::Broken(why) if log.name == LEDGER => {
                    bail!("{}: nothing was restored: the ledger in it is broken: {why}", path.display())
                }
                Soundness::Broken(why) => broken.push(format!("the log {} in it is broken: {why}", log.name)),
            }
        }
        let index = place.unpacked().join(PLACES);
        let Ok(text) = std::fs::read(&index) else {
            bail!("{}: it is no backup: `audit export` holds logs alone", path.display());
        };
        let places =
            serde_json::from_slice(&text).with_context(|| format!("{PLACES} in {}", path.display()))?;
        Ok(Archive { manifest, sha256, broken, place, logs, head, places, made: Scratch::new()? })
    }

    /// Those that are whole, the ledger first.
    pub(super) fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// The ledger's newest record.
    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// All files but those of logs, in the order in which they are put back. The exporter's become theirs.
    pub(super) fn targets(&self, paths: &Paths, exporters: Owner) -> anyhow::Result<Vec<Target>> {
        let state = &paths.state;
        let mut all = Vec::new();
        for (name, owner) in [(LEDGER_KEY, Owner::AsItIs), (EVENTS_KEY, exporters)] {
            if let Some(from) = self.keys(state, name)? {
                all.push(Target { from, to: state.join(name), owner, mode: 0o644 });
            }
        }
        for name in STATE_FILES {
            let from = self.place.folder().join(name);
            if from.exists() && ![REVOKED, WITHDRAWN].contains(&name) {
                all.push(Target { from, to: state.join(name), owner: exporters, mode: 0o640 });
            }
        }
        for (name, load, owner) in [
            (REVOKED, load_revoked as Load, Owner::AsItIs),
            // Root without the capability to read everything reads it, too.
            (WITHDRAWN, load_withdrawn, exporters),
        ] {
            if let Some(from) = self.withdrawn(state, name, load)? {
                all.push(Target { from, to: state.join(name), owner, mode: 0o644 });
            }
        }
        all.extend(self.placed(paths)?);
        Ok(all)
    }

    /// Every key that the host ever had, as far as the backup and this host know, oldest first.
    fn keys(&self, state: &Path, name: &str) -> anyhow::Result<Option<PathBuf>> {
        let mut text = String::new();
        // A key that signed no record is not the ledger's first one.
        let folders = match name {
            LEDGER_KEY if self.head.record == 0 => &[state][..],
            _ => &[self.place.folder(), state],
        };
        for folder in folders {
            match File::open(folder.join(name)) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                opened => {
                    let failed = || folder.join(name).display().to_string();
                    let file = opened.with_context(failed)?;
                    file.take(MAX_KEYS).read_to_string(&mut text).with_context(failed)?;
                    text.push('\n');
                }
            }
        }
        let keys = HostKeys::parse(&text).with_context(|| name.to_owned())?;
        if keys.is_empty() {
            return Ok(None);
        }
        let path = self.made.path.join(name);
        std::fs::write(&path, keys.to_string()).with_context(|| path.display().to_string())?;
        Ok(Some(path))
    }

    /// What was revoked by either: it never counts again.
    fn withdrawn(&self, state: &Path, name: &str, load: Load) -> anyhow::Result<Option<PathBuf>> {
        let mut all = load(self.place.folder(), trusted_owner())?;
        for (id, serial) in load(state, trusted_owner())? {
            let highest = all.entry(id).or_default();
            *highest = serial.max(*highest);
        }
        if all.is_empty() {
            return Ok(None);
        }
        // Both are of one form.
        keep_withdrawn(&self.made.path, &all)?;
        let path = self.made.path.join(name);
        std::fs::rename(self.made.path.join(WITHDRAWN), &path)?;
        Ok(Some(path))
    }

    /// Configuration and baseline. Only what this command would read itself is written.
    pub(super) fn placed(&self, paths: &Paths) -> anyhow::Result<Vec<Target>> {
        let mut all = Vec::new();
        let unpacked = self.place.unpacked();
        let config = self.config(paths)?;
        for (path, to) in &self.places {
            let to = RawText::from_escaped(to).with_context(|| format!("{PLACES}: {path} has no place"))?;
            use std::os::unix::ffi::OsStrExt;
            let to = PathBuf::from(std::ffi::OsStr::from_bytes(to.as_bytes()));
            let (is_read, flag) = match path.as_str() {
                "config/portledger.toml" => (to == paths.config, "--config"),
                "config/allowed_signers" => (to == signers_path(paths, &config), "--config"),
                "config/revoked_keys" => (to == revoked_path(paths, &config), "--config"),
                _ => (paths.sources.spelled(&to).is_some(), "--baseline"),
            };
            if !is_read {
                bail!(
                    "nothing was restored: the backup has {}, which this command would not read: name it with {flag}",
                    to.display()
                );
            }
            let known = self.manifest.files.iter().find(|file| file.path == *path);
            let known = known.with_context(|| format!("{PLACES}: {path} is not in the backup"))?;
            // Whoever else could write to it could approve anything.
            let mode = known.mode & 0o755;
            all.push(Target { from: unpacked.join(path), to, owner: Owner::AsItIs, mode });
        }
        Ok(all)
    }

    /// As it will be.
    fn config(&self, paths: &Paths) -> anyhow::Result<Config> {
        let path = self.place.unpacked().join("config/portledger.toml");
        match read_trusted(&path, trusted_owner())? {
            Some(_) => Config::load(&Paths { config: path, ..paths.clone() }),
            None => Ok(Config::default()),
        }
    }
}

/// Reads what a state folder remembers of revocations.
type Load = fn(&Path, u32) -> Result<BTreeMap<String, u64>, WithdrawnError>;

const MAX_KEYS: u64 = 256 << 10;

fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = BufReader::new(File::open(path)?);
    let mut hash = Sha256::new();
    loop {
        let chunk = file.fill_buf()?;
        if chunk.is_empty() {
            break;
        }
        hash.update(chunk);
        let length = chunk.len();
        file.consume(length);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
