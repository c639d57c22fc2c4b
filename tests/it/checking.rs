//! `portledger check`: how the host stands, asked of the running daemon by a user without privileges.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::world::{Host, Told, eventually, finish, installed, send, within};

const NOBODY: u32 = 65_534;

/// As nobody; whatever it says, its first line alone is the verdict, and there is one.
fn check(host: &Host, arguments: &[&str]) -> Told {
    let words: Vec<&str> = std::iter::once("check").chain(arguments.iter().copied()).collect();
    let began = Instant::now();
    let told = finish(host.portledger_as(NOBODY, &words));
    let took = began.elapsed().as_secs_f64();
    let states = ["OK", "WARNING", "CRITICAL", "UNKNOWN"];
    let state = usize::try_from(told.code).ok().and_then(|code| states.get(code));
    let state = state.unwrap_or_else(|| panic!("{told:?}"));
    if !arguments.contains(&"json") {
        assert!(told.stdout.starts_with(&format!("PORTLEDGER {state}: ")), "{told:?}");
        let verdicts = told.stdout.lines().filter(|line| line.starts_with("PORTLEDGER "));
        assert_eq!(verdicts.count(), 1, "{told:?}");
        let (first, details) = told.stdout.split_once('\n').unwrap();
        // Where the daemon was asked, how long that took is told at least.
        assert!(first.matches('|').count() <= 1 && !details.contains('|'), "{told:?}");
        match seconds(first) {
            Some(time) => assert!((0.0..took).contains(&time), "{took}: {told:?}"),
            None => assert!(first.contains(": error: "), "{told:?}"),
        }
    }
    told
}

/// How long it says among its figures that asking took.
pub(crate) fn seconds(figures: &str) -> Option<f64> {
    let (_, time) = figures.split_once("'time'=")?;
    let (time, _) = time.split_once("s;")?;
    Some(time.parse().unwrap_or_else(|error| panic!("{time}: {error}")))
}

#[track_caller]
fn says(told: &Told, code: i32, text: &str) {
    assert_eq!(told.code, code, "{told:?}");
    assert!(told.stdout.contains(text), "{text}: {told:?}");
}

#[test]
fn check_follows_what_drifts_and_what_is_approved() {
    if !installed(&["setpriv"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let told = check(&host, &[]);
    says(&told, 3, "/run/portledger/api.sock: no socket is there | 'time'=");
    says(&told, 3, "--socket");

    let serve = host.serve();
    serve.settles();
    says(&check(&host, &[]), 3, "no baseline is in force, so nothing is judged");
    host.learn();
    within(Duration::from_secs(30), "it learned", || (check(&host, &[]).code == 0).then_some(()));
    says(&check(&host, &[]), 0, "PORTLEDGER OK: no drift; sensor heard of ");

    let nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let drift = eventually("it drifts", || serve.drifts().find(8080)).id();
    let told = check(&host, &[]);
    let program = nc.program.display();
    let first =
        format!("PORTLEDGER CRITICAL: 1 critical drift: unapproved tcp *:8080 {program}; sensor heard of ");
    assert!(told.stdout.starts_with(&first), "{first}: {told:?}");
    says(&told, 2, &format!("\n  id       {drift}\n"));
    says(&told, 2, "\n  held by  ");
    let told = check(&host, &["--format", "json"]);
    let document: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((told.code, &document["state"], &document["exit"]), (2, &"critical".into(), &2.into()));
    assert_eq!(document["drifts"][0]["id"], drift.as_str());
    assert_eq!(document["status"]["drifts"]["critical"]["open"], 1, "{document:#}");

    // What is gone pages on, until somebody lets it be.
    nc.ends();
    eventually("it is gone", || serve.drifts().find(8080).filter(|row| row.get("state") == "gone"));
    says(&check(&host, &[]), 2, "PORTLEDGER CRITICAL: 1 critical drift (1 gone): ");
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    eventually("it is back", || serve.drifts().find(8080).filter(|row| row.get("state") == "present"));
    assert_eq!(host.approve(&drift, "wanted").code, 0);
    within(Duration::from_secs(30), "it is approved", || (check(&host, &[]).code == 0).then_some(()));
}

#[test]
fn check_never_says_ok_where_nobody_looks() {
    if !installed(&["setpriv"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let serve = host.serve();
    serve.settles();
    host.learn();
    within(Duration::from_secs(30), "it learned", || (check(&host, &[]).code == 0).then_some(()));
    send(serve.sensor(), Signal::STOP);
    within(Duration::from_secs(60), "the sensor is missed", || (check(&host, &[]).code != 0).then_some(()));
    let told = check(&host, &[]);
    says(&told, 3, "PORTLEDGER UNKNOWN: the daemon is not ready: the sensor was last heard of ");
    says(&told, 3, "; last known: no drift | 'age'=");
    send(serve.sensor(), Signal::CONT);
    eventually("it is heard again", || (check(&host, &[]).code == 0).then_some(()));

    serve.running.kill();
    says(&check(&host, &[]), 3, "\n`portledger serve` has ended");
}

#[test]
fn check_takes_wrong_arguments_and_help_for_no_verdict() {
    let Some(host) = Host::new() else { return };
    for (words, code) in [
        (&["check", "--nonsense\nPORTLEDGER OK: x"][..], 3),
        (&["check", "--socket"], 3),
        (&["--state", "/x", "check", "--help"], 3),
        (&["baseline", "check", "--nonsense"], 2),
        (&["list", "--help"], 0),
    ] {
        let told = host.run(words);
        assert_eq!(told.code, code, "{words:?}: {told:?}");
        assert!(!told.stdout.starts_with("PORTLEDGER OK"), "{told:?}");
    }
    assert!(host.run(&["check", "--nonsense"]).stdout.starts_with("PORTLEDGER UNKNOWN: error: "));
}

/// Names that want to be a line, figures or a command of their own.
const NAMES: [&str; 3] = ["a\nPORTLEDGER OK: no drift", "b|drift=0;1;2", "c\r\x1b[2J\u{202e}d"];

#[test]
fn no_name_breaks_out_of_the_line() {
    if !installed(&["setpriv"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    host.learn();
    let serve = host.serve();
    let mut puppets = Vec::new();
    for (place, name) in NAMES.into_iter().enumerate() {
        puppets.push(host.listen(&format!("tcp 0.0.0.0:{}", 7000 + place)).by(name));
        eventually("it drifts", || serve.drifts().find(u16::try_from(7000 + place).unwrap()));
        let told = check(&host, &[]);
        assert_eq!(told.code, 2, "{told:?}");
        assert!(!told.stdout.contains(['\r', '\x1b', '\u{202e}']), "{told:?}");
    }
}

/// A daemon that reads what it is asked and then does as `answers` says; its socket is open to all.
fn impostor(host: &Host, name: &str, answers: impl Fn(&str, &mut dyn Write) + Send + 'static) -> PathBuf {
    let path = host.path(name);
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = [0; 4096];
            if let Ok(length) = stream.read(&mut request) {
                answers(&String::from_utf8_lossy(&request[..length]), &mut stream);
            }
        }
    });
    path
}

fn answered(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn hundred_megabytes(stream: &mut dyn Write) {
    let head = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = ["100000\r\n", &"x".repeat(1 << 20), "\r\n"].concat();
    // It stops where nobody reads.
    let _sent = (0..100).fold(head, |sent, _| sent.and_then(|()| stream.write_all(chunk.as_bytes())));
}

/// Of a daemon that sees all, with one drift of this severity.
fn status(severity: &str) -> String {
    let mut status = serde_json::json!({
        "schema": 1, "host": "x", "now": "", "taken_at": "", "ready": true, "unready": null,
        "sensor": {"last_frame": "", "silent_seconds": 1}, "mode": "enforce",
        "baseline": {"revision": "1", "approvals": 1, "last_reload_successful": true},
        "coverage": {"may_hide_listeners": false, "may_hide_holders": false, "gaps": 0, "shares": {}, "events": "bpf"},
    });
    for each in ["critical", "warning", "info"] {
        status["drifts"][each] = serde_json::json!({"open": u8::from(each == severity), "gone": 0});
    }
    status.to_string()
}

#[test]
fn an_impostor_is_told_from_a_daemon() {
    if !installed(&["setpriv"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let ask = |path: &PathBuf| check(&host, &["--socket", path.to_str().unwrap()]);
    let sends = |name: &str, text: String| {
        ask(&impostor(&host, name, move |_, stream| stream.write_all(text.as_bytes()).unwrap_or_default()))
    };
    for (name, text, expected) in [
        (
            "other",
            answered("{\"schema\":1,\"ready\":true}"),
            "the answer to /api/v1/status is not understood",
        ),
        ("words", answered("all is\nwell"), "is not understood"),
        ("ssh", "SSH-2.0-OpenSSH_9.2\r\n".to_owned(), "/api/v1/status was not answered"),
        ("none", String::new(), "/api/v1/status was not answered"),
        (
            "half",
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".to_owned(),
            "/api/v1/status was not answered",
        ),
        (
            "old",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "does not know /api/v1/status",
        ),
        ("sick", "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_owned(), "was answered with 500"),
        ("deep", answered(&"[".repeat(60_000)), "is not understood"),
        ("head", format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(1 << 21)), "/api/v1/status was not answered"),
    ] {
        says(&sends(name, text), 3, expected);
    }
    says(
        &ask(&impostor(&host, "endless", |_, stream| hundred_megabytes(stream))),
        3,
        "larger than 64 KiB, and was not read",
    );
    for (name, severity, code) in [("huge-info", "info", 3), ("huge-critical", "critical", 2)] {
        let huge = impostor(&host, name, move |request, stream| match request.contains("/api/v1/status") {
            true => stream.write_all(answered(&status(severity)).as_bytes()).unwrap_or_default(),
            false => hundred_megabytes(stream),
        });
        says(&ask(&huge), code, "the answer to /api/v1/drift is larger than 16384 KiB, and was not read");
    }
    let closed = host.path("closed");
    std::fs::write(&closed, "").unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o600)).unwrap();
    says(&ask(&closed), 3, "this user may not connect");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o666)).unwrap();
    says(&ask(&closed), 3, "nobody listens there");
}

#[test]
fn a_silent_daemon_is_waited_for_in_vain() {
    if !installed(&["setpriv"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let silent = impostor(&host, "silent", |_, _| std::thread::sleep(Duration::from_secs(60)));
    let dripping = impostor(&host, "dripping", |_, stream| {
        let head = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n");
        let drip = |sent: std::io::Result<()>, _| {
            std::thread::sleep(Duration::from_millis(500));
            sent.and_then(|()| stream.write_all(b" "))
        };
        let _sent = (0..100).fold(head, drip);
    });
    for path in [silent, dripping] {
        let told = check(&host, &["--socket", path.to_str().unwrap()]);
        says(&told, 3, "no answer to /api/v1/status within 10 s | 'time'=");
        assert!(seconds(&told.stdout) >= Some(10.0), "{told:?}");
    }
}

#[test]
fn diff_of_a_user_says_that_ids_differ() {
    if !installed(&["setpriv"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let _sshd = host.listen("tcp 0.0.0.0:22").by("sshd");
    const HINT: &str = "use `sudo portledger diff`, or `portledger check`.\n";
    let told = finish(host.portledger_as(NOBODY, &["diff"]));
    assert_eq!(told.stderr.matches(HINT).count(), 1, "{told:?}");
    assert!(!host.run(&["diff"]).stderr.contains(HINT));
}
