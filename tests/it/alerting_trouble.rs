//! Alerts that `serve` posts while things go wrong: it is killed in a storm, the sensor dies, receivers refuse, the disk is full.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::alerting::{about, alertmanager, held, is_paged_no_more, is_quiet, learns, posts, told, webhook};
use crate::peers::{ALERTMANAGER, AT_ONCE, Webhook, start_alertmanager, start_member};
use crate::world::{Host, certificates, eventually, fill, installed, send, within};

/// Listens at this many addresses, one after the other, until its input is closed.
const STORM: &str = r"
import socket, sys, time
held = []
for n in range(300):
    held.append(socket.create_server(('198.51.%d.%d' % (100 + n // 250, n % 250 + 1), 8000)))
    time.sleep(0.02)
sys.stdin.read()
";

#[test]
fn a_kill_in_a_storm_tells_nothing_twice_as_new() {
    if !installed(&["python3"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    host.sh(
        "for n in $(seq 0 299); do echo address add 198.51.$((100 + n / 250)).$((n % 250 + 1))/32 dev eth0; done |
         ip -batch -",
    );
    host.learn();
    let hook = Webhook::new(&host);
    posts(&host, &webhook("hook", hook.port));
    let mut told: BTreeMap<String, (Value, Value)> = BTreeMap::new();
    let listen = |told: &mut BTreeMap<String, (Value, Value)>| {
        for alert in hook.call().iter().flat_map(|call| call["alerts"].as_array().unwrap()) {
            assert_eq!(alert["status"], "firing", "{alert:#}");
            let what = (alert["seq"].clone(), alert["first_seen"].clone());
            let id = alert["id"].as_str().unwrap().to_owned();
            let before = told.insert(id, what.clone());
            assert!(before.as_ref().is_none_or(|before| *before == what), "{before:?} {alert:#}");
        }
    };
    let mut serve = host.serve();
    let _storm = host.python(STORM);
    for many in [20, 90, 160] {
        within(Duration::from_secs(120), "some are told", || {
            listen(&mut told);
            (told.len() >= many).then_some(())
        });
        serve.running.kill();
        serve = host.serve();
    }
    let all = eventually("all drift", || {
        listen(&mut told);
        let drifts = serve.json("/api/v1/drift")["drifts"].as_array().unwrap().clone();
        let of_storm = drifts.iter().filter(|drift| drift["port"] == 8000);
        let ids: Vec<String> = of_storm.map(|drift| drift["id"].as_str().unwrap().to_owned()).collect();
        (ids.len() == 300).then_some(ids)
    });
    within(Duration::from_secs(120), "each is told", || {
        listen(&mut told);
        all.iter().all(|id| told.contains_key(id)).then_some(())
    });
    let mut numbers: Vec<u64> = told.values().map(|(seq, _)| seq.as_u64().unwrap()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), told.len(), "one number each");
}

#[test]
fn drift_fires_on_where_the_sensor_is_dead() {
    if !installed(&["prometheus-alertmanager", "curl"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let hook = Webhook::new(&host);
    let _alertmanager = start_alertmanager(&host, &hook, AT_ONCE);
    host.learn();
    posts(&host, &alertmanager(ALERTMANAGER));
    let serve = host.serve();
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let drift = eventually("it drifts", || serve.drifts().find(8080)).id();
    hook.told("firing", &drift);
    // Nobody starts it again.
    send(serve.keeper(), Signal::STOP);
    send(serve.sensor(), Signal::KILL);
    let held = || held(&host, &format!("http://127.0.0.1:{ALERTMANAGER}"));
    let dead = |alerts: &[Value]| {
        alerts.iter().find(|alert| alert["labels"]["alertname"] == "PortledgerSensorDead").cloned()
    };
    let alert = within(Duration::from_secs(120), "it is missed", || dead(&held()));
    assert_eq!(alert["labels"]["severity"], "critical");
    assert!(about(&held(), &drift).is_some(), "{:#?}", held());
    send(serve.keeper(), Signal::CONT);
    within(Duration::from_secs(120), "it is heard again", || dead(&held()).is_none().then_some(()));
    assert!(about(&held(), &drift).is_some(), "{:#?}", held());
    while let Some(call) = hook.call() {
        for alert in call["alerts"].as_array().unwrap() {
            assert!(alert["status"] == "firing" || alert["labels"]["drift"].is_null(), "{alert:#}");
        }
    }
}

/// A request to a server of the story, whole.
fn request(stream: &TcpStream) -> Option<Vec<u8>> {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut reader = BufReader::new(stream);
    let (mut whole, mut length, mut line) = (String::new(), 0, String::new());
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        whole += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some([whole.into_bytes(), body].concat())
}

#[test]
fn what_stands_between_delays_an_alert_and_neither_loses_nor_doubles_it() {
    if !installed(&["prometheus-alertmanager"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let hook = Webhook::new(&host);
    let _alertmanager = start_alertmanager(&host, &hook, AT_ONCE);
    let between = host.within(|| TcpListener::bind("127.0.0.1:0").unwrap());
    host.learn();
    posts(&host, &alertmanager(between.local_addr().unwrap().port()));
    let serve = host.serve();
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let drift = eventually("it drifts", || serve.drifts().find(8080)).id();
    let mut answers = 0;
    while answers < 3 {
        let (mut stream, _) = between.accept().unwrap();
        let Some(request) = request(&stream) else { continue };
        if !String::from_utf8(request).unwrap().contains(&drift) {
            continue;
        }
        let answer: &[u8] = match answers {
            0 => b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
            1 => b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops",
            _ => b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n",
        };
        stream.write_all(answer).unwrap();
        // A byte at a time, until it has no more patience.
        while answers == 2 && stream.write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(200));
        }
        answers += 1;
    }
    between.set_nonblocking(true).unwrap();
    let mut pages = Vec::new();
    let mut until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        if let Ok((mut stream, _)) = between.accept()
            && let Some(request) = request(&stream)
        {
            let answer = host.within(|| {
                let mut to = TcpStream::connect(("127.0.0.1", ALERTMANAGER)).unwrap();
                let request = String::from_utf8(request).unwrap();
                let request = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
                to.write_all(request.as_bytes()).unwrap();
                let mut answer = Vec::new();
                to.read_to_end(&mut answer).unwrap();
                answer
            });
            stream.write_all(&answer).unwrap();
        }
        if let Some(call) = hook.call().filter(|call| call.to_string().contains(&drift)) {
            pages.push(call);
            // And no second one.
            until = Instant::now() + Duration::from_secs(5);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(pages.len(), 1, "{pages:#?}");
    assert_eq!(pages[0]["alerts"].as_array().unwrap().len(), 1);
    let failed = serve.metric("portledger_alerts_total{receiver=\"am\",outcome=\"failed\"}");
    assert!(failed >= Some(3.0), "{failed:?}");
}

#[test]
fn whoever_is_not_believed_is_told_of_when_that_is_mended() {
    if !installed(&["prometheus-alertmanager", "openssl"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    certificates(&host);
    let tls = host.path("tls").display().to_string();
    host.sh(&format!(". {tls}/issue; issue other other -1day +10year self; cp other.pem ../etc/ca.pem"));
    host.write(
        "web/am.yml",
        "tls_server_config: {cert_file: ../tls/server.pem, key_file: ../tls/server.key}\n",
    );
    let hook = Webhook::new(&host);
    let web = format!("--web.config.file={}", host.path("web/am.yml").display());
    let _alertmanager =
        start_member(&host, &hook, AT_ONCE, "127.0.0.1", &["--cluster.listen-address=", &web]);
    host.learn();
    let ca = host.path("etc/ca.pem");
    let receiver = alertmanager(ALERTMANAGER).replace("http://127.0.0.1", "https://localhost");
    posts(&host, &format!("{receiver}ca = {ca:?}\n"));
    let serve = host.serve();
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let drift = eventually("it drifts", || serve.drifts().find(8080)).id();
    let told = eventually("it was tried", || {
        let told = host.run(&["alerts", "status"]);
        (told.stdout.contains("UnknownIssuer") && told.code == 1).then_some(told.stdout)
    });
    for word in ["put into the file `ca`", " wait, the first since "] {
        assert!(told.contains(word), "{told}");
    }
    host.sh(&format!("cp {tls}/ca.pem {}", ca.display()));
    assert_eq!(hook.told("firing", &drift).len(), 1);
    is_paged_no_more(&hook, &drift, Duration::from_secs(4));
    let told = host.run(&["alerts", "status"]);
    assert!(!told.stdout.contains("  failed") && !told.stdout.contains(" wait"), "{told:?}");
    assert_eq!(told.code, 0);
}

/// The state folder is a disk of its own, that only this host sees. Returns its path.
fn small_disk(host: &Host) -> String {
    let state = host.path("state").display().to_string();
    host.sh(&format!("mkdir -p {state}; mount -t tmpfs -o size=1m,mode=0755 none {state}"));
    state
}

#[test]
fn a_full_disk_keeps_no_alert_back() {
    let Some(host) = Host::new() else { return };
    learns(&host);
    let hook = Webhook::new(&host);
    posts(&host, &webhook("hook", hook.port));
    let state = small_disk(&host);
    let serve = host.serve();
    fill(&host, &state);
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let drift = eventually("it drifts", || serve.drifts().find(8080)).id();
    assert_eq!(told(&hook, &drift)["status"], "firing");
    let log = format!("cat {state}/alerts.jsonl 2>/dev/null || true");
    assert!(!host.sh(&log).contains(&drift), "there was room");
    host.sh(&format!("rm {state}/full"));
    eventually("it is logged once there is room", || host.sh(&log).contains(&drift).then_some(()));
    is_quiet(&hook, Duration::from_secs(2));
}

#[test]
fn a_restart_on_a_full_disk_ends_no_alert() {
    let Some(host) = Host::new() else { return };
    learns(&host);
    let hook = Webhook::new(&host);
    posts(&host, &webhook("hook", hook.port));
    let state = small_disk(&host);
    let serve = host.serve();
    let backdoor = host.listen("tcp 0.0.0.0:8080").by("nc");
    let drift = eventually("it drifts", || serve.drifts().find(8080)).id();
    assert_eq!(told(&hook, &drift)["status"], "firing");
    let log = format!("cat {state}/alerts.jsonl 2>/dev/null || true");
    eventually("it is logged", || host.sh(&log).contains(&drift).then_some(()));
    // As if there had never been room for it.
    serve.running.kill();
    drop(backdoor);
    host.sh(&format!("rm {state}/register.json"));
    fill(&host, &state);
    let serve = host.serve();
    eventually("it is open and gone", || {
        serve.drifts().find(8080).filter(|drift| drift.get("state") == "gone")
    });
    host.sh(&format!("rm {state}/full"));
    is_paged_no_more(&hook, &drift, Duration::from_secs(3));
    let register = format!("cat {state}/register.json 2>/dev/null || true");
    eventually("it is written down", || host.sh(&register).contains(&drift).then_some(()));
    host.does(&["dismiss", &drift, "--reason", "a test"]);
    let over = told(&hook, &drift);
    assert_eq!((&over["status"], &over["why"]), (&"resolved".into(), &"dismissed".into()));
}
