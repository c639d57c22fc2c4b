//! Whoever guesses passwords beside somebody who knows one, and what the logs keep of it.

use std::fs;
use std::net::TcpStream;
use std::process::Stdio;

use rustix::process::Signal;

use crate::world::{self, Host, Running, Serve, eventually, installed};

/// `secret`, as libcrypt hashes it.
const SECRET: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
/// `alice:secret` and `eve:secret`.
const ALICE: &str = "YWxpY2U6c2VjcmV0";
const EVE: &str = "ZXZlOnNlY3JldA==";

fn start(host: &Host, flags: &[&str]) -> Running {
    let log = fs::File::create(host.path("log/serve")).unwrap();
    let file = host.path("web/web.yml").display().to_string();
    let mut command = host.portledger(&[&["serve", "--web.config.file", &file], flags].concat());
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let running = Running::start(command);
    eventually("it listens", || host.within(|| TcpStream::connect(("127.0.0.1", Serve::PORT)).ok()));
    running
}

/// The file with these users, each of whom has the same password.
fn users(host: &Host, names: &[&str]) {
    host.sh(&format!("mkdir -p {}", host.path("web").display()));
    let each: Vec<String> = names.iter().map(|name| format!("{name}: {SECRET}")).collect();
    // It is read at any moment.
    host.write("web/new.yml", format!("basic_auth_users: {{{}}}\n", each.join(", ")));
    fs::rename(host.path("web/new.yml"), host.path("web/web.yml")).unwrap();
}

/// The status that is answered; none where the connection is closed instead.
fn ask(host: &Host, method: &str, credentials: &str) -> Option<u16> {
    let head =
        format!("{method} /-/healthy HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {credentials}\r\n\r\n");
    world::ask(host, &head).ok().map(|(status, _)| status)
}

fn records(host: &Host, log: &str, event: &str) -> Vec<String> {
    let text = fs::read_to_string(host.path("state").join(log)).unwrap_or_default();
    let wanted = format!("\"event\":\"{event}\"");
    // The last line may be on its way.
    let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    lines.filter(|line| line.contains(&wanted)).map(str::to_owned).collect()
}

/// `x:y` and `alice:y`, each by four who begin again when they are answered or tired of waiting.
const GUESSES: &str = r#"
import base64, socket, threading
def guess(words):
    head = 'GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic %s\r\n\r\n' % base64.b64encode(words).decode()
    while True:
        try:
            s = socket.create_connection(('127.0.0.1', 10433), 3)
            s.sendall(head.encode())
            s.recv(99)
            s.close()
        except OSError:
            pass
for words in [b'x:y', b'alice:y'] * 4:
    threading.Thread(target=guess, args=(words,)).start()
"#;

#[test]
fn who_is_known_is_not_kept_out_by_guesses_from_the_same_address() {
    if !installed(&["python3"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    users(&host, &["alice"]);
    let mut serve = start(&host, &[]);
    assert_eq!(ask(&host, "GET", ALICE), Some(200));
    let guesses = host.python(GUESSES);
    let gathered = || records(&host, "logins.jsonl", "refused").pop();
    eventually("one is refused", gathered);
    for _ in 0..200 {
        assert_eq!(ask(&host, "GET", ALICE), Some(200));
    }
    assert_eq!(ask(&host, "DELETE", ALICE), Some(405));
    // Of those who are not known yet one comes in among them.
    users(&host, &["alice", "eve"]);
    eventually("eve comes in", || (ask(&host, "GET", EVE) == Some(200)).then_some(()));
    guesses.kill();
    // Chance may have had all turns go to one of the names.
    for wrong in ["eDp5", "YWxpY2U6eQ=="] {
        eventually("it is refused", || (ask(&host, "GET", wrong) == Some(401)).then_some(()));
    }
    serve.signal(Signal::TERM);
    assert_eq!(serve.ends_with(), Some(0));

    let refused = records(&host, "logins.jsonl", "refused");
    for told in
        ["\"user\":\"x\",\"why\":\"login\"", "\"user\":\"alice\",\"why\":\"login\"", "\"why\":\"method\""]
    {
        assert!(refused.iter().any(|line| line.contains(told)), "{told}: {refused:#?}");
    }
    let admitted = records(&host, "logins.jsonl", "admitted");
    assert!(admitted.len() == 2 && admitted[1].contains("\"user\":\"eve\""), "{admitted:#?}");
    let changes = records(&host, "reloads.jsonl", "web_config");
    assert!(changes[0].contains("\"changes\":[\"user alice added\"]"), "{changes:#?}");
    assert!(changes[1].contains("\"changes\":[\"user eve added\"]"), "{changes:#?}");
    assert!(!changes.concat().contains("$2y$"), "{changes:#?}");
    let log = fs::read_to_string(host.path("log/serve")).unwrap();
    assert!(log.contains("is in force: user eve added"), "{log}");
}

#[test]
fn what_is_named_for_nobody_is_told() {
    let Some(host) = Host::new() else { return };
    users(&host, &["prometheus"]);
    host.write("etc/portledger.toml", "[[web.role]]\nusers = ['prometeus']\nmay = ['metrics']\n");
    let port = Serve::PORT;
    let serve = start(&host, &["--web.listen-address", &format!("localhost:{port}")]);
    let log = || fs::read_to_string(host.path("log/serve")).unwrap();
    let says = "[[web.role]] names user `prometeus`, whom nobody can be";
    eventually("it is told", || log().contains(says).then_some(()));
    assert!(log().contains(&format!("serving on http://127.0.0.1:{port}/")), "{}", log());

    serve.kill();
    assert_eq!(log().matches(says).count(), 1, "{}", log());
    let told = host.run(&["serve", "--web.listen-address", "nowhere.invalid:1"]);
    assert!(told.code == 2 && told.stderr.contains("`nowhere.invalid` has no address"), "{told:?}");
    host.write("web/web.yml", "invented: 1");
    let file = host.path("web/web.yml").display().to_string();
    let told = host.run(&["serve", "--web.config.file", &file]);
    assert_eq!(told.code, 2, "{told:?}");
    assert_eq!(told.stderr.matches("unknown field").count(), 1, "{}", told.stderr);
}
