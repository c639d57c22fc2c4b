use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tracing::{info, warn};

use super::changes::{News, changes};
use super::load::{Watched, load};
use super::{WebConfig, WebConfigError};

/// How much waits to be told: each connection has it told.
const MAX_NEWS: usize = 64;

/// The web configuration that is in force: the last good one of the file.
#[derive(Debug)]
pub(crate) struct InForce {
    path: PathBuf,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    config: Arc<WebConfig>,
    watched: Vec<Watched>,
    read_at: SystemTime,
    /// What is wrong with the file as it stands now, and was said.
    complaint: Option<String>,
    /// What is not told yet.
    news: Vec<News>,
}

/// How the last look at the file went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reload {
    pub(crate) successful: bool,
    pub(crate) succeeded_at: SystemTime,
}

impl InForce {
    /// Reads the file for the first time: what is wrong with it then is the end.
    pub(crate) fn read(path: &Path) -> Result<Self, WebConfigError> {
        let (watched, config) = load(path);
        let config = config?;
        say(path, &config.remarks);
        let config = Arc::new(config);
        let mut held =
            Held { config, watched, read_at: SystemTime::now(), complaint: None, news: Vec::new() };
        held.tell(path, changes(None, &held.config), None);
        Ok(InForce { path: path.to_owned(), held: Mutex::new(held) })
    }

    /// One that stands in no file, without TLS.
    #[cfg(any(test, fuzzing))]
    #[allow(clippy::expect_used)]
    pub(crate) fn fixed(yaml: &str) -> Self {
        let config = Arc::new(WebConfig::without_tls(yaml).expect("it is a good one"));
        let held = Held {
            config,
            watched: Vec::new(),
            read_at: SystemTime::UNIX_EPOCH,
            complaint: None,
            news: Vec::new(),
        };
        InForce { path: PathBuf::new(), held: Mutex::new(held) }
    }

    /// Looks whether one of the files changed, and reads them again where one did.
    pub(crate) fn current(&self) -> Arc<WebConfig> {
        let mut held = self.held();
        if held.watched.iter().any(Watched::may_have_changed) {
            held.read_again(&self.path);
        }
        held.config.clone()
    }

    /// What is in force, without another look.
    pub(crate) fn last(&self) -> Arc<WebConfig> {
        self.held().config.clone()
    }

    /// What came in force, or could not, since it was asked last.
    pub(crate) fn take_news(&self) -> Vec<News> {
        std::mem::take(&mut self.held().news)
    }

    pub(crate) fn reload(&self) -> Reload {
        let held = self.held();
        Reload { successful: held.complaint.is_none(), succeeded_at: held.read_at }
    }

    #[cfg(test)]
    pub(super) fn complaint(&self) -> Option<String> {
        self.held().complaint.clone()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn read_again(&mut self, path: &Path) {
        let (watched, config) = load(path);
        self.watched = watched;
        let config = config.and_then(|config| match config.gives_up(&self.config) {
            None => Ok(config),
            Some(what) => Err(WebConfigError::LessSecure { path: path.to_owned(), what }),
        });
        match config {
            Ok(config) => {
                if config.remarks != self.config.remarks {
                    say(path, &config.remarks);
                }
                if self.complaint.take().is_some() {
                    info!("{} is in force again as it stands", path.display());
                }
                let before = std::mem::replace(&mut self.config, Arc::new(config));
                self.read_at = SystemTime::now();
                let changes = changes(Some(&before), &self.config);
                if !changes.is_empty() || before.sha256 != self.config.sha256 {
                    self.tell(path, changes, None);
                }
            }
            Err(error) => {
                let error = error.to_string();
                if self.complaint.as_ref() != Some(&error) {
                    warn!("{error}; until then the web configuration stays in force as it was read before");
                    self.tell(path, Vec::new(), Some(error.clone()));
                    self.complaint = Some(error);
                }
            }
        }
    }
}

impl Held {
    fn tell(&mut self, path: &Path, changes: Vec<String>, why: Option<String>) {
        let (file, sha256) = (path.to_owned(), self.config.sha256.clone());
        if why.is_none() {
            let what =
                if changes.is_empty() { "nothing that shows changed".to_owned() } else { changes.join("; ") };
            info!("{} (SHA-256 {sha256}) is in force: {what}", path.display());
        }
        if self.news.len() < MAX_NEWS {
            self.news.push(News { at: SystemTime::now(), file, sha256, changes, why });
        }
    }
}

fn say(path: &Path, remarks: &[String]) {
    for remark in remarks {
        warn!("{}: {remark}", path.display());
    }
}
