//! Real programs of others: as listeners, in a container, and on the way to the pager.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::world::{Host, Running, copy, eventually, installed, within};

fn start(host: &Host, program: &str, arguments: &[&str]) -> Running {
    let name = Path::new(program).file_name().unwrap().to_str().unwrap();
    let log = fs::File::create(host.path(format!("log/{name}"))).unwrap();
    let mut command = host.command(program);
    command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    Running::start(command)
}

fn listens(host: &Host, port: u16) {
    eventually("it listens", || host.within(|| TcpStream::connect(("127.0.0.1", port)).ok()).map(drop));
}

fn start_sshd(host: &Host) -> Running {
    let key = host.path("etc/key");
    let key = key.to_str().unwrap();
    host.sh(&format!("test -e {key} || ssh-keygen -q -t ed25519 -N '' -f {key}"));
    start(host, "/usr/sbin/sshd", &["-D", "-e", "-f", "/dev/null", "-h", key, "-o", "PidFile=none"])
}

fn start_redis(host: &Host) -> Running {
    start(host, "/usr/bin/redis-server", &["--bind", "127.0.0.1", "--port", "6379", "--save", ""])
}

fn start_nginx(host: &Host) -> Running {
    let pid = host.path("log/nginx.pid");
    host.write(
        "etc/nginx.conf",
        format!(
            "user www-data; worker_processes 2; daemon off; pid {}; error_log stderr;\n\
             events {{}} http {{ access_log off; server {{ listen 80; listen [::]:80; }} }}",
            pid.display()
        ),
    );
    let conf = host.path("etc/nginx.conf");
    start(host, "/usr/sbin/nginx", &["-c", conf.to_str().unwrap()])
}

#[test]
fn real_daemons_are_listed_learned_and_judged() {
    if !installed(&["sshd", "ssh-keygen", "nginx", "redis-server"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let (_sshd, _redis, _nginx) = (start_sshd(&host), start_redis(&host), start_nginx(&host));
    for port in [22, 80, 6379] {
        listens(&host, port);
    }
    // nginx's workers come after its sockets.
    let web = eventually("nginx has its workers", || {
        let mut rows = host.list().all_on(80);
        rows.retain(|row| row.pids().len() == 3);
        (rows.len() == 2).then(|| rows.remove(0))
    });
    let users: Vec<_> =
        web.get("holders").as_array().unwrap().iter().map(|holder| holder["user"].clone()).collect();
    assert_eq!(users, ["root", "www-data", "www-data"]);
    web.has("holders/0/program", "/usr/sbin/nginx").has("holders/0/file", "host");
    let listing = host.list();
    for row in listing.all_on(22) {
        row.has("holders/0/program", "/usr/sbin/sshd").has("reach", "public");
    }
    listing.on(6379).has("reach", "loopback");

    host.learn();
    host.diff().is_clean();
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let drifts = host.diff();
    drifts.on(8080).shows("unapproved");
    for port in [22, 80, 6379] {
        drifts.nothing_on(port);
    }
}

#[test]
fn daemons_open_once_and_close_once() {
    if !installed(&["sshd", "ssh-keygen", "redis-server"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let serve = host.serve();
    for daemon in [start_sshd, start_redis] {
        let daemon = daemon(&host);
        eventually("it is listed", || [22, 6379].iter().find(|port| !serve.listeners_on(**port).is_empty()));
        daemon.signal(Signal::TERM);
        eventually("it is gone", || {
            [22, 6379].iter().all(|port| serve.listeners_on(*port).is_empty()).then_some(())
        });
    }
    // sshd listens on both families.
    for (port, sockets) in [(22, 2), (6379, 1)] {
        let close = eventually("its end is logged", || {
            let closed = serve.logged("close", port);
            (closed.len() >= sockets).then_some(closed)
        });
        assert_eq!((serve.logged("open", port).len(), close.len()), (sockets, sockets), "{port}");
    }
}

/// Its workers come and go; its sockets stay.
#[test]
fn a_reload_of_nginx_changes_who_holds_its_sockets_and_nothing_else() {
    if !installed(&["nginx"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let nginx = start_nginx(&host);
    let master = u64::from(nginx.inner());
    eventually("nginx has its workers", || {
        let rows = host.list().all_on(80);
        (rows.len() == 2 && rows.iter().all(|row| row.pids().len() == 3)).then_some(())
    });
    host.learn();
    let serve = host.serve();
    serve.settles();
    let (opened, closed) = serve.opened_and_closed();
    let mut before = serve.listeners_on(80).remove(0).pids();
    assert_eq!(before.len(), 3);
    for _ in 0..3 {
        nginx.signal(Signal::HUP);
        before = eventually("both sockets have the new workers", || {
            let rows = serve.listeners_on(80);
            let pids = rows.first()?.pids();
            let are_new = pids.iter().all(|pid| *pid == master || !before.contains(pid));
            let alike = rows.iter().all(|row| row.pids() == pids);
            (pids.len() == 3 && are_new && alike).then_some(pids)
        });
        serve.drifts().nothing_on(80);
    }
    assert_eq!(serve.opened_and_closed(), (opened, closed));
    assert!(serve.logged("open", 80).is_empty() && serve.logged("close", 80).is_empty());
    let log = serve.log();
    assert!(!log.contains("port 80 "), "{log}");
}

const PODMAN: &str = "podman --runtime /usr/sbin/runc --cgroup-manager=cgroupfs --events-backend=file";

/// The command that runs a container by the name of `shop`, which listens. A root folder with nothing but busybox is
/// container enough.
fn shop(host: &Host) -> String {
    let rootfs = host.path("rootfs");
    fs::create_dir_all(rootfs.join("bin")).unwrap();
    copy("/bin/busybox", rootfs.join("bin/nc"));
    // Podman's state stands where it always does, on a file system that is this host's alone.
    host.sh("mkdir -p /var/lib/containers && mount -t tmpfs none /var/lib/containers");
    format!(
        "{PODMAN} run -d --name shop --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 --network=none \
         --rootfs {} /bin/nc -ll -p 8080",
        rootfs.display()
    )
}

#[test]
fn a_container_that_starts_is_told_by_its_name_and_closes_when_it_is_removed() {
    if !installed(&["podman", "runc", "busybox"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    host.learn();
    let run = shop(&host);
    let serve = host.serve();
    if !serve.follows_events() {
        return;
    }
    // What Docker's proxy forwards from the host to it, said as the proxy is told; it is there first.
    let _proxy = host
        .listen("tcp 0.0.0.0:8888")
        .argument("-proto=tcp")
        .argument("-host-ip=0.0.0.0")
        .argument("-host-port=8888")
        .argument("-container-ip=127.0.0.1")
        .argument("-container-port=8080")
        .by("docker-proxy");
    eventually("the proxy is known", || serve.listeners_on(8888).pop());
    host.sh(&run);
    eventually("its opening is logged", || serve.logged("open", 8080).pop())
        .has("netns/kind", "container")
        .has("netns/name", "shop")
        .has("holders/0/workload/kind", "container")
        .has("holders/0/workload/name", "shop")
        // Published, and so judged.
        .has("verdict", "drift");
    let published = serve.listeners_on(8080).remove(0).get("published").to_string();
    assert!(published.contains("8888"), "{published}");
    host.sh(&format!("{PODMAN} rm -f -t 0 shop"));
    eventually("its end is logged", || serve.logged("close", 8080).pop());
    assert_eq!((serve.logged("open", 8080).len(), serve.logged("close", 8080).len()), (1, 1));
}

#[test]
fn a_container_is_named_and_not_judged() {
    if !installed(&["podman", "runc", "busybox"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let run = shop(&host);
    let id = host.sh(&run).trim().to_owned();
    let row = eventually("the container listens", || host.list().all_on(8080).pop());
    let ended = row.clone();
    row.has("netns/kind", "container")
        .has("netns/name", "shop")
        .has("holders/0/workload/kind", "container")
        .has("holders/0/workload/name", "shop")
        .has("holders/0/file", "foreign")
        .has("reach", "loopback")
        .has("verdict", "unjudged");
    assert!(!ended.get("service").to_string().contains(&id[..12]));
    host.learn();
    host.diff().is_clean();

    // Another container of the same name is the same service.
    host.sh(&format!("{PODMAN} rm -f -t 0 shop"));
    host.sh(&run);
    let again = eventually("the container listens again", || host.list().all_on(8080).pop());
    assert_eq!(again.get("service"), ended.get("service"));
    host.sh(&format!("{PODMAN} rm -f -t 0 shop"));
}

/// Where Alertmanager calls: a server of the story on the host's loopback.
pub(crate) struct Webhook {
    listener: TcpListener,
    pub(crate) port: u16,
}

impl Webhook {
    pub(crate) fn new(host: &Host) -> Self {
        let listener = host.within(|| TcpListener::bind("127.0.0.1:0").unwrap());
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        Webhook { listener, port }
    }

    /// The next call, if there is one.
    pub(crate) fn call(&self) -> Option<Value> {
        let (stream, _) = self.listener.accept().ok()?;
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut reader = BufReader::new(&stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            // Who calls may be killed in the middle.
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        // It was told all the same.
        let _taken =
            (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        Some(serde_json::from_slice(&body).unwrap())
    }

    /// The alerts of the first call that holds one of this kind about this drift.
    pub(crate) fn told(&self, status: &str, drift: &str) -> Vec<Value> {
        within(Duration::from_secs(60), &format!("{status} {drift}"), || {
            let call = self.call()?;
            let alerts = call["alerts"].as_array().unwrap().clone();
            let is_it = |alert: &Value| alert["status"] == status && alert["labels"]["drift"] == drift;
            alerts.iter().any(is_it).then_some(alerts)
        })
    }
}

pub(crate) const ALERTMANAGER: u16 = 9093;
/// What a story scrapes and how long it lets Alertmanager wait for more, where it has no reason for others.
const EXPORTER: &str = "127.0.0.1:10433";
pub(crate) const AT_ONCE: Duration = Duration::from_secs(2);

/// Runs our example configuration with the webhook of the test. It waits for more of what it has to tell before the first time,
/// and a second before each further one.
pub(crate) fn start_alertmanager(host: &Host, webhook: &Webhook, wait: Duration) -> Running {
    start_member(host, webhook, wait, "127.0.0.1", &["--cluster.listen-address="])
}

/// The same at another address of the host's loopback, with flags that say of which cluster it is.
pub(crate) fn start_member(
    host: &Host,
    webhook: &Webhook,
    wait: Duration,
    address: &str,
    flags: &[&str],
) -> Running {
    let example =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("monitoring/alertmanager.yml"))
            .unwrap();
    let url = format!("http://127.0.0.1:{}/", webhook.port);
    let config = example
        .replace("http://127.0.0.1:9/", &url)
        .replace("group_wait: 30s", &format!("group_wait: {}s", wait.as_secs()))
        .replace("group_interval: 5m", "group_interval: 1s");
    assert!(config.contains(&url) && config.contains("group_interval: 1s"), "{config}");
    host.write("etc/alertmanager.yml", config);
    let (file, data) = (host.path("etc/alertmanager.yml"), host.path(format!("alertmanager-{address}")));
    let own = [
        format!("--config.file={}", file.display()),
        format!("--storage.path={}", data.display()),
        format!("--web.listen-address={address}:{ALERTMANAGER}"),
    ];
    let flags: Vec<&str> = own.iter().map(String::as_str).chain(flags.iter().copied()).collect();
    let running = start(host, "prometheus-alertmanager", &flags);
    eventually("it listens", || host.within(|| TcpStream::connect((address, ALERTMANAGER)).ok()));
    running
}

pub(crate) fn start_prometheus(host: &Host, targets: &[&str]) -> Running {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("monitoring/rules");
    host.write(
        "etc/prometheus.yml",
        format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [\"{}/*.yml\"]\n\
             alerting: {{alertmanagers: [{{static_configs: [{{targets: [\"127.0.0.1:{ALERTMANAGER}\"]}}]}}]}}\n\
             scrape_configs: [{{job_name: portledger, static_configs: [{{targets: {targets:?}}}]}}]\n",
            rules.display()
        ),
    );
    let (file, data) = (host.path("etc/prometheus.yml"), host.path("prometheus"));
    let flags = [
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", data.display()),
        "--web.listen-address=127.0.0.1:9090".to_owned(),
    ];
    let running = start(host, "prometheus", &flags.each_ref().map(String::as_str));
    listens(host, 9090);
    running
}

#[test]
fn drift_reaches_the_pager_and_resolves_with_its_approval() {
    if !installed(&["prometheus", "prometheus-alertmanager"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let webhook = Webhook::new(&host);
    let _alertmanager = start_alertmanager(&host, &webhook, AT_ONCE);
    let _prometheus = start_prometheus(&host, &[EXPORTER]);
    host.learn();
    let serve = host.serve();
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let drift = eventually("it drifts", || serve.drifts().find(8080)).id();

    let alerts = webhook.told("firing", &drift);
    assert_eq!(alerts.len(), 1, "{alerts:#?}");
    let labels = &alerts[0]["labels"];
    assert_eq!(labels["alertname"], "PortledgerDrift");
    assert_eq!((&labels["severity"], &labels["kind"]), (&json!("critical"), &json!("unapproved")));
    assert_eq!(
        alerts[0]["annotations"]["summary"],
        "127.0.0.1: unapproved tcp/*:8080 open to everyone, nc as root"
    );
    let description = alerts[0]["annotations"]["description"].as_str().unwrap();
    assert!(
        description.contains("still there") && !description.contains("portledger approve"),
        "{description}"
    );

    assert_eq!(host.approve(&drift, "wanted").code, 0);
    webhook.told("resolved", &drift);
}

#[test]
fn what_listened_for_a_moment_reaches_the_pager() {
    if !installed(&["prometheus", "prometheus-alertmanager"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let webhook = Webhook::new(&host);
    let _alertmanager = start_alertmanager(&host, &webhook, AT_ONCE);
    let _prometheus = start_prometheus(&host, &[EXPORTER]);
    host.learn();
    let serve = host.serve();
    if !serve.follows_events() {
        return;
    }
    host.listen("tcp 0.0.0.0:8080").for_a_moment_by("mayfly");
    let drift = eventually("it drifts", || serve.drifts().find(8080)).id();
    let alerts = webhook.told("firing", &drift);
    assert_eq!(alerts[0]["labels"]["severity"], "critical");
    let description = alerts[0]["annotations"]["description"].as_str().unwrap();
    assert!(description.contains("gone by now"), "{description}");
    host.approves_by_hand(8080, "mayfly");
    serve.running.signal(Signal::HUP);
    webhook.told("resolved", &drift);
}

#[test]
fn silence_resolves_nothing_at_the_pager() {
    if !installed(&["prometheus", "prometheus-alertmanager"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let webhook = Webhook::new(&host);
    let _alertmanager = start_alertmanager(&host, &webhook, AT_ONCE);
    let _prometheus = start_prometheus(&host, &[EXPORTER]);
    host.learn();
    let serve = host.serve();
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let drift = eventually("it drifts", || serve.drifts().find(8080)).id();
    webhook.told("firing", &drift);
    serve.running.kill();
    let deadline = std::time::Instant::now() + Duration::from_secs(15);
    while std::time::Instant::now() < deadline {
        if let Some(call) = webhook.call() {
            let resolved =
                |alert: &Value| alert["status"] == "resolved" && alert["labels"]["drift"] == drift.as_str();
            assert!(!call["alerts"].as_array().unwrap().iter().any(resolved), "{call:#}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn three_hundred_hosts_with_one_drift_are_one_page() {
    if !installed(&["prometheus-alertmanager"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let webhook = Webhook::new(&host);
    let _alertmanager = start_alertmanager(&host, &webhook, AT_ONCE);
    let alerts: Vec<Value> = (0..300)
        .map(|n| {
            json!({"labels": {"alertname": "PortledgerDrift", "drift": "s1-0123456789ab", "severity": "critical",
                "instance": format!("host-{n}:10433"), "job": "portledger"}})
        })
        .collect();
    let body = Value::from(alerts).to_string();
    host.within(|| {
        let mut stream = TcpStream::connect(("127.0.0.1", ALERTMANAGER)).unwrap();
        let head =
            "POST /api/v2/alerts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close";
        write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    });
    assert_eq!(webhook.told("firing", "s1-0123456789ab").len(), 300);
    std::thread::sleep(Duration::from_secs(4));
    assert!(webhook.call().is_none(), "a second page");
}
