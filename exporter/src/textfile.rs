//! The metrics as a file for node_exporter's textfile collector, on hosts that may have no second port.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tracing::{info, warn};

use crate::metrics::Metrics;
use crate::snapshot::Snapshot;

const FILE: &str = "portledger.prom";
/// The collector takes what ends in `.prom`, and must not take half a file.
const BESIDE: &str = "portledger.prom.new";
/// How long the file is left alone though something changed.
const SHORTEST: Duration = Duration::from_secs(15);
/// How old it becomes though nothing changed: its age tells that we live.
const LONGEST: Duration = Duration::from_secs(60);

/// How writing it goes.
#[derive(Default)]
pub(crate) struct TextFileStatus {
    written_at: Mutex<Option<SystemTime>>,
    failed: AtomicU64,
}

impl TextFileStatus {
    /// When the file was written that holds this, or is the last one.
    pub(crate) fn written_at(&self) -> Option<SystemTime> {
        *self.written_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    fn set(&self, at: Option<SystemTime>) -> Option<SystemTime> {
        std::mem::replace(&mut *self.written_at.lock().unwrap_or_else(PoisonError::into_inner), at)
    }
}

/// Writes the metrics into a folder.
pub(crate) struct TextFile {
    folder: PathBuf,
    metrics: Arc<Metrics>,
    status: Arc<TextFileStatus>,
    /// What is wrong was said.
    is_broken: bool,
}

impl TextFile {
    pub(crate) fn new(folder: PathBuf, metrics: Arc<Metrics>, status: Arc<TextFileStatus>) -> Self {
        TextFile { folder, metrics, status, is_broken: false }
    }

    /// Writes until it is dropped; returns only where nobody publishes any more.
    pub(crate) async fn keep(mut self, mut snapshots: watch::Receiver<Snapshot>) {
        loop {
            snapshots.borrow_and_update();
            self = match tokio::task::spawn_blocking(move || self.write(SystemTime::now())).await {
                Ok(file) => file,
                Err(error) => return warn!("the file of metrics is not written any more: {error}"),
            };
            tokio::time::sleep(SHORTEST).await;
            tokio::select! {
                () = tokio::time::sleep(LONGEST - SHORTEST) => {}
                changed = snapshots.changed() => if changed.is_err() { return },
            }
        }
    }

    fn write(mut self, now: SystemTime) -> Self {
        let before = self.status.set(Some(now));
        let written = self.metrics.render_own().map_err(|error| io::Error::other(error.to_string()));
        let written = written.and_then(|text| replace(&self.folder, text.as_bytes()));
        let path = self.folder.join(FILE);
        match written {
            Ok(()) if std::mem::take(&mut self.is_broken) => {
                info!("{} is written again", path.display());
            }
            Ok(()) => {}
            Err(error) => {
                self.status.set(before);
                self.status.failed.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut self.is_broken, true) {
                    warn!(
                        "{} cannot be written, and what stands there grows old: {error}{}",
                        path.display(),
                        hint(&error)
                    );
                }
            }
        }
        self
    }
}

fn hint(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "; the folder must be writable for uid {}; one that was removed and made again needs a restart",
            rustix::process::geteuid().as_raw()
        ),
        io::ErrorKind::ReadOnlyFilesystem => {
            "; a service may write only where its unit says so: name the folder in ReadWritePaths=".to_owned()
        }
        _ => String::new(),
    }
}

/// Replaces the file whole. Others may write into the folder too: nothing of theirs is followed or written into.
fn replace(folder: &Path, text: &[u8]) -> io::Result<()> {
    let beside = folder.join(BESIDE);
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let kept = file.write_all(text).and_then(|()| finish(&file));
    let kept = kept.and_then(|()| std::fs::rename(&beside, folder.join(FILE)));
    if kept.is_err() {
        // A full disk is not to be kept full by us.
        std::fs::remove_file(&beside).unwrap_or_default();
    }
    kept
}

/// Whoever reads it is another user.
fn finish(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn text_file(folder: &Path) -> TextFile {
        let (_, snapshots) = watch::channel(crate::judge::tests::snapshot_of_the_fixture());
        let status = Arc::new(TextFileStatus::default());
        let metrics = Metrics::new(snapshots, true, SystemTime::now).unwrap();
        let metrics = Arc::new(metrics.with_text_file(status.clone()).unwrap());
        TextFile::new(folder.to_owned(), metrics, status)
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn holds_what_is_ours_and_when_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        text_file(folder.path()).write(at(1234));
        let path = folder.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("\nportledger_textfile_written_timestamp_seconds 1234\n"), "{text}");
        // The node exporter has these of its own, and would refuse the file.
        let foreign = text.lines().find(|line| !line.starts_with('#') && !line.starts_with("portledger_"));
        assert_eq!(foreign, None);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_is_counted_and_the_last_time_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = text_file(folder.path()).write(at(1));
        // What cannot be removed as a file.
        std::fs::create_dir(folder.path().join(BESIDE)).unwrap();
        let file = file.write(at(2)).write(at(3));
        assert_eq!((file.status.failed(), file.status.written_at()), (2, Some(at(1))));
        let text = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(text.contains("\nportledger_textfile_written_timestamp_seconds 1\n"), "{text}");
        std::fs::remove_dir(folder.path().join(BESIDE)).unwrap();
        assert_eq!(file.write(at(4)).status.written_at(), Some(at(4)));
    }

    #[test]
    fn a_link_that_lies_in_wait_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let precious = folder.path().join("precious");
        std::fs::write(&precious, "kept").unwrap();
        for name in [FILE, BESIDE] {
            std::os::unix::fs::symlink(&precious, folder.path().join(name)).unwrap();
        }
        text_file(folder.path()).write(at(1));
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "kept");
        assert!(folder.path().join(FILE).symlink_metadata().unwrap().is_file());
    }
}
