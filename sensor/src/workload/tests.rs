use std::fs;
use std::os::unix::fs::chown;

use inventory::{RawText, Runtime, Session, Workload};

use super::Workloads;

const ID: &str = "3ad14510a622f1927615ace1175e51fd3acb6a8ae1c785161e0e274c3a13a31b";

#[test]
fn knows_where_a_session_comes_from() {
    let root = tempfile::tempdir().unwrap();
    let of = |path: &str| Workloads::new(root.path()).of(format!("0::{path}\n").as_bytes());
    let session = |id: &str, from: Option<&str>| {
        Workload::Session(Session { id: RawText::from(id), uid: 1000, from: from.map(RawText::from) })
    };
    let slice = "/user.slice/user-1000.slice";
    // The slice names the user where logind's file is gone.
    assert_eq!(of(&format!("{slice}/session-3.scope")), session("3", None));
    assert_eq!(of("/session-3.scope"), Workload::None);

    fs::create_dir_all(root.path().join("run/systemd/sessions")).unwrap();
    let write =
        |id: &str, state: &str| fs::write(root.path().join("run/systemd/sessions").join(id), state).unwrap();
    write(
        "3",
        "# This is private data. Do not parse.\nUID=1000\nUSER=alice\nTTY=pts/0\nREMOTE_HOST=192.0.2.7\n",
    );
    write("c1", "UID=1000\nREMOTE_HOST=\nTTY=tty1\n");
    assert_eq!(of("/session-3.scope"), session("3", Some("192.0.2.7")));
    assert_eq!(of(&format!("{slice}/session-c1.scope")), session("c1", Some("tty1")));
    assert_eq!(of("/user.slice/session-..scope"), Workload::None);
}

#[test]
fn believes_in_a_container_beneath_a_unit_where_root_made_its_cgroup() {
    if !rustix::process::geteuid().is_root() {
        eprintln!(
            "SKIP believes_in_a_container_beneath_a_unit_where_root_made_its_cgroup: wants root to give a folder away"
        );
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let cgroup = format!("/system.slice/web.service/libpod-payload-{ID}");
    let folder = root.path().join(format!("sys/fs/cgroup{cgroup}"));
    let of = || Workloads::new(root.path()).of(format!("0::{cgroup}\n").as_bytes());
    assert_eq!(of(), Workload::Unit(RawText::from("web.service")));
    fs::create_dir_all(&folder).unwrap();
    assert!(matches!(of(), Workload::Container(container) if container.runtime == Runtime::Podman));
    chown(&folder, Some(1000), None).unwrap();
    assert_eq!(of(), Workload::Unit(RawText::from("web.service")));
}
