//! Which program it is that holds a socket.

use super::*;

#[test]
fn an_interpreter_is_what_it_runs() {
    let text = r#"
        [[approval]]
        id = "exporter"
        listen = "tcp/127.0.0.1:9100"
        program = "/usr/bin/python3.11"
        arguments = "/opt/*/exporter.py --port [0-9]*"
        "#;
    let cases = [
        ("python3 /opt/app/exporter.py --port 9100", "approved exporter"),
        ("python3 /opt/app/evil.py --port 9100", "program_changed info (exporter)"),
        ("python3 /opt/a/b/exporter.py --port 9100", "program_changed info (exporter)"),
        ("python3 -m http.server /opt/app/exporter.py --port 9100", "program_changed info (exporter)"),
        ("python3", "program_changed info (exporter)"),
    ];
    for (line, expected) in cases {
        let mut world = World::new();
        world.baseline(text).listen("tcp/127.0.0.1:9100").by(program("/usr/bin/python3.11").arguments(line));
        assert_eq!(world.verdict(), expected, "{line}");
    }
}

#[test]
fn a_package_upgrade_is_no_alarm() {
    let mut world = World::new();
    world.baseline(SSH).listen("tcp/0.0.0.0:22").by(sshd().file(ProgramFile::Deleted { replaced: true }));
    assert_eq!(world.verdict(), "outdated info (ssh)");
    let mut world = World::new();
    world.baseline(SSH).listen("tcp/0.0.0.0:22").by(sshd().file(ProgramFile::Deleted { replaced: false }));
    assert_eq!(world.verdict(), "binary_changed critical (ssh)");
}

#[test]
fn a_file_that_never_was_one() {
    let memfd = || program("/memfd:sshd").file(ProgramFile::Deleted { replaced: false }).unit("ssh.service");
    let mut world = World::new();
    world.baseline(SSH).listen("tcp/127.0.0.1:22").by(memfd());
    assert_eq!(world.verdict(), "binary_changed+program_changed critical (ssh)");
    let mut world = World::new();
    world.baseline(SSH).listen("tcp/127.0.0.1:2222").by(memfd());
    assert_eq!(world.verdict(), "binary_changed+unapproved critical");
}

#[test]
fn a_path_faked_by_a_mount_namespace_is_not_the_program() {
    for file in [ProgramFile::Foreign, ProgramFile::Unknown] {
        let mut world = World::new();
        world.baseline(SSH).listen("tcp/0.0.0.0:22").by(sshd().file(file));
        assert_eq!(world.verdict(), "program_changed critical (ssh)", "{file:?}");
    }
    let mut world = World::new();
    world.baseline(SSH).listen("tcp/0.0.0.0:22").by(sshd().file(ProgramFile::Foreign));
    assert_eq!(world.finding().differs, ["what runs as /usr/sbin/sshd is not the host's file of that name"]);
}

#[test]
fn a_pinned_hash_must_be_the_one_that_runs() {
    let pin = |byte: &str| format!("{SSH}sha256 = \"{}\"\n", byte.repeat(32));
    for (text, hash, expected) in [
        (pin("07"), Some([7; 32]), "approved ssh"),
        (pin("08"), Some([7; 32]), "binary_changed critical (ssh)"),
        (pin("07"), None, "binary_changed critical (ssh)"),
    ] {
        let mut world = World::new();
        world.baseline(&text).listen("tcp/0.0.0.0:22").by(sshd().sha256(hash));
        assert_eq!(world.verdict(), expected, "{text} {hash:?}");
    }
}
