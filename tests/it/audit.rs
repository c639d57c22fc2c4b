use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ledger::{HostKey, Keeping, Writer};
use serde_json::{Value, json};

use crate::world::{Host, eventually, finish};

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
    // In a pipe an act is a line, and its endpoint stands whole in it.
    assert_eq!(table.lines().count(), 4, "{table}");
    let approve = table.lines().find(|line| line.contains("approve")).unwrap();
    assert!(approve.contains("web tcp/0.0.0.0:8443") && approve.contains("of the pool [OPS-17]"), "{table}");
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
    let state = host.path("state").display().to_string();
    let told = host.run(&["audit"]);
    assert!(told.code == 2 && told.stderr.contains(&format!("{state}: there is no such folder")), "{told:?}");
    fs::create_dir(&state).unwrap();
    let told = host.does(&["audit"]);
    assert_eq!((told.stdout.as_str(), told.stderr.trim()), ("", &*format!("no record in {state}")));
}

#[test]
fn an_ordinary_user_is_told_whose_ledger_was_looked_at() {
    let Some(host) = Host::new() else { return };
    host.sh(
        "mount -t tmpfs none /var/lib; mkdir -m 750 /var/lib/portledger; touch /var/lib/portledger/ledger.jsonl
         mkdir -m 755 /run/home",
    );
    let as_nobody = |verb: &[&str]| {
        let mut command = host.command("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]);
        command.arg(env!("CARGO_BIN_EXE_portledger")).args(verb).env_clear().env("HOME", "/run/home");
        finish(command)
    };
    let told = as_nobody(&["audit"]);
    assert_eq!(told.code, 2, "{told:?}");
    for word in ["/run/home/.local/state/portledger: there is no such folder", "run this as root"] {
        assert!(told.stderr.contains(word), "{word}: {told:?}");
    }
    host.sh("mkdir -p /run/home/.local/state/portledger");
    let told = as_nobody(&["audit"]);
    assert_eq!(told.code, 0, "{told:?}");
    for word in ["no record in /run/home/.local/state/portledger", "run this as root"] {
        assert!(told.stderr.contains(word), "{word}: {told:?}");
    }
}

#[test]
fn a_ledger_that_lost_records_is_broken() {
    let Some(host) = acted() else { return };
    let said = host.does(&["audit"]).stderr;
    let (record, hash) = said.trim().rsplit_once("head ").unwrap().1.split_once(':').unwrap();
    let whole = fs::read_to_string(ledger(&host)).unwrap();
    let keeps = |record: &str, hash: &str| {
        host.write("state/ledger.head", format!("{{\"record\":{record},\"hash\":\"{hash}\"}}\n"));
    };
    let at = ["audit", "--endpoint", "tcp/8443", "--at", "1s"];
    let is_broken = |what: &str, why: &str| {
        for verb in [&["audit"][..], &["audit", "--verify"], &["audit", "--person", "alice"], &at] {
            let told = host.run(verb);
            let text = format!("{}{}", told.stdout, told.stderr);
            assert!(told.code == 1 && text.contains("BROKEN") && text.contains(why), "{what}: {told:?}");
            assert!(text.contains("hold it against"), "{what}: {told:?}");
        }
    };
    keeps(record, hash);
    assert_eq!(host.run(&["audit"]).code, 0);
    let cut = whole.lines().take(2).map(|line| format!("{line}\n")).collect::<String>();
    fs::write(ledger(&host), cut).unwrap();
    is_broken("a cut end", "does not have record 3");
    fs::write(ledger(&host), &whole).unwrap();
    keeps("2", &"0".repeat(64));
    is_broken("another record", "does not have record 2");
    fs::write(host.path("state/ledger.head"), "{").unwrap();
    let told = host.run(&["audit"]);
    assert!(told.code == 2 && told.stderr.contains("ledger.head: it is no head"), "{told:?}");
    assert!(told.stdout.contains("approve"), "{told:?}");
    fs::remove_file(host.path("state/ledger.head")).unwrap();
    fs::remove_file(ledger(&host)).unwrap();
    is_broken("no record", "ledger.key.pub, and no record");
}

/// What is done to the ledger's lines, and what is said of it: the exit code, the first bad record and how many are shown.
type Tamper = (&'static str, fn(&mut Vec<String>), i32, &'static str, usize);

const TAMPERS: [Tamper; 6] = [
    ("a flipped byte", |lines| lines[1] = lines[1].replace("OPS-17", "OPS-18"), 1, "line 2: record 2", 3),
    ("a removed line", |lines| drop(lines.remove(1)), 1, "line 2: record 2", 2),
    ("a swapped pair", |lines| lines.swap(0, 1), 1, "line 1: record 1", 3),
    (
        "a line of the forger's",
        |lines| lines.push(lines[2].replace("\"record\":3", "\"record\":4")),
        1,
        "record 4",
        4,
    ),
    // The lines that are left are sound: what is missing the head tells, which is kept beside them.
    ("a cut end", |lines| drop(lines.pop()), 1, "does not have record 3", 2),
    ("a cut in the last line", |lines| lines[2].truncate(100), 1, "does not have record 3", 2),
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
        assert_eq!(unvouched > 0, !what.contains("cut"), "{what}: {told:?}");
        assert_eq!(host.run(&["audit", "--verify"]).code, code, "{what}");
        let told = host.run(&["audit", "--head", head]);
        assert_eq!(told.code, 1, "whoever remembers the head sees {what}: {told:?}");
    }
    fs::write(ledger(&host), whole).unwrap();
    assert_eq!(host.run(&["audit", "--verify", "--head", head]).code, 0);
}

#[test]
fn what_the_exporters_group_puts_beside_the_ledger_breaks_nothing() {
    let Some(host) = acted() else { return };
    let file = host.path("state/ledger.jsonl.7");
    fs::write(&file, "nonsense\n").unwrap();
    std::os::unix::fs::chown(&file, Some(65534), None).unwrap();
    let named = format!("{} is a stranger's file, of uid 65534", file.display());
    let at = ["audit", "--endpoint", "tcp/8443", "--at", "1s"];
    for verb in [&["audit"][..], &["audit", "--verify"], &["audit", "--person", "root"], &at] {
        let told = host.run(verb);
        let text = format!("{}{}", told.stdout, told.stderr);
        assert!(told.code == 0 && text.contains(&named) && text.contains("remove it"), "{verb:?}: {told:?}");
    }
    let more =
        "[[approval]]\nid = \"more\"\nlisten = \"tcp/*:9\"\nreason = \"r\"\nby = \"a\"\nat = 2026-01-01\n";
    host.write("etc/baseline.toml", format!("{}\n{more}", host.baseline()));
    let told = host.does(&["revoke", "more"]);
    assert!(told.stderr.contains(&named), "{told:?}");
    assert_eq!(acts(&host, &[]), ["learn", "approve", "revoke", "revoke"]);
    fs::remove_file(&file).unwrap();
    assert!(!host.does(&["audit"]).stderr.contains("stranger"));
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
    assert_eq!(answer["not_known"], serde_json::json!([]), "{answer:#}");
    assert_eq!(acts(&host, &["--approval", "web"]), ["approve", "revoke"], "acts tell all of it");
    let told = host.does(&asked);
    for word in
        ["Approval `web` covered it:", "reason        metrics", "OPS-17", "in force      since", "removed"]
    {
        assert!(told.stdout.contains(word), "{word}: {told:?}");
    }
    let before = host.does(&["audit", "--endpoint", "tcp/8443", "--at", "2026-01-01"]).stdout;
    assert!(before.contains("No approval covered it") && before.contains("the ledger begins on"), "{before}");
}

/// Writes logs as this host's verbs and `serve` do, of records that each lack what the chain adds.
fn records(host: &Host, name: &str, key: &str, records: &[Value]) {
    let state = host.path("state");
    fs::create_dir_all(&state).unwrap();
    let key = HostKey::load_or_create(&state.join(key)).unwrap();
    let keeping = Keeping { segment: 1 << 20, segments: None, mode: 0o640, synced: false };
    let mut writer = Writer::open(&state, name, key, keeping, Duration::ZERO).unwrap();
    for record in records {
        writer.append(&[serde_json::to_vec(record).unwrap()]).unwrap();
    }
}

fn approval(id: &str, reason: &str) -> Value {
    json!({"id": id, "serial": 1, "listen": ["tcp/*:8443"], "program": ["/usr/bin/web"], "reason": reason})
}

fn act(time: &str, act: &str, counts: Value, new: Value) -> Value {
    json!({
        "time": time, "act": act, "who": {"user": "alice", "uid": 0}, "approval": new["id"], "old": null, "new": new,
        "endpoints": ["tcp/*:8443"], "reason": new["reason"], "ticket": null, "counts": counts,
    })
}

fn reload(time: &str, old: Value, new: Value, distrust: Value) -> Value {
    let id = new["id"].as_str().or(old["id"].as_str()).map(str::to_owned);
    json!({
        "time": time, "event": "approval", "approval": id, "old": old, "new": new, "revision": "r1", "git": "c0ffee",
        "distrust": distrust,
    })
}

#[test]
fn what_never_counted_stands_apart_from_what_covered() {
    let Some(host) = Host::new() else { return };
    let (one, two, three) = ("2026-01-05T09:00:00Z", "2026-01-06T09:00:00Z", "2026-01-07T09:00:00Z");
    let mut away = act(two, "approve", true.into(), approval("elsewhere", "of the pool"));
    away["away"] = true.into();
    let acts = [
        act(one, "approve", true.into(), approval("web", "wanted")),
        act(two, "propose", false.into(), approval("draft", "maybe")),
        away,
        act(two, "approve", Value::Null, approval("old", "long ago")),
    ];
    let of_serve = [
        reload(one, Value::Null, approval("web", "wanted"), Value::Null),
        reload(two, Value::Null, approval("learned", "learned"), "nobody signed approval `learned`".into()),
        reload(three, approval("web", "wanted"), approval("web", "all is well"), Value::Null),
    ];
    records(&host, "ledger", "ledger.key", &acts);
    records(&host, "reloads", "events.key", &of_serve);
    let asked = ["audit", "--endpoint", "tcp/8443", "--at", "2026-02-01"];
    let answer = lines(&host.does(&[&asked[..], &["--format", "json"]].concat()).stdout).remove(0);
    let counts: Vec<_> =
        answer["approvals"].as_array().unwrap().iter().map(|found| &found["counts"]).collect();
    assert_eq!(
        counts,
        [false, false, false].map(Value::from).iter().chain([&Value::Null, &true.into()]).collect::<Vec<_>>()
    );
    let text = host.does(&asked).stdout;
    let (covered, not) = text.split_once("Spoke of it, and did not count:").unwrap();
    let (not, unknown) = not.split_once("Not known:").unwrap();
    for word in [
        "Approval `web` covered it:",
        "Approval `old` covered it, if it counted:",
        "reason        wanted, as alice, unproven said in ledger record 1",
        "in the file   reason all is well: reason and ticket are not signed",
    ] {
        assert!(covered.contains(word), "{word}: {text}");
    }
    for word in [
        "Approval `draft` names it",
        "since 2026-01-06T09:00:00Z: it was proposed, and nobody had signed it",
        "since 2026-01-06T09:00:00Z: nobody signed approval `learned`",
        "it was written to a checkout",
        "approve (checkout) by alice",
    ] {
        assert!(not.contains(word) && !covered.contains(word), "{word}: {text}");
    }
    assert_eq!(unknown.trim(), "whether approval `old` counted: its records do not say", "{text}");

    // The list tells what came without an act beside the acts, in the order of time.
    let told = host.does(&["audit", "--endpoint", "tcp/8443"]);
    let rows: Vec<&str> = told.stdout.lines().skip(1).collect();
    let about = |row: &str| {
        ["web", "draft", "elsewhere", "old", "learned"]
            .into_iter()
            .find(|id| row.contains(&format!(" {id} ")))
    };
    let order: Vec<_> = rows.iter().map(|row| (row.contains("reload #"), about(row).unwrap())).collect();
    let expected = [
        (false, "web"),
        (false, "draft"),
        (false, "elsewhere"),
        (false, "old"),
        (true, "learned"),
        (true, "web"),
    ];
    assert_eq!(order, expected, "{told:?}");
    assert!(rows[2].contains("approve #3 (checkout)"), "{told:?}");
    assert!(rows[5].contains("revision r1, commit c0ffee") && rows[5].contains("tcp/*:8443"), "{told:?}");
    assert_eq!(self::acts(&host, &["--approval", "web"]), ["approve", "reload"]);
    assert_eq!(self::acts(&host, &[]).len(), 4, "of all, acts alone");
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
