use std::fs;
use std::time::Instant;

use rustix::process::Signal;

use crate::audit::{acted, ledger, lines};
use crate::world::{Host, Running, eventually, finish, installed};

/// A host with acts, drift and events, its backup, and its public key as somebody fetched it before.
fn backed_up() -> Option<(Host, String, String)> {
    let host = acted()?;
    let serve = host.serve();
    serve.settles();
    let _nc = host.listen("tcp 0.0.0.0:8081").by("nc");
    eventually("the event is logged", || serve.logged("open", 8081).pop());
    eventually("the drift is kept", || host.path("state/register.json").exists().then_some(()));
    serve.running.signal(Signal::HUP);
    eventually("the reload is logged", || host.path("state/reloads.jsonl").exists().then_some(()));
    drop(serve);
    let (backup, keys) = (host.path("web.backup"), host.path("web.pub"));
    let (backup, keys) = (backup.to_str().unwrap().to_owned(), keys.to_str().unwrap().to_owned());
    host.does(&["backup", "--to", &backup]);
    fs::copy(host.path("state/ledger.key.pub"), &keys).unwrap();
    Some((host, backup, keys))
}

/// The machine is set up anew.
fn lost(host: &Host) {
    for name in ["state", "etc"] {
        if host.path(name).exists() {
            fs::remove_dir_all(host.path(name)).unwrap();
        }
    }
    fs::create_dir(host.path("etc")).unwrap();
}

const KEPT: [&str; 6] = [
    "etc/portledger.toml",
    "etc/baseline.toml",
    "state/register.json",
    "state/events.jsonl",
    "state/reloads.jsonl",
    "state/events.key.pub",
];

#[test]
fn a_backup_brings_a_lost_host_back() {
    let Some((host, backup, keys)) = backed_up() else { return };
    let mode = fs::metadata(&backup).unwrap();
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    assert!(!host.sh(&format!("tar tf {backup}")).lines().any(|name| name.ends_with(".key")));
    assert_eq!(host.run(&["backup", "--to", &backup]).code, 2, "written over");
    let kept: Vec<_> = KEPT.iter().map(|name| fs::read(host.path(name)).unwrap()).collect();
    let before = fs::read_to_string(ledger(&host)).unwrap();
    let owner = fs::metadata(host.path("state/events.jsonl")).unwrap().uid();

    lost(&host);
    assert_eq!(host.run(&["restore", &backup]).code, 2, "no key says that it is ours");
    let told = host.does(&["restore", &backup, "--host-keys", &keys, "--dry-run"]);
    assert!(
        told.stdout.contains("ledger: written whole") && told.stdout.contains("baseline.toml: new"),
        "{told:?}"
    );
    assert!(!host.path("state").exists() && !host.path("etc/baseline.toml").exists());

    let whole = fs::read(&backup).unwrap();
    let mut forged = whole.clone();
    let place = whole.windows(9).position(|window| window == b"no longer").expect("the reason of an act");
    forged[place] = b'N';
    fs::write(&backup, forged).unwrap();
    let told = host.run(&["restore", &backup, "--host-keys", &keys]);
    assert!(told.code == 2 && told.stderr.contains("is not what was bundled"), "{told:?}");
    assert!(!host.path("state").exists(), "something was written of a forged backup");
    fs::write(&backup, whole).unwrap();

    host.does(&["restore", &backup, "--host-keys", &keys]);
    for (name, content) in KEPT.iter().zip(&kept) {
        assert!(fs::read(host.path(name)).unwrap() == *content, "{name} differs");
    }
    let after = fs::read_to_string(ledger(&host)).unwrap();
    let seam = after.strip_prefix(&before).expect("the old records stand there");
    let seam = &lines(seam)[0];
    assert_eq!((&seam["act"], &seam["record"]), (&"restore".into(), &4.into()), "{seam:#}");
    assert_eq!(seam["new"]["head"]["record"], 3, "{seam:#}");
    assert!(seam["new"]["key"].is_string(), "{seam:#}");
    let told = host.does(&["audit", "--verify"]);
    assert!(told.stdout.contains("from record 4"), "{told:?}");
    assert_eq!(fs::metadata(host.path("state/events.jsonl")).unwrap().uid(), owner);
    assert_eq!(fs::metadata(host.path("state/ledger.jsonl")).unwrap().uid(), 0);

    // What is cut off its end is missed from the beginning.
    let cut = after.rsplit_once("\n{").unwrap().0.to_owned() + "\n";
    host.write("state/ledger.jsonl", cut);
    let told = host.run(&["audit"]);
    assert!(told.code == 1 && told.stderr.contains("ledger.head"), "{told:?}");
    host.write("state/ledger.jsonl", after);

    // The exporter goes on with a key of its own, and the ledger with the next act.
    let serve = host.serve();
    let refused = host.run(&["restore", &backup]);
    assert!(refused.code == 2 && refused.stderr.contains("in use by another"), "{refused:?}");
    let _nc = host.listen("tcp 0.0.0.0:8082").by("nc");
    eventually("events are logged behind the seam", || serve.logged("open", 8082).pop());
    serve.running.signal(Signal::HUP);
    eventually("and reloads", || {
        let text = fs::read_to_string(host.path("state/reloads.jsonl")).unwrap();
        (text.len() > kept[4].len()).then_some(())
    });
    drop(serve);
    let drift = host.diff().on(8082).id();
    assert_eq!(host.approve(&drift, "after the restore").code, 0);
    let told = host.does(&["audit", "--verify"]);
    assert_eq!(told.stdout.matches(" from record 1, ").count(), 4, "each log has a seam: {told:?}");
}

#[test]
fn a_ledger_that_says_something_else_is_put_aside_only_when_that_is_asked_for() {
    let Some((host, backup, keys)) = backed_up() else { return };
    lost(&host);
    host.write("etc/portledger.toml", "[sensor]\ninterval = \"200ms\"\n");
    // Of nothing that listens the same is learned within a second.
    let _late = host.listen("tcp 0.0.0.0:8082").by("late");
    host.learn();
    let other = fs::read(ledger(&host)).unwrap();
    let baseline = host.baseline();
    let told = host.run(&["restore", &backup, "--host-keys", &keys]);
    assert!(told.code == 2 && told.stderr.contains("--replace"), "{told:?}");
    assert_eq!(fs::read(ledger(&host)).unwrap(), other);

    let told = host.does(&["restore", &backup, "--host-keys", &keys, "--replace"]);
    let aside = fs::read_dir(host.path("state")).unwrap().map(|entry| entry.unwrap().path());
    let aside = aside.into_iter().find(|path| path.is_dir()).expect("a folder with what was replaced");
    assert!(told.stderr.contains(aside.to_str().unwrap()), "{told:?}");
    assert_eq!(fs::read(aside.join("ledger.jsonl")).unwrap(), other);
    assert_eq!(fs::read_to_string(aside.join("baseline.toml")).unwrap(), baseline);
    assert_eq!(host.run(&["audit", "--verify"]).code, 0);

    // What was done meanwhile is told as such, and verified where it is kept.
    let name = aside.file_name().unwrap().to_str().unwrap();
    let seam = lines(&fs::read_to_string(ledger(&host)).unwrap()).pop().unwrap();
    let replaced = &seam["new"]["replaced"];
    assert_eq!((&replaced[0]["folder"], &replaced[0]["records"]), (&name.into(), &1.into()), "{seam:#}");
    assert_eq!(replaced[0]["head"]["record"], 1, "{seam:#}");
    let hash = replaced[0]["head"]["hash"].as_str().unwrap();
    let put_aside =
        format!("record 4 put a ledger of 1 records, head 1:{hash}, aside: its acts are in {name}");
    assert!(host.does(&["audit"]).stderr.contains(&put_aside));
    assert!(host.does(&["audit", "--verify"]).stdout.contains(&put_aside));
    let told = host.does(&["audit", "--endpoint", "tcp/8443", "--at", "1s"]);
    assert!(told.stdout.contains(&format!("what was done in between: ledger {put_aside}")), "{told:?}");
    let mut there = host.command(env!("CARGO_BIN_EXE_portledger"));
    there.arg("audit").arg("--state").arg(&aside);
    let told = finish(there);
    assert!(told.code == 0 && told.stderr.contains(&format!("head 1:{hash}")), "{told:?}");
}

/// Memory of revocations is put back as root's: what the exporter's user takes away is not missed.
#[test]
fn what_was_revoked_stays_so_on_the_new_machine() {
    use std::os::unix::fs::MetadataExt;
    if !installed(&["ssh-keygen"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let alice = host.person("alice");
    host.demands_signatures(&[&alice], "");
    host.write("etc/baseline.toml", "# what is approved\n");
    let _app = host.listen("tcp 0.0.0.0:8080").by("app");
    let id = host.diff().on(8080).id();
    host.does(&["approve", &id, "--reason", "r", "--name", "shop", "--key", alice.key()]);
    let signed = host.baseline();
    host.does(&["revoke", "shop"]);
    let (backup, keys) = (host.path("web.backup"), host.path("web.pub"));
    let (backup, keys) = (backup.to_str().unwrap(), keys.to_str().unwrap());
    host.does(&["backup", "--to", backup]);
    fs::copy(host.path("state/ledger.key.pub"), keys).unwrap();
    lost(&host);
    host.does(&["restore", backup, "--host-keys", keys]);
    let memory = fs::metadata(host.path("state/ledger.revoked.json")).unwrap();
    assert_eq!((memory.uid(), memory.mode() & 0o777), (0, 0o644));
    fs::remove_file(host.path("state/withdrawn.json")).unwrap();
    host.write("etc/baseline.toml", signed);
    let why = host.diff().on(8080).shows("untrusted").get("differs").to_string();
    assert!(why.contains("was revoked or renewed: up to serial 1"), "{why}");

    // What was revoked since the backup stays so, also where all else is as it was then.
    let anew = ["approve", "shop", "--reason", "r", "--key", alice.key()];
    host.does(&anew);
    let signed = host.baseline();
    host.does(&["revoke", "shop"]);
    host.does(&["restore", backup, "--host-keys", keys, "--replace"]);
    host.write("etc/baseline.toml", signed);
    let why = host.diff().on(8080).shows("untrusted").get("differs").to_string();
    assert!(why.contains("was revoked or renewed: up to serial 2"), "{why}");
    let told = host.does(&["audit"]);
    assert!(told.stderr.contains("put a ledger of 5 records"), "{told:?}");
}

/// Ended at any instant, it leaves what a second one completes.
#[test]
fn a_restore_that_is_killed_is_completed_by_another() {
    let Some((host, backup, keys)) = backed_up() else { return };
    let kept: Vec<_> = KEPT.iter().map(|name| fs::read(host.path(name)).unwrap()).collect();
    let words = ["restore", &backup, "--host-keys", &keys];
    let once = |_| {
        lost(&host);
        let began = Instant::now();
        host.does(&words);
        began.elapsed()
    };
    // One of them may have stalled, and most kills would come too late.
    let takes = (0..3).map(once).min().unwrap();
    let (mut killed, mut halfway) = (0, 0);
    for step in (0..60).cycle().take(400) {
        if killed == 60 {
            break;
        }
        lost(&host);
        let mut command = host.portledger(&words);
        // What it unpacked stays behind.
        command.env("TMPDIR", host.path("log"));
        command.stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        killed += u32::from(Running::kill_after(takes * step / 60, command) != Some(0));
        let begun = host.path("state/ledger.key.pub").exists();
        halfway += u32::from(begun && !host.path("state/ledger.key").exists());
        host.does(&words);
        for (name, content) in KEPT.iter().zip(&kept) {
            assert!(fs::read(host.path(name)).unwrap() == *content, "step {step}: {name} differs");
        }
        let told = host.does(&["audit", "--verify"]);
        assert!(told.stdout.contains("ledger: 4 records"), "step {step}: {told:?}");
    }
    host.does(&words);
    let told = host.does(&["audit", "--verify"]);
    assert!(told.stdout.contains("ledger: 4 records"), "restored already: {told:?}");
    assert!(killed >= 50, "only {killed} were killed before they were done in {takes:?}");
    eprintln!("{killed} were killed, {halfway} of them while they wrote");
}

#[test]
fn a_ledger_that_lost_its_end_is_not_handed_on_as_whole() {
    let Some((host, backup, keys)) = backed_up() else { return };
    let nc = host.listen("tcp 0.0.0.0:8082").by("nc");
    assert_eq!(host.approve(&host.diff().on(8082).id(), "nobody shall know").code, 0);
    nc.ends();
    let text = fs::read_to_string(ledger(&host)).unwrap();
    let cut = text.trim_end().rfind('\n').unwrap() + 1;
    host.write("state/ledger.jsonl", &text[..cut]);

    // Neither to an auditor nor to tomorrow's admin.
    let bundle = host.path("cut.bundle");
    let told = host.run(&["audit", "export", "--to", bundle.to_str().unwrap()]);
    assert!(told.code == 1 && told.stderr.contains("ledger.head"), "{told:?}");
    let told = host.run(&["audit", "verify", bundle.to_str().unwrap(), "--host-keys", &keys]);
    assert!(told.code == 1 && told.stdout.contains("BROKEN"), "{told:?}");
    let later = host.path("cut.backup");
    assert_eq!(host.run(&["backup", "--to", later.to_str().unwrap()]).code, 1);

    let told = host.run(&["restore", &backup, "--host-keys", &keys]);
    assert!(told.code == 2 && told.stderr.contains("nothing was restored"), "{told:?}");
    host.does(&["restore", &backup, "--host-keys", &keys, "--replace"]);
    let seam = lines(&fs::read_to_string(ledger(&host)).unwrap()).pop().unwrap();
    assert_eq!(seam["new"]["missing"]["record"], 4, "{seam:#}");
}
