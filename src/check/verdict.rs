use std::process::ExitCode;

use baseline::Severity;
use inventory::{quoted, quoted_within};

use super::measures::{Figure, Thresholds, figures};
use crate::asking::answers::{Count, Counts, Details, Drift, Gap, Mode, Status};
use crate::asking::{Asked, Looked};

/// Letters of one text in a line.
const MAX_TEXT: usize = 200;
/// Letters of one text in the first line, which goes out as a short message.
const MAX_IN_FIRST: usize = 60;
/// Letters of an endpoint: an IPv6 address, a device and a namespace.
const MAX_PLACE: usize = 110;
/// Letters of a namespace.
const MAX_NETNS: usize = 24;

/// How the host stands, by the numbers of the Monitoring Plugins Development Guidelines, which are exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Ok = 0,
    Warning = 1,
    Critical = 2,
    /// It could not be told.
    Unknown = 3,
}

impl State {
    pub(super) fn word(self) -> &'static str {
        match self {
            State::Ok => "OK",
            State::Warning => "WARNING",
            State::Critical => "CRITICAL",
            State::Unknown => "UNKNOWN",
        }
    }
}

impl From<State> for ExitCode {
    fn from(state: State) -> Self {
        ExitCode::from(state as u8)
    }
}

/// How much is told below the first line; more is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Length {
    drifts: usize,
    gaps: usize,
    /// Sentences of one drift.
    reasons: usize,
    /// What was asked, too.
    trace: bool,
}

impl Length {
    /// By how often `-v` was given. Without it, it is as much as what reads plugins takes: some kilobytes.
    pub(super) fn of(verbose: u8) -> Self {
        match verbose {
            0 => Length { drifts: 50, gaps: 20, reasons: 5, trace: false },
            1 => Length { drifts: 500, gaps: 200, reasons: 20, trace: false },
            more => Length { drifts: usize::MAX, gaps: usize::MAX, reasons: usize::MAX, trace: more > 2 },
        }
    }
}

/// What is told.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) state: State,
    /// The first line, behind the state.
    pub(super) line: String,
    pub(super) details: Vec<String>,
    /// What is known in numbers.
    pub(super) figures: Vec<Figure>,
}

impl Verdict {
    /// That it could not be told.
    pub(super) fn unknown(line: String, details: Vec<String>) -> Self {
        Verdict { state: State::Unknown, line, details, figures: Vec::new() }
    }
}

/// What the answers mean.
pub(super) fn decide(asked: &Asked, thresholds: &Thresholds, length: Length) -> Verdict {
    let trace = || asked.trace.iter().filter(|_| length.trace).cloned();
    let status = match &asked.status {
        Ok(status) => status,
        Err(failure) => {
            let details = std::iter::once(failure.next.to_owned()).chain(trace()).collect();
            return Verdict::unknown(failure.what.clone(), details);
        }
    };
    let untold = asked.details.as_ref().and_then(|details| details.as_ref().err());
    let counts = asked.told().map_or(status.drifts, |details| raised(status.drifts, details));
    let figures = figures_of(asked, status, counts, thresholds);
    let (state, line, next) = match unknown(asked, status, counts, &figures, thresholds) {
        Some((line, next)) => (graver(State::Unknown, &figures), line, Some(next)),
        None => (gravest(&figures), told(asked, status, counts), None),
    };
    let line = reasons(&figures, thresholds).fold(line, |line, reason| line + "; " + &reason);
    let mut details: Vec<String> = next.into_iter().collect();
    details.extend(of_status(status));
    match (&asked.details, untold) {
        (_, Some(failure)) => details.extend([failure.what.clone(), failure.next.to_owned()]),
        (Some(Ok(told)), _) => details.extend(of_details(told, total(counts), length)),
        _ => {}
    }
    if let Some(Err(failure)) = &asked.listeners {
        details.extend([failure.what.clone(), failure.next.to_owned()]);
    }
    details.extend(trace());
    Verdict { state, line, details, figures }
}

fn figures_of(asked: &Asked, status: &Status, counts: Counts, thresholds: &Thresholds) -> Vec<Figure> {
    let is_judged = status.is_ready() && status.baseline.revision.is_some();
    // The daemon's number is of all, whatever the filters.
    let of_all = status.listeners.filter(|_| asked.filters.is_empty());
    let listed =
        asked.listed().map(|told| told.listeners.iter().filter(|one| one.is_judged()).count() as u64);
    let listeners = listed.or(of_all).filter(|_| status.is_ready());
    let is_filtered = asked.filters.is_empty() || asked.details.as_ref().is_none_or(Result::is_ok);
    figures(status, Some(counts).filter(|_| is_judged && is_filtered), listeners, thresholds)
}

/// By the thresholds.
fn gravest(figures: &[Figure]) -> State {
    match () {
        () if figures.iter().any(Figure::is_critical) => State::Critical,
        () if figures.iter().any(Figure::warns) => State::Warning,
        () => State::Ok,
    }
}

/// Somebody may want to be called for what is not known, too: a sensor that is silent.
fn graver(state: State, figures: &[Figure]) -> State {
    if figures.iter().any(Figure::is_critical) { State::Critical } else { state }
}

fn reasons<'a>(figures: &'a [Figure], thresholds: &'a Thresholds) -> impl Iterator<Item = String> + 'a {
    figures.iter().filter_map(|figure| figure.reason(thresholds)).map(|reason| cut(&reason, MAX_TEXT))
}

/// Why nobody can say that the host stands well, and what to do about it. Drift that was seen is drift whatever else was not,
/// as long as the sensor speaks and there is something to judge by.
fn unknown(
    asked: &Asked,
    status: &Status,
    counts: Counts,
    figures: &[Figure],
    thresholds: &Thresholds,
) -> Option<(String, String)> {
    let untold = asked.details.as_ref().and_then(|details| details.as_ref().err());
    let next = |text: &str| text.to_owned();
    if !status.is_ready() {
        let why = status.unready.as_ref().map_or("it does not say why", |why| why.as_str());
        let line = format!("the daemon is not ready: {}; last known: {}", cut(why, MAX_TEXT), words(counts));
        return Some((line, next("Look at `journalctl -u portledger -u portledger-sensor`.")));
    }
    let (Some(_), Some(_), Some(coverage)) = (status.sensor.silent_seconds, status.mode, &status.coverage)
    else {
        let line = "the daemon says that it is ready, and not when the sensor was heard of and what it saw"
            .to_owned();
        return Some((line, next("Restart `portledger serve`, and see that it is of this version.")));
    };
    if status.baseline.revision.is_none() {
        let line = format!("no baseline is in force, so nothing is judged; {}", words(counts));
        let cure = match status.baseline.last_reload_successful {
            true => "`sudo portledger learn` writes one from what listens now.",
            false => {
                "What stands in its files cannot be used: `sudo portledger baseline check` tells what is wrong."
            }
        };
        return Some((line, next(cure)));
    }
    if let Some(failure) = untold.filter(|_| !asked.filters.is_empty()) {
        return Some((failure.what.clone(), failure.next.to_owned()));
    }
    if gravest(figures) != State::Ok {
        return None;
    }
    let hidden = match (coverage.may_hide_listeners, coverage.may_hide_holders) {
        (false, false) => None,
        (true, false) => Some("listeners"),
        (false, true) => Some("holders"),
        (true, true) => Some("listeners and holders"),
    };
    if let Some(hidden) = hidden {
        let line = format!(
            "{} in what was seen{}, but {hidden} may be hidden: {}",
            words(counts),
            of_filters(asked),
            gaps(coverage.gaps)
        );
        return Some((line, next("`sudo portledger doctor` tells what is not seen, and how to see it.")));
    }
    if let Some(failure) = untold {
        return Some((failure.what.clone(), failure.next.to_owned()));
    }
    let unmet = thresholds.unmet(figures).next()?;
    match &asked.listeners {
        Some(Err(failure)) => Some((failure.what.clone(), failure.next.to_owned())),
        _ => Some((
            format!("{} has a threshold, and the daemon does not tell it", unmet.word()),
            next("Restart `portledger serve` after an update: both must be of one version."),
        )),
    }
}

/// With what opened between the two answers.
fn raised(counts: Counts, details: &Details) -> Counts {
    let with = |count: Count, severity| {
        let drifts = || details.drifts.iter().filter(|drift| drift.severity == severity);
        let gone = drifts().filter(|drift| drift.gone_since.is_some()).count() as u64;
        Count { open: count.open.max(drifts().count() as u64), gone: count.gone.max(gone) }
    };
    Counts {
        critical: with(counts.critical, Severity::Critical),
        warning: with(counts.warning, Severity::Warning),
        info: with(counts.info, Severity::Info),
    }
}

/// `2 critical, 1 warning drifts (1 gone): unapproved tcp *:8080 /usr/bin/nc; …`
fn told(asked: &Asked, status: &Status, counts: Counts) -> String {
    let mut line = words(counts) + &of_filters(asked);
    let gravest = asked.told().and_then(|details| sorted(details).into_iter().next());
    if let Some(drift) = gravest.filter(|drift| drift.severity > Severity::Info) {
        let program = drift
            .programs
            .first()
            .map(|program| format!(" {}", quoted_within(program.as_str(), MAX_IN_FIRST)));
        line += &format!(": {} {}{}", drift.kind, cut(&place(drift), MAX_PLACE), program.unwrap_or_default());
    }
    if status.mode == Some(Mode::Observe) {
        line += "; it only observes, by `mode` in portledger.toml";
    }
    if !status.baseline.last_reload_successful {
        line += "; the baseline's files cannot be used, the last good one is in force";
    }
    line += &match &asked.looked {
        None => format!("; sensor heard of {} s ago", status.sensor.silent_seconds.unwrap_or_default()),
        Some(Looked { gone_unknown: None }) => "; looked once".to_owned(),
        Some(Looked { gone_unknown: Some(why) }) => {
            format!("; looked once, what is gone is not known: {}", cut(why, MAX_TEXT))
        }
    };
    if let Some(coverage) = status.coverage.as_ref().filter(|coverage| coverage.gaps > 0) {
        line += &format!(", {}", gaps(coverage.gaps));
    }
    line
}

/// ` of program=/usr/bin/x`.
fn of_filters(asked: &Asked) -> String {
    match &*asked.filters {
        [] => String::new(),
        filters => {
            let unknown = match asked.unfiltered {
                0 => String::new(),
                some => format!(" ({some} of them found no room to be told, and may be others)"),
            };
            format!(" of {}{unknown}", cut(&filters.join(" "), MAX_TEXT))
        }
    }
}

/// `no drift`, `1 info drift`, `2 critical, 1 info drifts (1 gone)`.
fn words(counts: Counts) -> String {
    let all = by_severity(counts);
    let some: Vec<String> = all
        .iter()
        .filter(|(_, count)| count.open > 0)
        .map(|(severity, count)| format!("{} {severity}", count.open))
        .collect();
    if some.is_empty() {
        return "no drift".to_owned();
    }
    let gone = all.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(count.gone));
    let gone = if gone > 0 { format!(" ({gone} gone)") } else { String::new() };
    let plural = if total(counts) == 1 { "drift" } else { "drifts" };
    format!("{} {plural}{gone}", some.join(", "))
}

fn by_severity(counts: Counts) -> [(Severity, Count); 3] {
    let Counts { critical, warning, info } = counts;
    [(Severity::Critical, critical), (Severity::Warning, warning), (Severity::Info, info)]
}

fn total(counts: Counts) -> u64 {
    by_severity(counts).iter().fold(0, |sum, (_, count)| sum.saturating_add(count.open))
}

fn gaps(number: u64) -> String {
    if number == 1 { "1 gap".to_owned() } else { format!("{number} gaps") }
}

fn of_status(status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    let baseline = &status.baseline;
    if let Some(revision) = &baseline.revision {
        let plural = if baseline.approvals == 1 { "approval" } else { "approvals" };
        lines.push(format!(
            "baseline   revision {}, {} {plural}",
            cut(revision.as_str(), MAX_TEXT),
            baseline.approvals
        ));
    }
    if let Some(last) = &status.sensor.last_frame {
        lines.push(format!("sensor     last heard of {}", cut(last.as_str(), MAX_TEXT)));
    }
    if let Some(coverage) = &status.coverage {
        let share = |(scope, share): (&_, &crate::asking::answers::Share)| {
            format!("{scope} {}/{}", share.seen, share.of)
        };
        let shares: Vec<String> = coverage.shares.iter().map(share).collect();
        lines.push(format!("seen       {}", cut(&shares.join(", "), MAX_TEXT)));
        lines.push(format!("events     {}", cut(coverage.events.as_str(), MAX_TEXT)));
    }
    lines
}

fn of_details(details: &Details, open: u64, length: Length) -> Vec<String> {
    let sorted = sorted(details);
    let mut lines: Vec<String> =
        details.gaps.iter().take(length.gaps).map(|gap| format!("not seen   {}", of_gap(gap))).collect();
    if let Some(more) = details.gaps.len().checked_sub(length.gaps).filter(|more| *more > 0) {
        lines.push(format!("not seen   and {more} more"));
    }
    lines.extend(sorted.iter().take(length.drifts).flat_map(|drift| of_drift(drift, length.reasons)));
    let told = sorted.len().min(length.drifts);
    if let Some(more) = open.checked_sub(told as u64).filter(|more| *more > 0) {
        lines.push(format!("and {more} more: `sudo portledger diff`"));
    }
    if !sorted.is_empty() {
        lines.push("To look closer: `sudo portledger show ID`.".to_owned());
    }
    if sorted.iter().any(|drift| drift.severity == Severity::Warning && drift.gone_since.is_none()) {
        // Nobody is to approve in passing what is critical.
        lines.push(
            "A warning that is as it should be: `sudo portledger approve ID --reason TEXT`.".to_owned(),
        );
    }
    if sorted.iter().any(|drift| drift.gone_since.is_some()) {
        lines.push(
            "What is gone stays open until `sudo portledger dismiss ID --reason TEXT`; unless it is critical, for a day."
                .to_owned(),
        );
    }
    lines
}

/// Gravest first, those that are there before those that are gone; else as the daemon has it.
fn sorted(details: &Details) -> Vec<&Drift> {
    let mut drifts: Vec<&Drift> = details.drifts.iter().collect();
    drifts.sort_by_key(|drift| (std::cmp::Reverse(drift.severity), drift.gone_since.is_some()));
    drifts
}

fn of_drift(drift: &Drift, reasons: usize) -> Vec<String> {
    let reach = drift.reach.as_ref().map(|reach| format!(", reach {reach}")).unwrap_or_default();
    let mut lines = vec![
        cut(&format!("{:<9} {:<16} {}{reach}", drift.severity, drift.kind, place(drift)), MAX_TEXT),
        format!("  id       {}", cut(drift.id.as_str(), MAX_TEXT)),
    ];
    if !drift.programs.is_empty() {
        let users =
            if drift.users.is_empty() { String::new() } else { format!(" as {}", list(&drift.users)) };
        let workloads =
            if drift.workloads.is_empty() { String::new() } else { format!(", {}", list(&drift.workloads)) };
        lines.push(format!("  held by  {}{users}{workloads}", list(&drift.programs)));
    }
    lines.extend(drift.started_by.as_ref().map(|by| format!("  started  {}", cut(by.as_str(), MAX_TEXT))));
    let reasons = drift.differs.iter().take(reasons);
    lines.extend(reasons.map(|reason| format!("  why      {}", cut(reason.as_str(), MAX_TEXT))));
    let times = [("since", &drift.first_seen), ("gone", &drift.gone_since)];
    let times = times.into_iter().filter_map(|(label, time)| Some((label, time.as_ref()?)));
    lines.extend(times.map(|(label, time)| format!("  {label:<8} {}", cut(time.as_str(), MAX_TEXT))));
    lines
}

fn list(names: &[crate::asking::answers::Told]) -> String {
    let named: Vec<&str> = names.iter().take(3).map(|name| name.as_str()).collect();
    let more = names.len() - named.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let most = MAX_TEXT / named.len().max(1);
    let named: Vec<String> = named.iter().map(|name| quoted_within(name, most)).collect();
    named.join(", ") + &more
}

/// `tcp *:8443`, `udp 10.0.0.1%eth0:53 in web`.
fn place(drift: &Drift) -> String {
    let address = drift.address.as_str();
    let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let device = drift.device.as_ref().map(|device| format!("%{}", quoted(device.as_str())));
    let device = device.unwrap_or_default();
    let netns = match drift.netns.as_str() {
        "host" => String::new(),
        name => format!(" in {}", quoted_within(name, MAX_NETNS)),
    };
    format!("{} {address}{device}:{}{netns}", drift.protocol, drift.port)
}

fn of_gap(gap: &Gap) -> String {
    let protocol = gap.protocol.as_ref().map(|protocol| format!(" {protocol}")).unwrap_or_default();
    let netns =
        gap.netns.as_ref().map(|netns| format!(" in {}", quoted_within(netns.as_str(), MAX_IN_FIRST)));
    let netns = netns.unwrap_or_default();
    cut(&format!("{}{protocol}{netns}: {} ({})", gap.scope, gap.reason, gap.collector), MAX_TEXT)
}

fn cut(text: &str, letters: usize) -> String {
    match text.char_indices().nth(letters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
