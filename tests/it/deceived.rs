//! What somebody does so that `audit` says something else than what was.

use std::fs;
use std::time::Duration;

use ledger::{HostKey, Keeping, Writer};
use rustix::process::Signal;

use crate::audit::{acted, ledger, lines};
use crate::world::{Host, eventually};

#[test]
fn a_ledger_whose_beginning_was_cut_is_broken() {
    let Some(host) = acted() else { return };
    let keys = host.path("web.pub");
    fs::copy(host.path("state/ledger.key.pub"), &keys).unwrap();
    let whole = fs::read_to_string(ledger(&host)).unwrap();
    let (_, cut) = whole.split_once('\n').unwrap();
    fs::write(ledger(&host), cut).unwrap();
    let at = ["audit", "--endpoint", "tcp/8443", "--at", "1s"];
    for verb in [&["audit"][..], &["audit", "--verify"], &at] {
        let told = host.run(verb);
        let text = format!("{}{}", told.stdout, told.stderr);
        assert!(told.code == 1 && text.contains("where record 1 belongs stands 2"), "{verb:?}: {told:?}");
    }
    let answer = host.run(&at).stdout;
    assert!(answer.contains("what the ledger said from record 1 on"), "{answer}");
    let bundle = host.path("web.bundle");
    let bundle = bundle.to_str().unwrap();
    assert_eq!(host.run(&["audit", "export", "--to", bundle]).code, 1);
    let told = host.run(&["audit", "verify", bundle, "--host-keys", keys.to_str().unwrap()]);
    assert!(told.code == 1 && told.stdout.contains("where record 1 belongs stands 2"), "{told:?}");

    // What retention drops are whole segments, and that is told as well.
    fs::rename(ledger(&host), host.path("state/ledger.jsonl.2")).unwrap();
    let told = host.does(&at);
    assert!(told.stdout.contains("what the ledger said before record 2"), "{told:?}");
    assert!(told.stderr.contains("those before 2 are not there"), "{told:?}");
}

/// The exporter's user may put files into the state folder.
#[test]
fn what_somebody_else_put_beside_the_ledger_is_not_believed() {
    let Some(host) = acted() else { return };
    let told = |verb: &[&str], name: &str| {
        let told = host.run(verb);
        let path = host.path("state").join(name).display().to_string();
        for part in ["belongs to uid 65534", &format!("mv {path} {path}.refused")] {
            assert!(told.code != 0 && told.stderr.contains(part), "{verb:?}: {told:?}");
        }
        assert!(told.stdout.is_empty(), "{verb:?}: {told:?}");
    };
    let bundle = host.path("web.bundle").display().to_string();
    let at = ["audit", "--endpoint", "tcp/8443", "--at", "1s"];
    let verbs: [&[&str]; 8] = [
        &["audit"],
        &["audit", "--verify"],
        &["audit", "--person", "alice"],
        &at,
        &["audit", "export", "--to", &bundle],
        &["backup", "--to", &bundle],
        &["restore", &bundle],
        &["revoke", "web-2"],
    ];
    let _nc = host.listen("tcp 0.0.0.0:8443").by("nc");
    let drift = host.diff().on(8443).id();
    host.does(&["approve", &drift, "--reason", "again", "--name", "web-2"]);
    for name in ["ledger.jsonl", "ledger.key.pub", "ledger.head", ".ledger.lock", ".ledger.key.lock"] {
        let path = host.path("state").join(name);
        let made = !path.exists();
        if made {
            fs::write(&path, "").unwrap();
        }
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        verbs.iter().for_each(|verb| told(verb, name));
        let shown = host.run(&["show", "8443"]);
        let words: Vec<&str> = shown.stdout.split_whitespace().collect();
        assert!(words.join(" ").contains("belongs to uid 65534"), "{shown:?}");
        match made {
            true => fs::remove_file(&path).unwrap(),
            false => std::os::unix::fs::chown(&path, Some(0), None).unwrap(),
        }
    }
    host.does(&["revoke", "web-2"]);
    assert_eq!(host.run(&["audit"]).code, 0);
}

/// An act on the whole baseline explains one reading of it, not each that comes after.
#[test]
fn a_learned_baseline_that_is_put_back_is_told() {
    let Some(host) = Host::new() else { return };
    let _nc = host.listen("tcp 0.0.0.0:8443").by("nc");
    let serve = host.serve();
    host.learn();
    let learned = host.baseline();
    let changes = |count: usize| {
        eventually("serve has read it", || {
            let text = fs::read_to_string(host.path("state/reloads.jsonl")).ok()?;
            let all = lines(text.rsplit_once('\n')?.0);
            (all.iter().filter(|record| record["approval"] == "nc").count() == count).then_some(())
        });
    };
    changes(1);
    host.does(&["revoke", "nc", "--reason", "a back door"]);
    changes(2);
    host.write("etc/baseline.toml", &learned);
    serve.running.signal(Signal::HUP);
    changes(3);
    let told = host.does(&["audit", "--approval", "nc", "--format", "json"]);
    let acts = lines(&told.stdout);
    let last = acts.last().unwrap();
    assert!(last["act"] == "reload" && last["new"].is_object(), "{told:?}");
}

/// Whoever has the host's newest key signs another past with it alone.
#[test]
fn a_new_key_cannot_write_the_ledger_anew() {
    let Some(host) = acted() else { return };
    let state = host.path("state");
    let acts: Vec<String> = fs::read_to_string(ledger(&host)).unwrap().lines().map(body).collect();
    for name in ["ledger.jsonl", "ledger.key", "ledger.head"] {
        fs::remove_file(state.join(name)).unwrap_or_default();
    }
    let key = HostKey::load_or_create(&state.join("ledger.key")).unwrap();
    let keeping = Keeping { segment: 1 << 20, segments: None, mode: 0o640, synced: false };
    let mut writer = Writer::open(&state, "ledger", key, keeping, Duration::ZERO).unwrap();
    for act in &acts[..2] {
        writer.append(&[act]).unwrap();
    }
    drop(writer);
    for verb in [&["audit"][..], &["audit", "--verify"]] {
        let told = host.run(verb);
        let text = format!("{}{}", told.stdout, told.stderr);
        assert!(told.code == 1 && text.contains("which was not this host's key then"), "{told:?}");
    }
    // Nor does this host begin a ledger where an older key may have signed one.
    fs::remove_file(ledger(&host)).unwrap();
    let _nc = host.listen("tcp 0.0.0.0:8443").by("nc");
    let drift = host.diff().on(8443).id();
    let told = host.run(&["approve", &drift, "--reason", "again"]);
    assert!(told.code != 0 && told.stderr.contains("and no record is there"), "{told:?}");
}

/// What an act says, without the chain.
fn body(line: &str) -> String {
    let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
    let fields = record.as_object_mut().unwrap();
    for name in ["record", "previous", "signature"] {
        fields.remove(name);
    }
    record.to_string()
}

/// Its key signed nothing, and so is not the ledger's first one.
#[test]
fn a_host_on_which_nobody_acted_is_restored_to_another() {
    let Some(host) = Host::new() else { return };
    let (backup, keys) = (host.path("web.backup"), host.path("web.pub"));
    let (backup, keys) = (backup.to_str().unwrap(), keys.to_str().unwrap());
    host.write("etc/baseline.toml", "");
    host.does(&["backup", "--to", backup]);
    fs::copy(host.path("state/ledger.key.pub"), keys).unwrap();
    fs::remove_dir_all(host.path("state")).unwrap();
    host.does(&["restore", backup, "--host-keys", keys]);
    host.does(&["audit", "--verify"]);
    host.does(&["audit"]);
}
