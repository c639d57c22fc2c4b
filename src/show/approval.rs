use baseline::{Approval, Judged, Signatures, Verdict, edit};

use super::history::Topic;
use super::{next, place, place_line};
use crate::judge::Judgement;
use crate::page::{Page, shown};

pub(super) fn topic(approval: &Approval) -> Topic {
    Topic::of_approval(&approval.id)
}

/// All there is to know of an approval.
pub(super) fn tell(page: &mut Page, approval: &Approval, judgement: &Judgement) {
    let id = &approval.id;
    page.heading(&format!("approval {}", shown(id)));
    tell_standing(page, approval, judgement);
    let matched: Vec<String> = matched(approval, judgement).map(told).collect();
    let is_missing = judgement.assessment.absent.iter().any(|finding| finding.id.as_str() == id);
    match &matched[..] {
        [] if is_missing => page.line("matches", "nothing, and it is required: it is missing"),
        [] => page.line("matches", "nothing now"),
        matched => page.lines("matches", matched),
    }
    next::tell(page, &next::of_approval(approval, judgement, !matched.is_empty(), is_missing));
    match place(judgement, id) {
        Some((_, stands)) => {
            page.line("text", place_line(judgement, id).unwrap_or_default());
            page.quote(stands.text);
        }
        None => {
            page.line("text", "in an array of a file of the baseline; as a table it would be:");
            page.quote(&edit::render(approval));
        }
    }
}

/// Who approved it, why and until when, and what the signatures are worth.
pub(super) fn tell_standing(page: &mut Page, approval: &Approval, judgement: &Judgement) {
    let policy = &judgement.policy;
    page.line("reason", approval.reason.as_deref().map_or("none is given".to_owned(), shown));
    let by = approval.by.as_deref().map_or("nobody says who".to_owned(), shown);
    let at = approval.at.map(|at| format!(", at {at}")).unwrap_or_default();
    let ticket = approval.ticket.as_deref().map(|ticket| format!(", ticket {}", shown(ticket)));
    page.line("by", format!("{by}{at}{}", ticket.unwrap_or_default()));
    if let Some(expires) = approval.expires {
        let zone = &policy.trust.time_zone;
        let over = if approval.is_expired(next::now(judgement), zone) { "was over" } else { "ends" };
        page.line("expires", format!("{expires}: it {over} at {:.0}", expires.takes_effect(zone)));
    }
    if !policy.host.is_among(&approval.hosts) {
        page.line("hosts", "it is for other hosts than this one");
    }
    let Some(standing) = policy.baseline.standing(&approval.id) else { return };
    page.lines("signed", signatures(approval, judgement));
    if let Some(distrust) = &standing.distrust {
        page.line("counts", format!("no: {}", shown(&distrust.to_string())));
    }
}

fn signatures(approval: &Approval, judgement: &Judgement) -> Vec<String> {
    let policy = &judgement.policy;
    let standing = policy.baseline.standing(&approval.id);
    let signed = standing.map_or(&[][..], |standing| &standing.signed);
    match policy.trust.signatures {
        Signatures::Off if approval.signature.is_some() => {
            return vec!["yes; the configuration says not to look at signatures".to_owned()];
        }
        Signatures::Recorded | Signatures::Required if signed.is_empty() => {
            return vec!["by nobody".to_owned()];
        }
        _ => {}
    }
    let each = signed.iter().map(|signed| {
        let key = signed.key.as_ref().map(|key| format!(" with {}", key.fingerprint())).unwrap_or_default();
        let at = signed.at.map(|at| format!(", at {at}")).unwrap_or_default();
        let wrong = signed.wrong.as_ref().map(|why| format!(", does not count: {}", shown(why)));
        format!("by {}{key}{at}{}", shown(&signed.by), wrong.unwrap_or_default())
    });
    each.collect()
}

/// Services that it covers, and those that drift and to which it is the nearest.
pub(super) fn matched<'a>(
    approval: &'a Approval,
    judgement: &'a Judgement,
) -> impl Iterator<Item = (&'a Judged, bool)> {
    judgement.assessment.services.iter().filter_map(|judged| match &judged.verdict {
        Verdict::Approved(id) | Verdict::Learned(id) => (**id == approval.id).then_some((judged, true)),
        Verdict::Drift(finding) => {
            (finding.approval.as_ref() == Some(&approval.id)).then_some((judged, false))
        }
        Verdict::Unjudged => None,
    })
}

fn told((judged, covers): (&Judged, bool)) -> String {
    let how = if covers { "" } else { ", which differs" };
    format!("{}, {}{how}", super::service::endpoint(&judged.service), judged.service.id)
}
