//! Which approvals somebody should look at again.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use anyhow::bail;
use baseline::{Approval, Covering, Policy, Signatures, Standing, edit};
use exporter::{Matched, matched};
use inventory::RawText;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::arguments::{ReportFormat, ReviewOptions, Shared};
use crate::judge::{self, Judgement};
use crate::outcome::Outcome;
use crate::page::{Page, shown};

/// Shows what to review. Root sees here what the exporter's user wrote down, and does nothing by it.
pub(crate) fn run(shared: &Shared, options: &ReviewOptions) -> anyhow::Result<Outcome> {
    let judgement = judge::once(shared)?;
    if !judgement.has_baseline() {
        bail!("there is no baseline, so nothing is approved: `portledger learn` writes one");
    }
    let (memory, wrong) = match matched(&judgement.paths.state) {
        Ok(memory) => (memory, None),
        Err(error) => (None, Some(error.into())),
    };
    let review = Review::of(&judgement, memory.as_ref(), options);
    let mut output = std::io::stdout().lock();
    match options.format {
        ReportFormat::Table => {
            output.write_all(review.report(memory.is_some(), options, &judgement).as_bytes())?;
        }
        ReportFormat::Json => {
            serde_json::to_writer_pretty(&mut output, &review.document(&judgement))?;
            writeln!(output)?;
        }
    }
    output.flush()?;
    judgement.tell_gaps();
    Ok(match wrong {
        Some(wrong) => Outcome::failed(&wrong),
        None if review.approvals.iter().any(Reviewed::is_to_be_reviewed) => Outcome::Drift,
        None => Outcome::Clean,
    })
}

/// The approvals for this host, ordered by id.
struct Review<'a> {
    approvals: Vec<Reviewed<'a>>,
}

/// An approval with what is to be said of it.
struct Reviewed<'a> {
    approval: &'a Approval,
    known: Option<&'a Matched>,
    used: Use,
    end: End,
    learned: bool,
    /// What its signatures lack.
    unsigned: Option<String>,
}

/// Whether something matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Now, or within the time asked for.
    Matches,
    /// Nothing did for so many seconds of watching.
    Unused(u64),
    /// It was not watched for as long as is asked for, or nobody remembers.
    TooYoung,
}

/// When an approval ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Not within the time asked for.
    Later,
    /// Within it.
    Soon(Timestamp),
    /// It has.
    Over(Timestamp),
}

impl<'a> Review<'a> {
    fn of(
        judgement: &'a Judgement,
        memory: Option<&'a BTreeMap<String, Matched>>,
        options: &ReviewOptions,
    ) -> Self {
        let Judgement { policy, assessment, .. } = judgement;
        let now = Timestamp::try_from(judgement.now).unwrap_or(Timestamp::MAX);
        let mut covering = Covering::default();
        covering.add(assessment, &policy.baseline);
        let covering = covering.ids(&policy.baseline);
        let of_host = policy.baseline.standings().filter(|(known, _)| policy.host.is_among(&known.hosts));
        let approvals = of_host.map(|(approval, standing)| {
            let known = memory.and_then(|memory| memory.get(&approval.id));
            let ends = approval.expires.map(|expires| expires.takes_effect(&policy.trust.time_zone));
            Reviewed {
                approval,
                known,
                used: used(covering.contains(approval.id.as_str()), known, options.unused, now),
                end: end(ends, options.expiring, now),
                learned: approval.is_learned(),
                unsigned: unsigned(approval, standing, policy),
            }
        });
        Review { approvals: approvals.collect() }
    }

    fn report(&self, remembers: bool, options: &ReviewOptions, judgement: &Judgement) -> String {
        let mut page = Page::default();
        let days = |time: Duration| in_days(time.as_secs());
        let headings = [
            "Expired:".to_owned(),
            format!("End within {}:", days(options.expiring)),
            format!("Matched nothing in {} of watching:", days(options.unused)),
            "Learned, and approved by nobody:".to_owned(),
            "Signatures are wanting:".to_owned(),
        ];
        let told: Vec<_> = self.approvals.iter().map(|one| (one.approval, one.told())).collect();
        for (place, heading) in headings.iter().enumerate() {
            let listed =
                told.iter().filter_map(|(approval, told)| Some((approval, told.get(place)?.as_ref()?)));
            for (number, (approval, told)) in listed.enumerate() {
                if number == 0 {
                    page.heading(heading);
                }
                page.line(&shown(&approval.id), line(approval, told, judgement));
            }
        }
        page.heading(&self.summary(remembers));
        page.into_text()
    }

    fn summary(&self, remembers: bool) -> String {
        let all = self.approvals.len();
        let some = self.approvals.iter().filter(|one| one.is_to_be_reviewed()).count();
        let young = self.approvals.iter().filter(|one| one.used == Use::TooYoung).count();
        let what = match some {
            0 => format!("Nothing to review of {all} approvals for this host."),
            _ => format!(
                "{some} of {all} approvals for this host to review: `portledger show ID` tells all of one; keep it with \
                 `portledger approve ID --reason TEXT`, or withdraw it with `portledger revoke ID --reason TEXT`."
            ),
        };
        let young = match (young, remembers) {
            (0, _) => String::new(),
            (_, true) => format!(" Too young to tell whether anything matches them: {young}."),
            (_, false) => format!(
                " Whether anything matches {young} of them is not known: `portledger serve` remembers that, and has \
                 written nothing here."
            ),
        };
        what + &young
    }

    fn document(&self, judgement: &Judgement) -> Value {
        let entries = self.approvals.iter().map(|one| one.document(judgement));
        json!({
            "schema": 1,
            "host": judgement.policy.host.name.escaped(),
            "taken_at": crate::page::moment(judgement.now),
            "approvals": entries.collect::<Vec<_>>(),
        })
    }
}

impl Reviewed<'_> {
    fn is_to_be_reviewed(&self) -> bool {
        self.end != End::Later
            || matches!(self.used, Use::Unused(_))
            || self.learned
            || self.unsigned.is_some()
    }

    /// What is to be said under each heading, in their order.
    fn told(&self) -> [Option<String>; 5] {
        let (over, soon) = match self.end {
            End::Later => (None, None),
            End::Soon(at) => (None, Some(format!("at {at:.0}"))),
            End::Over(at) => (Some(format!("at {at:.0}")), None),
        };
        let unused = match self.used {
            Use::Unused(idle) => Some(self.idle(idle)),
            Use::Matches | Use::TooYoung => None,
        };
        [over, soon, unused, self.learned.then(String::new), self.unsigned.clone()]
    }

    fn idle(&self, idle: u64) -> String {
        match self.known.and_then(|known| known.last) {
            Some(last) => format!("nothing in {}; last at {last:.0}", in_days(idle)),
            None => format!("nothing in {}, as long as it is watched", in_days(idle)),
        }
    }

    fn document(&self, judgement: &Judgement) -> Value {
        let (ends, ending) = match self.end {
            End::Later => (None, "later"),
            End::Soon(at) => (Some(at), "soon"),
            End::Over(at) => (Some(at), "over"),
        };
        json!({
            "approval": self.approval.id,
            "place": place(self.approval, judgement),
            "team": self.approval.team,
            "review": self.is_to_be_reviewed(),
            "unused": matches!(self.used, Use::Unused(_)),
            "too_young": self.used == Use::TooYoung,
            "known_since": self.known.map(|known| known.since.to_string()),
            "last_matched": self.known.and_then(|known| known.last).map(|last| last.to_string()),
            "watched_seconds": self.known.map(|known| known.watched),
            "idle_seconds": self.known.map(|known| known.idle),
            "end": ending,
            "ends": ends.map(|ends| ends.to_string()),
            "learned": self.learned,
            "unsigned": self.unsigned,
        })
    }
}

/// Time watched counts, not time gone by: what did not look has not seen that nothing was there.
fn used(matches: bool, known: Option<&Matched>, asked: Duration, now: Timestamp) -> Use {
    let Some(known) = known.filter(|_| !matches) else {
        return if matches { Use::Matches } else { Use::TooYoung };
    };
    // Nothing can have been watched for longer than there was time, whatever the file says.
    let gone_by = |since: Timestamp| u64::try_from(now.duration_since(since).as_secs()).unwrap_or(0);
    let idle = known.idle.min(gone_by(known.last.unwrap_or(known.since)));
    if idle >= asked.as_secs() {
        Use::Unused(idle)
    } else if known.last.is_some_and(|last| gone_by(last) < asked.as_secs()) {
        Use::Matches
    } else {
        Use::TooYoung
    }
}

fn end(ends: Option<Timestamp>, within: Duration, now: Timestamp) -> End {
    let within = SignedDuration::try_from(within).unwrap_or(SignedDuration::MAX);
    match ends {
        Some(ends) if ends <= now => End::Over(ends),
        Some(ends) if ends.duration_since(now) <= within => End::Soon(ends),
        _ => End::Later,
    }
}

/// What was learned lacks more than signatures.
fn unsigned(approval: &Approval, standing: &Standing, policy: &Policy) -> Option<String> {
    if let Some(distrust) = &standing.distrust {
        return Some(shown(&distrust.to_string()));
    }
    // Where nobody is named who signs, nobody is expected to.
    let wanted = match policy.trust.signatures {
        Signatures::Off => false,
        Signatures::Recorded => !policy.trust.signers.is_empty(),
        Signatures::Required => true,
    };
    if !wanted || approval.is_learned() {
        return None;
    }
    if approval.signature.is_none() {
        return Some("signed by nobody".to_owned());
    }
    let wrong = standing.signed.iter().find_map(|signed| Some((signed, signed.wrong.as_ref()?)));
    wrong.map(|(signed, why)| format!("that of {} does not count: {}", shown(&signed.by), shown(why)))
}

fn line(approval: &Approval, told: &str, judgement: &Judgement) -> String {
    let team = approval.team.as_deref().map(|team| format!("team {}", shown(team)));
    let place = place(approval, judgement);
    let told = Some(told.to_owned()).filter(|told| !told.is_empty());
    told.into_iter().chain(team).chain(place).collect::<Vec<_>>().join(", ")
}

fn place(approval: &Approval, judgement: &Judgement) -> Option<String> {
    let mut texts = judgement.texts.iter().flatten();
    texts.find_map(|source| {
        let path = RawText::new(source.path.as_os_str().as_encoded_bytes());
        Some(format!("{path}:{}", edit::find(source, &approval.id)?.line))
    })
}

/// `93.2 days`, `1 day`.
fn in_days(seconds: u64) -> String {
    let tenths = seconds / 8_640;
    match (tenths / 10, tenths % 10) {
        (1, 0) => "1 day".to_owned(),
        (days, 0) => format!("{days} days"),
        (days, tenth) => format!("{days}.{tenth} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn now() -> Timestamp {
        Timestamp::from_second(1_795_251_600).unwrap()
    }

    fn ago(days: i64) -> Timestamp {
        now() - SignedDuration::from_hours(24 * days)
    }

    #[test]
    fn only_what_was_watched_for_long_is_unused() {
        let asked = Duration::from_secs(90 * DAY);
        for (what, matches, known, expected) in [
            ("nobody remembers", false, None, Use::TooYoung),
            ("matches now", true, None, Use::Matches),
            ("matches now, whatever is remembered", true, Some((200, None, 200)), Use::Matches),
            ("never matched", false, Some((100, None, 95)), Use::Unused(95 * DAY)),
            ("never matched, watched for half of it", false, Some((100, None, 50)), Use::TooYoung),
            ("young", false, Some((10, None, 10)), Use::TooYoung),
            ("matched lately", false, Some((200, Some(10), 9)), Use::Matches),
            ("matched long ago", false, Some((200, Some(95), 92)), Use::Unused(92 * DAY)),
            ("matched long ago, and was hardly watched", false, Some((200, Some(95), 2)), Use::TooYoung),
            ("a file that lies", false, Some((10, None, 5_000)), Use::TooYoung),
            ("a file of the future", false, Some((-10, Some(-20), 5_000)), Use::Matches),
        ] {
            let known = known.map(|(since, last, idle): (i64, Option<i64>, u64)| Matched {
                since: ago(since),
                last: last.map(ago),
                watched: idle * DAY,
                idle: idle * DAY,
            });
            assert_eq!(used(matches, known.as_ref(), asked, now()), expected, "{what}");
        }
    }

    #[test]
    fn an_end_is_over_soon_or_later() {
        let within = Duration::from_secs(30 * DAY);
        assert_eq!(end(None, within, now()), End::Later);
        assert_eq!(end(Some(ago(-31)), within, now()), End::Later);
        assert_eq!(end(Some(ago(-30)), within, now()), End::Soon(ago(-30)));
        assert_eq!(end(Some(now()), within, now()), End::Over(now()));
    }

    #[test]
    fn days_are_told_in_tenths() {
        for (seconds, told) in
            [(0, "0 days"), (DAY, "1 day"), (90 * DAY, "90 days"), (93 * DAY + 20_000, "93.2 days")]
        {
            assert_eq!(in_days(seconds), told);
        }
    }
}
