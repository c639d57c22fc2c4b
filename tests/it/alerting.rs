//! Alerts that `serve` posts itself: to a real Alertmanager, and to webhooks that are slow, away or picky.

use std::ffi::OsStr;
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::peers::{ALERTMANAGER, AT_ONCE, Webhook, start_alertmanager, start_member};
use crate::world::{ALICE, Host, Serve, certificates, eventually, installed, skip, within};

/// Says that `serve` posts, and to whom besides.
pub(crate) fn posts(host: &Host, receivers: &str) {
    let path = host.path("etc/portledger.toml");
    let before = std::fs::read_to_string(path).unwrap_or_default();
    host.write("etc/portledger.toml", format!("alerting = \"post\"\n{before}\n{receivers}"));
}

pub(crate) fn webhook(name: &str, port: u16) -> String {
    format!("[[webhook]]\nname = \"{name}\"\nurl = \"http://127.0.0.1:{port}/?token=secret\"\n")
}

/// Approves `serve` with what is there: where it was built below /tmp it alerts of itself.
pub(crate) fn learns(host: &Host) {
    let serve = host.serve();
    serve.settles();
    host.learn();
}

pub(crate) fn alertmanager(port: u16) -> String {
    format!("[[alertmanager]]\nname = \"am\"\nurl = \"http://127.0.0.1:{port}\"\n")
}

/// What a webhook is told next of a drift.
pub(crate) fn told(webhook: &Webhook, drift: &str) -> Value {
    within(Duration::from_secs(90), &format!("it is told of {drift}"), || {
        let call = webhook.call()?;
        call["alerts"].as_array().unwrap().iter().find(|alert| alert["id"] == drift).cloned()
    })
}

/// Nothing comes for so long.
pub(crate) fn is_quiet(webhook: &Webhook, time: Duration) {
    let deadline = Instant::now() + time;
    while Instant::now() < deadline {
        assert_eq!(webhook.call(), None);
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn drift_is_posted_once_and_resolved_with_its_approval() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let hook = Webhook::new(&host);
    // It takes connections and never answers.
    let hangs = host.within(|| TcpListener::bind("127.0.0.1:0").unwrap());
    let others = webhook("hangs", hangs.local_addr().unwrap().port()) + &webhook("away", 1);
    posts(&host, &(others + &webhook("hook", hook.port)));
    let serve = host.serve();
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let drift = eventually("it drifts", || serve.drifts().find(8080)).id();
    let fired = told(&hook, &drift);
    assert_eq!((&fired["status"], &fired["name"]), (&"firing".into(), &"PortledgerDrift".into()));
    assert!(fired["summary"].as_str().unwrap().contains("tcp/*:8080"), "{fired:#}");
    assert!(!fired["description"].as_str().unwrap().contains("portledger approve"), "{fired:#}");

    // Killed in the middle of it all, it tells nothing anew: at most the same again, by which a receiver knows it.
    serve.running.kill();
    let serve = host.serve();
    let deadline = Instant::now() + Duration::from_secs(5);
    eventually("it is known to be told", || {
        let call = hook.call().unwrap_or_default();
        for again in call["alerts"].as_array().into_iter().flatten().filter(|alert| alert["id"] == drift) {
            assert_eq!(*again, fired);
        }
        let pending = serve.metric("portledger_alerts_pending{receiver=\"hook\"}");
        (Instant::now() >= deadline && pending == Some(0.0)).then_some(())
    });
    assert_eq!(serve.metric("portledger_alerting_info{path=\"post\"}"), Some(1.0));
    assert!(serve.metric("portledger_alerts_pending{receiver=\"hangs\"}").unwrap() > 0.0);
    let document = serve.json("/api/v1/alerts");
    assert_eq!(document["receivers"].as_array().unwrap().len(), 3);
    assert!(!document.to_string().contains("secret"), "{document:#}");

    assert_eq!(host.approve(&drift, "wanted").code, 0);
    let over = eventually("its end is told", || Some(told(&hook, &drift)).filter(|again| *again != fired));
    assert_eq!((&over["status"], &over["why"]), (&"resolved".into(), &"approved".into()));
    assert_eq!(over["first_seen"], fired["first_seen"], "it is the same");
    assert!(over["summary"].as_str().unwrap().starts_with("approved: "), "{over:#}");
    assert!(over["seq"].as_u64() > fired["seq"].as_u64());
    let (status, page) = serve.get(&format!("/drift/{drift}"));
    assert!(status == 200 && page.contains("approved by root"), "{status} {page}");
    is_quiet(&hook, Duration::from_secs(3));
    let verified = host.does(&["audit", "--verify"]);
    assert!(verified.stdout.contains("alerts: "), "{verified:?}");
}

#[test]
fn what_is_overdue_is_posted_until_it_is_remedied() {
    let Some(host) = Host::new() else { return };
    learns(&host);
    let hook = Webhook::new(&host);
    let remedy = "[remedy]\ncritical = \"1s\"\nwarning = \"1s\"\n";
    posts(&host, &format!("{remedy}{}", webhook("hook", hook.port)));
    let serve = host.serve();
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let drift = eventually("it drifts", || serve.drifts().find(8080)).id();
    let severity = told(&hook, &drift)["severity"].clone();
    let id = format!("(overdue-{})", severity.as_str().unwrap());
    let late = told(&hook, &id);
    assert_eq!((&late["status"], &late["name"]), (&"firing".into(), &"PortledgerDriftOverdue".into()));
    assert_eq!(late["severity"], severity);
    assert_eq!(host.approve(&drift, "wanted").code, 0);
    let over = told(&hook, &id);
    assert_eq!((&over["status"], &over["why"]), (&"resolved".into(), &"remedied".into()));
    assert_eq!(over["first_seen"], late["first_seen"], "it is the same");
}

#[test]
fn a_real_alertmanager_that_was_away_is_told_once() {
    if !installed(&["prometheus-alertmanager"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    learns(&host);
    let hook = Webhook::new(&host);
    posts(&host, &alertmanager(ALERTMANAGER));
    let serve = host.serve();
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let drift = eventually("it drifts", || serve.drifts().find(8080)).id();
    eventually("it was tried", || {
        serve
            .metric("portledger_alerts_total{receiver=\"am\",outcome=\"failed\"}")
            .filter(|failed| *failed > 1.0)
    });
    let _alertmanager = start_alertmanager(&host, &hook, AT_ONCE);
    let alerts = hook.told("firing", &drift);
    assert_eq!(alerts.len(), 1, "{alerts:#?}");
    assert_eq!(alerts[0]["labels"]["alertname"], "PortledgerDrift");
    // A serve that is stopped resolves nothing.
    serve.running.signal(Signal::TERM);
    is_quiet(&hook, Duration::from_secs(10));
    let serve = host.serve();
    assert_eq!(host.approve(&drift, "wanted").code, 0);
    let over = hook.told("resolved", &drift);
    let description = over[0]["annotations"]["description"].as_str().unwrap();
    assert!(description.contains("approved"), "{description}");
    drop(serve);
}

/// What an Alertmanager has, asked with these words of curl.
pub(crate) fn held(host: &Host, curl: &str) -> Vec<Value> {
    let told = host.sh(&format!("curl -sS --fail --noproxy '*' --max-time 25 {curl}/api/v2/alerts"));
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"))
}

/// That of them about a drift.
pub(crate) fn about<'a>(alerts: &'a [Value], drift: &str) -> Option<&'a Value> {
    let found: Vec<&Value> = alerts.iter().filter(|alert| alert["labels"]["drift"] == drift).collect();
    assert!(found.len() <= 1, "{found:#?}");
    found.first().copied()
}

/// For so long no call tells anything of this drift.
pub(crate) fn is_paged_no_more(webhook: &Webhook, drift: &str, time: Duration) {
    let deadline = Instant::now() + time;
    while Instant::now() < deadline {
        if let Some(call) = webhook.call() {
            assert!(!call.to_string().contains(drift), "{call:#}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The example of docs/alerting.md, in this host's folder.
fn printed(host: &Host) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/alerting.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, after) = page.split_once("```toml\n").unwrap();
    let (example, _) = after.split_once("```").unwrap();
    example.replace("/etc/portledger", &host.path("etc").display().to_string())
}

/// A webhook on the port of https, which takes what has this token, a line each.
const PAGER: &str = r#"
import http.server, ssl
class Pager(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        taken = self.path == "/portledger" and self.headers["Authorization"] == "Bearer let-me-in"
        if taken:
            with open("FOLDER/log/pager", "ab") as file:
                file.write(body + b"\n")
        self.send_response(204 if taken else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *arguments):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 443), Pager)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("FOLDER/tls/pager.pem", "FOLDER/tls/pager.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

#[test]
fn a_cluster_is_told_as_the_example_says_and_pages_once() {
    const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
    if !installed(&["prometheus-alertmanager", "openssl", "curl", "python3"]) {
        return;
    }
    if !Path::new(BUNDLE).exists() {
        return skip("needs a bundle of those whom the system believes (package ca-certificates)");
    }
    let Some(host) = Host::new() else { return };
    certificates(&host);
    let folder = host.path("").display().to_string();
    let folder = folder.trim_end_matches('/');
    host.write(
        "etc/hosts",
        "127.0.0.1 localhost hooks.example.org am-a.example.org\n127.0.0.2 am-b.example.org\n",
    );
    host.sh(&format!(
        ". {folder}/tls/issue
         issue am-a am-a.example.org -1day +10year
         issue am-b am-b.example.org -1day +10year
         issue pager hooks.example.org -1day +10year
         cp ca.pem ../etc/am-ca.pem
         cp client.pem ../etc/web-17.pem
         cp client.key ../etc/web-17.key
         mount --bind ca.pem {BUNDLE}
         mount --bind ../etc/hosts /etc/hosts"
    ));
    host.write("etc/am-password", "secret\n");
    host.write("etc/hook-token", "let-me-in\n");
    let example = printed(&host);
    let (_, member) = example.split_once("[[alertmanager]]").unwrap();
    let (member, _) = member.split_once("[[webhook]]").unwrap();
    let other = format!("[[alertmanager]]{}", member.replace("am-a", "am-b"));
    let before = std::fs::read_to_string(host.path("etc/portledger.toml")).unwrap();
    host.write("etc/portledger.toml", format!("{example}\n{other}\n{before}"));

    let hook = Webhook::new(&host);
    let start = |name: &str, address: &str, peer: &str| {
        let login = ALICE.replace("alice", "portledger");
        let web = format!(
            "tls_server_config: {{cert_file: ../tls/{name}.pem, key_file: ../tls/{name}.key, client_ca_file: \
             ../tls/ca.pem, client_auth_type: RequireAndVerifyClientCert}}\nbasic_auth_users:\n  {login}\n"
        );
        host.write(&format!("web/{name}.yml"), web);
        let flags = [
            format!("--web.config.file={folder}/web/{name}.yml"),
            format!("--cluster.listen-address={address}:9094"),
            format!("--cluster.advertise-address={address}:9094"),
            format!("--cluster.peer={peer}:9094"),
            "--cluster.peer-timeout=3s".to_owned(),
        ];
        start_member(&host, &hook, AT_ONCE, address, &flags.each_ref().map(String::as_str))
    };
    let _one = start("am-a", "127.0.0.1", "127.0.0.2");
    let two = start("am-b", "127.0.0.2", "127.0.0.1");
    let _pager = host.python(&PAGER.replace("FOLDER", folder));
    let pager = || std::fs::read_to_string(host.path("log/pager")).unwrap_or_default();
    let curl =
        format!("--cacert {folder}/tls/ca.pem --cert {folder}/tls/client.pem --key {folder}/tls/client.key");
    let held_by = |name: &str| {
        held(&host, &format!("-u portledger:secret {curl} https://{name}.example.org:{ALERTMANAGER}"))
    };
    eventually("the pager listens", || host.within(|| TcpStream::connect(("127.0.0.1", 443)).ok()));
    let tried = host.run(&["alerts", "test"]);
    assert!(tried.code == 0 && tried.stdout.matches("taken by").count() == 3, "{tried:?}");
    host.learn();
    let serve = Serve::start(&host, &["--web.external-url", "https://web-17.example.org"]);

    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let drift = eventually("it drifts", || serve.drifts().find(8080)).id();
    for name in ["am-a", "am-b"] {
        let alert = eventually(name, || about(&held_by(name), &drift).cloned());
        assert_eq!(alert["generatorURL"], format!("https://web-17.example.org/drift/{drift}"));
        let runbook = "https://web-17.example.org/runbooks/PortledgerDrift";
        assert_eq!(alert["annotations"]["runbook_url"], runbook, "{alert:#}");
        assert_eq!(alert["labels"]["instance"], Host::NAME);
    }
    eventually("the pager has it", || pager().contains(&drift).then_some(()));
    assert!(pager().contains("https://web-17.example.org/runbooks/PortledgerDrift"), "{}", pager());
    hook.told("firing", &drift);
    is_paged_no_more(&hook, &drift, Duration::from_secs(8));

    // One of them is away for a while.
    two.kill();
    let _other = host.listen("tcp 0.0.0.0:8081").by("nc");
    let later = eventually("it drifts too", || serve.drifts().find(8081)).id();
    hook.told("firing", &later);
    eventually("what waits is known", || {
        serve.metric("portledger_alerts_pending{receiver=\"am-b\"}").filter(|pending| *pending > 0.0)
    });
    let _two = start("am-b", "127.0.0.2", "127.0.0.1");
    within(Duration::from_secs(120), "it is told of both", || {
        let alerts = held_by("am-b");
        (about(&alerts, &drift).is_some() && about(&alerts, &later).is_some()).then_some(())
    });
    for id in [&drift, &later] {
        is_paged_no_more(&hook, id, Duration::from_secs(4));
    }
    assert_eq!(pager().lines().filter(|line| line.contains(&later)).count(), 1, "{}", pager());
}

/// What programs can be called that would be a template, a tag, a label, a line, or read backwards.
const NAMES: [&[u8]; 6] =
    [b"a\",\"x\":\"y", b"two\nlines", b"{{ .Labels }}", b"x</script>", "\u{202e}cn".as_bytes(), b"\xff\xfe"];

#[test]
fn hostile_names_arrive_as_text() {
    if !installed(&["prometheus-alertmanager", "curl"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let hook = Webhook::new(&host);
    let _alertmanager = start_alertmanager(&host, &hook, AT_ONCE);
    host.learn();
    posts(&host, &alertmanager(ALERTMANAGER));
    let serve = host.serve();
    std::fs::create_dir(host.path("bin/x<")).unwrap();
    let puppets: Vec<_> = (7001..)
        .zip(NAMES)
        .map(|(port, name)| host.listen(&format!("tcp 0.0.0.0:{port}")).by(OsStr::from_bytes(name)))
        .collect();
    for puppet in &puppets {
        let drift = eventually("it drifts", || serve.drifts().find(puppet.port()));
        let held = || held(&host, &format!("http://127.0.0.1:{ALERTMANAGER}"));
        let alert = eventually("it arrives", || about(&held(), &drift.id()).cloned());
        let text = |key: &str| drift.get(key).as_str().unwrap().to_owned();
        let mut labels = json!({
            "alertname": "PortledgerDrift", "job": "portledger", "instance": Host::NAME, "drift": drift.id(),
            "kind": text("kind"), "severity": text("severity"), "protocol": text("protocol"),
            "address": text("address"), "port": drift.get("port").to_string(), "program": text("programs/0"),
            "user": text("users/0"), "netns": text("netns"), "reach": text("reach"),
        });
        if let Some(workload) = drift.get("workloads").get(0) {
            labels["workload"] = workload.clone();
        }
        assert_eq!(alert["labels"], labels);
        let annotations = &alert["annotations"];
        assert_eq!(
            (&annotations["summary"], &annotations["page"]),
            (drift.get("summary"), drift.get("page"))
        );
        assert_eq!(annotations.as_object().unwrap().len(), 3, "{annotations:#}");
        let description = annotations["description"].as_str().unwrap();
        let program = text("programs/0").replace(['<', '>'], "'").replace('"', r"\x22");
        assert!(
            description.trim_start_matches('"').starts_with(&program),
            "chats take it for text: {description}"
        );
        assert!(description.lines().count() <= 6 && !description.contains(['<', '>']), "{description}");
        let is_text = |letter: char| letter == '\n' || !(letter.is_control() || letter == '\u{202e}');
        assert!(description.chars().all(is_text), "{description:?}");
        assert!(text("programs/0").chars().all(is_text) && !text("programs/0").contains('\n'), "{drift:?}");
    }
}

#[test]
fn alerts_test_tells_of_each_receiver() {
    let Some(host) = Host::new() else { return };
    let told = host.run(&["alerts", "test"]);
    assert!(told.code == 2 && told.stderr.contains("rules alert"), "{told:?}");
    posts(&host, &webhook("away", 1));
    let told = host.run(&["alerts", "test"]);
    assert!(told.code == 2 && told.stderr.contains("away: not taken"), "{told:?}");
    assert!(!told.stderr.contains("secret"), "{told:?}");
    let told = host.run(&["alerts", "test", "--receiver", "nobody"]);
    assert!(told.code == 2 && told.stderr.contains("no receiver"), "{told:?}");
}
