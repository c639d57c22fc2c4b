use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ledger::{Position, Reader, Told, segments};
use serde_json::{Value, json};

use super::files::REPLACED;
use crate::acts::LEDGER;
use crate::audit::{Place, Soundness};
use crate::paths::trusted_owner;

/// Ledgers that were put aside, as the record tells them that is to follow; also those of an earlier run that was killed.
pub(super) fn unrecorded(state: &Path) -> anyhow::Result<Vec<Value>> {
    let known = recorded(state)?;
    let mut all = Vec::new();
    for folder in folders(state)? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_ledger =
            folder.join(format!("{LEDGER}.jsonl")).exists() || !segments(&folder, LEDGER)?.is_empty();
        if is_ledger && !known.contains(&name) {
            all.push(told(&folder, &name)?);
        }
    }
    Ok(all)
}

/// By its own keys, which went with it. The head is told of a broken one, too: it may be whole where the keys are not.
fn told(folder: &Path, name: &str) -> anyhow::Result<Value> {
    let head = ledger::head(folder, LEDGER).ok().flatten();
    Ok(match Place::of_state(folder)?.ledger().verify()? {
        Soundness::Sound(verified) => {
            json!({"folder": name, "records": verified.records, "head": verified.head})
        }
        Soundness::Broken(why) => {
            json!({"folder": name, "records": null, "head": head, "broken": why.to_string()})
        }
    })
}

/// Those of ours: others may make folders in the state folder, too.
fn folders(state: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let failed = || state.display().to_string();
    let mut all = Vec::new();
    for entry in state.read_dir().with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let meta = entry.metadata().with_context(failed)?;
        let is_named = entry.file_name().as_encoded_bytes().starts_with(REPLACED.as_bytes());
        if is_named && meta.is_dir() && meta.uid() == trusted_owner() {
            all.push(entry.path());
        }
    }
    all.sort();
    Ok(all)
}

/// The folders that records of the ledger name.
fn recorded(state: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut reader = Reader::new(state, LEDGER, Position::default());
    while let Some(told) = reader.read()? {
        let Told::Line(line) = told else { continue };
        let Ok(act) = serde_json::from_slice::<Value>(&line.body) else { continue };
        let replaced = act["new"]["replaced"].as_array().into_iter().flatten();
        names.extend(replaced.filter_map(|one| Some(one["folder"].as_str()?.to_owned())));
    }
    Ok(names)
}
