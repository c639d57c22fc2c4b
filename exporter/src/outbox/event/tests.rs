use super::*;

const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn fields(line: &str) -> Vec<(&'static str, String)> {
    let event = Event::of(Log::Events, 42, HASH, line.as_bytes());
    assert_eq!(
        event.fields[..3].iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(),
        ["events", "42", HASH]
    );
    event.fields[3..].to_vec()
}

#[test]
fn each_record_has_its_word_its_level_and_its_time() {
    let time = r#""time":"2026-03-01T10:00:00.123456789Z""#;
    for (line, word, level) in [
        (r#""act":"approve""#, "approve", Level::Notice),
        (r#""event":"open","verdict":"drift""#, "open", Level::Info),
        (r#""event":"drift_opened","severity":"critical""#, "drift_opened", Level::Critical),
        (r#""event":"drift_returned","severity":"warning""#, "drift_returned", Level::Warning),
        (r#""event":"drift_gone","severity":"critical""#, "drift_gone", Level::Critical),
        (r#""event":"drift_opened","severity":"info""#, "drift_opened", Level::Info),
        (r#""event":"drift_closed","severity":"critical""#, "drift_closed", Level::Notice),
        (r#""event":"reload","baseline_successful":true,"config_successful":true"#, "reload", Level::Notice),
        (r#""event":"reload","baseline_successful":true,"config_successful":false"#, "reload", Level::Error),
        (r#""event":"reload","baseline_successful":false"#, "reload", Level::Error),
        (r#""event":"refused","why":"network""#, "refused", Level::Warning),
        (r#""event":"crowd","sockets":1713"#, "crowd", Level::Warning),
        (r#""event":"approval","approval":"web""#, "approval", Level::Notice),
        (r#""event":"two words""#, "record", Level::Info),
        (r#""event":"x\ny""#, "x\\x0ay", Level::Info),
        (r#""event":7"#, "7", Level::Info),
        (r#""other":1"#, "record", Level::Info),
    ] {
        let line = format!("{{{time},{line}}}");
        let event = Event::of(Log::Events, 1, HASH, line.as_bytes());
        assert_eq!((event.word.as_str(), event.level), (word, level), "{line}");
        assert_eq!(event.time.as_deref(), Some("2026-03-01T10:00:00.123456Z"));
        assert_eq!(event.json, line);
    }
    let of = |line: &[u8]| Event::of(Log::Events, 1, HASH, line);
    assert_eq!(
        of(b"{\"time\":\"2026-03-01T12:00:00+02:00\"}").time.as_deref(),
        Some("2026-03-01T10:00:00.000000Z")
    );
    for line in [&b"{\"time\":\"yesterday\"}"[..], b"{\"time\":7}", b"{}", b"no JSON", b""] {
        assert_eq!(of(line).time, None);
    }
}

#[test]
fn fields_are_flat_and_in_order() {
    let line = r#"{"event":"open","protocol":"tcp","address":"0.0.0.0","port":8080,"netns":{"kind":"host","name":"host"},
        "reach":"public","holders":[{"program":"/opt/a","user":"web"},{"program":"/opt/b","user":"web"},{"program":null}],
        "verdict":"drift","drift":"abc"}"#;
    let told: Vec<String> = fields(line).iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        told,
        [
            "drift=abc",
            "verdict=drift",
            "protocol=tcp",
            "address=0.0.0.0",
            "port=8080",
            "reach=public",
            "netns=host",
            "program=/opt/a,/opt/b",
            "user=web",
        ]
    );
    let act = r#"{"act":"approve","who":{"user":"root","principal":"alice@example.org","key":"SHA256:x"},"approval":"web",
        "serial":2,"endpoints":["tcp/*:80","tcp/*:443"],"reason":"wanted","old":null,"revision":null}"#;
    let told: Vec<String> = fields(act).iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        told,
        [
            "approval=web",
            "serial=2",
            "by=alice@example.org",
            "key=SHA256:x",
            "endpoint=tcp/*:80,tcp/*:443",
            "reason=wanted",
        ]
    );
    let unproven = r#"{"act":"revoke","who":{"user":"bob","principal":null}}"#;
    assert_eq!(fields(unproven), [("by", "bob".to_owned())]);
    let closed = r#"{"event":"drift_closed","why":"approved","approval":null,"by":"carol"}"#;
    assert_eq!(fields(closed), [("by", "carol".to_owned()), ("why", "approved".to_owned())]);
}

#[test]
fn nothing_that_a_terminal_would_obey_gets_through() {
    let line = r#"{"event":"open","reason":"a\nb\u001b[2J\u0000\u202ec","why":"\\xff is \\x0a already"}"#;
    assert_eq!(
        fields(line),
        [
            ("why", "\\xff is \\x0a already".to_owned()),
            ("reason", "a\\x0ab\\x1b[2J\\x00\\xe2\\x80\\xaec".to_owned()),
        ]
    );
    let json = |line: &[u8]| Event::of(Log::Events, 1, HASH, line).json;
    assert_eq!(json(b"{\"a\":\"\\n\\\"\"}"), "{\"a\":\"\\n\\\"\"}");
    assert_eq!(json(b"\xff\0\r{\x1b"), "\\xff\\x00\\x0d{\\x1b");
}

#[test]
fn no_field_is_a_flood() {
    let long = "\u{e9}".repeat(4000);
    let holders: Vec<String> = (0..5000).map(|number| format!("{{\"program\":\"/opt/{number}\"}}")).collect();
    let line = format!("{{\"reason\":\"{long}\",\"holders\":[{}]}}", holders.join(","));
    for (_, value) in fields(&line) {
        assert!(
            value.len() <= MAX_FIELD && value.len() > MAX_FIELD - 4 && value.ends_with('…'),
            "{}",
            value.len()
        );
    }
}

#[test]
fn a_hole_says_which_records_it_is() {
    let event = Event::missed(Log::Events, 3, 17);
    assert_eq!((event.word.as_str(), event.level), ("missed", Level::Warning));
    assert_eq!(event.json, r#"{"event":"missed","from":3,"log":"events","to":17}"#);
    let event = Event::damaged(Log::Ledger, 9, "bad\nline");
    assert_eq!((event.level, event.fields[2].1.as_str()), (Level::Error, "bad\\x0aline"));
}
