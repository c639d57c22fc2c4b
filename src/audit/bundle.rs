use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail};
use ledger::HostKeys;
use ledger::bundle::{BundleError, Manifest};

use super::place::{Place, fetched};
use super::verify_all;
use crate::arguments::{ExportOptions, Shared, VerifyOptions};
use crate::bundling::Parcel;
use crate::config::Config;
use crate::outcome::Outcome;
use crate::page::shown;
use crate::paths::Paths;
use crate::say::{aside, out};

/// Writes the logs of this host for somebody who does not trust it.
pub(super) fn export(shared: &Shared, options: &ExportOptions) -> anyhow::Result<Outcome> {
    let paths = Paths::of(shared)?;
    let host = crate::judge::host(&Config::load(&paths)?).name.escaped();
    let parcel = Parcel::of_logs(&paths.state)?;
    let broken = parcel.broken;
    let manifest = parcel.write(&options.to, &host)?;
    tell_written(&options.to, &manifest, broken)
}

/// What was written, and by which key others know it.
pub(crate) fn tell_written(to: &Path, manifest: &Manifest, broken: bool) -> anyhow::Result<Outcome> {
    let keys = HostKeys::parse(&manifest.key)?;
    let key: Vec<String> = keys.fingerprints().collect();
    out(format_args!(
        "{}: {} files, signed by {}. Whoever verifies it needs the public key by another way: ledger.key.pub of the state \
         folder.",
        to.display(),
        manifest.files.len(),
        key.join(", ")
    ))?;
    if !broken {
        return Ok(Outcome::Clean);
    }
    aside(
        "A log in it is broken, and stands in it as it is: `portledger audit --verify` says which and where.",
    );
    Ok(Outcome::Drift)
}

/// Verifies a bundle and each log in it.
pub(super) fn verify(options: &VerifyOptions) -> anyhow::Result<Outcome> {
    check_is_bundle(&options.bundle)?;
    let believed = match &options.host_keys {
        Some(file) => fetched(file),
        None => claimed(&options.bundle),
    };
    let place = match believed.and_then(|believed| Place::of_bundle(&options.bundle, believed)) {
        Err(error) if is_unsound(&error) => {
            aside(format_args!("portledger: {}", shown(&format!("{error:#}"))));
            return Ok(Outcome::Drift);
        }
        place => place?,
    };
    if let Some(manifest) = &place.manifest {
        out(format_args!(
            "bundle of {} from {}: {} files, all as the manifest says",
            shown(&manifest.host),
            shown(&manifest.made_at),
            manifest.files.len()
        ))?;
    }
    let outcome = verify_all(&place)?;
    if options.host_keys.is_some() {
        return Ok(outcome);
    }
    aside(
        "It hangs together, and proves nothing about who wrote it: the key is the bundle's own. Fetch ledger.key.pub of the \
         host by another way, and name it with --host-keys.",
    );
    Ok(Outcome::Drift)
}

/// Fails with what it is not; whether one that begins like a bundle is whole is said later.
pub(super) fn check_is_bundle(file: &Path) -> anyhow::Result<()> {
    let opened = File::open(file).with_context(|| file.display().to_string())?;
    // A tar's first entry has its name first, filled up with zeros.
    let mut begin = Vec::new();
    opened
        .take(MANIFEST.len() as u64 + 1)
        .read_to_end(&mut begin)
        .with_context(|| file.display().to_string())?;
    if begin.strip_prefix(MANIFEST.as_bytes()) != Some(&[0]) {
        bail!("{}: it is no bundle: `portledger audit export` and `backup` write bundles", file.display());
    }
    Ok(())
}

/// Somebody made or changed it; not: it cannot be read.
fn is_unsound(error: &anyhow::Error) -> bool {
    let found = error.chain().find_map(|cause| cause.downcast_ref::<BundleError>());
    match found {
        Some(BundleError::Unvouched(_) | BundleError::Damaged(_)) => true,
        Some(BundleError::Refused { .. } | BundleError::Unverified { .. }) => true,
        // A tar that is none, or ends too early, is no failure of the system.
        Some(BundleError::Io { error, .. }) => error.raw_os_error().is_none(),
        _ => false,
    }
}

/// As a bundle's first entry.
const MANIFEST: &str = "manifest.json";
const MAX_MANIFEST: u64 = 64 << 20;

/// The key that a bundle itself says to be signed by.
fn claimed(file: &Path) -> anyhow::Result<HostKeys> {
    let opened = File::open(file).with_context(|| file.display().to_string())?;
    claimed_in(BufReader::new(opened)).with_context(|| file.display().to_string())
}

fn claimed_in(file: impl Read) -> Result<HostKeys, BundleError> {
    let reading = |error| BundleError::Io { step: "reading", error };
    let damaged = |what: String| BundleError::Damaged(what);
    let mut archive = tar::Archive::new(file);
    let entry = archive.entries().map_err(reading)?.raw(true).next();
    let entry = entry.ok_or_else(|| damaged("it is empty".to_owned()))?.map_err(reading)?;
    if entry.path_bytes() != MANIFEST.as_bytes() {
        return Err(damaged(format!("it does not begin with {MANIFEST}")));
    }
    let mut text = Vec::new();
    entry.take(MAX_MANIFEST).read_to_end(&mut text).map_err(reading)?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| damaged(format!("{MANIFEST}: {error}")))?;
    HostKeys::parse(&manifest.key).map_err(|error| damaged(format!("{MANIFEST}: its key: {error}")))
}
