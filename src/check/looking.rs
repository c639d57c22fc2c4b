use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use baseline::{Drift, Register};
use exporter::{Listed, diff_document, dismissed, listeners_document, open_drifts};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::arguments::Shared;
use crate::asking::answers::SCHEMA;
use crate::asking::{Asked, Failure, Looked};
use crate::judge::{self, Judgement};
use crate::page::shown;

/// Looks at this host in this process, for no longer than `patience`: what takes longer ends with the process.
pub(super) fn look(shared: &Shared, patience: Duration) -> Asked {
    let (sender, receiver) = mpsc::channel();
    let shared = shared.clone();
    std::thread::spawn(move || sender.send(look_once(&shared)).unwrap_or_default());
    receiver.recv_timeout(patience).unwrap_or_else(|_| {
        let what = format!("looking at this host took more than {} s, or failed", patience.as_secs());
        Asked::nothing(Failure {
            what,
            next: "Give it more with --timeout, or ask a daemon: `portledger serve`.",
        })
    })
}

fn look_once(shared: &Shared) -> Asked {
    let told = judge::once(shared).and_then(|judgement| Ok(told(&judgement)?));
    told.unwrap_or_else(|error| {
        let what = format!("this host could not be looked at: {}", shown(&format!("{error:#}")));
        Asked::nothing(Failure { what, next: "`sudo portledger diff` tells more." })
    })
}

/// In the words of a daemon, so that both are decided alike.
fn told(judgement: &Judgement) -> Result<Asked, serde_json::Error> {
    let Judgement { inventory, assessment, accounts, policy, .. } = judgement;
    let (register, gone_unknown) = remembered(judgement);
    let found: BTreeSet<_> =
        assessment.findings().chain(&assessment.absent).map(|finding| &finding.id).collect();
    let gone: Vec<&Drift> = register.drifts().filter(|drift| !found.contains(drift.id())).collect();
    let details: crate::asking::answers::Details = read(diff_document(inventory, assessment, &gone, policy))?;
    let listed = Listed {
        inventory,
        assessment,
        register: None,
        accounts,
        host: &policy.host,
        lost: None,
        filtered: false,
        command_lines: false,
    };
    let listeners: crate::asking::answers::Listeners = read(listeners_document(listed))?;
    let count = |severity| {
        let drifts = || details.drifts.iter().filter(|drift| drift.severity == severity);
        json!({"open": drifts().count(), "gone": drifts().filter(|drift| drift.gone_since.is_some()).count()})
    };
    let coverage = &inventory.coverage;
    let shares: serde_json::Map<_, _> = inventory::Scope::ALL
        .into_iter()
        .map(|scope| (scope.as_str().to_owned(), json!(coverage.shares.of(scope))))
        .collect();
    let status = json!({
        "schema": SCHEMA,
        "host": inventory.host.escaped(),
        "now": moment(SystemTime::now()),
        "taken_at": moment(inventory.taken_at),
        "ready": true,
        "unready": null,
        "sensor": {"last_frame": moment(inventory.taken_at), "silent_seconds": 0},
        "mode": match assessment.mode { baseline::Mode::Observe => "observe", baseline::Mode::Enforce => "enforce" },
        "baseline": {
            "revision": judgement.has_baseline().then(|| policy.baseline.revision()),
            "approvals": policy.baseline.approvals().len(),
            "last_reload_successful": true,
        },
        "listeners": inventory.listeners.len().saturating_sub(assessment.udp_clients),
        "drifts": {
            "critical": count(baseline::Severity::Critical),
            "warning": count(baseline::Severity::Warning),
            "info": count(baseline::Severity::Info),
        },
        "coverage": {
            "may_hide_listeners": coverage.may_hide_listeners(),
            "may_hide_holders": coverage.may_hide_holders(),
            "gaps": coverage.gaps.len(),
            "shares": shares,
            "events": coverage.events.as_str(),
        },
    });
    Ok(Asked {
        status: Ok(serde_json::from_value(status)?),
        details: Some(Ok(details)),
        listeners: Some(Ok(listeners)),
        filters: Vec::new(),
        unfiltered: 0,
        looked: Some(Looked { gone_unknown }),
        trace: vec![format!("looked     {} listeners", inventory.listeners.len())],
    })
}

/// What `serve` has open, as it would be after this look; and why that is not known.
fn remembered(judgement: &Judgement) -> (Register, Option<String>) {
    let Judgement { inventory, assessment, accounts, policy, paths, .. } = judgement;
    match open_drifts(&paths.state) {
        Ok(Some(mut register)) => {
            // Nobody may have read the ledger since.
            register.dismiss(&dismissed(&paths.state));
            register.update(inventory, assessment, policy, accounts, judgement.now);
            (register, None)
        }
        Ok(None) => (Register::default(), Some("no `serve` keeps it here".to_owned())),
        Err(error) => (Register::default(), Some(shown(&error.to_string()))),
    }
}

fn read<T: DeserializeOwned>(document: impl Serialize) -> Result<T, serde_json::Error> {
    serde_json::from_value(serde_json::to_value(document)?)
}

fn moment(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| "beyond the calendar".to_owned(), |time| format!("{time:.3}"))
}
