use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use baseline::{
    ApprovalChange, Baseline, Mode, Policy, SourceText, changes, keep_last_good, keep_withdrawn,
    load_last_good, parse,
};
use tracing::{error, info, warn};

use crate::approvals::ApprovalStatus;
use crate::snapshot::{Reload, RulesStatus};

/// What one attempt to read the configuration and the baseline gave.
pub struct LoadOutcome {
    /// What the configuration says; its `baseline` is empty and is set here. `Err` is what is wrong with it, for the log.
    pub policy: Result<Policy, String>,
    /// The whole set of baseline files; `None` where there is not one. `Err` is all that is wrong with them, for the log.
    pub baseline: Result<Option<BaselineSet>, String>,
}

/// A baseline as it was read.
pub struct BaselineSet {
    /// Its files, to be kept as the last good set.
    pub texts: Vec<SourceText>,
    /// What they say.
    pub baseline: Baseline,
    /// The commit of the checkout that they stand in, where they stand in one.
    pub git: Option<String>,
}

/// Reads configuration and baseline. It runs as the exporter's user, at the start and at each reload.
pub type Load = Box<dyn FnMut() -> LoadOutcome + Send>;

/// What is judged by: the last good configuration with the last good baseline.
pub(crate) struct Rules {
    load: Load,
    state: PathBuf,
    configured: Policy,
    revision: Option<String>,
    policy: Policy,
    git: Option<String>,
    /// In which approvals what is in force differs from what was, until somebody asks.
    changed: Vec<ApprovalChange>,
    config: Reload,
    baseline: Reload,
}

impl Rules {
    /// Reads for the first time. Fails with what is wrong with the configuration: there is no earlier one.
    pub(crate) fn read(mut load: Load, state: PathBuf, now: SystemTime) -> Result<Self, String> {
        let outcome = load();
        let configured = outcome.policy?;
        let config = Reload { successful: true, succeeded_at: Some(now) };
        let policy = Policy { mode: Mode::Observe, ..configured.clone() };
        let (revision, git, changed, baseline) = Default::default();
        let mut rules = Rules { load, state, configured, revision, policy, git, changed, config, baseline };
        rules.restore_last_good();
        rules.take_baseline(outcome.baseline, now);
        Ok(rules)
    }

    /// Reads again. What is bad or gone leaves the last good one in force.
    pub(crate) fn reload(&mut self, now: SystemTime) {
        let outcome = (self.load)();
        self.config.successful = outcome.policy.is_ok();
        match outcome.policy {
            Ok(configured) => {
                self.config.succeeded_at = Some(now);
                self.configured = configured;
                let baseline = std::mem::take(&mut self.policy.baseline);
                self.put_in_force(baseline, self.revision.clone());
            }
            Err(wrong) => {
                error!("the configuration is not taken over, the last good one stays in force:\n{wrong}");
            }
        }
        self.take_baseline(outcome.baseline, now);
    }

    /// What the last reading put in force, told once.
    pub(crate) fn take_changes(&mut self) -> (Vec<ApprovalChange>, Option<String>) {
        (std::mem::take(&mut self.changed), self.git.clone())
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn status(&self) -> RulesStatus {
        RulesStatus {
            approvals: self.policy.baseline.approvals().len(),
            of_host: ApprovalStatus::all(&self.policy),
            revision: self.revision.clone(),
            baseline: self.baseline,
            config: self.config,
        }
    }

    fn take_baseline(&mut self, read: Result<Option<BaselineSet>, String>, now: SystemTime) {
        let refused = match (read, &self.revision) {
            (Ok(Some(set)), _) => {
                self.take_set(set);
                None
            }
            (Ok(None), None) => {
                info!(
                    "there is no baseline yet: everything is told as drift of severity info, and nothing alerts. \
                     `portledger learn` writes one from what listens now"
                );
                None
            }
            (Ok(None), Some(_)) => Some("its files are gone".to_owned()),
            (Err(wrong), _) => Some(wrong),
        };
        self.baseline.successful = refused.is_none();
        match (refused, &self.revision) {
            (None, _) => self.baseline.succeeded_at = Some(now),
            (Some(why), Some(revision)) => {
                error!("the baseline is not taken over, revision {revision} stays in force:\n{why}");
            }
            (Some(why), None) => {
                error!(
                    "the baseline is not taken over, and there is no earlier one: nothing alerts until it is mended:\n{why}"
                );
            }
        }
    }

    fn take_set(&mut self, set: BaselineSet) {
        let revision = set.baseline.revision().to_owned();
        if self.revision.as_ref() != Some(&revision)
            && let Err(error) = keep_last_good(&self.state, &set.texts)
        {
            warn!("the baseline is in force, but cannot be kept for a restart without its files: {error}");
        }
        self.remember_revocations(&set.baseline);
        self.changed.extend(changes(&self.policy.baseline, &set.baseline));
        self.git = set.git;
        for warning in set.baseline.warnings() {
            warn!("{warning}");
        }
        info!("baseline revision {revision} is in force, {} approvals", set.baseline.approvals().len());
        self.put_in_force(set.baseline, Some(revision));
    }

    /// What a baseline once said to be revoked stays so, whatever becomes of the baseline.
    fn remember_revocations(&self, baseline: &Baseline) {
        let known = &self.configured.trust.withdrawn;
        let mut all = BTreeMap::clone(known);
        let revoked = baseline.revocations().iter().map(|revocation| (&revocation.id, revocation.serial));
        for (id, serial) in revoked.chain(superseded(baseline)) {
            let known = all.entry(id.clone()).or_default();
            *known = serial.max(*known);
        }
        if all != **known
            && let Err(error) = keep_withdrawn(&self.state, &all)
        {
            warn!("what was revoked is in the baseline, but cannot be remembered without it: {error}");
        }
    }

    /// What an earlier process put in force, in case that it cannot be read now.
    fn restore_last_good(&mut self) {
        let texts = match load_last_good(&self.state) {
            Ok(Some(texts)) => texts,
            Ok(None) => return,
            Err(error) => return warn!("the last good baseline cannot be read: {error}"),
        };
        match parse(&texts, &self.configured.trust) {
            Ok(baseline) => {
                let revision = baseline.revision().to_owned();
                self.put_in_force(baseline, Some(revision));
            }
            Err(wrong) => {
                let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
                warn!("the last good baseline is not understood by this release:\n{}", wrong.join("\n"));
            }
        }
    }

    fn put_in_force(&mut self, baseline: Baseline, revision: Option<String>) {
        let mode = if revision.is_some() { self.configured.mode } else { Mode::Observe };
        self.policy = Policy { baseline, mode, ..self.configured.clone() };
        self.revision = revision;
    }
}

/// What was approved anew counts no more as it was before, may that have been for longer or for more.
fn superseded(baseline: &Baseline) -> impl Iterator<Item = (&String, u64)> {
    let counts = baseline.standings().filter(|(approval, standing)| {
        approval.serial > 1 && approval.signature.is_some() && standing.distrust.is_none()
    });
    counts.map(|(approval, _)| (&approval.id, approval.serial - 1))
}

#[cfg(test)]
pub(crate) mod tests;
