use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ledger::bundle::{self, Manifest};
use ledger::{HostKeys, KeyError, LogError};

use super::records::Log;
use super::scratch::Scratch;
use crate::acts;
use crate::owned;

/// The name of the log of sockets and drift.
pub(crate) const EVENTS: &str = "events";
/// The name of the log of what was in force.
pub(crate) const RELOADS: &str = "reloads";
/// The name of the log of who asked by HTTP.
pub(crate) const LOGINS: &str = "logins";
/// The name of the log of alerts.
pub(crate) const ALERTS: &str = "alerts";
/// The key of all these, which is the exporter's.
pub(crate) const EVENTS_KEY: &str = "events.key.pub";
/// The ledger's, which is root's.
pub(crate) const LEDGER_KEY: &str = "ledger.key.pub";
/// Where the files of the state folder stand in a bundle.
pub(crate) const STATE: &str = "state";
/// No host's logs and baseline are that large.
pub(crate) const MOST: u64 = 64 << 30;

/// Where one is unpacked within a folder of our own.
const BUNDLE: &str = "bundle";

/// Where logs are read: the state folder of this host, or a bundle of another.
pub(crate) struct Place {
    folder: PathBuf,
    /// The bundle's file: the folder is one of our own then.
    bundle: Option<PathBuf>,
    ledger: HostKeys,
    events: HostKeys,
    /// Of a bundle.
    pub(crate) manifest: Option<Manifest>,
    /// Of a bundle: gone when this value is.
    unpacked: Option<Scratch>,
}

impl Place {
    /// A state folder with the keys that stand in it, those of the ledger being root's or ours.
    pub(crate) fn of_state(folder: &Path) -> anyhow::Result<Self> {
        owned::check_ledger(folder)?;
        Ok(Place {
            folder: folder.to_owned(),
            bundle: None,
            ledger: keys(&folder.join(LEDGER_KEY))?,
            events: keys(&folder.join(EVENTS_KEY))?,
            manifest: None,
            unpacked: None,
        })
    }

    /// A bundle that one of these keys signed. What it holds of the exporter's keys is as good as that signature.
    pub(crate) fn of_bundle(file: &Path, believed: HostKeys) -> anyhow::Result<Self> {
        let scratch = Scratch::new()?;
        let into = scratch.path.join(BUNDLE);
        let opened = std::fs::File::open(file).with_context(|| file.display().to_string())?;
        let contents = bundle::unpack(std::io::BufReader::new(opened), &believed, MOST, &into);
        let contents = contents.with_context(|| file.display().to_string())?;
        let folder = into.join(STATE);
        let events = keys(&folder.join(EVENTS_KEY))?;
        let manifest = Some(contents.manifest);
        let bundle = Some(file.to_owned());
        Ok(Place { folder, bundle, ledger: believed, events, manifest, unpacked: Some(scratch) })
    }

    /// What the logs are read of, as people name it.
    pub(crate) fn name(&self) -> String {
        self.bundle.as_ref().unwrap_or(&self.folder).display().to_string()
    }

    /// The state folder itself, or as the bundle has it.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Of a bundle, all of it; the state folder else.
    pub(crate) fn unpacked(&self) -> PathBuf {
        match &self.unpacked {
            Some(scratch) => scratch.path.join(BUNDLE),
            None => self.folder.clone(),
        }
    }

    pub(crate) fn ledger(&self) -> Log {
        self.log(acts::LEDGER, &self.ledger)
    }

    pub(crate) fn events(&self) -> Log {
        self.log(EVENTS, &self.events)
    }

    pub(crate) fn reloads(&self) -> Log {
        self.log(RELOADS, &self.events)
    }

    pub(crate) fn logins(&self) -> Log {
        self.log(LOGINS, &self.events)
    }

    pub(crate) fn alerts(&self) -> Log {
        self.log(ALERTS, &self.events)
    }

    /// All, in the order in which they are told.
    pub(crate) fn logs(&self) -> [Log; 5] {
        [self.ledger(), self.events(), self.reloads(), self.logins(), self.alerts()]
    }

    fn log(&self, name: &'static str, keys: &HostKeys) -> Log {
        Log { folder: self.folder.clone(), name, keys: keys.clone() }
    }
}

/// Nobody's where there is no such file: what is signed then is signed by a stranger.
fn keys(path: &Path) -> anyhow::Result<HostKeys> {
    match HostKeys::read(path) {
        Err(KeyError::File(LogError::Io { error, .. })) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(HostKeys::default())
        }
        read => Ok(read?),
    }
}

/// Keys that somebody fetched from the host before.
pub(crate) fn fetched(path: &Path) -> anyhow::Result<HostKeys> {
    let keys = match HostKeys::read(path) {
        Err(KeyError::File(LogError::Io { error, .. })) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!(
                "{}: there is no such file, and the host's public keys were to be read from it: fetch ledger.key.pub of its \
                 state folder",
                path.display()
            )
        }
        read => read?,
    };
    if keys.is_empty() {
        bail!("{}: it holds no key: fetch ledger.key.pub of the host's state folder", path.display());
    }
    Ok(keys)
}
