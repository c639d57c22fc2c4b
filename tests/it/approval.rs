use std::path::Path;
use std::time::Instant;

use crate::world::{Host, Running, copy, eventually};

#[test]
fn a_host_without_a_baseline_is_told_what_to_do_next() {
    let Some(host) = Host::new() else { return };
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let told = host.run(&["diff"]);
    let said = format!("{}{}", told.stdout, told.stderr);
    assert!(said.contains("portledger learn"), "{told:?}");
    host.diff().on(8080).shows("unapproved").has("severity", "info");
}

#[test]
fn what_was_learned_is_no_drift() {
    let Some(host) = Host::new() else { return };
    host.namespace("blue");
    let _sshd = host.listen("tcp 0.0.0.0:22; tcp [::]:22 v6only").by("sshd");
    let _dns = host.listen("udp 127.0.0.1:53; tcp 127.0.0.1:53").user(101).by("resolver");
    let _blue = host.listen("tcp 0.0.0.0:80").inside("blue").by("web");
    host.learn();
    host.diff().is_clean();
    for row in host.list().all_on(22) {
        row.has("verdict", "learned");
    }
}

#[test]
fn a_new_wildcard_is_drift_until_it_is_approved_and_again_when_that_is_revoked() {
    let Some(host) = Host::new() else { return };
    let _sshd = host.listen("tcp 0.0.0.0:22").by("sshd");
    host.learn();
    let learned = host.baseline();
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");

    let drift = host.diff().on(8080).shows("unapproved").has("severity", "critical").has("reach", "public");
    host.diff().nothing_on(22);
    let told = host.run(&["diff"]);
    assert_eq!(told.code, 1);
    assert!(told.stdout.contains("8080") && told.stdout.contains(&drift.id()), "{}", told.stdout);

    let told = host.approve(&drift.id(), "a test, ticket 7");
    assert_eq!(told.code, 0, "{told:?}");
    host.diff().is_clean();
    let approved = host.baseline();
    assert!(approved.starts_with(&learned), "what stood there was changed: {approved}");
    assert!(approved.contains("a test, ticket 7"), "{approved}");
    host.list().on(8080).has("verdict", "approved");

    let id = approved[learned.len()..].lines().find_map(|line| line.strip_prefix("id = ")).unwrap();
    host.does(&["revoke", id.trim_matches('"')]);
    host.diff().on(8080).shows("unapproved").has("id", drift.id());
    assert_eq!(host.baseline().trim_end(), learned.trim_end());
}

#[test]
fn approve_refuses_what_is_no_longer_what_was_shown() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let shown = host.diff().on(8080).id();
    let before = host.baseline();

    nc.ends();
    let _other = host.listen("tcp 0.0.0.0:8080").by("backdoor");
    let told = host.approve(&shown, "looked harmless");
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.stderr.contains(&shown), "{told:?}");
    assert_eq!(host.baseline(), before);
    host.diff().on(8080).shows("unapproved");
}

#[test]
fn approve_wants_a_reason_and_revoke_something_that_is_there() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let drift = host.diff().on(8080).id();
    assert_eq!(host.run(&["approve", &drift]).code, 2);
    assert_eq!(host.approve(&drift, "  ").code, 2);
    let told = host.run(&["revoke", "no-such-approval"]);
    assert_eq!(told.code, 2);
    assert!(told.stderr.contains("no-such-approval"), "{told:?}");
}

#[test]
fn several_are_approved_or_none() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let _one = host.listen("tcp 0.0.0.0:8081").by("one");
    let _two = host.listen("tcp 0.0.0.0:8082").by("two");
    let (one, two) = (host.diff().on(8081).id(), host.diff().on(8082).id());
    let before = host.baseline();
    let told = host.run(&["approve", &one, "s1-00000000", &two, "--reason", "wanted"]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.stderr.contains("nothing was written, because `s1-00000000` cannot"), "{told:?}");
    assert_eq!(host.baseline(), before);
    // One that is named twice is written once.
    let told = host.does(&["approve", &one, &two, &one, "--reason", "wanted"]);
    assert!(told.stdout.contains(&format!("`{one}` is covered by approval `one` meanwhile")), "{told:?}");
    let count = |text: &str| text.matches("[[approval]]").count();
    assert_eq!(count(&host.baseline()), count(&before) + 2);
    host.diff().is_clean();
}

#[test]
fn two_admins_who_approve_the_same_write_one_approval() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let drift = host.diff().on(8080).id();
    let before = host.baseline();
    host.approve(&drift, "first");
    let first = host.baseline();
    host.write("etc/baseline.toml", before);
    let lock = host.path("etc/.baseline.toml.lock");
    let held = std::fs::File::options().write(true).open(&lock).unwrap();
    held.lock().unwrap();
    let told = std::thread::scope(|scope| {
        let second = scope.spawn(|| host.approve(&drift, "second"));
        eventually("the second waits for the lock", || is_opened(&lock).then_some(()));
        host.write("etc/baseline.toml", &first);
        drop(held);
        second.join().unwrap()
    });
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.stdout.contains("is covered by approval `nc` meanwhile"), "{told:?}");
    assert_eq!(host.baseline(), first);
}

/// Whether a process of Portledger has this file open.
fn is_opened(path: &Path) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|process| process.path());
    let ours = processes.filter(|process| {
        std::fs::read_link(process.join("exe")).is_ok_and(|exe| exe.ends_with("portledger"))
    });
    let descriptors = ours.filter_map(|process| std::fs::read_dir(process.join("fd")).ok());
    let mut links = descriptors.flatten().flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
    links.any(|link| link == path)
}

#[test]
fn loopback_that_became_a_wildcard_is_widened() {
    let Some(host) = Host::new() else { return };
    let app = host.listen("tcp 127.0.0.1:8080").by("app");
    host.learn();
    host.diff().is_clean();
    app.ends();
    let _app = host.listen("tcp 0.0.0.0:8080").by("app");
    host.diff().on(8080).shows("widened").has("severity", "critical");
}

#[test]
fn another_program_and_another_user_are_told_apart() {
    let Some(host) = Host::new() else { return };
    let one = host.listen("tcp 0.0.0.0:8081").by("app");
    let two = host.listen("tcp 0.0.0.0:8082").user(101).by("other");
    host.learn();
    one.ends();
    two.ends();
    let _one = host.listen("tcp 0.0.0.0:8081").by("backdoor");
    let _two = host.listen("tcp 0.0.0.0:8082").user(102).by("other");
    let drifts = host.diff();
    drifts.on(8081).shows("program_changed").has("severity", "critical");
    drifts.on(8082).shows("user_changed");
}

#[test]
fn a_program_that_was_replaced_on_disk_is_outdated_and_no_alarm() {
    let Some(host) = Host::new() else { return };
    let app = host.listen("tcp 0.0.0.0:8080").with_a_file_of_its_own().by("app");
    host.learn();
    copy(&app.program, host.path("bin/next"));
    std::fs::rename(host.path("bin/next"), &app.program).unwrap();
    host.diff().on(8080).shows("outdated").has("severity", "info");
    std::fs::remove_file(&app.program).unwrap();
    host.diff().on(8080).shows("binary_changed").has("severity", "critical");
}

#[test]
fn an_approval_ends_with_its_time() {
    let Some(host) = Host::new() else { return };
    let app = host.listen("tcp 0.0.0.0:8080").by("app");
    let approval = |expires: &str| {
        format!(
            "[[approval]]\nid = \"app\"\nlisten = \"tcp/*:8080\"\nprogram = \"{}\"\nreason = \"a trial\"\nexpires = {expires}\n",
            app.program.display()
        )
    };
    host.write("etc/baseline.toml", approval("2099-01-01"));
    host.diff().is_clean();
    host.write("etc/baseline.toml", approval("2020-01-01"));
    host.diff().on(8080).shows("expired").has("approval", "app");
}

/// Killed at fifty instants: the file is the old one or the new one, never a part of either, and never locked for good.
#[test]
fn a_kill_in_the_middle_of_approve_leaves_the_file_whole() {
    let Some(host) = Host::new() else { return };
    host.learn();
    host.write("etc/baseline.toml", format!("# by hand, above\n{}# by hand, below\n", host.baseline()));
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let drift = host.diff().on(8080).id();
    let old = host.baseline();

    let once = |_| {
        host.write("etc/baseline.toml", &old);
        let began = Instant::now();
        assert_eq!(host.approve(&drift, "whole").code, 0);
        began.elapsed()
    };
    // One of them may have stalled, and most kills would come too late.
    let takes = (0..3).map(once).min().unwrap();
    let mut killed = 0;
    for step in 0..50 {
        host.write("etc/baseline.toml", &old);
        let mut command = host.portledger(&["approve", &drift, "--reason", "whole"]);
        command.stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        killed += u32::from(Running::kill_after(takes * step / 50, command) != Some(0));
        let text = host.baseline();
        assert!(
            text == old || (text.starts_with("# by hand, above\n") && text.contains("\"whole\"")),
            "{text}"
        );
        assert_ne!(host.diff().code, 2, "the file is broken: {text}");
    }
    assert!(killed > 10, "only {killed} of 50 were killed before they were done in {takes:?}");
    host.write("etc/baseline.toml", &old);
    assert_eq!(host.approve(&drift, "whole").code, 0, "a killed one left its lock behind");
    host.diff().is_clean();
}

/// What two people approve at once is in the file afterwards, both.
#[test]
fn two_approvals_at_once_lose_nothing() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let _one = host.listen("tcp 0.0.0.0:8081").by("one");
    let _two = host.listen("tcp 0.0.0.0:8082").by("two");
    let drifts = host.diff();
    let ids = [drifts.on(8081).id(), drifts.on(8082).id()];
    std::thread::scope(|scope| {
        for id in &ids {
            scope.spawn(|| {
                let approved = || (host.approve(id, "at once").code == 0).then_some(());
                eventually("it is approved", approved);
            });
        }
    });
    host.diff().is_clean();
}

/// It may speak of more than what is approved again, and holds what people wrote.
#[test]
fn what_has_expired_stays_as_it_was_written() {
    let Some(host) = Host::new() else { return };
    let app = host.listen("tcp 0.0.0.0:8080-8081").by("app");
    let old = format!(
        "# agreed with Bob\n[[approval]]\nid = \"old\"   # inline\nlisten = [\"tcp/*:8080\", \"tcp/*:8081\"]\n\
         program = \"{}\"\nteam = \"infra\"\nexpires = 2020-01-01\n",
        app.program.display()
    );
    host.write("etc/baseline.toml", &old);
    let told = host.approve("old", "which of the two?");
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.stderr.contains("2 services"), "{told:?}");
    let service = host.list().on(8080).get("service").as_str().unwrap().to_owned();
    let told = host.approve(&service, "renewed");
    assert_eq!(told.code, 0, "{told:?}");
    assert!(host.baseline().starts_with(&old), "{}", host.baseline());
    let drifts = host.diff();
    drifts.nothing_on(8080);
    drifts.on(8081).shows("expired");
}

#[test]
fn nothing_is_approved_where_nobody_reads_it() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let drift = host.diff().on(8080).id();
    let elsewhere = host.path("etc/elsewhere.toml");
    let told = host.run(&["approve", &drift, "--reason", "r", "--file", elsewhere.to_str().unwrap()]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(!elsewhere.exists());
}

#[test]
fn a_crowd_that_is_gone_is_dismissed_as_one() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let serve = host.serve();
    let all = host.listen("tcp 0.0.0.0:8000-8023").by("nc");
    let id = eventually("they are told as one", || {
        let (_, metrics) = serve.get("/metrics");
        let line = metrics.lines().find(|line| line.starts_with("portledger_drift_info{drift=\"m1-"))?;
        Some(line.split('"').nth(1)?.to_owned())
    });
    let dismiss = |id: &str| host.run(&["dismiss", id, "--reason", "a scan of ours"]);
    eventually("`serve` has it written down", || {
        let refused = dismiss(&id);
        assert_eq!(refused.code, 2, "{refused:?}");
        refused.stderr.contains("24 of the 24 that are told as m1-").then_some(())
    });
    let shown = host.does(&["show", &id]).stdout;
    for word in ["24 drifts that differ in port alone, 24 of them there", "8000, 8001, ", "bin/nc", " 8023\n"]
    {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    assert_eq!(host.run(&["show", "m1-0123456789abcdef"]).code, 1);
    let wrong = dismiss("m1-0123456789abcdef");
    assert!(wrong.code == 2 && wrong.stderr.contains("no drift is open"), "{wrong:?}");
    all.ends();
    let done = eventually("they are gone", || Some(dismiss(&id)).filter(|told| told.code == 0));
    assert!(done.stderr.contains(": 24 dismissed") || done.stdout.contains(": 24 dismissed"), "{done:?}");
    eventually("they are closed", || {
        (8000..8024).all(|port| serve.drifts().find(port).is_none()).then_some(())
    });
    let ledger = std::fs::read_to_string(host.path("state/ledger.jsonl")).unwrap();
    assert_eq!(ledger.matches("a scan of ours").count(), 24, "one act each: {ledger}");
}

#[test]
fn what_is_gone_is_dismissed_until_it_comes_back() {
    let Some(host) = Host::new() else { return };
    host.learn();
    let serve = host.serve();
    let nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let id = host.diff().on(8080).id();
    let refused = host.run(&["dismiss", &id, "--reason", "harmless"]);
    assert!(!refused.stderr.contains("reads it again"), "nothing was written: {refused:?}");
    assert_eq!(refused.code, 2, "{refused:?}");
    nc.ends();
    eventually("it is gone", || serve.drifts().find(8080).filter(|row| *row.get("state") == "gone"));
    // What is shown is written down within a second.
    eventually("it is written down", || {
        (host.run(&["dismiss", &id, "--reason", "a test of the firewall"]).code == 0).then_some(())
    });
    eventually("it is closed", || serve.drifts().find(8080).is_none().then_some(()));
    eventually("it is logged", || {
        let events = std::fs::read_to_string(host.path("state/events.jsonl")).ok()?;
        events.contains("\"why\":\"dismissed\"").then_some(())
    });
    let ledger = std::fs::read_to_string(host.path("state/ledger.jsonl")).unwrap();
    assert!(ledger.lines().last().unwrap().contains("a test of the firewall"), "{ledger}");
    let _again = host.listen("tcp 0.0.0.0:8080").by("nc");
    eventually("it is open again", || serve.drifts().find(8080)).has("state", "present");
}
