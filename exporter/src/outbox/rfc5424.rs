//! Messages of syslog, RFC 5424, and how they stand in a stream, RFC 6587 section 3.4.1 and RFC 5425 section 4.3.

use super::event::{Event, boundary};
use super::receiver::Facility;

/// The number that IANA keeps for examples (RFC 5612): there is no other for Portledger yet.
const SD_ID: &str = "portledger@32473";
const APP_NAME: &str = "portledger";
/// RFC 5424 section 6: what stands for nothing.
const NIL: &str = "-";
const MAX_HOST: usize = 255;

/// From where messages come, as their headers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    host: String,
    pid: u32,
}

impl Origin {
    /// What may not stand in a header is left out of the host's name.
    pub(crate) fn new(host: &str, pid: u32) -> Self {
        let host: String = host.chars().filter(char::is_ascii_graphic).take(MAX_HOST).collect();
        Origin { host: if host.is_empty() { NIL.to_owned() } else { host }, pid }
    }
}

/// A message. Its MSG is the record without a byte order mark, so that programs which read JSON can.
pub(crate) fn message(origin: &Origin, facility: Facility, event: &Event) -> String {
    written(origin, facility, event, &event.json, false)
}

/// A message of at most so many bytes, as far as that goes without touching its fields: of the record what finds room.
pub(crate) fn cut_message(origin: &Origin, facility: Facility, event: &Event, room: usize) -> String {
    let without = written(origin, facility, event, "", true).len();
    let end = boundary(&event.json, room.saturating_sub(without));
    written(origin, facility, event, &event.json[..end], true)
}

/// Appends a message as it stands in a stream.
pub(crate) fn frame(to: &mut Vec<u8>, message: &str) {
    to.extend_from_slice(message.len().to_string().as_bytes());
    to.push(b' ');
    to.extend_from_slice(message.as_bytes());
}

fn written(origin: &Origin, facility: Facility, event: &Event, json: &str, is_cut: bool) -> String {
    let priority = facility.number() * 8 + event.level as u8;
    let time = event.time.as_deref().unwrap_or(NIL);
    let Origin { host, pid } = origin;
    let mut message = format!("<{priority}>1 {time} {host} {APP_NAME} {pid} {} [{SD_ID}", event.word);
    for (name, value) in &event.fields {
        push_param(&mut message, name, value);
    }
    if is_cut {
        push_param(&mut message, "cut", "1");
    }
    message.push_str("] ");
    message.push_str(json);
    message
}

/// RFC 5424 section 6.3.3: three characters are escaped, and nothing else may be.
fn push_param(message: &mut String, name: &str, value: &str) {
    message.push(' ');
    message.push_str(name);
    message.push_str("=\"");
    for character in value.chars() {
        if matches!(character, '"' | '\\' | ']') {
            message.push('\\');
        }
        message.push(character);
    }
    message.push('"');
}

#[cfg(test)]
mod tests;
