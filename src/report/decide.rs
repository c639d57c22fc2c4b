//! What each service is worth to the item, with its evidence: pure.

use std::collections::BTreeMap;
use std::time::SystemTime;

use baseline::{
    Approval, Assessment, DriftKind, Finding, Judged, Policy, Signatures, SourceText, Verdict, approval_json,
    edit,
};
use inventory::{Inventory, NetNsKind, RawText, Reach, Scope};
use jiff::Timestamp;
use serde::Serialize;

use super::acts::{Act, Acts, Ledger, LedgerState};
use super::{CONTROL, Control};
use crate::gaps::gap_line;
use crate::page::{moment, shown};
use crate::show::{endpoint, why_unjudged};

/// What was looked at, and what it is held against.
pub(super) struct Seen<'a> {
    pub(super) inventory: &'a Inventory,
    pub(super) assessment: &'a Assessment,
    pub(super) policy: &'a Policy,
    /// The files of the baseline; `None` where there is none.
    pub(super) texts: Option<&'a [SourceText]>,
    pub(super) now: SystemTime,
}

/// Who makes the report, and of what.
pub(super) struct Made {
    pub(super) by: String,
    pub(super) version: &'static str,
    pub(super) git: Option<String>,
}

/// Schema 1 of docs/report.md. Texts are escaped: none holds what a terminal obeys.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) schema: u32,
    pub(super) control: Control,
    pub(super) result: Ruling,
    /// Why, sentences.
    pub(super) because: Vec<String>,
    pub(super) host: String,
    pub(super) taken_at: String,
    pub(super) made_by: String,
    pub(super) version: &'static str,
    pub(super) baseline: Option<Standard>,
    pub(super) ledger: Ledger,
    /// How many services of the item have which verdict.
    pub(super) counts: BTreeMap<Word, usize>,
    /// What the item judges.
    pub(super) services: Vec<Item>,
    /// What it does not.
    pub(super) apart: Vec<Item>,
    /// What was not seen.
    pub(super) unseen: Vec<String>,
}

/// What the services are held against.
#[derive(Debug, Serialize)]
pub(super) struct Standard {
    pub(super) revision: String,
    /// The commit of the checkout around it.
    pub(super) git: Option<String>,
    /// `required`, `recorded` or `off`.
    pub(super) signatures: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ruling {
    Pass,
    Fail,
    CannotBeSaid,
}

/// The verdict on a service, in an auditor's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    Approved,
    /// `learn` wrote it down, and nobody has approved it.
    Learned,
    /// An approval covers it, and its signatures do not count.
    Untrusted,
    /// An approval covered it until it expired.
    Expired,
    Drift,
    Unjudged,
}

/// What a service does to the result. Ordered as a reader wants them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bears {
    Fail,
    Open,
    Pass,
    /// Nothing: the item is not about it.
    Nothing,
}

#[derive(Debug, Serialize)]
pub(super) struct Item {
    pub(super) service: String,
    pub(super) endpoint: String,
    pub(super) reach: &'static str,
    pub(super) programs: Vec<String>,
    pub(super) users: Vec<String>,
    pub(super) workloads: Vec<String>,
    pub(super) verdict: Word,
    pub(super) bears: Bears,
    /// Sentences.
    pub(super) why: Vec<String>,
    /// The approval that covers it, covered it, or would if it counted.
    pub(super) evidence: Option<Evidence>,
}

#[derive(Debug, Serialize)]
pub(super) struct Evidence {
    pub(super) approval: String,
    /// `/etc/portledger/baseline.toml:12`
    pub(super) place: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) ticket: Option<String>,
    pub(super) by: Option<String>,
    pub(super) at: Option<String>,
    pub(super) expires: Option<String>,
    /// Who signed it; verified now.
    pub(super) signatures: Vec<Signature>,
    /// Whether the signatures were looked at.
    pub(super) verified: bool,
    /// Why it does not count.
    pub(super) distrust: Option<String>,
    /// The last act of this host's ledger that wrote it.
    pub(super) act: Option<ActEvidence>,
}

#[derive(Debug, Serialize)]
pub(super) struct Signature {
    /// A principal of allowed_signers, where nothing is wrong.
    pub(super) principal: String,
    pub(super) at: Option<String>,
    pub(super) key: Option<String>,
    pub(super) wrong: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct ActEvidence {
    pub(super) record: u64,
    pub(super) act: String,
    pub(super) time: String,
    pub(super) who: String,
    /// A signature of this host stands for the record.
    pub(super) vouched: bool,
    /// The approval is as the act wrote it.
    pub(super) unchanged: bool,
}

impl Report {
    pub(super) fn of(seen: &Seen<'_>, acts: &Acts, made: Made) -> Self {
        let items = seen.assessment.services.iter().map(|judged| item(judged, seen, acts));
        let (apart, mut services): (Vec<Item>, Vec<Item>) =
            items.partition(|item| item.bears == Bears::Nothing);
        services.sort_by_key(|item| item.bears);
        let mut counts = BTreeMap::new();
        services.iter().for_each(|item| *counts.entry(item.verdict).or_default() += 1);
        let (result, because) = rule(&services, seen, acts.ledger.state);
        let baseline = seen.texts.map(|_| Standard {
            revision: seen.policy.baseline.revision().to_owned(),
            git: made.git,
            signatures: seen.policy.trust.signatures.as_str(),
        });
        Report {
            schema: 1,
            control: CONTROL,
            result,
            because,
            host: seen.policy.host.name.escaped(),
            taken_at: moment(seen.now),
            made_by: shown(&made.by),
            version: made.version,
            baseline,
            ledger: acts.ledger.clone(),
            counts,
            services,
            apart,
            unseen: seen.inventory.coverage.gaps.iter().map(gap_line).collect(),
        }
    }
}

/// What is known to be wrong is told whatever was not seen; what was not seen is never a pass.
fn rule(services: &[Item], seen: &Seen<'_>, ledger: LedgerState) -> (Ruling, Vec<String>) {
    let count = |bears| services.iter().filter(|item| item.bears == bears).count();
    let (failing, open, all) = (count(Bears::Fail), count(Bears::Open), services.len());
    let mut because = Vec::new();
    if seen.texts.is_none() {
        because.push("There is no baseline, so nothing is approved.".to_owned());
    }
    if failing > 0 {
        because.push(format!("Not approved: {failing} of {all} services that other hosts can reach."));
    }
    let doubts = because.len();
    let coverage = &seen.inventory.coverage;
    let has_addresses = coverage.gaps.iter().all(|gap| gap.scope != Scope::Addresses);
    if coverage.may_hide_listeners() || coverage.may_hide_holders() || !has_addresses {
        because.push("Not all was seen: what listens, who holds it, or who can reach it.".to_owned());
    }
    if open > 0 {
        because.push(format!("Not judged: {open} of {all} services that other hosts can reach."));
    }
    match ledger {
        LedgerState::Broken => because.push("The ledger of acts is broken.".to_owned()),
        LedgerState::Unread => because.push("The ledger of acts could not be read.".to_owned()),
        LedgerState::Whole | LedgerState::Empty => {}
    }
    let result = match (failing, because.len() > doubts) {
        (1.., _) => Ruling::Fail,
        (0, true) => Ruling::CannotBeSaid,
        (0, false) => {
            because.push(match all {
                0 => "Nothing listens that other hosts can reach.".to_owned(),
                all => format!("Approved: all of {all} services that other hosts can reach."),
            });
            Ruling::Pass
        }
    };
    (result, because)
}

fn item(judged: &Judged, seen: &Seen<'_>, acts: &Acts) -> Item {
    let service = &judged.service;
    let (verdict, mut why, approval) = match &judged.verdict {
        Verdict::Approved(id) => (Word::Approved, Vec::new(), Some(&**id)),
        Verdict::Learned(id) => {
            let why = "`learn` wrote it down as it was found, and nobody has approved it".to_owned();
            (Word::Learned, vec![why], Some(&**id))
        }
        Verdict::Drift(finding) => drift(finding, seen),
        Verdict::Unjudged => (Word::Unjudged, vec![why_unjudged(judged, seen.inventory).to_owned()], None),
    };
    let bears = match verdict {
        _ if service.reach <= Reach::Loopback => {
            why.push(format!("its reach is {}: no other host can send to it", service.reach));
            Bears::Nothing
        }
        Word::Approved => Bears::Pass,
        Word::Learned | Word::Untrusted | Word::Expired | Word::Drift => Bears::Fail,
        Word::Unjudged if is_of_item(judged) => Bears::Open,
        Word::Unjudged => Bears::Nothing,
    };
    let approval = approval.and_then(|id| seen.policy.baseline.approval(id));
    Item {
        service: service.id.as_str().to_owned(),
        endpoint: endpoint(service),
        reach: service.reach.as_str(),
        programs: service.programs.iter().map(RawText::escaped).collect(),
        users: service.users.iter().map(|user| shown(user)).collect(),
        workloads: service.workloads.iter().map(RawText::escaped).collect(),
        verdict,
        bears,
        why,
        evidence: approval.map(|approval| evidence(approval, seen, acts)),
    }
}

/// An approval that only comes near proves nothing, and is no evidence.
fn drift<'a>(finding: &'a Finding, seen: &Seen<'_>) -> (Word, Vec<String>, Option<&'a str>) {
    let nearest = finding.approval.as_deref();
    let standing = nearest.and_then(|id| seen.policy.baseline.standing(id));
    let distrusted = standing.is_some_and(|standing| standing.distrust.is_some());
    let (word, approval) = match finding.kind {
        DriftKind::Untrusted if distrusted => (Word::Untrusted, nearest),
        DriftKind::Expired => (Word::Expired, nearest),
        _ => (Word::Drift, None),
    };
    let kinds = std::iter::once(&finding.kind).chain(&finding.also);
    let kinds: Vec<String> = kinds.map(|kind| kind.as_str().replace('_', " ")).collect();
    let told = finding.differs.iter().map(|sentence| shown(sentence));
    (word, std::iter::once(kinds.join(", ")).chain(told).collect(), approval)
}

/// Of what is not judged: whether it waits for others on the host's networks. A client of UDP and a socket with one peer do
/// not; a container that publishes nothing is on no interface of the host.
fn is_of_item(judged: &Judged) -> bool {
    let service = &judged.service;
    let asks_itself = service.connected || judged.is_udp_client();
    !asks_itself && (service.unattributed.is_some() || service.netns_kind != NetNsKind::Container)
}

fn evidence(approval: &Approval, seen: &Seen<'_>, acts: &Acts) -> Evidence {
    let policy = seen.policy;
    let text = |text: &Option<String>| text.as_deref().map(shown);
    let expires = approval.expires.map(|expires| {
        let zone = &policy.trust.time_zone;
        let now = Timestamp::try_from(seen.now).unwrap_or(Timestamp::MAX);
        let over = if approval.is_expired(now, zone) { ", which is over" } else { "" };
        format!("{expires}{over}")
    });
    let standing = policy.baseline.standing(&approval.id);
    let signed = standing.iter().flat_map(|standing| &standing.signed).map(|signed| Signature {
        principal: shown(&signed.by),
        at: signed.at.map(|at| at.to_string()),
        key: signed.key.as_ref().map(|key| key.fingerprint()),
        wrong: signed.wrong.as_deref().map(shown),
    });
    let distrust = standing.and_then(|standing| standing.distrust.as_ref());
    let stands = seen.texts.iter().flat_map(|texts| texts.iter()).find_map(|source| {
        let path = RawText::new(source.path.as_os_str().as_encoded_bytes());
        Some(format!("{path}:{}", edit::find(source, &approval.id)?.line))
    });
    Evidence {
        approval: shown(&approval.id),
        place: stands,
        reason: text(&approval.reason),
        ticket: text(&approval.ticket),
        by: text(&approval.by),
        at: approval.at.map(|at| at.to_string()),
        expires,
        signatures: signed.collect(),
        verified: policy.trust.signatures != Signatures::Off,
        distrust: distrust.map(|distrust| shown(&distrust.to_string())),
        act: acts.last(&approval.id).map(|act| of_act(act, approval)),
    }
}

fn of_act(act: &Act, approval: &Approval) -> ActEvidence {
    ActEvidence {
        record: act.record,
        act: act.act.clone(),
        time: act.time.clone(),
        who: act.who.clone(),
        vouched: act.vouched,
        unchanged: act.new == approval_json(approval),
    }
}

impl Ruling {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Ruling::Pass => "PASS",
            Ruling::Fail => "FAIL",
            Ruling::CannotBeSaid => "CANNOT BE SAID",
        }
    }
}

impl Word {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Word::Approved => "approved",
            Word::Learned => "learned, never approved",
            Word::Untrusted => "approved, but does not count",
            Word::Expired => "approved, but expired",
            Word::Drift => "not approved",
            Word::Unjudged => "not judged",
        }
    }
}

impl Report {
    /// `3 approved, 1 learned, never approved`, by verdict.
    pub(super) fn tally(&self) -> String {
        if self.counts.is_empty() {
            return "none".to_owned();
        }
        let each = self.counts.iter().map(|(word, count)| format!("{count} {}", word.as_str()));
        each.collect::<Vec<_>>().join("; ")
    }

    /// What the services are held against, in words.
    pub(super) fn held_against(&self) -> String {
        let Some(standard) = &self.baseline else { return "none".to_owned() };
        let git = standard.git.as_ref().map(|git| format!(", git commit {git}")).unwrap_or_default();
        format!("revision {}{git}; signatures {}", standard.revision, standard.signatures)
    }
}

impl Evidence {
    /// In words: who approved it, and when.
    pub(super) fn approver(&self) -> String {
        let by = self.by.clone().unwrap_or_else(|| "nobody is named".to_owned());
        by + &self.at.as_ref().map(|at| format!(", at {at}")).unwrap_or_default()
    }

    /// In words: what each signature is worth.
    pub(super) fn signed(&self) -> Vec<String> {
        if !self.verified {
            return vec!["not looked at: the configuration says `signatures = \"off\"`".to_owned()];
        }
        if self.signatures.is_empty() {
            return vec!["unsigned: the name proves nothing".to_owned()];
        }
        let each = self.signatures.iter().map(|signed| {
            let key = signed.key.as_deref().unwrap_or("a key that cannot be read");
            let at = signed.at.as_ref().map(|at| format!(", at {at}")).unwrap_or_default();
            let worth =
                signed.wrong.as_ref().map_or("verified against allowed_signers".to_owned(), |wrong| {
                    format!("DOES NOT COUNT: {wrong}")
                });
            format!("by {} with {key}{at}: {worth}", signed.principal)
        });
        each.collect()
    }

    /// In words: what the ledger says of it.
    pub(super) fn acted(&self) -> String {
        let Some(act) = &self.act else {
            return match self.by.as_deref() {
                Some("learn") => "none: `learn` wrote it down, and nobody acted on it".to_owned(),
                _ => "no act of this host's ledger wrote it: it came with the file".to_owned(),
            };
        };
        let whole = match (act.vouched, act.unchanged) {
            (false, _) => "NOT VOUCHED FOR: the ledger is broken",
            (true, true) => "stands whole",
            (true, false) => "stands whole, but the file says otherwise than it wrote",
        };
        format!("ledger record {}, {}: {} by {}; {whole}", act.record, act.time, act.act, act.who)
    }
}

#[cfg(test)]
mod tests;
