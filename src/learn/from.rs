use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, bail};
use baseline::{Baseline, HostInventory, SourceText, Trust, learn_from, shown_path};

use super::write_new;
use crate::arguments::{LearnOptions, Shared};
use crate::baseline::Repository;
use crate::config::Config;
use crate::outcome::Outcome;
use crate::paths::Paths;
use crate::trust::trust;
use crate::{inventory_file, judge, say};

/// Writes a baseline from what listened on many hosts, besides what the one that is there covers.
pub(super) fn run(shared: &Shared, options: &LearnOptions) -> anyhow::Result<Outcome> {
    let repository = match options.file.as_deref().and_then(Repository::around) {
        Some(around) => around,
        None => Repository::found(shared)?,
    };
    let path = options.file.as_deref().or(repository.sources.default_file());
    let path = path.context("no file of a baseline is named")?;
    if !options.stdout && path.metadata().is_ok_and(|metadata| metadata.len() > 0) {
        bail!(
            "{}: it is there already, and learning never adds to a file: name a new one with --file, as in \
             --file baseline.d/learned.toml, or see what would be in it with --stdout",
            shown_path(path)
        );
    }
    let present = repository.sources.read()?.unwrap_or_default();
    let paths = Paths::of(shared)?;
    let config = Config::load(&paths)?;
    let trust = Arc::new(trust(&paths, &config)?);
    let baseline = if present.is_empty() { None } else { Some(judge::parsed(&present, &trust)?) };
    let hosts = inventory_file::read_all(&options.from)?;
    tell_partial(&hosts);
    let text = learn_from(&hosts, baseline.as_ref(), &trust, SystemTime::now());
    let learned = checked(&present, path, &text, &trust)?;
    if options.stdout {
        say::out(text.trim_end())?;
        return Ok(Outcome::Clean);
    }
    write_new(&paths, &judge::host(&config), path, &text, &learned)?;
    say::done(format_args!(
        "{}: {} approvals learned from {} hosts.\n\
         They count as learned, not as approved: read the file and give each entry a reason.",
        shown_path(path),
        learned.approvals().len(),
        hosts.len()
    ));
    Ok(Outcome::Clean)
}

/// What was learned. What is written must be read with what is there.
fn checked(present: &[SourceText], path: &Path, text: &str, trust: &Trust) -> anyhow::Result<Baseline> {
    let learned = SourceText { path: path.to_owned(), text: text.to_owned() };
    let own = judge::parsed(std::slice::from_ref(&learned), trust)?;
    let others = present.iter().filter(|source| source.path != path).cloned();
    let all: Vec<SourceText> = others.chain([learned]).collect();
    judge::parsed(&all, trust).context("nothing was written, because afterwards")?;
    Ok(own)
}

fn tell_partial(hosts: &[HostInventory]) {
    let is_partial = |host: &&HostInventory| {
        let coverage = &host.inventory.coverage;
        coverage.may_hide_listeners() || coverage.may_hide_holders()
    };
    let partial: Vec<String> = hosts.iter().filter(is_partial).map(|host| host.host.name.escaped()).collect();
    if !partial.is_empty() {
        let names = crate::baseline::folded(partial.iter().map(String::as_str));
        say::aside(format_args!("Not all was seen on {names}: what was not is not learned."));
    }
}
