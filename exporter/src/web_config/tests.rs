use std::fs;
use std::time::Duration;

use super::fixtures::{Folder, SECRET};
use super::load::load;
use super::*;

/// A file, and what is said of it: whether the exporter toolkit starts with it, and a part of what we say where we
/// refuse it. The first four are the toolkit's own kinds of cases, with certificates of our own.
struct Case {
    yaml: &'static str,
    toolkit: bool,
    ours: Result<(), &'static str>,
}

const fn good(yaml: &'static str) -> Case {
    Case { yaml, toolkit: true, ours: Ok(()) }
}

const fn bad(yaml: &'static str, says: &'static str) -> Case {
    Case { yaml, toolkit: false, ours: Err(says) }
}

/// What rustls cannot do, and is refused for it.
const fn not_here(yaml: &'static str, says: &'static str) -> Case {
    Case { yaml, toolkit: true, ours: Err(says) }
}

macro_rules! pair {
    ($rest:literal) => {
        concat!("tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n", $rest)
    };
}

const CASES: &[Case] = &[
    // Documents.
    good(""),
    good("# nothing\n"),
    good("---\n"),
    good("null"),
    good("~"),
    good("{}"),
    good("\u{feff}http_server_config: {http2: yes}"),
    good("http_server_config: {http2: true}\n---\nbasic_auth_users: 1"),
    bad("[]", "line 1"),
    bad("junk\nmore junk\n", "line 1"),
    bad("\tx: 1", "line 1"),
    bad("invented: {}", "unknown field `invented`"),
    bad("TLS_SERVER_CONFIG: {}", "unknown field `TLS_SERVER_CONFIG`"),
    // Certificates and keys.
    good(pair!("")),
    bad("tls_server_config:\n  cert_filse: server.pem\n", "unknown field `cert_filse`"),
    bad("tls_server_config: x", "line 1"),
    bad("tls_server_config: []", "line 1"),
    good("tls_server_config:\n"),
    good("tls_server_config: {cert_file: }"),
    good("tls_server_config: {min_version: TLS13, cipher_suites: [], client_allowed_sans: [x]}"),
    bad("tls_server_config: {cert_file: '', key_file: server.key}", "cert_file (or cert) is missing"),
    bad("tls_server_config: {cert: '', key_file: server.key}", "cert_file (or cert) is missing"),
    bad("tls_server_config: {cert_file: server.pem, key_file: ''}", "key_file (or key) is missing"),
    bad("tls_server_config: {cert_file: server.pem, key: ''}", "key_file (or key) is missing"),
    bad(
        "tls_server_config: {cert_file: '', key_file: '', client_auth_type: x}",
        "cert_file (or cert) is missing",
    ),
    bad("tls_server_config: {client_auth_type: NoClientCert}", "cert_file (or cert) is missing"),
    bad(
        "tls_server_config: {cert_file: none, key_file: server.key}",
        "tls_server_config.cert_file: FOLDER/none cannot be read: No such file",
    ),
    bad(
        "tls_server_config: {cert_file: server.pem, key_file: none}",
        "tls_server_config.key_file: FOLDER/none cannot be read: No such file",
    ),
    bad(
        "tls_server_config: {cert_file: server.pem, key_file: /}",
        "tls_server_config.key_file: / cannot be read",
    ),
    bad(
        "tls_server_config: {cert_file: server.key, key_file: server.key}",
        "cert_file: there is no certificate in PEM",
    ),
    bad(
        "tls_server_config: {cert_file: /dev/null, key_file: server.key}",
        "cert_file: there is no certificate in PEM",
    ),
    bad(
        "tls_server_config: {cert_file: server.pem, key_file: server.pem}",
        "key_file: there is no private key without a passphrase",
    ),
    bad(
        "tls_server_config: {cert_file: server.pem, key_file: locked.key}",
        "key_file: there is no private key without a passphrase",
    ),
    bad(
        "tls_server_config: {cert_file: server.pem, key_file: other.key}",
        "key_file: not usable with tls_server_config.cert_file",
    ),
    bad("tls_server_config: {cert: junk, key_file: server.key}", "cert: there is no certificate in PEM"),
    good("tls_server_config: {cert_file: rsa.pem, key_file: rsa.key}"),
    // Versions, suites and curves.
    good(pair!("  min_version: TLS12\n  max_version: TLS13\n")),
    good(pair!("  min_version: TLS13\n")),
    good(pair!("  max_version: TLS12\n")),
    good(pair!("  min_version: TLS10\n")),
    good(pair!("  min_version:\n")),
    bad(pair!("  min_version: TLS111\n"), "unknown variant `TLS111`"),
    not_here(pair!("  max_version: TLS11\n"), "TLS 1.0 and 1.1 are not to be had here"),
    not_here(pair!("  min_version: TLS13\n  max_version: TLS12\n"), "no version is left"),
    good(pair!(
        "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA]\n"
    )),
    good(pair!(
        "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n  prefer_server_cipher_suites: no\n"
    )),
    good(pair!(
        "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\nhttp_server_config: {http2: false}\n"
    )),
    good(pair!("  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n  min_version: TLS13\n")),
    good(pair!("  cipher_suites: []\n")),
    bad(
        pair!("  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n  max_version: TLS12\n"),
        "HTTP/2 needs one of",
    ),
    bad(
        pair!("  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA2048]\n"),
        "unknown cipher suite `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA2048`, choose among",
    ),
    bad(pair!("  cipher_suites: TLS_AES_128_GCM_SHA256\n"), "line 4"),
    bad(pair!("  cipher_suites: [tls_aes_128_gcm_sha256]\n"), "unknown cipher suite"),
    not_here(
        pair!(
            "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]\n  max_version: TLS12\nhttp_server_config: {http2: false}\n"
        ),
        "rustls has none in CBC mode",
    ),
    good(pair!("  curve_preferences: [CurveP256, CurveP384, CurveP521, X25519]\n")),
    bad(pair!("  curve_preferences: [CurveP257]\n"), "unknown curve `CurveP257`, choose among"),
    not_here(pair!("  curve_preferences: [CurveP521]\n"), "CurveP521 is not to be had here"),
    // Clients.
    good(pair!("  client_auth_type: NoClientCert\n")),
    good(pair!("  client_auth_type: RequestClientCert\n")),
    good(pair!("  client_auth_type: RequireAnyClientCert\n")),
    good(pair!("  client_auth_type: RequireClientCert\n")),
    good(pair!("  client_auth_type: VerifyClientCertIfGiven\n")),
    good(pair!("  client_auth_type: RequireAndVerifyClientCert\n")),
    good(pair!("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n")),
    good(pair!("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: /dev/null\n")),
    good(pair!("  client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [one, ~]\n")),
    bad(pair!("  client_auth_type: x\n"), "client_auth_type: `x` is none of NoClientCert"),
    bad(pair!("  client_ca_file: ca.pem\n"), "client_ca_file: it has no effect without client_auth_type"),
    bad(pair!("  client_ca: x\n"), "client_ca: it has no effect without client_auth_type"),
    bad(
        pair!("  client_auth_type: RequireAnyClientCert\n  client_ca_file: none\n"),
        "client_ca_file: FOLDER/none cannot be read",
    ),
    bad(pair!("  client_allowed_sans: x\n"), "line 4"),
    // HTTP.
    good("http_server_config:\n"),
    good("http_server_config: {http2: off, headers: {X-XSS-Protection: 1, X-Frame-Options: deny}}"),
    good("http_server_config: {headers: }"),
    bad("http_server_config: {http2: \"true\"}", "true or false, without quotes"),
    bad("http_server_config: {http2: 1}", "true or false, without quotes"),
    bad("http_server_config: {http2: yes, http2: no}", "duplicate"),
    bad("http_server_config: {headers: []}", "line 1"),
    bad("http_server_config: {headers: {X-Content-Type-Options: sniff}}", "`sniff` is none of nosniff"),
    bad("http_server_config: {headers: {X-Frame-Options: foo}}", "`foo` is none of deny, sameorigin"),
    bad("http_server_config: {headers: {Content-Type: foo}}", "Content-Type cannot be set"),
    // Users.
    good("basic_auth_users:\n"),
    good("basic_auth_users: {}"),
    good(
        "basic_auth_users: {alice: $2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW, yes: $2a$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW}",
    ),
    bad("basic_auth_users: {john: doe}", "basic_auth_users: john: 3 bytes are too few"),
    bad("basic_auth_users: {john: }", "basic_auth_users: john: 0 bytes are too few"),
    bad("basic_auth_users: {a: b, a: c}", "duplicate"),
    bad("basic_auth_users: []", "line 1"),
];

/// The toolkit that Debian has is older than these.
const NEWER: &[Case] = &[
    good("rate_limit: {interval: 0, burst: 0}"),
    good("rate_limit: {interval: 1s, burst: 0}"),
    good("rate_limit: {interval: '1m30s', burst: 10}"),
    good("rate_limit:\n"),
    good("rate_limit: {interval: 5}"),
    bad("rate_limit: {interval: 1x}", "a time span such as"),
    bad("rate_limit: {interval: '5'}", "a time span such as"),
    bad("rate_limit: {interval: 1s, burst: x}", "a whole number"),
    bad("rate_limit: {bursts: 1}", "unknown field `bursts`"),
];

fn verdict(folder: &Folder, case: &Case) -> Result<WebConfig, String> {
    let path = folder.write("web.yml", case.yaml);
    load(&path).1.map_err(|error| error.to_string().replace(&folder.root().display().to_string(), "FOLDER"))
}

#[test]
fn takes_and_refuses_what_the_toolkit_does() {
    let Some(folder) = Folder::new() else { return };
    for case in CASES.iter().chain(NEWER) {
        match (verdict(&folder, case), case.ours) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(says)) => {
                assert!(
                    error.starts_with("FOLDER/web.yml: ") && error.contains(says),
                    "{}: {error}",
                    case.yaml
                );
            }
            (found, expected) => panic!("{}: {found:?} is not {expected:?}", case.yaml),
        }
    }
}

/// The column of the toolkit is no claim of ours. What only starting tells (HTTP/2 and its suites), `promtool` leaves out.
#[test]
fn promtool_says_the_same() {
    let Some(folder) = Folder::new() else { return };
    if std::process::Command::new("promtool").arg("--version").output().is_err() {
        eprintln!("SKIP promtool_says_the_same: no promtool (package prometheus)");
        return;
    }
    for case in CASES {
        // Keys that came after its time.
        let newer = ["client_allowed_sans", "cert: ", "key: ", "client_ca: "];
        if newer.iter().any(|key| case.yaml.contains(key)) || case.ours == Err("HTTP/2 needs one of") {
            continue;
        }
        let path = folder.write("web.yml", case.yaml);
        let told = std::process::Command::new("promtool").args(["check", "web-config"]).arg(&path).output();
        let told = told.unwrap();
        assert_eq!(told.status.success(), case.toolkit, "{}: {told:?}", case.yaml);
    }
}

#[test]
fn takes_certificates_that_stand_in_the_file() {
    let Some(folder) = Folder::new() else { return };
    let indented = |name: &str| folder.text(name).replace('\n', "\n    ");
    let yaml = format!(
        "tls_server_config:\n  cert: |\n    {}\n  key: |\n    {}\n  client_ca: |\n    {}\n  client_auth_type: RequireAndVerifyClientCert\n",
        indented("server.pem"),
        indented("server.key"),
        indented("ca.pem")
    );
    let path = folder.write("web.yml", yaml);
    let tls = load(&path).1.unwrap().tls.unwrap();
    assert!(tls.vouches && tls.needs_certificate && tls.remarks.is_empty(), "{:?}", tls.remarks);
}

#[test]
fn says_what_is_otherwise_than_it_may_be_thought() {
    let Some(folder) = Folder::new() else { return };
    for (yaml, says) in [
        (pair!("  min_version: TLS10\n"), "TLS12 is the lowest"),
        (pair!("  curve_preferences: [CurveP521, X25519]\n"), "left out: CurveP521"),
        (
            pair!(
                "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]\n"
            ),
            "left out: TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
        ),
        (pair!("  client_allowed_sans: [x]\n"), "nobody is refused"),
        (pair!("  client_auth_type: VerifyClientCertIfGiven\n"), "no client_ca_file is named"),
        (
            pair!("  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: /dev/null\n"),
            "no usable certificate in it",
        ),
        ("tls_server_config: {min_version: TLS13}", "TLS is off"),
        ("rate_limit: {interval: 1s}", "every request is refused"),
        ("{}\n---\nbasic_auth_users: {a: b}", "all but the first have no effect"),
        (
            "basic_auth_users: {bob: $2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIr}",
            "bob: no password fits",
        ),
    ] {
        let path = folder.write("web.yml", yaml);
        let remarks = load(&path).1.unwrap().remarks;
        assert!(remarks.len() == 1 && remarks[0].contains(says), "{yaml}: {remarks:?}");
    }
}

#[test]
fn reads_whom_a_certificate_names_and_when_it_ends() {
    let Some(folder) = Folder::new() else { return };
    let path = folder.write("web.yml", pair!(""));
    let ends = load(&path).1.unwrap().tls.unwrap().certificate_ends.unwrap();
    let left = ends.duration_since(std::time::SystemTime::now()).unwrap();
    assert!(
        (Duration::from_secs(29 * 86_400)..=Duration::from_secs(30 * 86_400)).contains(&left),
        "{left:?}"
    );

    let der = |name: &str| {
        use rustls::pki_types::pem::PemObject;
        rustls::pki_types::CertificateDer::from_pem_slice(folder.text(name).as_bytes()).unwrap()
    };
    let client = Subject::of(&der("client.pem")).unwrap();
    assert_eq!(client.common_name.as_deref(), Some("client"));
    let names = [
        "prometheus.example.net",
        "ops@example.net",
        "192.0.2.7",
        "2001:db8::7",
        "spiffe://example.net/prom",
    ];
    assert_eq!(client.alternative, names);
    assert_eq!(Subject::of(&der("ca.pem")).unwrap().alternative, [""; 0]);
    assert_eq!(Subject::of(b"junk"), None);
    assert_eq!(Subject::of(&der("client.pem")[..100]), None);
}

#[test]
fn takes_what_changed_and_keeps_the_last_good_one() {
    let Some(folder) = Folder::new() else { return };
    let users = format!("basic_auth_users: {{alice: {SECRET}}}\n");
    let path = folder.write("web.yml", format!("{}{users}", pair!("")));
    let held = InForce::read(&path).unwrap();
    let first = held.current();
    let ends = |config: &WebConfig| config.tls.as_ref().unwrap().certificate_ends.unwrap();
    assert!(held.reload().successful);

    // Between the certificate and its key there is a moment in which they are no pair.
    folder.write("server.pem", folder.text("other.pem"));
    assert_eq!(ends(&held.current()), ends(&first));
    assert!(!held.reload().successful);
    folder.write("server.key", folder.text("other.key"));
    assert!(ends(&held.current()) > ends(&first), "the new certificate lives longer");
    assert!(held.reload().successful);

    for (broken, says) in [
        ("tls_server_config: [".to_owned(), "line 1"),
        (String::new(), "would take away TLS"),
        (pair!("").to_owned(), "would take away all users"),
        (format!("{users}x: 1"), "unknown field `x`"),
    ] {
        folder.write("web.yml", broken);
        let config = held.current();
        assert!(config.tls.is_some() && !config.users.is_empty());
        let complaint = held.complaint().unwrap();
        assert!(complaint.contains(says), "{complaint}");
        assert!(!held.reload().successful);
    }
    fs::remove_file(&path).unwrap();
    assert!(held.current().tls.is_some());
    assert!(held.complaint().unwrap().contains("No such file"));

    let more = format!("{}{users}http_server_config: {{headers: {{X-Frame-Options: deny}}}}\n", pair!(""));
    folder.write("web.yml", more);
    assert_eq!(held.current().headers.len(), 1);
    assert!(held.reload().successful);
}

#[test]
fn what_changed_is_told_without_hashes() {
    let Some(folder) = Folder::new() else { return };
    let mutual = |auth: &str, ca: &str, users: &str| {
        format!("{}  client_ca_file: {ca}\n  client_auth_type: {auth}\n{users}", pair!(""))
    };
    let users = format!("basic_auth_users: {{alice: {SECRET}, 'b\\nb': {SECRET}}}\n").replace('\'', "\"");
    let path = folder.write("web.yml", mutual("VerifyClientCertIfGiven", "ca.pem", &users));
    let held = InForce::read(&path).unwrap();
    let told = |held: &InForce| {
        held.current();
        let news = held.take_news();
        assert!(news.iter().all(|news| news.sha256.len() == 64 && news.file == path));
        news.into_iter().map(|news| (news.changes.join("; "), news.why.is_some())).collect::<Vec<_>>()
    };
    let first = told(&held);
    let (text, _) = &first[0];
    assert!(
        text.starts_with("TLS on, with the certificate of server, serial ") && first.len() == 1,
        "{text}"
    );
    assert!(
        text.ends_with(
            "clients' certificates: VerifyClientCertIfGiven; user alice added; user b\\x0ab added"
        ),
        "{text}"
    );
    assert!(text.contains(", until 20") && text.contains(", SHA-256 "), "{text}");
    assert_eq!(told(&held), []);

    let changed = format!("basic_auth_users: {{alice: {}, eve: {SECRET}}}\n", SECRET.replace("WIrW", "WIra"));
    folder.write("web.yml", mutual("RequireAndVerifyClientCert", "stranger.pem", &changed));
    let expected = "clients' certificates: RequireAndVerifyClientCert in place of VerifyClientCertIfGiven; authorities of \
                    clients replaced; password of alice changed; user eve added; user b\\x0ab removed";
    let found = told(&held);
    assert_eq!(found, [(expected.to_owned(), false)]);

    folder.write("server.pem", folder.text("other.pem"));
    assert_eq!(told(&held), [(String::new(), true)], "no pair");
    assert_eq!(told(&held), [], "it is told once");
    folder.write("server.key", folder.text("other.key"));
    let replaced = told(&held);
    assert!(replaced[0].0.starts_with("certificate replaced: of other, serial "), "{replaced:?}");
    folder.write("web.yml", mutual("RequireAndVerifyClientCert", "stranger.pem", &format!("{changed}# x\n")));
    assert_eq!(told(&held), [(String::new(), false)], "another file that says the same");
}

#[test]
fn sees_a_file_rewritten_in_place_within_the_same_moment() {
    let Some(folder) = Folder::new() else { return };
    let yaml = |value: &str| format!("http_server_config: {{headers: {{X-XSS-Protection: {value}}}}}\n");
    let path = folder.write("web.yml", yaml("a"));
    let held = InForce::read(&path).unwrap();
    for value in ["b", "c", "d", "e"] {
        fs::write(&path, yaml(value)).unwrap();
        assert_eq!(held.current().headers.values().next().unwrap(), value);
    }
}

#[test]
fn keeps_the_need_for_a_client_certificate() {
    let Some(folder) = Folder::new() else { return };
    let needs = pair!("  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n");
    let path = folder.write("web.yml", needs);
    let held = InForce::read(&path).unwrap();
    folder.write("web.yml", pair!(""));
    assert!(held.current().tls.as_ref().unwrap().needs_certificate);
    assert!(held.complaint().unwrap().contains("the need for a client certificate"));
}

#[test]
fn says_who_must_be_able_to_read_it() {
    let error = WebConfigError::Read { path: "/x".into(), error: io::ErrorKind::PermissionDenied.into() };
    let error = error.to_string();
    assert!(error.contains("`chown root:portledger` and `chmod 640`"), "{error}");
}
