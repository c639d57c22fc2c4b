//! Over real sockets on loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::*;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;
use crate::{Error, judge};

/// A server that lives as long as the tests do.
pub(super) struct Served {
    pub(super) address: SocketAddr,
}

fn board(snapshot: Snapshot) -> Board {
    let (_, snapshots) = watch::channel(snapshot);
    let metrics = Metrics::new(snapshots.clone(), true, std::time::SystemTime::now).unwrap();
    Board { snapshots, metrics, telemetry_path: "/metrics".to_owned() }
}

fn served(snapshot: Snapshot) -> Served {
    start(snapshot, Security::new(None))
}

/// A server that is secured so.
pub(super) fn served_by(security: Security) -> Served {
    start(fixture(), security)
}

fn start(snapshot: Snapshot, security: Security) -> Served {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listeners = bind(&[SocketAddr::from((Ipv4Addr::LOCALHOST, 0))]).await.unwrap();
            tell.send(listeners[0].local_addr().unwrap()).unwrap();
            serve(listeners, router(board(snapshot)).unwrap(), Arc::new(security)).await;
        });
    });
    Served { address: told.recv().unwrap() }
}

impl Served {
    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
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
fn waits_two_seconds_for_a_slow_head_and_serves_others_meanwhile() {
    let server = served(fixture());
    let began = Instant::now();
    let mut slow = server.connect();
    slow.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
    assert_eq!(server.ask("GET", "/-/healthy").0, 200);
    assert!(began.elapsed() < Duration::from_millis(1500));
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).unwrap();
    assert!(began.elapsed() < Duration::from_millis(4500), "{:?}", began.elapsed());
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
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
    let error = runtime.block_on(bind(&[server.address])).unwrap_err();
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
