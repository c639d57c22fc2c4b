use super::*;
use crate::outbox::receiver::{Log, Receiver, TlsFiles};

const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn facility() -> Facility {
    Receiver::new("a", "journald", TlsFiles::default(), None, None).unwrap().facility
}

#[test]
fn an_entry_has_a_line_for_people_and_all_fields() {
    let line = r#"{"time":"2026-03-01T10:00:00Z","event":"drift_opened","drift":"d1","severity":"critical"}"#;
    let event = Event::of(Log::Events, 42, HASH, line.as_bytes());
    let expected = format!(
        "MESSAGE=drift_opened: drift d1, severity critical\nPRIORITY=2\nSYSLOG_FACILITY=10\nSYSLOG_IDENTIFIER=portledger\n\
         PORTLEDGER_EVENT=drift_opened\nPORTLEDGER_TIME=2026-03-01T10:00:00.000000Z\nPORTLEDGER_LOG=events\n\
         PORTLEDGER_RECORD=42\nPORTLEDGER_HASH={HASH}\nPORTLEDGER_DRIFT=d1\nPORTLEDGER_SEVERITY=critical\n\
         PORTLEDGER_JSON={line}\n"
    );
    assert_eq!(String::from_utf8(entry(facility(), &event)).unwrap(), expected);
    let cut = String::from_utf8(cut_entry(facility(), &event, 7)).unwrap();
    assert!(cut.ends_with("PORTLEDGER_CUT=1\nPORTLEDGER_JSON={\"time\"\n"), "{cut}");
}

#[test]
fn a_value_with_newlines_is_told_by_its_length() {
    let mut written = Vec::new();
    push(&mut written, "A", "b\nc=d");
    assert_eq!(written, b"A\n\x05\0\0\0\0\0\0\0b\nc=d\n");
}
