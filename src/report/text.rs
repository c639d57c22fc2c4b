use super::decide::{Item, Report};
use crate::page::{Page, names};

/// The report for a terminal.
pub(super) fn page(report: &Report) -> String {
    let mut page = Page::default();
    let control = &report.control;
    page.heading(&format!("{}, item {}: {}", control.benchmark, control.item, control.title));
    page.heading(&format!("Result: {}", report.result.as_str()));
    page.lines("because", &report.because);
    page.line("host", &report.host);
    page.line("looked at", &report.taken_at);
    page.line("made by", format!("{}, with portledger {}", report.made_by, report.version));
    page.line("baseline", report.held_against());
    page.line("ledger", &report.ledger.told);
    page.line("services", report.tally());
    page.line("apart", report.apart.len().to_string());
    page.line("benchmark", control.source);
    for item in &report.services {
        tell(&mut page, item);
    }
    if !report.apart.is_empty() {
        page.heading(
            "Apart: the item is not about what no other host can send to, or what waits for nobody.",
        );
    }
    for item in &report.apart {
        let why = item.why.join("; ");
        page.line("", format!("{}, {}: {}; {why}", item.endpoint, held(item), item.verdict.as_str()));
    }
    if !report.unseen.is_empty() {
        page.heading("Not seen:");
        page.lines("", &report.unseen);
    }
    page.into_text()
}

fn tell(page: &mut Page, item: &Item) {
    page.heading(&format!("{}, reach {}", item.endpoint, item.reach));
    page.line("verdict", item.verdict.as_str());
    page.lines("why", &item.why);
    page.line("held by", held(item));
    page.line("service", &item.service);
    let Some(evidence) = &item.evidence else { return };
    let place = evidence.place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
    page.line("approval", format!("{}{place}", evidence.approval));
    page.line("reason", evidence.reason.as_deref().unwrap_or("none is given"));
    page.lines("ticket", &evidence.ticket);
    page.line("by", evidence.approver());
    page.lines("expires", &evidence.expires);
    page.lines("signed", evidence.signed());
    page.lines("counts", evidence.distrust.iter().map(|why| format!("no: {why}")));
    page.line("act", evidence.acted());
}

/// By which programs, as which users, in which workloads.
pub(super) fn held(item: &Item) -> String {
    if item.programs.is_empty() && item.users.is_empty() {
        return "nobody that was seen".to_owned();
    }
    let listed = |word: &str, some: &[String]| match some {
        [] => String::new(),
        some => format!("{word}{}", names(some)),
    };
    let programs = listed("", &item.programs);
    format!("{programs}{}{}", listed(" as ", &item.users), listed(", in ", &item.workloads))
}
