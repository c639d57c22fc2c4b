use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use inventory::{Endpoint, Holder, RawText, Workload};

use super::files::Files;
use super::listen::{Listen, listens};

/// Where systemd looks for unit files, the first that has one wins: systemd.unit(5).
const FOLDERS: &[&str] = &[
    "etc/systemd/system.control",
    "run/systemd/system.control",
    "run/systemd/transient",
    "run/systemd/generator.early",
    "etc/systemd/system",
    "run/systemd/system",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "run/systemd/generator.late",
];
/// Has a link `invocation:UNIT` for each unit that runs.
const RUNNING: &str = "run/systemd/units";
/// More socket units than that no host has; the rest is not read.
const UNITS: usize = 4096;

/// Which socket unit of systemd opened what the first process holds.
#[derive(Debug)]
pub(crate) struct SocketUnits {
    units: Vec<Unit>,
    /// One holder for each unit, shared by all its sockets, and the description of the first process that it is made of.
    holders: HashMap<RawText, (Arc<Holder>, Arc<Holder>)>,
}

#[derive(Debug)]
struct Unit {
    name: RawText,
    runs: bool,
    listens: Vec<Listen>,
}

impl SocketUnits {
    /// Reads every unit file beneath the host's root; of no use where the first process is not systemd. To be loaded
    /// again when that process holds a listener that it did not hold before.
    pub(crate) fn load(host_root: &Path) -> Self {
        let files = Files::beneath(host_root);
        let folders: Vec<(&str, Vec<String>)> =
            FOLDERS.iter().map(|folder| (*folder, texts(&files, folder))).collect();
        let running: BTreeSet<String> = texts(&files, RUNNING)
            .into_iter()
            .filter_map(|name| name.strip_prefix("invocation:").map(str::to_owned))
            .collect();
        let mut names: BTreeSet<&str> = folders
            .iter()
            .flat_map(|(_, names)| names)
            .map(String::as_str)
            .filter(|name| name.ends_with(".socket"))
            .collect();
        // An instance has no file of its own, only its template has.
        names.extend(running.iter().map(String::as_str).filter(|name| name.ends_with(".socket")));
        let unit = |name: &&str| Unit {
            name: RawText::from(*name),
            runs: running.contains(*name),
            listens: listens(&text_of_unit(&files, &folders, name), instance(name)),
        };
        let units = names.iter().take(UNITS).map(unit).filter(|unit| !unit.listens.is_empty());
        SocketUnits { units: units.collect(), holders: HashMap::new() }
    }

    /// The one unit that listens there; `None` where there is none, or several of which it cannot be told.
    pub(crate) fn unit_for(&self, endpoint: &Endpoint) -> Option<RawText> {
        let listening =
            || self.units.iter().filter(|unit| unit.listens.iter().any(|listen| listen.means(endpoint)));
        let only = |mut units: Box<dyn Iterator<Item = &Unit> + '_>| match (units.next(), units.next()) {
            (Some(unit), None) => Some(unit.name.clone()),
            _ => None,
        };
        only(Box::new(listening().filter(|unit| unit.runs))).or_else(|| only(Box::new(listening())))
    }

    /// The first process as the holder of one socket: its workload is the unit of that socket.
    pub(crate) fn as_holder_of(&mut self, holder: &Arc<Holder>, endpoint: &Endpoint) -> Arc<Holder> {
        let unit = if holder.id.pid == 1 { self.unit_for(endpoint) } else { None };
        let Some(unit) = unit else { return Arc::clone(holder) };
        if let Some((made_of, shared)) = self.holders.get(&unit)
            && Arc::ptr_eq(made_of, holder)
        {
            return Arc::clone(shared);
        }
        let shared = Arc::new(Holder { workload: Workload::Unit(unit.clone()), ..Holder::clone(holder) });
        self.holders.insert(unit, (Arc::clone(holder), Arc::clone(&shared)));
        shared
    }
}

fn texts(files: &Files, folder: &str) -> Vec<String> {
    files.names(folder).into_iter().filter_map(|name| String::from_utf8(name).ok()).collect()
}

/// `a` of `echo@a.socket`.
fn instance(name: &str) -> Option<&str> {
    let (_, instance) = name.strip_suffix(".socket")?.split_once('@')?;
    (!instance.is_empty()).then_some(instance)
}

/// The unit's file and then its drop-ins, of which the ones of the same name in earlier folders win, in order of name.
fn text_of_unit(files: &Files, folders: &[(&str, Vec<String>)], name: &str) -> String {
    let template = instance(name).map(|instance| name.replacen(instance, "", 1));
    let names: Vec<&str> = template.as_deref().into_iter().chain([name]).collect();
    let read = |path: String| files.read(&path).and_then(|bytes| String::from_utf8(bytes).ok());
    let stands_in = |name: &&str| {
        let folder = folders.iter().find(|(_, names)| names.iter().any(|found| found == name))?;
        read(format!("{}/{name}", folder.0))
    };
    let mut text = names.iter().rev().find_map(stands_in).unwrap_or_default();
    let mut drop_ins = BTreeMap::new();
    for (folder, found) in folders {
        for name in names.iter().map(|name| format!("{name}.d")).filter(|name| found.contains(name)) {
            for file in
                texts(files, &format!("{folder}/{name}")).into_iter().filter(|file| file.ends_with(".conf"))
            {
                drop_ins.entry(file.clone()).or_insert(format!("{folder}/{name}/{file}"));
            }
        }
    }
    for path in drop_ins.into_values() {
        // A section begins anew with each file.
        text.push_str("\n[]\n");
        text.push_str(&read(path).unwrap_or_default());
    }
    text
}

#[cfg(test)]
mod tests;
