use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use baseline::{load_revoked, read_trusted_bytes};
use inventory::RawText;

use crate::arguments::{BackupOptions, Shared};
use crate::audit::{STATE, Scratch, tell_written};
use crate::bundling::Parcel;
use crate::config::Config;
use crate::outcome::Outcome;
use crate::paths::{Paths, trusted_owner};
use crate::trust::{revoked_path, signers_path};

/// Where each file that is not of the state folder stood: its path in the bundle, and its path on the host, escaped.
pub(crate) type Places = BTreeMap<String, String>;

/// The name of [`Places`] in a bundle.
pub(crate) const PLACES: &str = "places.json";
/// Files of the state folder besides logs and keys: what cannot be found out again.
pub(crate) const STATE_FILES: [&str; 4] = ["register.json", WITHDRAWN, "matched.json", REVOKED];
/// What either side of a restore knew to be revoked.
pub(crate) const WITHDRAWN: &str = "withdrawn.json";
/// Of what it holds nothing is taken away by a restore.
pub(crate) const REVOKED: &str = "ledger.revoked.json";
/// How much of a file's name its path in a bundle has room for.
const NAME: usize = 60;

/// Writes what `restore` needs into one file.
pub(crate) fn run(shared: &Shared, options: &BackupOptions) -> anyhow::Result<Outcome> {
    let paths = Paths::absolute(shared)?;
    let config = Config::load(&paths)?;
    let scratch = Scratch::new()?;
    // What somebody else put there must not be restored as root's.
    load_revoked(&paths.state, trusted_owner())?;
    let mut parcel = Parcel::of_logs(&paths.state)?;
    for name in STATE_FILES {
        parcel.add(&paths.state.join(name), &format!("{STATE}/{name}"))?;
    }
    let mut places = Places::new();
    for (path, from) in files(&paths, &config)? {
        // What a symbolic link leads to, for that is what is read.
        let real = fs::canonicalize(&from).with_context(|| from.display().to_string())?;
        parcel.add(&real, &path)?;
        places.insert(path, RawText::new(from.as_os_str().as_encoded_bytes()).escaped());
    }
    let index = scratch.path.join(PLACES);
    fs::write(&index, serde_json::to_vec_pretty(&places)?).with_context(|| index.display().to_string())?;
    parcel.add(&index, PLACES)?;
    let broken = parcel.broken;
    let host = crate::judge::host(&config).name.escaped();
    let manifest = parcel.write(&options.to, &host)?;
    tell_written(&options.to, &manifest, broken)
}

/// Configuration and baseline: the path in the bundle, and the file, which is there and belongs to who is trusted.
fn files(paths: &Paths, config: &Config) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut all = Vec::new();
    let named = [
        ("config/portledger.toml", paths.config.clone()),
        ("config/allowed_signers", signers_path(paths, config)),
        ("config/revoked_keys", revoked_path(paths, config)),
    ];
    for (path, from) in named {
        if read_trusted_bytes(&from, trusted_owner())?.is_some() {
            all.push((path.to_owned(), std::path::absolute(from)?));
        }
    }
    let sources = paths.sources.read()?.unwrap_or_default();
    for (number, source) in sources.iter().enumerate() {
        all.push((format!("baseline/{number}-{}", plain(&source.path)), std::path::absolute(&source.path)?));
    }
    Ok(all)
}

/// A file's name as a bundle may have it.
fn plain(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let plain = |character: char| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => character,
        _ => '_',
    };
    // The end says what it is.
    let skipped = name.chars().count().saturating_sub(NAME);
    name.chars().skip(skipped).map(plain).collect()
}
