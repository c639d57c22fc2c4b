use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use inventory::{Endpoint, Holder, ProcessId, Protocol, RawText, Workload};
use tempfile::TempDir;

use super::SocketUnits;

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn unit_for(root: &TempDir, address: &str, port: u16) -> Option<String> {
    let endpoint =
        Endpoint { protocol: Protocol::Tcp, address: address.parse().unwrap(), port, device: None };
    SocketUnits::load(root.path()).unit_for(&endpoint).map(|name: RawText| name.escaped())
}

#[test]
fn reads_units_and_their_drop_ins_where_systemd_does() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "usr/lib/systemd/system/ssh.socket", "[Socket]\nListenStream=22\nAccept=no\n");
    assert_eq!(unit_for(&root, "::", 22).as_deref(), Some("ssh.socket"));
    write(root.path(), "etc/systemd/system/ssh.socket", "[Socket]\nListenStream=23\n");
    assert_eq!(unit_for(&root, "::", 22), None);
    assert_eq!(unit_for(&root, "::", 23).as_deref(), Some("ssh.socket"));
    // As Ubuntu's sshd-socket-generator writes it.
    let drop_in = "[Socket]\nListenStream=\nListenStream=0.0.0.0:2222\n";
    write(root.path(), "run/systemd/generator/ssh.socket.d/addresses.conf", drop_in);
    assert_eq!(unit_for(&root, "::", 23), None);
    assert_eq!(unit_for(&root, "0.0.0.0", 2222).as_deref(), Some("ssh.socket"));
    // A file of the same name in an earlier folder hides it.
    write(root.path(), "etc/systemd/system/ssh.socket.d/addresses.conf", "");
    assert_eq!(unit_for(&root, "::", 23).as_deref(), Some("ssh.socket"));
}

#[test]
fn picks_no_unit_out_of_several_unless_one_runs() {
    let root = tempfile::tempdir().unwrap();
    for unit in ["a.socket", "b.socket"] {
        write(root.path(), &format!("usr/lib/systemd/system/{unit}"), "[Socket]\nListenStream=80\n");
    }
    assert_eq!(unit_for(&root, "::", 80), None);
    write(root.path(), "run/systemd/units/invocation:b.socket", "");
    assert_eq!(unit_for(&root, "::", 80).as_deref(), Some("b.socket"));
}

#[test]
fn names_the_instance_of_a_template() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "usr/lib/systemd/system/echo@.socket", "[Socket]\nListenStream=127.0.0.1:%i\n");
    write(root.path(), "run/systemd/units/invocation:echo@7777.socket", "");
    assert_eq!(unit_for(&root, "127.0.0.1", 7777).as_deref(), Some("echo@7777.socket"));
}

#[test]
fn gives_each_socket_of_the_first_process_its_own_unit() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "usr/lib/systemd/system/ssh.socket", "[Socket]\nListenStream=22\nListenStream=23\n");
    let mut units = SocketUnits::load(root.path());
    let at = |port| Endpoint { protocol: Protocol::Tcp, address: "::".parse().unwrap(), port, device: None };
    let first = Arc::new(holder(1));
    let of_ssh = units.as_holder_of(&first, &at(22));
    assert_eq!(of_ssh.workload, Workload::Unit(RawText::from("ssh.socket")));
    assert!(Arc::ptr_eq(&of_ssh, &units.as_holder_of(&first, &at(23))));
    assert!(Arc::ptr_eq(&first, &units.as_holder_of(&first, &at(80))));
    let again = Arc::new(Holder { uid: 7, ..holder(1) });
    assert_eq!(units.as_holder_of(&again, &at(22)).uid, 7);
    let other = Arc::new(holder(2));
    assert!(Arc::ptr_eq(&other, &units.as_holder_of(&other, &at(22))));
}

fn holder(pid: u32) -> Holder {
    Holder {
        id: ProcessId { pid, start_ticks: 1 },
        started_at: SystemTime::UNIX_EPOCH,
        program: None,
        name: RawText::from("systemd"),
        arguments: Vec::new(),
        uid: 0,
        workload: Workload::None,
        parents: Vec::new(),
    }
}

#[test]
fn says_nothing_where_there_is_no_systemd() {
    assert_eq!(unit_for(&tempfile::tempdir().unwrap(), "::", 22), None);
}
