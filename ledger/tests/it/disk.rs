use std::path::Path;
use std::process::Command;

use ledger::{LogError, verify};

use super::{KEEPING, NAME, append, keys, writer};

struct Mount<'a>(&'a Path);

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _done = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_loses_the_batch_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    if !rustix::process::geteuid().is_root() {
        println!("SKIP a_full_disk_loses_the_batch_and_nothing_else: only root can mount a small disk");
        return;
    }
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "none"]).arg(folder).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("SKIP a_full_disk_loses_the_batch_and_nothing_else: mount is not allowed here");
        return;
    }
    let _mount = Mount(folder);
    let mut writer = writer(folder, KEEPING);
    append(&mut writer, &[1, 3]);
    let large: Vec<_> = (0..2000).map(|_| format!("{{\"text\":\"{}\"}}", "x".repeat(200))).collect();
    for _ in 0..3 {
        let error = writer.append(&large).unwrap_err();
        assert!(matches!(error, LogError::Io { step: "write", .. }), "{error}");
        let verified = verify(folder, NAME, &keys(folder), |_| {}).unwrap();
        assert_eq!((verified.records, verified.unfinished), (4, false));
    }
    append(&mut writer, &[2]);
    let verified = verify(folder, NAME, &keys(folder), |_| {}).unwrap();
    assert_eq!((verified.records, verified.unfinished), (6, false));
}
