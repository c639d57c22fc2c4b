//! Who logs in, how fast, and what they may read then.

use super::*;

/// `Basic cHJvbTpzZWNyZXQ=` is `prom:secret`.
const RIGHT: &str = "cHJvbTpzZWNyZXQ=";

/// A web configuration with one user.
fn one_user() -> (tempfile::TempDir, Security) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.yml");
    std::fs::write(&file, format!("basic_auth_users: {{prom: {SECRET}}}\n")).unwrap();
    let security = Security::new(Some(Arc::new(InForce::read(&file).unwrap())));
    (folder, security)
}

impl Served {
    fn log_in(&self, path: &str, credentials: &str) -> String {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {credentials}\r\n\r\n"
        ))
    }
}

#[test]
fn a_wrong_password_is_counted_told_and_slows_its_peer() {
    let (_folder, security) = one_user();
    let mut server = start(fixture(), rules(), security);
    assert_eq!(server.logged(), "web_config user prom added None");
    assert!(server.log_in("/", RIGHT).starts_with("HTTP/1.1 200 "));
    assert_eq!(server.logged(), "admitted 127.0.0.1 Some(\"prom\") None");
    // Not to know that one is needed is no attempt.
    let (status, head, body) = server.ask("GET", "/");
    assert_eq!((status, body.as_str()), (401, "401 Unauthorized\n"));
    assert!(head.contains("www-authenticate: basic"), "{head}");
    assert_eq!(server.counts.failed_logins(), 0);
    let began = Instant::now();
    for _ in 0..4 {
        assert!(server.log_in("/", "d3Jvbmc6d3Jvbmc=").starts_with("HTTP/1.1 401 "));
    }
    assert!(began.elapsed() >= Duration::from_millis(1750), "{:?}", began.elapsed());
    assert_eq!((server.counts.failed_logins(), server.refused("login")), (4, 5));
    assert_eq!(server.logged(), "refused 127.0.0.1 None Some(\"login\")");
}

/// `prom:wrong`, as often as makes the next wait two seconds. When the last was tried, or before.
fn fail_four_times(server: &Served) -> Instant {
    let mut last = Instant::now();
    for _ in 0..4 {
        last = Instant::now();
        assert!(server.log_in("/", "cHJvbTp3cm9uZw==").starts_with("HTTP/1.1 401 "));
    }
    last
}

/// `prom:wrong`, at once and over and over.
fn guess(server: &Served) -> Vec<TcpStream> {
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic cHJvbTp3cm9uZw==\r\n\r\n";
    let guesses = (0..8).map(|_| {
        let mut stream = server.connect();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    });
    guesses.collect()
}

#[test]
fn a_password_that_was_right_waits_for_nobody() {
    let (_folder, security) = one_user();
    let server = start(fixture(), rules(), security);
    assert!(server.log_in("/", RIGHT).starts_with("HTTP/1.1 200 "));
    let failed = fail_four_times(&server);
    let _guesses = guess(&server);
    for _ in 0..50 {
        assert!(server.log_in("/", RIGHT).starts_with("HTTP/1.1 200 "));
    }
    let (guessed, hasty) = (server.counts.failed_logins() - 4, server.refused("hasty"));
    let seconds = failed.elapsed().as_secs();
    assert!(guessed <= seconds / 2, "guesses wait: {guessed} in {seconds} s");
    // They give up where their turn is later than 20 s after they came.
    assert!(hasty == 0 || seconds >= 17, "{hasty} were sent away in {seconds} s");
}

#[test]
fn a_right_password_comes_in_among_guesses_and_who_gave_up_is_not_waited_for() {
    let (_folder, security) = one_user();
    let server = start(fixture(), rules(), security);
    let failed = fail_four_times(&server);
    for _ in 0..8 {
        drop(guess(&server));
    }
    // Of those who had not given up yet one has a turn every other second.
    let turns = failed.elapsed().as_secs() / 2;
    assert!(server.log_in("/", RIGHT).starts_with("HTTP/1.1 200 "));
    assert_eq!(server.refused("hasty"), 0);
    let guessed = server.counts.failed_logins() - 4;
    assert!(guessed <= turns + 2, "{guessed}, of which {turns} were waited for");
}

#[test]
fn a_user_who_was_added_is_told_before_who_comes_in() {
    let (folder, security) = one_user();
    let mut server = start(fixture(), rules(), security);
    assert_eq!(server.logged(), "web_config user prom added None");
    let users = format!("basic_auth_users: {{prom: {SECRET}, eve: {SECRET}}}\n");
    // Whole: it is looked at now and then.
    std::fs::write(folder.path().join("web.new"), users).unwrap();
    std::fs::rename(folder.path().join("web.new"), folder.path().join("web.yml")).unwrap();
    // `eve:secret`
    assert!(server.log_in("/", "ZXZlOnNlY3JldA==").starts_with("HTTP/1.1 200 "));
    assert_eq!(server.logged(), "web_config user eve added None");
    assert_eq!(server.logged(), "admitted 127.0.0.1 Some(\"eve\") None");
}

#[test]
fn a_role_reads_what_it_may_and_no_more() {
    let role = Role {
        users: ["prom".to_owned()].into(),
        certificates: Default::default(),
        may: [Right::Metrics, Right::Health].into(),
    };
    let rules = Rules { roles: vec![role], ..rules() };
    let (_folder, security) = one_user();
    let mut server = start(fixture(), rules, security);
    for (path, status) in [
        ("/metrics", 200),
        ("/-/healthy", 200),
        ("/-/ready", 503),
        ("/", 403),
        ("/api/v1/listeners", 403),
        ("/api/v1/drift", 403),
        ("/api/v1/status", 403),
        ("/nothing", 404),
    ] {
        let answer = server.log_in(path, RIGHT);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
    assert_eq!(server.refused("role"), 4);
    assert_eq!(server.logged(), "web_config user prom added None");
    assert_eq!(server.logged(), "admitted 127.0.0.1 Some(\"prom\") None");
    assert_eq!(server.logged(), "refused 127.0.0.1 Some(\"prom\") Some(\"role\")");
}

#[test]
fn command_lines_are_left_out_for_those_who_may_not_read_them() {
    let snapshot = fixture();
    let pass = snapshot.judged.as_deref().unwrap();
    let whole = String::from_utf8(pass.listeners_json().unwrap().to_vec()).unwrap();
    let without = pass.listeners_json_without_command_lines().unwrap();
    let without = String::from_utf8(without.to_vec()).unwrap();
    assert!(whole.contains(r#""arguments":["#) && whole.contains(r#""-D""#));
    assert!(!without.contains(r#""arguments":["#) && !without.contains(r#""-D""#));
    let json: serde_json::Value = serde_json::from_str(&without).unwrap();
    assert!(json["listeners"][1]["holders"][0]["arguments"].is_null());
    assert!(crate::read_listeners(without.as_bytes()).is_err(), "what was left out is not empty");
}
