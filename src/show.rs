mod approval;
mod document;
pub(crate) mod history;
mod next;
mod service;
mod together;

use std::io::Write;

use anyhow::{Context, bail};
use baseline::{
    Approval, Drift, Finding, Judged, NAMESPACE, Register, Sought, SourceText, Verdict, canonical,
    countersigned, edit,
};
use exporter::{is_of_many, open_drifts};
use inventory::RawText;
use signing::Signature;

use self::history::{History, Topic};
pub(crate) use self::service::{endpoint, why_unjudged, words};
use crate::arguments::{ReportFormat, Shared, ShowOptions};
use crate::editing::Standing;
use crate::judge::{self, Judgement};
use crate::outcome::Outcome;
use crate::page::{self, Page};
use crate::paths::Paths;
use crate::say;

/// Shows all there is to know of services, drifts and approvals.
pub(crate) fn run(shared: &Shared, options: &ShowOptions) -> anyhow::Result<Outcome> {
    if options.text || options.signature {
        return print_signed(shared, options);
    }
    if options.by.is_some() {
        bail!("--by says whose signature is meant: it wants --text or --signature");
    }
    if is_of_many(&options.what) {
        let register = open_drifts(&Paths::of(shared)?.state)?;
        return together::show(register.as_ref(), options);
    }
    let wanted: Sought = options.what.parse().map_err(anyhow::Error::msg)?;
    let (judgement, wrong) = judge::in_any_case(shared, true)?;
    let (register, unknown) = match open_drifts(&judgement.paths.state) {
        Ok(register) => (register, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let mut found = Found::all(&wanted, &judgement, register.as_ref());
    let nothing = found.is_empty();
    found.read_histories(&judgement, unknown);
    match options.format {
        ReportFormat::Json => {
            let mut output = std::io::stdout().lock();
            serde_json::to_writer_pretty(&mut output, &document::of(&found, &judgement)?)?;
            writeln!(output)?;
        }
        ReportFormat::Table if nothing => tell_nearest(&wanted, &judgement, options),
        ReportFormat::Table => {
            std::io::stdout().lock().write_all(page(&found, &judgement).as_bytes())?;
            judgement.tell_gaps();
        }
    }
    Ok(match wrong {
        Some(wrong) => Outcome::failed(&wrong),
        None if nothing => Outcome::Drift,
        None => Outcome::Clean,
    })
}

/// What was asked for.
struct Found<'a> {
    services: Vec<(&'a Judged, History)>,
    /// Drifts that `serve` keeps and that were not found now.
    kept: Vec<(&'a Drift, History)>,
    approvals: Vec<(&'a Approval, History)>,
    register: Option<&'a Register>,
    /// Why it is not told what happened, or not all of it.
    unread: Vec<String>,
}

impl<'a> Found<'a> {
    fn all(wanted: &Sought, judgement: &'a Judgement, register: Option<&'a Register>) -> Self {
        let Judgement { inventory, assessment, policy, .. } = judgement;
        let services = assessment.services.iter().filter(|judged| wanted.is_service(judged, inventory));
        let is_found = |drift: &Drift| {
            let mut found = assessment.findings().chain(&assessment.absent);
            found.any(|finding| finding.id == *drift.id())
        };
        let kept = register.into_iter().flat_map(Register::drifts);
        let kept = kept.filter(|drift| wanted.is_drift(drift) && !is_found(drift));
        let approvals = policy.baseline.approvals().iter().filter(|approval| wanted.is_approval(approval));
        Found {
            services: services.map(|judged| (judged, History::default())).collect(),
            kept: kept.map(|drift| (drift, History::default())).collect(),
            approvals: approvals.map(|approval| (approval, History::default())).collect(),
            register,
            unread: Vec::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.services.is_empty() && self.kept.is_empty() && self.approvals.is_empty()
    }

    fn read_histories(&mut self, judgement: &Judgement, unknown: Option<String>) {
        self.unread.extend(unknown.map(|why| format!("open drifts: {why}")));
        if self.is_empty() {
            return;
        }
        let services = self.services.iter().map(|(judged, _)| service::topic(judged, judgement));
        let kept = self.kept.iter().map(|(drift, _)| service::topic_of_kept(drift));
        let approvals = self.approvals.iter().map(|(approval, _)| approval::topic(approval));
        let topics: Vec<Topic> = services.chain(kept).chain(approvals).collect();
        let (histories, unread) = history::read(&judgement.paths.state, &topics, history::SHOWN);
        self.unread.extend(unread);
        let services = self.services.iter_mut().map(|(_, history)| history);
        let kept = self.kept.iter_mut().map(|(_, history)| history);
        let approvals = self.approvals.iter_mut().map(|(_, history)| history);
        for (place, history) in services.chain(kept).chain(approvals).zip(histories) {
            *place = history;
        }
    }

    /// The drift of a service, likewise.
    fn open_of(&self, judged: &Judged) -> Option<&'a Drift> {
        match &judged.verdict {
            Verdict::Drift(finding) => self.open(finding),
            _ => None,
        }
    }

    /// Since when a drift is open, and whether it is there, as `serve` wrote down.
    fn open(&self, finding: &Finding) -> Option<&'a Drift> {
        self.register?.drift(&finding.id)
    }
}

fn page(found: &Found<'_>, judgement: &Judgement) -> String {
    let mut page = Page::default();
    for (judged, history) in &found.services {
        service::tell(&mut page, judged, found, judgement, history);
        tell_history(&mut page, history);
    }
    for (drift, history) in &found.kept {
        service::tell_kept(&mut page, drift, judgement);
        tell_history(&mut page, history);
    }
    for (approval, history) in &found.approvals {
        approval::tell(&mut page, approval, judgement);
        tell_history(&mut page, history);
    }
    if !found.unread.is_empty() {
        page.heading("Not known of what happened:");
        found.unread.iter().for_each(|why| page.line("", page::shown(why)));
    }
    page.into_text()
}

fn tell_history(page: &mut Page, history: &History) {
    if history.is_empty() {
        page.line("history", "nothing that is logged");
    }
    page.lines("history", history.told());
}

fn tell_nearest(wanted: &Sought, judgement: &Judgement, options: &ShowOptions) {
    let what = RawText::from(options.what.as_str());
    let unseen = if judgement.is_partial() { ", but not all was seen" } else { "" };
    say::aside(format_args!("portledger: nothing is known of `{what}`{unseen}"));
    say::aside("What was there, and who closed it: `sudo portledger history --since 30d`.");
    if !wanted.is_endpoint() {
        say::aside(
            "It is no id of a service, of an open drift or of an approval, nor 11 characters and more of one, and no \
             endpoint such as tcp/8443 or [::1]:631.",
        );
    }
    let speaking = judgement.policy.baseline.approvals().iter().filter(|known| wanted.is_spoken_of_by(known));
    for approval in speaking.take(NAMED) {
        let listen: Vec<String> = approval.listen.iter().map(ToString::to_string).collect();
        say::aside(format_args!(
            "Approval `{}` speaks of it: {}. `portledger show {}` tells more.",
            approval.id,
            listen.join(", "),
            approval.id
        ));
    }
    judgement.tell_gaps();
}

/// More names are not read.
const NAMED: usize = 10;

/// Prints the text that a signature of an approval is made over, byte for byte, or the signature.
fn print_signed(shared: &Shared, options: &ShowOptions) -> anyhow::Result<Outcome> {
    let standing = Standing::read(shared, None)?;
    let approval = standing.approval(&options.what)?;
    let counter = match &options.by {
        None => None,
        Some(by) => {
            let known = approval.countersigned.iter().find(|counter| counter.by == *by);
            let known = known.with_context(|| {
                format!(
                    "approval `{}` has no countersignature by `{}`",
                    approval.id,
                    RawText::from(by.as_str())
                )
            });
            Some(known?)
        }
    };
    let printed = match counter {
        Some(counter) if options.text => countersigned(approval, &counter.by, counter.at),
        None if options.text => canonical(approval),
        Some(counter) => armored(&counter.signature)?,
        None => match &approval.signature {
            Some(signature) => armored(signature)?,
            None => bail!(
                "approval `{0}` is not signed: `portledger approve {0} --reason TEXT` signs it, or `ssh-keygen -Y sign -n \
                 {NAMESPACE}` over the text that --text prints",
                approval.id
            ),
        },
    };
    let mut output = std::io::stdout().lock();
    output.write_all(printed.as_bytes())?;
    output.flush()?;
    Ok(Outcome::Clean)
}

fn armored(signature: &str) -> anyhow::Result<String> {
    let read = Signature::from_base64(signature);
    Ok(read.context("the signature in the file cannot be read")?.to_armor())
}

/// `/etc/portledger/baseline.toml:12`, and what stands there; `None` where it stands in no table of its own.
fn place<'a>(judgement: &'a Judgement, id: &str) -> Option<(&'a SourceText, edit::Stands<'a>)> {
    let texts = judgement.texts.iter().flatten();
    texts.into_iter().find_map(|source| Some((source, edit::find(source, id)?)))
}

/// The same for people, escaped.
fn place_line(judgement: &Judgement, id: &str) -> Option<String> {
    let (source, stands) = place(judgement, id)?;
    let path = RawText::new(source.path.as_os_str().as_encoded_bytes());
    Some(format!("{path}:{}", stands.line))
}
