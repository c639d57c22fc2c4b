//! What strangers write and this crate reads, each as a function of bytes that panics where something does not hold.
#![allow(clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

use crate::bundle::{self, Manifest};
use crate::line::{self, Parts};
use crate::{HostKeys, Position, Reader, Told};

/// Every input by the name of its target.
#[cfg(test)]
const ALL: &[short::Input] =
    &[("ledger_lines", lines), ("ledger_host_keys", host_keys), ("ledger_bundles", bundles)];

/// The key of the logs and bundles of the corpus: the signature over what stands there is good.
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKnRcwwtvzuvTY1FvGurKHRJKheIWvivMzDQS8U1k2ji portledger";

/// The current file of a log. A record that is read can be written so, and a log of which all is believed is read to its end.
pub fn lines(bytes: &[u8]) {
    for whole in bytes.split(|byte| *byte == b'\n') {
        let Some(parts) = Parts::of(whole) else { continue };
        let mut written = Vec::new();
        line::append(&mut written, &parts.body(), parts.record, parts.previous);
        assert_eq!(written, parts.message());
        parts.signature.inspect(|signature| line::sign(&mut written, signature));
        assert_eq!(written, whole);
    }
    let folder = Folder::new("lines");
    fs::write(folder.0.join("events.jsonl"), bytes).expect("a file can be written");
    let mut reader = Reader::new(&folder.0, "events", Position::default());
    let mut read = 0;
    while let Ok(Some(told)) = reader.read() {
        if let Told::Line(line) = told {
            read += 1;
            assert!(line.body.len() <= bytes.len() && line.position.offset <= bytes.len() as u64);
        }
    }
    if let Ok(verified) = crate::verify(&folder.0, "events", &believed(), |_| {}) {
        assert!(verified.records <= read, "{} are believed, {read} were read", verified.records);
    }
}

/// Public keys of a host, and a signature that is by none of them.
pub fn host_keys(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    assert!(believed().verify("log@portledger", b"a text that nobody signed", text).is_err());
    let Ok(keys) = HostKeys::parse(text) else { return };
    assert!(keys.fingerprints().count() * 64 <= bytes.len());
    assert_eq!(HostKeys::parse(&keys.to_string()).as_ref(), Ok(&keys));
}

/// A bundle. What is unpacked is what its manifest names; of what is not believed nothing stays.
pub fn bundles(bytes: &[u8]) {
    const MOST: u64 = 1 << 20;
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) {
        let written = serde_json::to_vec(&manifest).expect("what was read can be written");
        assert_eq!(serde_json::from_slice::<Manifest>(&written).expect("and read again"), manifest);
    }
    let folder = Folder::new("bundles");
    let into = folder.0.join("unpacked");
    match bundle::unpack(bytes, &believed(), MOST, &into) {
        Ok(contents) => {
            let mut size = 0;
            for file in &contents.manifest.files {
                let unpacked = fs::metadata(into.join(&file.path)).expect("it was unpacked");
                assert_eq!(unpacked.len(), file.size);
                size += file.size;
            }
            assert!(size <= MOST.min(bytes.len() as u64));
        }
        Err(_) => assert!(!into.exists()),
    }
}

fn believed() -> HostKeys {
    HostKeys::parse(KEY).expect("it is a key")
}

/// A folder of this process alone, empty, and gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let shared = Path::new("/dev/shm");
        let above = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
        let folder = above.join(format!("portledger-fuzz-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder can be made");
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
#[path = "../../fuzz/short.rs"]
mod short;

#[test]
fn what_strangers_write_is_survived() {
    short::run(ALL, 1_000);
}
