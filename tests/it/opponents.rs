//! Programs that are made to break servers or to see what they give away.

use std::process::{Command, Stdio};

use crate::world::{
    ALICE, Host, Running, Secured, Serve, certificates, eventually, finish, installed, within,
};

const ASK: &[u8] = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n";
const CLIENT: &str = "-cert client.pem -key client.key";

#[test]
fn openssl_gets_in_by_the_right_certificate_alone() {
    if !installed(&["openssl"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    certificates(&host);
    host.sh(&format!(
        ". {}; issue expired prometheus.example.net -2day -1day; issue early prometheus.example.net +1day +2day
         issue rival rival -1day +1year self; issue foreign prometheus.example.net -1day +1year rival",
        host.path("tls/issue").display()
    ));
    let mut serve = Secured::start(&host, Secured::MUTUAL);
    for version in ["-tls1_2", "-tls1_3"] {
        let told = serve.s_client(&format!("{version} {CLIENT}"), ASK);
        assert!(told.contains("HTTP/1.1 200 OK"), "{version}: {told}");
        for name in ["expired", "early", "foreign", "stranger"] {
            let told = serve.s_client(&format!("{version} -cert {name}.pem -key {name}.key"), ASK);
            assert!(!told.contains("HTTP/1.1 "), "{version} {name}: {told}");
        }
        let told = serve.s_client(version, ASK);
        assert!(!told.contains("HTTP/1.1 "), "{version} without: {told}");
    }
    let refused = || serve.metric("portledger_http_refused_total{reason=\"certificate\"}");
    eventually("all are counted", || refused().filter(|count| *count == 10.0));
    for why in [
        "the client's certificate has expired",
        "the client's certificate is not valid yet",
        "no authority that counts here vouches",
        "has none of client_allowed_sans",
        "the client showed no certificate",
    ] {
        let told = serve.log();
        assert!(
            told.lines().any(|line| line.contains("cut off: certificate") && line.contains(why)),
            "{why}: {told}"
        );
    }
    let of_certificate = |line: &String| line.contains("\"why\":\"certificate\"");
    serve.ends();
    let refusals = serve.refusals();
    assert!(refusals.iter().any(of_certificate), "{refusals:?}");
}

#[test]
fn openssl_finds_no_way_around_the_handshake() {
    if !installed(&["openssl", "python3"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    certificates(&host);
    let serve = Secured::start(&host, Secured::MUTUAL);
    let ask = |words: &str| serve.s_client(&format!("{CLIENT} {words}"), ASK);
    for old in ["-tls1", "-tls1_1"] {
        let told = ask(&format!("{old} -cipher ALL:@SECLEVEL=0"));
        assert!(told.contains("Cipher is (NONE)") && !told.contains("HTTP/1.1 "), "{old}: {told}");
    }
    for (protocol, told_of) in [("h2", "ALPN protocol: h2"), ("http/1.1", "ALPN protocol: http/1.1")] {
        let told = ask(&format!("-alpn {protocol}"));
        assert!(told.contains(told_of), "{protocol}: {told}");
    }
    let told = ask("-alpn gopher");
    assert!(!told.contains("HTTP/1.1 "), "{told}");
    let long = "a".repeat(250);
    for name in
        ["", "-noservername", "-servername ..", "-servername 127.0.0.1", &format!("-servername {long}")]
    {
        let told = ask(name);
        assert!(told.contains("HTTP/1.1 200 OK") || told.contains("alert"), "{name}: {told}");
    }
    // Nobody negotiates anew within a connection.
    let told = host.sh(&format!(
        "cd {}; (echo R; sleep 1; cat said) | timeout 20 openssl s_client {CLIENT} -tls1_2 -connect 127.0.0.1:{} 2>&1 || true",
        host.path("tls").display(),
        Serve::PORT
    ));
    assert!(told.contains("RENEGOTIATING") && !told.contains("HTTP/1.1 "), "{told}");
    let told = host.python(RAW).ends_with();
    assert_eq!(told, Some(0), "see what python3 wrote");
    assert!(ask("").contains("HTTP/1.1 200 OK"));
}

/// Handshakes that are not finished, and bytes that are no records: each ends with the server hanging up.
const RAW: &str = r#"
import os, socket, ssl
def connect():
    s = socket.create_connection(('127.0.0.1', 10433)); s.settimeout(25)
    return s
def ends(s):
    try:
        while s.recv(4096): pass
    except ConnectionError:
        pass
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
def hello():
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(into, out)
    try: tls.do_handshake()
    except ssl.SSLWantReadError: pass
    return out.read()
whole = hello()
for bytes in [b'', whole[:1], whole[:5], whole[:-1], whole, whole + whole, whole + os.urandom(5000), os.urandom(20000),
              b'GET / HTTP/1.1\r\n\r\n', b'\x16\x03\x01\xff\xff' + bytes(1000), b'\x15\x03\x03\x00\x02\x02\x28', b'\x80\x2e\x01\x03\x01']:
    s = connect()
    try: s.sendall(bytes)
    except ConnectionError: pass
    ends(s)
"#;

/// A session of before would skip the certificate, which another authority must vouch for now.
#[test]
fn no_session_outlives_the_authority_of_its_client() {
    if !installed(&["openssl"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    certificates(&host);
    let serve = Secured::start(&host, Secured::MUTUAL);
    let tls = host.path("tls");
    for version in ["tls1_2", "tls1_3"] {
        let told = serve.s_client(&format!("{CLIENT} -{version} -sess_out {version}.session"), ASK);
        assert!(told.contains("HTTP/1.1 200 OK"), "{told}");
        assert!(!told.contains("TLS session ticket:") && !told.contains("Max Early Data: 1"), "{told}");
        // Without a ticket and a number there is nothing to resume, and nothing that could be sent early.
        assert!(!tls.join(format!("{version}.session")).exists(), "{told}");
    }
    host.sh(&format!(
        ". {}/issue; mv client.pem old.pem; mv client.key old.key; issue ca ca -1day +1year self
         issue client prometheus.example.net -1day +1year",
        tls.display()
    ));
    assert!(serve.s_client(CLIENT, ASK).contains("HTTP/1.1 200 OK"));
    for version in ["tls1_2", "tls1_3"] {
        let told = serve.s_client(&format!("-{version} -cert old.pem -key old.key"), ASK);
        assert!(!told.contains("HTTP/1.1 "), "{version}: {told}");
    }
}

#[test]
fn an_authority_that_has_ended_vouches_for_nobody() {
    if !installed(&["openssl", "curl"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    certificates(&host);
    host.sh(&format!(
        ". {0}/issue; issue past past -2day -1day self; issue orphan prometheus.example.net -1day +1year past
         cat past.pem ca.pem >both.pem",
        host.path("tls").display()
    ));
    let serve = Secured::start(&host, &Secured::MUTUAL.replace("ca.pem", "both.pem"));
    let refused = serve.curl(Some("orphan"), &[], "/-/healthy");
    assert!(refused.code != 0 && refused.stdout.is_empty(), "{refused:?}");
    serve.says("the authority that vouches for it has ended");
    assert_eq!(serve.curl(Some("client"), &[], "/-/healthy").stdout, "healthy\n");
}

#[test]
fn certificates_end_while_it_runs() {
    if !installed(&["openssl", "curl"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    certificates(&host);
    let serve = Secured::start(&host, Secured::MUTUAL);
    serve.says(", until 20");
    let issue = host.path("tls/issue").display().to_string();
    // That of the client, of whom it is known why nobody answers it any more.
    within(std::time::Duration::from_secs(30), "it is answered while it lasts", || {
        host.sh(&format!(". {issue}; issue short prometheus.example.net -1day +4seconds"));
        (serve.curl(Some("short"), &[], "/-/healthy").code == 0).then_some(())
    });
    eventually("it is answered no more", || {
        (serve.curl(Some("short"), &[], "/-/healthy").code != 0).then_some(())
    });
    serve.says("was cut off: certificate: the client's certificate has expired");
    // Its own: scrapes that verify it fail, the log says why, and those that do not still tell.
    host.sh(&format!(". {issue}; issue server localhost -1day +3seconds"));
    serve.says("the certificate that HTTPS is served with ended at 20");
    let told = serve.curl(Some("client"), &[], "/-/healthy");
    assert!(told.code == 60 && told.stderr.contains("expired"), "{told:?}");
    serve.says(
        "was cut off: handshake: the client does not accept our certificate, it says CertificateExpired",
    );
    let told = serve.curl(Some("client"), &["-k"], "/metrics").stdout;
    let ends = told.lines().find_map(|line| {
        line.strip_prefix("portledger_web_certificate_expiry_timestamp_seconds ")?.parse::<f64>().ok()
    });
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(ends.is_some_and(|ends| ends <= now.as_secs_f64()), "{ends:?}");
    host.sh(&format!(". {issue}; cp renewed.key server.key; cp renewed.pem server.pem"));
    eventually("the new one is served", || {
        (serve.curl(Some("client"), &[], "/-/healthy").code == 0).then_some(())
    });
    assert_eq!(serve.log().matches("is served with ended at").count(), 1, "{}", serve.log());
}

#[test]
fn curl_is_told_nothing_but_the_status() {
    if !installed(&["openssl", "curl"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    certificates(&host);
    let users = Secured::MUTUAL.split("  client_ca_file").next().unwrap();
    let serve = Secured::start(&host, &format!("{users}basic_auth_users: {{{ALICE}}}\n"));
    let huge = format!("X: {}", "y".repeat(20_000));
    let long = format!("/{}", "a".repeat(20_000));
    let all = ["-o", "-", "-w", "%{http_code} %{http_version}"];
    let ask = |words: &[&str], path: &str| {
        let told = serve.curl(None, &[&all[..], words].concat(), path);
        told.stdout
    };
    for (words, path, told) in [
        (&["--http1.1"][..], "/-/healthy", "401 Unauthorized\n401 1.1"),
        (&["--http2"], "/-/healthy", "401 Unauthorized\n401 2"),
        (&[], "/-/ready", "401 Unauthorized\n401 2"),
        (&[], "/favicon.ico", "401 Unauthorized\n401 2"),
        (&[], "/metrics", "401 Unauthorized\n401 2"),
        (&["--path-as-is"], "/metrics/../api/v1/listeners", "401 Unauthorized\n401 2"),
        (&["-u", "alice:wrong"], "/metrics", "401 Unauthorized\n401 2"),
        (&["-u", "mallory:secret"], "/nothing", "401 Unauthorized\n401 2"),
        (&["--digest", "-u", "alice:secret"], "/metrics", "401 Unauthorized\n401 2"),
        (&["--http1.1", "-H", "Authorization: NTLM TlRMTVNTUAAB"], "/metrics", "401 Unauthorized\n401 1.1"),
        (&["-u", "alice:secret"], "/-/healthy", "healthy\n200 2"),
        (&["-u", "alice:secret"], "/favicon.ico", "404 Not Found\n404 2"),
        (&["-u", "alice:secret"], "/admin", "404 Not Found\n404 2"),
        (&["-u", "alice:secret", "--path-as-is"], "//metrics", "404 Not Found\n404 2"),
        (&["-u", "alice:secret", "--path-as-is"], "/metrics/..", "404 Not Found\n404 2"),
        (&["-u", "alice:secret", "--path-as-is"], "/%6detrics", "404 Not Found\n404 2"),
        (&["--http1.1", "-X", "TRACE"], "/", "401 Unauthorized\n401 1.1"),
        (&["--http1.1", "-X", "TRACE", "-u", "alice:secret"], "/", "405 Method Not Allowed\n405 1.1"),
        (
            &[
                "--http1.1",
                "-X",
                "POST",
                "-H",
                "Transfer-Encoding: chunked",
                "-H",
                "Content-Length: 4",
                "-d",
                "0\r\n\r\nGET /",
            ],
            "/",
            "401 Unauthorized\n401 1.1",
        ),
        (&["--http1.1", "-X", "GET", "-H", "Expect:", "-d", "x"], "/", "401 Unauthorized\n401 1.1"),
        (
            &["--http1.1", "-X", "GET", "-H", "Expect:", "-d", "x", "-u", "alice:secret"],
            "/",
            "413 Payload Too Large\n413 1.1",
        ),
        (&["--http1.1", "-H", &huge], "/", "431 1.1"),
        (&["--http1.1"], &long, "431 1.1"),
        (&["--http1.1", "-H", "Connection: Upgrade", "-H", "Upgrade: h2c"], "/", "401 Unauthorized\n401 1.1"),
    ] {
        let got = ask(words, path);
        assert!(
            got == told || words.contains(&&*huge) || path == long,
            "{words:?} {path:.40}: {got:?}, not {told:?}"
        );
    }
    let told = serve.curl(None, &["-i", "--http1.1"], "/-/healthy").stdout.to_lowercase();
    let (head, _) = told.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("server:") && !head.contains("portledger") && !head.contains("hyper"), "{head}");
    assert!(
        serve.metric("portledger_http_refused_total{reason=\"login\"}").is_some_and(|count| count >= 10.0)
    );
    assert!(serve.metric("portledger_http_login_failures_total").is_some_and(|count| count >= 3.0));
    let gigabyte = host.sh(&format!(
        "head -c 1G /dev/zero | curl -sS -m 25 -k -T - -u alice:secret -w '%{{http_code}}' -o /dev/null https://127.0.0.1:{} || true",
        Serve::PORT
    ));
    assert!(["405", "000"].contains(&gigabyte.trim()), "{gigabyte}");
    // Without TLS nothing is said at all.
    let mut plain = host.command("curl");
    plain.args(["-sS", "--http2-prior-knowledge", &format!("http://127.0.0.1:{}/metrics", Serve::PORT)]);
    let told = finish(plain);
    assert!(told.code != 0 && !told.stdout.contains("HTTP"), "{told:?}");
}

#[test]
fn each_role_reads_what_it_may_over_the_wire() {
    if !installed(&["openssl", "curl"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    certificates(&host);
    let role = |who: &str, may: &str| format!("[[web.role]]\n{who}\nmay = [{may}]\n");
    host.write(
        "etc/portledger.toml",
        ["[sensor]\ninterval = \"200ms\"\n".to_owned()]
            .into_iter()
            .chain([
                role("users = [\"scraper\"]", "\"metrics\", \"health\""),
                role("users = [\"reader\"]", "\"drift\""),
                role("users = [\"admin\"]", "\"metrics\", \"drift\", \"inventory\", \"health\""),
                role("certificates = [\"stranger\"]", "\"inventory\""),
            ])
            .collect::<String>(),
    );
    let hash = ALICE.split_once(": ").unwrap().1;
    let users = ["scraper", "reader", "admin", "nobody"].map(|user| format!("  {user}: {hash}\n")).concat();
    let web = Secured::MUTUAL.replace("  client_allowed_sans: [prometheus.example.net]\n", "");
    let serve = Secured::start(&host, &format!("{web}basic_auth_users:\n{users}"));
    const PATHS: [&str; 7] = [
        "/metrics",
        "/-/healthy",
        "/api/v1/drift",
        "/api/v1/listeners",
        "/",
        "/nothing",
        "/metrics?x=/-/healthy",
    ];
    eventually("it is ready", || {
        let told = serve.curl(Some("client"), &["-f", "-u", "scraper:secret"], "/-/ready");
        (told.code == 0).then_some(())
    });
    let statuses = |client: &str, words: &[&str]| {
        PATHS
            .map(|path| {
                let words = [&["-o", "/dev/null", "-w", "%{http_code}", "-g"], words].concat();
                serve.curl(Some(client), &words, path).stdout
            })
            .join(" ")
    };
    for (client, user, expected) in [
        ("client", "scraper", "200 200 403 403 403 404 200"),
        ("client", "reader", "403 403 200 403 403 404 403"),
        ("client", "admin", "200 200 200 200 200 404 200"),
        ("client", "nobody", "403 403 403 403 403 404 403"),
        ("stranger", "nobody", "403 403 403 200 200 404 403"),
        ("stranger", "reader", "403 403 200 200 200 404 403"),
    ] {
        assert_eq!(statuses(client, &["-u", &format!("{user}:secret")]), expected, "{client} {user}");
    }
    // A certificate that may is no password.
    assert_eq!(statuses("stranger", &[]), "401 401 401 401 401 401 401");
}

#[test]
fn passwords_are_tried_by_their_peer_alone() {
    if !installed(&["openssl", "curl", "python3"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    certificates(&host);
    let users = Secured::MUTUAL.split("  client_ca_file").next().unwrap();
    let serve = Secured::start(&host, &format!("{users}basic_auth_users: {{{ALICE}}}\n"));
    let guesses: Vec<Running> = (0..12)
        .map(|number| {
            let mut curl = host.command("curl");
            curl.args(["-sk", "-m", "30", "-o", "/dev/null", "-w", "%{http_code}\n"]);
            curl.args(["-u", &format!("alice:{number}")]);
            curl.args((0..9).map(|_| format!("https://127.0.0.1:{}/metrics", Serve::PORT)));
            curl.stdout(Stdio::null());
            Running::start(curl)
        })
        .collect();
    let from_elsewhere = |words: &[&str]| {
        let mut curl: Command = host.command("curl");
        curl.args(["-sk", "-m", "25", "--interface", "127.0.0.2", "-u", "alice:secret"]).args(words);
        curl.arg(format!("https://127.0.0.1:{}/metrics", Serve::PORT));
        finish(curl).stdout
    };
    let count = |series: &str| {
        let told = from_elsewhere(&[]);
        told.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok())
    };
    // Those who have to wait too long are sent away, and who comes from elsewhere is answered all the while.
    eventually("they are slowed", || {
        count("portledger_http_refused_total{reason=\"hasty\"}").filter(|count| *count > 0.0)
    });
    assert!(count("portledger_http_login_failures_total").is_some_and(|count| count >= 4.0));
    drop(guesses);
    let refusals = eventually("it is logged", || Some(serve.refusals()).filter(|lines| !lines.is_empty()));
    assert!(refusals[0].contains("\"peer\":\"127.0.0.1\""), "{refusals:?}");
}

#[test]
fn slowhttptest_stops_no_scrape() {
    if !installed(&["slowhttptest", "curl"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let serve = host.serve();
    let url = format!("http://127.0.0.1:{}/metrics", Serve::PORT);
    let mut attacks: Vec<Running> = [
        &["-H", "-i", "1"][..],
        &["-B", "-i", "1", "-s", "100000"],
        &["-X", "-w", "1", "-y", "2", "-n", "1", "-z", "1", "-k", "3"],
        &["-R"],
    ]
    .into_iter()
    .map(|kind| {
        let mut command = host.command("slowhttptest");
        command.args(["-c", "300", "-r", "150", "-l", "7", "-p", "3", "-v", "0", "-u", &url]).args(kind);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Running::start(command)
    })
    .collect();
    let mut scrapes = 0;
    while attacks.iter_mut().any(|attack| attack.entered.try_wait().unwrap().is_none()) {
        let mut curl = host.command("curl");
        let told = finish({
            curl.args(["-sS", "--noproxy", "*", "--interface", "127.0.0.2", "-w", "%{http_code}", &url]);
            curl
        });
        assert!(told.code == 0 && told.stdout.ends_with("\n200"), "{told:?}");
        scrapes += 1;
    }
    assert!(scrapes > 0, "{scrapes}");
    let cut = |reason: &str| {
        serve.metric(&format!("portledger_http_refused_total{{reason=\"{reason}\"}}")).unwrap()
    };
    assert!(cut("peer") > 0.0 && cut("method") > 0.0, "{}", serve.get("/metrics").1);
    eventually("they are gone", || serve.metric("portledger_http_connections").filter(|count| *count <= 2.0));
}
