//! The ledger as a bundle that an auditor carries away.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::audit::{acted, lines};
use crate::world::{Told, eventually, finish};

#[test]
fn what_is_no_bundle_is_said_to_be_none() {
    let Some(host) = acted() else { return };
    let file = host.path("state/ledger.jsonl");
    let keys = host.path("state/ledger.key.pub");
    let (file, keys) = (file.to_str().unwrap(), keys.to_str().unwrap());
    let empty = host.path("empty");
    fs::write(&empty, "").unwrap();
    for file in [file, empty.to_str().unwrap()] {
        for verb in [
            &["audit", "verify", file][..],
            &["audit", "verify", file, "--host-keys", keys],
            &["audit", "--from", file, "--host-keys", keys],
        ] {
            let told = host_less(verb);
            assert!(
                told.code == 2 && told.stderr.contains(&format!("{file}: it is no bundle")),
                "{verb:?}: {told:?}"
            );
        }
    }
    let bundle = host.path("web.bundle");
    let bundle = bundle.to_str().unwrap();
    host.does(&["audit", "export", "--to", bundle]);
    let told = host_less(&["audit", "verify", bundle, "--host-keys", "/nowhere.pub"]);
    assert!(told.code == 2 && told.stderr.contains("/nowhere.pub: there is no such file"), "{told:?}");
}

/// Without this host's files.
fn host_less(arguments: &[&str]) -> Told {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portledger"));
    command.args(arguments);
    finish(command)
}

/// The bundle as another machine has it: no configuration, no state, no root.
fn elsewhere(arguments: &[&str]) -> Told {
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "--",
        env!("CARGO_BIN_EXE_portledger"),
    ]);
    finish({
        command.args(arguments).env_clear().env("TMPDIR", "/tmp");
        command
    })
}

fn readable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

#[test]
fn an_auditor_verifies_a_bundle_on_another_machine() {
    let Some(host) = acted() else { return };
    let serve = host.serve();
    serve.settles();
    eventually("what it saw is written down", || {
        fs::read(host.path("state/events.jsonl")).ok().filter(|log| !log.is_empty())
    });
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    eventually("an alert is", || {
        fs::read(host.path("state/alerts.jsonl")).ok().filter(|log| !log.is_empty())
    });
    drop(serve);
    let (bundle, keys) = (host.path("web.bundle"), host.path("web.pub"));
    let (bundle, keys) = (bundle.to_str().unwrap(), keys.to_str().unwrap());
    host.does(&["audit", "export", "--to", bundle]);
    fs::copy(host.path("state/ledger.key.pub"), keys).unwrap();
    let listed = host.sh(&format!("tar tvf {bundle}"));
    assert!(
        ["ledger", "events", "alerts"].iter().all(|log| listed.contains(&format!("state/{log}.jsonl"))),
        "{listed}"
    );
    assert!(!listed.contains(".key\n"), "a private key: {listed}");
    assert_eq!(host.run(&["audit", "export", "--to", bundle]).code, 2, "written over");

    readable(Path::new(bundle));
    let told = elsewhere(&["audit", "verify", bundle, "--host-keys", keys]);
    assert_eq!(told.code, 0, "{told:?}");
    for word in [
        "web-17",
        "ledger: 3 records",
        "events: ",
        "reloads: ",
        "logins: ",
        "alerts: ",
        "all signed by SHA256:",
        "head 3:",
    ] {
        assert!(told.stdout.contains(word), "{word}: {told:?}");
    }
    let told = elsewhere(&["audit", "verify", bundle]);
    assert!(told.code == 1 && told.stderr.contains("proves nothing"), "{told:?}");
    let read = ["audit", "--from", bundle, "--host-keys", keys, "--act", "revoke", "--format", "json"];
    let told = elsewhere(&read);
    assert!(told.code == 0 && lines(&told.stdout)[0]["reason"] == "no longer", "{told:?}");

    // A stranger's keys, and changed bytes, wherever they are.
    let stranger = host.path("stranger.pub");
    host.sh(&format!(
        "rm -f /tmp/k; ssh-keygen -q -t ed25519 -N '' -f {0}; mv {0}.pub {0}",
        stranger.display()
    ));
    let told = elsewhere(&["audit", "verify", bundle, "--host-keys", stranger.to_str().unwrap()]);
    assert!(told.code == 1 && told.stderr.contains("none of this host's keys"), "{told:?}");
    let whole = fs::read(bundle).unwrap();
    for place in (0..whole.len()).step_by(whole.len() / 20) {
        let mut bytes = whole.clone();
        // What fills a tar up to whole blocks means nothing, nor does the blank that ends a header's sum.
        if bytes[place] == 0 || (bytes[place] == b' ' && bytes[place - 1] == 0) {
            continue;
        }
        bytes[place] ^= 1;
        fs::write(bundle, bytes).unwrap();
        let told = elsewhere(&["audit", "verify", bundle, "--host-keys", keys]);
        assert!(told.code == 1 || told.code == 2, "byte {place}: {told:?}");
    }
    assert_eq!(elsewhere(&["audit", "verify", "/nowhere", "--host-keys", keys]).code, 2);
}
