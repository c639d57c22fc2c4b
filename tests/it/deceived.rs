//! What somebody does so that `audit` says something else than what was.

use std::fs;

use crate::audit::{acted, ledger};

#[test]
fn a_ledger_whose_beginning_was_cut_is_broken() {
    let Some(host) = acted() else { return };
    let keys = host.path("web.pub");
    fs::copy(host.path("state/ledger.key.pub"), &keys).unwrap();
    let whole = fs::read_to_string(ledger(&host)).unwrap();
    let (_, cut) = whole.split_once('\n').unwrap();
    fs::write(ledger(&host), cut).unwrap();
    let at = ["audit", "--endpoint", "tcp/8443", "--at", "1s"];
    for verb in [&["audit"][..], &["audit", "--verify"], &at] {
        let told = host.run(verb);
        let text = format!("{}{}", told.stdout, told.stderr);
        assert!(told.code == 1 && text.contains("where record 1 belongs stands 2"), "{verb:?}: {told:?}");
    }
    let answer = host.run(&at).stdout;
    assert!(answer.contains("what the ledger said from record 1 on"), "{answer}");
    let bundle = host.path("web.bundle");
    let bundle = bundle.to_str().unwrap();
    assert_eq!(host.run(&["audit", "export", "--to", bundle]).code, 1);
    let told = host.run(&["audit", "verify", bundle, "--host-keys", keys.to_str().unwrap()]);
    assert!(told.code == 1 && told.stdout.contains("where record 1 belongs stands 2"), "{told:?}");

    // What retention drops are whole segments, and that is told as well.
    fs::rename(ledger(&host), host.path("state/ledger.jsonl.2")).unwrap();
    let told = host.does(&at);
    assert!(told.stdout.contains("what the ledger said before record 2"), "{told:?}");
    assert!(told.stderr.contains("those before 2 are not there"), "{told:?}");
}
