use std::time::Duration;

use inventory::{Gap, Holder, RawText, Scope, Workload};

use crate::privileges::cure;

const COLLECTOR: &str = "procfs";

/// What one pass could not see, in numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Unseen {
    /// Why the list of processes could not be read.
    pub(super) no_list: Option<String>,
    pub(super) denied: usize,
    pub(super) processes: usize,
    pub(super) hidden_by: Option<String>,
    pub(super) unsure_threads: usize,
    pub(super) busy_rings: usize,
    /// Processes that failed in a way of their own, and one example.
    pub(super) failed: usize,
    pub(super) failure: Option<String>,
    pub(super) partly_searched: usize,
    pub(super) unsearched: usize,
    pub(super) complete_in: Duration,
}

impl Unseen {
    pub(super) fn gaps(&self) -> Vec<Gap> {
        let Unseen { denied, processes, unsure_threads, failed, partly_searched, unsearched, .. } = self;
        let seconds = self.complete_in.as_secs() + 1;
        let mut reasons = Vec::new();
        if let Some(error) = &self.no_list {
            reasons.push(format!("the list of processes cannot be read: {error}"));
        }
        if *denied > 0 {
            reasons.push(format!(
                "the descriptors of {denied} of {processes} processes cannot be read: {}",
                cure()
            ));
        }
        if let Some(option) = &self.hidden_by {
            reasons.push(format!(
                "{option} hides the processes of other users: give CAP_SYS_PTRACE or mount without it"
            ));
        }
        if *unsure_threads > 0 {
            reasons.push(format!(
                "the descriptors of {unsure_threads} threads were not looked at, for kcmp(2) is refused and does not \
                 tell whether they are those of their process: allow it, or give CAP_SYS_PTRACE"
            ));
        }
        if self.busy_rings > 0 {
            reasons.push(format!(
                "the registered files of {} io_urings could not be read, for they were at work each time",
                self.busy_rings
            ));
        }
        if *failed > 0 {
            let example = self.failure.as_deref().unwrap_or_default();
            reasons.push(format!("{failed} processes could not be read, one of them for: {example}"));
        }
        if *partly_searched > 0 {
            reasons.push(format!(
                "holders of {partly_searched} new sockets were searched among likely processes only: complete search \
                 in {seconds} s"
            ));
        }
        if *unsearched > 0 {
            reasons.push(format!(
                "holders of {unsearched} new sockets were not found among likely processes, and searches have used up \
                 their share of time: complete search in {seconds} s"
            ));
        }
        reasons.into_iter().map(|reason| gap(&reason)).collect()
    }
}

/// What is told of the holders, but not all of it. A program that was not hashed is no gap: its hash is absent, and an
/// approval that pins one does not cover it.
pub(super) fn of_descriptions<'a>(holders: impl Iterator<Item = &'a Holder>) -> Vec<Gap> {
    let is_unnamed = |holder: &&Holder| matches!(&holder.workload, Workload::Container(container) if container.name.is_none());
    let unnamed = holders.filter(is_unnamed).count();
    if unnamed == 0 {
        return Vec::new();
    }
    vec![gap(&format!(
        "the containers of {unnamed} holders are known by their id alone: no state file of Docker, Podman, containerd \
         or CRI-O that can be read names them"
    ))]
}

fn gap(reason: &str) -> Gap {
    Gap {
        collector: COLLECTOR.to_owned(),
        scope: Scope::Holders,
        protocol: None,
        netns: None,
        reason: RawText::from(reason),
    }
}
