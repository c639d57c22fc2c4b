//! Logs for tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::{HostKey, HostKeys, Keeping, LogError, Unverified, Verified, Writer};

pub(crate) const NAME: &str = "events";
pub(crate) const ALL: Keeping = Keeping { segment: 16 << 20, segments: None, mode: 0o640, synced: false };

pub(crate) struct World(pub(crate) TempDir);

impl World {
    pub(crate) fn new() -> Self {
        World(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn key(&self) -> HostKey {
        HostKey::load_or_create(&self.path("events.key")).unwrap()
    }

    pub(crate) fn keys(&self) -> HostKeys {
        HostKeys::read(&self.path("events.key.pub")).unwrap()
    }

    pub(crate) fn open(&self, keeping: Keeping) -> Result<Writer, LogError> {
        Writer::open(self.folder(), NAME, self.key(), keeping, Duration::ZERO)
    }

    /// Batches of these sizes; each record says its number.
    pub(crate) fn write(&self, keeping: Keeping, batches: &[u64]) {
        let mut writer = self.open(keeping).unwrap();
        append(&mut writer, batches);
    }

    pub(crate) fn verify(&self) -> Result<Verified, Unverified> {
        crate::verify(self.folder(), NAME, &self.keys(), |_| {})
    }

    /// Six records in three segments of two, the batches being 1, 1, 2, 2.
    pub(crate) fn of_segments() -> Self {
        let world = World::new();
        for batches in [&[1, 1][..], &[2], &[2]] {
            let mut writer = world.open(ALL).unwrap();
            append(&mut writer, batches);
            drop(writer);
            let first = writer_first(&world);
            fs::rename(world.path("events.jsonl"), world.path(&format!("events.jsonl.{first}"))).unwrap();
        }
        fs::rename(world.path("events.jsonl.5"), world.path("events.jsonl")).unwrap();
        world
    }

    pub(crate) fn lines(&self, file: &str) -> Vec<String> {
        fs::read_to_string(self.path(file)).unwrap().lines().map(str::to_owned).collect()
    }

    pub(crate) fn put_lines(&self, file: &str, lines: &[String]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(self.path(file), text).unwrap();
    }
}

fn writer_first(world: &World) -> u64 {
    let line = world.lines("events.jsonl").swap_remove(0);
    serde_json::from_str::<serde_json::Value>(&line).unwrap()["record"].as_u64().unwrap()
}

pub(crate) fn append(writer: &mut Writer, batches: &[u64]) {
    for batch in batches {
        let next = writer.head().record + 1;
        let bodies: Vec<_> = (next..next + batch).map(|number| format!("{{\"number\":{number}}}")).collect();
        writer.append(&bodies).unwrap();
    }
}
