use std::collections::BTreeMap;

use baseline::{Drift, Register};
use inventory::{Holder, Listener, RawText, quoted, quoted_list};

use super::html::Html;
use crate::alert::{Alert, Sender, Told, told};
use crate::alerting::Over;

/// More of a crowd, and more holders of a socket, are not shown.
const MOST: usize = 50;

/// What a person sees who follows the link of an alert; `None` where no drift of this name is open.
pub(super) fn page(register: &Register, sender: &Sender, id: &str) -> Option<String> {
    if let Some(drift) = register.drift(&id.into()) {
        return Some(of_one(&sender.alert(&Told::of(drift)), drift));
    }
    let drifts: Vec<&Drift> = register.drifts().collect();
    let many = told(&drifts).into_iter().find(|told| told.many && told.id() == id)?;
    let members = drifts.into_iter().filter(|drift| many.drift.crowd() == drift.crowd()).collect::<Vec<_>>();
    Some(of_many(&sender.alert(&many), &members))
}

/// What a person sees who follows the link of an alert that is over since a short while.
pub(super) fn over(over: &Over) -> String {
    let mut page = Html::new(&over.summary);
    page.paragraph(&over.how);
    tell_more(&mut page);
    page.finish()
}

/// What else there may be to say.
pub(super) fn none(sender: &Sender, id: &str) -> String {
    let mut page = Html::new(&format!("{}: no such drift is open", sender.host));
    page.paragraph(&format!(
        "No drift {} is open. It was approved or dismissed, or it has been gone for long enough; or it is one of a crowd that \
         is told as one.",
        RawText::from(id)
    ));
    tell_more(&mut page);
    page.finish()
}

fn tell_more(page: &mut Html) {
    page.paragraph("What is known of it, and who closed it, on the host:");
    page.command("sudo portledger history --since 30d\nsudo portledger audit --since 30d");
    page.links([("/", "This host")]);
}

fn of_one(alert: &Alert, drift: &Drift) -> String {
    let mut page = Html::new(&alert.summary);
    let mut terms = terms(alert);
    let sockets = drift.listeners().iter().map(|listener| socket(listener));
    terms.extend(sockets.map(|socket| ("Socket", socket)));
    terms.extend(holders(drift).into_iter().map(|holder| ("Held by", holder)));
    page.terms(terms);
    finish(page, alert)
}

fn of_many(alert: &Alert, members: &[&Drift]) -> String {
    let mut page = Html::new(&alert.summary);
    page.terms(terms(alert));
    page.paragraph(&format!("{} drifts that differ in port alone:", members.len()));
    let shown: Vec<(String, String)> = members.iter().take(MOST).map(|drift| link(drift)).collect();
    page.links(shown.iter().map(|(path, what)| (path.as_str(), what.as_str())));
    if let Some(more) = members.len().checked_sub(MOST).filter(|more| *more > 0) {
        page.paragraph(&format!("{more} more are in the API."));
    }
    finish(page, alert)
}

fn finish(mut page: Html, alert: &Alert) -> String {
    page.command(&alert.description());
    page.links([
        ("/runbooks/PortledgerDrift", "What to do: the runbook"),
        ("/", "This host"),
        ("/api/v1/drift", "All open drift (JSON)"),
    ]);
    page.finish()
}

fn terms(alert: &Alert) -> Vec<(&'static str, String)> {
    let state = match &alert.gone_since {
        None => "there".to_owned(),
        Some(gone) => format!("gone since {gone}"),
    };
    // What is not known has no line.
    let names = |joined: &str| if joined.is_empty() { String::new() } else { quoted_list(joined) };
    let known = [
        ("Kind", alert.kind.as_str().replace('_', " ")),
        ("Severity", alert.severity.to_string()),
        ("State", state),
        ("First seen", alert.first_seen.to_string()),
        ("Bound to", format!("{} {} port {}", alert.protocol, alert.address, alert.port)),
        ("Network namespace", quoted(&alert.netns)),
        ("Reach", alert.reach.clone()),
        ("Program", names(&alert.program)),
        ("User", names(&alert.user)),
        ("Workload", names(&alert.workload)),
        ("Started by", alert.started_by.clone().unwrap_or_else(|| "not known, or by the system".to_owned())),
        ("Nearest approval", alert.approval.as_deref().map_or_else(|| "none".to_owned(), quoted)),
        ("Team", names(&alert.team)),
    ];
    let differs = alert.differs.iter().map(|sentence| ("Why", sentence.clone()));
    known.into_iter().filter(|(_, what)| !what.is_empty()).chain(differs).collect()
}

fn link(drift: &Drift) -> (String, String) {
    let id = drift.id();
    (format!("/drift/{id}"), format!("port {}", drift.finding.subject.port))
}

fn socket(listener: &Listener) -> String {
    let endpoint = &listener.endpoint;
    let netns = listener.netns.name.quoted();
    format!("{} {} port {} in {netns}", endpoint.protocol.as_str(), endpoint.address, endpoint.port)
}

/// Each once, whatever number of sockets it holds.
fn holders(drift: &Drift) -> Vec<String> {
    let known = drift.listeners().iter().flat_map(|listener| listener.holders.known());
    let each: BTreeMap<_, _> = known.map(|holder| (holder.id, &**holder)).collect();
    each.into_values().take(MOST).map(holder).collect()
}

fn holder(holder: &Holder) -> String {
    let program = holder.program.as_ref().map_or("unknown".to_owned(), |program| program.path.quoted());
    format!("{} {} (uid {}): {program}", holder.name.quoted(), holder.id.pid, holder.uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::tests::snapshot_of_the_fixture;

    #[test]
    fn shows_hostile_names_as_text() {
        let snapshot = snapshot_of_the_fixture();
        for drift in snapshot.register.drifts() {
            let page = page(&snapshot.register, &snapshot.sender, drift.id().as_str()).unwrap();
            assert!(
                !page.contains("</script>") && !page.contains('\u{1b}') && !page.contains("<b>"),
                "{page}"
            );
            assert!(page.contains(drift.finding.kind.as_str()), "{page}");
        }
    }

    #[test]
    fn no_name_passes_for_words_of_the_page() {
        let snapshot = snapshot_of_the_fixture();
        let mut alert = snapshot.sender.alert(&Told::of(snapshot.register.drifts().next().unwrap()));
        (alert.program, alert.user, alert.workload) =
            ("x as root".to_owned(), "a,b".to_owned(), String::new());
        let terms = terms(&alert);
        for term in [("Program", "\"x as root\""), ("User", "a,b")] {
            assert!(terms.iter().any(|(name, what)| (*name, what.as_str()) == term), "{terms:?}");
        }
        assert!(!terms.iter().any(|(name, _)| *name == "Workload"), "{terms:?}");
    }

    #[test]
    fn of_another_name_is_none_and_says_so_harmlessly() {
        let snapshot = snapshot_of_the_fixture();
        assert!(page(&snapshot.register, &snapshot.sender, "s1-0").is_none());
        let page = none(&snapshot.sender, "<script>\u{1b}");
        assert!(page.contains("&lt;script&gt;\\x1b"), "{page}");
    }
}
