use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn own_identity() -> Identity {
    Identity::started(rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIP {test}: changing owners needs root");
    }
    root
}

#[test]
fn makes_the_folder_and_those_above_it() {
    let above = folder();
    let path = above.path().join("lib/portledger");
    prepare_state(&path, &own_identity()).unwrap();
    let mode = path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, if own_identity().uid() == 0 { 0o3770 } else { 0o750 });
    prepare_state(&path, &own_identity()).unwrap();
}

#[test]
fn lets_the_identity_write_into_a_folder_that_stays_roots() {
    if !is_root("lets_the_identity_write_into_a_folder_that_stays_roots") {
        return;
    }
    let above = folder();
    let path = above.path().join("state");
    prepare_state(&path, &Identity::started(62_945, 62_946)).unwrap();
    let meta = path.metadata().unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o777), (0, 62_946, 0o770));
    assert_eq!(meta.mode() & 0o1000, 0o1000, "the ledger could be taken out of it");
}

#[test]
fn takes_over_from_an_earlier_dynamic_uid_without_foreign_files() {
    if !is_root("takes_over_from_an_earlier_dynamic_uid_without_foreign_files") {
        return;
    }
    let above = folder();
    let path = above.path().join("state");
    prepare_state(&path, &Identity::started(61_184, 61_184)).unwrap();
    write(&path, "register.json", b"{}").unwrap();
    let secret = above.path().join("secret");
    std::fs::write(&secret, "root's").unwrap();
    std::fs::hard_link(&secret, path.join("linked")).unwrap();
    symlink(&secret, path.join("pointed")).unwrap();
    prepare_state(&path, &Identity::started(62_945, 62_945)).unwrap();
    assert_eq!(path.metadata().unwrap().gid(), 62_945);
    assert_eq!(path.join("register.json").metadata().unwrap().uid(), 62_945);
    assert_eq!(secret.metadata().unwrap().uid(), 0, "a file of root's was given away");
}

#[test]
fn leaves_the_ledger_to_root_and_takes_over_the_older_layout() {
    if !is_root("leaves_the_ledger_to_root_and_takes_over_the_older_layout") {
        return;
    }
    let above = folder();
    let path = above.path().join("state");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("ledger.jsonl"), "").unwrap();
    let identity = Identity::started(62_945, 62_946);
    prepare_state(&path, &identity).unwrap();
    let meta = path.join("ledger.jsonl").metadata().unwrap();
    assert_eq!((meta.uid(), meta.gid()), (0, 62_946));

    let older = above.path().join("older");
    std::fs::create_dir(&older).unwrap();
    std::fs::write(older.join("register.json"), "{}").unwrap();
    std::os::unix::fs::chown(&older, Some(62_945), Some(62_946)).unwrap();
    prepare_state(&older, &identity).unwrap();
    assert_eq!((older.metadata().unwrap().uid(), older.metadata().unwrap().gid()), (0, 62_946));
    assert_eq!(older.join("register.json").metadata().unwrap().uid(), 62_945);
}

#[test]
fn refuses_what_is_not_safe_to_give_away() {
    let above = folder();
    let open = above.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(prepare_state(&open, &own_identity()), Err(StateError::WorldWritable(_))));
    let link = above.path().join("link");
    symlink(above.path(), &link).unwrap();
    assert!(matches!(prepare_state(&link, &own_identity()), Err(StateError::NoFolder(_))));
    let file = above.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(prepare_state(&file, &own_identity()), Err(StateError::NoFolder(_))));
    let full = above.path().join("full");
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("somebody's"), "").unwrap();
    let stranger = Identity::started(62_945, 62_945);
    assert!(matches!(prepare_state(&full, &stranger), Err(StateError::Foreign { uid: 62_945, .. })));
}

#[test]
fn reads_back_what_it_wrote_within_the_bound() {
    let folder = folder();
    assert_eq!(read(folder.path(), "a", 4).unwrap(), None);
    write(folder.path(), "a", b"old").unwrap();
    write(folder.path(), "a", b"new!").unwrap();
    assert_eq!(read(folder.path(), "a", 4).unwrap().unwrap(), b"new!");
    assert!(matches!(read(folder.path(), "a", 3), Err(StateError::TooLarge { bound: 3, .. })));
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["a"]);
}

#[test]
fn follows_no_link_that_the_folder_holds() {
    let folder = folder();
    let target = folder.path().join("target");
    std::fs::write(&target, "whole").unwrap();
    symlink(&target, folder.path().join("a")).unwrap();
    symlink(&target, folder.path().join("b.new")).unwrap();
    assert!(read(folder.path(), "a", 9).is_err());
    assert!(write(folder.path(), "b", b"gone").is_err());
    assert_eq!(std::fs::read(&target).unwrap(), b"whole");
}

#[test]
fn waits_for_nobody_at_a_pipe_in_the_place_of_a_file() {
    let folder = folder();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.path().join("serve.pid"),
        rustix::fs::FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let path = folder.path().to_owned();
    std::thread::spawn(move || tell.send(crate::daemon::reload_running(&path)));
    let answer = told.recv_timeout(std::time::Duration::from_secs(60)).expect("it hangs");
    let Err(crate::daemon::ReloadError::State(StateError::NoFile(path))) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(path, folder.path().join("serve.pid"));
}

#[test]
fn is_locked_by_one_at_a_time() {
    let above = folder();
    let path = above.path().join("lib/portledger");
    let first = lock_state(&path).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o750);
    assert_eq!(path.join("serve.lock").metadata().unwrap().permissions().mode() & 0o777, 0o644);
    let (folder, own) = (path.display(), std::process::id());
    let busy = lock_state(&path).unwrap_err().to_string();
    let end = "end it, or choose another folder with --state";
    assert_eq!(busy, format!("{folder} is in use by another `portledger serve`: {end}"));
    crate::daemon::announce(&path).unwrap();
    let busy = lock_state(&path).unwrap_err().to_string();
    assert_eq!(busy, format!("{folder} is in use by another `portledger serve`, process {own}: {end}"));
    drop(first);
    lock_state(&path).unwrap();
}

#[test]
fn keeps_the_lock_for_root_when_the_folder_is_given_away() {
    if !is_root("keeps_the_lock_for_root_when_the_folder_is_given_away") {
        return;
    }
    let above = folder();
    let path = above.path().join("state");
    let _lock = lock_state(&path).unwrap();
    for uid in [61_184, 62_945] {
        prepare_state(&path, &Identity::started(uid, uid)).unwrap();
        assert_eq!(path.metadata().unwrap().gid(), uid);
        assert_eq!(path.join("serve.lock").metadata().unwrap().uid(), 0);
    }
}

#[test]
fn locks_nothing_that_stands_in_the_place_of_the_lock() {
    let folder = folder();
    let (lock, secret) = (folder.path().join("serve.lock"), folder.path().join("secret"));
    std::fs::write(&secret, "root's").unwrap();
    std::fs::hard_link(&secret, &lock).unwrap();
    assert!(matches!(lock_state(folder.path()), Err(StateError::NoFile(_))));
    std::fs::remove_file(&lock).unwrap();
    symlink(&secret, &lock).unwrap();
    assert!(matches!(lock_state(folder.path()), Err(StateError::Io { .. })));
    std::fs::remove_file(&lock).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &lock, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0)
        .unwrap();
    assert!(matches!(lock_state(folder.path()), Err(StateError::NoFile(_))));
}
