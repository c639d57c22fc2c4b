//! The page that prints: one file, no script, nothing from elsewhere. All that is put into it is escaped here.

use std::fmt::{Arguments, Write};

use super::decide::{Evidence, Item, Report, Ruling};
use super::text::held;

/// Rows and blocks stay on one sheet, and each sheet has the heads of its table.
const STYLE: &str = "\
body{font-family:sans-serif;font-size:10pt;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#000;background:#fff}\
h1{font-size:15pt;margin-bottom:.2rem}h2{font-size:12pt;break-after:avoid}\
.result{display:inline-block;padding:.3rem .8rem;border:2px solid;font-size:14pt;font-weight:bold}\
.pass{color:#0b5d1e}.fail{color:#a11111}.open{color:#7a5200}\
table{border-collapse:collapse;width:100%;table-layout:fixed}\
th:first-child{width:22%}th:nth-child(2){width:22%}th:nth-child(3){width:16%}thead{display:table-header-group}\
th,td{border:1px solid #888;padding:.3rem .4rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}\
th{background:#eee}tr{break-inside:avoid;page-break-inside:avoid}\
dl{margin:0;display:grid;grid-template-columns:max-content 1fr;gap:.1rem .6rem}dt{font-weight:bold}\
dd{margin:0;overflow-wrap:anywhere}\
@page{size:A4;margin:15mm}\
@media print{body{max-width:none;margin:0;padding:0;font-size:8.5pt}th{background:none}}";

pub(super) fn page(report: &Report) -> String {
    let mut page = Html::default();
    let control = &report.control;
    let title = format!("{} {} of {}", control.item, report.result.as_str(), report.host);
    page.put(format_args!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{}</h1>\n<p>{}, item \
         {}</p>\n",
        escape(&title),
        escape(control.title),
        escape(control.benchmark),
        escape(control.item),
    ));
    let class = match report.result {
        Ruling::Pass => "pass",
        Ruling::Fail => "fail",
        Ruling::CannotBeSaid => "open",
    };
    page.put(format_args!("<p class=\"result {class}\">{}</p>\n", report.result.as_str()));
    report.because.iter().for_each(|why| page.put(format_args!("<p>{}</p>\n", escape(why))));
    page.terms([
        ("Host", report.host.clone()),
        ("Looked at", report.taken_at.clone()),
        ("Made by", format!("{}, with portledger {}", report.made_by, report.version)),
        ("Baseline", report.held_against()),
        ("Ledger", report.ledger.told.clone()),
        ("Services", report.tally()),
        ("Apart", report.apart.len().to_string()),
        ("Benchmark", control.source.to_owned()),
    ]);
    page.put(format_args!("<h2>Services that other hosts can reach</h2>\n"));
    page.table(["Listens on", "Held by", "Verdict", "Evidence"], &report.services, row);
    page.put(format_args!("<h2>Apart: what no other host can send to, or what waits for nobody</h2>\n"));
    page.table(["Listens on", "Held by", "Verdict", "Why apart"], &report.apart, row_apart);
    if !report.unseen.is_empty() {
        page.put(format_args!("<h2>Not seen</h2>\n<ul>\n"));
        report.unseen.iter().for_each(|gap| page.put(format_args!("<li>{}</li>\n", escape(gap))));
        page.put(format_args!("</ul>\n"));
    }
    page.put(format_args!("</body>\n</html>\n"));
    page.0
}

fn row(page: &mut Html, item: &Item) {
    listens(page, item);
    page.put(format_args!("<td><strong>{}</strong>", escape(item.verdict.as_str())));
    item.why.iter().for_each(|why| page.put(format_args!("<br>{}", escape(why))));
    page.put(format_args!("</td><td>"));
    match &item.evidence {
        Some(evidence) => page.terms(terms(evidence)),
        None => page.put(format_args!("none")),
    }
    page.put(format_args!("</td>"));
}

fn row_apart(page: &mut Html, item: &Item) {
    listens(page, item);
    page.put(format_args!("<td>{}</td>", escape(item.verdict.as_str())));
    page.put(format_args!("<td>{}</td>", escape(&item.why.join("; "))));
}

fn listens(page: &mut Html, item: &Item) {
    page.put(format_args!("<td>{}<br>reach {}</td>", escape(&item.endpoint), item.reach));
    page.put(format_args!("<td>{}</td>", escape(&held(item))));
}

fn terms(evidence: &Evidence) -> Vec<(&'static str, String)> {
    let place = evidence.place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
    let mut terms = vec![
        ("Approval", format!("{}{place}", evidence.approval)),
        ("Reason", evidence.reason.clone().unwrap_or_else(|| "none is given".to_owned())),
    ];
    terms.extend(evidence.ticket.clone().map(|ticket| ("Ticket", ticket)));
    terms.push(("By", evidence.approver()));
    terms.extend(evidence.expires.clone().map(|expires| ("Expires", expires)));
    terms.extend(evidence.signed().into_iter().map(|signed| ("Signed", signed)));
    terms.extend(evidence.distrust.clone().map(|why| ("Does not count", why)));
    terms.push(("Act", evidence.acted()));
    terms
}

#[derive(Default)]
struct Html(String);

impl Html {
    fn table(&mut self, heads: [&str; 4], items: &[Item], row: impl Fn(&mut Html, &Item)) {
        if items.is_empty() {
            return self.put(format_args!("<p>None.</p>\n"));
        }
        self.put(format_args!("<table>\n<thead><tr>"));
        heads.iter().for_each(|head| self.put(format_args!("<th>{}</th>", escape(head))));
        self.put(format_args!("</tr></thead>\n<tbody>\n"));
        for item in items {
            self.put(format_args!("<tr>"));
            row(self, item);
            self.put(format_args!("</tr>\n"));
        }
        self.put(format_args!("</tbody>\n</table>\n"));
    }

    fn terms(&mut self, terms: impl IntoIterator<Item = (&'static str, String)>) {
        self.put(format_args!("<dl>\n"));
        for (term, what) in terms {
            self.put(format_args!("<dt>{}</dt><dd>{}</dd>\n", escape(term), escape(&what)));
        }
        self.put(format_args!("</dl>\n"));
    }

    fn put(&mut self, text: Arguments<'_>) {
        // Writing to a string cannot fail.
        self.0.write_fmt(text).unwrap_or_default();
    }
}

fn escape(text: &str) -> String {
    exporter::escaped_html(&crate::say::harmless(text))
}
