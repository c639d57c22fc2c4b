//! Over real sockets on loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, watch};

use super::*;
use crate::judge::Work;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;
use crate::web_config::InForce;
use crate::web_config::fixtures::SECRET;
use crate::{Error, judge};

mod logins;

/// A server that lives as long as the tests do.
pub(super) struct Served {
    pub(super) address: SocketAddr,
    counts: Arc<HttpCounts>,
    logged: mpsc::Receiver<Work>,
}

fn board(snapshot: Snapshot) -> Board {
    let (_, snapshots) = watch::channel(snapshot);
    let metrics = Metrics::new(snapshots.clone(), true, SystemTime::now).unwrap();
    Board {
        snapshots,
        metrics: Arc::new(metrics),
        telemetry_path: "/metrics".to_owned(),
        alerting: Arc::default(),
    }
}

fn rules() -> Rules {
    Rules { allow: Vec::new(), read_only: true, roles: Vec::new(), telemetry_path: "/metrics".to_owned() }
}

fn served(snapshot: Snapshot) -> Served {
    start(snapshot, rules(), Security::new(None))
}

/// A server that is secured so.
pub(super) fn served_by(security: Security) -> Served {
    start(fixture(), rules(), security)
}

fn start(snapshot: Snapshot, rules: Rules, security: Security) -> Served {
    start_after(snapshot, rules, security, |_| ())
}

/// Likewise, when something was done with its address.
fn start_after(
    snapshot: Snapshot,
    rules: Rules,
    security: Security,
    act: impl FnOnce(SocketAddr) + Send + 'static,
) -> Served {
    let (tell, told) = std::sync::mpsc::channel();
    let (judge, logged) = mpsc::channel(99);
    let counts = Arc::new(HttpCounts::default());
    let counted = counts.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let doors = bind(&[ListenAddress::Tcp((Ipv4Addr::LOCALHOST, 0).into())]).await.unwrap();
            act(doors[0].address().unwrap());
            tell.send(doors[0].address().unwrap()).unwrap();
            let router = router(board(snapshot)).unwrap();
            let house = House::new(router, rules, Arc::new(security), (Seats::new(), counted), judge);
            Arc::new(house).serve(doors).await;
        });
    });
    Served { address: told.recv().unwrap(), counts, logged }
}

impl Served {
    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    pub(super) fn send(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    pub(super) fn ask(&self, method: &str, path: &str) -> (u16, String, String) {
        let answer = self.send(&format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }
}

fn fixture() -> Snapshot {
    judge::tests::snapshot_of_the_fixture()
}

#[test]
fn answers_the_paths_it_has_and_no_others() {
    let server = served(fixture());
    let cases = [
        ("GET", "/", 200, "text/html; charset=utf-8"),
        ("GET", "/metrics", 200, "text/plain; version=0.0.4"),
        ("GET", "/-/healthy", 200, "text/plain; charset=utf-8"),
        ("GET", "/api/v1/listeners", 200, "application/json"),
        ("GET", "/api/v1/drift", 200, "application/json"),
        ("GET", "/api/v1/status", 200, "application/json"),
        ("HEAD", "/metrics", 200, "text/plain; version=0.0.4"),
        ("GET", "/metrics/", 404, ""),
        ("GET", "/etc/passwd", 404, ""),
        ("POST", "/metrics", 405, ""),
        ("DELETE", "/api/v1/drift", 405, ""),
    ];
    for (method, path, expected, content_type) in cases {
        let (status, head, body) = server.ask(method, path);
        assert_eq!(status, expected, "{method} {path}: {body}");
        assert!(head.contains(content_type), "{method} {path}: {head}");
        assert!(
            head.contains("content-security-policy: default-src 'none'; style-src 'unsafe-inline'"),
            "{head}"
        );
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
        assert_eq!(method == "HEAD", body.is_empty() && status == 200, "{method} {path}");
    }
}

#[test]
fn says_that_it_knows_nothing_before_the_first_pass() {
    let server = served(Snapshot::default());
    for path in ["/-/ready", "/api/v1/listeners", "/api/v1/drift"] {
        let (status, _, body) = server.ask("GET", path);
        assert_eq!(
            (status, body.contains("no inventory of the sensor was judged yet")),
            (503, true),
            "{path}"
        );
    }
    assert_eq!(server.ask("GET", "/-/healthy").0, 200);
    let (status, _, body) = server.ask("GET", "/api/v1/status");
    assert!(status == 200 && body.contains("\"ready\":false"), "{body}");
    assert!(server.ask("GET", "/").2.contains("the sensor has not looked yet"));
    assert!(server.ask("GET", "/metrics").2.contains("portledger_sensor_last_frame_timestamp_seconds 0\n"));
}

#[test]
fn lets_no_name_speak_for_itself() {
    let server = served(fixture());
    for path in ["/", "/metrics", "/api/v1/listeners", "/api/v1/drift"] {
        let (_, _, body) = server.ask("GET", path);
        assert!(!body.contains(['\x1b', '\r']), "{path}");
        assert!(!body.lines().any(|line| line.starts_with("portledger_drift 0 #")), "{path}: a forged line");
    }
    assert!(!server.ask("GET", "/").2.contains("<b>"));
    let json: serde_json::Value = serde_json::from_str(&server.ask("GET", "/api/v1/listeners").2).unwrap();
    let program = json["listeners"][1]["holders"][0]["program"].as_str().unwrap();
    assert_eq!(program, r#"/tmp/a",pid=1)\x0aportledger_drift 0 #\x1b[2J\x0d</script><b>'\xff\x5c"#);
}

#[test]
fn takes_no_body() {
    let server = served(fixture());
    let head = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n";
    for body in
        ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
    {
        let answer = server.send(&format!("{head}{body}"));
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
}

#[test]
fn is_not_harmed_by_those_who_hang_up() {
    let server = served(fixture());
    for _ in 0..100 {
        server.connect().write_all(b"GET /metrics HTTP/1.1\r\nHo").unwrap();
        server.connect().write_all(b"GET /api/v1/listeners HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    }
    assert_eq!(server.ask("GET", "/-/healthy").0, 200);
}

#[test]
fn a_slow_head_is_cut_off_and_keeps_nobody_waiting() {
    let server = served(fixture());
    let mut slow = server.connect();
    slow.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
    assert_eq!(server.ask("GET", "/-/healthy").0, 200);
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).unwrap();
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    server.refuses("slow_head", 1);
}

#[test]
fn refuses_a_head_without_end() {
    let server = served(fixture());
    let mut stream = server.connect();
    let line = format!("X-Long: {}\r\n", "a".repeat(1000));
    stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    for _ in 0..1000 {
        if stream.write_all(line.as_bytes()).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    // It may be reset instead, for what was sent and not read.
    let read = stream.read_to_end(&mut answer);
    assert!(read.is_err() || answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn names_the_address_that_is_taken() {
    let server = served(Snapshot::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let taken = [ListenAddress::Tcp(server.address)];
    let error = runtime.block_on(bind(&taken)).err().unwrap();
    let message = error.to_string();
    assert!(matches!(error, Error::Listen { .. }));
    assert!(
        message.contains(&server.address.to_string()) && message.contains("--web.listen-address"),
        "{message}"
    );
}

#[test]
fn wants_a_path_of_its_own_for_the_metrics() {
    for path in ["", "metrics", "/", "/-/ready", "/{x}", "/*rest", "/a b"] {
        let board = Board { telemetry_path: path.to_owned(), ..board(Snapshot::default()) };
        assert!(matches!(router(board), Err(Error::TelemetryPath(_))), "{path}");
    }
}

impl Served {
    /// What ends with its connection is counted a moment after the client has read all.
    pub(super) fn refuses(&self, reason: &str, times: u64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.refused(reason) != times {
            assert!(Instant::now() < deadline, "{reason}: {}", self.refused(reason));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn refused(&self, reason: &str) -> u64 {
        self.counts.refused().find(|(refusal, _)| refusal.as_str() == reason).unwrap().1
    }

    /// The next record that is to be logged, as peer, event, user and reason.
    pub(super) fn logged(&mut self) -> String {
        let Some(Work::Log(entries)) = self.logged.blocking_recv() else { panic!("nothing is logged") };
        let entries = entries.into_iter().map(|entry| match entry {
            crate::event_log::Entry::Visit(visit) => {
                let detail = visit.detail.map(|detail| format!(" {detail}")).unwrap_or_default();
                format!("{} {} {:?} {:?}{detail}", visit.event, visit.peer, visit.user, visit.why)
            }
            crate::event_log::Entry::WebConfig(news) => {
                format!("web_config {} {:?}", news.changes.join(", "), news.why)
            }
            _ => panic!("neither a visit nor a file"),
        });
        entries.collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn a_peer_from_elsewhere_is_not_even_read() {
    let allow = vec!["10.0.0.0/8".parse().unwrap()];
    let mut server = start(fixture(), Rules { allow, ..rules() }, Security::new(None));
    let mut stream = server.connect();
    // It may be reset before all is written.
    let asked = stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(asked.and_then(|()| stream.read(&mut [0])).unwrap_or_default(), 0);
    server.refuses("network", 1);
    assert_eq!(server.logged(), "refused 127.0.0.1 None Some(\"network\")");
    let allow = vec!["127.0.0.0/30".parse().unwrap()];
    assert_eq!(start(fixture(), Rules { allow, ..rules() }, Security::new(None)).ask("GET", "/").0, 200);
}

#[test]
fn every_refusal_of_a_kind_reads_the_same() {
    let server = served(fixture());
    for (method, path, status, body) in [
        ("GET", "/nothing", 404, "404 Not Found\n"),
        ("GET", "/api/v1", 404, "404 Not Found\n"),
        ("POST", "/metrics", 405, "405 Method Not Allowed\n"),
        ("PUT", "/nothing", 405, "405 Method Not Allowed\n"),
        ("BREW", "/", 405, "405 Method Not Allowed\n"),
    ] {
        let (got, head, told) = server.ask(method, path);
        assert_eq!((got, told.as_str()), (status, body), "{method} {path}");
        assert!(!head.contains("allow:"), "{head}");
    }
    assert_eq!(server.refused("method"), 3);
}

#[test]
fn a_head_has_so_many_lines() {
    let server = served(fixture());
    let with = |count| {
        let lines = "X: y\r\n".repeat(count);
        server.send(&format!("GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"))
    };
    assert!(with(60).starts_with("HTTP/1.1 200 "));
    assert!(with(70).starts_with("HTTP/1.1 431 "));
    server.refuses("large_head", 1);
    assert!(server.send("\x16\x03\x01\x02garbage\r\n\r\n").starts_with("HTTP/1.1 400 "));
    server.refuses("malformed", 1);
}

/// All of them wait for each other's end, and one that asks at once is answered at once.
#[test]
fn a_thousand_slow_heads_of_the_same_address_keep_nobody_waiting() {
    let server = served(fixture());
    let mut slow = Vec::new();
    for round in 0..1000 {
        let mut stream = server.connect();
        stream.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
        slow.push(stream);
        // Descriptors are shared with all other tests.
        if slow.len() > 100 {
            slow.remove(0);
        }
        if round % 50 == 0 {
            assert_eq!(server.ask("GET", "/metrics").0, 200, "{round}");
        }
    }
    assert!(server.refused("peer") > 900, "{}", server.refused("peer"));
    assert_eq!(server.refused("crowded"), 0);
}

/// It asks for more than the kernel holds, and takes nothing.
#[test]
fn who_does_not_read_is_cut_off() {
    let mut snapshot = fixture();
    let pass = snapshot.judged.as_deref().unwrap();
    let mut inventory = inventory::Inventory::clone(&pass.inventory);
    while inventory.listeners.len() < 20_000 {
        inventory.listeners.extend_from_within(..);
    }
    let judged = crate::snapshot::JudgedPass {
        inventory: inventory.into(),
        documents: Default::default(),
        ..pass.clone()
    };
    snapshot.judged = Some(judged.into());
    let server = served(snapshot);
    let mut lazy = server.connect();
    lazy.write_all(b"GET /api/v1/listeners HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    lazy.read_exact(&mut [0; 9]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while server.refused("stalled") == 0 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.ask("GET", "/-/healthy").0, 200);
}

#[test]
fn what_is_refused_for_its_method_is_logged_too() {
    let mut server = served(fixture());
    assert_eq!(server.ask("POST", "/metrics").0, 405);
    assert_eq!(server.logged(), "refused 127.0.0.1 None Some(\"method\")");
}

/// All of them wait already when the first is accepted.
#[test]
fn whoever_has_asked_is_heard_before_the_next_comes_in() {
    let (hand, given) = std::sync::mpsc::channel();
    let crowd = move |address| {
        let connect = |number| {
            let mut stream = TcpStream::connect(address).unwrap();
            let end = if number == 5 { "\r\n" } else { "" };
            stream
                .write_all(format!("GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n{end}").as_bytes())
                .unwrap();
            stream
        };
        hand.send((0..60).map(connect).collect::<Vec<_>>()).unwrap();
    };
    let _server = start_after(fixture(), rules(), Security::new(None), crowd);
    let mut answer = String::new();
    given.recv().unwrap()[5].read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
