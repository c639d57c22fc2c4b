use baseline::{Approval, Assessment, Drift, Finding, Judged, Policy, Verdict, approval_json, assess};
use exporter::{Listed, diff_document, listeners_document};
use inventory::{Inventory, RawText};
use serde_json::{Map, Value, json};

use super::history::History;
use super::{Found, approval, next, place, service};
use crate::judge::Judgement;
use crate::page::moment;

/// `listeners`, `gaps` and what is around them are as in `list --format json`, holders with their `parents` besides; only
/// the sockets of `services` are among them. docs/baseline.md tells the rest.
pub(super) fn of(found: &Found<'_>, judgement: &Judgement) -> serde_json::Result<Value> {
    let (part, assessment) = only(found, judgement);
    let document = listeners_document(Listed {
        inventory: &part,
        assessment: &assessment,
        register: found.register,
        accounts: &judgement.accounts,
        host: &judgement.policy.host,
        lost: None,
        filtered: true,
        command_lines: true,
    });
    let mut document = serde_json::to_value(document)?;
    let services: Vec<Value> = found
        .services
        .iter()
        .map(|(judged, history)| of_service(judged, history, found, judgement))
        .collect();
    let kept: serde_json::Result<Vec<Value>> =
        found.kept.iter().map(|(drift, history)| of_kept(drift, history, judgement)).collect();
    let approvals = found.approvals.iter().map(|(known, history)| {
        let mut entry = of_approval(known, judgement);
        entry.insert("history".to_owned(), history.document());
        Value::Object(entry)
    });
    document["services"] = services.into();
    document["kept"] = kept?.into();
    document["approvals"] = approvals.collect();
    document["unread"] = found.unread.clone().into();
    Ok(document)
}

/// The inventory with the sockets of these services alone, and what is said of them.
fn only(found: &Found<'_>, judgement: &Judgement) -> (Inventory, Assessment) {
    let Judgement { inventory, assessment, .. } = judgement;
    let services = found.services.iter().flat_map(|(judged, _)| &judged.service.listeners);
    let mut places: Vec<usize> = services.copied().collect();
    places.sort_unstable();
    let listeners = places.iter().map(|place| inventory.listeners[*place].clone()).collect();
    let service_of = places.iter().map(|place| assessment.service_of[*place]).collect();
    let part = Inventory {
        host: inventory.host.clone(),
        taken_at: inventory.taken_at,
        listeners,
        coverage: inventory.coverage.clone(),
    };
    let mut assessment = assessment.clone();
    assessment.service_of = service_of;
    (part, assessment)
}

fn of_service(judged: &Judged, history: &History, found: &Found<'_>, judgement: &Judgement) -> Value {
    let Judgement { inventory, policy, .. } = judgement;
    let key = &judged.service;
    let listeners: Vec<_> = key.listeners.iter().map(|place| &*inventory.listeners[*place]).collect();
    let (finding, unjudged) = match &judged.verdict {
        Verdict::Drift(finding) => (Some(&**finding), None),
        Verdict::Unjudged => (None, Some(service::why_unjudged(judged, inventory))),
        Verdict::Approved(_) | Verdict::Learned(_) => (None, None),
    };
    let id = service::covering(&judged.verdict).or_else(|| finding?.approval.as_deref());
    let of = id.and_then(|id| policy.baseline.approval(id)).map(|known| of_approval(known, judgement));
    json!({
        "service": key.id.as_str(),
        "endpoint": service::endpoint(key),
        "reach": key.reach.as_str(),
        "reach_because": service::because(&listeners, key.reach),
        "verdict": judged.verdict.as_str(),
        "unjudged_because": unjudged,
        "approval": of,
        "drift": finding.map(|finding| of_drift(finding, found.open(finding))),
        "next": next::of_service(judged, found.open_of(judged), judgement),
        "history": history.document(),
    })
}

fn of_drift(finding: &Finding, open: Option<&Drift>) -> Value {
    json!({
        "id": finding.id.as_str(),
        "kind": finding.kind.as_str(),
        "also": finding.also.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(),
        "severity": open.map_or(finding.severity, |open| open.finding.severity).as_str(),
        "differs": finding.differs,
        "first_seen": open.map(|open| moment(open.first_seen)),
    })
}

/// As `diff` tells what is gone, with the sockets that it was found on.
fn of_kept(drift: &Drift, history: &History, judgement: &Judgement) -> serde_json::Result<Value> {
    let Judgement { inventory, policy, accounts, now, .. } = judgement;
    let none = Inventory { listeners: Vec::new(), ..inventory.clone() };
    // What is required and not in an inventory of nothing would be missing.
    let policy = Policy { baseline: baseline::Baseline::default(), ..policy.clone() };
    let nothing = assess(&none, &policy, accounts, *now);
    let mut entry =
        serde_json::to_value(diff_document(&none, &nothing, &[drift], &policy))?["drifts"][0].take();
    let sockets = Inventory { listeners: drift.listeners().to_vec(), ..none };
    let assessment = assess(&sockets, &policy, accounts, *now);
    let listeners = listeners_document(Listed {
        inventory: &sockets,
        assessment: &assessment,
        register: None,
        accounts,
        host: &policy.host,
        lost: None,
        filtered: true,
        command_lines: true,
    });
    let mut listeners = serde_json::to_value(listeners)?["listeners"].take();
    for listener in listeners.as_array_mut().into_iter().flatten() {
        // Of a baseline without approvals.
        listener.as_object_mut().map(|fields| (fields.remove("verdict"), fields.remove("drift")));
    }
    entry["listeners"] = listeners;
    entry["next"] = serde_json::to_value(next::of_kept(drift))?;
    entry["history"] = history.document();
    Ok(entry)
}

fn of_approval(known: &Approval, judgement: &Judgement) -> Map<String, Value> {
    let policy = &judgement.policy;
    let stands = place(judgement, &known.id);
    let path = stands.as_ref().map(|(source, _)| RawText::new(source.path.as_os_str().as_encoded_bytes()));
    let standing = policy.baseline.standing(&known.id);
    let signed = standing.iter().flat_map(|standing| &standing.signed).map(|signed| {
        json!({
            "by": signed.by,
            "at": signed.at.map(|at| at.to_string()),
            "key": signed.key.as_ref().map(|key| key.fingerprint()),
            "wrong": signed.wrong,
        })
    });
    let matches = approval::matched(known, judgement)
        .map(|(judged, covers)| json!({ "service": judged.service.id.as_str(), "covers": covers }));
    let distrust = standing.and_then(|standing| standing.distrust.as_ref());
    let mut entry = Map::new();
    let mut put = |key: &str, value: Value| entry.insert(key.to_owned(), value);
    put("approval", approval_json(known));
    put("file", path.map(|path| path.escaped()).into());
    put("line", stands.map(|(_, stands)| stands.line).into());
    put("for_this_host", policy.host.is_among(&known.hosts).into());
    put("expired", known.is_expired(next::now(judgement), &policy.trust.time_zone).into());
    put("signed", signed.collect());
    put("distrust", distrust.map(ToString::to_string).into());
    put("matches", matches.collect());
    entry
}
