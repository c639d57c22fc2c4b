use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::world::Host;

/// A bad baseline is refused with these words and exit code 2, and stays as it is.
#[track_caller]
fn is_refused(host: &Host, text: &str, words: &[&str]) {
    host.write("etc/baseline.toml", text);
    let told = host.run(&["diff"]);
    assert_eq!(told.code, 2, "{told:?}");
    for word in words {
        assert!(told.stderr.contains(word), "no {word:?} in {}", told.stderr);
    }
    assert_eq!(host.baseline(), text);
}

#[test]
fn mistakes_in_a_baseline_are_told_with_their_place() {
    let Some(host) = Host::new() else { return };
    let good =
        "[[approval]]\nid = \"ssh\"\nlisten = \"tcp/*:22\"\nprogram = \"/usr/sbin/sshd\"\nreason = \"r\"\n";
    is_refused(&host, &format!("{good}progam = \"/x\"\n"), &["baseline.toml:6:1:", "progam", "program", "^"]);
    is_refused(&host, &format!("{good}\n{good}"), &["baseline.toml:8:", "ssh", "^"]);
    is_refused(&host, &good.replace("tcp/*:22", "tcp/*:70000"), &["baseline.toml:3:", "70000", "^"]);
    is_refused(&host, &good.replace("/usr/sbin/sshd", "/usr/bin/python3"), &["baseline.toml:", "python3"]);
    is_refused(&host, "[[approval]\n", &["baseline.toml:1:", "^"]);
    is_refused(&host, "id = \"\\u001b[2J\"\n", &["baseline.toml:1:1:"]);
    assert!(!host.run(&["diff"]).stderr.contains('\u{1b}'));
}

#[test]
fn a_baseline_that_others_could_write_is_refused() {
    let Some(host) = Host::new() else { return };
    host.learn();
    host.diff().is_clean();
    let path = host.path("etc/baseline.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let told = host.run(&["diff"]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.stderr.contains("baseline.toml") && told.stderr.contains("writ"), "{told:?}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
    let told = host.run(&["diff"]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.stderr.contains("65534"), "{told:?}");
}

#[test]
fn what_is_no_readable_file_is_refused() {
    let Some(host) = Host::new() else { return };
    let path = host.path("etc/baseline.toml");
    let is_refused = |what: &str| {
        let told = host.run(&["diff"]);
        assert_eq!(told.code, 2, "{what}: {told:?}");
        assert!(told.stderr.contains("baseline.toml"), "{what}: {told:?}");
    };
    fs::create_dir(&path).unwrap();
    is_refused("a folder");
    fs::remove_dir(&path).unwrap();
    host.sh(&format!("mkfifo -m 644 {}", path.display()));
    is_refused("a pipe that nobody writes to");
    fs::remove_file(&path).unwrap();
    let huge = fs::File::create(&path).unwrap();
    huge.set_len(3 << 30).unwrap();
    is_refused("three gigabytes");
    fs::remove_file(&path).unwrap();
    host.write("etc/baseline.toml", b"# \xff\n");
    is_refused("not UTF-8");
}

#[test]
fn a_bad_configuration_and_bad_flags_are_refused() {
    let Some(host) = Host::new() else { return };
    host.write("etc/portledger.toml", "[sensor]\ninterwal = \"2s\"\n");
    let told = host.run(&["list"]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.stderr.contains("portledger.toml") && told.stderr.contains("interwal"), "{told:?}");
    host.write("etc/portledger.toml", "");
    for flags in [
        &["serve", "--web.listen-address", "nowhere"][..],
        &["serve", "--web.telemetry-path", "metrics"],
        &["list", "--format", "xml"],
        &["approve", "s1-000000000000", "--reason", "r", "--for", "never"],
        &["levitate"],
    ] {
        assert_eq!(host.run(flags).code, 2, "{flags:?}");
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let Some(host) = Host::new() else { return };
    let _other = host.listen("tcp 127.0.0.1:10433").by("other");
    let told = host.run(&["serve"]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(
        told.stderr.contains("127.0.0.1:10433") && told.stderr.contains("web.listen-address"),
        "{told:?}"
    );
}

/// At three in the morning a typo must not blind whoever looks.
#[test]
fn list_shows_what_listens_whatever_the_baseline_is() {
    let Some(host) = Host::new() else { return };
    let _app = host.listen("tcp 0.0.0.0:8080").by("app");
    host.write("etc/baseline.toml", "[[approval]\n");
    let told = host.run(&["list"]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.stdout.contains("8080") && told.stderr.contains("baseline.toml:1:"), "{told:?}");
}

#[test]
fn a_baseline_that_vanished_is_not_taken_for_one_that_never_was() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let serve = host.serve();
    let nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    crate::world::eventually("it drifts", || serve.drifts().find(8080));
    fs::remove_file(host.path("etc/baseline.toml")).unwrap();
    for verb in [&["diff"][..], &["learn"], &["list"]] {
        let told = host.run(verb);
        assert_eq!(told.code, 2, "{told:?}");
        assert!(told.stderr.contains("the baseline is gone"), "{told:?}");
    }
    assert!(host.run(&["list", "--filter", "port=8080"]).stdout.contains("unapproved"));
    nc.ends();
}

#[test]
fn a_full_standard_error_changes_no_outcome() {
    let Some(host) = Host::new() else { return };
    let mut list = host.portledger(&["list", "--format", "json"]);
    list.stdout(std::process::Stdio::null()).stderr(fs::File::create("/dev/full").unwrap());
    assert_eq!(list.status().unwrap().code(), Some(0));
}
