use std::process::ExitCode;

use baseline::Severity;

use super::answers::{Count, Counts, Details, Drift, Gap, Mode, Status};
use super::asking::{Asked, Failure};

/// More is counted, not told: what reads plugins cuts them off after some kilobytes.
const MAX_DRIFTS: usize = 50;
const MAX_GAPS: usize = 20;
/// Sentences of one drift.
const MAX_REASONS: usize = 5;
/// Letters of one text in a line.
const MAX_TEXT: usize = 200;
/// Letters of one text in the first line, which goes out as a short message.
const MAX_IN_FIRST: usize = 60;

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

/// What is told.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) state: State,
    /// The first line, behind the state.
    pub(super) line: String,
    pub(super) details: Vec<String>,
}

/// What the answers mean.
pub(super) fn decide(asked: &Asked) -> Verdict {
    let status = match &asked.status {
        Ok(status) => status,
        Err(failure) => {
            return Verdict {
                state: State::Unknown,
                line: failure.what.clone(),
                details: vec![failure.next.to_owned()],
            };
        }
    };
    let untold = asked.details.as_ref().and_then(|details| details.as_ref().err());
    let counts = asked.told().map_or(status.drifts, |details| raised(status.drifts, details));
    let (state, line, next) = match unknown(status, counts, untold) {
        Some((line, next)) => (State::Unknown, line, Some(next)),
        None => (gravest(counts), told(status, counts, asked.told()), None),
    };
    let mut details: Vec<String> = next.into_iter().collect();
    details.extend(of_status(status));
    match (&asked.details, untold) {
        (_, Some(failure)) => details.extend([failure.what.clone(), failure.next.to_owned()]),
        (Some(Ok(told)), _) => details.extend(of_details(told, total(counts))),
        _ => {}
    }
    Verdict { state, line, details }
}

/// Why nobody can say that the host stands well, and what to do about it. Drift that was seen is drift whatever else was not,
/// as long as the sensor speaks and there is something to judge by.
fn unknown(status: &Status, counts: Counts, untold: Option<&Failure>) -> Option<(String, String)> {
    let next = |text: &str| text.to_owned();
    if !status.ready || status.unready.is_some() {
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
    if gravest(counts) != State::Ok {
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
            "{} in what was seen, but {hidden} may be hidden: {}",
            words(counts),
            gaps(coverage.gaps)
        );
        return Some((line, next("`sudo portledger doctor` tells what is not seen, and how to see it.")));
    }
    untold.map(|failure| (failure.what.clone(), failure.next.to_owned()))
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

fn gravest(counts: Counts) -> State {
    match counts {
        Counts { critical, .. } if critical.open > 0 => State::Critical,
        Counts { warning, .. } if warning.open > 0 => State::Warning,
        _ => State::Ok,
    }
}

/// `2 critical, 1 warning drifts (1 gone): unapproved tcp *:8080 /usr/bin/nc; …`
fn told(status: &Status, counts: Counts, details: Option<&Details>) -> String {
    let mut line = words(counts);
    let gravest = details.and_then(|details| sorted(details).into_iter().next());
    if let Some(drift) = gravest.filter(|drift| drift.severity > Severity::Info) {
        let program =
            drift.programs.first().map(|program| format!(" {}", cut(program.as_str(), MAX_IN_FIRST)));
        line +=
            &format!(": {} {}{}", drift.kind, cut(&place(drift), MAX_IN_FIRST), program.unwrap_or_default());
    }
    if status.mode == Some(Mode::Observe) {
        line += "; it only observes, by `mode` in portledger.toml";
    }
    if !status.baseline.last_reload_successful {
        line += "; the baseline's files cannot be used, the last good one is in force";
    }
    let silent = status.sensor.silent_seconds.unwrap_or_default();
    line += &format!("; sensor heard of {silent} s ago");
    if let Some(coverage) = status.coverage.as_ref().filter(|coverage| coverage.gaps > 0) {
        line += &format!(", {}", gaps(coverage.gaps));
    }
    line
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
        let share =
            |(scope, share): (&_, &super::answers::Share)| format!("{scope} {}/{}", share.seen, share.of);
        let shares: Vec<String> = coverage.shares.iter().map(share).collect();
        lines.push(format!("seen       {}", cut(&shares.join(", "), MAX_TEXT)));
        lines.push(format!("events     {}", cut(coverage.events.as_str(), MAX_TEXT)));
    }
    lines
}

fn of_details(details: &Details, open: u64) -> Vec<String> {
    let sorted = sorted(details);
    let mut lines: Vec<String> =
        details.gaps.iter().take(MAX_GAPS).map(|gap| format!("not seen   {}", of_gap(gap))).collect();
    if details.gaps.len() > MAX_GAPS {
        lines.push(format!("not seen   and {} more", details.gaps.len() - MAX_GAPS));
    }
    lines.extend(sorted.iter().take(MAX_DRIFTS).flat_map(|drift| of_drift(drift)));
    let told = sorted.len().min(MAX_DRIFTS);
    if let Some(more) = open.checked_sub(told as u64).filter(|more| *more > 0) {
        lines.push(format!("and {more} more: `sudo portledger diff`"));
    }
    if !sorted.is_empty() {
        lines.push("What is as it should be: `sudo portledger approve ID --reason TEXT`.".to_owned());
    }
    if sorted.iter().any(|drift| drift.gone_since.is_some()) {
        lines.push("What is gone stays open for a day, or until `sudo portledger dismiss ID`.".to_owned());
    }
    lines
}

/// Gravest first, those that are there before those that are gone; else as the daemon has it.
fn sorted(details: &Details) -> Vec<&Drift> {
    let mut drifts: Vec<&Drift> = details.drifts.iter().collect();
    drifts.sort_by_key(|drift| (std::cmp::Reverse(drift.severity), drift.gone_since.is_some()));
    drifts
}

fn of_drift(drift: &Drift) -> Vec<String> {
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
    let reasons = drift.differs.iter().take(MAX_REASONS);
    lines.extend(reasons.map(|reason| format!("  why      {}", cut(reason.as_str(), MAX_TEXT))));
    let times = [("since", &drift.first_seen), ("gone", &drift.gone_since)];
    let times = times.into_iter().filter_map(|(label, time)| Some((label, time.as_ref()?)));
    lines.extend(times.map(|(label, time)| format!("  {label:<8} {}", cut(time.as_str(), MAX_TEXT))));
    lines
}

fn list(names: &[super::answers::Told]) -> String {
    let named: Vec<&str> = names.iter().take(3).map(|name| name.as_str()).collect();
    let more = names.len() - named.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    cut(&named.join(", "), MAX_TEXT) + &more
}

/// `tcp *:8443`, `udp 10.0.0.1%eth0:53 in web`.
fn place(drift: &Drift) -> String {
    let address = drift.address.as_str();
    let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let device = drift.device.as_ref().map(|device| format!("%{device}")).unwrap_or_default();
    let netns = match drift.netns.as_str() {
        "host" => String::new(),
        name => format!(" in {name}"),
    };
    format!("{} {address}{device}:{}{netns}", drift.protocol, drift.port)
}

fn of_gap(gap: &Gap) -> String {
    let protocol = gap.protocol.as_ref().map(|protocol| format!(" {protocol}")).unwrap_or_default();
    let netns = gap.netns.as_ref().map(|netns| format!(" in {netns}")).unwrap_or_default();
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
