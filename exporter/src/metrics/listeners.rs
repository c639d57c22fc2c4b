use std::collections::BTreeMap;

use baseline::{Judged, Verdict};
use inventory::{Holders, Protocol, RawText, Reach, Unattributed};
use prometheus::proto::MetricFamily;

use super::families::{LISTENER_INFO, LISTENERS, UNATTRIBUTED};
use super::family::{Sample, number};
use super::join;
use crate::snapshot::Snapshot;

/// How many services are told as series of their own, where they are asked for.
const MAX_SERVICES: usize = 2_000;

/// Every protocol with every reach and every verdict, also where there is none of it.
pub(super) fn aggregate(snapshot: &Snapshot) -> MetricFamily {
    let mut counts: BTreeMap<(Protocol, Reach, &str), usize> = BTreeMap::new();
    if let Some(pass) = &snapshot.judged {
        let judged = pass.assessment.service_of.iter().map(|place| pass.assessment.services.get(*place));
        for (listener, judged) in pass.inventory.listeners.iter().zip(judged.chain(std::iter::repeat(None))) {
            let verdict = judged.map_or(&Verdict::Unjudged, |judged| &judged.verdict);
            *counts.entry((listener.endpoint.protocol, listener.reach, verdict.as_str())).or_default() += 1;
        }
    }
    let mut samples = Vec::new();
    for protocol in Protocol::ALL {
        for reach in Reach::ALL {
            for verdict in Verdict::WORDS {
                let count = counts.get(&(protocol, reach, verdict)).copied().unwrap_or_default();
                samples.push(Sample::new([protocol.as_str(), reach.as_str(), verdict], number(count)));
            }
        }
    }
    LISTENERS.of(samples)
}

/// A family with how many series were left out of it.
pub(super) struct Info {
    pub(super) family: MetricFamily,
    pub(super) dropped: usize,
}

/// By service and not by socket: reuse-port twins would be the same series twice.
pub(super) fn info(snapshot: &Snapshot) -> Info {
    let services = snapshot.judged.as_ref().map_or(&[][..], |pass| &pass.assessment.services);
    // Those that have a peer go by the same id.
    let services = services.iter().filter(|judged| !judged.service.connected);
    let told = services.clone().take(MAX_SERVICES);
    Info {
        family: LISTENER_INFO.of(told.map(|judged| Sample::owned(labels(judged), 1.0))),
        dropped: services.count().saturating_sub(MAX_SERVICES),
    }
}

fn labels(judged: &Judged) -> [String; 11] {
    let service = &judged.service;
    [
        service.id.to_string(),
        service.protocol.as_str().to_owned(),
        service.address.to_string(),
        service.port.to_string(),
        service.device.as_ref().map(RawText::escaped).unwrap_or_default(),
        service.netns.escaped(),
        join(&*service.programs),
        join(&service.users.iter().map(|user| RawText::from(user.as_str())).collect::<Vec<_>>()),
        join(&*service.workloads),
        service.reach.as_str().to_owned(),
        judged.verdict.as_str().to_owned(),
    ]
}

/// Every reason, also where no socket has it.
pub(super) fn unattributed(snapshot: &Snapshot) -> MetricFamily {
    let mut counts: BTreeMap<Unattributed, usize> = BTreeMap::new();
    let listeners = snapshot.judged.as_ref().map_or(&[][..], |pass| &pass.inventory.listeners);
    for listener in listeners {
        if let Holders::Unattributed(reason) = &listener.holders {
            *counts.entry(*reason).or_default() += 1;
        }
    }
    UNATTRIBUTED.of(Unattributed::ALL.map(|reason| {
        Sample::new([reason.as_str()], number(counts.get(&reason).copied().unwrap_or_default()))
    }))
}
