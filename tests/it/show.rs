//! One service, drift or approval, whole.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::world::{Host, Row, Serve, Told, eventually, finish, installed};

fn json(told: &Told) -> Row {
    let value: Value = serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {told:?}"));
    Row { value }
}

/// Without the ends of its lines, which depend on how long names are.
fn flat(shown: &str) -> String {
    shown.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_drift_is_shown_whole_by_endpoint_and_by_id() {
    let Some(host) = Host::new() else { return };
    let _sshd = host.listen("tcp 0.0.0.0:22").by("sshd");
    host.learn();
    let nc = host.listen("tcp 0.0.0.0:8080").user(101).by("n\x1b[2Jc");
    let id = host.diff().on(8080).id();
    for what in ["8080", "tcp/8080", "tcp/*:8080", "tcp *:8080", "0.0.0.0:8080", &id, &id[..11]] {
        let told = host.does(&["show", what]);
        let shown = &told.stdout;
        for part in [
            "tcp *:8080, reach public",
            &id,
            "drift: unapproved (critical)",
            "no approval speaks of it",
            "bound to all addresses",
            &format!("[{}] as ", nc.pid),
            "(uid 101), since 20",
            "the host's file",
            &format!("portledger approve {id} --reason TEXT"),
            &format!("kill {}", nc.pid),
            "not known to `serve`",
            "no events.jsonl",
        ] {
            assert!(flat(shown).contains(part), "{what}: no {part} in {shown}");
        }
        assert!(!shown.contains('\x1b') && !shown.contains(":22"), "{shown}");
        let too_long = |line: &&str| line.chars().count() > 80 && line.split_whitespace().count() > 2;
        assert_eq!(shown.lines().find(too_long), None, "{shown}");
    }
    let document = json(&host.does(&["show", "8080", "--format", "json"]));
    document
        .has("schema", 1)
        .has("listeners/0/port", 8080)
        .has("listeners/0/service", id.clone())
        .has("listeners/0/holders/0/pid", nc.pid)
        .has("listeners/0/holders/0/sha256", host.list().on(8080).get("holders/0/sha256").clone())
        .has("services/0/drift/kind", "unapproved")
        .has("services/0/reach_because", "bound to all addresses, of which the widest is public");
}

#[test]
fn nothing_is_told_with_what_is_nearest() {
    let Some(host) = Host::new() else { return };
    host.write("etc/baseline.toml", "");
    host.approves_by_hand(8443, "web");
    let told = host.run(&["show", "tcp/8443"]);
    assert_eq!((told.code, told.stdout.as_str()), (1, ""), "{told:?}");
    assert!(told.stderr.contains("Approval `by-hand-8443` speaks of it: tcp/*:8443"), "{told:?}");
    assert_eq!(host.run(&["show", "nginx"]).code, 1);
    assert_eq!(host.run(&["show", "8443", "--by", "alice"]).code, 2);
    let document = json(&host.run(&["show", "8443", "--format", "json"]));
    assert_eq!(document.get("services").as_array().unwrap().len(), 0);
}

#[test]
fn an_approval_is_shown_with_its_place_and_what_it_matches() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let app = host.listen("tcp 127.0.0.1:8080").by("app");
    let drift = host.diff().on(8080).id();
    host.does(&["approve", &drift, "--reason", "for\x1bmetrics", "--name", "app", "--ticket", "OPS-7"]);
    let text = host.baseline();
    let line = text.lines().take_while(|line| !line.contains("id = \"app\"")).count();
    let place = format!("{}:{line}", host.path("etc/baseline.toml").display());
    let shown = host.does(&["show", "app"]).stdout;
    for part in [
        &place,
        "approval app",
        "ticket OPS-7",
        "for\\x1bmetrics",
        "tcp 127.0.0.1:8080",
        "[[approval]]",
        "revoke app",
        "approve approval app",
    ] {
        assert!(flat(&shown).contains(part), "no {part} in {shown}");
    }
    let shown = host.does(&["show", "8080"]).stdout;
    assert!(shown.contains("approved, by approval app") && shown.contains(&place), "{shown}");
    app.ends();
    assert!(host.does(&["show", "app"]).stdout.contains("nothing now"));
    let document = json(&host.does(&["show", "app", "--format", "json"]));
    document
        .has("approvals/0/approval/ticket", "OPS-7")
        .has("approvals/0/line", line)
        .has("approvals/0/history/0/log", "ledger")
        .has("approvals/0/history/0/record/act", "approve");
}

#[test]
fn what_is_gone_is_shown_from_what_serve_kept() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let serve = host.serve();
    if !serve.follows_events() {
        return;
    }
    let gone = host.listen("tcp 0.0.0.0:8080").by("mayfly");
    let pid = gone.pid;
    let id = eventually("it drifts", || serve.drifts().find(8080)).id();
    gone.ends();
    eventually("its end is logged", || serve.logged("close", 8080).pop());
    // The log is written at once, the register up to a second later.
    let shown = eventually("it is gone, and that is logged and kept", || {
        let told = host.run(&["show", &id]);
        let is_gone =
            ["not there now", "drift gone", "last there"].iter().all(|part| told.stdout.contains(part));
        (told.code == 0 && is_gone).then_some(told.stdout)
    });
    for part in [
        &format!("mayfly[{pid}]"),
        &format!("dismiss {id} --reason TEXT"),
        "opened 0.0.0.0:8080 by mayfly",
        "closed 0.0.0.0:8080 after",
        "drift opened (unapproved, critical)",
        "drift gone",
        "last there",
    ] {
        assert!(flat(&shown).contains(part), "no {part} in {shown}");
    }
    let document = json(&host.does(&["show", "8080", "--format", "json"]));
    document.has("kept/0/id", id).has("kept/0/state", "gone").has("kept/0/listeners/0/holders/0/pid", pid);
    let own = host.does(&["show", &Serve::PORT.to_string()]).stdout;
    assert!(own.contains("since ") && own.contains("portledger["), "{own}");
}

/// What we print is what ssh-keygen verifies, and what it makes of what we print counts.
#[test]
fn ssh_keygen_verifies_and_makes_signatures() {
    let Some(host) = Host::new() else { return };
    if !installed(&["ssh-keygen"]) {
        return;
    }
    let signers: String = ["alice", "bob"]
        .map(|name| {
            let key = host.path(name);
            finish({
                let mut keygen = Command::new("ssh-keygen");
                keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&key);
                keygen
            });
            format!("{name} {}", fs::read_to_string(key.with_extension("pub")).unwrap())
        })
        .concat();
    host.write("etc/allowed_signers", signers);
    host.write("etc/portledger.toml", "signatures = \"required\"\napprovers = 2\n");
    host.write("etc/baseline.toml", "");
    let _app = host.listen("tcp 127.0.0.1:8080").by("app");
    let drift = host.diff().on(8080).id();
    let proposed = host.does(&[
        "approve",
        &drift,
        "--reason",
        "by hand",
        "--name",
        "app",
        "--propose",
        "--for",
        "never",
    ]);
    assert!(proposed.stderr.contains("does not count yet"), "{proposed:?}");
    assert_eq!(host.run(&["show", "app", "--signature"]).code, 2);

    // By hand, as alice: her name stands in what is signed.
    let by = host.baseline().lines().find(|line| line.starts_with("by = ")).unwrap().to_owned();
    host.write("etc/baseline.toml", host.baseline().replace(&by, "by = \"alice\""));
    let text = host.path("text");
    fs::write(&text, host.does(&["show", "app", "--text"]).stdout).unwrap();
    let sign =
        format!("cd {}; ssh-keygen -q -Y sign -n approval@portledger -f alice text", host.path("").display());
    host.sh(&sign);
    let armored = fs::read_to_string(host.path("text.sig")).unwrap();
    let signature: String = armored.lines().filter(|line| !line.starts_with("-----")).collect();
    host.write("etc/baseline.toml", format!("{}signature = \"{signature}\"\n", host.baseline()));
    let shown = host.does(&["show", "app"]).stdout;
    assert!(flat(&shown).contains("waits for another") && shown.contains("countersign app"), "{shown}");

    let bob = host.path("bob");
    host.does(&["countersign", "app", "--key", bob.to_str().unwrap()]);
    host.diff().nothing_on(8080);
    for (by, flags) in [("alice", &[][..]), ("bob", &["--by", "bob"])] {
        let print = |what| host.does(&[&["show", "app", what], flags].concat()).stdout;
        fs::write(&text, print("--text")).unwrap();
        fs::write(host.path("text.sig"), print("--signature")).unwrap();
        let verify = format!(
            "cd {}; ssh-keygen -Y verify -f etc/allowed_signers -I {by} -n approval@portledger -s text.sig <text",
            host.path("").display()
        );
        assert!(host.sh(&verify).contains(&format!("Good \"approval@portledger\" signature for {by}")));
    }
    assert_eq!(host.run(&["show", "app", "--text", "--by", "carol"]).code, 2);
}
