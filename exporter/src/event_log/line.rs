use std::time::Duration;

use baseline::{ClosedBecause, DriftEvent, approval_json};
use inventory::{Holder, Holders, Listener};
use serde::Serialize;

use super::Entry;
use crate::document::{Escaped, NetNsEntry, WorkloadEntry, time};

/// Written in the order of the fields, each as it is in the API.
#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Opened {
        time: String,
        event: &'static str,
        cookie: u64,
        protocol: &'static str,
        address: String,
        port: u16,
        port_choice: &'static str,
        peer: Option<String>,
        netns: NetNsEntry<'a>,
        reach: &'static str,
        holders: Vec<HolderLine<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        holders_left_out: Option<usize>,
        unattributed: Option<&'static str>,
        verdict: &'static str,
        drift: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        service: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        approval: Option<&'a str>,
    },
    Closed {
        time: String,
        event: &'static str,
        cookie: u64,
        protocol: &'static str,
        address: String,
        port: u16,
        lived: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        service: Option<&'a str>,
    },
    Drift {
        time: String,
        event: &'static str,
        drift: &'a str,
        kind: &'static str,
        severity: &'static str,
        why: Option<&'static str>,
        approval: Option<&'a str>,
        by: Option<&'a str>,
    },
    Reload {
        time: String,
        event: &'static str,
        baseline_successful: bool,
        config_successful: bool,
        revision: Option<&'a str>,
        git: Option<&'a str>,
        changed: usize,
    },
    Approval {
        time: String,
        event: &'static str,
        approval: Option<&'a str>,
        serial: Option<u64>,
        old: Option<serde_json::Value>,
        new: Option<serde_json::Value>,
        distrust: Option<&'a str>,
        revision: Option<&'a str>,
        git: Option<&'a str>,
    },
    Crowd {
        time: String,
        event: &'static str,
        netns: NetNsEntry<'a>,
        uid: u32,
        sockets: u64,
        lowest_port: u16,
        highest_port: u16,
        since: String,
    },
    Visit {
        time: String,
        event: &'static str,
        peer: &'a str,
        user: Option<&'a str>,
        why: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'a str>,
        times: u64,
        untold: u64,
    },
    WebConfig {
        time: String,
        event: &'static str,
        file: String,
        sha256: &'a str,
        successful: bool,
        changes: &'a [String],
        why: Option<&'a str>,
    },
}

#[derive(Serialize)]
pub(crate) struct HolderLine<'a> {
    pid: u32,
    started_at: String,
    program: Option<Escaped<'a>>,
    name: Escaped<'a>,
    uid: u32,
    user: Option<&'a str>,
    workload: WorkloadEntry<'a>,
}

/// Of one that is held by more than fit in a record as many holders are told as do.
pub(super) fn body(entry: &Entry) -> serde_json::Result<Vec<u8>> {
    let all = match entry {
        Entry::Opened { listener, .. } => listener.holders.known().len(),
        _ => 0,
    };
    let mut told = all;
    loop {
        let body = serde_json::to_vec(&line(entry, told))?;
        if body.len() <= ledger::MAX_BODY || told == 0 {
            return Ok(body);
        }
        told /= 2;
    }
}

fn line(entry: &Entry, told: usize) -> Line<'_> {
    match entry {
        Entry::Opened { listener, at, verdict, drift, service, approval, users } => Line::Opened {
            time: time(listener.since.unwrap_or(*at)),
            event: "open",
            cookie: listener.id.cookie,
            protocol: listener.endpoint.protocol.as_str(),
            address: listener.endpoint.address.to_string(),
            port: listener.endpoint.port,
            port_choice: listener.port_choice.as_str(),
            peer: listener.peer.map(|peer| peer.to_string()),
            netns: NetNsEntry::of(&listener.netns),
            reach: listener.reach.as_str(),
            holders: holders(listener, users).take(told).collect(),
            holders_left_out: listener
                .holders
                .known()
                .len()
                .checked_sub(told)
                .filter(|left_out| *left_out > 0),
            unattributed: match &listener.holders {
                Holders::Known(_) => None,
                Holders::Unattributed(reason) => Some(reason.as_str()),
            },
            verdict,
            drift: drift.as_ref().map(|id| id.as_str()),
            service: service.as_ref().map(|id| id.as_str()),
            approval: approval.as_deref(),
        },
        Entry::Closed { listener, at, service } => Line::Closed {
            time: time(*at),
            event: "close",
            cookie: listener.id.cookie,
            protocol: listener.endpoint.protocol.as_str(),
            address: listener.endpoint.address.to_string(),
            port: listener.endpoint.port,
            // Zero where the clock was set back meanwhile.
            lived: listener.since.map(|since| lived(at.duration_since(since).unwrap_or_default())),
            service: service.as_ref().map(|id| id.as_str()),
        },
        Entry::Drift { at, event } => {
            let finding = &event.drift().finding;
            let (word, why) = what(event);
            Line::Drift {
                time: time(*at),
                event: word,
                drift: finding.id.as_str(),
                kind: finding.kind.as_str(),
                severity: finding.severity.as_str(),
                why: why.map(ClosedBecause::as_str),
                approval: why.and_then(ClosedBecause::approval),
                by: why.and_then(ClosedBecause::by),
            }
        }
        Entry::Approval { at, change, revision, git } => Line::Approval {
            time: time(*at),
            event: "approval",
            approval: change.approval().map(|approval| approval.id.as_str()),
            serial: change.approval().map(|approval| approval.serial),
            old: change.old.as_ref().map(approval_json),
            new: change.new.as_ref().map(approval_json),
            distrust: change.distrust.as_deref(),
            revision: revision.as_deref(),
            git: git.as_deref(),
        },
        Entry::Crowd(crowd) => Line::Crowd {
            time: time(crowd.time.1),
            event: "crowd",
            netns: NetNsEntry::of(&crowd.netns),
            uid: crowd.uid,
            sockets: crowd.sockets,
            lowest_port: crowd.ports.0,
            highest_port: crowd.ports.1,
            since: time(crowd.time.0),
        },
        Entry::Visit(visit) => Line::Visit {
            time: time(visit.at),
            event: visit.event,
            peer: &visit.peer,
            user: visit.user.as_deref(),
            why: visit.why,
            detail: visit.detail.as_deref(),
            times: visit.times,
            untold: visit.untold,
        },
        Entry::WebConfig(news) => Line::WebConfig {
            time: time(news.at),
            event: "web_config",
            file: news.file.display().to_string(),
            sha256: &news.sha256,
            successful: news.why.is_none(),
            changes: &news.changes,
            why: news.why.as_deref(),
        },
        Entry::Reload { at, status, git, changed } => Line::Reload {
            time: time(*at),
            event: "reload",
            baseline_successful: status.baseline.successful,
            config_successful: status.config.successful,
            revision: status.revision.as_deref(),
            git: git.as_deref(),
            changed: *changed,
        },
    }
}

fn holders<'a>(listener: &'a Listener, users: &'a [Option<String>]) -> impl Iterator<Item = HolderLine<'a>> {
    let users = users.iter().map(Option::as_deref).chain(std::iter::repeat(None));
    let holders = listener.holders.known().iter().zip(users);
    holders.map(|(holder, user)| HolderLine::of(holder, user))
}

impl<'a> HolderLine<'a> {
    pub(crate) fn of(holder: &'a Holder, user: Option<&'a str>) -> Self {
        HolderLine {
            pid: holder.id.pid,
            started_at: time(holder.started_at),
            program: holder.program.as_ref().map(|program| Escaped(&program.path)),
            name: Escaped(&holder.name),
            uid: holder.uid,
            user,
            workload: WorkloadEntry::of(&holder.workload),
        }
    }
}

/// In seconds, to the microsecond.
pub(crate) fn lived(lived: Duration) -> f64 {
    (lived.as_secs_f64() * 1e6).round() / 1e6
}

fn what(event: &DriftEvent) -> (&'static str, Option<&ClosedBecause>) {
    match event {
        DriftEvent::Opened(_) => ("drift_opened", None),
        DriftEvent::Returned(_) => ("drift_returned", None),
        DriftEvent::Gone(_) => ("drift_gone", None),
        DriftEvent::Closed { why, .. } => ("drift_closed", Some(why)),
    }
}
