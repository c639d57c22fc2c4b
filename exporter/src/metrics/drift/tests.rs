use std::time::Duration;

use super::*;

fn line(id: usize, port: usize, program: &str) -> Line {
    let mut labels: [String; 11] = Default::default();
    labels[PORT] = port.to_string();
    labels[PORT + 1] = program.to_owned();
    let first_seen = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 - id as u64);
    Line { id: format!("s1-{id}"), labels, present: id.is_multiple_of(2), first_seen }
}

fn ids(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|line| line.id.as_str()).collect()
}

#[test]
fn tells_twenty_that_differ_in_port_alone_one_by_one() {
    let lines = (0..20).map(|id| line(id, 7000 + id, "nc")).collect();
    assert_eq!(collapse(lines).len(), 20);
}

#[test]
fn tells_more_of_them_as_one_and_leaves_the_others() {
    let mut lines: Vec<Line> = (0..21).map(|id| line(id, 7000 + id, "nc")).collect();
    lines.insert(0, line(90, 22, "sshd"));
    lines.push(line(91, 80, "nginx"));
    let told = collapse(lines);
    assert_eq!(told.len(), 3);
    assert_eq!((told[0].id.as_str(), told[2].id.as_str()), ("s1-90", "s1-91"));
    let many = &told[1];
    assert_eq!(many.labels[PORT], "many");
    assert_eq!(many.first_seen, SystemTime::UNIX_EPOCH + Duration::from_secs(980), "the oldest");
    assert!(many.present, "one of them is");
}

#[test]
fn calls_them_the_same_while_they_come_and_go() {
    let of = |range: std::ops::Range<usize>| collapse(range.map(|id| line(id, id, "nc")).collect());
    assert_eq!(ids(&of(0..30)), ids(&of(5..60)));
    let others = collapse((0..30).map(|id| line(id, id, "socat")).collect());
    assert_ne!(ids(&of(0..30)), ids(&others));
}
