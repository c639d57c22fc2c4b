//! Logs against kills, full disks, flipped bytes, and ssh-keygen.
// What the tests call fails as they do; clippy knows only the functions that are marked as tests.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod bytes;
mod disk;
mod kills;
mod peer;

use std::path::Path;
use std::time::Duration;

use ledger::{HostKey, HostKeys, Keeping, Writer};

const NAME: &str = "events";
const KEEPING: Keeping = Keeping { segment: 16 << 20, segments: None, mode: 0o640, synced: false };

fn writer(folder: &Path, keeping: Keeping) -> Writer {
    let key = HostKey::load_or_create(&folder.join("events.key")).unwrap();
    Writer::open(folder, NAME, key, keeping, Duration::from_secs(5)).unwrap()
}

fn keys(folder: &Path) -> HostKeys {
    HostKeys::read(&folder.join("events.key.pub")).unwrap()
}

/// Batches of these sizes.
fn append(writer: &mut Writer, batches: &[usize]) {
    for batch in batches {
        let bodies: Vec<_> = (0..*batch).map(|place| format!("{{\"place\":{place}}}")).collect();
        writer.append(&bodies).unwrap();
    }
}
