use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::world::{Host, Told, eventually, finish};

/// A host on which somebody approved 8443, and revoked it again.
pub(crate) fn acted() -> Option<Host> {
    let host = Host::new()?;
    host.learn();
    let _nc = host.listen("tcp 0.0.0.0:8443").by("nc");
    let drift = host.diff().on(8443).id();
    let ticket = ["--ticket", "OPS-17", "--name", "web"];
    host.does(&[&["approve", &drift, "--reason", "metrics\u{1b}[2J of the pool"], &ticket[..]].concat());
    host.does(&["revoke", "web", "--reason", "no longer"]);
    Some(host)
}

pub(crate) fn ledger(host: &Host) -> PathBuf {
    host.path("state/ledger.jsonl")
}

pub(crate) fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The acts that these flags let pass.
fn acts(host: &Host, flags: &[&str]) -> Vec<String> {
    let told = host.does(&[&["audit", "--format", "json"], flags].concat());
    lines(&told.stdout).iter().map(|act| act["act"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_auditor_reads_who_did_what_and_why() {
    let Some(host) = acted() else { return };
    let told = host.does(&["audit"]);
    let table = &told.stdout;
    for word in
        ["learn", "approve", "revoke", "web", "tcp/0.0.0.0:8443", "OPS-17", "unproven", "no longer", "root"]
    {
        assert!(table.contains(word), "{word}: {table}");
    }
    assert!(table.contains("\\x1b") && !table.contains('\u{1b}'), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let last = told.stderr.lines().last().unwrap();
    assert!(last.starts_with("3 records, 20") && last.contains(", all signed by SHA256:"), "{last}");

    assert_eq!(acts(&host, &[]), ["learn", "approve", "revoke"]);
    assert_eq!(acts(&host, &["--act", "approve", "--kind", "learn"]), ["learn", "approve"]);
    assert_eq!(acts(&host, &["--endpoint", "tcp/8443"]), ["approve", "revoke"]);
    assert_eq!(acts(&host, &["--endpoint", "udp/8443"]), Vec::<String>::new());
    assert_eq!(acts(&host, &["--approval", "web", "--limit", "1"]), ["revoke"]);
    assert_eq!(acts(&host, &["--user", "root", "--since", "1d"]).len(), 3);
    assert_eq!(acts(&host, &["--until", "2020-01-01"]), Vec::<String>::new());
    for (flags, said) in [
        (&["--act", "bribe"][..], "possible values"),
        (&["--endpoint", "web"], "names no endpoint"),
        (&["--since", "yesterday"], "no time"),
        (&["--at", "2026-03-14"], "--endpoint"),
    ] {
        let told = host.run(&[&["audit"], flags].concat());
        assert!(told.code == 2 && told.stderr.contains(said), "{flags:?}: {told:?}");
    }
}

#[test]
fn a_host_on_which_nobody_did_anything_has_nothing_to_hide() {
    let Some(host) = Host::new() else { return };
    let told = host.does(&["audit"]);
    assert_eq!((told.stdout.as_str(), told.stderr.trim()), ("", "no record"));
}

/// What is done to the ledger's lines, and what is said of it: the exit code, the first bad record and how many are shown.
type Tamper = (&'static str, fn(&mut Vec<String>), i32, &'static str, usize);

const TAMPERS: [Tamper; 6] = [
    ("a flipped byte", |lines| lines[1] = lines[1].replace("OPS-17", "OPS-18"), 1, "line 2: record 2", 3),
    ("a removed line", |lines| drop(lines.remove(1)), 1, "line 2: record 2", 2),
    ("a swapped pair", |lines| lines.swap(0, 1), 1, "line 2: record 3", 3),
    (
        "a line of the forger's",
        |lines| lines.push(lines[2].replace("\"record\":3", "\"record\":4")),
        1,
        "record 4",
        4,
    ),
    // Only who remembers the head can tell.
    ("a cut end", |lines| drop(lines.pop()), 0, "2 records", 2),
    ("a cut in the last line", |lines| lines[2].truncate(100), 0, "a line without its end", 2),
];

#[test]
fn what_was_done_to_the_ledger_is_told() {
    let Some(host) = acted() else { return };
    let whole = fs::read_to_string(ledger(&host)).unwrap();
    let said = host.does(&["audit"]).stderr;
    let head = said.trim().rsplit_once("head ").unwrap().1;
    assert_eq!(host.run(&["audit", "--head", head]).code, 0);
    for (what, tamper, code, said, shown) in TAMPERS {
        let mut lines: Vec<String> = whole.lines().map(str::to_owned).collect();
        tamper(&mut lines);
        let cut_off = lines.last().is_some_and(|line| !line.ends_with('}'));
        let text = lines.join("\n") + if cut_off { "" } else { "\n" };
        fs::write(ledger(&host), text).unwrap();
        let told = host.run(&["audit", "--format", "json"]);
        assert!(told.code == code && told.stderr.contains(said), "{what}: {told:?}");
        let records = self::lines(&told.stdout);
        assert_eq!(records.len(), shown, "{what}: {told:?}");
        let unvouched = records.iter().filter(|record| record["vouched"] == false).count();
        assert_eq!(unvouched > 0, code == 1, "{what}: {told:?}");
        assert_eq!(host.run(&["audit", "--verify"]).code, code, "{what}");
        let told = host.run(&["audit", "--head", head]);
        assert_eq!(told.code, 1, "whoever remembers the head sees {what}: {told:?}");
    }
    fs::write(ledger(&host), whole).unwrap();
    assert_eq!(host.run(&["audit", "--verify", "--head", head]).code, 0);
}

#[test]
fn what_was_approved_at_some_time_is_answered_from_the_records() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let _nc = host.listen("tcp 0.0.0.0:8443").by("nc");
    let serve = host.serve();
    let drift = host.diff().on(8443).id();
    host.does(&["approve", &drift, "--reason", "metrics", "--ticket", "OPS-17", "--name", "web"]);
    let in_force = || {
        let text = fs::read_to_string(host.path("state/reloads.jsonl")).ok()?;
        let all = lines(text.rsplit_once('\n')?.0);
        let mut approvals = all.into_iter().filter(|record| record["approval"] == "web");
        approvals.find(|record| record["new"].is_object())
    };
    let read = eventually("serve has it in force", in_force);
    // The next act has a later second.
    std::thread::sleep(Duration::from_millis(1100));
    host.does(&["revoke", "web", "--reason", "no longer"]);
    drop(serve);
    let then = read["time"].as_str().unwrap();
    let asked = ["audit", "--endpoint", "tcp/203.0.113.10:8443", "--at", then];
    let answer = lines(&host.does(&[&asked[..], &["--format", "json"]].concat()).stdout).remove(0);
    let found = &answer["approvals"][0];
    assert_eq!((&found["id"], &found["covers_all"]), (&Value::from("web"), &Value::from(true)), "{answer:#}");
    assert_eq!(found["approval"]["ticket"], "OPS-17", "{answer:#}");
    assert_eq!(found["written"][0]["record"], 2, "{answer:#}");
    assert_eq!(found["in_force"][0]["record"], read["record"], "{answer:#}");
    assert_eq!(
        (&found["later"][0]["record"], &found["later"][0]["removed"]),
        (&3.into(), &true.into()),
        "{answer:#}"
    );
    // Whether it counted is said by records that tell it.
    let unknown = answer["not_known"].as_array().unwrap().iter().filter_map(Value::as_str);
    let others: Vec<_> = unknown.filter(|note| !note.contains("approval `web` counted")).collect();
    assert!(others.is_empty(), "{answer:#}");
    let told = host.does(&asked);
    for word in
        ["Approval `web` covered it", "reason        metrics", "OPS-17", "in force      since", "removed"]
    {
        assert!(told.stdout.contains(word), "{word}: {told:?}");
    }
    let before = host.does(&["audit", "--endpoint", "tcp/8443", "--at", "2026-01-01"]).stdout;
    assert!(before.contains("No approval covered it") && before.contains("the ledger begins on"), "{before}");
}

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
    drop(serve);
    let (bundle, keys) = (host.path("web.bundle"), host.path("web.pub"));
    let (bundle, keys) = (bundle.to_str().unwrap(), keys.to_str().unwrap());
    host.does(&["audit", "export", "--to", bundle]);
    fs::copy(host.path("state/ledger.key.pub"), keys).unwrap();
    let listed = host.sh(&format!("tar tvf {bundle}"));
    assert!(listed.contains("state/ledger.jsonl") && listed.contains("state/events.jsonl"), "{listed}");
    assert!(!listed.contains(".key\n"), "a private key: {listed}");
    assert_eq!(host.run(&["audit", "export", "--to", bundle]).code, 2, "written over");

    readable(Path::new(bundle));
    let told = elsewhere(&["audit", "verify", bundle, "--host-keys", keys]);
    assert_eq!(told.code, 0, "{told:?}");
    for word in ["web-17", "ledger: 3 records", "events: ", "reloads: ", "all signed by SHA256:", "head 3:"] {
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
        bytes[place] ^= 1;
        if bytes[place] == 1 || bytes[place] == 0 {
            // What fills a tar up to whole blocks means nothing.
            continue;
        }
        fs::write(bundle, bytes).unwrap();
        let told = elsewhere(&["audit", "verify", bundle, "--host-keys", keys]);
        assert!(told.code == 1 || told.code == 2, "byte {place}: {told:?}");
    }
    assert_eq!(elsewhere(&["audit", "verify", "/nowhere", "--host-keys", keys]).code, 2);
}

#[test]
fn everything_about_somebody_is_found() {
    let Some(host) = acted() else { return };
    let told = host.does(&["audit", "--person", "root", "--format", "json"]);
    let found = lines(&told.stdout);
    let fields: Vec<String> = found.iter().map(|found| found["fields"].to_string()).collect();
    assert!(
        fields.iter().any(|fields| fields.contains("who.user") && fields.contains("who.uid")),
        "{fields:?}"
    );
    assert!(fields.iter().any(|fields| fields.contains("new.by")), "{fields:?}");
    let told = host.does(&["audit", "--person", "root"]);
    assert!(told.stdout.contains("ledger  who.user"), "{told:?}");
    let told = host.does(&["audit", "--person", "nobody-of-that-name"]);
    assert!(told.stdout.is_empty() && told.stderr.contains("Nothing is stored"), "{told:?}");
}
