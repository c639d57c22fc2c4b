use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow, bail};
use baseline::{
    Accounts, Assessment, Baseline, Host, Mode, Policy, SourceText, Trust, assess, git_commit,
    load_last_good, parse,
};
use exporter::{AccountBook, BaselineSet, LoadOutcome};
use inventory::{Inventory, RawText};
use jiff::tz::TimeZone;
use sensor::{Bpf, Hashing, Sensor};

use crate::arguments::Shared;
use crate::config::Config;
use crate::gaps::gap_line;
use crate::loader::loader;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::say::aside;
use crate::sensor::{options, workers};
use crate::trust::trust;

/// How long an approval holds that is written on the host itself, where nobody says so: until it is in the baseline that
/// hosts share, or forgotten.
pub(crate) const LOCAL_APPROVALS: Duration = Duration::from_secs(90 * 86_400);

/// What listens now, held against the baseline.
pub(crate) struct Judgement {
    pub(crate) paths: Paths,
    pub(crate) policy: Policy,
    /// The files of the baseline; `None` where there is none yet.
    pub(crate) texts: Option<Vec<SourceText>>,
    pub(crate) inventory: Inventory,
    pub(crate) accounts: Accounts,
    pub(crate) assessment: Assessment,
    pub(crate) now: SystemTime,
    /// How long an approval holds that is written on the host itself.
    pub(crate) local_approvals: Duration,
}

/// Looks once and judges. Without a baseline that can be used nothing is judged, unless there never was one.
pub(crate) fn once(shared: &Shared) -> anyhow::Result<Judgement> {
    let paths = Paths::of(shared)?;
    let config = Config::load(&paths)?;
    let texts = read_baseline(&paths)?;
    let trust = Arc::new(trust(&paths, &config)?);
    let baseline = texts.as_deref().map(|texts| parsed(texts, &trust)).transpose()?;
    look(paths, &config, trust, texts, baseline, Hashing::On, Bpf::Always(loader))
}

/// Looks once and judges by what can be had: with a baseline that cannot be used by the last good one, or by none. Also
/// gives what is wrong with it. Programs are hashed where their hashes are shown, or wanted to judge.
pub(crate) fn in_any_case(
    shared: &Shared,
    shows_hashes: bool,
) -> anyhow::Result<(Judgement, Option<anyhow::Error>)> {
    let paths = Paths::of(shared)?;
    let config = Config::load(&paths)?;
    let (trust, distrust) = match trust(&paths, &config) {
        Ok(trust) => (Arc::new(trust), None),
        // Nobody's word counts then, not everybody's.
        Err(wrong) => (Arc::new(Trust::in_nobody(TimeZone::system())), Some(wrong)),
    };
    let read = read_baseline(&paths).and_then(|texts| {
        let baseline = texts.as_deref().map(|texts| parsed(texts, &trust)).transpose()?;
        Ok((texts, baseline))
    });
    let ((texts, baseline), wrong) = match read {
        Ok(read) => (read, distrust),
        Err(wrong) => {
            let kept = load_last_good(&paths.state).ok().flatten();
            let baseline = kept.as_deref().and_then(|texts| parse(texts, &trust).ok());
            ((kept, baseline), Some(wrong))
        }
    };
    let pins_programs = baseline.as_ref().is_some_and(Baseline::pins_programs);
    let hashing = if shows_hashes || pins_programs { Hashing::On } else { Hashing::Off };
    Ok((look(paths, &config, trust, texts, baseline, hashing, Bpf::WhenItPays(loader))?, wrong))
}

/// The files of the baseline; `None` where there is none and `serve` has never had one either.
fn read_baseline(paths: &Paths) -> anyhow::Result<Option<Vec<SourceText>>> {
    let texts = paths.sources.read()?;
    if texts.is_none() && matches!(load_last_good(&paths.state), Ok(Some(_))) {
        let path = paths.sources.default_file().unwrap_or(Path::new("baseline.toml"));
        bail!(
            "{}: the baseline is gone, and there was one: `serve` goes on with the last good one, kept in {}. Put the \
             file back; if none is wanted any more, remove last-good-baseline.json there",
            path.display(),
            paths.state.display()
        );
    }
    Ok(texts)
}

fn look(
    paths: Paths,
    config: &Config,
    trust: Arc<Trust>,
    texts: Option<Vec<SourceText>>,
    baseline: Option<Baseline>,
    hashing: Hashing,
    bpf: Bpf,
) -> anyhow::Result<Judgement> {
    let policy = policy(config, baseline, trust);
    for warning in policy.baseline.warnings() {
        aside(format_args!("portledger: {warning}"));
    }
    let _progress = Progress::of("looking at sockets and their holders");
    let mut sensor =
        Sensor::new(options(config, hashing, workers(), bpf)).context("cannot look at this host")?;
    let inventory = sensor.pass();
    let accounts = AccountBook::new().resolve(&inventory, &policy.baseline);
    for unknown in policy.baseline.unknown_accounts(&accounts) {
        aside(format_args!("portledger: {unknown}"));
    }
    let now = inventory.taken_at;
    let assessment = assess(&inventory, &policy, &accounts, now);
    let local_approvals = config.local_approvals.unwrap_or(LOCAL_APPROVALS);
    Ok(Judgement { paths, policy, texts, inventory, accounts, assessment, now, local_approvals })
}

/// What is judged by now, and whether there is a baseline, for a verb that goes on looking.
pub(crate) fn rules(paths: &Paths, config: &Config) -> anyhow::Result<(Policy, bool)> {
    let texts = read_baseline(paths)?;
    let trust = Arc::new(trust(paths, config)?);
    let baseline = texts.as_deref().map(|texts| parsed(texts, &trust)).transpose()?;
    let policy = policy(config, baseline, trust);
    for warning in policy.baseline.warnings() {
        aside(format_args!("portledger: {warning}"));
    }
    Ok((policy, texts.is_some()))
}

/// What is judged by with these files, without saying what can be meant otherwise.
pub(crate) fn policy_over(paths: &Paths, config: &Config, texts: &[SourceText]) -> anyhow::Result<Policy> {
    let trust = Arc::new(trust(paths, config)?);
    let baseline = parsed(texts, &trust)?;
    Ok(policy(config, Some(baseline), trust))
}

/// Reads configuration and baseline for the exporter.
pub(crate) fn load(paths: &Paths) -> LoadOutcome {
    let configured = Config::load(paths).and_then(|config| {
        let trust = Arc::new(trust(paths, &config)?);
        Ok((config, trust))
    });
    let config = configured.map_err(|error| format!("{error:#}"));
    let read = paths.sources.read().map_err(anyhow::Error::from);
    let set = read.and_then(|texts| {
        let Some(texts) = texts else { return Ok(None) };
        let Ok((_, trust)) = &config else { bail!("the configuration does not say whose word counts") };
        let git = texts.first().and_then(|source| git_commit(&source.path));
        Ok(Some(BaselineSet { baseline: parsed(&texts, trust)?, texts, git }))
    });
    LoadOutcome {
        // The mode that holds once there is a baseline.
        policy: config.clone().map(|(config, trust)| policy(&config, Some(Baseline::default()), trust)),
        baseline: set.map_err(|error| format!("{error:#}")),
    }
}

/// This host, as the configuration calls it.
pub(crate) fn host(config: &Config) -> Host {
    let named = config.host.as_deref().map(RawText::from);
    let name = named.unwrap_or_else(|| RawText::new(rustix::system::uname().nodename().to_bytes()));
    Host { name, groups: config.groups.iter().cloned().collect() }
}

/// All mistakes at once, each with its place.
pub(crate) fn parsed(texts: &[SourceText], trust: &Trust) -> anyhow::Result<Baseline> {
    parse(texts, trust).map_err(|mistakes| {
        let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        anyhow!("the baseline cannot be used\n{}", told.join("\n"))
    })
}

fn policy(config: &Config, baseline: Option<Baseline>, trust: Arc<Trust>) -> Policy {
    let host = host(config);
    let has_baseline = baseline.is_some();
    let mut policy = Policy::new(baseline, host, trust);
    if let Some(mode) = config.mode.filter(|mode| has_baseline || *mode == Mode::Observe) {
        policy.mode = mode;
    }
    if let Some(missing_after) = config.missing_after {
        policy.missing_after = missing_after;
    }
    policy.severities = config.severity.clone();
    policy.remedy = config.remedy();
    policy
}

impl Judgement {
    pub(crate) fn has_baseline(&self) -> bool {
        self.texts.is_some()
    }

    /// Sockets or holders may be missing from what was seen.
    pub(crate) fn is_partial(&self) -> bool {
        let coverage = &self.inventory.coverage;
        coverage.may_hide_listeners() || coverage.may_hide_holders()
    }

    /// Says on the standard error what was not seen.
    pub(crate) fn tell_gaps(&self) {
        let gaps = &self.inventory.coverage.gaps;
        if gaps.is_empty() {
            return;
        }
        aside("\nNot seen:");
        for gap in gaps {
            aside(format_args!("  {}", gap_line(gap)));
        }
    }
}
