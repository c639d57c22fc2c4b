use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use rustix::process::Signal;

use crate::world::{Host, Serve, eventually, send, within};

#[test]
fn serve_answers_where_exporters_do() {
    let Some(host) = Host::new() else { return };
    let _sshd = host.listen("tcp 0.0.0.0:22").by("sshd");
    host.learn();
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let before = now();
    let serve = host.serve();
    assert_eq!(serve.get("/-/healthy").0, 200);
    assert_eq!(serve.get("/-/ready").0, 200);
    assert!(serve.get("/").1.contains("/metrics"));
    assert_eq!(serve.get("/nothing").0, 404);
    let listening = serve.json("/api/v1/listeners");
    assert!(listening["listeners"].as_array().unwrap().iter().any(|row| row["port"] == 22), "{listening:#}");
    let learned = "portledger_listeners{protocol=\"tcp\",reach=\"public\",verdict=\"learned\"}";
    assert_eq!(serve.metric(learned), Some(1.0));
    assert_eq!(serve.metric("portledger_baseline_last_reload_successful"), Some(1.0));
    assert_eq!(serve.metric("portledger_coverage{scope=\"sockets\"}"), Some(1.0));
    let frame = serve.metric("portledger_sensor_last_frame_timestamp_seconds").unwrap();
    let now = now();
    assert!((before..=now).contains(&frame), "{frame} is not from {before} to {now}");
}

#[test]
fn the_api_and_list_speak_one_language() {
    let Some(host) = Host::new() else { return };
    let _sshd = host.listen("tcp 0.0.0.0:22; tcp [::]:22 v6only").by("sshd");
    let serve = host.serve();
    let keys = |document: &serde_json::Value| {
        let row = document["listeners"].as_array().unwrap().iter().find(|row| row["port"] == 22).unwrap();
        let of = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        (of(document), of(row), of(&row["holders"][0]), row["service"].clone())
    };
    assert_eq!(keys(&serve.json("/api/v1/listeners")), keys(&host.list().document));
}

#[test]
fn drift_opens_goes_stays_visible_and_closes_with_an_approval() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let serve = host.serve();
    let info = "portledger_drift{kind=\"unapproved\",severity=\"critical\"}";
    // Our own port is drift as well, and critical where the binary was built in a temporary folder.
    let before = serve.metric(info).unwrap();
    let nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let drift = eventually("it drifts", || serve.drifts().find(8080))
        .shows("unapproved")
        .has("state", "present")
        .id();
    let present = format!("portledger_drift_present{{drift=\"{drift}\"}}");
    assert_eq!(serve.metric(info), Some(before + 1.0));
    assert_eq!(serve.metric(&present), Some(1.0));

    nc.ends();
    eventually("it is told gone", || serve.metric(&present).filter(|value| *value == 0.0));
    serve.drifts().on(8080).has("state", "gone");

    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    eventually("it is told back", || serve.metric(&present).filter(|value| *value == 1.0));
    assert_eq!(host.approve(&drift, "wanted").code, 0);
    // The verb tells the daemon by itself.
    eventually("it is closed", || serve.metric(&present).is_none().then_some(()));
    serve.drifts().nothing_on(8080);
}

#[test]
fn a_required_service_that_is_absent_is_missing() {
    let Some(host) = Host::new() else { return };
    host.write("etc/portledger.toml", "missing_after = \"1s\"\n[sensor]\ninterval = \"200ms\"\n");
    let app = host.listen("tcp 0.0.0.0:8080").by("app");
    let program = app.program.display();
    host.write(
        "etc/baseline.toml",
        format!("[[approval]]\nid = \"app\"\nlisten = \"tcp/*:8080\"\nprogram = \"{program}\"\nrequired = true\nreason = \"r\"\n"),
    );
    let serve = host.serve();
    serve.drifts().nothing_on(8080);
    app.ends();
    eventually("it is missing", || serve.drifts().find(8080)).shows("missing").has("id", "app");
    let _app = host.listen("tcp 0.0.0.0:8080").by("app");
    eventually("it is back", || {
        serve.drifts().find(8080).is_none_or(|row| row.get("state") == "gone").then_some(())
    });
}

/// Between the socket table and the search for holders a process may end: nobody is paged for that.
#[test]
fn a_restart_of_what_is_approved_is_no_drift() {
    let Some(host) = Host::new() else { return };
    host.write("etc/portledger.toml", "[sensor]\ninterval = \"100ms\"\n");
    let app = host.listen("tcp 0.0.0.0:8080").by("app");
    host.learn();
    app.ends();
    let serve = host.serve();
    for _ in 0..30 {
        let app = host.listen("tcp 0.0.0.0:8080").by("app");
        std::thread::sleep(Duration::from_millis(150));
        app.ends();
        serve.never_drifted(8080);
    }
}

/// Nor wherever in its work the sensor stands still for a while, whatever tells it of events.
#[test]
fn a_restart_while_the_sensor_stalls_is_no_drift() {
    for is_without_bpf in [false, true] {
        let Some(host) = Host::new() else { return };
        host.write("etc/portledger.toml", "[sensor]\ninterval = \"100ms\"\n");
        if is_without_bpf {
            host.hides_btf();
        }
        let app = host.listen("tcp 0.0.0.0:8080").by("app");
        host.learn();
        app.ends();
        let serve = host.serve();
        let sensor = serve.sensor();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for stall in (0..400).map(|turn| turn * 7_919 % 200).cycle() {
                    std::thread::sleep(Duration::from_millis(stall % 37));
                    send(sensor, Signal::STOP);
                    std::thread::sleep(Duration::from_millis(stall));
                    send(sensor, Signal::CONT);
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
            for turn in 0..40 {
                let app = host.listen("tcp 0.0.0.0:8080").by("app");
                std::thread::sleep(Duration::from_millis(turn * 61 % 150));
                app.ends();
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let seen = host.listen("tcp 0.0.0.0:8081").by("other");
        eventually("it has caught up", || serve.drifts().find(8081));
        drop(seen);
        serve.never_drifted(8080);
    }
}

#[test]
fn what_is_gone_is_told_by_diff_as_long_as_it_is_open() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let serve = host.serve();
    let nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    eventually("it drifts", || serve.drifts().find(8080));
    nc.ends();
    eventually("it is gone", || serve.drifts().find(8080).filter(|row| row.get("state") == "gone"));
    eventually("diff tells it", || {
        let told = host.run(&["diff"]).stdout;
        let block = told.split("Gone, and kept open").nth(1)?;
        let has = |text| block.contains(text);
        (has("tcp *:8080") && has("  id       s1-") && has("1 gone drift still pages")).then_some(())
    });
    host.diff().on(8080).has("state", "gone");
}

/// The second would take the state away from the first.
#[test]
fn two_of_serve_never_share_a_state_folder() {
    let Some(host) = Host::new() else { return };
    let serve = host.serve();
    let told = host.run(&["serve", "--web.listen-address", "127.0.0.1:0"]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.stderr.contains("--state"), "{told:?}");
    assert_eq!(serve.get("/-/healthy").0, 200);
}

#[test]
fn a_killed_sensor_is_started_again_and_drift_is_kept() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let serve = host.serve();
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let first_seen = eventually("it drifts", || serve.drifts().find(8080)).get("first_seen").clone();
    let sensor = serve.sensor();
    assert!(serve.get("/metrics").1.contains("\nportledger_sensor_restarts_total 0\n"));
    send(sensor, Signal::KILL);
    serve.drifts().on(8080).has("first_seen", first_seen.clone());
    eventually("it is counted", || {
        serve.get("/metrics").1.contains("\nportledger_sensor_restarts_total 1\n").then_some(())
    });
    eventually("there is another sensor", || (serve.sensor() != sensor).then_some(()));
    let _late = host.listen("tcp 0.0.0.0:8081").by("late");
    eventually("it sees again", || serve.drifts().find(8081));
    serve.drifts().on(8080).has("first_seen", first_seen);
}

#[test]
fn without_a_sensor_the_last_drift_stays_and_serve_is_not_ready() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let serve = host.serve();
    let nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    eventually("it drifts", || serve.drifts().find(8080));
    send(serve.sensor(), Signal::STOP);
    nc.ends();
    within(Duration::from_secs(60), "it says that it is not ready", || {
        (serve.get("/-/ready").0 == 503).then_some(())
    });
    assert_eq!(serve.get("/-/healthy").0, 200);
    serve.drifts().on(8080).has("state", "present");
    send(serve.sensor(), Signal::CONT);
    eventually("it is ready again", || (serve.get("/-/ready").0 == 200).then_some(()));
}

#[test]
fn drift_is_kept_over_a_restart() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let serve = host.serve();
    let nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let first_seen = eventually("it drifts", || serve.drifts().find(8080)).get("first_seen").clone();
    nc.ends();
    eventually("it is gone", || serve.drifts().find(8080).filter(|row| row.get("state") == "gone"));
    eventually("that is written down", || {
        let register = std::fs::read_to_string(host.path("state/register.json")).ok()?;
        let register: serde_json::Value = serde_json::from_str(&register).unwrap();
        let mut drifts = register["drifts"].as_array().unwrap().iter();
        drifts.any(|drift| drift["gone_since"].is_object()).then_some(())
    });
    serve.running.kill();
    let serve = host.serve();
    serve.drifts().on(8080).has("state", "gone").has("first_seen", first_seen);
}

#[test]
fn an_exporter_that_hangs_does_not_stop_the_sensor() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let serve = host.serve();
    let sensor = serve.sensor();
    serve.running.signal(Signal::STOP);
    // Enough passes to fill any buffer between the two, were each one sent.
    let work = || {
        let stat = std::fs::read_to_string(format!("/proc/{sensor}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    std::thread::sleep(Duration::from_secs(5));
    let before = work();
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    within(Duration::from_secs(60), "the sensor works on", || (work() > before).then_some(()));
    assert_eq!(serve.sensor(), sensor);
    serve.running.signal(Signal::CONT);
    eventually("it is told", || serve.drifts().find(8080));
}

/// We keep nothing of a namespace open, so deleting it deletes it, and the peer of its veth goes too.
#[test]
fn a_deleted_namespace_goes_away_while_serve_runs() {
    let Some(host) = Host::new() else { return };
    host.namespace("blue");
    host.sh("ip link add veth-home type veth peer name veth-blue; ip link set veth-blue netns blue");
    let web = host.listen("tcp 0.0.0.0:8080").inside("blue").by("web");
    host.learn();
    let serve = host.serve();
    let in_blue = |document: serde_json::Value| {
        document["listeners"].as_array().unwrap().iter().any(|row| row["netns"]["name"] == "blue")
    };
    assert!(in_blue(serve.json("/api/v1/listeners")));
    web.ends();
    host.sh("ip netns delete blue");
    eventually("the veth is gone", || (!host.sh("ip -o link").contains("veth-home")).then_some(()));
    eventually("it is no longer listed", || (!in_blue(serve.json("/api/v1/listeners"))).then_some(()));
}

#[test]
fn a_bad_reload_leaves_the_last_good_baseline_in_force() {
    let Some(host) = Host::new() else { return };
    let _sshd = host.listen("tcp 0.0.0.0:22").by("sshd");
    host.learn();
    let good = host.baseline();
    let serve = host.serve();
    let loaded = |serve: &Serve<'_>, wanted: f64| {
        eventually("it says how the reload went", || {
            serve.metric("portledger_baseline_last_reload_successful").filter(|value| *value == wanted)
        });
    };
    host.write("etc/baseline.toml", format!("{good}\nnonsense"));
    serve.running.signal(Signal::HUP);
    loaded(&serve, 0.0);
    serve.drifts().nothing_on(22);
    assert!(serve.log().contains("baseline.toml:"), "{}", serve.log());

    // Over a restart too, and when the file vanished.
    serve.running.kill();
    std::fs::remove_file(host.path("etc/baseline.toml")).unwrap();
    let serve = host.serve();
    loaded(&serve, 0.0);
    serve.drifts().nothing_on(22);
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    eventually("it still enforces", || serve.drifts().find(8080)).has("severity", "critical");

    host.write("etc/baseline.toml", good);
    serve.running.signal(Signal::HUP);
    loaded(&serve, 1.0);
}

#[test]
fn clients_that_misbehave_disturb_nobody() {
    let Some(host) = Host::new() else { return };
    let serve = host.serve();
    host.within(|| {
        let connect = || TcpStream::connect(("127.0.0.1", Serve::PORT)).unwrap();
        let mut idle: Vec<TcpStream> = (0..50).map(|_| connect()).collect();
        for stream in &mut idle {
            stream.write_all(b"GET /metr").unwrap();
        }
        for _ in 0..50 {
            let mut stream = connect();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            stream.read_exact(&mut [0]).unwrap();
        }
        let mut huge = connect();
        let header = [b"GET / HTTP/1.1\r\nX: ", "x".repeat(1 << 20).as_bytes()].concat();
        let _refused = huge.write_all(&header);
    });
    assert_eq!(serve.get("/metrics").0, 200);
    assert_eq!(serve.get("/-/ready").0, 200);
}

/// However `serve` ends, the privileged half does not outlive it.
#[test]
fn the_sensor_ends_with_serve() {
    let Some(host) = Host::new() else { return };
    for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
        let mut serve = host.serve();
        let below = [serve.keeper(), serve.sensor()];
        serve.running.signal(signal);
        let code = serve.running.ends_with();
        assert!(signal == Signal::KILL || code == Some(0), "{signal:?}: {code:?}");
        eventually("the sensor is gone", || {
            below.iter().all(|pid| !Path::new(&format!("/proc/{pid}/exe")).exists()).then_some(())
        });
    }
}

#[test]
fn the_service_manager_is_told_how_it_goes() {
    let Some(host) = Host::new() else { return };
    let path = host.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let hear = || {
        let mut message = [0; 4096];
        let length = manager.recv(&mut message).expect("the manager is told something");
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    let mut command = host.portledger(&["serve"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "3000");
    // Its queue is full long before it is heard.
    let serve = Serve::run(&host, command);
    assert_eq!(hear(), "READY=1\nSTATUS=serving on http://127.0.0.1:10433/, unix:/run/portledger/api.sock\n");
    assert_eq!(hear(), "WATCHDOG=1\n");
    assert_eq!(hear(), "WATCHDOG=1\n");
    serve.running.signal(Signal::TERM);
    eventually("it says that it ends", || (hear() == "STOPPING=1\n").then_some(()));
}
