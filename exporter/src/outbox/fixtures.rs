//! Logs, and receivers of them, for tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ledger::{HostKey, Keeping, Writer};
use tempfile::TempDir;

use super::receiver::{Log, Receiver, TlsFiles};

pub(crate) struct World(TempDir);

impl World {
    pub(crate) fn new() -> Self {
        World(tempfile::tempdir().unwrap())
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    pub(crate) fn writer(&self, log: Log, segment: u64) -> Writer {
        let key = HostKey::load_or_create(&self.path(&format!("{}.key", log.as_str()))).unwrap();
        let keeping = Keeping { segment, segments: Some(2), mode: 0o640, synced: false };
        Writer::open(self.folder(), log.as_str(), key, keeping, Duration::ZERO).unwrap()
    }

    /// Appends so many batches of two records each.
    pub(crate) fn write(&self, log: Log, batches: usize) {
        let mut writer = self.writer(log, 16 << 20);
        for _ in 0..batches {
            writer.append(&["{\"event\":\"open\"}", "{\"event\":\"close\"}"]).unwrap();
        }
    }

    pub(crate) fn lines(&self, file: &str) -> Vec<String> {
        let text = String::from_utf8_lossy(&fs::read(self.path(file)).unwrap()).into_owned();
        text.lines().map(str::to_owned).collect()
    }

    /// Puts other lines in the place of those that a file has.
    pub(crate) fn rewrite(&self, file: &str, change: impl FnOnce(&mut Vec<String>)) {
        let mut lines = self.lines(file);
        change(&mut lines);
        let text: String = lines.into_iter().map(|line| line + "\n").collect();
        fs::write(self.path(file), text).unwrap();
    }
}

pub(crate) fn receiver(to: &str, files: TlsFiles) -> Receiver {
    Receiver::new("siem", to, files, None, None).unwrap()
}

/// Asks until there is an answer.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
