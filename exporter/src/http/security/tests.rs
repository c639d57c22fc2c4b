//! TLS over real sockets on loopback, with clients of rustls.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::super::tests::{Served, served_by};
use super::*;
use crate::web_config::fixtures::{Folder, SECRET};

const PAIR: &str = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";
const MUTUAL: &str = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  client_ca_file: ca.pem\n  \
                      client_auth_type: RequireAndVerifyClientCert\n";

fn serve(folder: &Folder, yaml: &str) -> Served {
    let path = folder.write("web.yml", yaml);
    served_by(Security::new(Some(Arc::new(InForce::read(&path).unwrap()))))
}

/// A whole answer to one request; or why there is none.
fn ask(served: &Served, folder: &Folder, client: Option<&str>, head: &str) -> Result<String, String> {
    let mut stream = encrypted(served, folder, client, &[]);
    let request = format!("GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n{head}\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if answer.is_empty() => Err(error.to_string()),
        _ => Ok(String::from_utf8(answer).unwrap()),
    }
}

/// A connection of a client that speaks these protocols.
fn encrypted(
    served: &Served,
    folder: &Folder,
    client: Option<&str>,
    protocols: &[&[u8]],
) -> StreamOwned<ClientConnection, TcpStream> {
    let der = |name: &str| CertificateDer::from_pem_slice(folder.text(name).as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(der("ca.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let key = PrivateKeyDer::from_pem_slice(folder.text(&format!("{name}.key")).as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![der(&format!("{name}.pem"))], key).unwrap()
        }
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let session =
        ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    StreamOwned::new(session, served.connect())
}

fn basic(credentials: &str) -> String {
    format!("Authorization: Basic {}\r\n", Base64::encode_string(credentials.as_bytes()))
}

fn plain(served: &Served, head: &str) -> String {
    served.send(&format!("GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n{head}\r\n"))
}

#[test]
fn asks_clients_for_what_the_file_wants() {
    let Some(folder) = Folder::new() else { return };
    let ca = "  client_ca_file: ca.pem\n";
    // Who is admitted: without a certificate, one that the authority signed, one that it did not.
    for (auth, ca, expected) in [
        ("NoClientCert", "", [true, true, true]),
        ("RequestClientCert", ca, [true, true, true]),
        ("RequireAnyClientCert", "", [false, true, true]),
        ("VerifyClientCertIfGiven", ca, [true, true, false]),
        ("RequireAndVerifyClientCert", ca, [false, true, false]),
        ("RequireAndVerifyClientCert", "  client_ca_file: /dev/null\n", [false, false, false]),
        // Whoever has the very certificate that is named is vouched for.
        ("RequireAndVerifyClientCert", "  client_ca_file: stranger.pem\n", [false, false, true]),
    ] {
        let served = serve(&folder, &format!("{PAIR}{ca}  client_auth_type: {auth}\n"));
        let found = [None, Some("client"), Some("stranger")].map(|client| ask(&served, &folder, client, ""));
        let admitted =
            found.each_ref().map(|answer| answer.as_ref().is_ok_and(|text| text.starts_with("HTTP/1.1 200")));
        assert_eq!(admitted, expected, "{auth} {ca}: {found:?}");
    }
}

#[test]
fn admits_the_names_that_are_allowed_to_the_letter() {
    let Some(folder) = Folder::new() else { return };
    for (name, expected) in [
        ("prometheus.example.net", true),
        ("ops@example.net", true),
        ("192.0.2.7", true),
        ("2001:db8::7", true),
        ("spiffe://example.net/prom", true),
        ("Prometheus.example.net", false),
        ("example.net", false),
        ("*.example.net", false),
        // The common name is no alternative name.
        ("client", false),
    ] {
        let served = serve(&folder, &format!("{MUTUAL}  client_allowed_sans: [none, '{name}']\n"));
        assert_eq!(ask(&served, &folder, Some("client"), "").is_ok(), expected, "{name}");
        assert!(ask(&served, &folder, Some("other"), "").is_err(), "{name}");
    }
    // Whoever shows nothing has no name.
    let optional = MUTUAL.replace("RequireAndVerify", "Request");
    let served = serve(&folder, &format!("{optional}  client_allowed_sans: []\n"));
    assert!(ask(&served, &folder, None, "").is_err() && ask(&served, &folder, Some("client"), "").is_err());
}

#[test]
fn wants_a_password_for_every_path() {
    let Some(folder) = Folder::new() else { return };
    let served = serve(
        &folder,
        &format!(
            "basic_auth_users: {{alice: {SECRET}}}\nhttp_server_config: {{headers: {{X-Frame-Options: deny}}}}\n"
        ),
    );
    for (head, expected) in [
        (basic("alice:secret"), "200 OK"),
        (basic("alice:secret").replace("Basic ", "basic "), "200 OK"),
        (String::new(), "401 Unauthorized"),
        (basic("alice:wrong"), "401 Unauthorized"),
        (basic("alice"), "401 Unauthorized"),
        (basic(":"), "401 Unauthorized"),
        (basic("mallory:fakepassword"), "401 Unauthorized"),
        ("Authorization: Basic !!!\r\n".to_owned(), "401 Unauthorized"),
        ("Authorization: Basic\r\n".to_owned(), "401 Unauthorized"),
        ("Authorization: Bearer x\r\n".to_owned(), "401 Unauthorized"),
    ] {
        let answer = plain(&served, &head);
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}\r\n")), "{head}: {answer}");
        assert!(answer.contains("x-frame-options: deny\r\n"), "{answer}");
        let asks =
            answer.contains("www-authenticate: Basic\r\n") && answer.ends_with("\r\n\r\n401 Unauthorized\n");
        assert_eq!(asks, expected.starts_with("401"), "{answer}");
    }
    let (status, ..) = served.ask("GET", "/nothing");
    assert_eq!(status, 401, "whether a path exists is told to nobody");
}

#[test]
fn refuses_requests_that_come_too_often() {
    let Some(folder) = Folder::new() else { return };
    let served = serve(&folder, "rate_limit: {interval: 1h, burst: 2}\n");
    let statuses = [(); 3].map(|()| served.ask("GET", "/-/healthy").0);
    assert_eq!(statuses, [200, 200, 429]);
    // The count does not begin anew because something else changed.
    folder.write("web.yml", "rate_limit: {interval: 1h, burst: 2}\nhttp_server_config: {http2: false}\n");
    assert_eq!(served.ask("GET", "/-/healthy").0, 429);
    folder.write("web.yml", "rate_limit: {interval: 1h, burst: 3}\n");
    assert_eq!(served.ask("GET", "/-/healthy").0, 200);
}

#[test]
fn sets_headers_of_the_file_before_its_own() {
    let Some(folder) = Folder::new() else { return };
    let served = serve(&folder, "http_server_config: {headers: {Content-Security-Policy: default-src x}}\n");
    let (_, head, _) = served.ask("GET", "/");
    assert!(head.contains("content-security-policy: default-src x") && !head.contains("'none'"), "{head}");
    assert!(head.contains("x-content-type-options: nosniff"), "{head}");
}

#[test]
fn is_not_harmed_by_what_is_no_tls() {
    let Some(folder) = Folder::new() else { return };
    let served = serve(&folder, PAIR);
    for garbage in
        [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0; 70_000], b"\x16\x03\x01\xff\xff", &[0x16; 40_000]]
    {
        let mut stream = served.connect();
        // It may be reset before all is sent.
        stream.write_all(garbage).unwrap_or_default();
        stream.shutdown(std::net::Shutdown::Write).unwrap_or_default();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap_or_default();
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{answer:?}");
    }
    assert!(ask(&served, &folder, None, "").unwrap().starts_with("HTTP/1.1 200"));
}

#[test]
fn who_speaks_plain_http_to_tls_is_told_as_the_toolkit_does() {
    let Some(folder) = Folder::new() else { return };
    let mut served = serve(&folder, PAIR);
    assert!(served.logged().starts_with("web_config TLS on, with the certificate of server, serial "));
    let answer = served.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(answer, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n");
    let told = "refused 127.0.0.1 None Some(\"handshake\") plain HTTP where TLS is spoken";
    assert_eq!(served.logged(), told);
}

#[test]
fn why_no_tls_came_about_is_told_in_words() {
    let Some(folder) = Folder::new() else { return };
    let sans = format!("{MUTUAL}  client_allowed_sans: [prometheus.example.net]\n");
    for (yaml, client, says) in [
        (MUTUAL, None, "the client showed no certificate"),
        (
            &MUTUAL.replace("ca.pem", "rsa.pem"),
            Some("client"),
            "no authority that counts here vouches for the client's certificate; it names client, prometheus.example.net",
        ),
        (
            MUTUAL,
            Some("stranger"),
            "the client's certificate is refused: CaUsedAsEndEntity; it names stranger, stranger",
        ),
        (
            &sans,
            Some("other"),
            "the client's certificate has none of client_allowed_sans; it names other, other.example.net",
        ),
        // Our own authority did not sign this one of ours.
        (&PAIR.replace("server.", "stranger."), None, "the client does not accept our certificate, it says "),
    ] {
        let mut served = serve(&folder, yaml);
        assert!(served.logged().starts_with("web_config TLS on"));
        assert!(ask(&served, &folder, client, "").is_err());
        let told = served.logged();
        let why = if says.starts_with("the client does not") { "handshake" } else { "certificate" };
        assert!(told.starts_with(&format!("refused 127.0.0.1 None Some(\"{why}\") {says}")), "{told}");
    }
    let mut served = serve(&folder, PAIR);
    assert!(served.logged().starts_with("web_config"));
    drop(served.send("\x16\x03\x01\x00\x05hello"));
    let told = served.logged();
    assert!(told.contains("what came is no TLS"), "{told}");
}

#[test]
fn takes_a_new_certificate_while_it_runs() {
    let Some(folder) = Folder::new() else { return };
    let served = serve(&folder, PAIR);
    assert!(ask(&served, &folder, None, "").is_ok());
    folder.write("server.key", folder.text("other.key"));
    assert!(ask(&served, &folder, None, "").is_ok(), "no pair: the last good one stays");
    folder.write("server.pem", folder.text("other.pem"));
    let error = ask(&served, &folder, None, "").unwrap_err();
    assert!(error.contains("other.example.net"), "the new one names another host: {error}");
}

#[test]
fn curl_speaks_http2_and_http1() {
    let Some(folder) = Folder::new() else { return };
    let features = Command::new("curl").arg("--version").output();
    if !features.is_ok_and(|told| String::from_utf8_lossy(&told.stdout).contains("HTTP2")) {
        eprintln!("SKIP curl_speaks_http2_and_http1: no curl with HTTP/2 (package curl)");
        return;
    }
    let users = format!("basic_auth_users: {{alice: {SECRET}}}\n");
    for (yaml, flag, expected) in [
        (format!("{MUTUAL}{users}"), "--http2", "2 200 2 200"),
        (format!("{MUTUAL}{users}"), "--http1.1", "1.1 200 1.1 200"),
        (format!("{MUTUAL}{users}http_server_config: {{http2: false}}\n"), "--http2", "1.1 200 1.1 200"),
    ] {
        let served = serve(&folder, &yaml);
        let address = format!("https://localhost:{}/-/healthy", served.address.port());
        let told = Command::new("curl")
            .args(["-sS", flag, "--max-time", "20", "-u", "alice:secret", "--cacert", "ca.pem"])
            .args(["--cert", "client.pem", "--key", "client.key", "--noproxy", "*", "-4"])
            .args(["-o", "body", "-o", "body", "-w", "%{http_version} %{http_code} ", &address, &address])
            .current_dir(folder.root())
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&told.stdout).trim(), expected, "{told:?}");
    }
}

#[test]
fn curl_is_refused_a_head_without_a_body() {
    let Some(folder) = Folder::new() else { return };
    let served = serve(&folder, &format!("{PAIR}basic_auth_users: {{alice: {SECRET}}}\n"));
    for flag in ["--http2", "--http1.1"] {
        for (user, path, status) in
            [("alice:secret", "-/healthy", 200), ("alice:secret", "x", 404), ("alice:wrong", "x", 401)]
        {
            let address = format!("https://localhost:{}/{path}", served.address.port());
            let mut curl = Command::new("curl");
            curl.args(["-sSI", flag, "--max-time", "20", "--cacert", "ca.pem", "--noproxy", "*", "-4", "-u"]);
            let told = curl.args([user, &address]).current_dir(folder.root()).output().unwrap();
            let head = String::from_utf8_lossy(&told.stdout).to_lowercase();
            assert!(told.status.success(), "{told:?}");
            assert!(head.contains(&format!(" {status}")) && head.contains("content-length: "), "{head}");
        }
    }
}

/// Its window takes nothing, and what it is told when it pings is no answer.
#[test]
fn who_pings_and_reads_nothing_is_cut_off_all_the_same() {
    let Some(folder) = Folder::new() else { return };
    let served = serve(&folder, PAIR);
    let mut stream = encrypted(&served, &folder, None, &[b"h2"]);
    stream.sock.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    // A window of nothing, and a request for `/` (RFC 9113, section 4.1; RFC 7541, appendix A).
    let asks = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0\
                 \0\0\x06\x01\x05\0\0\0\x01\x82\x87\x84\x41\x01a";
    stream.write_all(asks).unwrap();
    let ping = b"\0\0\x08\x06\0\0\0\0\0whenever";
    let goes_on = |read: std::io::Result<usize>| match read {
        Ok(length) => length > 0,
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    };
    while stream.write_all(ping).is_ok() && goes_on(stream.read(&mut [0; 4096])) {
        std::thread::sleep(Duration::from_millis(300));
    }
    served.refuses("stalled", 1);
}

#[test]
fn openssl_is_shown_versions_and_suites_of_the_file() {
    let Some(folder) = Folder::new() else { return };
    let suites = "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n";
    for (yaml, flags, expected) in [
        (PAIR.to_owned(), "-tls1_3", true),
        (PAIR.to_owned(), "-tls1_2", true),
        (PAIR.to_owned(), "-tls1_1", false),
        (format!("{PAIR}  min_version: TLS13\n"), "-tls1_2", false),
        (format!("{PAIR}  max_version: TLS12\n"), "-tls1_3", false),
        (format!("{PAIR}{suites}"), "-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256", true),
        (format!("{PAIR}{suites}"), "-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384", false),
        (format!("{PAIR}  curve_preferences: [CurveP384]\n"), "-curves P-384", true),
        (format!("{PAIR}  curve_preferences: [CurveP384]\n"), "-curves X25519", false),
    ] {
        let served = serve(&folder, &yaml);
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-CAfile", "ca.pem", "-verify_return_error", "-connect"]);
        openssl.arg(served.address.to_string()).args(flags.split(' ')).stdin(std::process::Stdio::null());
        let told = openssl.current_dir(folder.root()).output().unwrap();
        assert_eq!(told.status.success(), expected, "{yaml} {flags}: {told:?}");
    }
}

/// Anybody can make a certificate: its names count only where an authority vouches for it.
#[tokio::test]
async fn believes_no_name_that_nobody_vouches_for() {
    let Some(folder) = Folder::new() else { return };
    for (auth, expected) in [("RequireAnyClientCert", None), ("VerifyClientCertIfGiven", Some("client"))] {
        let yaml = format!("{PAIR}  client_ca_file: ca.pem\n  client_auth_type: {auth}\n");
        let path = folder.write("web.yml", yaml);
        let security = Security::new(Some(Arc::new(InForce::read(&path).unwrap())));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-cert", "client.pem", "-key", "client.key", "-connect"]);
        openssl.arg(listener.local_addr().unwrap().to_string()).current_dir(folder.root());
        let null = std::process::Stdio::null;
        let mut client =
            openssl.stdin(std::process::Stdio::piped()).stdout(null()).stderr(null()).spawn().unwrap();
        let shaken = security.handshake(listener.accept().await.unwrap().0).await.unwrap();
        let name = shaken.certificate.as_ref().and_then(|subject| subject.common_name.as_deref());
        assert_eq!(name, expected, "{auth}");
        client.kill().unwrap();
        client.wait().unwrap();
    }
}
