use std::os::unix::process::CommandExt;
use std::process::Command;

use super::*;

/// Whether this host makes `find` choose a number.
fn chooses(test: &str) -> bool {
    let chooses = is_root() && User::from_name(ACCOUNT).unwrap().is_none();
    if !chooses {
        eprintln!("SKIP {test}: a number is chosen for root only, and where there is no user `{ACCOUNT}`");
    }
    chooses
}

fn folder_of(uid: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(folder.path(), Some(uid), Some(uid)).unwrap();
    folder
}

#[test]
fn stays_whoever_has_the_state_folder_also_while_it_still_runs() {
    if !chooses("stays_whoever_has_the_state_folder_also_while_it_still_runs") {
        return;
    }
    let folder = folder_of(61_300);
    let mut former = Command::new("sleep").arg("60").uid(61_300).gid(61_300).spawn().unwrap();
    let found = Identity::find(folder.path());
    former.kill().unwrap();
    former.wait().unwrap();
    let found = found.unwrap();
    assert_eq!((found.uid(), found.gid(), found.origin()), (61_300, 61_300, Origin::Dynamic));
}

#[test]
fn becomes_nobody_elses_number() {
    if !chooses("becomes_nobody_elses_number") {
        return;
    }
    for owner in [0, 1, 1000, 61_183, 65_520, 65_534] {
        let found = Identity::find(folder_of(owner).path()).unwrap();
        assert!(Identity::is_dynamic(found.uid()) && found.gid() == found.uid(), "{owner}: {found:?}");
    }
    let missing = Identity::find(Path::new("/no/such/folder")).unwrap();
    assert!(Identity::is_dynamic(missing.uid()), "{missing:?}");
    let (above, folder) = (tempfile::tempdir().unwrap(), folder_of(61_300));
    let link = above.path().join("link");
    std::os::unix::fs::symlink(folder.path(), &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(61_300), None).unwrap();
    assert_ne!(Identity::find(&link).unwrap().uid(), 61_300, "a link is no folder");
}

#[test]
fn advises_to_create_the_user_where_there_is_none() {
    let of = |origin| Identity { uid: 62_945, gid: 62_945, origin }.advice();
    assert_eq!((of(Origin::Account), of(Origin::Started)), (None, None));
    let advice = of(Origin::Dynamic).unwrap();
    assert!(
        advice.starts_with("runs as uid 62945 of the dynamic range: there is no system user `portledger`; ")
    );
}
