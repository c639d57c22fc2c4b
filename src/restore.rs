mod archive;
mod files;
mod logs;
mod replaced;

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail};
use exporter::Identity;
use ledger::{Act, ActKind, Head, HostKey, HostKeys};
use rustix::fs::OFlags;
use serde_json::json;

use self::archive::Archive;
use self::files::{Aside, Owner, Target};
use self::logs::{Plan, Standing};
use crate::acts::{self, Deed, LEDGER};
use crate::arguments::{RestoreOptions, Shared};
use crate::audit::{ALERTS, EVENTS, LEDGER_KEY, LOGINS, RELOADS, fetched};
use crate::config::Config;
use crate::editing::PATIENCE;
use crate::outcome::Outcome;
use crate::owned;
use crate::page::shown;
use crate::paths::Paths;
use crate::say::{aside, out};
use crate::signer::Approver;

/// Puts a backup back. Whatever instant it is ended at, what is there then is a beginning of it, and a second run goes on.
pub(crate) fn run(shared: &Shared, options: &RestoreOptions) -> anyhow::Result<Outcome> {
    let paths = Paths::absolute(shared)?;
    let archive = Archive::open(&options.backup, &believed(&paths, options)?)?;
    for broken in &archive.broken {
        aside(format_args!("portledger: not restored: {}", shown(broken)));
    }
    if options.dry_run {
        let plan = plan(&paths, &archive, options, Owner::AsItIs)?;
        tell_plan(&plan, &archive.targets(&paths, Owner::AsItIs)?)?;
        return Ok(Outcome::Clean);
    }
    // What is meant for other places is told before a folder is made.
    archive.placed(&paths)?;
    // Held until all is done.
    let _serve = exporter::lock_state(&paths.state)?;
    let identity = Identity::find(&paths.state)?;
    exporter::prepare_state(&paths.state, &identity)?;
    let lock = lock(&paths.state)?;
    acts::refuse_foreign_memory(&paths)?;
    let exporters = Owner::Of(identity.uid(), identity.gid());
    let plan = plan(&paths, &archive, options, exporters)?;
    let missing = missing(&paths, &archive, options)?;
    let targets = archive.targets(&paths, exporters)?;
    // What cannot be replaced is told before anything is.
    targets.iter().try_for_each(|target| target.change().map(drop))?;
    let mut set_aside = Aside::new(&paths.state);
    // The keys come first: a log without them is broken.
    let (keys, others): (Vec<&Target>, Vec<&Target>) = targets.iter().partition(|target| target.is_keys());
    keys.iter().try_for_each(|target| target.put(&mut set_aside))?;
    forget_head(&paths.state, &plan, &mut set_aside)?;
    for plan in &plan {
        plan.carry_out(&paths.state, &mut set_aside)?;
    }
    others.iter().try_for_each(|target| target.put(&mut set_aside))?;
    drop(lock);
    let completed = plan.iter().any(|plan| matches!(plan.standing, Standing::Recorded));
    if !completed {
        record(&paths, &archive, &options.backup, missing)?;
    }
    // A kill may have come between the record and this.
    acts::keep_head(&paths.state, ledger::head(&paths.state, LEDGER)?.unwrap_or_default())?;
    tell_done(&paths, &archive, &set_aside)
}

/// Whose signature on the backup counts.
fn believed(paths: &Paths, options: &RestoreOptions) -> anyhow::Result<HostKeys> {
    if let Some(file) = &options.host_keys {
        return fetched(file);
    }
    owned::check_ledger(&paths.state)?;
    let own = paths.state.join(LEDGER_KEY);
    if own.symlink_metadata().is_err() {
        bail!(
            "{}: there is none, so nothing says whose signature on the backup counts: name the host's public key, fetched \
             before, with --host-keys",
            own.display()
        );
    }
    fetched(&own)
}

/// What is to become of each log. Fails where a log says something else than the backup's, unless it is to be put aside.
fn plan(
    paths: &Paths,
    archive: &Archive,
    options: &RestoreOptions,
    exporters: Owner,
) -> anyhow::Result<Vec<Plan>> {
    let mut plans = Vec::new();
    for log in archive.logs() {
        let plan = Plan::of(log, &paths.state, &archive.sha256, exporters)?;
        if let Standing::Other(why) = &plan.standing
            && !options.replace
        {
            bail!(
                "nothing was restored: the {} in {} is not a beginning of the one in the backup: {why}. With --replace it is \
                 put aside, not deleted",
                name_of(plan.log.name),
                paths.state.display()
            );
        }
        plans.push(plan);
    }
    Ok(plans)
}

/// How far the ledger was here, where records of it are gone that are not in the backup either: nobody would ever miss
/// them again.
fn missing(paths: &Paths, archive: &Archive, options: &RestoreOptions) -> anyhow::Result<Option<Head>> {
    let kept = acts::kept_head(&paths.state)?.unwrap_or_default();
    let found = ledger::head(&paths.state, LEDGER)?.unwrap_or_default();
    let is_missing = kept.record > found.record.max(archive.head().record);
    if is_missing && !options.replace {
        bail!(
            "nothing was restored: the ledger in {} had {} records, and neither the {} that are there nor the {} of the \
             backup are all of them. Keep a copy of the folder, and look for a newer backup; --replace goes on without \
             the others, and says so in the ledger",
            paths.state.display(),
            kept.record,
            found.record,
            archive.head().record
        );
    }
    Ok(is_missing.then_some(kept))
}

fn name_of(log: &str) -> &'static str {
    match log {
        EVENTS => "log of events",
        RELOADS => "log of reloads",
        LOGINS => "log of logins",
        ALERTS => "log of alerts",
        _ => "ledger",
    }
}

fn tell_plan(plans: &[Plan], targets: &[Target]) -> anyhow::Result<()> {
    for plan in plans {
        out(format_args!("{}: {}", name_of(plan.log.name), plan.standing))?;
    }
    for target in targets {
        out(format_args!("{}: {}", shown(&target.to.display().to_string()), target.change()?))?;
    }
    aside("Nothing was written.");
    Ok(())
}

fn tell_done(paths: &Paths, archive: &Archive, set_aside: &Aside) -> anyhow::Result<Outcome> {
    out(format_args!(
        "{}: restored from the backup of {} of {}.",
        paths.state.display(),
        shown(&archive.manifest.host),
        shown(&archive.manifest.made_at)
    ))?;
    if let Some(folder) = set_aside.folder() {
        aside(format_args!("What stood there and was replaced is in {}.", folder.display()));
    }
    aside("This host may sign with a new key: fetch ledger.key.pub again for who verifies elsewhere.");
    aside("`portledger audit --verify` verifies it; then start `portledger serve` again.");
    Ok(Outcome::Clean)
}

/// The head is of the ledger that stood here before. What is put aside keeps it, and its keys.
fn forget_head(state: &Path, plans: &[Plan], set_aside: &mut Aside) -> anyhow::Result<()> {
    let head = state.join(acts::HEAD);
    let Some(plan) = plans.iter().find(|plan| plan.log.name == LEDGER) else { return Ok(()) };
    match plan.standing {
        Standing::Recorded => Ok(()),
        _ if head.symlink_metadata().is_err() => Ok(()),
        Standing::Other(_) => {
            if set_aside.folder().is_none_or(|folder| !folder.join(LEDGER_KEY).exists()) {
                set_aside.copy(&state.join(LEDGER_KEY))?;
            }
            set_aside.take(&head)
        }
        _ => std::fs::remove_file(&head).with_context(|| format!("{}: it cannot be removed", head.display())),
    }
}

/// The first record of a new key, where the old one is gone.
fn record(paths: &Paths, archive: &Archive, file: &Path, missing: Option<Head>) -> anyhow::Result<()> {
    let host = crate::judge::host(&Config::load(paths)?).name.escaped();
    let key = HostKey::load_or_create(&paths.state.join(acts::KEY))?;
    let mut ledger = acts::ledger_lock(&paths.state)?;
    let deed = Deed::of(ActKind::Restore, &Approver::by_name());
    let Head { record, hash } = archive.head();
    // The one that signed the backup may have signed records before.
    let begins = !HostKeys::parse(&archive.manifest.key)?.fingerprints().any(|old| old == key.fingerprint());
    let new = json!({
        "archive": shown(&file.display().to_string()), "sha256": archive.sha256, "host": archive.manifest.host,
        "made_at": archive.manifest.made_at, "head": {"record": record, "hash": hash.to_string()},
        "key": begins.then(|| key.fingerprint()), "replaced": replaced::unrecorded(&paths.state)?,
        "missing": missing,
    });
    let act = Act {
        time: acts::now(),
        host,
        act: ActKind::Restore,
        who: deed.who,
        approval: None,
        serial: None,
        drift: None,
        endpoints: Vec::new(),
        old: None,
        new: Some(new),
        reason: Some(format!("restored from the backup of {}", archive.manifest.made_at)),
        ticket: None,
        file: None,
        revision: None,
        git: None,
        counts: None,
        away: false,
        retired: None,
        gone_since: None,
        of: None,
    };
    ledger
        .append(&[serde_json::to_vec(&act)?])
        .context("all was restored, but not the record that says so")?;
    Ok(())
}

/// No act is recorded while logs are put back.
fn lock(state: &Path) -> anyhow::Result<File> {
    let path = state.join(format!(".{LEDGER}.lock"));
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let file = options.open(&path).with_context(|| path.display().to_string())?;
    let until = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| path.display().to_string()),
            Err(TryLockError::WouldBlock) if Instant::now() >= until => {
                bail!("{}: somebody approves or revokes: try again when that is done", state.display())
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(std::time::Duration::from_millis(20)),
        }
    }
}
