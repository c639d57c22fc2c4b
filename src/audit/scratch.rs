use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use anyhow::Context;

/// A folder of our own for as long as this value lives.
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
}

/// Names that somebody else may have taken.
const TRIES: u32 = 1000;

impl Scratch {
    /// Below the folder for temporary files: what is unpacked may be large, TMPDIR says where there is room.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let folder = std::env::temp_dir();
        let failed = || format!("{}: no folder can be made there; TMPDIR names another", folder.display());
        for number in 0..TRIES {
            let path = folder.join(format!("portledger-{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => return made.map(|()| Scratch { path }).with_context(failed),
            }
        }
        Err(anyhow::anyhow!("all names are taken")).with_context(failed)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            crate::say::aside(format_args!("portledger: {} is left behind: {error}", self.path.display()));
        }
    }
}
