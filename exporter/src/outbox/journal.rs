//! Entries of journald in its own protocol, <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>.

use super::event::{Event, boundary};
use super::receiver::Facility;

/// An entry: MESSAGE is for people, each field is one of the journal's, and PORTLEDGER_JSON is the record.
pub(crate) fn entry(facility: Facility, event: &Event) -> Vec<u8> {
    written(facility, event, &event.json, false)
}

/// An entry with no more of the record than so many bytes.
pub(crate) fn cut_entry(facility: Facility, event: &Event, room: usize) -> Vec<u8> {
    written(facility, event, &event.json[..boundary(&event.json, room)], true)
}

fn written(facility: Facility, event: &Event, json: &str, is_cut: bool) -> Vec<u8> {
    let mut entry = Vec::with_capacity(json.len() + 1024);
    push(&mut entry, "MESSAGE", &for_people(event));
    push(&mut entry, "PRIORITY", &(event.level as u8).to_string());
    push(&mut entry, "SYSLOG_FACILITY", &facility.number().to_string());
    push(&mut entry, "SYSLOG_IDENTIFIER", "portledger");
    push(&mut entry, "PORTLEDGER_EVENT", &event.word);
    event.time.iter().for_each(|time| push(&mut entry, "PORTLEDGER_TIME", time));
    for (name, value) in &event.fields {
        push(&mut entry, &format!("PORTLEDGER_{}", name.to_ascii_uppercase()), value);
    }
    if is_cut {
        push(&mut entry, "PORTLEDGER_CUT", "1");
    }
    push(&mut entry, "PORTLEDGER_JSON", json);
    entry
}

/// What happened, and to what: numbers and hashes are fields.
fn for_people(event: &Event) -> String {
    let told = event.fields.iter().filter(|(name, _)| !["record", "hash", "log", "key"].contains(name));
    let told: Vec<String> = told.map(|(name, value)| format!("{name} {value}")).collect();
    match told.is_empty() {
        true => event.word.clone(),
        false => format!("{}: {}", event.word, told.join(", ")),
    }
}

/// A value with a newline would end there: it is told by its length.
fn push(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&u64::try_from(value.len()).unwrap_or(u64::MAX).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests;
