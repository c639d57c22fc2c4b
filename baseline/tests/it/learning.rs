//! What `learn` writes.

use baseline::learn;
use inventory::{ProgramFile, Reach, Unattributed};

use crate::world::{World, program, systemd};

fn learned(world: &World) -> String {
    learn(&world.inventory(), &world.policy(), &world.accounts, world.now)
}

#[test]
fn reads_like_written_by_a_person() {
    let mut world = World::new();
    let sshd = || program("/usr/sbin/sshd").unit("ssh.service").pid(9);
    let nginx = |uid| program("/usr/sbin/nginx").unit("nginx.service").uid(uid);
    world.listen("tcp/[::]:22").by(systemd("ssh.socket")).by(sshd());
    world.listen("tcp/0.0.0.0:443").by(nginx(0)).by(nginx(33).pid(8)).reach(Reach::Private);
    world.listen("tcp/0.0.0.0:80").by(nginx(0)).by(nginx(33).pid(8)).reach(Reach::Private);
    world.listen("tcp/[::]:80").v6_only().by(nginx(0)).by(nginx(33).pid(8)).reach(Reach::Private);
    world.listen("tcp/127.0.0.1:5432").by(program("/usr/bin/postgres").uid(105));
    world.listen("tcp/[::1]:5432").by(program("/usr/bin/postgres").uid(105));
    world
        .listen("tcp/127.0.0.1:40123")
        .by(program("/usr/bin/python3").uid(1000).arguments("python3 /srv/a.py"));
    world.listen("udp/[::]:51820").unattributed(Unattributed::Kernel);
    world.listen("tcp/0.0.0.0:4444").by(program("/memfd:x").file(ProgramFile::Deleted { replaced: false }));
    let expected = r#"# Learned from what listened on web1 at 2026-11-21T09:00:00Z.
# Nobody has approved it yet: read it, strike what should not be, and put your name to the rest.

# reaches everybody: bound to all addresses
[[approval]]
id = "ssh"
listen = "tcp/*:22"
program = ["/usr/lib/systemd/systemd", "/usr/sbin/sshd"]
unit = ["ssh.service", "ssh.socket"]
user = "root"
reach = "public"
by = "learn"
at = 2026-11-21T09:00:00Z

[[approval]]
id = "nginx"
listen = ["tcp/*:80", "tcp/0.0.0.0:443"]
program = "/usr/sbin/nginx"
unit = "nginx.service"
user = ["root", "www-data"]
reach = "private"
by = "learn"
at = 2026-11-21T09:00:00Z

[[approval]]
id = "postgres"
listen = ["tcp/127.0.0.1:5432", "tcp/[::1]:5432"]
program = "/usr/bin/postgres"
user = "postgres"
reach = "loopback"
by = "learn"
at = 2026-11-21T09:00:00Z

# /usr/bin/python3 is an interpreter: see whether this says enough about what it runs
# the kernel may have chosen port 40123: if it is another after a restart, `kernel` is the port to write
[[approval]]
id = "python3"
listen = "tcp/127.0.0.1:40123"
program = "/usr/bin/python3"
arguments = "/srv/a.py"
user = "alice"
reach = "loopback"
by = "learn"
at = 2026-11-21T09:00:00Z

# reaches everybody: bound to all addresses
[[approval]]
id = "kernel"
listen = "udp/*:51820"
program = "kernel"
reach = "public"
by = "learn"
at = 2026-11-21T09:00:00Z

# Not written, because no approval could cover it:
# tcp/*:4444 by /memfd:x: the file that /memfd:x runs from is gone: restart it, then approve it
"#;
    assert_eq!(learned(&world), expected);
}

#[test]
fn writes_only_what_is_not_covered_yet() {
    let mut world = World::new();
    world.listen("tcp/0.0.0.0:80").by(program("/usr/sbin/nginx"));
    let first = learned(&world);
    world.baseline(&first).listen("tcp/0.0.0.0:8080").by(program("/usr/sbin/nginx").uid(33));
    let second = learned(&world);
    assert!(!second.contains("tcp/0.0.0.0:80\""), "{second}");
    assert!(second.contains("id = \"nginx-8080\""), "the name is taken: {second}");
    world.baseline(&format!("{first}{second}"));
    assert_eq!(world.verdicts(), ["learned nginx", "learned nginx-8080"]);
    assert!(!learned(&world).contains("[[approval]]"));
}

#[test]
fn a_port_known_to_be_the_kernels_has_no_number() {
    let mut world = World::new();
    world.listen("tcp/0.0.0.0:41234").kernel_chose().by(program("/usr/bin/app").unit("app.service"));
    let text = learned(&world);
    assert!(text.contains("listen = \"tcp/0.0.0.0:kernel\""), "{text}");
    world.baseline(&text).listeners[0].endpoint.port = 50000;
    assert_eq!(world.verdict(), "learned app");
}

#[test]
fn a_published_container_outlives_its_redeployment() {
    let deploy = |id: char| {
        let mut world = World::new();
        let process = program("/app/server").container("web", "shop/web:1", id);
        world.listen("tcp/0.0.0.0:80").in_container("web").published_as("tcp/0.0.0.0:80").by(process);
        world
    };
    let text = learned(&deploy('a'));
    let mut again = deploy('b');
    again.baseline(&text);
    assert_eq!(again.verdict(), "learned web", "{text}");
}
