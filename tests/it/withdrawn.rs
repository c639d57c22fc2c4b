//! What was revoked or renewed stays so, whatever becomes of the files.

use std::fs;

use crate::signed::{acts, app, approve, host, is_told, why};
use crate::world::{eventually, finish};

#[test]
fn what_was_withdrawn_stays_so_where_nothing_serves() {
    let Some(host) = host() else { return };
    let alice = host.person("alice");
    host.demands_signatures(&[&alice], "");
    let _app = app(&host);
    assert_eq!(approve(&host, &alice).code, 0);
    let first = host.baseline();
    // Approved anew it is in force as it is now, and not as it was.
    host.does(&["approve", "shop", "--reason", "for a while", "--for", "1d", "--key", alice.key()]);
    let second = host.baseline();
    assert!(second.contains("serial = 2") && second.contains("expires"), "{second}");
    host.diff().is_clean();
    host.write("etc/baseline.toml", &first);
    assert!(why(&host).contains("was revoked or renewed: up to serial 1"), "{}", why(&host));
    // Whoever takes signature or serial out beforehand does not make the revocation smaller.
    for tampered in [second.replace("signature = ", "ticket = "), second.replace("serial = 2", "serial = 1")]
    {
        host.write("etc/baseline.toml", tampered);
        host.does(&["revoke", "shop"]);
        host.write("etc/baseline.toml", &second);
        assert!(why(&host).contains("was revoked or renewed: up to serial"), "{}", why(&host));
    }
}

/// Each way to name it: as it stands there, by a link to it, by one to its folder.
#[test]
fn what_this_host_reads_is_no_checkout_however_it_is_named() {
    let Some(host) = host() else { return };
    let (alice, bob) = (host.person("alice"), host.person("bob"));
    host.demands_signatures(&[&alice, &bob], "approvers = 2\n");
    let _app = app(&host);
    let serve = host.serve();
    let inventory = host.does(&["list", "--format", "json"]).stdout;
    host.write("inv.json", inventory);
    let inventory = host.path("inv.json");
    for name in ["link", "folder"] {
        fs::create_dir_all(host.path("co").join(name)).unwrap();
    }
    std::os::unix::fs::symlink(host.path("etc/baseline.toml"), host.path("co/link/baseline.toml")).unwrap();
    std::os::unix::fs::symlink(host.path("etc"), host.path("co/folder/etc")).unwrap();
    for (serial, named) in
        (1..).zip(["etc/baseline.toml", "co/link/baseline.toml", "co/folder/etc/baseline.toml"])
    {
        let named = host.path(named);
        let file = named.to_str().unwrap();
        let id = host.diff().on(8080).id();
        let away = ["--inventory", inventory.to_str().unwrap(), "--file", file];
        let told = host.run(
            &[&["approve", &id, "--reason", "r", "--name", "shop", "--key", alice.key()], &away[..]].concat(),
        );
        is_told(&told, &["this host is judged by it", "without --inventory"]);
        assert_eq!(approve(&host, &alice).code, 0);
        let told = host.does(&["countersign", "shop", "--key", bob.key(), "--file", file]);
        assert!(told.stderr.contains("reads it again"), "{told:?}");
        eventually("serve knows", || serve.drifts().find(8080).is_none().then_some(()));
        let signed = host.baseline();
        host.does(&["revoke", "shop", "--reason", "stolen", "--file", file]);
        assert!(acts(&host).iter().all(|act| act.get("away").is_none()), "{:#?}", acts(&host));
        host.write("etc/baseline.toml", signed);
        let why = why(&host);
        assert!(why.contains(&format!("was revoked or renewed: up to serial {serial}")), "{named:?}: {why}");
        host.write("etc/baseline.toml", "# what is approved\n");
    }
    // What no host reads is one, as before.
    approve(&host, &alice);
    fs::create_dir(host.path("repo")).unwrap();
    fs::rename(host.path("etc/baseline.toml"), host.path("repo/baseline.toml")).unwrap();
    let file = host.path("repo/baseline.toml");
    host.does(&["countersign", "shop", "--key", bob.key(), "--file", file.to_str().unwrap()]);
    assert_eq!(acts(&host).pop().unwrap()["away"], true);
}

#[test]
fn what_is_revoked_twice_is_revoked_once() {
    let Some(host) = host() else { return };
    let alice = host.person("alice");
    host.demands_signatures(&[&alice], "");
    let _app = app(&host);
    assert_eq!(approve(&host, &alice).code, 0);
    let signed = host.baseline();
    host.does(&["revoke", "shop"]);
    let revoked = host.baseline();
    let told = host.does(&["revoke", "shop"]);
    assert!(told.stdout.contains("was revoked already, up to serial 1"), "{told:?}");
    assert_eq!((host.baseline(), acts(&host).len()), (revoked.clone(), 2));
    // Pasted beside what says so, and where nothing in the file does.
    for pasted in [format!("{revoked}\n{}", signed.split_once('\n').unwrap().1), signed] {
        host.write("etc/baseline.toml", pasted);
        let told = host.does(&["revoke", "shop"]);
        assert!(told.stdout.contains("taken out; it was revoked already, up to serial 1"), "{told:?}");
        let left = host.baseline();
        assert_eq!(left.matches("[[revoked]]").count(), 1, "{left}");
        assert!(left.contains("serial = 1") && !left.contains("[[approval]]"), "{left}");
    }
    assert_eq!(acts(&host).len(), 4);
}

/// The second signature of a renewal makes it count, and retires what it renews.
#[test]
fn what_two_people_renewed_counts_no_more_as_it_was() {
    let Some(host) = host() else { return };
    let (alice, bob) = (host.person("alice"), host.person("bob"));
    host.demands_signatures(&[&alice, &bob], "approvers = 2\n");
    let _app = app(&host);
    assert_eq!(approve(&host, &alice).code, 0);
    host.does(&["countersign", "shop", "--key", bob.key()]);
    let first = host.baseline();
    host.diff().is_clean();
    // What is in force would not be renewed in its place.
    host.write("etc/baseline.toml", first.replace("reach = ", "expires = 2099-01-01\nreach = "));
    why(&host);
    host.does(&["approve", "shop", "--reason", "for a while", "--key", alice.key()]);
    assert!(!host.path("state/ledger.revoked.json").exists(), "one signature retires nothing");
    host.does(&["countersign", "shop", "--key", bob.key()]);
    host.diff().is_clean();
    host.write("etc/baseline.toml", first);
    let why = why(&host);
    assert!(why.contains("was revoked or renewed: up to serial 1"), "{why}");
}

/// What was acknowledged is never taken back: a file that is as it was before was turned back by somebody.
#[test]
fn what_was_done_stays_so_where_the_old_file_is_put_back() {
    let Some(host) = host() else { return };
    let alice = host.person("alice");
    host.demands_signatures(&[&alice], "");
    let _app = app(&host);
    let _other = host.listen("tcp 0.0.0.0:8081").by("other");
    let other = |name: &str| {
        let id = host.diff().on(8081).id();
        host.does(&["approve", &id, "--reason", "r", "--name", name, "--key", alice.key()]);
    };
    let before = host.baseline();
    assert_eq!(approve(&host, &alice).code, 0);
    let approved = host.baseline();
    host.write("etc/baseline.toml", before);
    other("one");
    host.write("etc/baseline.toml", &approved);
    host.does(&["revoke", "shop", "--reason", "stolen"]);
    host.write("etc/baseline.toml", &approved);
    other("two");
    let kinds: Vec<_> = acts(&host).iter().map(|act| act["act"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["approve", "approve", "revoke", "approve"]);
    assert!(why(&host).contains("was revoked or renewed: up to serial 1"));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let told = host.does(&["audit", "--endpoint", "tcp/8080", "--at", "1s"]);
    assert!(told.stdout.contains("No approval covered it"), "{told:?}");
}

/// What can be taken away by somebody else is no memory, and what cannot be read is no empty one.
#[test]
fn what_was_revoked_is_remembered_by_root_alone() {
    let Some(host) = host() else { return };
    let alice = host.person("alice");
    host.demands_signatures(&[&alice], "");
    let _app = app(&host);
    assert_eq!(approve(&host, &alice).code, 0);
    let signed = host.baseline();
    drop(host.serve());
    use std::os::unix::fs::MetadataExt;
    let uid = fs::metadata(host.path("state/events.key")).unwrap().uid();
    assert_ne!(uid, 0);
    let memory = host.path("state/ledger.revoked.json");
    let plant = || {
        fs::write(&memory, r#"{"version":1,"revoked":{}}"#).unwrap();
        std::os::unix::fs::chown(&memory, Some(uid), Some(uid)).unwrap();
    };
    plant();
    for verb in [&["diff"][..], &["backup", "--to", host.path("no.backup").to_str().unwrap()]] {
        is_told(&host.run(verb), &["ledger.revoked.json: it belongs to uid", "rm "]);
    }
    let told = host.does(&["revoke", "shop", "--reason", "stolen"]);
    assert!(told.stderr.contains("ledger.revoked.json.refused"), "{told:?}");
    assert_eq!(fs::metadata(&memory).unwrap().uid(), 0);
    assert!(fs::read_to_string(&memory).unwrap().contains("shop"));
    host.write("etc/baseline.toml", &signed);
    assert!(why(&host).contains("was revoked"));

    let refused = host.path("state/withdrawn.json");
    fs::write(&refused, r#"{"version":1,"revoked":{"shop":1}}"#).unwrap();
    std::os::unix::fs::chown(&refused, Some(uid), Some(uid)).unwrap();
    fs::set_permissions(&refused, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    is_told(&finish(host.portledger_with(&[], &["diff"])), &["withdrawn.json: Permission denied"]);
}
