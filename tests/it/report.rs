//! Whether only approved services listen on a network interface, for an auditor.

use serde_json::Value;

use crate::signed::{app, approve, host};
use crate::world::{Host, Row, finish};

fn report(host: &Host, code: i32) -> Row {
    let told = host.run(&["report", "--format", "json"]);
    assert_eq!(told.code, code, "{told:?}");
    Row { value: serde_json::from_str::<Value>(&told.stdout).unwrap() }
}

#[test]
fn what_was_learned_fails_until_somebody_signs_it_and_what_is_new_fails() {
    let Some(host) = host() else { return };
    let alice = host.person("alice");
    let _app = app(&host);
    let _local = host.listen("tcp 127.0.0.1:631").by("local");
    std::fs::remove_file(host.path("etc/baseline.toml")).unwrap();
    host.learn();
    report(&host, 1)
        .has("schema", 1)
        .has("control/item", "2.1.22")
        .has("result", "fail")
        .has("services/0/endpoint", "tcp *:8080")
        .has("services/0/verdict", "learned")
        .has("services/0/bears", "fail")
        .has("apart/0/endpoint", "tcp 127.0.0.1:631")
        .has("apart/0/bears", "nothing");
    let shown = host.run(&["report"]).stdout;
    assert!(shown.contains("Result: FAIL") && shown.contains("learned, never approved"), "{shown}");

    host.demands_signatures(&[&alice], "");
    host.write("etc/baseline.toml", "");
    let told = approve(&host, &alice);
    assert_eq!(told.code, 0, "{told:?}");
    let passed = report(&host, 0)
        .has("result", "pass")
        .has("host", Host::NAME)
        .has("baseline/signatures", "required")
        .has("ledger/state", "whole")
        .has("services/0/verdict", "approved")
        .has("services/0/evidence/approval", "shop")
        .has("services/0/evidence/reason", "the shop")
        .has("services/0/evidence/by", "alice@example.org")
        .has("services/0/evidence/signatures/0/principal", "alice@example.org")
        .has("services/0/evidence/signatures/0/wrong", Value::Null)
        .has("services/0/evidence/act/act", "approve")
        .has("services/0/evidence/act/vouched", true)
        .has("services/0/evidence/act/unchanged", true);
    let key = passed.get("services/0/evidence/signatures/0/key");
    assert!(key.as_str().unwrap().starts_with("SHA256:"), "{key}");
    let page = host.does(&["report", "--format", "html"]).stdout;
    assert!(page.contains(">PASS<") && page.contains("verified against allowed_signers"), "{page}");

    // Another key than the one that may sign.
    host.allows(&host.person("bob").line(""));
    report(&host, 1).has("services/0/verdict", "untrusted");
    host.allows(&alice.line(""));

    let _stranger = host.listen("tcp 0.0.0.0:4444").by("<b>nc");
    report(&host, 1)
        .has("result", "fail")
        .has("services/0/endpoint", "tcp *:4444")
        .has("services/0/verdict", "drift");
    let page = host.run(&["report", "--format", "html"]).stdout;
    assert!(page.contains("&lt;b&gt;nc") && !page.contains("<b>nc"), "{page}");
}

#[test]
fn what_is_hidden_is_never_a_pass() {
    let Some(host) = Host::new() else { return };
    host.write("etc/baseline.toml", "");
    report(&host, 0).has("result", "pass");
    let _local = host.listen("tcp 127.0.0.1:631").by("local");
    report(&host, 0).has("result", "pass");
    let told = finish(host.portledger_as(1000, &["report", "--format", "json"]));
    assert_eq!(told.code, 3, "{told:?}");
    let hidden = Row { value: serde_json::from_str(&told.stdout).unwrap() };
    let hidden = hidden.has("result", "cannot_be_said");
    assert!(!hidden.get("unseen").as_array().unwrap().is_empty());
}

#[test]
fn a_ledger_that_was_tampered_with_is_never_a_pass() {
    let Some(host) = Host::new() else { return };
    host.write("etc/baseline.toml", "");
    let _app = host.listen("tcp 0.0.0.0:8080").by("app");
    let id = host.diff().on(8080).id();
    assert_eq!(host.approve(&id, "the shop").code, 0);
    report(&host, 0);
    let ledger = host.path("state/ledger.jsonl");
    let text = std::fs::read_to_string(&ledger).unwrap();
    std::fs::write(&ledger, text.replace("the shop", "the barn")).unwrap();
    report(&host, 3)
        .has("result", "cannot_be_said")
        .has("ledger/state", "broken")
        .has("services/0/evidence/act/vouched", false);
}
