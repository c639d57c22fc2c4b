//! What was there when: over restarts, without its index, and whoever makes up services.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::world::{Host, Row, eventually, finish};

/// What `history` tells of this; `None` where it knows nothing.
fn history(host: &Host, what: &[&str]) -> Option<Row> {
    let told = host.run(&[&["history", "--format", "json"], what].concat());
    (told.code == 0).then(|| Row { value: serde_json::from_str::<Value>(&told.stdout).unwrap() })
}

/// The only service on a port, once it is as it should be.
fn service(host: &Host, port: u16, is_so: impl Fn(&Row) -> bool) -> Row {
    eventually("it is remembered and written down", || {
        let found = history(host, &[&port.to_string()])?;
        let services = found.get("services").as_array().unwrap();
        assert_eq!(services.len(), 1, "{:#}", found.value);
        let row = Row { value: services[0].clone() };
        is_so(&row).then_some(row)
    })
}

#[test]
fn a_service_is_remembered_over_restarts_and_without_its_index() {
    let Some(host) = Host::new() else { return };
    host.write("etc/baseline.toml", "");
    let told = host.run(&["history"]);
    assert!(told.code == 2 && told.stderr.contains("`portledger serve` keeps it"), "{told:?}");
    let serve = host.serve();
    if !serve.follows_events() {
        return;
    }
    let app = host.listen("tcp 0.0.0.0:8080").by("a<pp");
    let id = eventually("it drifts", || serve.drifts().find(8080)).id();
    app.ends();
    eventually("its end is logged", || serve.logged("close", 8080).pop());
    let _app = host.listen("tcp 0.0.0.0:8080").by("a<pp");
    let first = service(&host, 8080, |row| *row.get("opened/count") == 2 && *row.get("drifted/count") == 2)
        .has("service", id.clone())
        .has("endpoint", "tcp *:8080")
        .has("closed/count", 1)
        .has("state", "present")
        .has("approval", Value::Null);
    assert_eq!(host.approve(&id, "the shop").code, 0);
    serve.running.signal(Signal::HUP);
    let approved = service(&host, 8080, |row| row.get("approval").is_object());
    let approval = approved.get("approval/id").as_str().unwrap().to_owned();

    // Killed.
    drop(serve);
    let serve = host.serve();
    let again = service(&host, 8080, |row| *row.get("state") == "present");
    for field in ["first_seen", "opened", "closed", "drifted", "approval"] {
        assert_eq!(again.get(field), approved.get(field), "{field}");
    }
    assert_eq!(again.get("first_seen"), first.get("first_seen"));
    let shown = host.does(&["history", "8080"]).stdout;
    for part in [
        "a<pp\" as ",
        "opened 0.0.0.0:8080",
        "closed 0.0.0.0:8080",
        "drift opened",
        "the shop",
        "How far back",
    ] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    assert!(history(&host, &[&id]).is_some() && history(&host, &[&approval]).is_some());
    assert!(history(&host, &["--since", "1h"]).is_some());
    let none = host.run(&["history", "--since", "2999-01-01"]);
    assert!(none.code == 1 && none.stderr.contains("nothing is new"), "{none:?}");
    assert_eq!(host.run(&["history", "9999"]).code, 1);
    let stranger = finish(host.portledger_as(1000, &["history"]));
    assert!(stranger.code == 2 && stranger.stderr.contains("run as root"), "{stranger:?}");
    drop(serve);

    let reloads = fs::read_to_string(host.path("state/reloads.jsonl")).unwrap();
    let put_in = reloads.lines().find(|line| line.contains("\"event\":\"approval\"")).unwrap();
    let put_in: Value = serde_json::from_str(put_in).unwrap();
    let in_force = put_in["time"].as_str().unwrap();
    for damage in [None, Some("{\"version\":1,\"half")] {
        let index = host.path("state/history.json");
        match damage {
            None => fs::remove_file(&index).unwrap(),
            // It stays the exporter's.
            Some(text) => fs::write(&index, text).unwrap(),
        }
        let serve = host.serve();
        let rebuilt = service(&host, 8080, |row| *row.get("state") == "present")
            .has("opened/count", 2)
            .has("closed/count", 1)
            .has("drifted/count", 2)
            .has("approval/id", approval.clone());
        for field in ["programs", "users", "first_seen"] {
            assert_eq!(rebuilt.get(field), first.get(field), "{field}");
        }
        let since = rebuilt.get("approval/since").as_str().unwrap();
        assert_eq!(since[..19], in_force[..19], "reloads.jsonl says since when");
        assert!(serve.log().contains("history.json is made anew"), "{}", serve.log());
        drop(serve);
    }
}

#[test]
fn churn_of_thousands_pushes_out_nothing_that_is_approved() {
    let Some(host) = Host::new() else { return };
    host.write("etc/baseline.toml", "");
    host.approves_by_hand(8080, "shop");
    let serve = host.serve();
    if !serve.follows_events() {
        return;
    }
    let shop = host.listen("tcp 0.0.0.0:8080").by("shop");
    let before = service(&host, 8080, |row| row.get("approval").is_object());
    shop.ends();
    let churn = "import os, socket\n\
        os.setuid(1000)\n\
        for port in range(20000, 32000):\n    \
            s = socket.socket(); s.bind(('', port)); s.listen(); s.close()\n\
        print('done', flush=True)\n\
        input()\n";
    let _churn = host.python(churn);
    let many = eventually("the churn is remembered", || {
        let all = history(&host, &[])?;
        (all.get("services").as_array().unwrap().len() > 1_000).then_some(all)
    });
    assert!(many.get("services").as_array().unwrap().len() <= 10_000);
    let after = service(&host, 8080, |row| *row.get("state") == "unseen");
    for field in ["first_seen", "opened", "approval"] {
        assert_eq!(after.get(field), before.get(field), "{field}");
    }
}
