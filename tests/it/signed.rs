//! Approvals that are signed by people's SSH keys.

use std::fs;
use std::path::PathBuf;

use baseline::{Approval, NAMESPACE, SourceText, Trust, When, canonical, edit, parse};
use jiff::tz::TimeZone;
use rustix::process::Signal;
use signing::Signature;

use crate::world::{Host, Person, Puppet, Serve, Told, eventually, finish, installed};

/// A host that demands signatures of these people, where an `app` that nobody approved listens on 8080.
pub(crate) fn host() -> Option<Host> {
    if !installed(&["ssh-keygen", "ssh-agent", "ssh-add"]) {
        return None;
    }
    let host = Host::new()?;
    host.write("etc/baseline.toml", "# what is approved\n");
    Some(host)
}

pub(crate) fn app(host: &Host) -> Puppet {
    host.listen("tcp 0.0.0.0:8080").by("app")
}

pub(crate) fn approve(host: &Host, by: &Person) -> Told {
    let id = host.diff().on(8080).id();
    host.run(&["approve", &id, "--reason", "the shop", "--name", "shop", "--key", by.key()])
}

/// The one approval `shop`, as the file has it.
fn shop(host: &Host) -> Approval {
    let texts = [source(host)];
    parse(&texts, &Trust::in_everybody(TimeZone::UTC)).unwrap().approval("shop").unwrap().clone()
}

fn source(host: &Host) -> SourceText {
    SourceText { path: host.path("etc/baseline.toml"), text: host.baseline() }
}

/// Why `shop` does not count, as `diff` says it.
#[track_caller]
pub(crate) fn why(host: &Host) -> String {
    let row = host.diff().on(8080).shows("untrusted").has("severity", "critical").has("approval", "shop");
    row.get("differs").to_string()
}

#[track_caller]
pub(crate) fn is_told(told: &Told, words: &[&str]) {
    assert_eq!(told.code, 2, "{told:?}");
    for word in words {
        assert!(told.stderr.contains(word), "no {word:?} in {}", told.stderr);
    }
}

pub(crate) fn acts(host: &Host) -> Vec<serde_json::Value> {
    let ledger = fs::read_to_string(host.path("state/ledger.jsonl")).unwrap_or_default();
    ledger.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn only_what_is_signed_counts_where_signatures_are_required() {
    let Some(host) = host() else { return };
    let alice = host.person("alice");
    host.demands_signatures(&[&alice], "");
    let _app = app(&host);
    let id = host.diff().on(8080).shows("unapproved").id();
    let before = host.baseline();
    is_told(&host.approve(&id, "the shop"), &["nothing was signed", "SSH_AUTH_SOCK", "ssh-add"]);
    assert_eq!(host.baseline(), before);
    assert!(acts(&host).is_empty());

    let told = approve(&host, &alice);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.stdout.contains("signed by alice@example.org"), "{told:?}");
    host.diff().is_clean();
    host.list().on(8080).has("verdict", "approved");
    let act = acts(&host).pop().unwrap();
    assert_eq!((&act["act"], &act["approval"]), (&"approve".into(), &"shop".into()));
    assert_eq!(act["who"]["principal"], "alice@example.org");

    let serve = host.serve();
    let approved = "portledger_listeners{protocol=\"tcp\",reach=\"public\",verdict=\"approved\"}";
    eventually("it is approved", || serve.metric(approved).filter(|count| *count == 1.0));
    host.write("etc/baseline.toml", host.baseline().replace("tcp/0.0.0.0:8080", "tcp/*:8080"));
    let why = why(&host);
    assert!(why.contains("signature of alice@example.org does not count"), "{why}");
    serve.running.signal(Signal::HUP);
    let pages = || {
        let (_, text) = serve.get("/metrics");
        let is_it =
            |line: &&str| line.starts_with("portledger_drift_info{") && line.contains("port=\"8080\"");
        text.lines().find(is_it).map(str::to_owned)
    };
    let line = eventually("it is drift", pages);
    assert!(line.contains("kind=\"untrusted\"") && line.contains("severity=\"critical\""), "{line}");
}

#[test]
fn an_agent_signs_too() {
    let Some(host) = host() else { return };
    let alice = host.person("alice");
    let stranger = host.person("stranger");
    host.demands_signatures(&[&alice], "");
    let _app = app(&host);
    let id = host.diff().on(8080).id();
    let approve = |agent: &PathBuf| {
        let mut command = host.portledger(&["approve", &id, "--reason", "the shop", "--name", "shop"]);
        command.env("SSH_AUTH_SOCK", agent);
        finish(command)
    };
    let of_stranger = host.agent(&stranger);
    is_told(&approve(&of_stranger.socket), &["none of the keys of the SSH agent may sign", "SHA256:"]);
    let of_alice = host.agent(&alice);
    let told = approve(&of_alice.socket);
    assert_eq!(told.code, 0, "{told:?}");
    host.diff().is_clean();
}

#[test]
fn two_people_approve_and_one_revokes_for_good() {
    let Some(host) = host() else { return };
    let (alice, bob) = (host.person("alice"), host.person("bob"));
    host.demands_signatures(&[&alice, &bob], "approvers = 2\n");
    let _app = app(&host);
    let serve = host.serve();
    let told = approve(&host, &alice);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.stderr.contains("portledger countersign shop"), "{told:?}");
    assert_eq!(acts(&host).pop().unwrap()["act"], "propose");
    let waits = why(&host);
    assert!(waits.contains("waits for another approver") && waits.contains("bob@example.org"), "{waits}");

    let alone = host.run(&["countersign", "shop", "--key", alice.key()]);
    is_told(&alone, &["alice@example.org signed approval `shop` already", "somebody else"]);
    why(&host);
    host.does(&["countersign", "shop", "--reason", "seen", "--key", bob.key()]);
    host.diff().nothing_on(8080);
    eventually("serve knows", || serve.drifts().find(8080).is_none().then_some(()));
    let act = acts(&host).pop().unwrap();
    assert_eq!((&act["act"], &act["who"]["principal"]), (&"countersign".into(), &"bob@example.org".into()));

    let signed = host.baseline();
    host.does(&["revoke", "shop", "--reason", "closed"]);
    host.diff().on(8080).shows("unapproved");
    let revoked = fs::read_to_string(host.path("state/ledger.revoked.json")).unwrap();
    assert!(revoked.contains("shop"), "{revoked}");
    // Both pasted beside the [[revoked]], and with it taken out.
    let revoked = host.baseline();
    for pasted in [format!("{revoked}\n{}", signed.split_once('\n').unwrap().1), signed] {
        host.write("etc/baseline.toml", pasted);
        let why = why(&host);
        assert!(why.contains("was revoked"), "{why}");
        serve.running.signal(Signal::HUP);
        let untrusted = || serve.drifts().find(8080).filter(|row| *row.get("kind") == "untrusted");
        eventually("serve does not trust it", untrusted);
    }
    // Signed anew it is another matter.
    let told = host.run(&["approve", "shop", "--reason", "open again", "--key", alice.key()]);
    assert_eq!(told.code, 0, "{told:?}");
    host.does(&["countersign", "shop", "--key", bob.key()]);
    host.diff().nothing_on(8080);
    assert_eq!(shop(&host).serial, 2);
}

#[test]
fn a_key_that_was_revoked_counts_no_more() {
    let Some(host) = host() else { return };
    let (alice, bob) = (host.person("alice"), host.person("bob"));
    host.demands_signatures(&[&alice, &bob], "");
    let _app = app(&host);
    assert_eq!(approve(&host, &alice).code, 0);
    let list = host.path("etc/revoked_keys");
    let krl = |of: &Person| {
        let mut keygen = host.command("ssh-keygen");
        keygen.args(["-q", "-k", "-f"]).arg(&list).arg(of.key.with_extension("pub"));
        assert_eq!(finish(keygen).code, 0);
    };
    krl(&bob);
    host.diff().is_clean();
    krl(&alice);
    assert!(why(&host).contains("is revoked"));
    let anew = host.run(&["approve", "shop", "--reason", "again", "--key", alice.key()]);
    is_told(&anew, &["nothing was written", "is revoked"]);
    host.write("etc/revoked_keys", format!("# left the company\n{}\n", bob.public()));
    host.diff().is_clean();
    host.write("etc/revoked_keys", format!("# stolen\n{} laptop\n", alice.public()));
    assert!(why(&host).contains("is revoked"));
    host.write("etc/revoked_keys", "# stolen\nssh-ed25519 AAAA\n");
    is_told(&host.run(&["diff"]), &["etc/revoked_keys:2: "]);
    host.write("etc/revoked_keys", b"SSHKRL\n\0\0\0\0\x01");
    is_told(&host.run(&["diff"]), &["etc/revoked_keys: the KRL is damaged"]);
}

#[test]
fn who_may_not_sign_is_told_why() {
    let Some(host) = host() else { return };
    let alice = host.person("alice");
    host.demands_signatures(&[&alice], "");
    let _app = app(&host);
    for (line, words) in [
        (alice.line("valid-before=\"20250101\""), &["could sign only until 2025-01-01"][..]),
        (alice.line("valid-after=\"20990101\""), &["may sign only since 2099-01-01"]),
        (alice.line("namespaces=\"git\""), &["may not sign for", "only for"]),
        (host.person("other").line(""), &["is not one of an allowed signer"]),
    ] {
        host.allows(&line);
        let told = approve(&host, &alice);
        is_told(&told, words);
        assert!(told.stderr.contains("SHA256:"), "{told:?}");
    }
    // What she signed before counts no more either, if her key could not sign then.
    host.allows(&alice.line(""));
    assert_eq!(approve(&host, &alice).code, 0);
    host.allows(&alice.line("valid-before=\"20250101\""));
    assert!(why(&host).contains("could sign only until"));
}

#[test]
fn mistakes_in_allowed_signers_are_told_with_their_place() {
    let Some(host) = host() else { return };
    let alice = host.person("alice");
    let weak = host.person_with("weak", &["-t", "rsa", "-b", "1024"]);
    host.demands_signatures(&[&alice], "");
    let _app = app(&host);
    for (second, column, words) in [
        (weak.line(""), 18, "less than 2048 bits can be broken"),
        (format!("\"\" {}\n", alice.public()), 1, "principal"),
        (format!("bob@example.org valid-until=\"x\" {}\n", alice.public()), 17, "valid-until"),
        ("bob@example.org ssh-ed25519 AAAA\n".to_owned(), 0, "key"),
        ("bob@example.org\n".to_owned(), 0, "key"),
    ] {
        host.allows(&(alice.line("") + &second));
        let told = host.run(&["diff"]);
        let place = if column == 0 {
            "etc/allowed_signers:2:".to_owned()
        } else {
            format!("etc/allowed_signers:2:{column}:")
        };
        is_told(&told, &[&place, words]);
        is_told(&host.run(&["countersign", "shop", "--key", alice.key()]), &[&place]);
    }
    fs::remove_file(host.path("etc/allowed_signers")).unwrap();
    is_told(&host.run(&["diff"]), &["etc/allowed_signers", "missing", "write a line for each approver"]);
}

#[test]
fn serve_takes_over_who_may_sign_and_keeps_the_last_good() {
    let Some(host) = host() else { return };
    let (alice, bob) = (host.person("alice"), host.person("bob"));
    host.demands_signatures(&[&alice], "");
    let _app = app(&host);
    assert_eq!(approve(&host, &alice).code, 0);
    let serve = host.serve();
    serve.settles();
    let taken_over =
        |serve: &Serve<'_>| serve.metric("portledger_config_last_reload_successful").unwrap() == 1.0;
    let reload = |good: bool| {
        serve.running.signal(Signal::HUP);
        eventually("it has read it again", || (taken_over(&serve) == good).then_some(()));
    };
    assert!(serve.drifts().find(8080).is_none());
    host.allows(&(alice.line("") + "bob@example.org ssh-ed25519 AAAA\n"));
    reload(false);
    assert!(serve.log().contains("etc/allowed_signers:2:"), "{}", serve.log());
    assert!(serve.drifts().find(8080).is_none(), "the last good ones stay in force");
    host.allows(&bob.line(""));
    reload(true);
    let drift = eventually("alice's word counts no more", || serve.drifts().find(8080)).shows("untrusted");
    assert!(drift.get("differs").to_string().contains("is not one of an allowed signer"), "{drift:?}");
    host.allows(&(alice.line("") + &bob.line("")));
    reload(true);
    eventually("it counts again", || serve.drifts().find(8080).is_none().then_some(()));
}

/// What we sign ssh-keygen believes, and what it signs we do, for no other purpose than approvals.
#[test]
fn ssh_keygen_makes_and_checks_the_same_signatures() {
    let Some(host) = host() else { return };
    let alice = host.person("alice");
    host.demands_signatures(&[&alice], "");
    let _app = app(&host);
    assert_eq!(approve(&host, &alice).code, 0);
    let approval = shop(&host);
    let armor = Signature::from_base64(approval.signature.as_ref().unwrap()).unwrap().to_armor();
    host.write("text", canonical(&approval));
    host.write("text.sig", armor);
    let verify = |namespace: &str| {
        let (signers, text) = (host.path("etc/allowed_signers"), host.path("text"));
        let mut shell = host.command("sh");
        shell.arg("-c").arg(format!(
            "ssh-keygen -Y verify -f {} -I alice@example.org -n {namespace} -s {1}.sig <{1}",
            signers.display(),
            text.display()
        ));
        finish(shell)
    };
    let told = verify(NAMESPACE);
    assert_eq!(told.code, 0, "{told:?}");
    assert_ne!(verify("git").code, 0);

    let at = When::instant(std::time::SystemTime::now());
    let unsigned = Approval { at: Some(at), signature: None, ..approval };
    host.write("text", canonical(&unsigned));
    for (namespace, counts) in [("git", false), (NAMESPACE, true)] {
        host.sh(&format!(
            "rm -f {0}.sig; ssh-keygen -q -Y sign -n {namespace} -f {1} {0}",
            host.path("text").display(),
            alice.key()
        ));
        let armor = fs::read_to_string(host.path("text.sig")).unwrap();
        let signature = Some(Signature::from_armor(&armor).unwrap().to_base64());
        let signed = edit::sign(&source(&host), &Approval { signature, ..unsigned.clone() }).unwrap();
        host.write("etc/baseline.toml", signed);
        match counts {
            true => host.diff().is_clean(),
            false => assert!(why(&host).contains("git"), "{}", why(&host)),
        }
    }
}

#[test]
fn a_scope_that_is_out_of_force_is_told_of() {
    let Some(host) = host() else { return };
    let alice = host.person("alice");
    host.demands_signatures(&[&alice], "");
    let _app = app(&host);
    let scope = "[[scope]]\nlisten = \"tcp/*:8080\"\njudged = false\nreason = \"quiet\"\n";
    host.write("etc/baseline.toml", scope);
    for verb in [&["diff"][..], &["baseline", "check"]] {
        let told = host.run(verb);
        let text = format!("{}{}", told.stdout, told.stderr);
        assert!(text.contains("baseline.toml:1:") && text.contains("not in force"), "{verb:?}: {told:?}");
    }
    let serve = host.serve();
    assert!(serve.log().contains("not in force"), "{}", serve.log());
    host.diff().on(8080).shows("unapproved");
}

#[test]
fn a_renewal_leaves_in_force_what_is() {
    let Some(host) = host() else { return };
    let (alice, bob) = (host.person("alice"), host.person("bob"));
    host.demands_signatures(&[&alice, &bob], "approvers = 2\n");
    let _app = app(&host);
    assert_eq!(approve(&host, &alice).code, 0);
    host.does(&["countersign", "shop", "--reason", "seen", "--key", bob.key()]);
    host.diff().is_clean();
    let renewal = ["approve", "shop", "--for", "60d", "--key", alice.key()];
    is_told(&host.run(&renewal), &["is in force", "--name shop-2"]);
    host.diff().is_clean();
    host.does(&[&renewal[..], &["--name", "shop-2"]].concat());
    host.diff().is_clean();
    host.does(&["countersign", "shop-2", "--key", bob.key()]);
    host.does(&["revoke", "shop"]);
    host.diff().is_clean();
    // Refused behind one that was written.
    let _other = host.listen("tcp 0.0.0.0:8081").by("other");
    let other = host.diff().on(8081).id();
    let both = ["approve", &other, "shop-2", "--reason", "both", "--key", alice.key()];
    is_told(&host.run(&both), &["`other` is written and stays; not so the rest", "is in force"]);
}

#[test]
fn a_ledger_that_was_removed_is_not_begun_anew() {
    let Some(host) = host() else { return };
    let alice = host.person("alice");
    host.demands_signatures(&[&alice], "");
    let _app = app(&host);
    assert_eq!(approve(&host, &alice).code, 0);
    let (ledger, aside) = (host.path("state/ledger.jsonl"), host.path("ledger.aside"));
    fs::rename(&ledger, &aside).unwrap();
    is_told(&host.run(&["revoke", "shop"]), &["had 1 records, and 0 are there", "ledger.head"]);
    fs::rename(&aside, &ledger).unwrap();
    host.does(&["revoke", "shop"]);
    assert_eq!(acts(&host).len(), 2);
}
