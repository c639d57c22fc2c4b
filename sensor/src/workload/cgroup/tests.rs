use inventory::{RawText, Runtime};
use proptest::prelude::{any, proptest};

use super::{WorkloadPath, from_cgroup};

const ID: &str = "3ad14510a622f1927615ace1175e51fd3acb6a8ae1c785161e0e274c3a13a31b";
const POD: &str = "8b4f3c5e-1111-2222-3333-444455556666";

fn told(path: &str) -> String {
    let path = path.replace("ID", ID).replace("POD_", &POD.replace('-', "_")).replace("POD", POD);
    show(from_cgroup(format!("0::{path}\n").as_bytes()))
}

fn show(path: WorkloadPath) -> String {
    match path {
        WorkloadPath::Unit(unit) => format!("unit {unit}"),
        WorkloadPath::Container(container) => {
            let below = container.below.map(|above| format!(" below {}", above.unit)).unwrap_or_default();
            let pod = container.pod.map(|_| " in pod").unwrap_or_default();
            assert_eq!(container.id, ID);
            format!("{}{pod}{below}", container.runtime.as_str())
        }
        WorkloadPath::Session { id, uid } => format!("session {id} of {uid:?}"),
        WorkloadPath::None => "none".to_owned(),
    }
}

#[test]
fn names_what_started_a_process() {
    let cases = [
        ("/", "none"),
        ("/init.scope", "none"),
        ("/system.slice/ssh.service", "unit ssh.service"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "unit getty@tty1.service"),
        ("/system.slice/foo.socket", "unit foo.socket"),
        ("/system.slice/_cpu.service", "unit cpu.service"),
        ("/system.slice/ssh.service (deleted)", "unit ssh.service"),
        ("/machine.slice/machine-web.scope", "unit machine-web.scope"),
        ("/system.slice/a\\x2db.service/inner/deep", "unit a\\x5cx2db.service"),
        ("/user.slice/user-1000.slice/session-3.scope", "session 3 of Some(1000)"),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", "unit user@1000.service"),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service",
            "unit user@1000.service/web.service",
        ),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/run-7.scope", "unit user@1000.service"),
        ("/docker/ID", "docker"),
        ("/docker/ID/system.slice/ssh.service", "docker"),
        ("/system.slice/docker-ID.scope", "docker"),
        ("/system.slice/docker-ID.scope/system.slice/ssh.service", "docker"),
        ("/libpod_parent/libpod-ID", "podman"),
        ("/machine.slice/libpod-ID.scope/container", "podman"),
        ("/machine.slice/libpod-conmon-ID.scope", &format!("unit libpod-conmon-{ID}.scope")),
        ("/system.slice/web.service/libpod-payload-ID", "podman below web.service"),
        ("/kubepods/burstable/podPOD/ID", "containerd in pod"),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podPOD_.slice/cri-containerd-ID.scope",
            "containerd in pod",
        ),
        ("/kubepods.slice/kubepods-podPOD_.slice/crio-ID.scope", "cri-o in pod"),
        (
            "/system.slice/containerd.service/kubepods-besteffort-podPOD_.slice:cri-containerd:ID",
            "containerd in pod below containerd.service",
        ),
    ];
    for (path, expected) in cases {
        assert_eq!(told(path), expected, "{path}");
    }
}

#[test]
fn takes_nobodys_word_for_what_lies_beneath_his_own() {
    let cases = [
        ("/user.slice/user-1000.slice/user@1000.service/docker-ID.scope", "unit user@1000.service"),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
            "unit user@1000.service",
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/system.slice/ssh.service",
            "unit user@1000.service/ssh.service",
        ),
        ("/user.slice/user-1000.slice/session-3.scope/ssh.service", "session 3 of Some(1000)"),
        ("/lxc.payload.web/system.slice/ssh.service", "none"),
        ("/../../system.slice/ssh.service", "none"),
        ("/system.slice/../ssh.service", "none"),
        ("/mine/docker/ID", "none"),
        ("/docker/3AD14510A622F1927615ACE1175E51FD3ACB6A8AE1C785161E0E274C3A13A31B", "none"),
        ("/docker/..", "none"),
        ("/.service", "none"),
    ];
    for (path, expected) in cases {
        assert_eq!(told(path), expected, "{path}");
    }
}

#[test]
fn asks_systemds_hierarchy_before_the_others() {
    let hybrid =
        b"9:name=systemd:/system.slice/ssh.service\n4:memory:/docker/x\n0::/system.slice/other.service\n";
    assert_eq!(from_cgroup(hybrid), WorkloadPath::Unit(RawText::from("ssh.service")));
    // As /proc/PID/cgroup of a Podman container read where the first process is not systemd.
    let podman = format!("9:name=systemd:/\n8:pids:/libpod_parent/libpod-{ID}\n0::/\n");
    let WorkloadPath::Container(found) = from_cgroup(podman.as_bytes()) else { panic!("no container") };
    assert_eq!((found.runtime, found.id.as_str()), (Runtime::Podman, ID));
    // As it read on a machine that is itself run by something.
    let other = b"9:name=systemd:/\n4:memory:/process_api/fb2dc6281ca1e8e27a9776cbff25a1d9\n0::/\n";
    assert_eq!(from_cgroup(other), WorkloadPath::None);
}

#[test]
fn keeps_bytes_that_are_no_text() {
    let unit = from_cgroup(b"0::/system.slice/\x1b[2J\xff.service\n");
    assert_eq!(unit, WorkloadPath::Unit(RawText::new(&b"\x1b[2J\xff.service"[..])));
    assert_eq!(from_cgroup(b""), WorkloadPath::None);
    assert_eq!(from_cgroup(b"nonsense\n::\n"), WorkloadPath::None);
}

proptest! {
    #[test]
    fn takes_any_bytes(text in any::<Vec<u8>>()) {
        from_cgroup(&text);
    }
}
