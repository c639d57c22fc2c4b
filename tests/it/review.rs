//! Which approvals somebody should look at again.

use serde_json::Value;

use crate::world::{Host, Row, eventually};

const SIGNER: &str =
    "alice ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIATVSI4mpNkxxAWvBrP1qnzSQ8/BAUQr0PRORNKLRKqH\n";

fn reviewed(host: &Host, code: i32, flags: &[&str]) -> Vec<Row> {
    let told = host.run(&[&["review", "--format", "json"], flags].concat());
    assert_eq!(told.code, code, "{told:?}");
    let document: Value = serde_json::from_str(&told.stdout).unwrap();
    document["approvals"].as_array().unwrap().iter().map(|value| Row { value: value.clone() }).collect()
}

fn of(rows: Vec<Row>, id: &str) -> Row {
    rows.into_iter().find(|row| *row.get("approval") == id).unwrap_or_else(|| panic!("no {id}"))
}

#[test]
fn what_ends_was_learned_or_is_unsigned_is_reviewed() {
    let Some(host) = Host::new() else { return };
    let approval = |id: &str, port: u16, more: &str| {
        format!(
            "[[approval]]\nid = \"{id}\"\nlisten = \"tcp/*:{port}\"\nuser = \"root\"\nreason = \"r\"\n{more}\n"
        )
    };
    host.write(
        "etc/baseline.toml",
        approval("over", 1, "by = \"a\"\nexpires = 2020-01-01")
            + &approval("later", 2, "by = \"a\"\nexpires = 2099-01-01")
            + &approval("sshd", 3, "by = \"learn\"")
            + &approval("elsewhere", 4, "by = \"learn\"\nhosts = \"db-*\""),
    );
    let told = host.run(&["review"]);
    assert!(told.code == 1 && !told.stdout.contains("signed"), "nobody is named who signs: {told:?}");
    host.write("etc/allowed_signers", SIGNER);
    let told = host.run(&["review"]);
    assert_eq!(told.code, 1, "{told:?}");
    for part in
        ["Expired:\n  over", "Learned, and approved by nobody:\n  sshd", "baseline.toml:1", "of 3 approvals"]
    {
        assert!(told.stdout.contains(part), "no {part} in {}", told.stdout);
    }
    assert!(
        told.stdout.contains("signed by nobody") && !told.stdout.contains("elsewhere"),
        "{}",
        told.stdout
    );
    host.write("etc/portledger.toml", "signatures = \"off\"\n");
    let rows = reviewed(&host, 1, &["--expiring", "12h"]);
    of(rows.clone(), "over").has("end", "over").has("review", true);
    of(rows.clone(), "later").has("end", "later").has("review", false).has("too_young", true);
    of(rows, "sshd").has("learned", true);
    of(reviewed(&host, 1, &["--expiring", "5000w"]), "later").has("end", "soon");
    host.write("etc/baseline.toml", approval("later", 2, "by = \"a\""));
    let told = host.run(&["review"]);
    assert!(told.code == 0 && told.stdout.contains("Nothing to review of 1"), "{told:?}");
    assert!(told.stdout.contains("`portledger serve` remembers that"), "{told:?}");
}

#[test]
fn serve_remembers_what_matched_over_a_restart() {
    let Some(host) = Host::new() else { return };
    host.write("etc/portledger.toml", "signatures = \"off\"\n[sensor]\ninterval = \"200ms\"\n");
    host.write("etc/baseline.toml", "");
    host.approves_by_hand(8080, "app");
    host.approves_by_hand(8081, "other");
    let app = host.listen("tcp 0.0.0.0:8080").by("app");
    let serve = host.serve();
    let written = eventually("it is remembered", || {
        let row = of(reviewed(&host, 0, &[]), "by-hand-8080");
        row.get("last_matched").is_string().then_some(row)
    });
    assert_eq!(serve.metric("portledger_approvals{standing=\"approved\"}"), Some(2.0));
    let since = written.get("known_since").clone();
    drop(serve);
    let serve = host.serve();
    app.ends();
    serve.settles();
    drop(serve);
    let rows = reviewed(&host, 0, &[]);
    of(rows.clone(), "by-hand-8080").has("known_since", since).has("too_young", false).has("unused", false);
    of(rows, "by-hand-8081").has("last_matched", Value::Null).has("too_young", true);

    // What the exporter's user may have written: all is told, nothing is believed.
    for text in ["{\"version\":1,\"approvals\":{\"by-hand-8081\":\"\u{1b}[2J\"}}", "[", ""] {
        host.write("state/matched.json", text);
        let told = host.run(&["review"]);
        assert!(told.code == 2 && told.stderr.contains("matched.json"), "{told:?}");
        assert!(!format!("{told:?}").contains("\\u{1b}"), "{told:?}");
    }
    let long_ago =
        "{\"since\":\"2020-01-01T00:00:00Z\",\"last\":null,\"watched\":99999999,\"idle\":99999999}";
    host.write(
        "state/matched.json",
        format!(
            "{{\"version\":1,\"approvals\":{{\"by-hand-8080\":{long_ago},\"by-hand-8081\":{long_ago}}}}}"
        ),
    );
    let _app = host.listen("tcp 0.0.0.0:8080").by("app");
    let rows = reviewed(&host, 1, &[]);
    of(rows.clone(), "by-hand-8080").has("unused", false);
    of(rows, "by-hand-8081").has("unused", true);
    let told = host.run(&["review"]);
    assert!(
        told.stdout.contains("Matched nothing in 90 days of watching:\n  by-hand-8081  nothing in "),
        "{told:?}"
    );
}
