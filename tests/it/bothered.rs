//! Who bothers the server: slow, huge, many, and those who may not ask.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use rustix::process::Signal;

use crate::world::{Host, Running, Serve, eventually, installed, within};

/// How often Prometheus could not scrape, and how often it did.
fn scrapes(host: &Host) -> Option<(f64, f64)> {
    let count = |query: &str| -> Option<f64> {
        let mut stream = host.within(|| TcpStream::connect(("127.0.0.1", 9090))).ok()?;
        let head =
            format!("GET /api/v1/query?query={query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        // Of a vector the value stands last, as text.
        let value = answer.split("\"value\":[").nth(1)?.split('"').nth(1)?;
        value.parse().ok()
    };
    // Parentheses and braces as they go into a query.
    let all = count("sum(count_over_time(up%5B1h%5D))")?;
    let good = count("sum(sum_over_time(up%5B1h%5D))")?;
    Some((all - good, good))
}

/// It scrapes as often as it does by custom, and waits as long, but as ten would, each at its own time.
fn start_prometheus(host: &Host) -> Running {
    let jobs = (0..10).map(|job| {
        format!("  - {{job_name: a{job}, static_configs: [{{targets: [\"127.0.0.1:{}\"]}}]}}\n", Serve::PORT)
    });
    let global = "global: {scrape_interval: 10s, scrape_timeout: 10s}\nscrape_configs:\n";
    host.write("etc/prometheus.yml", global.to_owned() + &jobs.collect::<String>());
    let log = std::fs::File::create(host.path("log/prometheus")).unwrap();
    let mut command = host.command("prometheus");
    command.arg(format!("--config.file={}", host.path("etc/prometheus.yml").display()));
    command.arg(format!("--storage.tsdb.path={}", host.path("prometheus").display()));
    command.args(["--web.listen-address=127.0.0.1:9090", "--log.level=debug"]).stderr(log);
    Running::start(command)
}

/// What Prometheus says of each.
fn failed_scrapes(host: &Host) -> Vec<String> {
    let log = std::fs::read_to_string(host.path("log/prometheus")).unwrap();
    log.lines().filter(|line| line.contains("Scrape failed")).map(str::to_owned).collect()
}

/// Connections that send a byte now and then, from the address that is named, and open again when they are cut.
const SLOW: &str = r#"
import socket, time
many = []
def connect():
    s = socket.socket()
    s.settimeout(1)
    try:
        s.bind((ADDRESS, 0)); s.connect(('127.0.0.1', 10433)); s.setblocking(False); s.send(b'GET /metrics HTTP/1.1\r\n')
        return s
    except OSError:
        s.close()
end = time.time() + 15
while time.time() < end:
    many += [s for s in (connect() for _ in range(1000 - len(many))) if s]
    alive = []
    for s in many:
        try:
            s.send(b'X')
            if s.recv(1) == b'': raise OSError
        except BlockingIOError:
            alive.append(s)
        except OSError:
            s.close()
    many = alive
    time.sleep(0.05)
"#;

#[test]
fn a_thousand_slow_connections_do_not_stop_a_scrape() {
    if !installed(&["prometheus", "python3"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let serve = host.serve();
    let prometheus = start_prometheus(&host);
    within(Duration::from_secs(60), "it is scraped", || scrapes(&host).filter(|(_, good)| *good > 2.0));
    let scraped_beside = |address: &str| {
        let (bad_before, good_before) = scrapes(&host).unwrap();
        let mut slow = host.python(&format!("ADDRESS = '{address}'\n{SLOW}"));
        within(Duration::from_secs(60), "the slow ones are done", || slow.entered.try_wait().unwrap());
        let (bad, good) = scrapes(&host).unwrap();
        assert!(good > good_before + 5.0, "{good_before} to {good}");
        (bad - bad_before, good - good_before)
    };
    let (failed, _) = scraped_beside("127.0.0.2");
    assert_eq!(failed, 0.0, "beside a stranger: {:#?}", failed_scrapes(&host));
    // Who is kept by a busy host from asking while sixteen come from the same address loses the seat to them.
    let (failed, good) = scraped_beside("127.0.0.1");
    assert!(failed * 6.0 <= good, "{good} good: {:#?}", failed_scrapes(&host));
    let cut = serve.metric("portledger_http_refused_total{reason=\"peer\"}").unwrap();
    assert!(cut > 1000.0, "{cut}");
    assert!(serve.metric("portledger_http_connections").unwrap() <= 17.0);
    prometheus.kill();
}

/// Strangers at a hundred addresses: some say nothing, the others ask over HTTP/2, take nothing, and ping.
const CROWD: &str = r#"
import asyncio, ssl, struct, time
end = time.time() + 30
def frame(kind, flags, stream, payload):
    return struct.pack('>I', len(payload))[1:] + bytes([kind, flags]) + struct.pack('>I', stream) + payload
tls = ssl.create_default_context(); tls.check_hostname = False; tls.verify_mode = ssl.CERT_NONE
tls.set_alpn_protocols(['h2'])
ask = b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + frame(4, 0, 0, struct.pack('>HI', 4, 0)) \
    + frame(1, 5, 1, b'\x82\x87\x84\x41\x01a')
async def read(r):
    try:
        while await r.read(4096): pass
    except OSError: pass
async def one(i):
    speaks = i <= 70
    while time.time() < end:
        try:
            r, w = await asyncio.open_connection('127.0.0.1', 10433, ssl=tls if speaks else None,
                local_addr=(f'127.0.5.{i}', 0))
            if speaks: w.write(ask)
            reading = asyncio.create_task(read(r))
            while not reading.done():
                await asyncio.wait([reading], timeout=0.4)
                if speaks: w.write(frame(6, 0, 0, b'whenever')); await w.drain()
            w.close()
        except OSError: pass
        await asyncio.sleep(0.3)
async def all(): await asyncio.gather(*[one(i) for i in range(1, 101)])
asyncio.run(all())
"#;

/// Asks ten times from each of two addresses, with what it sends 25 ms under way; ends with how often it was not answered.
const FAR: &str = r#"
import socket, ssl, sys, time
tls = ssl.create_default_context(); tls.check_hostname = False; tls.verify_mode = ssl.CERT_NONE
def scrape(address):
    s = socket.socket(); s.bind((address, 0)); s.settimeout(10); s.connect(('127.0.0.1', 10433))
    come, go = ssl.MemoryBIO(), ssl.MemoryBIO(); t = tls.wrap_bio(come, go)
    def exchange():
        time.sleep(0.025); s.sendall(go.read()); text = s.recv(65536)
        if not text: raise OSError('closed')
        come.write(text)
    while True:
        try: t.do_handshake(); break
        except ssl.SSLWantReadError: exchange()
    t.write(b'GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YWxpY2U6c2VjcmV0\r\n\r\n')
    while True:
        try: return t.read(99).startswith(b'HTTP/1.1 200')
        except ssl.SSLWantReadError: exchange()
failed = 0
for address in ['127.0.3.1', '127.0.9.9'] * 10:
    try: failed += not scrape(address)
    except OSError: failed += 1
sys.exit(failed)
"#;

#[test]
fn strangers_at_a_hundred_addresses_do_not_keep_out_who_was_let_in_before() {
    if !installed(&["openssl", "python3"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let web = host.path("web");
    host.sh(&format!(
        "mkdir {0} && cd {0} && chmod 755 . && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
             -keyout web.key -out web.pem -subj /CN=localhost 2>/dev/null && chmod 644 web.key",
        web.display()
    ));
    // `secret`, as libcrypt hashes it.
    let alice = "alice: $2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
    let yaml = format!(
        "tls_server_config: {{cert_file: web.pem, key_file: web.key}}\nbasic_auth_users: {{{alice}}}\n"
    );
    host.write("web/web.yml", yaml);
    let log = std::fs::File::create(host.path("log/serve")).unwrap();
    let file = web.join("web.yml");
    let mut command = host.portledger(&["serve", "--web.config.file", file.to_str().unwrap()]);
    command.stdout(log.try_clone().unwrap()).stderr(log);
    let serve = Running::start(command);
    eventually("it listens", || host.within(|| TcpStream::connect(("127.0.0.1", Serve::PORT)).ok()));
    let failures = |what: &str| {
        let mut far = host.python(FAR);
        within(Duration::from_secs(120), what, || far.entered.try_wait().unwrap()).code().unwrap()
    };
    assert_eq!(failures("it is scraped"), 0);
    let crowd = host.python(CROWD);
    std::thread::sleep(Duration::from_secs(3));
    let failed = failures("it is scraped beside a crowd");
    // What a busy host costs is not the crowd's doing.
    assert!(failed <= 2, "{failed} of 20");
    crowd.kill();
    serve.kill();
}

#[test]
fn a_request_of_a_gigabyte_costs_nothing() {
    let Some(host) = Host::new() else { return };
    let serve = host.serve();
    let before = serve.metric("process_resident_memory_bytes").unwrap();
    let sent = |head: &str| {
        host.within(|| {
            let mut stream = TcpStream::connect(("127.0.0.1", Serve::PORT)).unwrap();
            stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            let block = vec![b'x'; 1 << 20];
            (0..1024).take_while(|_| stream.write_all(&block).is_ok()).count()
        })
    };
    let body = "Host: x\r\nContent-Length: 1073741824\r\n\r\n";
    for head in
        [format!("GET /metrics HTTP/1.1\r\n{body}"), format!("POST / HTTP/1.1\r\n{body}"), "GET /".to_owned()]
    {
        assert!(sent(&head) < 64, "{head}");
    }
    for (reason, times) in [("body", 1.0), ("method", 1.0), ("large_head", 1.0)] {
        let series = format!("portledger_http_refused_total{{reason=\"{reason}\"}}");
        eventually(reason, || serve.metric(&series).filter(|count| *count == times));
    }
    let after = serve.metric("process_resident_memory_bytes").unwrap();
    assert!(after - before < 16e6, "{before} to {after}");
}

/// `curl`, as a user, over a Unix socket.
fn over_socket(host: &Host, path: &str, uid: u32, url: &str) -> Option<String> {
    let mut command = host.command("setpriv");
    command.args(["--reuid", &uid.to_string(), "--regid", &uid.to_string(), "--clear-groups", "--"]);
    command.args(["curl", "-sf", "--unix-socket", path, &format!("http://localhost{url}")]);
    let output = command.output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn users_of_the_host_ask_over_the_local_socket() {
    if !installed(&["curl", "setpriv"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let _secretive = host.listen("tcp 0.0.0.0:8080").argument("--level=precious").by("app");
    let serve = host.serve();
    eventually("it is listed", || serve.listeners_on(8080).pop());
    const API: &str = "/run/portledger/api.sock";
    let ask = |uid, url: &str| over_socket(&host, API, uid, url);
    let told = ask(0, "/api/v1/listeners").expect("root is answered");
    assert!(told.contains("--level=precious"), "{told}");
    let told = ask(1000, "/api/v1/listeners").expect("a user is answered");
    assert!(
        told.contains("8080") && !told.contains("precious") && !told.contains("\"arguments\":["),
        "{told}"
    );
    for url in ["/metrics", "/api/v1/drift", "/-/healthy", "/-/ready", "/"] {
        let told = ask(1000, url).unwrap_or_else(|| panic!("no answer for {url}"));
        assert!(!told.contains("precious"), "{url}: {told}");
    }
    // What a kill leaves is no hindrance.
    serve.running.kill();
    let serve = host.serve();
    assert!(ask(1000, "/-/healthy").is_some());
    serve.running.signal(Signal::TERM);
    eventually("it goes with its socket", || {
        host.sh(&format!("ls {API} 2>&1 || true")).contains("No such").then_some(())
    });
}

#[test]
fn a_socket_in_a_folder_serves_who_may_open_it() {
    if !installed(&["curl", "setpriv"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let folder = host.path("web");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let path = folder.join("web.sock");
    let address = format!("unix:{}", path.display());
    let port = format!("127.0.0.1:{}", Serve::PORT);
    // One that nobody listens on.
    drop(UnixListener::bind(&path).unwrap());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let flags = ["--web.listen-address", &address, "--web.listen-address", &port];
    let serve = Serve::start(&host, &flags);
    let meta = std::fs::metadata(&path).unwrap();
    assert_eq!(meta.mode() & 0o777, 0o660);
    assert_ne!(meta.uid(), 0);
    let path = path.to_str().unwrap();
    assert!(over_socket(&host, path, meta.uid(), "/metrics").is_some());
    assert!(over_socket(&host, path, 1000, "/metrics").is_none());
    let told = host.run(&[
        "serve",
        "--state",
        host.path("other").to_str().unwrap(),
        "--web.listen-address",
        &address,
    ]);
    assert_eq!(told.code, 2, "{told:?}");
    drop(serve);
}

/// As systemd-socket-activate(1) does it.
const ACTIVATE: &str = r#"
import os, socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', 10433)); s.listen(64)
os.dup2(s.fileno(), 3); os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES='portledger.socket')
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn sockets_of_systemd_are_served_on_and_not_handed_on() {
    if !installed(&["python3"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let wrapped = host.portledger(&["serve", "--web.systemd-socket"]);
    let mut command = host.command("python3");
    command.args(["-c", ACTIVATE]);
    // What stands behind `--` of nsenter.
    let words: Vec<_> = wrapped.get_args().skip_while(|word| *word != "--").skip(1).collect();
    command.args(words);
    let serve = Serve::run(&host, command);
    let sockets = |pid: u32| {
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let links = fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        links.filter_map(|link| link.to_str()?.strip_prefix("socket:").map(str::to_owned)).collect::<Vec<_>>()
    };
    let row = eventually("it knows itself", || serve.listeners_on(Serve::PORT).pop());
    let listening = format!("[{}]", row.get("inode"));
    assert!(sockets(serve.running.outer).contains(&listening));
    assert!(!sockets(serve.keeper()).contains(&listening) && !sockets(serve.sensor()).contains(&listening));
    drop(serve);
    let told = host.run(&["serve", "--web.systemd-socket"]);
    assert!(told.code == 2 && told.stderr.contains("systemd gave no socket"), "{told:?}");
}

#[test]
fn a_file_of_metrics_takes_the_place_of_a_port() {
    if !installed(&["promtool"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let folder = host.path("textfile");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let log = std::fs::File::create(host.path("log/serve")).unwrap();
    let mut command = host.portledger(&["serve", "--textfile", folder.to_str().unwrap()]);
    command.stdout(log.try_clone().unwrap()).stderr(log);
    let serve = Running::start(command);
    let path = folder.join("portledger.prom");
    let text = within(Duration::from_secs(60), "what listens is in the file", || {
        let text = std::fs::read_to_string(&path).ok()?;
        text.contains("portledger_coverage{scope=\"sockets\"} 1").then_some(text)
    });
    assert!(
        !text.contains("\nprocess_") && text.contains("\nportledger_textfile_written_timestamp_seconds ")
    );
    assert_eq!(host.sh("ss -Htulxn | grep -v '^u_dgr' || true"), "");
    host.sh(&format!("promtool check metrics < {}", path.display()));
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
    serve.kill();
    let told = host.run(&["serve", "--textfile", "/nowhere"]);
    assert!(told.code == 2 && told.stderr.contains("--textfile"), "{told:?}");
}

#[test]
fn it_tells_where_it_is_open_itself() {
    let Some(host) = Host::new() else { return };
    let port = Serve::PORT;
    let of = |serve: &Serve<'_>, endpoint: &str, reach: &str| {
        let series =
            format!("portledger_web_listener_exposed{{endpoint=\"{endpoint}:{port}\",reach=\"{reach}\"}}");
        eventually(&format!("it knows {reach}"), || serve.metric(&series))
    };
    let serve = host.serve();
    assert_eq!(of(&serve, "127.0.0.1", "loopback"), 0.0);
    assert!(!serve.log().contains("is open to other hosts"));
    drop(serve);
    let serve = Serve::start(&host, &["--web.listen-address", &format!("0.0.0.0:{port}")]);
    assert_eq!(of(&serve, "0.0.0.0", "public"), 1.0);
    assert!(serve.log().contains("0.0.0.0:10433 is open to other hosts"), "{}", serve.log());
}

#[test]
fn strangers_are_refused_and_logged_once() {
    let Some(host) = Host::new() else { return };
    host.write("etc/portledger.toml", "[sensor]\ninterval = \"200ms\"\n[web]\nallow = [\"127.0.0.0/8\"]\n");
    let serve = Serve::start(&host, &["--web.listen-address", &format!("[::]:{}", Serve::PORT)]);
    host.within(|| {
        for _ in 0..50 {
            let mut stream = TcpStream::connect((Host::PUBLIC, Serve::PORT)).unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap_or_default(), 0);
        }
    });
    assert_eq!(serve.metric("portledger_http_refused_total{reason=\"network\"}"), Some(50.0));
    let logged = || {
        let log = std::fs::read_to_string(host.path("state/logins.jsonl")).unwrap_or_default();
        // The last line may be on its way.
        log.split_inclusive('\n')
            .filter(|line| line.contains("\"event\":\"refused\"") && line.ends_with('\n'))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let lines = eventually("it is logged", || Some(logged()).filter(|lines| !lines.is_empty()));
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("\"peer\":\"203.0.113.10\",\"user\":null,\"why\":\"network\""), "{}", lines[0]);
    let told = serve.log().matches("was cut off: network").count();
    assert!((1..=50).contains(&told), "{told}");
}
