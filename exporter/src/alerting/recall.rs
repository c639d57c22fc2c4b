//! What alerts tell of and the register does not have: it was lost, damaged, or could not be written.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use baseline::{AddressWord, Dismissal, Drift, DriftId, Finding, PortWord, Register, Subject};
use inventory::RawText;

use super::book::Book;
use crate::alert::{Alert, Moment};

/// Times are written down to the millisecond.
const SAME: Duration = Duration::from_millis(1);

/// Opens it again, so that its alert does not end for want of knowledge: what is there is found and told as ever, and what
/// is gone stays until somebody is done with it, or was since it was told. Returns how many there were. Of those that were told
/// together it is not known which they were.
pub(crate) fn recall(register: &mut Register, book: &Book, dismissed: &[Dismissal]) -> usize {
    let mut let_be: HashMap<&DriftId, SystemTime> = HashMap::new();
    for one in dismissed {
        let since = let_be.entry(&one.drift).or_insert(one.gone_since);
        *since = one.gone_since.max(*since);
    }
    let alerts = book.firing.values().filter_map(|turn| Some((turn.time.at()?, turn.about.drift()?.alert())));
    let found = alerts.filter_map(|(told, alert)| {
        let (finding, first_seen) = (finding(&alert)?, alert.first_seen.at()?);
        // The register has it, or what was let be before.
        let is_known = |open: &Drift| open.first_seen + SAME >= first_seen;
        if register.drift(&finding.id).is_some_and(is_known) {
            return None;
        }
        let let_be = let_be.get(&finding.id).copied().filter(|since| *since >= told);
        let gone_since = let_be.or_else(|| alert.gone_since.and_then(Moment::at));
        register.recall(finding, first_seen, gone_since);
        Some(())
    });
    found.count()
}

/// As far as the alert has it.
fn finding(alert: &Alert) -> Option<Finding> {
    let subject = Subject {
        protocol: alert.protocol.parse().ok()?,
        address: match alert.address.as_str() {
            "*" => AddressWord::Any,
            one => AddressWord::One(one.parse::<IpAddr>().ok()?),
        },
        port: match alert.port.as_str() {
            "kernel" => PortWord::Kernel,
            "*" => PortWord::Any,
            number => PortWord::Number(number.parse().ok()?),
        },
        device: None,
        netns: raw(&alert.netns),
        programs: each(&alert.program).map(raw).collect(),
        users: each(&alert.user).map(str::to_owned).collect(),
        workloads: each(&alert.workload).map(raw).collect(),
        reach: alert.reach.parse().ok(),
    };
    Some(Finding {
        id: alert.drift.as_str().into(),
        kind: alert.kind,
        also: Vec::new(),
        severity: alert.severity,
        approval: alert.approval.clone(),
        differs: alert.differs.clone(),
        team: Some(alert.team.clone()).filter(|team| !team.is_empty()),
        subject,
    })
}

fn each(joined: &str) -> impl Iterator<Item = &str> {
    joined.split(',').filter(|name| !name.is_empty())
}

/// A name that was cut is told as it stands.
fn raw(escaped: &str) -> RawText {
    RawText::from_escaped(escaped).unwrap_or_else(|| RawText::from(escaped))
}
