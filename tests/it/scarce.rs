//! `serve` where memory, descriptors or disk run out while it runs: it goes on or comes back, says what it cannot do, and
//! does it when there is room again.

use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ledger::{HostKeys, verify};
use rustix::process::Signal;

use crate::world::{
    Cage, Host, Listing, Serve, eventually, fill, finish, limit_descriptors, next_descriptor, skip, within,
};

/// A state folder on a disk of its own, which is small.
fn small_disk(host: &Host) -> String {
    let state = host.path("state").display().to_string();
    host.sh(&format!("mkdir {state}; mount -t tmpfs -o size=512k,mode=0750 none {state}"));
    state
}

/// What stands on that disk, where we can read it.
fn copy_of(host: &Host, folder: &str) -> PathBuf {
    let copy = host.path("log/copy");
    host.sh(&format!("rm -rf {0}; cp -a {folder} {0}", copy.display()));
    copy
}

/// The register and the log of events fall behind while nothing can be written, and catch up though nothing happens then.
#[test]
fn a_full_disk_is_told_once_and_what_is_known_is_written_when_there_is_room() {
    let Some(host) = Host::new() else { return };
    host.learn();
    std::fs::remove_dir_all(host.path("state")).unwrap();
    let state = small_disk(&host);
    let serve = host.serve();
    serve.settles();
    fill(&host, &state);
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let first_seen = eventually("it drifts", || serve.drifts().find(8080)).get("first_seen").clone();
    let behind = || serve.metric("portledger_state_failures_total").unwrap();
    eventually("it is tried again", || (behind() >= 3.0).then_some(()));
    // Where there is less room than a record needs the log fails too.
    for port in 9000..9100 {
        let _brief = host.listen(&format!("tcp 0.0.0.0:{port}")).for_a_moment_by("brief");
        if serve.metric("portledger_events_unlogged_total").unwrap() > 0.0 {
            break;
        }
    }
    eventually("what is not logged is counted", || {
        (serve.metric("portledger_events_unlogged_total").unwrap() > 0.0).then_some(())
    });
    serve.running.signal(Signal::HUP);
    assert_eq!(serve.get("/-/ready").0, 200);
    assert_eq!(serve.log().matches("would not survive a restart").count(), 1, "{}", serve.log());
    assert!(serve.log().contains("No space left"), "{}", serve.log());
    let kept = copy_of(&host, &state);
    assert!(!std::fs::read_to_string(kept.join("register.json")).unwrap_or_default().contains("8080"));

    host.sh(&format!("rm {state}/full"));
    eventually("it is written down", || {
        let kept = copy_of(&host, &state);
        std::fs::read_to_string(kept.join("register.json")).ok().filter(|text| text.contains("8080"))
    });
    eventually("that is said", || serve.log().contains("is written down again").then_some(()));
    let _late = host.listen("tcp 0.0.0.0:8081").by("late");
    let kept = eventually("events are logged again", || {
        let kept = copy_of(&host, &state);
        let log = std::fs::read_to_string(kept.join("events.jsonl")).ok()?;
        log.contains("\"port\":8081").then_some(kept)
    });
    let keys = HostKeys::read(&kept.join("events.key.pub")).unwrap();
    verify(&kept, "events", &keys, |_| {}).unwrap();
    assert!(serve.log().contains("events are logged again"), "{}", serve.log());
    serve.running.kill();
    host.serve().drifts().on(8080).has("first_seen", first_seen);
}

/// Whoever holds connections open takes the last descriptors: accepting them pauses, those who keep others waiting go,
/// and who asks is answered.
#[test]
fn an_exporter_without_descriptors_answers_and_says_so() {
    let Some(host) = Host::new() else { return };
    let serve = host.serve();
    serve.settles();
    let exporter = serve.running.outer;
    limit_descriptors(exporter, next_descriptor(exporter) + 2);
    let refused = || {
        serve
            .try_get("/metrics")
            .and_then(|(_, text)| metric(&text, "portledger_http_refused_total{reason=\"descriptors\"}"))
    };
    let began = Instant::now();
    let held: Vec<TcpStream> = host.within(|| {
        (0..12)
            .map(|_| {
                let mut stream = TcpStream::connect(("127.0.0.1", Serve::PORT)).unwrap();
                stream.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
                stream
            })
            .collect()
    });
    let times =
        eventually("somebody is sent away for a descriptor", || refused().filter(|times| *times > 0.0));
    // A turn each time that nobody was accepted, and a pause after it.
    assert!(times <= began.elapsed().as_millis() as f64 / 50.0 + 1.0, "{times} in {:?}", began.elapsed());
    let said = serve.log().matches("a connection cannot be accepted: ").count();
    assert!(said >= 1 && said as u64 <= 1 + began.elapsed().as_secs() / 10, "{said}: {}", serve.log());
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    eventually("it drifts meanwhile", || {
        serve.try_get("/api/v1/drift").filter(|(status, text)| *status == 200 && text.contains("8080"))
    });
    drop(held);
    limit_descriptors(exporter, 1024);
    eventually("that is written down", || {
        let register = std::fs::read_to_string(host.path("state/register.json")).ok()?;
        register.contains("8080").then_some(())
    });
    assert_eq!(serve.get("/-/ready").0, 200);
}

fn metric(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// What it could not open it did not see, and it says so; what it saw before is not gone.
#[test]
fn a_sensor_without_descriptors_declares_a_gap() {
    let Some(host) = Host::new() else { return };
    host.write("etc/portledger.toml", "[sensor]\nreconcile = \"1s\"\n");
    host.namespace("blue");
    let _blue = host.listen("tcp 0.0.0.0:8080").inside("blue").by("blue");
    host.learn();
    let serve = host.serve();
    serve.settles();
    let sensor = serve.sensor();
    let before = serve.metric("portledger_coverage{scope=\"namespaces\"}");
    assert_eq!(before, Some(1.0));
    limit_descriptors(sensor, next_descriptor(sensor) + 1);
    host.namespace("green");
    let _green = host.listen("tcp 0.0.0.0:8081").inside("green").by("green");
    eventually("there is a gap or it is seen", || {
        let document = serve.json("/api/v1/listeners");
        let listing = Listing { document };
        let is_seen = listing.all_on(8081).iter().any(|row| !row.pids().is_empty());
        (is_seen || !listing.gaps().is_empty() || serve.sensor() != sensor).then_some(())
    });
    serve.drifts().nothing_on(8080);
    limit_descriptors(serve.sensor(), 1024);
    eventually("it is seen when there are some", || {
        let listing = Listing { document: serve.json("/api/v1/listeners") };
        listing.all_on(8081).into_iter().find(|row| !row.pids().is_empty())
    });
    eventually("and all is covered", || {
        (serve.metric("portledger_coverage{scope=\"namespaces\"}") == Some(1.0)).then_some(())
    });
    serve.drifts().nothing_on(8080);
}

/// From too few to begin with to enough for everything.
#[test]
fn a_look_with_few_descriptors_is_whole_or_says_that_it_is_not() {
    let Some(host) = Host::new() else { return };
    host.namespace("blue");
    let _home = host.listen("tcp 0.0.0.0:8080").by("home");
    let _blue = host.listen("tcp 0.0.0.0:8081").inside("blue").by("blue");
    let (mut failed, mut partial) = (0, 0);
    for limit in 3..24 {
        let plain = host.portledger(&["list", "--format", "json"]);
        let words: Vec<_> = plain.get_args().skip_while(|word| *word != "--").skip(1).collect();
        let mut command = host.command("prlimit");
        command.arg(format!("--nofile={limit}:{limit}")).args(words);
        let told = finish(command);
        if told.code != 0 {
            assert!(!told.stderr.is_empty() && !told.stderr.contains("panicked"), "{limit}: {told:?}");
            failed += 1;
            continue;
        }
        let listing = Listing::new(&told.stdout);
        let is_whole = [8080, 8081]
            .into_iter()
            .all(|port| listing.all_on(port).iter().any(|row| !row.pids().is_empty()));
        assert!(is_whole || !listing.gaps().is_empty(), "{limit}: {:#}", listing.document);
        partial += usize::from(!is_whole);
    }
    eprintln!("{failed} failed, {partial} saw a part");
    assert!(failed > 0 && failed + partial < 21, "{failed} {partial}");
}

/// 2,000 listeners of which all drift, and somebody who scrapes, in 32 MB for keeper, sensor and exporter together. A
/// sensor that the kernel ends for want of memory, while the rest of the machine opens sockets without end, is started
/// again, and what it told stays; a loader that it ends is told as a worse source of events.
#[test]
#[cfg_attr(
    debug_assertions,
    ignore = "unoptimized, the program alone is larger than that: cargo test --release"
)]
fn all_of_serve_lives_in_32_megabytes() {
    let Some(host) = Host::new() else { return };
    let Some(cage) = Cage::new(32 << 20) else { return };
    host.write("etc/baseline.toml", "# nothing is approved\n");
    let apps: Vec<_> =
        (1..=4).map(|n| host.listen(&format!("tcp 127.0.1.{n}:1001-1500")).by("app")).collect();
    let serve = Serve::run(&host, cage.holds(host.portledger(&["serve"])));
    let drifting = "portledger_drift_present";
    let all = || {
        let (status, text) = serve.get("/metrics");
        assert_eq!(status, 200);
        let count =
            metric(&text, "portledger_listeners{protocol=\"tcp\",reach=\"loopback\",verdict=\"drift\"}")?;
        assert!(text.contains(drifting), "{text}");
        (count >= 2_000.0).then_some(text)
    };
    within(Duration::from_secs(60), "all drift", all);
    for _ in 0..50 {
        all().expect("nothing is forgotten");
    }
    assert_eq!(serve.json("/api/v1/listeners")["listeners"].as_array().unwrap().len() / 1000, 2);
    serve.running.signal(Signal::HUP);
    all().expect("nothing is forgotten");
    eprintln!("{} KiB at most, {} processes ended for want of memory", cage.peak_kib(), cage.ended());
    eventually("what ended is started again, or told to be missed", || {
        let is_worse = serve.source() != "bpf"
            && !(Listing { document: serve.json("/api/v1/listeners") }).gaps().is_empty();
        let restarts = serve.metric("portledger_sensor_restarts_total")?;
        (is_worse || restarts >= cage.ended() as f64).then_some(())
    });
    drop(apps);
    eventually("their end is told", || {
        serve
            .metric("portledger_listeners{protocol=\"tcp\",reach=\"loopback\",verdict=\"drift\"}")
            .filter(|n| *n < 10.0)
    });
}

/// A year ahead and a year back: nothing that is there is forgotten, and nobody waits for a time that has passed.
#[test]
fn a_clock_that_jumps_forgets_nothing() {
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
    if !std::path::Path::new(library).exists() {
        return skip("needs libfaketime (package faketime)");
    }
    let Some(host) = Host::new() else { return };
    let jumps = |by: &str| host.write("etc/clock", format!("{by}\n"));
    jumps("+0d");
    let _sshd = host.listen("tcp 0.0.0.0:22").by("sshd");
    host.learn();
    let mut command = host.portledger(&["serve"]);
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", host.path("etc/clock"));
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let serve = Serve::run(&host, command);
    serve.settles();
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let first_seen = eventually("it drifts", || serve.drifts().find(8080)).get("first_seen").clone();
    let nc = host.listen("tcp 0.0.0.0:8081").by("nc");
    eventually("it drifts", || serve.drifts().find(8081));
    nc.ends();
    eventually("it is gone", || serve.drifts().find(8081).filter(|row| row.get("state") == "gone"));
    let heard = || serve.metric("portledger_sensor_last_frame_timestamp_seconds").unwrap();
    let began = heard();
    let mut pid = serve.sensor();
    for (port, by, seconds) in [(8082, "+365d", 365.0), (8083, "-365d", -365.0), (8084, "+0d", 0.0)] {
        jumps(by);
        let _new = host.listen(&format!("tcp 0.0.0.0:{port}")).by("new");
        eventually("what opens then is told", || serve.drifts().find(port));
        let apart = heard() - began - seconds * 86_400.0;
        assert!(apart.abs() < 3_600.0, "{by}: {apart}");
        eventually("it is ready", || (serve.get("/-/ready").0 == 200).then_some(()));
        serve.drifts().nothing_on(22);
        serve.drifts().on(8080).has("state", "present");
        serve.drifts().on(8081).has("state", "gone");
        let (_, scrape) = serve.get("/metrics");
        let negative = scrape.lines().find(|line| !line.starts_with('#') && line.contains(" -"));
        assert_eq!(negative, None, "{by}");
        assert_eq!(serve.sensor(), std::mem::replace(&mut pid, serve.sensor()), "{by}");
    }
    serve.drifts().on(8080).has("first_seen", first_seen);
    let state = host.path("state");
    verify(&state, "events", &HostKeys::read(&state.join("events.key.pub")).unwrap(), |_| {}).unwrap();
    assert!(!serve.log().contains("panicked"), "{}", serve.log());
}
