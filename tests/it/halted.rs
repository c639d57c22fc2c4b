//! Both halves of `serve` stopped and killed while one tells the other: half of what is told is not believed.

use std::time::Duration;

use rustix::process::Signal;

use crate::world::{Host, Puppet, Serve, eventually, send, within};

/// More than fits into what lies between sensor and exporter.
const MANY: f64 = 3_000.0;

fn approved(host: &Host) -> Vec<Puppet> {
    let apps = (1..=4).map(|n| host.listen(&format!("tcp 127.0.1.{n}:1001-1750")).by("app")).collect();
    host.learn();
    apps
}

fn all_are_approved(serve: &Serve<'_>) -> Option<()> {
    let approved = "portledger_listeners{protocol=\"tcp\",reach=\"loopback\",verdict=\"learned\"}";
    (serve.metric(approved) == Some(MANY)).then_some(())
}

/// Stops the exporter, and has one sensor after another begin to tell everything, and end where nobody takes it.
fn has_half_a_pass_told(serve: &Serve<'_>) {
    serve.running.signal(Signal::STOP);
    for _ in 0..2 {
        let sensor = serve.sensor();
        send(sensor, Signal::KILL);
        eventually("there is another", || serve.child("sensor").filter(|pid| *pid != sensor));
        // It looks, and tells until there is no room.
        std::thread::sleep(Duration::from_millis(1_500));
    }
    send(serve.sensor(), Signal::KILL);
}

/// Nothing but what really closed or drifts is in the log of events.
fn nothing_is_made_up(host: &Host) {
    let log = std::fs::read_to_string(host.path("state/events.jsonl")).unwrap();
    let of_approved = |line: &&str| (1001..=1750).any(|port| line.contains(&format!("\"port\":{port},")));
    let invented: Vec<&str> =
        log.lines().filter(|line| !line.contains("\"open\"")).filter(of_approved).collect();
    assert!(invented.is_empty(), "{invented:#?}");
    assert!(!log.contains("missing"), "{log}");
}

#[test]
fn half_a_pass_is_not_believed() {
    let Some(host) = Host::new() else { return };
    let _apps = approved(&host);
    let serve = host.serve();
    within(Duration::from_secs(60), "all are known", || all_are_approved(&serve));
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let first_seen = eventually("it drifts", || serve.drifts().find(8080)).get("first_seen").clone();
    has_half_a_pass_told(&serve);
    let _late = host.listen("tcp 0.0.0.0:8081").by("late");
    serve.running.signal(Signal::CONT);
    // From the first answer on.
    for _ in 0..20 {
        assert_eq!(all_are_approved(&serve), Some(()), "some are not there, or there twice");
        serve.drifts().on(8080).has("state", "present").has("first_seen", first_seen.clone());
    }
    within(Duration::from_secs(60), "what opened meanwhile is told", || serve.drifts().find(8081));
    assert_eq!(all_are_approved(&serve), Some(()));
    serve.drifts().on(8080).has("state", "present").has("first_seen", first_seen);
    nothing_is_made_up(&host);
}

#[test]
fn what_drifts_is_kept_where_both_end_in_the_middle() {
    let Some(host) = Host::new() else { return };
    let _apps = approved(&host);
    let serve = host.serve();
    within(Duration::from_secs(60), "all are known", || all_are_approved(&serve));
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let first_seen = eventually("it drifts", || serve.drifts().find(8080)).get("first_seen").clone();
    eventually("that is written down", || {
        let register = std::fs::read_to_string(host.path("state/register.json")).ok()?;
        register.contains("8080").then_some(())
    });
    has_half_a_pass_told(&serve);
    serve.running.kill();
    let serve = host.serve();
    serve.drifts().on(8080).has("first_seen", first_seen.clone());
    within(Duration::from_secs(60), "all are known again", || all_are_approved(&serve));
    serve.drifts().on(8080).has("state", "present").has("first_seen", first_seen);
    nothing_is_made_up(&host);
}
