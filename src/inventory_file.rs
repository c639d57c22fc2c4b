use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use baseline::{HostInventory, Policy, Sources, assess, shown_path};
use exporter::{MAX_INVENTORY, read_listeners};
use inventory::Inventory;

use crate::arguments::Shared;
use crate::baseline::Repository;
use crate::config::Config;
use crate::judge::{self, Judgement};
use crate::paths::{Paths, trusted_owner};
use crate::say::aside;
use crate::trust::trust;

/// All that is read at once, in bytes: what it takes in memory is about as much.
const MAX_ALL: u64 = 4 << 30;
/// Two looks tell the start of a process that much apart, when the clock was set right meanwhile.
const CLOCK: Duration = Duration::from_secs(2);

/// Reads what `list --format json` printed on some host.
pub(crate) fn read(path: &Path) -> anyhow::Result<HostInventory> {
    let bytes = bytes(path).with_context(|| format!("{}: it cannot be read", shown_path(path)))?;
    read_listeners(&bytes).with_context(|| shown_path(path).escaped())
}

/// One more byte than is taken, of a longer one.
fn bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    // Not to hang on a pipe that somebody put there.
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = File::options().read(true).custom_flags(nonblock).open(path)?;
    if !file.metadata()?.is_file() {
        bail!("it is no regular file");
    }
    let mut bytes = Vec::new();
    file.take(MAX_INVENTORY as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads all that paths and globs name: each host once, ordered by its name.
pub(crate) fn read_all(patterns: &[String]) -> anyhow::Result<Vec<HostInventory>> {
    let mut all = Vec::new();
    let mut size = 0;
    for path in paths(patterns)? {
        size += path.metadata().map(|metadata| metadata.len()).unwrap_or_default();
        if size > MAX_ALL {
            bail!("{}: with it the inventories are larger than {MAX_ALL} bytes", shown_path(&path));
        }
        all.push((read(&path)?, path));
    }
    each_once(all)
}

fn paths(patterns: &[String]) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for pattern in patterns {
        let plain = PathBuf::from(pattern);
        if plain.is_dir() {
            bail!("{0}: it is a folder: name its files, as in '{0}/*.json'", shown_path(&plain));
        }
        if plain.exists() || !pattern.contains(['*', '?', '[']) {
            paths.push(plain);
            continue;
        }
        let before = paths.len();
        for path in glob::glob(pattern).with_context(|| format!("`{pattern}` is no pattern of files"))? {
            paths.push(path.context("a folder cannot be read")?);
        }
        if paths.len() == before {
            bail!("no file is called like `{}`", shown_path(&plain));
        }
    }
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// Of several inventories of one host the newest. Two hosts of one name are an error: which approvals are for which of
/// them nobody could tell.
fn each_once(all: Vec<(HostInventory, PathBuf)>) -> anyhow::Result<Vec<HostInventory>> {
    let mut of_name: HashMap<inventory::RawText, (HostInventory, PathBuf)> = HashMap::new();
    for (whole, path) in all {
        let name = whole.host.name.clone();
        let Some((before, its_path)) = of_name.remove(&name) else {
            of_name.insert(name, (whole, path));
            continue;
        };
        if !is_one_host(&before.inventory, &whole.inventory) {
            bail!(
                "{} and {} are both of a host `{name}`, and no process is in both. If it is one host, and was started \
                 anew in between, leave the older out; if there are two, give each a name of its own by `host` in its \
                 portledger.toml",
                shown_path(&its_path),
                shown_path(&path)
            );
        }
        let (newer, older) = match before.inventory.taken_at > whole.inventory.taken_at {
            true => ((before, its_path), path),
            false => ((whole, path), its_path),
        };
        aside(format_args!(
            "portledger: {} is left out: {} is of the same host, `{name}`, and newer",
            shown_path(&older),
            shown_path(&newer.1)
        ));
        of_name.insert(name, newer);
    }
    let mut each: Vec<HostInventory> = of_name.into_values().map(|(whole, _)| whole).collect();
    each.sort_by(|one, other| one.host.name.cmp(&other.host.name));
    Ok(each)
}

/// They are the same, or some process is in both: no two hosts started one of the same pid at the same moment.
fn is_one_host(one: &Inventory, other: &Inventory) -> bool {
    let holders = |inventory: &Inventory| -> HashMap<u32, SystemTime> {
        let holders = inventory.listeners.iter().flat_map(|listener| listener.holders.known());
        holders.map(|holder| (holder.id.pid, holder.started_at)).collect()
    };
    let (before, after) = (holders(one), holders(other));
    let is_same = |(pid, started): (&u32, &SystemTime)| {
        after.get(pid).is_some_and(|other| apart(*started, *other) <= CLOCK)
    };
    one == other || before.iter().any(is_same)
}

fn apart(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|later| later.duration())
}

/// Judges what another host's inventory holds, as that host would by the baseline of [`Repository::found`] now.
pub(crate) fn judged(shared: &Shared, path: &Path) -> anyhow::Result<Judgement> {
    judged_by(shared, path, Repository::found(shared)?.sources)
}

/// Likewise, by the baseline that a file is part of, or would be.
pub(crate) fn judged_in(shared: &Shared, path: &Path, file: &Path) -> anyhow::Result<Judgement> {
    if let Some((_, own)) = Paths::own(shared, file)? {
        bail!(
            "{}: this host is judged by it, as {}: approve what listens here without --inventory, and what another host \
             listed in a checkout, from within its folder",
            shown_path(file),
            shown_path(&own)
        );
    }
    let sources = match Repository::around(file) {
        Some(around) => around.sources,
        None if !shared.baseline.is_empty() => Repository::found(shared)?.sources,
        None => Sources::named(vec![file.to_owned()], trusted_owner()).of_anybody(),
    };
    judged_by(shared, path, sources)
}

fn judged_by(shared: &Shared, path: &Path, sources: Sources) -> anyhow::Result<Judgement> {
    let HostInventory { host, inventory, accounts } = read(path)?;
    let paths = Paths { sources, ..Paths::of(shared)? };
    let texts = paths.sources.read()?;
    let config = Config::load(&paths)?;
    let trust = Arc::new(trust(&paths, &config)?);
    let baseline = texts.as_deref().map(|texts| judge::parsed(texts, &trust)).transpose()?;
    let policy = Policy::new(baseline, host, trust);
    for warning in policy.baseline.warnings() {
        aside(format_args!("portledger: {warning}"));
    }
    for group in policy.baseline.unknown_groups(&accounts) {
        aside(format_args!(
            "portledger: {}: it does not tell who is in the group of accounts `{}`, so that no approval with it covers \
             anything",
            shown_path(path),
            inventory::RawText::from(group)
        ));
    }
    let now = SystemTime::now();
    let assessment = assess(&inventory, &policy, &accounts, now);
    let local_approvals = judge::LOCAL_APPROVALS;
    Ok(Judgement { paths, policy, texts, inventory, accounts, assessment, now, local_approvals })
}
