//! Acts of people where something is wrong with the disk, the files, the environment or the clock: each ends clearly,
//! loses nothing, and works when the trouble is over.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ledger::{Act, ActKind, HostKey, HostKeys, Keeping, Writer, verify};

use crate::world::{CALLS, Host, Told, eventually, finish, installed};

const SHOP: &str =
    "[[approval]]\nid = \"shop\"\nlisten = \"tcp/*:80\"\nprogram = \"/bin/shop\"\nreason = \"r\"\n";
const REVOKE_SHOP: [&str; 4] = ["revoke", "shop", "--reason", "closed"];

/// A host with one approval, which can be revoked.
fn host() -> Option<Host> {
    let host = Host::new()?;
    host.write("etc/baseline.toml", SHOP);
    Some(host)
}

#[track_caller]
fn is_told(told: &Told, words: &[&str]) {
    assert_eq!(told.code, 2, "{told:?}");
    for word in words {
        assert!(told.stderr.contains(word), "no {word:?} in {}", told.stderr);
    }
}

/// A verb that a shell starts.
fn by_shell(host: &Host, script: &str, verb: &[&str]) -> Command {
    let plain = host.portledger(verb);
    let words: Vec<_> = plain.get_args().skip_while(|word| *word != "--").skip(1).collect();
    let mut shell = host.command("sh");
    shell.args(["-c", script, "sh"]).args(words);
    shell
}

/// A verb by the folder of the configuration, as it is installed.
fn by_folder(host: &Host, verb: &[&str]) -> Told {
    let mut command = host.command(env!("CARGO_BIN_EXE_portledger"));
    command.args(verb).arg("--config").arg(host.path("etc/portledger.toml"));
    command.arg("--state").arg(host.path("state"));
    finish(command)
}

/// What the ledger in a folder holds, every record of which is vouched for.
fn acts_in(state: &Path) -> Vec<Act> {
    let Ok(ledger) = fs::read_to_string(state.join("ledger.jsonl")) else { return Vec::new() };
    let keys = HostKeys::read(&state.join("ledger.key.pub")).unwrap();
    let verified = verify(state, "ledger", &keys, |_| {}).unwrap_or_else(|wrong| panic!("{wrong}: {ledger}"));
    let whole = ledger.lines().take(usize::try_from(verified.records).unwrap());
    whole.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn kinds(acts: &[Act]) -> Vec<ActKind> {
    acts.iter().map(|act| act.act).collect()
}

/// The act was done and recorded, or neither.
#[track_caller]
fn is_whole(host: &Host, told: &Told, what: &str) {
    let acts = kinds(&acts_in(&host.path("state")));
    let is_done = !host.baseline().contains("shop");
    let expected: &[&[ActKind]] = match is_done {
        true => &[&[ActKind::Revoke]],
        // One that was killed is taken back by the next act.
        false => &[&[], &[ActKind::Revoke, ActKind::Undone], &[ActKind::Revoke]],
    };
    assert!(expected.contains(&&acts[..]), "{what}: {acts:?}: {told:?}");
    assert!(is_done || told.code != 0, "{what}: {told:?}");
    assert!(
        told.code == 0 || !told.stderr.is_empty() || told.code < 0 || told.code > 128,
        "{what}: {told:?}"
    );
}

/// As if nothing had been.
fn afresh(host: &Host) {
    fs::remove_dir_all(host.path("state")).unwrap_or_default();
    host.write("etc/baseline.toml", SHOP);
}

#[test]
fn a_full_disk_under_the_state_does_nothing() {
    let Some(host) = host() else { return };
    let state = host.path("state").display().to_string();
    fs::create_dir(host.path("state")).unwrap();
    for free in 0..8 {
        host.write("etc/baseline.toml", SHOP);
        host.sh(&format!(
            "mount -t tmpfs -o size=64k,mode=0750 none {state}; cd {state}
             for n in $(seq 1 16); do head -c 4096 /dev/zero >$n 2>/dev/null || true; done
             for n in $(seq 1 {free}); do rm $n; done"
        ));
        let told = host.run(&REVOKE_SHOP);
        let is_done = !host.baseline().contains("shop");
        match is_done {
            true if told.code != 0 => is_told(&told, &["it is done and recorded", "No space left"]),
            _ => assert_eq!(told.code, if is_done { 0 } else { 2 }, "{free}: {told:?}"),
        }
        if !is_done {
            is_told(&told, &["nothing was done", "cannot be recorded", "state", "No space left"]);
            assert_eq!(host.baseline(), SHOP);
        }
        host.sh(&format!("cd {state}; for n in $(seq 1 16); do rm -f $n; done"));
        if !is_done {
            host.does(&REVOKE_SHOP);
        }
        let copy = host.path(format!("log/{free}"));
        host.sh(&format!("cp -a {state} {}; umount {state}", copy.display()));
        assert_eq!(kinds(&acts_in(&copy)), [ActKind::Revoke], "{free}");
    }
}

#[test]
fn a_full_disk_under_the_baseline_takes_the_act_back() {
    let Some(host) = host() else { return };
    let etc = host.path("etc").display().to_string();
    host.sh(&format!(
        "cp -a {etc} {etc}.old; mount -t tmpfs -o size=64k,mode=0755 none {etc}; cp -a {etc}.old/. {etc}
         printf '# %8000s\\n' >>{etc}/baseline.toml
         for n in $(seq 1 16); do head -c 4096 /dev/zero >{etc}/$n 2>/dev/null || true; done"
    ));
    let before = host.sh(&format!("cat {etc}/baseline.toml"));
    let told = host.run(&REVOKE_SHOP);
    is_told(&told, &["baseline.toml", "No space left"]);
    assert_eq!(host.sh(&format!("cat {etc}/baseline.toml")), before);
    assert!(!host.sh(&format!("ls -A {etc}")).contains(".new"));
    let acts = kinds(&acts_in(&host.path("state")));
    assert!([&[ActKind::Revoke, ActKind::Undone][..], &[]].contains(&&acts[..]), "{acts:?}");
    host.sh(&format!("for n in $(seq 1 16); do rm -f {etc}/$n; done"));
    host.does(&REVOKE_SHOP);
    assert!(!host.sh(&format!("cat {etc}/baseline.toml")).contains("shop"));
    assert_eq!(kinds(&acts_in(&host.path("state"))).last(), Some(&ActKind::Revoke));
}

/// A disk that fails once, at each call.
#[test]
fn a_call_that_fails_is_told_and_leaves_nothing_half_done() {
    let Some(host) = host().filter(Host::lets_tamper) else { return };
    let mut failed = 0;
    for call in CALLS.into_iter().filter(|call| *call != "close") {
        for nth in 1.. {
            afresh(&host);
            let tampered = host.tampered(call, nth, "error=EIO", &REVOKE_SHOP);
            let Some(place) = tampered.call else { break };
            failed += 1;
            is_whole(&host, &tampered.told, &place);
            let is_done = !host.baseline().contains("shop");
            if !is_done {
                host.does(&REVOKE_SHOP);
            }
            assert_eq!(kinds(&acts_in(&host.path("state"))).last(), Some(&ActKind::Revoke), "{place}");
        }
    }
    assert!(failed > 50, "{failed}");
}

#[test]
fn a_limit_of_file_size_loses_nothing() {
    let Some(host) = host() else { return };
    for bytes in [0, 50, 150, 390, 500, 800, 1000] {
        afresh(&host);
        host.write("etc/baseline.toml", format!("{SHOP}# {}\n", "x".repeat(600)));
        let told = finish(by_shell(&host, &format!("exec prlimit --fsize={bytes} \"$@\""), &REVOKE_SHOP));
        is_whole(&host, &told, &bytes.to_string());
        if told.code != 0 {
            host.does(&REVOKE_SHOP);
        }
        assert_eq!(kinds(&acts_in(&host.path("state"))).last(), Some(&ActKind::Revoke), "{bytes}");
    }
}

#[test]
fn two_admins_at_once_are_both_in_the_ledger() {
    if !installed(&["ssh-keygen"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let (alice, bob) = (host.person("alice"), host.person("bob"));
    host.demands_signatures(&[&alice, &bob], "");
    host.write("etc/baseline.toml", "# what is approved\n");
    let _one = host.listen("tcp 0.0.0.0:8081").by("one");
    let _two = host.listen("tcp 0.0.0.0:8082").by("two");
    let drifts = host.diff();
    let both = [(drifts.on(8081).id(), "one", &alice), (drifts.on(8082).id(), "two", &bob)];
    std::thread::scope(|scope| {
        for (id, name, person) in &both {
            scope.spawn(|| {
                eventually("it is approved", || {
                    let words = ["approve", id, "--reason", "r", "--name", name, "--key", person.key()];
                    let told = host.run(&words);
                    // The other one may be at it for longer than it is waited for.
                    assert!(told.code == 0 || told.stderr.contains("by another "), "{told:?}");
                    (told.code == 0).then_some(())
                });
            });
        }
    });
    host.diff().is_clean();
    let acts = acts_in(&host.path("state"));
    let mut who: Vec<_> = acts.iter().filter_map(|act| act.who.principal.clone()).collect();
    who.sort();
    assert_eq!(who, [alice.name.as_str(), bob.name.as_str()]);
    assert_eq!(kinds(&acts), [ActKind::Approve; 2]);
}

#[test]
fn a_clock_that_went_back_stops_nobody() {
    let Some(host) = host() else { return };
    host.write("etc/baseline.toml", format!("{SHOP}\n{}", SHOP.replace("shop", "spare")));
    host.does(&["revoke", "spare"]);
    let state = host.path("state");
    let mut later = acts_in(&state).pop().unwrap();
    later.time = "2099-01-01T00:00:00Z".to_owned();
    let key = HostKey::load_or_create(&state.join("ledger.key")).unwrap();
    let keeping = Keeping { segment: 1 << 20, segments: None, mode: 0o640, synced: true };
    let mut writer = Writer::open(&state, "ledger", key, keeping, Duration::ZERO).unwrap();
    writer.append(&[serde_json::to_vec(&later).unwrap()]).unwrap();
    drop(writer);
    host.does(&REVOKE_SHOP);
    let acts = acts_in(&state);
    assert_eq!(kinds(&acts), [ActKind::Revoke; 3]);
    assert!(acts[2].time < acts[1].time);
}

#[test]
fn what_is_no_ledger_is_left_alone() {
    let Some(host) = host() else { return };
    host.does(&["baseline", "check"]);
    let path = |name: &str| host.path("state").join(name).display().to_string();
    for (script, words) in [
        ("ln -s /etc/passwd LEDGER", &["ledger.jsonl", "not a regular file"][..]),
        ("mkfifo LEDGER", &["ledger.jsonl", "not a regular file"]),
        ("mkdir LEDGER", &["ledger.jsonl", "not a regular file"]),
        ("touch LEDGER; chown 65534 LEDGER", &["ledger.jsonl", "uid 65534"]),
        ("echo nonsense >LEDGER", &["ledger.jsonl", "no record"]),
        ("mkfifo KEY", &["ledger.key", "not a regular file"]),
        ("ln -s /etc/shadow KEY", &["ledger.key", "not a regular file"]),
        ("echo nonsense >KEY; chmod 600 KEY", &["ledger.key", "not an ed25519 private key"]),
        ("touch KEY; chmod 644 KEY", &["ledger.key", "can be read by others"]),
        ("mkfifo LOCK", &["ledger"]),
        ("mkdir LOCK", &["ledger"]),
        ("chmod 777 STATE", &["state: everybody can write to it", "chmod o-w"]),
        ("rmdir STATE; touch STATE", &["state"]),
        ("rmdir STATE; ln -s /nowhere STATE", &["state"]),
    ] {
        fs::remove_dir_all(host.path("state"))
            .or_else(|_| fs::remove_file(host.path("state")))
            .unwrap_or_default();
        fs::create_dir(host.path("state")).unwrap();
        let (ledger, key, lock) = (path("ledger.jsonl"), path("ledger.key"), path(".ledger.lock"));
        let state = host.path("state").display().to_string();
        let script = script.replace("LEDGER", &ledger).replace("KEY", &key).replace("LOCK", &lock);
        host.sh(&script.replace("STATE", &state));
        let told = host.run(&REVOKE_SHOP);
        is_told(&told, words);
        assert_eq!(host.baseline(), SHOP, "{script}");
    }
}

#[test]
fn a_baseline_is_believed_by_each_folder_on_the_way_to_it() {
    let Some(host) = host() else { return };
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(host.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let check = || host.run(&["diff"]);
    assert_eq!(check().code, 0);
    for folder in ["etc", ""] {
        for bits in [0o777, 0o757] {
            mode(folder, bits);
            is_told(
                &check(),
                &["others may put another file there", "chmod go-w", &format!("mode {bits:04o}")],
            );
            is_told(&host.run(&REVOKE_SHOP), &["others may put another file there"]);
        }
        mode(folder, 0o1777);
        assert_eq!(check().code, 0, "a sticky folder keeps what is root's");
        mode(folder, 0o755);
        std::os::unix::fs::chown(host.path(folder), Some(65534), None).unwrap();
        is_told(&check(), &["belongs to uid 65534", "who could put another file there", "chown root"]);
        std::os::unix::fs::chown(host.path(folder), Some(0), None).unwrap();
    }
    assert_eq!(check().code, 0);
    // A link's own folder counts, and its owner.
    let etc = host.path("etc").display().to_string();
    host.sh(&format!(
        "cd {etc}; mkdir -m 755 ../git ../stranger; mv baseline.toml ../git; chown 65534 ../stranger
         ln -s ../stranger/link baseline.toml; ln -s ../git/baseline.toml ../stranger/link"
    ));
    is_told(&check(), &["stranger belongs to uid 65534"]);
    host.sh(&format!("cd {etc}; ln -sf ../git/baseline.toml baseline.toml; chown -h 65534 baseline.toml"));
    is_told(&check(), &["symbolic link of uid 65534", "chown -h root"]);
    host.sh(&format!("cd {etc}; chown -h 0 baseline.toml"));
    assert_eq!(check().code, 0);
    host.does(&REVOKE_SHOP);
    let is_link = fs::symlink_metadata(host.path("etc/baseline.toml")).unwrap().is_symlink();
    assert!(is_link && !host.baseline().contains("shop"), "what it leads to is edited");
    // Where it leads is not there now: that is not an empty baseline.
    fs::remove_file(host.path("git/baseline.toml")).unwrap();
    is_told(&check(), &["baseline.toml", "leads nowhere"]);
    is_told(&host.run(&["learn"]), &["leads nowhere"]);
    host.sh(&format!("cd {etc}; ln -sf baseline.toml baseline.toml"));
    is_told(&check(), &["baseline.toml", "symbolic links"]);
}

#[test]
fn a_folder_of_a_baseline_may_be_a_link() {
    let Some(host) = host() else { return };
    let etc = host.path("etc").display().to_string();
    host.sh(&format!("cd {etc}; mkdir -m 755 ../git; ln -s ../git baseline.d"));
    host.write("git/90-local.toml", SHOP.replace("shop", "local"));
    assert_eq!(by_folder(&host, &["revoke", "local"]).code, 0);
    assert!(!fs::read_to_string(host.path("git/90-local.toml")).unwrap().contains("local\""));
    host.sh(&format!(
        "cd {etc}; mv ../git/90-local.toml ../git/elsewhere; ln -s elsewhere ../git/90-local.toml"
    ));
    let _app = host.listen("tcp 0.0.0.0:8080").by("app");
    let id = host.diff().on(8080).id();
    let told = by_folder(&host, &["approve", &id, "--reason", "r", "--name", "app"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(fs::read_to_string(host.path("git/elsewhere")).unwrap().contains("\"app\""));
    fs::set_permissions(host.path("git"), fs::Permissions::from_mode(0o777)).unwrap();
    is_told(&by_folder(&host, &["diff"]), &["baseline.d", "others may write"]);
    host.sh(&format!("cd {etc}; chmod 755 ../git; mv ../git ../moved"));
    is_told(&by_folder(&host, &["diff"]), &["baseline.d", "leads nowhere"]);
}

#[test]
fn no_file_that_is_named_keeps_anybody_waiting() {
    if !installed(&["ssh-keygen"]) {
        return;
    }
    let Some(host) = host() else { return };
    let alice = host.person("alice");
    host.demands_signatures(&[&alice], "");
    for name in ["etc/allowed_signers", "etc/revoked_keys", "etc/portledger.toml", "etc/.baseline.toml.lock"]
    {
        let path = host.path(name);
        let kept = fs::read(&path).ok();
        for script in ["mkfifo -m 600 FILE", "mkdir FILE", "mknod -m 600 FILE c 1 5"] {
            host.sh(&format!(
                "rm -rf {0}; {1}",
                path.display(),
                script.replace("FILE", path.to_str().unwrap())
            ));
            let told = host.run(&REVOKE_SHOP);
            match (name.ends_with(".lock"), script.starts_with("mknod")) {
                // A device can be locked as well.
                (true, true) => {}
                _ => is_told(&told, &[name]),
            }
        }
        fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)).unwrap();
        kept.into_iter().for_each(|kept| host.write(name, kept));
        host.write("etc/baseline.toml", SHOP);
    }
    for (script, words) in
        [("mkfifo -m 600 FILE", "no regular file"), ("mkdir FILE", "no regular file"), (":", "FILE")]
    {
        let key = host.path("keys/odd").display().to_string();
        host.sh(&format!("rm -rf {key}; {}", script.replace("FILE", &key)));
        let told = host.run(&["approve", "shop", "--reason", "r", "--key", &key]);
        is_told(&told, &[&key, &words.replace("FILE", &key)]);
    }
}

#[test]
fn the_environment_decides_nothing() {
    let Some(host) = host() else { return };
    for script in [
        "umask 0777; exec \"$@\"",
        "umask 0; exec \"$@\"",
        "exec env -i \"$@\"",
        "TMPDIR=/nowhere HOME=/nowhere XDG_CONFIG_HOME=relative XDG_STATE_HOME= RUST_LOG=trace,=,=,[ exec \"$@\"",
        "HOME=$(printf '\\033[2J') SUDO_USER=$(printf '\\033[2J\\nroot') TZ=nowhere LANG=xx exec \"$@\"",
        "RUST_BACKTRACE=full RUST_MIN_STACK=1 exec \"$@\"",
        "exec \"$@\" <&-",
        "exec \"$@\" >&-",
        "exec \"$@\" 2>&-",
        "exec \"$@\" <&- >&- 2>&-",
        "exec \"$@\" >/dev/full",
        "exec \"$@\" >/dev/full 2>/dev/full",
        "\"$@\" | true",
        "exec \"$@\" 2>&1 <&1 >/dev/null",
        "cd /; exec \"$@\"",
    ] {
        afresh(&host);
        let told = finish(by_shell(&host, script, &REVOKE_SHOP));
        assert_eq!(told.code, 0, "{script}: {told:?}");
        assert!(!host.baseline().contains("shop"), "{script}");
        assert_eq!(kinds(&acts_in(&host.path("state"))), [ActKind::Revoke], "{script}");
        let mode = |name: &str| fs::metadata(host.path(name)).unwrap().permissions().mode() & 0o7777;
        let modes =
            ["state", "state/ledger.jsonl", "state/ledger.key", "state/ledger.key.pub", "etc/baseline.toml"];
        assert_eq!(modes.map(mode), [0o750, 0o640, 0o600, 0o644, 0o644], "{script}");
        assert!(!told.stdout.contains('\u{1b}') && !told.stderr.contains('\u{1b}'), "{script}: {told:?}");
    }
}

/// What is approved first stands, whatever becomes of the output; what comes after it is approved too.
#[test]
fn nobody_need_read_what_was_done() {
    let Some(host) = host() else { return };
    let _app = host.listen("tcp 0.0.0.0:8081; tcp 0.0.0.0:8082; tcp 0.0.0.0:8083").by("app");
    for script in ["\"$@\" | true", "exec \"$@\" >/dev/full"] {
        afresh(&host);
        let drifts = host.diff();
        let ids = [8081, 8082, 8083].map(|port| drifts.on(port).id());
        let mut verb = vec!["approve", "--reason", "r"];
        verb.extend(ids.iter().map(String::as_str));
        let told = finish(by_shell(&host, script, &verb));
        assert_eq!(told.code, 0, "{script}: {told:?}");
        host.diff().is_clean();
    }
}

/// An agent that does this with each connection.
fn agent(host: &Host, name: &str, does: impl Fn(std::os::unix::net::UnixStream) + Send + 'static) -> PathBuf {
    let path = host.path(name);
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || listener.incoming().flatten().for_each(does));
    path
}

#[test]
fn an_agent_that_is_none_is_told_of_in_time() {
    if !installed(&["ssh-keygen"]) {
        return;
    }
    let Some(host) = host() else { return };
    let alice = host.person("alice");
    host.demands_signatures(&[&alice], "");
    let approve = |socket: &Path| {
        let mut command = host.portledger(&["approve", "shop", "--reason", "r"]);
        command.env("SSH_AUTH_SOCK", socket);
        finish(command)
    };
    let silent = agent(&host, "silent", |mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let garbage = agent(&host, "garbage", |mut stream| {
        let asked = stream.read(&mut [0; 64]).is_ok();
        drop(stream.write_all(&[0xff; 4096]));
        assert!(asked);
    });
    let closing = agent(&host, "closing", drop);
    let slow = agent(&host, "slow", |mut stream| {
        while stream.write_all(&[0]).is_ok() {
            std::thread::sleep(Duration::from_millis(300));
        }
    });
    let fifo = host.path("fifo");
    host.sh(&format!("mkfifo {}", fifo.display()));
    let dead = host.path("dead");
    drop(UnixListener::bind(&dead).unwrap());
    for (socket, words) in [
        (silent.as_path(), "gave no answer in 5 s"),
        (&garbage, "gave an answer that cannot be read"),
        (&closing, "went away before it answered"),
        (&slow, "SSH agent"),
        (&fifo, "no SSH agent can be reached"),
        (&dead, "no SSH agent can be reached"),
        (Path::new("/nowhere"), "no SSH agent can be reached"),
        (Path::new(""), "SSH"),
        (Path::new("/dev/zero"), "no SSH agent can be reached"),
    ] {
        let told = approve(socket);
        is_told(&told, &["nothing was signed", words]);
        assert_eq!(host.baseline(), SHOP);
        assert!(acts_in(&host.path("state")).is_empty());
    }
    // Where signatures are recorded it is approved, and said why it is not signed.
    host.write("etc/portledger.toml", "signatures = \"recorded\"\n");
    let told = approve(&closing);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.stderr.contains("not signed: the SSH agent went away"), "{told:?}");
}
