use std::cmp::Reverse;

use baseline::Severity;

use super::failure;
use crate::asking::Asked;
use crate::asking::answers::{Drift, Mode};

/// More notifications at once would hide the desktop; what is left is counted in one more.
const MOST: usize = 5;
/// Sentences of one drift.
const MAX_REASONS: usize = 3;

/// One notification. Texts are escaped: lines of characters that are seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Card {
    /// Another with this key takes its place.
    pub(super) key: String,
    pub(super) title: String,
    pub(super) lines: Vec<String>,
    pub(super) severity: Severity,
    /// It is not there any more.
    pub(super) is_gone: bool,
    /// Where it is told of in full: a path below the daemon's address, or an address.
    pub(super) page: String,
}

/// What is to be shown of severity `least` or above: the gravest first, of these what is there, of these the newest; `Err` is why nobody knows.
pub(super) fn cards(asked: &Asked, least: Severity) -> Result<Vec<Card>, String> {
    let status = match (&asked.status, failure(asked)) {
        (Ok(status), None) => status,
        (_, why) => return Err(why.unwrap_or_default()),
    };
    if let Some(unready) = &status.unready {
        return Err(unready.as_str().to_owned());
    }
    if status.mode != Some(Mode::Enforce) {
        return Ok(Vec::new());
    }
    let drifts = asked.told().map(|details| details.drifts.as_slice()).unwrap_or_default();
    let mut due: Vec<&Drift> = drifts.iter().filter(|drift| drift.severity >= least).collect();
    due.sort_by_key(|drift| Reverse((drift.severity, drift.gone_since.is_none(), &drift.first_seen)));
    let shown = if due.len() > MOST { MOST - 1 } else { due.len() };
    let (single, rest) = due.split_at(shown);
    Ok(single.iter().copied().map(Card::of).chain(Card::of_rest(rest)).collect())
}

impl Card {
    fn of(drift: &Drift) -> Self {
        let mut lines = Vec::new();
        lines.extend(drift.started_by.as_ref().map(|by| format!("Started by: {by}")));
        lines.extend(drift.differs.iter().take(MAX_REASONS).map(ToString::to_string));
        lines.extend(drift.first_seen.as_ref().map(|since| format!("First seen {since}")));
        lines.extend(drift.gone_since.as_ref().map(|since| format!("Gone since {since}")));
        lines.push(format!("sudo portledger show {}", drift.id));
        Card {
            key: drift.id.to_string(),
            title: drift
                .summary
                .as_ref()
                .map_or_else(|| format!("{} {}", drift.kind, drift.id), ToString::to_string),
            lines,
            severity: drift.severity,
            is_gone: drift.gone_since.is_some(),
            page: drift.page.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
    }

    fn of_rest(rest: &[&Drift]) -> Option<Self> {
        let severity = rest.iter().map(|drift| drift.severity).max()?;
        let critical = rest.iter().filter(|drift| drift.severity == Severity::Critical).count();
        Some(Card {
            key: "rest".to_owned(),
            title: format!("{} more drifts, {critical} of them critical", rest.len()),
            lines: vec!["sudo portledger diff".to_owned()],
            severity,
            is_gone: false,
            page: "/".to_owned(),
        })
    }

    /// Nobody says how the host stands.
    pub(super) fn silence(why: &str) -> Self {
        Card {
            key: "silence".to_owned(),
            title: "Portledger does not say how this host stands".to_owned(),
            lines: vec![why.to_owned(), "systemctl status portledger".to_owned()],
            severity: Severity::Warning,
            is_gone: false,
            page: "/".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::asking::Failure;

    fn asked(mode: &str, drifts: &[(&str, &str)]) -> Asked {
        let drifts: Vec<_> = drifts
            .iter()
            .map(|(id, severity)| {
                json!({"id": id, "kind": "unapproved", "severity": severity, "differs": ["no approval\nspeaks of it"],
                    "protocol": "tcp", "address": "*", "port": 80, "device": null, "netns": "host", "programs": [],
                    "users": [], "workloads": [], "reach": "public", "first_seen": "2026-11-21T09:00:00Z",
                    "gone_since": null, "state": "present", "summary": format!("h: {id}"),
                    "started_by": "bash 7", "page": format!("/drift/{id}")})
            })
            .collect();
        let count = json!({"open": drifts.len(), "gone": 0});
        let status = json!({"schema": 1, "host": "h", "now": "n", "taken_at": "t", "ready": true, "unready": null,
            "sensor": {"last_frame": "t", "silent_seconds": 1}, "mode": mode,
            "baseline": {"revision": "r", "approvals": 1, "last_reload_successful": true},
            "drifts": {"critical": count, "warning": count, "info": count}, "coverage": null});
        let details = json!({"schema": 1, "drifts": drifts, "gaps": []});
        Asked {
            status: Ok(serde_json::from_value(status).unwrap()),
            details: Some(Ok(serde_json::from_value(details).unwrap())),
            ..Asked::nothing(Failure { what: String::new(), next: "" })
        }
    }

    fn keys(asked: &Asked, least: Severity) -> Vec<String> {
        cards(asked, least).unwrap().into_iter().map(|card| card.key).collect()
    }

    #[test]
    fn what_is_grave_enough_has_a_card_and_the_rest_of_many_is_one() {
        let three = [("a", "critical"), ("b", "warning"), ("c", "info")];
        assert_eq!(keys(&asked("enforce", &three), Severity::Warning), ["a", "b"]);
        assert_eq!(keys(&asked("enforce", &three), Severity::Info), ["a", "b", "c"]);
        assert!(keys(&asked("observe", &three), Severity::Info).is_empty());
        let many = [("a", "critical"); 9];
        let cards = cards(&asked("enforce", &many), Severity::Warning).unwrap();
        assert_eq!(cards.len(), MOST);
        assert_eq!(cards.last().unwrap().title, "5 more drifts, 5 of them critical");
    }

    #[test]
    fn the_gravest_comes_first_then_what_is_there_then_the_newest() {
        let of = [("w", "warning"), ("gone", "critical"), ("old", "critical"), ("new", "critical")];
        let mut asked = asked("enforce", &of);
        let drifts = &mut asked.details.as_mut().unwrap().as_mut().unwrap().drifts;
        drifts[1].gone_since = Some("2026-11-21T09:30:00Z".to_owned().into());
        drifts[3].first_seen = Some("2026-11-21T09:10:00Z".to_owned().into());
        assert_eq!(keys(&asked, Severity::Info), ["new", "old", "gone", "w"]);
    }

    #[test]
    fn tells_who_started_it_and_no_line_that_a_name_made() {
        let card = cards(&asked("enforce", &[("s1-0", "critical")]), Severity::Info).unwrap().remove(0);
        assert_eq!(card.title, "h: s1-0");
        assert_eq!(card.lines[0], "Started by: bash 7");
        assert!(card.lines.iter().all(|line| !line.contains('\n')), "{card:?}");
        assert_eq!(card.page, "/drift/s1-0");
    }

    #[test]
    fn what_was_not_answered_is_not_nothing() {
        let mut asked = asked("enforce", &[]);
        asked.status.as_mut().unwrap().unready = Some("late".to_owned().into());
        assert_eq!(cards(&asked, Severity::Info), Err("late".to_owned()));
        asked.status = Err(Failure { what: "gone".to_owned(), next: "" });
        assert_eq!(cards(&asked, Severity::Info), Err("gone".to_owned()));
    }
}
