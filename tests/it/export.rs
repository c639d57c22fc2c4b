//! Logs on their way to real daemons of syslog and to journald.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::world::{Host, Running, Serve, eventually, installed, skip};

/// The receiver goes away and comes back while people act.
#[test]
fn rsyslog_has_every_record_although_it_was_away() {
    if !installed(&["rsyslogd"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let socket = host.path("log/devlog");
    rsyslog_listens_by(&host, "imtcp", "");
    exports(&host, "syslog+tcp://127.0.0.1:6514", "");
    host.write(
        "etc/portledger.toml",
        fs::read_to_string(host.path("etc/portledger.toml")).unwrap()
            + &format!("[[export]]\nname = \"local\"\nto = \"syslog://{}\"\n", socket.display()),
    );
    host.learn();
    let rsyslog = start_rsyslog(&host);
    let serve = host.serve();
    approves(&host, 8001);
    all_arrive(&host, "by-tcp");
    all_arrive(&host, "by-socket");
    rsyslog.kill();
    eventually("it is noticed", || is(&serve, "connected", "siem", 0.0));
    approves(&host, 8002);
    eventually("its lag is known", || serve.metric(&series("lag_records", "siem")).filter(|lag| *lag > 0.0));
    let _rsyslog = start_rsyslog(&host);
    all_arrive(&host, "by-tcp");
    all_arrive(&host, "by-socket");
    eventually("all of it is known to have arrived", || is(&serve, "lag_records", "siem", 0.0));
    eventually("there too", || is(&serve, "lag_records", "local", 0.0));
    assert!(is(&serve, "missed_total", "siem", 0.0).is_some());
}

/// Where it ended is kept: who starts again tells what came meanwhile, and nothing twice that had arrived.
#[test]
fn a_restart_goes_on_where_it_ended() {
    if !installed(&["rsyslogd"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    rsyslog_listens_by(&host, "imtcp", "");
    exports(&host, "syslog+tcp://127.0.0.1:6514", "");
    let _rsyslog = start_rsyslog(&host);
    host.learn();
    let serve = host.serve();
    all_arrive(&host, "by-tcp");
    eventually("it is known to have arrived", || is(&serve, "lag_records", "siem", 0.0));
    eventually("and kept", || fs::read(host.path("state/export-siem.json")).ok());
    // What is kept is written at most a second later.
    let kept = || {
        let text = fs::read_to_string(host.path("state/export-siem.json")).unwrap();
        let kept: Value = serde_json::from_str(&text).unwrap();
        kept["ledger"]["after"]["record"].as_u64()
    };
    eventually("all of it", || (kept() == Some(records_of(&host, "ledger").len() as u64)).then_some(()));
    serve.running.kill();
    approves(&host, 8001);
    let _serve = host.serve();
    all_arrive(&host, "by-tcp");
    let received = fs::read_to_string(host.path("log/by-tcp")).unwrap();
    let (first, _) = &records_of(&host, "ledger")[0];
    assert_eq!(received.matches(&format!("hash=\"{first}\"")).count(), 1, "{received}");
}

#[test]
fn rsyslog_takes_them_over_tls() {
    if !installed(&["rsyslogd", "openssl"]) {
        return;
    }
    let modules =
        ["/usr/lib/x86_64-linux-gnu/rsyslog", "/usr/lib/aarch64-linux-gnu/rsyslog", "/usr/lib64/rsyslog"];
    if !modules.iter().any(|folder| Path::new(folder).join("lmnsd_gtls.so").exists()) {
        return skip("rsyslog speaks no TLS (package rsyslog-gnutls)");
    }
    let Some(host) = Host::new() else { return };
    let etc = host.path("etc");
    let etc = etc.display();
    host.sh(&format!(
        "cd {etc}
         openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 3650 -subj /CN=ca 2>/dev/null
         for name in server client; do
             openssl req -newkey rsa:2048 -nodes -keyout $name.key -out $name.csr -subj /CN=$name 2>/dev/null
             printf 'subjectAltName=DNS:localhost\\n' >ext
             openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out $name.pem -days 3650 \\
                 -extfile ext 2>/dev/null
         done
         chmod 644 client.key"
    ));
    let driver = format!(
        "global(DefaultNetstreamDriver=\"gtls\" DefaultNetstreamDriverCAFile=\"{etc}/ca.pem\" \
         DefaultNetstreamDriverCertFile=\"{etc}/server.pem\" DefaultNetstreamDriverKeyFile=\"{etc}/server.key\")\n"
    );
    let module =
        "imtcp\" StreamDriver.Name=\"gtls\" StreamDriver.Mode=\"1\" StreamDriver.AuthMode=\"x509/certvalid";
    rsyslog_listens_by(&host, module, &driver);
    let files =
        format!("ca = \"{etc}/ca.pem\"\ncertificate = \"{etc}/client.pem\"\nkey = \"{etc}/client.key\"\n");
    exports(&host, "syslog+tls://localhost:6514", &files);
    host.learn();
    let _rsyslog = start_rsyslog(&host);
    let serve = host.serve();
    approves(&host, 8001);
    all_arrive(&host, "by-tcp");
    eventually("it is known to have arrived", || is(&serve, "lag_records", "siem", 0.0));
}

#[test]
fn journald_finds_them_by_field() {
    let journald = "/usr/lib/systemd/systemd-journald";
    if !Path::new(journald).exists() {
        return skip("systemd-journald is not installed (package systemd)");
    }
    if !installed(&["journalctl"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    host.sh(
        "mkdir -p /run/systemd/journal /run/log/journal; echo 0123456789abcdef0123456789abcdef >/run/machine-id
         touch /etc/machine-id; mount --bind /run/machine-id /etc/machine-id",
    );
    let mut command = host.command(journald);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _journald = Running::start(command);
    eventually("journald listens", || {
        host.sh("test -S /run/systemd/journal/socket && echo yes || true").contains("yes").then_some(())
    });
    exports(&host, "journald", "");
    host.learn();
    let _serve = host.serve();
    approves(&host, 8001);
    let query = "journalctl --sync; journalctl --directory /run/log/journal --all -o json SYSLOG_IDENTIFIER=portledger";
    for (hash, line) in records(&host) {
        let entry = eventually("journald has it", || {
            let told = host.sh(query);
            let entries = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            entries.into_iter().find(|entry| entry["PORTLEDGER_HASH"] == hash.as_str())
        });
        assert_eq!(entry["PORTLEDGER_JSON"], line.as_str(), "{entry}");
        let record: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(entry["PORTLEDGER_RECORD"].as_str().unwrap(), record["record"].to_string());
        assert_eq!(entry["_TRANSPORT"], "journal");
    }
}

#[test]
fn what_cannot_be_exported_to_is_told_at_the_start() {
    let Some(host) = Host::new() else { return };
    for (to, more, told) in [
        ("syslog+udp://a:514", "", "[[export]] `siem`: `to` is syslog+tls://HOST:PORT"),
        ("syslog+tls://a:6514", "ca = \"/nowhere.pem\"\n", "/nowhere.pem cannot be read"),
        ("syslog+tls://a:6514", "ca = \"/etc/hostname\"\n", "/etc/hostname has no certificate in PEM"),
    ] {
        exports(&host, to, more);
        let ended = host.run(&["serve"]);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains(told), "{ended:?}");
    }
    // Root's private key is no key of the exporter's.
    host.sh(&format!(
        "cp {0}/portledger.toml {0}/key.pem; chmod 600 {0}/key.pem",
        host.path("etc").display()
    ));
    let key = host.path("etc/key.pem");
    exports(&host, "syslog+tls://a:6514", &format!("ca = \"{}\"\n", key.display()));
    let ended = host.run(&["serve"]);
    assert!(ended.stderr.contains("readable to the user that `portledger serve` runs as"), "{ended:?}");
}

fn exports(host: &Host, to: &str, more: &str) {
    let text = format!("[sensor]\ninterval = \"200ms\"\n[[export]]\nname = \"siem\"\nto = \"{to}\"\n{more}");
    host.write("etc/portledger.toml", text);
}

/// One that writes what comes in by TCP and by a local socket into a file each.
fn rsyslog_listens_by(host: &Host, module: &str, more: &str) {
    let log = host.path("log");
    let log = log.display();
    host.write(
        "etc/rsyslog.conf",
        format!(
            "global(workDirectory=\"{log}\" maxMessageSize=\"1m\")\n{more}\
             module(load=\"{module}\")\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             template(name=\"whole\" type=\"string\" string=\"%syslogseverity-text% %msgid% %structured-data% %msg%\\n\")\n\
             ruleset(name=\"tcp\") {{ action(type=\"omfile\" file=\"{log}/by-tcp\" template=\"whole\") }}\n\
             ruleset(name=\"socket\") {{ action(type=\"omfile\" file=\"{log}/by-socket\" template=\"whole\") }}\n\
             input(type=\"imtcp\" port=\"6514\" ruleset=\"tcp\")\n\
             input(type=\"imuxsock\" Socket=\"{log}/devlog\" UseSpecialParser=\"off\" ParseHostname=\"on\" ruleset=\"socket\")\n"
        ),
    );
}

fn start_rsyslog(host: &Host) -> Running {
    let log = fs::File::options().create(true).append(true).open(host.path("log/rsyslogd")).unwrap();
    let mut command = host.command("/usr/sbin/rsyslogd");
    command.arg("-n").arg("-f").arg(host.path("etc/rsyslog.conf"));
    command.arg("-i").arg(host.path("log/rsyslogd.pid"));
    host.sh(&format!("rm -f {}", host.path("log/rsyslogd.pid").display()));
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let rsyslog = Running::start(command);
    eventually("rsyslog listens", || host.within(|| TcpStream::connect(("127.0.0.1", 6514)).ok()).map(drop));
    rsyslog
}

/// An act of somebody, which is a record of the ledger.
fn approves(host: &Host, port: u16) {
    let listener = host.listen(&format!("tcp 0.0.0.0:{port}")).by("wanted");
    let drift = host.diff().find(port).expect("it drifts").id();
    let told = host.approve(&drift, "wanted ] \" \\ \u{e9}");
    assert_eq!(told.code, 0, "{told:?}");
    drop(listener);
}

/// What is recorded by now.
fn records(host: &Host) -> Vec<(String, String)> {
    ["ledger", "events", "reloads", "logins"].into_iter().flat_map(|log| records_of(host, log)).collect()
}

/// The records of a log with their hashes, as they stand there.
fn records_of(host: &Host, log: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(host.path(format!("state/{log}.jsonl"))).unwrap_or_default();
    // The last line may be on its way.
    let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    let hash = |line| Sha256::digest(line).iter().map(|byte| format!("{byte:02x}")).collect();
    lines.map(|line: &str| (hash(line), line.to_owned())).collect()
}

/// Waits until all that is recorded by now stands in a file of the receiver's, whole.
fn all_arrive(host: &Host, file: &str) {
    for (hash, line) in records(host) {
        eventually("a record arrives", || {
            let received = fs::read_to_string(host.path("log").join(file)).unwrap_or_default();
            received.lines().any(|told| told.contains(&hash) && told.ends_with(&line)).then_some(())
        });
    }
}

fn series(family: &str, receiver: &str) -> String {
    format!("portledger_export_{family}{{receiver=\"{receiver}\"}}")
}

fn is(serve: &Serve<'_>, family: &str, receiver: &str, value: f64) -> Option<()> {
    (serve.metric(&series(family, receiver)) == Some(value)).then_some(())
}
