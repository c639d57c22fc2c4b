use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use baseline::{
    AddressWord, Drift, Finding, Judged, PortWord, Service, ServiceKey, Subject, Verdict, command_line,
};
use inventory::{
    Holder, Holders, Inventory, Listener, NetNsKind, PortChoice, Program, ProgramFile, Protocol, RawText,
    Reach, Workload, quoted,
};

use super::history::{History, Topic};
use super::{Found, approval, next, place_line};
use crate::judge::Judgement;
use crate::page::{Page, moment, names, shown};

/// Holders and sockets past these are counted, not shown.
const TOLD: usize = 20;

pub(super) fn topic(judged: &Judged, judgement: &Judgement) -> Topic {
    let mut topic = Topic::default();
    topic.ids.insert(judged.service.id.as_str().to_owned());
    if let Verdict::Drift(finding) = &judged.verdict {
        topic.ids.insert(finding.id.as_str().to_owned());
    }
    if let Some(id) = covering(&judged.verdict) {
        topic.ids.insert(id.to_owned());
    }
    topic.all_listen(&judged.service.listeners, &judgement.inventory);
    topic
}

pub(super) fn topic_of_kept(drift: &Drift) -> Topic {
    let mut topic = Topic::default();
    topic.ids.insert(drift.id().as_str().to_owned());
    drift.listeners().iter().for_each(|listener| topic.listens(listener));
    topic
}

/// The approval that covers it.
pub(super) fn covering(verdict: &Verdict) -> Option<&str> {
    match verdict {
        Verdict::Approved(id) | Verdict::Learned(id) => Some(id),
        Verdict::Drift(_) | Verdict::Unjudged => None,
    }
}

/// All there is to know of a service but its history.
pub(super) fn tell(
    page: &mut Page,
    judged: &Judged,
    found: &Found<'_>,
    judgement: &Judgement,
    history: &History,
) {
    let service = &judged.service;
    page.heading(&format!("{}, reach {}", endpoint(service), service.reach));
    page.line("service", service.id.as_str());
    match &judged.verdict {
        Verdict::Drift(finding) => tell_drift(page, finding, found.open(finding), judgement),
        Verdict::Unjudged => {
            page.line("verdict", format!("unjudged: {}", why_unjudged(judged, &judgement.inventory)));
        }
        Verdict::Approved(id) | Verdict::Learned(id) => {
            let place = place_line(judgement, id).map(|place| format!(" ({place})")).unwrap_or_default();
            let word = judged.verdict.as_str();
            page.line("verdict", format!("{word}, by approval {}{place}", shown(id)));
            if let Some(approval) = judgement.policy.baseline.approval(id) {
                approval::tell_standing(page, approval, judgement);
            }
        }
    }
    let listeners: Vec<&Listener> =
        service.listeners.iter().map(|place| &*judgement.inventory.listeners[*place]).collect();
    tell_sockets(page, &listeners, Some(history));
    tell_holders(page, &listeners, judgement);
    next::tell(page, &next::of_service(judged, found.open_of(judged), judgement));
}

/// What `serve` wrote down of a drift that is not there, which its user could have made up.
pub(super) fn tell_kept(page: &mut Page, drift: &Drift, judgement: &Judgement) {
    let finding = &drift.finding;
    let reach = finding.subject.reach.map(|reach| format!(", reach {reach}")).unwrap_or_default();
    page.heading(&format!("{}{reach}: not there now", subject(&finding.subject)));
    tell_drift(page, finding, Some(drift), judgement);
    let listeners: Vec<&Listener> = drift.listeners().iter().map(|listener| &**listener).collect();
    if listeners.is_empty() {
        let programs = names(finding.subject.programs.iter().map(RawText::escaped));
        page.line("held by", format!("{programs} as {}", names(&*finding.subject.users)));
    } else {
        tell_sockets(page, &listeners, None);
        tell_holders(page, &listeners, judgement);
    }
    next::tell(page, &next::of_kept(drift));
}

fn tell_drift(page: &mut Page, finding: &Finding, open: Option<&Drift>, judgement: &Judgement) {
    let also: Vec<&str> = finding.also.iter().map(|kind| kind.as_str()).collect();
    let also = if also.is_empty() { String::new() } else { format!("; also {}", also.join(", ")) };
    // It never falls while it is open.
    let severity = open.map_or(finding.severity, |open| open.finding.severity);
    page.line("verdict", format!("drift: {} ({severity}){also}", finding.kind));
    page.line("drift", shown(finding.id.as_str()));
    page.lines("why", finding.differs.iter().map(|sentence| shown(sentence)));
    page.line(
        "open",
        match open {
            None => "not known to `serve`: it has not run, or has not told it yet".to_owned(),
            Some(Drift { first_seen, gone_since: None, .. }) => format!("since {}", moment(*first_seen)),
            Some(Drift { first_seen, gone_since: Some(gone), .. }) => {
                format!("since {}; last there {}", moment(*first_seen), moment(*gone))
            }
        },
    );
    let Some(id) = &finding.approval else { return };
    let stands = place_line(judgement, id).map(|place| format!(" ({place})")).unwrap_or_default();
    page.line("nearest", format!("approval {}{stands}", shown(id)));
    if let Some(approval) = judgement.policy.baseline.approval(id) {
        approval::tell_standing(page, approval, judgement);
    }
}

fn tell_sockets(page: &mut Page, listeners: &[&Listener], history: Option<&History>) {
    let bound: BTreeSet<String> = listeners.iter().map(|listener| bound(listener)).collect();
    page.lines("bound to", few(bound));
    let reach = listeners.iter().map(|listener| listener.reach).max().unwrap_or(Reach::Isolated);
    page.line("reach", format!("{reach}: {}", because(listeners, reach)));
    let published: BTreeSet<String> =
        listeners.iter().flat_map(|listener| &listener.published).map(ToString::to_string).collect();
    page.lines("published", few(published));
    let peers: BTreeSet<String> =
        listeners.iter().filter_map(|listener| listener.peer).map(|peer| peer.to_string()).collect();
    page.lines("peer", few(peers));
    if let Some(first) = listeners.first().filter(|first| first.netns.kind != NetNsKind::Host) {
        page.line("netns", format!("{} ({})", first.netns, first.netns.kind.as_str()));
    }
    let since: BTreeSet<String> = listeners.iter().map(|listener| since(listener, history)).collect();
    page.lines("since", few(since));
    let backlogs: BTreeSet<u32> = listeners.iter().filter_map(|listener| listener.backlog).collect();
    let backlogs: Vec<String> = backlogs.iter().map(ToString::to_string).collect();
    if !backlogs.is_empty() {
        page.line("backlog", backlogs.join(", "));
    }
}

/// The first of them, and how many there are besides.
fn few(all: BTreeSet<String>) -> Vec<String> {
    let more = all.len().saturating_sub(TOLD);
    let more = (more > 0).then(|| format!("and {more} more"));
    all.into_iter().take(TOLD).chain(more).collect()
}

fn bound(listener: &Listener) -> String {
    let only = if listener.ipv6_only == Some(true) { ", v6 alone" } else { "" };
    let by_kernel = match listener.port_choice {
        PortChoice::Explicit | PortChoice::Unknown { ephemeral: false } => "",
        PortChoice::Kernel => ", a port that the kernel chose",
        PortChoice::Unknown { ephemeral: true } => ", a port that the kernel may have chosen",
    };
    format!("{}{only}{by_kernel}", listener.endpoint)
}

fn since(listener: &Listener, history: Option<&History>) -> String {
    if let Some(since) = listener.since {
        return moment(since);
    }
    match history.and_then(|history| history.opened.get(&listener.id.cookie)) {
        Some(time) => format!("{} (events.jsonl)", shown(time)),
        None => "not known: no line of the log of events that was read tells its opening".to_owned(),
    }
}

/// What makes the reach of these sockets so wide.
pub(super) fn because(listeners: &[&Listener], reach: Reach) -> String {
    let widest = listeners.iter().find(|listener| listener.reach == reach);
    let Some(listener) = widest else { return "no socket of it is known".to_owned() };
    let device = listener.endpoint.device.as_ref().map(|device| format!(", by interface {device} alone"));
    let device = device.unwrap_or_default();
    if let Some(peer) = listener.peer {
        return format!("connected, it takes packets of {peer} alone");
    }
    if let Some(published) = listener.published.first() {
        return format!("published as {published}");
    }
    match (listener.endpoint.is_wildcard(), reach) {
        (true, Reach::Isolated) => format!("its namespace has no address to reach it by{device}"),
        (true, _) => format!("bound to all addresses, of which the widest is {reach}{device}"),
        (false, _) => format!("bound to {}{device}", listener.endpoint.canonical_address()),
    }
}

fn tell_holders(page: &mut Page, listeners: &[&Listener], judgement: &Judgement) {
    let mut holders: BTreeMap<_, &Arc<Holder>> = BTreeMap::new();
    let mut nobody = BTreeSet::new();
    for listener in listeners {
        match &listener.holders {
            Holders::Known(known) => holders.extend(known.iter().map(|holder| (holder.id, holder))),
            Holders::Unattributed(reason) => {
                nobody.insert(format!("nobody that was seen ({})", reason.as_str().replace('_', " ")));
            }
        }
    }
    nobody.iter().for_each(|nobody| page.line("held by", nobody));
    holders.values().take(TOLD).for_each(|holder| tell_holder(page, holder, judgement));
    if let Some(more) = holders.len().checked_sub(TOLD).filter(|more| *more > 0) {
        page.line("held by", format!("{more} more; --format json has them all"));
    }
}

fn tell_holder(page: &mut Page, holder: &Holder, judgement: &Judgement) {
    let uid = holder.uid;
    let user = judgement.accounts.name(uid).map(|name| format!("{} (uid {uid})", quoted(&shown(name))));
    let user = user.unwrap_or_else(|| format!("uid {uid}"));
    let (name, pid, since) = (holder.name.quoted(), holder.id.pid, moment(holder.started_at));
    page.line("held by", format!("{name}[{pid}] as {user}, since {since}"));
    match &holder.program {
        Some(program) => {
            page.detail("program", format!("{}: {}", program.path.quoted(), file(program)));
            let hash = program.sha256.map(|hash| hash.iter().map(|byte| format!("{byte:02x}")).collect());
            page.detail(
                "sha256",
                hash.unwrap_or_else(|| "not computed: too large, or not readable".to_owned()),
            );
        }
        None => page.detail("program", "/proc/PID/exe could not be read: run as root"),
    }
    let first = holder.arguments.first().map(RawText::escaped);
    let command = first.map(|first| format!("{first} {}", command_line(&holder.arguments)));
    page.detail("command", command.unwrap_or_else(|| "none: it has cleared its arguments".to_owned()));
    page.detail("workload", workload(&holder.workload));
    let parents: Vec<String> = holder
        .parents
        .iter()
        .map(|parent| {
            let program =
                parent.program.as_ref().map(|program| format!(" {}", program.quoted())).unwrap_or_default();
            format!("{}[{}]{program}", parent.name.quoted(), parent.pid)
        })
        .collect();
    if !parents.is_empty() {
        page.detail("below", parents.join(", below "));
    }
}

fn file(program: &Program) -> &'static str {
    match program.file {
        ProgramFile::Host => "the host's file",
        ProgramFile::Foreign => "not the host's file of that name",
        ProgramFile::Deleted { .. } if program.is_memfd() => "never was a file",
        ProgramFile::Deleted { replaced: true } => "replaced on disk since it started",
        ProgramFile::Deleted { replaced: false } => "deleted",
        ProgramFile::Unknown => "not compared with the host's file",
    }
}

fn workload(workload: &Workload) -> String {
    let named =
        |word: &str, name: &Option<RawText>| name.as_ref().map(|name| format!(", {word} {}", name.quoted()));
    match workload {
        Workload::None => "none".to_owned(),
        Workload::Unit(unit) => format!("unit {}", unit.quoted()),
        Workload::Session(session) => {
            let from = named("from", &session.from).unwrap_or_default();
            format!("session {} of uid {}{from}", session.id.quoted(), session.uid)
        }
        Workload::Container(container) => {
            let parts =
                [("name", &container.name), ("image", &container.image), ("service", &container.service)];
            let parts: String = parts.into_iter().filter_map(|(word, name)| named(word, name)).collect();
            let id = container.id.get(..12).unwrap_or(&container.id);
            format!("{} container {id}{parts}", container.runtime.as_str())
        }
    }
}

/// Why the baseline says nothing of it.
pub(crate) fn why_unjudged(judged: &Judged, inventory: &Inventory) -> &'static str {
    let listeners = || judged.service.listeners.iter().map(|place| &inventory.listeners[*place]);
    let is_udp = matches!(judged.service.protocol, Protocol::Udp | Protocol::Udplite);
    if judged.service.connected {
        "it takes packets of one peer alone"
    } else if is_udp && listeners().all(|listener| listener.port_choice == PortChoice::Kernel) {
        "the kernel chose the port of a UDP socket, so that it asks and nobody asks it"
    } else if judged.service.unattributed.is_some() {
        "an approval would cover it, or a [[scope]] leaves it out; its holders were not seen"
    } else if judged.service.netns_kind == NetNsKind::Container {
        "it is in a container that does not publish it, or a [[scope]] leaves it out"
    } else {
        "a [[scope]] of the baseline leaves it out"
    }
}

/// `tcp *:8443`, `udp 10.0.0.1%eth0:53 in web`.
pub(crate) fn endpoint(service: &Service) -> String {
    let ServiceKey { protocol, address, port, device, netns, .. } = &**service;
    words(*protocol, *address, *port, device.as_ref(), netns)
}

fn subject(subject: &Subject) -> String {
    words(subject.protocol, subject.address, subject.port, subject.device.as_ref(), &subject.netns)
}

/// The same of what is written down.
pub(crate) fn words(
    protocol: Protocol,
    address: AddressWord,
    port: PortWord,
    device: Option<&RawText>,
    netns: &RawText,
) -> String {
    let address = match address {
        AddressWord::One(std::net::IpAddr::V6(address)) => format!("[{address}]"),
        other => other.to_string(),
    };
    let device = device.map(|device| format!("%{}", device.quoted())).unwrap_or_default();
    let netns = if netns.as_bytes() == b"host" { String::new() } else { format!(" in {}", netns.quoted()) };
    format!("{protocol} {address}{device}:{port}{netns}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_passes_for_words_of_a_place() {
        let (device, netns) = (RawText::from("eth0"), RawText::from("web, approved"));
        let told = words(Protocol::Udp, AddressWord::Any, PortWord::Number(53), Some(&device), &netns);
        assert_eq!(told, "udp *%eth0:53 in \"web, approved\"");
    }
}
