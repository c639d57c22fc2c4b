use baseline::{Mode, Severity};

use super::html::Html;
use crate::snapshot::{JudgedPass, Snapshot};

/// What a person sees who opens the address in a browser: what this is, and a glance at what it knows.
pub(super) fn page(snapshot: &Snapshot, telemetry_path: &str) -> String {
    let mut page = Html::new("Portledger");
    let version = env!("CARGO_PKG_VERSION");
    page.paragraph(&format!(
        "What listens on this host, who can reach it, and who approved it. Version {version}."
    ));
    let mut terms = match &snapshot.judged {
        Some(pass) => glance(pass),
        None => vec![("Host", "the sensor has not looked yet".to_owned())],
    };
    terms.push(("Open drifts", drifts(snapshot)));
    terms.push(("Baseline", baseline(snapshot)));
    page.terms(terms);
    page.links([
        (telemetry_path, "Metrics"),
        ("/api/v1/listeners", "Listeners (JSON)"),
        ("/api/v1/drift", "Drift (JSON)"),
        ("/api/v1/status", "Status (JSON)"),
        ("/-/healthy", "Healthy"),
        ("/-/ready", "Ready"),
    ]);
    page.finish()
}

fn glance(pass: &JudgedPass) -> Vec<(&'static str, String)> {
    let inventory = &pass.inventory;
    let mut terms =
        vec![("Host", inventory.host.escaped()), ("Listeners", inventory.listeners.len().to_string())];
    match inventory.coverage.gaps.len() {
        0 => {}
        1 => terms.push(("Not seen", "1 gap, `portledger doctor` explains it".to_owned())),
        more => terms.push(("Not seen", format!("{more} gaps, `portledger doctor` explains them"))),
    }
    if pass.assessment.mode == Mode::Observe {
        terms.push(("Mode", "observe: nothing alerts until there is a baseline".to_owned()));
    }
    terms
}

fn drifts(snapshot: &Snapshot) -> String {
    let of = |severity| snapshot.register.by_id().filter(|drift| drift.finding.severity == severity).count();
    let counts = Severity::ALL.into_iter().rev().map(|severity| format!("{} {severity}", of(severity)));
    counts.collect::<Vec<_>>().join(", ")
}

fn baseline(snapshot: &Snapshot) -> String {
    let rules = &snapshot.rules;
    let Some(revision) = &rules.revision else {
        let why = match rules.baseline.successful {
            true => "none yet: `portledger learn` writes one",
            false => "none: what stands in its files could not be loaded, the log says why",
        };
        return why.to_owned();
    };
    let plural = if rules.approvals == 1 { "" } else { "s" };
    let stale = match rules.baseline.successful {
        true => "",
        false => "; what stands in its files now could not be loaded, the log says why",
    };
    format!("revision {revision}, {} approval{plural}{stale}", rules.approvals)
}

#[cfg(test)]
mod tests {
    use inventory::{Inventory, RawText};

    use super::*;
    use crate::{fixtures, judge};

    #[test]
    fn shows_a_hostile_host_name_as_text() {
        let mut snapshot = judge::tests::snapshot_of_the_fixture();
        let pass = snapshot.judged.as_deref().unwrap();
        let host = RawText::new(fixtures::HOSTILE);
        let inventory = Inventory { host, ..Inventory::clone(&pass.inventory) };
        snapshot.judged = Some(JudgedPass { inventory: inventory.into(), ..pass.clone() }.into());
        let page = page(&snapshot, "/metrics");
        assert!(
            page.contains(
                r"<dd>/tmp/a&quot;,pid=1)\x0aportledger_drift 0 #\x1b[2J\x0d&lt;/script&gt;&lt;b&gt;&#39;\xff\x5c</dd>"
            ),
            "{page}"
        );
        assert!(page.contains("<dd>2 critical, 0 warning, 0 info</dd>"));
    }

    #[test]
    fn counts_in_english() {
        let mut snapshot = judge::tests::snapshot_of_the_fixture();
        assert_eq!(snapshot.rules.approvals, 1);
        let one = page(&snapshot, "/metrics");
        assert!(one.contains("<dd>1 gap, `portledger doctor` explains it</dd>"), "{one}");
        assert!(one.contains(", 1 approval</dd>"), "{one}");
        let pass = snapshot.judged.as_deref().unwrap();
        let mut inventory = Inventory::clone(&pass.inventory);
        inventory.coverage.gaps.extend_from_within(..);
        snapshot.judged = Some(JudgedPass { inventory: inventory.into(), ..pass.clone() }.into());
        let two = page(&snapshot, "/metrics");
        assert!(two.contains("<dd>2 gaps, `portledger doctor` explains them</dd>"), "{two}");
    }

    #[test]
    fn tells_a_baseline_that_is_bad_from_none() {
        let of = |revision: Option<&str>, successful| {
            let mut snapshot = Snapshot::default();
            snapshot.rules.revision = revision.map(str::to_owned);
            snapshot.rules.baseline.successful = successful;
            baseline(&snapshot)
        };
        assert_eq!(of(None, true), "none yet: `portledger learn` writes one");
        assert_eq!(of(None, false), "none: what stands in its files could not be loaded, the log says why");
        assert_eq!(of(Some("abc"), true), "revision abc, 0 approvals");
        assert!(
            of(Some("abc"), false).starts_with("revision abc, 0 approvals; what stands in its files now")
        );
    }
}
