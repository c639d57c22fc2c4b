use std::io::Write;

use baseline::{Explained, Explanation, Regard, Regarded, Verdict, explain};
use serde::Serialize;

use crate::arguments::{ExplainOptions, ReportFormat, Shared};
use crate::judge::{self, Judgement};
use crate::outcome::Outcome;
use crate::say::harmless;
use crate::{inventory_file, table};

/// Approvals past these are counted, not named, where they are for other hosts, namespaces or protocols.
const NAMED: usize = 10;

/// Shows why what listens somewhere is judged as it is.
pub(crate) fn run(shared: &Shared, options: &ExplainOptions) -> anyhow::Result<Outcome> {
    let judgement = match &options.inventory {
        Some(path) => inventory_file::judged(shared, path)?,
        None => judge::once(shared)?,
    };
    let Judgement { policy, inventory, accounts, assessment, now, .. } = &judgement;
    let explanation = explain(&options.endpoint, inventory, policy, accounts, assessment, *now);
    let mut output = std::io::BufWriter::new(std::io::stdout().lock());
    match options.format {
        ReportFormat::Table => {
            let mut text = Vec::new();
            tell(&judgement, &explanation, &mut text)?;
            output.write_all(harmless(&String::from_utf8_lossy(&text)).as_bytes())?;
        }
        ReportFormat::Json => {
            serde_json::to_writer_pretty(&mut output, &document(&judgement, &explanation)?)?;
            writeln!(output)?;
        }
    }
    output.flush()?;
    judgement.tell_gaps();
    Ok(if explanation.services.is_empty() { Outcome::Drift } else { Outcome::Clean })
}

fn tell(judgement: &Judgement, explanation: &Explanation<'_>, output: &mut impl Write) -> anyhow::Result<()> {
    for (place, service) in explanation.services.iter().enumerate() {
        if place > 0 {
            writeln!(output)?;
        }
        tell_service(judgement, service, output)?;
    }
    if explanation.services.is_empty() {
        writeln!(output, "Nothing listens there.")?;
        tell_approvals(&explanation.awaited, output)?;
        if explanation.awaited.is_empty() {
            writeln!(output, "No approval speaks of it.")?;
        }
    }
    Ok(())
}

fn tell_service(
    judgement: &Judgement,
    service: &Explained<'_>,
    output: &mut impl Write,
) -> anyhow::Result<()> {
    let rows = table::rows(&judgement.inventory, &judgement.assessment, &judgement.accounts);
    let judged = &service.judged.service;
    let Some(row) = judged.listeners.first().and_then(|place| rows.get(*place)) else { return Ok(()) };
    let netns = match judged.netns_kind {
        inventory::NetNsKind::Host => String::new(),
        _ => format!(" in {}", judged.netns),
    };
    writeln!(output, "{}/{}{netns}, {} reach", judged.protocol, row.place(), judged.reach)?;
    writeln!(output, "  id       {}", judged.id)?;
    writeln!(output, "  held by  {}", row.held_by().join(", "))?;
    writeln!(output, "  verdict  {}", verdict(service))?;
    if let Verdict::Drift(finding) = &service.judged.verdict {
        for sentence in &finding.differs {
            writeln!(output, "  why      {sentence}")?;
        }
    }
    tell_approvals(&service.approvals, output)?;
    if !service.approvals.iter().any(|regarded| regarded.regard <= Regard::Speaks) {
        writeln!(output, "  No approval for this host speaks of it.")?;
    }
    Ok(())
}

fn verdict(service: &Explained<'_>) -> String {
    match (&service.judged.verdict, service.unjudged) {
        (Verdict::Approved(id), _) => format!("approved by {id}"),
        (Verdict::Learned(id), _) => format!("learned by {id}: nobody has approved it"),
        (Verdict::Drift(finding), _) => format!("drift {}, {}", finding.kind, finding.severity),
        (Verdict::Unjudged, why) => format!("unjudged: {}", why.unwrap_or_default()),
    }
}

fn tell_approvals(approvals: &[Regarded<'_>], output: &mut impl Write) -> anyhow::Result<()> {
    let (near, far): (Vec<_>, Vec<_>) =
        approvals.iter().partition(|regarded| regarded.regard <= Regard::Speaks);
    for regarded in near.iter().chain(far.iter().take(NAMED)) {
        writeln!(output, "  {}: {}", regarded.approval.id, words(regarded))?;
        if regarded.regard <= Regard::Speaks {
            for sentence in &regarded.differs {
                writeln!(output, "    {sentence}")?;
            }
        }
    }
    if let Some(more) = far.len().checked_sub(NAMED).filter(|more| *more > 0) {
        writeln!(output, "  and {more} more approvals: `--format json` tells all")?;
    }
    Ok(())
}

fn words(regarded: &Regarded<'_>) -> String {
    let approval = regarded.approval;
    match regarded.regard {
        Regard::Covers => "covers it".to_owned(),
        Regard::MayCover => "may cover it".to_owned(),
        Regard::Speaks if regarded.differs.is_empty() => "speaks of it".to_owned(),
        Regard::Speaks => "speaks of it, and does not cover it".to_owned(),
        Regard::OtherHosts => format!("not for this host: hosts = {}", list(&approval.hosts)),
        Regard::OtherNamespace => format!("not for this namespace: netns = {}", list(&approval.netns)),
        Regard::OtherProtocol => format!("not for this protocol: listen = {}", list(&approval.listen)),
    }
}

fn list<T: ToString>(all: &[T]) -> String {
    let all: Vec<String> =
        all.iter().map(|one| inventory::RawText::from(&*one.to_string()).escaped()).collect();
    all.join(", ")
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    host: String,
    services: Vec<ServiceEntry<'a>>,
    awaited: Vec<ApprovalEntry<'a>>,
    gaps: serde_json::Value,
}

#[derive(Serialize)]
struct ServiceEntry<'a> {
    service: &'a str,
    protocol: &'static str,
    address: String,
    port: String,
    netns: String,
    programs: Vec<String>,
    users: Vec<&'a str>,
    reach: &'static str,
    verdict: &'static str,
    approval: Option<&'a str>,
    kind: Option<&'static str>,
    severity: Option<&'static str>,
    differs: &'a [String],
    unjudged: Option<&'static str>,
    approvals: Vec<ApprovalEntry<'a>>,
}

#[derive(Serialize)]
struct ApprovalEntry<'a> {
    id: &'a str,
    regard: &'static str,
    differs: &'a [String],
    listen: Vec<String>,
    netns: Vec<String>,
    hosts: Vec<String>,
}

fn document<'a>(judgement: &Judgement, explanation: &'a Explanation<'a>) -> anyhow::Result<Document<'a>> {
    Ok(Document {
        schema: 1,
        host: judgement.policy.host.name.escaped(),
        services: explanation.services.iter().map(service_entry).collect(),
        awaited: explanation.awaited.iter().map(approval_entry).collect(),
        gaps: serde_json::to_value(exporter::gaps_document(&judgement.inventory.coverage))?,
    })
}

fn service_entry<'a>(explained: &'a Explained<'a>) -> ServiceEntry<'a> {
    let service = &explained.judged.service;
    let verdict = &explained.judged.verdict;
    let finding = match verdict {
        Verdict::Drift(finding) => Some(finding),
        _ => None,
    };
    ServiceEntry {
        service: service.id.as_str(),
        protocol: service.protocol.as_str(),
        address: service.address.to_string(),
        port: service.port.to_string(),
        netns: service.netns.escaped(),
        programs: service.programs.iter().map(inventory::RawText::escaped).collect(),
        users: service.users.iter().map(String::as_str).collect(),
        reach: service.reach.as_str(),
        verdict: verdict.as_str(),
        approval: match verdict {
            Verdict::Approved(id) | Verdict::Learned(id) => Some(id),
            Verdict::Drift(finding) => finding.approval.as_deref(),
            Verdict::Unjudged => None,
        },
        kind: finding.map(|finding| finding.kind.as_str()),
        severity: finding.map(|finding| finding.severity.as_str()),
        differs: finding.map(|finding| &*finding.differs).unwrap_or_default(),
        unjudged: explained.unjudged,
        approvals: explained.approvals.iter().map(approval_entry).collect(),
    }
}

fn approval_entry<'a>(regarded: &'a Regarded<'a>) -> ApprovalEntry<'a> {
    fn texts<T: ToString>(all: &[T]) -> Vec<String> {
        all.iter().map(T::to_string).collect()
    }
    let approval = regarded.approval;
    ApprovalEntry {
        id: &approval.id,
        regard: regarded.regard.as_str(),
        differs: &regarded.differs,
        listen: texts(&approval.listen),
        netns: texts(&approval.netns),
        hosts: texts(&approval.hosts),
    }
}
