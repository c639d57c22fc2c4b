use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;
use baseline::{Baseline, Change, Plan, Subject, Touched, Trust, Turn, plan, shown_path};
use inventory::RawText;
use serde::Serialize;

use super::{Repository, folded};
use crate::arguments::{PlanOptions, ReportFormat, Shared};
use crate::outcome::Outcome;
use crate::say::harmless;
use crate::{inventory_file, judge, page};

/// Services of one change past these are counted, not named.
const NAMED: usize = 20;

/// Shows what a change of the baseline changes.
pub(crate) fn run(shared: &Shared, options: &PlanOptions) -> anyhow::Result<Outcome> {
    let trust = crate::trust::of(shared)?;
    let (old, new) = (baseline_of(&options.old, &trust)?, baseline_of(&options.new, &trust)?);
    let hosts = inventory_file::read_all(&options.inventory)?;
    let plan = plan(old, new, &hosts, &trust, SystemTime::now());
    let mut output = std::io::BufWriter::new(std::io::stdout().lock());
    match options.format {
        ReportFormat::Table => {
            let mut text = Vec::new();
            tell(&plan, &mut text)?;
            output.write_all(harmless(&String::from_utf8_lossy(&text)).as_bytes())?;
        }
        ReportFormat::Json => {
            serde_json::to_writer_pretty(&mut output, &document(&plan))?;
            writeln!(output)?;
        }
    }
    output.flush()?;
    Ok(match (plan.gets_worse(), plan.is_partial()) {
        (true, _) => Outcome::Drift,
        (false, true) => Outcome::Partial,
        (false, false) => Outcome::Clean,
    })
}

/// An old folder that has no baseline yet approves nothing.
fn baseline_of(folder: &Path, trust: &Trust) -> anyhow::Result<Baseline> {
    let is_there = folder.is_dir();
    let repository = Repository::of_folder(folder);
    let texts = match repository.sources.read()? {
        None if is_there => Vec::new(),
        None => repository.read()?,
        Some(texts) => texts,
    };
    judge::parsed(&texts, trust).with_context(|| shown_path(folder).escaped())
}

fn tell(plan: &Plan, output: &mut impl Write) -> anyhow::Result<()> {
    for change in &plan.changes {
        writeln!(output, "{}: {} -> {}", change.turn.as_str(), change.before, change.after)?;
        for touched in change.touched.values().take(NAMED) {
            tell_touched(touched, output)?;
        }
        if let Some(more) = change.touched.len().checked_sub(NAMED).filter(|more| *more > 0) {
            writeln!(output, "  and {more} more services: `--format json` tells all")?;
        }
        writeln!(output)?;
    }
    for (group, hosts) in &plan.untold_groups {
        writeln!(
            output,
            "Who is in the group of accounts `{}` is not told by {}: its approvals cover nothing there. Take the \
             inventories once hosts have the new baseline.",
            RawText::from(group.as_str()),
            names(hosts)
        )?;
    }
    if !plan.partial.is_empty() {
        writeln!(output, "Not all was seen on {}.", names(&plan.partial))?;
    }
    writeln!(output, "{}", summary(plan))?;
    Ok(())
}

fn tell_touched(touched: &Touched, output: &mut impl Write) -> anyhow::Result<()> {
    writeln!(output, "  {}", place(&touched.subject))?;
    for sentence in &touched.differs {
        writeln!(output, "      {sentence}")?;
    }
    writeln!(output, "    on {}", names(&touched.hosts))?;
    Ok(())
}

/// `tcp/*:443 by /usr/sbin/nginx as root, nginx.service`.
fn place(subject: &Subject) -> String {
    let joined = |texts: &[RawText]| page::names(texts.iter().map(RawText::escaped));
    let device = subject.device.as_ref().map(|device| format!("%{}", device.quoted())).unwrap_or_default();
    let netns = match subject.netns.as_bytes() {
        b"host" => String::new(),
        _ => format!(" in {}", subject.netns.quoted()),
    };
    let by = match subject.programs.is_empty() {
        true => String::new(),
        false => format!(" by {}", joined(&subject.programs)),
    };
    let users = match subject.users.is_empty() {
        true => String::new(),
        false => format!(" as {}", page::names(&*subject.users)),
    };
    let of = match subject.workloads.is_empty() {
        true => String::new(),
        false => format!(", {}", joined(&subject.workloads)),
    };
    format!("{}/{}{device}:{}{netns}{by}{users}{of}", subject.protocol, subject.address, subject.port)
}

fn names(hosts: &BTreeSet<RawText>) -> String {
    let names: Vec<String> = hosts.iter().map(RawText::escaped).collect();
    folded(names.iter().map(String::as_str))
}

fn summary(plan: &Plan) -> String {
    let count = |turn: Turn| -> usize {
        let changes = plan.changes.iter().filter(|change| change.turn == turn);
        changes.flat_map(|change| change.touched.values()).map(|touched| touched.hosts.len()).sum()
    };
    let [worse, otherwise, better] = Turn::ALL.map(count);
    let unchanged = plan.services.saturating_sub(worse + otherwise + better);
    format!(
        "{worse} worse, {otherwise} otherwise, {better} better, {unchanged} unchanged, of {} services on {} hosts",
        plan.services, plan.hosts
    )
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    hosts: usize,
    services: usize,
    changes: Vec<ChangeEntry>,
    partial: Vec<String>,
    untold_groups: std::collections::BTreeMap<String, Vec<String>>,
}

#[derive(Serialize)]
struct ChangeEntry {
    turn: &'static str,
    before: String,
    after: String,
    services: Vec<TouchedEntry>,
}

#[derive(Serialize)]
struct TouchedEntry {
    id: String,
    protocol: &'static str,
    address: String,
    port: String,
    netns: String,
    programs: Vec<String>,
    users: Vec<String>,
    workloads: Vec<String>,
    differs: Vec<String>,
    hosts: Vec<String>,
}

fn document(plan: &Plan) -> Document {
    let groups = plan.untold_groups.iter();
    Document {
        schema: 1,
        hosts: plan.hosts,
        services: plan.services,
        changes: plan.changes.iter().map(change_entry).collect(),
        partial: escaped(&plan.partial),
        untold_groups: groups.map(|(group, hosts)| (group.clone(), escaped(hosts))).collect(),
    }
}

fn change_entry(change: &Change) -> ChangeEntry {
    let entry = |(id, touched): (&std::sync::Arc<str>, &Touched)| {
        let subject = &touched.subject;
        TouchedEntry {
            id: id.to_string(),
            protocol: subject.protocol.as_str(),
            address: subject.address.to_string(),
            port: subject.port.to_string(),
            netns: subject.netns.escaped(),
            programs: escaped(&*subject.programs),
            users: subject.users.to_vec(),
            workloads: escaped(&*subject.workloads),
            differs: touched.differs.clone(),
            hosts: escaped(&touched.hosts),
        }
    };
    ChangeEntry {
        turn: change.turn.as_str(),
        before: change.before.to_string(),
        after: change.after.to_string(),
        services: change.touched.iter().map(entry).collect(),
    }
}

fn escaped<'a>(names: impl IntoIterator<Item = &'a RawText>) -> Vec<String> {
    names.into_iter().map(RawText::escaped).collect()
}
