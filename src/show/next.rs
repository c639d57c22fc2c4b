use baseline::{Approval, Distrust, Drift, DriftKind, Finding, Judged, Severity, Verdict};
use inventory::{RawText, Workload};
use jiff::Timestamp;
use serde::Serialize;

use crate::judge::Judgement;
use crate::page::{Page, shown};

/// Something that can be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    /// For whom it is the thing to do.
    when: String,
    command: Option<String>,
}

impl Step {
    fn of(when: &str, command: String) -> Self {
        Step { when: when.to_owned(), command: Some(command) }
    }

    fn plain(when: &str) -> Self {
        Step { when: when.to_owned(), command: None }
    }
}

/// A command is never folded: it is there to be copied.
pub(super) fn tell(page: &mut Page, steps: &[Step]) {
    for (place, step) in steps.iter().enumerate() {
        let colon = if step.command.is_some() { ":" } else { "" };
        page.line(if place == 0 { "next" } else { "" }, format!("{}{colon}", step.when));
        step.command.iter().for_each(|command| page.quote(command));
    }
}

/// When the host was looked at.
pub(super) fn now(judgement: &Judgement) -> Timestamp {
    Timestamp::try_from(judgement.now).unwrap_or(Timestamp::MAX)
}

/// What can be done about a service; `open` is its drift as `serve` keeps it.
pub(super) fn of_service(judged: &Judged, open: Option<&Drift>, judgement: &Judgement) -> Vec<Step> {
    let baseline = &judgement.policy.baseline;
    match &judged.verdict {
        Verdict::Approved(id) => vec![revoke(id)],
        Verdict::Learned(id) => vec![approve(id)],
        Verdict::Unjudged => Vec::new(),
        Verdict::Drift(_) if !judgement.has_baseline() => {
            vec![Step::of("write down what listens now", "sudo portledger learn".to_owned())]
        }
        Verdict::Drift(finding) => {
            let distrust = finding.approval.as_ref().and_then(|id| baseline.standing(id)?.distrust.as_ref());
            let step = of_drift(finding, judged.service.id.as_str(), distrust);
            // It never falls while it is open.
            let severity = open.map_or(finding.severity, |open| open.finding.severity);
            ordered(step, ends(judged, judgement), severity)
        }
    }
}

/// Of what is critical nobody is to be led to approve it first.
fn ordered(step: Step, ends: Option<Step>, severity: Severity) -> Vec<Step> {
    match &step.command {
        Some(command) if severity == Severity::Critical => {
            let last = Step::of("once you know that it should be there", command.clone());
            let unknown = || Step::plain("find out who holds it, before anything else");
            vec![ends.unwrap_or_else(unknown), last]
        }
        _ => std::iter::once(step).chain(ends).collect(),
    }
}

fn approve(id: &str) -> Step {
    Step::of("as it should be", format!("sudo portledger approve {} --reason TEXT", shown(id)))
}

fn revoke(id: &str) -> Step {
    Step::of("no longer wanted", format!("sudo portledger revoke {} --reason TEXT", shown(id)))
}

/// `service` is the service's id, `distrust` why the nearest approval does not count.
fn of_drift(finding: &Finding, service: &str, distrust: Option<&Distrust>) -> Step {
    let approval = finding.approval.as_deref().unwrap_or_default();
    match (finding.kind, distrust) {
        (DriftKind::Outdated, _) => {
            Step::plain("restart the program: its file was replaced since it started")
        }
        (DriftKind::BinaryChanged, _) => {
            Step::plain("find out who replaced or removed the program's file, before anything else")
        }
        (DriftKind::Untrusted, Some(Distrust::Waits { .. })) => countersign(approval),
        (DriftKind::Untrusted, Some(Distrust::Unsigned { .. } | Distrust::Invalid { .. })) => {
            approve(approval)
        }
        _ => approve(service),
    }
}

fn countersign(id: &str) -> Step {
    Step::of(
        "as it should be, to somebody else than who signed",
        format!("sudo portledger countersign {}", shown(id)),
    )
}

/// How to end what holds it.
fn ends(judged: &Judged, judgement: &Judgement) -> Option<Step> {
    let mut listeners = judged.service.listeners.iter().map(|place| &judgement.inventory.listeners[*place]);
    let first = listeners.find_map(|listener| listener.holders.known().first())?;
    let end = match &first.workload {
        Workload::Unit(unit) if is_one_word(unit) => format!("sudo systemctl stop {unit}"),
        _ => format!("sudo kill {}", first.id.pid),
    };
    Some(Step::of("not wanted, once it is known who started it", end))
}

/// A unit of the system, as a shell takes it: a cgroup may be called anything.
fn is_one_word(unit: &RawText) -> bool {
    let name = unit.as_bytes();
    !name.starts_with(b"-") && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._@:-".contains(byte))
}

/// What can be done about a drift that `serve` keeps and that was not found now.
pub(super) fn of_kept(drift: &Drift) -> Vec<Step> {
    if drift.is_present() {
        return vec![Step::plain(
            "`serve` keeps it as present: it has not seen, or not written down, that it ended",
        )];
    }
    let id = shown(drift.id().as_str());
    vec![Step::of(
        match drift.finding.severity {
            Severity::Critical => "looked into; else it stays, however long it is gone",
            Severity::Warning | Severity::Info => "looked into; else it stays for a day after it was gone",
        },
        format!("sudo portledger dismiss {id} --reason TEXT"),
    )]
}

pub(super) fn of_approval(
    approval: &Approval,
    judgement: &Judgement,
    matches: bool,
    is_missing: bool,
) -> Vec<Step> {
    let id = &approval.id;
    let baseline = &judgement.policy.baseline;
    let distrust = baseline.standing(id).and_then(|standing| standing.distrust.as_ref());
    let over = approval.is_expired(now(judgement), &judgement.policy.trust.time_zone);
    let mut steps = Vec::new();
    match distrust {
        Some(Distrust::Waits { .. }) => steps.push(countersign(id)),
        Some(Distrust::Revoked { .. }) => steps.push(Step::plain("it was revoked, and never counts again")),
        Some(Distrust::Unsigned { .. } | Distrust::Invalid { .. }) => steps.push(approve(id)),
        None if approval.is_learned() => steps.push(approve(id)),
        None if over => steps.push(Step::of(
            "still wanted",
            format!("sudo portledger approve {} --reason TEXT --for TIME", shown(id)),
        )),
        None => {}
    }
    if is_missing {
        steps.push(Step::plain("start what is missing"));
    }
    if !matches || over || steps.is_empty() {
        steps.push(revoke(id));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(kind: &str) -> Finding {
        let subject = r#"{"protocol":"Tcp","address":"any","port":{"number":80},"device":null,"netns":[104],
                          "programs":[],"users":[],"workloads":[],"reach":"Public"}"#;
        let text = format!(
            r#"{{"id":"s1-0","kind":"{kind}","also":[],"severity":"warning","approval":"web","differs":[],"team":null,
               "subject":{subject}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn each_kind_of_drift_has_its_command() {
        let id = "web".to_owned();
        let waits = Distrust::Waits { id: id.clone(), by: "alice".to_owned(), others: Vec::new(), why: None };
        for (kind, distrust, command) in [
            ("unapproved", None, "sudo portledger approve s1-0 "),
            ("expired", None, "sudo portledger approve s1-0 "),
            ("untrusted", Some(waits), "sudo portledger countersign web"),
            ("untrusted", Some(Distrust::Unsigned { id: id.clone() }), "sudo portledger approve web "),
            ("untrusted", Some(Distrust::Revoked { id, serial: 1 }), "sudo portledger approve s1-0 "),
            ("outdated", None, "restart"),
            ("binary_changed", None, "find out"),
        ] {
            let step = of_drift(&finding(kind), "s1-0", distrust.as_ref());
            let told = step.command.unwrap_or(step.when);
            assert!(told.starts_with(command), "{kind}: {told}");
        }
    }

    #[test]
    fn what_is_critical_is_stopped_first_and_approved_last() {
        let stop = || Step::of("not wanted", "sudo kill 7".to_owned());
        let told = |step: Step, ends, severity| {
            let steps = ordered(step, ends, severity);
            steps.into_iter().map(|step| step.command.unwrap_or(step.when)).collect::<Vec<_>>()
        };
        let approves = "sudo portledger approve s1-0 --reason TEXT";
        assert_eq!(told(approve("s1-0"), Some(stop()), Severity::Warning), [approves, "sudo kill 7"]);
        assert_eq!(told(approve("s1-0"), Some(stop()), Severity::Critical), ["sudo kill 7", approves]);
        assert_eq!(told(approve("s1-0"), None, Severity::Critical)[1], approves);
        let found = Step::plain("find out");
        assert_eq!(told(found, Some(stop()), Severity::Critical), ["find out", "sudo kill 7"]);
        assert_eq!(
            ordered(approve("s1-0"), Some(stop()), Severity::Critical)[1].when,
            "once you know that it should be there"
        );
    }

    #[test]
    fn a_unit_is_stopped_by_a_name_that_a_shell_takes() {
        for (unit, is) in
            [("nginx.service", true), ("a@1:b.service", true), ("a;b", false), ("-a", false), ("u/a", false)]
        {
            assert_eq!(is_one_word(&RawText::from(unit)), is, "{unit}");
        }
    }
}
