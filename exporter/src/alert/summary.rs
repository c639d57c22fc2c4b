use baseline::{AddressWord, Finding};
use inventory::{RawText, Reach, cut, quoted_list_within};

use super::text::plain;

/// Letters of a summary: what a phone shows of a message without opening it.
pub(crate) const MOST: usize = 80;

/// How many letters of the host, the program and the user are shown, from as many as they usually have down to as few as tell
/// them apart.
const WIDTHS: [(usize, usize); 3] = [(24, 24), (16, 16), (12, 10)];

/// `web-17: unapproved tcp/*:8443 open to everyone, nc as root`, within [`MOST`] letters, whatever the names are. The rule
/// in monitoring/rules/drift.yml has the same words.
pub(crate) fn summary(host: &str, finding: &Finding, many: bool) -> String {
    let lines = WIDTHS.map(|widths| plain(&line(host, finding, many, widths)));
    let fits = |line: &&String| line.chars().count() <= MOST;
    let [.., narrowest] = &lines;
    cut(lines.iter().find(fits).unwrap_or(narrowest), MOST)
}

fn line(host: &str, finding: &Finding, many: bool, (of_host, of_name): (usize, usize)) -> String {
    let subject = &finding.subject;
    let kind = finding.kind.as_str().replace('_', " ");
    let port = if many { "many".to_owned() } else { subject.port.to_string() };
    let whom = subject.reach.map(whom).unwrap_or_default();
    let programs: Vec<String> = subject.programs.iter().map(base_name).collect();
    let users: Vec<String> =
        subject.users.iter().map(|user| RawText::from(user.as_str()).escaped()).collect();
    let or_nobody = |names: &[String]| match names.is_empty() {
        true => "nobody known".to_owned(),
        false => quoted_list_within(&names.join(","), of_name),
    };
    format!(
        "{}: {kind} {}/{}:{port}{whom}, {} as {}",
        cut(host, of_host),
        subject.protocol,
        address(subject.address),
        or_nobody(&programs),
        or_nobody(&users)
    )
}

fn address(address: AddressWord) -> String {
    match address {
        AddressWord::One(std::net::IpAddr::V6(address)) => format!("[{address}]"),
        other => other.to_string(),
    }
}

/// To whom it is open.
fn whom(reach: Reach) -> &'static str {
    match reach {
        Reach::Public => " open to everyone",
        Reach::Private => " open to private networks",
        Reach::Link => " open to its link",
        Reach::Loopback => " open to this host",
        Reach::Isolated => " open to nobody",
    }
}

fn base_name(program: &RawText) -> String {
    let bytes = program.as_bytes();
    let name = bytes.rsplit(|byte| *byte == b'/').next().filter(|name| !name.is_empty());
    RawText::new(name.unwrap_or(bytes)).escaped()
}
