use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use crate::world::{Host, Watch, eventually, finish, send, within};

const STRANGER: u32 = 65534;

fn is_gone(pid: u32) -> Option<()> {
    std::fs::metadata(format!("/proc/{pid}")).is_err().then_some(())
}

#[test]
fn a_listener_of_a_millisecond_is_told_with_its_verdict() {
    let Some(host) = Host::new() else { return };
    let _sshd = host.listen("tcp 0.0.0.0:22").by("sshd");
    host.learn();
    let watch = Watch::start(&host, &[]);
    let began = watch.first("began").unwrap();
    assert_eq!((&began["listeners"], &began["drifting"]), (&1.into(), &0.into()), "{began:#}");
    assert!(watch.log().contains("1 listener was there before, none of them drifts"), "{}", watch.log());
    if began["source"] != "bpf" {
        return crate::world::skip("events are not told by BPF here");
    }
    let pid = host.listen("tcp 0.0.0.0:4444").for_a_moment_by("mayfly");
    let opened = watch.tells("open", 4444);
    assert_eq!(
        (&opened["kind"], &opened["severity"]),
        (&"unapproved".into(), &"critical".into()),
        "{opened:#}"
    );
    assert_eq!((&opened["by"], &opened["before"]), (&"event".into(), &false.into()), "{opened:#}");
    for line in [opened, watch.tells("close", 4444)] {
        assert_eq!(line["holders"][0]["pid"], pid, "{line:#}");
        assert!(
            line["holders"][0]["program"].as_str().is_some_and(|program| program.ends_with("/bin/mayfly")),
            "{line:#}"
        );
        assert_eq!(line["verdict"], "drift", "{line:#}");
    }
    let lived = watch.tells("close", 4444)["lived"].as_f64().unwrap();
    assert!((0.0..60.0).contains(&lived), "{lived}");
    assert_eq!(watch.lines().iter().filter(|line| line["port"] == 4444).count(), 2, "{:#?}", watch.lines());
}

#[test]
fn what_was_there_before_is_told_apart() {
    let Some(host) = Host::new() else { return };
    let old = host.listen("tcp 127.0.0.1:8080").by("old");
    let watch = Watch::start(&host, &[]);
    let new = host.listen("tcp 127.0.0.1:8081").by("new");
    watch.tells("open", 8081);
    old.ends();
    new.ends();
    let (old, new) = (watch.tells("close", 8080), watch.tells("close", 8081));
    assert_eq!((&old["before"], &old["lived"].is_null()), (&true.into(), &true), "{old:#}");
    assert_eq!((&new["before"], &new["lived"].is_null()), (&false.into(), &false), "{new:#}");
    assert!(watch.lines().iter().all(|line| line["event"] != "open" || line["port"] == 8081));
}

#[test]
fn a_table_says_who_and_how_long() {
    let Some(host) = Host::new() else { return };
    let old = host.listen("tcp 127.0.0.1:8080").by("old");
    let mut command = host.portledger(&["watch", "--filter", "port=8080-8081", "--count", "3"]);
    let mut running =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().starts_with("TIME "));
    let _other = host.listen("tcp 127.0.0.1:9999").by("other");
    let new = host.listen("udp 127.0.0.1:8081").by("a new");
    let pid = new.pid;
    let opened = lines.next().unwrap();
    assert!(
        opened
            .contains(&format!("opened  udp   127.0.0.1:8081     loopback unapproved \"a new\"[{pid}] root")),
        "{opened}"
    );
    new.ends();
    let closed = lines.next().unwrap();
    assert!(closed.contains("closed  udp") && closed.contains(", lived "), "{closed}");
    old.ends();
    let closed = lines.next().unwrap();
    assert!(closed.contains("closed  tcp") && closed.ends_with(", before"), "{closed}");
    assert_eq!(lines.next(), None, "three are enough");
    assert_eq!(running.wait().unwrap().code(), Some(0));
}

#[test]
fn it_ends_when_it_is_told_to_and_leaves_nothing_behind() {
    let Some(host) = Host::new() else { return };
    for signal in [Signal::INT, Signal::TERM] {
        let mut watch = Watch::start(&host, &[]);
        let sensor = watch.sensor();
        watch.running.signal(signal);
        assert_eq!(watch.running.ends_with(), Some(0), "{}", watch.log());
        assert_eq!(is_gone(sensor), Some(()), "the sensor is left");
    }
    let watch = Watch::start(&host, &[]);
    let sensor = watch.sensor();
    watch.running.kill();
    eventually("the sensor ends with it", || is_gone(sensor));
    let told = finish(host.portledger(&["watch", "--for", "100ms"]));
    assert_eq!(told.code, 0, "{told:?}");
}

#[test]
fn a_reader_that_goes_ends_it_quietly() {
    let Some(host) = Host::new() else { return };
    let mut command = host.portledger(&["watch"]);
    let mut running =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(running.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("TIME "), "{first}");
    // Nothing happens there: it must see the end without writing.
    let status = eventually("it ends", || running.try_wait().unwrap());
    let mut errors = String::new();
    running.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!((status.code(), errors.lines().count()), (Some(0), 2), "{errors}");
}

#[test]
fn a_sensor_that_dies_is_no_silence() {
    let Some(host) = Host::new() else { return };
    let mut watch = Watch::start(&host, &[]);
    let _nc = host.listen("tcp 127.0.0.1:8080").by("nc");
    watch.tells("open", 8080);
    send(watch.sensor(), Signal::KILL);
    assert_eq!(watch.running.ends_with(), Some(2));
    assert!(watch.log().contains("the sensor has ended (signal: 9"), "{}", watch.log());
}

#[test]
fn a_baseline_that_changed_is_read_at_sighup() {
    let Some(host) = Host::new() else { return };
    let _sshd = host.listen("tcp 0.0.0.0:22").by("sshd");
    let watch = Watch::start(&host, &[]);
    assert!(watch.log().contains("There is no baseline yet"), "{}", watch.log());
    host.write("etc/baseline.toml", "[[approval]]\nid = 1\n");
    watch.running.signal(Signal::HUP);
    eventually("it is refused", || watch.log().contains("the baseline before stays in force").then_some(()));
    host.sh(&format!("rm {}", host.path("etc/baseline.toml").display()));
    host.learn();
    watch.running.signal(Signal::HUP);
    let read = eventually("it is read", || watch.first("reload"));
    assert_eq!((&read["listeners"], &read["drifting"]), (&1.into(), &0.into()), "{read:#}");
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    assert_eq!(watch.tells("open", 8080)["severity"], "critical");
}

/// Nothing is told to whom the kernel tells nothing: looks find what lasts.
#[test]
fn an_ordinary_user_watches_by_looks_and_is_told_so() {
    let Some(host) = Host::new() else { return };
    let command = host.portledger_as(STRANGER, &["watch", "--format", "json"]);
    let watch = Watch::run(&host, command);
    assert_eq!(watch.first("began").unwrap()["source"], "polls");
    let log = watch.log();
    assert!(log.contains("Only a look every 0.2 s") && log.contains("portledger doctor"), "{log}");
    let _own = host.listen("tcp 127.0.0.1:8080").user(STRANGER).by("own");
    let opened = watch.tells("open", 8080);
    assert_eq!((&opened["by"], &opened["holders"][0]["name"]), (&"look".into(), &"own".into()), "{opened:#}");
}

/// Nothing is read while it is stopped, and the socket between holds little: what found no room there is lost, not unsaid.
#[test]
fn what_happens_while_it_is_stopped_is_told_or_counted() {
    let Some(host) = Host::new() else { return };
    let watch = Watch::start(&host, &[]);
    if watch.first("began").unwrap()["source"] != "bpf" {
        return crate::world::skip("events are not told by BPF here");
    }
    watch.running.signal(Signal::STOP);
    let times = 1_000;
    for _ in 0..4 {
        let program = format!(
            "IO::Socket::INET->new(LocalAddr => '127.0.0.1:0', Listen => 1) or die $! for 1..{}",
            times / 4
        );
        host.sh(&format!("exec perl -MIO::Socket::INET -e \"{}\"", program.replace('$', "\\$")));
    }
    // Longer than the sensor waits for a reader.
    std::thread::sleep(Duration::from_secs(2));
    watch.running.signal(Signal::CONT);
    within(Duration::from_secs(120), "all are accounted for", || {
        let lines = watch.lines();
        let told = lines.iter().filter(|line| line["event"] == "open" || line["event"] == "close").count();
        let lost: u64 = lines
            .iter()
            .filter(|line| line["event"] == "lost")
            .filter_map(|line| line["count"].as_u64())
            .sum();
        (told as u64 + lost >= 2 * times).then_some(())
    });
}

/// While nobody reads, sockets come and go; the sensor is read on, and what is not shown is said to be missing.
#[test]
fn an_output_that_is_held_up_holds_up_nothing_else() {
    let Some(host) = Host::new() else { return };
    let mut command = host.portledger(&["watch", "--format", "json"]);
    let mut running =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().contains("\"began\""));
    // Far more than a pipe holds.
    let _many = host.listen("tcp 127.0.0.1:10001-11000").by("many");
    let told = lines.by_ref().take(1000).filter(|line| line.contains("\"open\"")).count();
    assert_eq!(told, 1000);
    drop(lines);
    assert_eq!(eventually("it ends", || running.try_wait().unwrap()).code(), Some(0));
}
