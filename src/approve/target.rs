use anyhow::bail;
use baseline::{Approval, DriftKind, Finding, Judged, Verdict};

use crate::judge::Judgement;

/// What is approved.
pub(super) enum Target {
    /// A drift that no approval covers: one is written for it.
    New(Box<Judged>, Box<Finding>),
    /// An approval that stands in the baseline and does not count, or that nobody has approved: it is signed.
    Standing(Box<Approval>),
}

/// The approval that covers the one service that is meant.
pub(super) fn covered_by(judgement: &Judgement, id: &str) -> Option<String> {
    let services = judgement.assessment.services.iter();
    let mut meant = services.filter(|judged| baseline::is_meant(judged.service.id.as_str(), id));
    match (meant.next().map(|judged| &judged.verdict), meant.next()) {
        (Some(Verdict::Approved(by)), None) => Some(by.to_string()),
        _ => None,
    }
}

impl Target {
    /// What this id of a drift, a service or an approval stands for, or an id that begins so.
    pub(super) fn find(judgement: &Judgement, id: &str) -> anyhow::Result<Self> {
        let assessment = &judgement.assessment;
        let baseline = &judgement.policy.baseline;
        let is_meant = |known: &str| baseline::is_meant(known, id);
        let drifting = assessment.services.iter().filter_map(|judged| match &judged.verdict {
            Verdict::Drift(finding) => Some((judged, &**finding)),
            _ => None,
        });
        let found: Vec<_> = drifting
            .filter(|(judged, finding)| is_meant(finding.id.as_str()) || is_meant(judged.service.id.as_str()))
            .collect();
        match found[..] {
            [(judged, finding)] => return Ok(Target::of(judgement, judged, finding)),
            [] => {}
            _ => bail!(
                "`{id}` is the id of {} services; approve them one by one: {}",
                found.len(),
                found.iter().map(|(judged, _)| judged.service.id.as_str()).collect::<Vec<_>>().join(", ")
            ),
        }
        let is_missing = assessment.absent.iter().any(|finding| finding.id.as_str() == id);
        if let Some(approval) = baseline.approval(id)
            && (!is_missing || approval.is_learned())
        {
            return Ok(Target::Standing(approval.clone().into()));
        }
        if is_missing {
            bail!(
                "`{id}` is missing, not unapproved: start it, or withdraw its approval with `portledger revoke {id}`"
            );
        }
        let known = assessment.services.iter().find(|judged| is_meant(judged.service.id.as_str()));
        match known.map(|judged| &judged.verdict) {
            Some(Verdict::Learned(by)) => bail!(
                "`{id}` is covered by `{by}`, which was learned: `portledger approve {by} --reason TEXT` approves that"
            ),
            Some(Verdict::Approved(by)) => bail!("`{id}` is covered by approval `{by}` already"),
            Some(_) => {
                bail!("`{id}` is not judged, so there is nothing to approve: a [[scope]] decides what is")
            }
            None => bail!(
                "no drift and no approval has the id `{id}` now: it is gone, or it is no longer what was shown (another \
                 program, user, address or unit gives another id); see `portledger diff`"
            ),
        }
    }

    /// A drift for want of a signature wants that, and no second approval of the same.
    fn of(judgement: &Judgement, judged: &Judged, finding: &Finding) -> Self {
        let lacks_signature = finding.kind == DriftKind::Untrusted;
        let standing = finding.approval.as_deref().filter(|_| lacks_signature);
        match standing.and_then(|id| judgement.policy.baseline.approval(id)) {
            Some(approval) => Target::Standing(approval.clone().into()),
            None => Target::New(judged.clone().into(), finding.clone().into()),
        }
    }

    /// The drift's id.
    pub(super) fn drift(&self) -> Option<String> {
        match self {
            Target::New(judged, _) => Some(judged.service.id.as_str().to_owned()),
            Target::Standing(_) => None,
        }
    }
}
