use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::outbox::receiver::{Log, Receiver, TlsFiles};

const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn facility() -> Facility {
    Receiver::new("a", "journald", TlsFiles::default(), None, None).unwrap().facility
}

fn told(line: &str) -> String {
    message(&Origin::new("web-17", 99), facility(), &Event::of(Log::Events, 42, HASH, line.as_bytes()))
}

/// A changed line is a changed interface: docs/export.md shows them.
#[test]
fn messages_are_those_that_receivers_know() {
    let id = format!("log=\"events\" record=\"42\" hash=\"{HASH}\"");
    for (line, expected) in [
        (
            r#"{"time":"2026-03-01T10:00:00.123Z","event":"drift_opened","drift":"d1","kind":"unapproved","severity":"critical"}"#,
            format!(
                "<82>1 2026-03-01T10:00:00.123000Z web-17 portledger 99 drift_opened [portledger@32473 {id} drift=\"d1\" \
                 kind=\"unapproved\" severity=\"critical\"] "
            ),
        ),
        (
            r#"{"event":"open","reason":"a ] \" \\ é"}"#,
            format!(
                "<86>1 - web-17 portledger 99 open [portledger@32473 {id} reason=\"a \\] \\\" \\\\ é\"] "
            ),
        ),
        ("{}", format!("<86>1 - web-17 portledger 99 record [portledger@32473 {id}] ")),
    ] {
        assert_eq!(told(line), expected + line);
    }
}

#[test]
fn a_host_has_a_name_that_fits() {
    assert_eq!(Origin::new("web 17\n\u{e9}", 1).host, "web17");
    assert_eq!(Origin::new(" \n", 1).host, "-");
    assert_eq!(Origin::new(&"x".repeat(300), 1).host.len(), 255);
}

#[test]
fn a_stream_counts_octets() {
    let mut stream = Vec::new();
    frame(&mut stream, "é");
    frame(&mut stream, "<1>1 a\nb");
    assert_eq!(stream, "2 é8 <1>1 a\nb".as_bytes());
}

#[test]
fn what_is_cut_keeps_its_fields_and_says_so() {
    let line = format!("{{\"event\":\"open\",\"reason\":\"{}\"}}", "é".repeat(5000));
    let event = Event::of(Log::Events, 42, HASH, line.as_bytes());
    let origin = Origin::new("web-17", 99);
    let whole = cut_message(&origin, facility(), &event, 1 << 20);
    for room in [0, 1500, 2000, 2001, 2002, 2003] {
        let cut = cut_message(&origin, facility(), &event, room);
        assert!(cut.len() <= room.max(1400) && whole.starts_with(&cut), "{room}: {}", cut.len());
        assert!(cut.contains(" cut=\"1\"] "), "{cut}");
    }
}

/// Reads a message back by the grammar of RFC 5424.
fn parsed(message: &str) -> Option<(Vec<(String, String)>, &str)> {
    let (_, mut rest) = message.split_once(" [portledger@32473")?;
    let mut params = Vec::new();
    while let Some(param) = rest.strip_prefix(' ') {
        let (name, value) = param.split_once("=\"")?;
        let (mut read, mut characters) = (String::new(), value.char_indices());
        loop {
            match characters.next()? {
                (_, '\\') => read.push(characters.next().filter(|(_, c)| "\\\"]".contains(*c))?.1),
                (end, '"') => break rest = &value[end + 1..],
                (_, ']') => return None,
                (_, other) => read.push(other),
            }
        }
        params.push((name.to_owned(), read));
    }
    Some((params, rest.strip_prefix("] ")?))
}

proptest! {
    #[test]
    fn no_text_breaks_out_of_its_field(reason in any::<String>(), word in any::<String>()) {
        let line = serde_json::json!({"event": word, "reason": reason}).to_string();
        let event = Event::of(Log::Events, 42, HASH, line.as_bytes());
        let message = message(&Origin::new("h", 1), facility(), &event);
        prop_assert!(!message.chars().any(char::is_control));
        let (params, rest) = parsed(&message).unwrap();
        prop_assert_eq!(params, event.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect::<Vec<_>>());
        prop_assert_eq!(rest, event.json);
    }

    #[test]
    fn no_bytes_of_a_log_break_a_message(line in any::<Vec<u8>>()) {
        let event = Event::of(Log::Events, 42, HASH, &line);
        let message = message(&Origin::new("h", 1), facility(), &event);
        prop_assert!(!message.chars().any(char::is_control));
        prop_assert!(parsed(&message).is_some());
    }
}
