use baseline::{AddressWord, Finding};
use inventory::{RawText, Reach, cut, quoted_list_within, quoted_within};

use super::text::plain;

/// Letters of a summary: what a phone shows of a message without opening it.
pub(crate) const MOST: usize = 80;

/// How many letters of each are shown. The rules in monitoring/rules/drift.yml have the same steps.
#[derive(Clone, Copy)]
struct Step {
    host: usize,
    address: usize,
    program: usize,
    user: usize,
    words: Words,
}

/// How it is said to whom it is open, ever shorter.
#[derive(Clone, Copy)]
enum Words {
    Open,
    To,
    One,
}

/// From all of it down to what tells one from another, one after the other until a line fits. First the words give way, then
/// the host, the program, an IPv6 address at last; of a user 16 letters, and their quotes, never.
const STEPS: [Step; 10] = [
    step(64, 39, 64, 32, Words::Open),
    step(64, 39, 64, 32, Words::To),
    step(32, 39, 64, 32, Words::To),
    step(24, 39, 24, 24, Words::To),
    step(16, 39, 16, 18, Words::To),
    step(12, 39, 12, 18, Words::To),
    step(12, 21, 12, 18, Words::To),
    step(12, 13, 8, 18, Words::To),
    step(9, 9, 6, 18, Words::One),
    step(5, 3, 3, 18, Words::One),
];

const fn step(host: usize, address: usize, program: usize, user: usize, words: Words) -> Step {
    Step { host, address, program, user, words }
}

/// `web-17: unapproved tcp/*:8443 open to everyone, nc as root`, within [`MOST`] letters, whatever the names are. The rule
/// in monitoring/rules/drift.yml has the same words.
pub(crate) fn summary(host: &str, finding: &Finding, many: bool) -> String {
    let lines = STEPS.map(|step| plain(&line(host, finding, many, step)));
    let fits = |line: &&String| line.chars().count() <= MOST;
    let [.., narrowest] = &lines;
    cut(lines.iter().find(fits).unwrap_or(narrowest), MOST)
}

/// `web-17: the sensor is silent`, likewise; the rest is ours, and short.
pub(crate) fn of_host(host: &str, rest: &str) -> String {
    let room = MOST.saturating_sub(rest.chars().count() + ": ".len());
    format!("{}: {rest}", plain(&host_within(host, room)))
}

/// `approved: web-17: unapproved …`: how it ended, before what it was.
pub(crate) fn over(how: &str, summary: &str) -> String {
    cut(&format!("{how}: {summary}"), MOST)
}

fn line(host: &str, finding: &Finding, many: bool, step: Step) -> String {
    let subject = &finding.subject;
    let kind = finding.kind.as_str().replace('_', " ");
    let port = if many { "many".to_owned() } else { subject.port.to_string() };
    let whom = subject.reach.map(|reach| whom(reach, step.words)).unwrap_or_default();
    let programs: Vec<String> = subject.programs.iter().map(base_name).collect();
    let users: Vec<String> =
        subject.users.iter().map(|user| RawText::from(user.as_str()).escaped()).collect();
    format!(
        "{}: {kind} {}/{}:{port}{whom}, {} as {}",
        host_within(host, step.host),
        subject.protocol,
        address(subject.address, step.address),
        names(&programs, step.program),
        names(&users, step.user)
    )
}

fn names(names: &[String], most: usize) -> String {
    let names: Vec<String> = names.iter().map(|name| plain(name)).collect();
    match &names[..] {
        [] => "nobody known".to_owned(),
        [one] => quoted_within(one, most),
        several => quoted_list_within(&several.join(","), most),
    }
}

/// Without its domain first: what tells hosts apart stands before that.
fn host_within(host: &str, most: usize) -> String {
    let is_name =
        |label: &str| label.contains(|letter: char| letter.is_ascii_alphabetic()) && !label.contains(':');
    match host.split_once('.') {
        Some((label, domain)) if host.chars().count() > most && !domain.is_empty() && is_name(label) => {
            cut_within(label, most)
        }
        _ => cut_within(host, most),
    }
}

/// Cut in the middle, for what tells names of hosts and addresses apart is often at their end.
fn cut_within(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let end = most.saturating_sub(1) / 2;
    let begin = cut(text, most - end);
    let from = text.char_indices().nth(count - end).map_or(text.len(), |(at, _)| at);
    begin + text.get(behind_escape(text, from)..).unwrap_or_default()
}

/// That place, or the next that is in no `\xNN`.
fn behind_escape(text: &str, at: usize) -> usize {
    let escape = text.get(..at).and_then(|before| before.rfind('\\')).map(|began| began + 4);
    escape.map_or(at, |end| end.max(at))
}

fn address(address: AddressWord, most: usize) -> String {
    match address {
        AddressWord::One(std::net::IpAddr::V6(address)) => {
            format!("[{}]", cut_within(&address.to_string(), most))
        }
        other => other.to_string(),
    }
}

/// To whom it is open.
fn whom(reach: Reach, words: Words) -> String {
    let whom = match reach {
        Reach::Public => "everyone",
        Reach::Private => "private networks",
        Reach::Link => "its link",
        Reach::Loopback => "this host",
        Reach::Isolated => "nobody",
    };
    match words {
        Words::Open => format!(" open to {whom}"),
        Words::To => format!(" to {}", whom.replace("networks", "nets")),
        Words::One => format!(" {reach}"),
    }
}

fn base_name(program: &RawText) -> String {
    let bytes = program.as_bytes();
    let name = bytes.rsplit(|byte| *byte == b'/').next().filter(|name| !name.is_empty());
    RawText::new(name.unwrap_or(bytes)).escaped()
}
