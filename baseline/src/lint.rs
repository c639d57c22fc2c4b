mod covered;
mod groups;
mod places;

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use self::places::{Place, Places};
use crate::when::timestamp;
use crate::{Approval, Baseline, Diagnostic, SourceText, Standing};

/// Something about a good baseline that somebody should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lint {
    /// Of what sort it is.
    pub code: LintCode,
    /// Where, and in which words.
    pub diagnostic: Diagnostic,
}

/// Sorts of [`Lint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LintCode {
    /// Its signatures are not what is demanded, so that it does not count.
    Untrusted,
    /// A signature of it is not valid, which nothing depends on.
    Signature,
    /// Another approval covers all that this one covers.
    Covered,
    /// One place alone names a group, and another group is called nearly the same.
    RareGroup,
    /// It is in force no more.
    Expired,
    /// It will not be in force much longer.
    ExpiresSoon,
    /// `learn` wrote it, and nobody has approved it.
    Learned,
    /// It does not say why, or by whom.
    Unexplained,
}

impl LintCode {
    /// The word used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            LintCode::Untrusted => "untrusted",
            LintCode::Signature => "signature",
            LintCode::Covered => "covered",
            LintCode::RareGroup => "rare_group",
            LintCode::Expired => "expired",
            LintCode::ExpiresSoon => "expires_soon",
            LintCode::Learned => "learned",
            LintCode::Unexplained => "unexplained",
        }
    }
}

/// How long before its end an approval is told of.
const SOON: Duration = Duration::from_secs(30 * 86_400);

/// Looks through a baseline that was read from these texts, in the order of files and lines. Its cost grows with the
/// texts alone.
pub fn lint(texts: &[SourceText], baseline: &Baseline, zone: &TimeZone, now: SystemTime) -> Vec<Lint> {
    let places = Places::of(texts);
    let approvals = baseline.approvals();
    let mut lints: Vec<Lint> = Vec::new();
    for (covered, by) in covered::covered(approvals, &places) {
        let (covered, by) = (&approvals[covered], &approvals[by]);
        let place = places.shown(places.id(&by.id));
        let message = format!("`{}` covers nothing that `{}` ({place}) does not cover", covered.id, by.id);
        lints.extend(places.lint(LintCode::Covered, places.id(&covered.id), &message));
    }
    for (rare, near) in groups::rare(places.groups()) {
        let message = format!("no other place names the group `@{}`: did you mean `@{near}`?", rare.name);
        lints.extend(places.lint(LintCode::RareGroup, Some(&rare.place), &message));
    }
    let now = timestamp(now);
    for approval in approvals {
        lints.extend(ending(approval, &places, zone, now));
        lints.extend(unexplained(approval, &places));
    }
    lints.extend(learned(approvals, &places));
    lints.extend(baseline.standings().filter_map(|(approval, standing)| signed(approval, standing, &places)));
    lints.sort_by(|one, other| {
        let key = |lint: &Lint| (lint.diagnostic.line, lint.diagnostic.column, lint.code);
        one.diagnostic.path.cmp(&other.diagnostic.path).then_with(|| key(one).cmp(&key(other)))
    });
    lints
}

fn signed(approval: &Approval, standing: &Standing, places: &Places<'_>) -> Option<Lint> {
    if let Some(distrust) = &standing.distrust {
        return places.lint(LintCode::Untrusted, places.id(&approval.id), &distrust.to_string());
    }
    let signed = standing.signed.iter().find(|signed| signed.wrong.is_some())?;
    let wrong = signed.wrong.as_deref().unwrap_or_default();
    let message = format!("the signature of {} of `{}` is not valid: {wrong}", signed.by, approval.id);
    places.lint(LintCode::Signature, places.id(&approval.id), &message)
}

fn ending(approval: &Approval, places: &Places<'_>, zone: &TimeZone, now: Timestamp) -> Option<Lint> {
    let expires = approval.expires?;
    let end = expires.takes_effect(zone);
    let place = places.expires(&approval.id);
    if end <= now {
        let message = format!("`{}` has expired: renew it, or take it out", approval.id);
        return places.lint(LintCode::Expired, place, &message);
    }
    let soon = now.checked_add(SOON).unwrap_or(Timestamp::MAX);
    let days = end.duration_since(now).as_secs() / 86_400;
    let within = match days {
        0 => "within a day".to_owned(),
        1 => "in 1 day".to_owned(),
        days => format!("in {days} days"),
    };
    let message = format!("`{}` expires {within}: see whether it is still wanted", approval.id);
    (end <= soon).then(|| places.lint(LintCode::ExpiresSoon, place, &message))?
}

/// What was learned says neither, and is told of in one sum.
fn unexplained(approval: &Approval, places: &Places<'_>) -> Option<Lint> {
    let lacks = match (approval.reason.is_none(), approval.by.is_none()) {
        _ if approval.is_learned() => return None,
        (true, true) => "neither why (`reason`) nor who approved it (`by`)",
        (true, false) => "not why (`reason`)",
        (false, true) => "not who approved it (`by`)",
        (false, false) => return None,
    };
    let message = format!("`{}` says {lacks}: an auditor will ask", approval.id);
    places.lint(LintCode::Unexplained, places.id(&approval.id), &message)
}

/// One for each file, at the first of them.
fn learned(approvals: &[Approval], places: &Places<'_>) -> Vec<Lint> {
    let mut of_file: HashMap<usize, (usize, &Place)> = HashMap::new();
    for approval in approvals.iter().filter(|approval| approval.is_learned()) {
        let Some(place) = places.id(&approval.id) else { continue };
        let (count, first) = of_file.entry(place.text).or_insert((0, place));
        *count += 1;
        if place.span.start < first.span.start {
            *first = place;
        }
    }
    let told = of_file.into_values().filter_map(|(count, first)| {
        let are = if count == 1 { "approval of this file was" } else { "approvals of this file were" };
        let message = format!(
            "{count} {are} learned, and nobody has approved them: read them, and put your name to `by`"
        );
        places.lint(LintCode::Learned, Some(first), &message)
    });
    told.collect()
}
