use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use baseline::{AddressWord, Drift, Finding, PortWord, Register, Service, Severity, Verdict};
use exporter::{diff_document, open_drifts};
use inventory::{Holders, RawText};

use crate::arguments::{DiffOptions, ReportFormat, Shared};
use crate::judge::{self, Judgement};
use crate::outcome::Outcome;
use crate::say::{aside, harmless};

/// Holders past these are counted, not named.
const NAMED_HOLDERS: usize = 3;

/// Shows what differs from the baseline.
pub(crate) fn run(shared: &Shared, options: &DiffOptions) -> anyhow::Result<Outcome> {
    let judgement = judge::once(shared)?;
    let register = open_drifts(&judgement.paths.state).unwrap_or_else(|error| {
        aside(format_args!("portledger: it is not known what is gone: {error}"));
        None
    });
    let register = register.unwrap_or_default();
    let gone = gone(&judgement, &register);
    let mut output = std::io::stdout().lock();
    match options.format {
        ReportFormat::Table => {
            output.write_all(harmless(&(report(&judgement) + &report_gone(&gone))).as_bytes())?;
        }
        ReportFormat::Json => {
            let document =
                diff_document(&judgement.inventory, &judgement.assessment, &gone, &judgement.policy);
            serde_json::to_writer_pretty(&mut output, &document)?;
            writeln!(output)?;
        }
    }
    output.flush()?;
    judgement.tell_gaps();
    // An id is made of the holders too.
    if !rustix::process::geteuid().is_root() && judgement.inventory.coverage.may_hide_holders() {
        aside(
            "Listeners whose holders cannot be seen have other ids here than in the daemon: use `sudo portledger diff`, or \
             `portledger check`.",
        );
    }
    if !judgement.has_baseline() {
        aside(
            "\nThere is no baseline yet, so nothing counts as approved. `portledger learn` writes one from what\n\
             listens now; read it, then `portledger diff` shows what differs.",
        );
    }
    Ok(match findings(&judgement).is_empty() {
        false => Outcome::Drift,
        true if judgement.is_partial() => Outcome::Partial,
        true => Outcome::Clean,
    })
}

/// All drift, gravest first.
fn findings(judgement: &Judgement) -> Vec<(&Finding, Option<&Service>)> {
    let assessment = &judgement.assessment;
    let of_services = assessment.services.iter().filter_map(|judged| match &judged.verdict {
        Verdict::Drift(finding) => Some((&**finding, Some(&judged.service))),
        _ => None,
    });
    let mut found: Vec<_> =
        of_services.chain(assessment.absent.iter().map(|finding| (finding, None))).collect();
    found.sort_by_key(|(finding, _)| (Reverse(finding.severity), finding.kind));
    found
}

fn report(judgement: &Judgement) -> String {
    let found = findings(judgement);
    let mut text = String::new();
    for (finding, service) in &found {
        text += &block(judgement, finding, *service);
        text.push('\n');
    }
    text += &summary(judgement, &found);
    text
}

/// What `serve` keeps open although it is not there any more, gravest first.
fn gone<'a>(judgement: &Judgement, register: &'a Register) -> Vec<&'a Drift> {
    let present: BTreeSet<_> = findings(judgement).into_iter().map(|(finding, _)| &finding.id).collect();
    register.drifts().filter(|drift| !drift.is_present() && !present.contains(drift.id())).collect()
}

fn report_gone(gone: &[&Drift]) -> String {
    if gone.is_empty() {
        return String::new();
    }
    let blocks: String = gone.iter().map(|drift| gone_block(drift) + "\n").collect();
    let paging = gone.iter().filter(|drift| drift.finding.severity > Severity::Info).count();
    let pages = still_pages(paging, gone.len());
    format!(
        "\nGone, and kept open by `serve`, what is critical until it is dismissed, else for a day:\n\n{blocks}\
         {pages}; the exit status does not count what is gone.\n"
    )
}

/// A drift of severity info never does.
fn still_pages(paging: usize, gone: usize) -> String {
    match paging {
        0 => "None of it pages, all being info".to_owned(),
        1 if gone == 1 => "1 gone drift still pages".to_owned(),
        paging if paging == gone => format!("{gone} gone drifts still page"),
        paging => format!("of {gone} gone drifts {paging} still page, the others being info"),
    }
}

/// As [`block`], by what `serve` wrote down, which its user could have made up: all text of it is escaped.
fn gone_block(drift: &Drift) -> String {
    let finding = &drift.finding;
    let subject = &finding.subject;
    let users: Vec<String> = subject.users.iter().map(|user| RawText::from(user.as_str()).quoted()).collect();
    let programs: Vec<String> = subject.programs.iter().map(RawText::quoted).collect();
    let workloads: String =
        subject.workloads.iter().map(|workload| format!(", {}", workload.quoted())).collect();
    let mut lines = vec![
        format!("{:<9} {:<16} {}", finding.severity, finding.kind, place(finding)),
        format!("  id       {}", escaped(finding.id.as_str())),
    ];
    if programs.is_empty() && subject.reach.is_some() {
        lines.push("  held by  nobody that was seen".to_owned());
    } else if !programs.is_empty() {
        lines.push(format!("  held by  {} as {}{workloads}", programs.join(", "), users.join(", ")));
    }
    lines.extend(finding.differs.iter().map(|sentence| format!("  why      {}", escaped(sentence))));
    let gone_since = drift.gone_since.and_then(|time| jiff::Timestamp::try_from(time).ok());
    lines.extend(gone_since.map(|time| format!("  last there {time:.0}")));
    lines.join("\n") + "\n"
}

fn escaped(text: &str) -> String {
    RawText::from(text).to_string()
}

/// What a person needs to know of one drift, in lines of at most 80 columns as far as names allow.
fn block(judgement: &Judgement, finding: &Finding, service: Option<&Service>) -> String {
    let reach = finding.subject.reach.map(|reach| format!(", reach {reach}")).unwrap_or_default();
    let mut lines = vec![
        format!("{:<9} {:<16} {}{reach}", finding.severity, finding.kind, place(finding)),
        format!("  id       {}", finding.id),
    ];
    let held_by = service.map(|service| held_by(judgement, service)).unwrap_or_default();
    lines.extend(held_by.iter().map(|line| format!("  held by  {line}")));
    lines.extend(finding.differs.iter().map(|sentence| format!("  why      {sentence}")));
    let listeners = service.iter().flat_map(|service| &service.listeners);
    let mut ports = listeners.map(|place| &judgement.inventory.listeners[*place]);
    if ports.any(|listener| crate::approve::may_be_kernels(listener)) {
        lines.push("  port     the kernel may have chosen it: `kernel` matches any such port".to_owned());
    }
    let nearest = finding.approval.iter();
    lines.extend(nearest.map(|approval| format!("  nearest  approval {}", RawText::from(approval.as_str()))));
    if !finding.also.is_empty() {
        let also: Vec<_> = finding.also.iter().map(|kind| kind.as_str()).collect();
        lines.push(format!("  also     {}", also.join(", ")));
    }
    lines.join("\n") + "\n"
}

/// `tcp *:8443`, `udp 10.0.0.1%eth0:53 in web`.
fn place(finding: &Finding) -> String {
    let subject = &finding.subject;
    let address = match subject.address {
        AddressWord::Any => "*".to_owned(),
        AddressWord::One(std::net::IpAddr::V6(address)) => format!("[{address}]"),
        AddressWord::One(address) => address.to_string(),
    };
    let device = subject.device.as_ref().map(|device| format!("%{}", device.quoted())).unwrap_or_default();
    let port = match subject.port {
        PortWord::Kernel => "kernel".to_owned(),
        PortWord::Number(port) => port.to_string(),
        PortWord::Any => "*".to_owned(),
    };
    let netns = if subject.netns.as_bytes() == b"host" {
        String::new()
    } else {
        format!(" in {}", subject.netns.quoted())
    };
    format!("{} {address}{device}:{port}{netns}", subject.protocol)
}

/// A line for each holder.
fn held_by(judgement: &Judgement, service: &Service) -> Vec<String> {
    let mut lines = BTreeMap::new();
    for place in &service.listeners {
        match &judgement.inventory.listeners[*place].holders {
            Holders::Unattributed(reason) => {
                lines.insert(
                    u32::MAX,
                    format!("nobody that was seen ({})", reason.as_str().replace('_', " ")),
                );
            }
            Holders::Known(holders) => {
                for holder in holders {
                    let user = inventory::quoted(&judgement.accounts.word(holder.uid));
                    let program = holder.program.as_ref();
                    let program = program.map_or("unreadable".to_owned(), |program| program.path.quoted());
                    let workload = holder.workload.stable_name();
                    let workload =
                        workload.map(|name| format!(", {} {}", holder.workload.kind(), name.quoted()));
                    let workload = workload.unwrap_or_default();
                    let line = format!(
                        "{}[{}] as {user}, program {program}{workload}",
                        holder.name.quoted(),
                        holder.id.pid
                    );
                    lines.insert(holder.id.pid, line);
                }
            }
        }
    }
    let more = lines.len().saturating_sub(NAMED_HOLDERS);
    let mut named: Vec<String> = lines.into_values().take(NAMED_HOLDERS).collect();
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    named
}

fn summary(judgement: &Judgement, found: &[(&Finding, Option<&Service>)]) -> String {
    if found.is_empty() && judgement.is_partial() {
        return "No drift in what was seen, but not all was seen.\n".to_owned();
    }
    if found.is_empty() {
        return "No drift.\n".to_owned();
    }
    let count = |severity| found.iter().filter(|(finding, _)| finding.severity == severity).count();
    let counts: Vec<String> = Severity::ALL
        .into_iter()
        .rev()
        .filter(|severity| count(*severity) > 0)
        .map(|severity| format!("{} {severity}", count(severity)))
        .collect();
    let drifts = if found.len() == 1 { "drift" } else { "drifts" };
    let mut text = format!("{} {drifts}: {}.", found.len(), counts.join(", "));
    if judgement.has_baseline() {
        text += " Look closer with `portledger list --filter verdict=drift`;\n\
                 what is as it should be: `portledger approve ID --reason TEXT`.";
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_passes_for_words_of_a_place() {
        let finding = r#"{"id":"s1-0","kind":"unapproved","also":[],"severity":"info","approval":null,"differs":[],"team":null,
            "subject":{"protocol":"Tcp","address":"any","port":{"number":80},"device":null,"netns":[97,32,98],"programs":[],
            "users":[],"workloads":[],"reach":"Public"}}"#;
        assert_eq!(place(&serde_json::from_str(finding).unwrap()), "tcp *:80 in \"a b\"");
    }

    #[test]
    fn info_is_not_counted_among_what_pages() {
        assert_eq!(still_pages(0, 2), "None of it pages, all being info");
        assert_eq!(still_pages(1, 1), "1 gone drift still pages");
        assert_eq!(still_pages(2, 2), "2 gone drifts still page");
        assert!(still_pages(2, 5).starts_with("of 5 gone drifts 2 still page,"));
    }
}
