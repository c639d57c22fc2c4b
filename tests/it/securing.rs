//! The web configuration, against the programs that people use with it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::world::{ALICE, Host, Running, Secured, Serve, Told, certificates, eventually, finish, installed};

const WEB: &str = Secured::MUTUAL;

/// `serve` with the file; it is ready when it says where it serves, since not everybody is answered.
fn secured<'a>(host: &'a Host, yaml: &str) -> (Running, &'a Host) {
    host.sh(&format!("mkdir -p {}", host.path("web").display()));
    host.write("web/web.yml", yaml);
    let file = host.path("web/web.yml");
    let log = fs::File::create(host.path("log/serve")).unwrap();
    let mut command = host.portledger(&["serve", "--web.config.file", file.to_str().unwrap()]);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let running = Running::start(command);
    let connects = || host.within(|| TcpStream::connect(("127.0.0.1", Serve::PORT)).ok());
    eventually("it listens", connects);
    (running, host)
}

fn curl(host: &Host, client: &str, path: &str) -> Told {
    let mut curl = host.command("curl");
    let tls = |name: &str| host.path("tls").join(name).display().to_string();
    curl.args([
        "-sS",
        "--noproxy",
        "*",
        "-4",
        "--max-time",
        "20",
        "-u",
        "alice:secret",
        "--cacert",
        &tls("ca.pem"),
    ]);
    curl.args(["--cert", &tls(&format!("{client}.pem")), "--key", &tls(&format!("{client}.key"))]);
    curl.arg(format!("https://localhost:{}{path}", Serve::PORT));
    finish(curl)
}

fn metric(host: &Host, name: &str) -> Option<f64> {
    let told = curl(host, "client", "/metrics");
    let line = told.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

fn prometheus(host: &Host) -> Running {
    let (etc, tls) = (host.path("etc").display().to_string(), host.path("tls").display().to_string());
    host.write(
        "etc/prometheus.yml",
        format!(
            "global: {{scrape_interval: 1s}}\n\
             scrape_configs:\n\
             - job_name: portledger\n  \
               scheme: https\n  \
               basic_auth: {{username: alice, password: secret}}\n  \
               tls_config: {{ca_file: {tls}/ca.pem, cert_file: {tls}/client.pem, key_file: {tls}/client.key, server_name: localhost}}\n  \
               static_configs: [{{targets: ['127.0.0.1:{}']}}]\n",
            Serve::PORT
        ),
    );
    let log = fs::File::create(host.path("log/prometheus")).unwrap();
    let mut command = host.command("prometheus");
    command.arg(format!("--config.file={etc}/prometheus.yml"));
    command.arg(format!("--storage.tsdb.path={}", host.path("prometheus").display()));
    command.arg("--web.listen-address=127.0.0.1:9090");
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    Running::start(command)
}

#[test]
fn prometheus_scrapes_over_mutual_tls_with_a_password() {
    if !installed(&["openssl", "curl", "prometheus"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    certificates(&host);
    let (_serve, _) = secured(&host, &format!("{WEB}basic_auth_users: {{{ALICE}}}\n"));
    let _prometheus = prometheus(&host);
    eventually("its scrapes succeed", || {
        let ask = "http://127.0.0.1:9090/api/v1/query?query=up%7Bjob%3D%22portledger%22%7D";
        let mut curl = host.command("curl");
        curl.args(["-sS", "--noproxy", "*", ask]);
        finish(curl).stdout.contains(",\"1\"]").then_some(())
    });
    let refused = curl(&host, "stranger", "/metrics");
    assert!(refused.code != 0 && refused.stdout.is_empty(), "{refused:?}");
}

#[test]
fn a_certificate_is_replaced_and_a_broken_file_survived_while_running() {
    if !installed(&["openssl", "curl"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    certificates(&host);
    let web = format!("{WEB}basic_auth_users: {{{ALICE}}}\n");
    let (_serve, _) = secured(&host, &web);
    let shown = || {
        host.sh(&format!(
            "cd {}; openssl s_client -connect 127.0.0.1:{} -cert client.pem -key client.key </dev/null 2>/dev/null |
             openssl x509 -noout -subject",
            host.path("tls").display(),
            Serve::PORT
        ))
    };
    assert!(shown().contains("server"), "{}", shown());
    assert_eq!(metric(&host, "portledger_web_config_last_reload_successful"), Some(1.0));
    assert!(metric(&host, "portledger_web_certificate_expiry_timestamp_seconds").unwrap() > 1.9e9);

    host.sh(&format!(
        "cd {}; cp renewed.key server.key; cp renewed.pem server.pem",
        host.path("tls").display()
    ));
    assert!(shown().contains("renewed"), "{}", shown());

    host.write("web/web.yml", "tls_server_config: [");
    assert_eq!(metric(&host, "portledger_web_config_last_reload_successful"), Some(0.0));
    assert_eq!(metric(&host, "portledger_web_config_last_reload_successful"), Some(0.0));
    let log = fs::read_to_string(host.path("log/serve")).unwrap();
    assert_eq!(log.matches("stays in force as it was read before").count(), 1, "it is said once: {log}");
    host.write("web/web.yml", &web);
    assert_eq!(metric(&host, "portledger_web_config_last_reload_successful"), Some(1.0));
}

#[test]
fn a_file_that_its_user_cannot_read_is_told_with_what_it_needs() {
    let Some(host) = Host::new() else { return };
    host.write("etc/web.yml", "");
    let file = host.path("etc/web.yml");
    host.sh(&format!("chmod 600 {}", file.display()));
    let told = host.run(&["serve", "--web.config.file", file.to_str().unwrap()]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.stderr.contains("chown root:portledger") && told.stderr.contains("web.yml"), "{told:?}");
}

/// What starts there starts here, and what is refused there is refused here.
#[test]
fn node_exporter_takes_and_refuses_the_same_files() {
    if !installed(&["openssl", "prometheus-node-exporter"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    certificates(&host);
    host.sh(&format!("cp {}/* {}", host.path("tls").display(), host.path("web").display()));
    let pair = "tls_server_config: {cert_file: server.pem, key_file: server.key";
    for (yaml, starts) in [
        (String::new(), true),
        (format!("{pair}}}"), true),
        (format!("{pair}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem}}"), true),
        (format!("basic_auth_users: {{{ALICE}}}"), true),
        (format!("{pair}, client_ca_file: ca.pem}}"), false),
        (format!("{pair}, cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]}}"), false),
        (format!("{pair}, curve_preferences: [CurveP257]}}"), false),
        ("tls_server_config: {cert_file: server.pem}".to_owned(), false),
        ("basic_auth_users: {john: doe}".to_owned(), false),
        ("http_server_config: {headers: {Content-Type: x}}".to_owned(), false),
        ("invented: 1".to_owned(), false),
    ] {
        host.write("web/web.yml", &yaml);
        let file = host.path("web/web.yml").display().to_string();
        let theirs = ["--web.listen-address=127.0.0.1:9100", "--web.config.file", &file];
        let ours = ["serve", "--web.config.file", &file];
        let mut exporter = host.command("prometheus-node-exporter");
        exporter.args(theirs);
        assert_eq!(answers(&host, exporter, 9100), starts, "theirs: {yaml}");
        assert_eq!(answers(&host, host.portledger(&ours), Serve::PORT), starts, "ours: {yaml}");
    }
}

/// Whether it comes to answer, rather than to end: some listen before they read their file.
fn answers(host: &Host, mut command: Command, port: u16) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let says_something = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        stream.read_exact(&mut [0]).ok()
    };
    let answers = eventually("it answers or ends", || match child.try_wait().unwrap() {
        Some(_) => Some(false),
        None => host.within(says_something).map(|()| true),
    });
    if answers {
        host.sh(&format!("kill -KILL $(ss -Hltnp 'sport = :{port}' | sed 's/.*pid=\\([0-9]*\\),.*/\\1/')"));
    }
    child.wait().unwrap();
    eventually("the port is free", || {
        host.within(|| TcpStream::connect(("127.0.0.1", port)).is_err()).then_some(())
    });
    answers
}
