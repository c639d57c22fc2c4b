//! The design's matching rules as a table of cases.

mod places;
mod programs;

use baseline::Covering;
use inventory::{NetNs, NetNsId, NetNsKind, ProgramFile, Protocol, Reach, Scope, Unattributed};

use crate::world::{World, program, systemd};

const SSH: &str = r#"
[[approval]]
id = "ssh"
listen = "tcp/*:22"
program = "/usr/sbin/sshd"
unit = ["ssh.service", "ssh.socket"]
user = "root"
reach = "public"
"#;

fn sshd() -> crate::world::Process {
    program("/usr/sbin/sshd").unit("ssh.service").pid(500)
}

#[test]
fn socket_activated_sshd_is_approved_before_and_after_it_is_started() {
    let mut world = World::new();
    world.baseline(SSH).listen("tcp/[::]:22").by(systemd("ssh.socket"));
    assert_eq!(world.verdict(), "approved ssh");
    world.listeners[0].by(sshd());
    assert_eq!(world.verdict(), "approved ssh");
}

/// What is only nearest to a drift does not cover it; what expired did.
#[test]
fn an_approval_covers_what_is_there_also_beside_another() {
    let other = SSH.replace("id = \"ssh\"", "id = \"ssh-2\"").replace("unit = ", "# unit = ");
    let expired = SSH.replace("reach = ", "expires = 2020-01-01\nreach = ");
    let cases = [
        (format!("{SSH}{other}"), sshd(), vec!["ssh", "ssh-2"]),
        (format!("{SSH}{other}"), sshd().unit("other.service"), vec!["ssh-2"]),
        (SSH.to_owned(), sshd().unit("other.service"), vec![]),
        (expired, sshd(), vec!["ssh"]),
        (SSH.to_owned(), sshd().file(ProgramFile::Deleted { replaced: true }), vec!["ssh"]),
        (SSH.replace("tcp/*:22", "tcp/*:2222"), sshd(), vec![]),
    ];
    for (text, process, covering) in cases {
        let mut world = World::new();
        world.baseline(&text).listen("tcp/[::]:22").by(process);
        let (assessment, policy) = (world.assess(), world.policy());
        let mut all = Covering::default();
        all.add(&assessment, &policy.baseline);
        let found: Vec<&str> = all.ids(&policy.baseline).into_iter().collect();
        assert_eq!(found, covering, "{text}{:?}", world.verdicts());
    }
}

#[test]
fn pid_1_holds_only_what_its_named_socket_unit_opened() {
    let cases = [
        (systemd("ssh.socket"), "approved ssh"),
        // Where the sensor cannot tell which unit's it is, that the approval names a socket unit must do.
        (systemd("init.scope"), "approved ssh"),
        (systemd("backdoor.socket"), "program_changed+workload_changed critical (ssh)"),
        (systemd("ssh.socket").pid(2), "program_changed critical (ssh)"),
        (systemd("ssh.socket").file(ProgramFile::Foreign), "program_changed critical (ssh)"),
        (program("/usr/bin/tini").pid(1).unit("ssh.socket"), "program_changed critical (ssh)"),
    ];
    for (co_holder, expected) in cases {
        let mut world = World::new();
        let what = format!("{:?}", co_holder.0);
        world.baseline(SSH).listen("tcp/[::]:22").by(sshd()).by(co_holder);
        assert_eq!(world.verdict(), expected, "{what}");
    }
    let mut world = World::new();
    world
        .baseline(&SSH.replace(", \"ssh.socket\"", ""))
        .listen("tcp/[::]:22")
        .by(sshd())
        .by(systemd("init.scope"));
    assert_eq!(world.verdict(), "program_changed+workload_changed critical (ssh)");
}

#[test]
fn every_holder_must_match_nginx_with_two_users() {
    let nginx = || program("/usr/sbin/nginx").unit("nginx.service");
    let mut world = World::new();
    world.baseline(
        r#"
        [[approval]]
        id = "nginx"
        listen = ["tcp/*:80", "tcp/*:443"]
        program = "/usr/sbin/nginx"
        user = ["root", "www-data"]
        "#,
    );
    world.listen("tcp/0.0.0.0:80").by(nginx()).by(nginx().uid(33).pid(101)).by(nginx().uid(33).pid(102));
    assert_eq!(world.verdict(), "approved nginx");
    world.listeners[0].by(nginx().uid(1000).pid(103));
    assert_eq!(world.verdict(), "user_changed critical (nginx)");
    assert_eq!(world.finding().differs, ["/usr/sbin/nginx runs as alice, approved for root, www-data"]);
    world.listeners[0].by(program("/usr/bin/nc").pid(104));
    assert_eq!(world.verdict(), "program_changed+user_changed critical (nginx)");
}

const JAVA: &str = r#"
[[approval]]
id = "app"
listen = "tcp/*:kernel"
program = "/usr/lib/jvm/java-*/bin/java"
unit = "app.service"
"#;

#[test]
fn java_on_a_port_that_the_kernel_chose() {
    let java = || program("/usr/lib/jvm/java-17/bin/java").unit("app.service");
    let mut world = World::new();
    world.baseline(JAVA).listen("tcp/0.0.0.0:41234").by(java());
    assert_eq!(world.verdict(), "approved app", "unknown choice, in the range");
    world.listeners[0].kernel_chose();
    assert_eq!(world.verdict(), "approved app", "known choice");
    let before = world.judged().service.id.clone();
    world.listeners[0].endpoint.port = 50000;
    assert_eq!(world.judged().service.id, before, "the number says nothing");

    let mut other = World::new();
    other.baseline(JAVA).listen("tcp/0.0.0.0:8080").by(java());
    assert_eq!(other.verdict(), "unapproved critical", "outside the range somebody chose it");
    let mut other = World::new();
    other.baseline(JAVA).listen("tcp/0.0.0.0:41234").by(program("/tmp/backdoor"));
    assert_eq!(other.verdict(), "unapproved critical", "another program's port is not what it is about");
    let mut other = World::new();
    other.baseline(JAVA).listen("tcp/0.0.0.0:41234").by(java().unit("other.service"));
    assert_eq!(other.verdict(), "workload_changed critical (app)");
}

#[test]
fn rpc_statd_needs_both_its_ports() {
    let statd = || program("/usr/sbin/rpc.statd").unit("rpc-statd.service");
    let mut world = World::new();
    world.baseline(
        r#"
        [[approval]]
        id = "statd"
        listen = ["udp/*:kernel", "tcp/*:kernel", "udp/127.0.0.1:600-1023"]
        program = "/usr/sbin/rpc.statd"
        unit = "rpc-statd.service"
        "#,
    );
    world.listen("udp/0.0.0.0:49152").by(statd());
    world.listen("tcp/0.0.0.0:49153").by(statd());
    world.listen("udp/127.0.0.1:788").by(statd());
    assert_eq!(world.verdicts(), ["approved statd"; 3]);
    world.listen("udp/0.0.0.0:789").by(statd());
    assert!(world.verdicts().contains(&"widened critical (statd)".to_owned()), "{:?}", world.verdicts());
}

#[test]
fn a_udp_socket_is_a_client_only_where_the_kernel_is_known_to_have_chosen_its_port() {
    let mut world = World::new();
    world.baseline(SSH).listen("udp/0.0.0.0:41000").by(program("/usr/bin/dig")).kernel_chose();
    assert_eq!(world.verdict(), "unjudged");
    assert_eq!(world.assess().udp_clients, 1);
    let mut world = World::new();
    world.baseline(SSH).listen("udp/0.0.0.0:41000").by(program("/usr/bin/dig"));
    assert_eq!(world.verdict(), "unapproved critical", "in the range, and nobody knows who chose it");
    let mut world = World::new();
    world.baseline(SSH).listen("tcp/0.0.0.0:41000").by(program("/usr/bin/dig")).kernel_chose();
    assert_eq!(world.verdict(), "unapproved critical", "every TCP listener is judged");
}

#[test]
fn wireguard_is_a_socket_without_a_process() {
    let text = "[[approval]]\nid = \"wg\"\nlisten = \"udp/*:51820\"\nprogram = \"kernel\"\n";
    let cases = [
        (Unattributed::Kernel, "approved wg"),
        (Unattributed::Unknown, "program_changed critical (wg)"),
        (Unattributed::InFlight, "program_changed critical (wg)"),
        (Unattributed::Denied, "unjudged"),
        (Unattributed::Exited, "unjudged"),
    ];
    for (reason, expected) in cases {
        let mut world = World::new();
        world.baseline(text).listen("udp/[::]:51820").unattributed(reason);
        assert_eq!(world.verdict(), expected, "{reason:?}");
    }
    let mut world = World::new();
    world.baseline(text).listen("udp/[::]:51820").by(program("/usr/bin/wireguard-go"));
    assert_eq!(world.verdict(), "program_changed critical (wg)");
    let mut world = World::new();
    world.baseline("[[approval]]\nid = \"any\"\nlisten = \"udp/*:51820\"\n");
    world.listen("udp/[::]:51820").unattributed(Unattributed::Kernel);
    assert_eq!(world.verdict(), "program_changed critical (any)", "the kernel must be named");
}

#[test]
fn what_was_not_seen_for_want_of_privilege_is_neither_approved_nor_drift() {
    let mut world = World::new();
    world.baseline(SSH).listen("tcp/0.0.0.0:22").unattributed(Unattributed::Denied);
    assert_eq!(world.verdict(), "unjudged");
    let mut world = World::new();
    world.baseline(SSH).listen("tcp/0.0.0.0:23").unattributed(Unattributed::Denied);
    assert_eq!(world.verdict(), "unapproved critical");
    let mut world = World::new();
    world
        .baseline(&SSH.replace("public", "loopback"))
        .listen("tcp/0.0.0.0:22")
        .unattributed(Unattributed::Denied);
    assert_eq!(world.verdict(), "widened critical (ssh)", "what is seen is enough to tell");
    let mut world = World::new();
    world.baseline(JAVA).listen("tcp/0.0.0.0:41234").unattributed(Unattributed::Denied);
    assert_eq!(world.verdict(), "unjudged");
    let mut world = World::new();
    world.baseline(SSH).listen("tcp/0.0.0.0:22").by(sshd().unreadable());
    assert_eq!(world.verdict(), "program_changed critical (ssh)", "known, and not known to be sshd");
}

const WEB: &str = r#"
[[approval]]
id = "shop-web"
listen = "tcp/*:8080"
image = "registry.example/shop/*"
service = "shop/web"
netns = "container"
"#;

#[test]
fn a_container_redeployed_is_the_same_service() {
    let deploy = |id: char, image: &str| {
        let mut world = World::new();
        let listening = world.baseline(WEB).listen("tcp/0.0.0.0:8080");
        listening.in_container("web").published_as("tcp/0.0.0.0:80");
        listening.by(program("/app/server").pid(u32::from(id)).container("web", image, id));
        world
    };
    let (one, other) =
        (deploy('a', "registry.example/shop/web:1"), deploy('b', "registry.example/shop/web:2"));
    assert_eq!(one.verdict(), "approved shop-web");
    assert_eq!(other.verdict(), "approved shop-web");
    assert_eq!(one.judged().service.id, other.judged().service.id);
    let deeper = deploy('c', "registry.example/shop/deeper/web:1");
    assert_eq!(deeper.verdict(), "workload_changed critical (shop-web)", "a star stops at a slash");
}

#[test]
fn only_published_ports_of_containers_are_judged() {
    let mut world = World::new();
    let process = program("/app/server").container("web", "evil/image", 'a');
    world.baseline(WEB).listen("tcp/0.0.0.0:8080").in_container("web").by(process);
    assert_eq!(world.verdict(), "unjudged");
    world.listeners[0].published_as("tcp/0.0.0.0:80");
    assert_eq!(world.verdict(), "workload_changed critical (shop-web)");
}

#[test]
fn a_scope_sets_what_is_judged() {
    let scope = |listen: &str, judged: bool| {
        format!("[[scope]]\nlisten = \"{listen}\"\njudged = {judged}\nreason = \"because\"\n")
    };
    let mut world = World::new();
    world.listen("udp/127.0.0.1:9000").by(program("/usr/bin/thing"));
    let cases = [
        (scope("udp/loopback:*", false), "unjudged"),
        (scope("udp/loopback:8000-8999", false), "unapproved info"),
        (scope("tcp/loopback:*", false), "unapproved info"),
        (scope("udp/loopback:*", false) + &scope("udp/*:9000", true), "unapproved info"),
        (scope("udp/*:9000", true) + &scope("udp/loopback:*", false), "unapproved info"),
        (scope("udp/loopback:*", false) + "hosts = \"@db\"\n", "unapproved info"),
        (scope("udp/loopback:*", false) + "netns = \"container\"\n", "unapproved info"),
    ];
    for (text, expected) in cases {
        world.baseline(&text);
        assert_eq!(world.verdict(), expected, "{text}");
    }
    let mut world = World::new();
    world.baseline(&scope("udp/loopback:*", false)).listen("udp/0.0.0.0:9000").by(program("/usr/bin/thing"));
    assert_eq!(world.verdict(), "unapproved critical", "a wildcard is no loopback");
    let mut world = World::new();
    world.baseline("[[scope]]\nnetns = \"container\"\njudged = true\n");
    world.listen("tcp/0.0.0.0:80").in_container("web").by(program("/x").container("web", "i", 'a'));
    assert_eq!(world.verdict(), "unapproved critical");
}

const POSTGRES: &str = r#"
[[approval]]
id = "postgres"
listen = "tcp/loopback:5432"
program = "/usr/lib/postgresql/*/bin/postgres"
user = "postgres"
reach = "loopback"
team = "db"
"#;

fn postgres() -> crate::world::Process {
    program("/usr/lib/postgresql/15/bin/postgres").uid(105)
}

#[test]
fn three_hundred_hosts_give_one_id() {
    let on_host = |number: u32| {
        let mut world = World::new();
        world.host.name = inventory::RawText::from(format!("web{number}").as_str());
        // The same account has another uid on each host.
        world.accounts = baseline::Accounts::default().with_user("redis", 200 + number);
        let reach = if number.is_multiple_of(2) { Reach::Public } else { Reach::Private };
        let process =
            program("/usr/bin/redis-server").pid(1000 + number).uid(200 + number).unit("redis.service");
        world.listen("tcp/0.0.0.0:6379").reach(reach).by(process);
        world.judged().service.id.clone()
    };
    let first = on_host(0);
    assert_eq!(
        first.as_str(),
        "s1-38eab7c6900eb9ae823ea7f003323ea5",
        "changing this renames every drift in the world: raise the version"
    );
    assert!((1..300).all(|number| on_host(number) == first));
}

#[test]
fn an_expired_approval_is_told_by_its_own_name() {
    let mut world = World::new();
    world.baseline(&format!("{SSH}expires = 2026-11-20\n")).listen("tcp/0.0.0.0:22").by(sshd());
    assert_eq!(world.verdict(), "approved ssh", "Friday is over, and Monday not begun");
    world.later(2 * 24 * 3600 + 3600);
    assert_eq!(world.verdict(), "expired warning (ssh)", "Monday at ten");
    assert_eq!(world.finding().id.as_str(), "ssh");
    world.baseline(&format!("{SSH}expires = 2026-11-20\n{}", SSH.replace("\"ssh\"", "\"ssh-again\"")));
    assert_eq!(world.verdict(), "approved ssh-again");
}

const REQUIRED: &str = r#"
[[approval]]
id = "db"
listen = "tcp/127.0.0.1:5432"
program = "/usr/bin/postgres"
required = true
"#;

#[test]
fn required_and_absent_is_told_unless_a_gap_could_hide_it() {
    let ids = |world: &World| -> Vec<String> {
        world.assess().absent.iter().map(|finding| format!("{} {}", finding.id, finding.severity)).collect()
    };
    let absent = || {
        let mut world = World::new();
        world.baseline(REQUIRED);
        world
    };
    assert_eq!(ids(&absent()), ["db warning"]);
    for scope in Scope::ALL {
        let mut world = absent();
        world.gap(scope);
        assert_eq!(ids(&world).is_empty(), scope == Scope::Sockets, "{scope:?}: of the host's own namespace");
        world.baseline(&format!("{REQUIRED}netns = \"any\"\n"));
        assert_eq!(ids(&world).is_empty(), matches!(scope, Scope::Sockets | Scope::Namespaces), "{scope:?}");
    }
    let mut world = absent();
    world.gap(Scope::Sockets).protocol = Some(Protocol::Udp);
    assert_eq!(ids(&world), ["db warning"], "a gap in another protocol hides nothing");
    let mut world = absent();
    world.gap(Scope::Sockets).netns = Some(NetNs::anonymous(NetNsId::Cookie(9)));
    assert_eq!(ids(&world), ["db warning"], "nor one in another namespace");
    let mut world = absent();
    world.listen("tcp/127.0.0.1:5432").by(program("/usr/bin/postgres"));
    assert_eq!(ids(&world), [""; 0]);
    world.listeners[0] = absent().listen("tcp/127.0.0.1:5432").by(program("/usr/bin/other")).clone();
    assert_eq!(ids(&world), [""; 0], "what is there instead is told");
    assert_eq!(world.verdict(), "program_changed info (db)");
    let mut world = absent();
    world.baseline(&format!("{REQUIRED}hosts = \"db-*\"\n"));
    assert_eq!(ids(&world), [""; 0], "for other hosts");
    world.baseline(&format!("{REQUIRED}expires = 2020-01-01\n"));
    assert_eq!(ids(&world), [""; 0], "expired");
}

#[test]
fn an_approval_is_for_its_hosts() {
    for (hosts, is_for_it) in [
        ("\"web1\"", true),
        ("\"web*\"", true),
        ("[\"db-*\", \"@web\"]", true),
        ("\"db-*\"", false),
        ("\"@db\"", false),
    ] {
        let mut world = World::new();
        let text = format!("[defaults]\nhosts = {hosts}\n{SSH}");
        world.baseline(&text).listen("tcp/0.0.0.0:22").by(sshd());
        let expected = if is_for_it { "approved ssh" } else { "unapproved critical" };
        assert_eq!(world.verdict(), expected, "{hosts}");
    }
}

#[test]
fn a_group_of_users() {
    for (uid, expected) in [(0, "approved a"), (1000, "approved a"), (33, "user_changed critical (a)")] {
        let mut world = World::new();
        world.baseline("[[approval]]\nid = \"a\"\nlisten = \"tcp/*:22\"\ngroup = \"admins\"\n");
        world.listen("tcp/0.0.0.0:22").by(program("/usr/sbin/sshd").uid(uid));
        assert_eq!(world.verdict(), expected, "{uid}");
    }
}

#[test]
fn drift_is_told_against_the_approval_that_differs_least() {
    let also = r#"
        [[approval]]
        id = "all-wrong"
        listen = "tcp/127.0.0.1:22"
        program = "/usr/bin/dropbear"
        user = "alice"
        "#;
    let mut world = World::new();
    world.baseline(&format!("{also}{SSH}")).listen("tcp/0.0.0.0:22").by(sshd().uid(33));
    assert_eq!(world.verdict(), "user_changed critical (ssh)");
    let twin = SSH.replace("id = \"ssh\"", "id = \"a-twin\"");
    world.baseline(&format!("{SSH}{twin}"));
    assert_eq!(world.verdict(), "user_changed critical (a-twin)", "ties by id");
}

#[test]
fn what_somebody_approved_is_not_told_as_learned() {
    let mut world = World::new();
    let learned = SSH.replace("id = \"ssh\"", "id = \"a\"\nby = \"learn\"");
    world.baseline(&learned).listen("tcp/0.0.0.0:22").by(sshd());
    assert_eq!(world.verdict(), "learned a");
    world.baseline(&format!("{learned}{SSH}"));
    assert_eq!(world.verdict(), "approved ssh");
}

#[test]
fn before_there_is_a_baseline_nothing_counts() {
    let mut world = World::new();
    world.listen("tcp/0.0.0.0:22").by(sshd());
    assert_eq!(world.verdict(), "unapproved info");
}

#[test]
fn ten_thousand_listeners_against_ten_thousand_approvals_take_no_age() {
    let mut world = World::new();
    let mut text = String::new();
    for port in 1..=10_000_u16 {
        text.push_str(&format!(
            "[[approval]]\nid = \"a{port}\"\nlisten = \"tcp/*:{port}\"\nprogram = \"/usr/bin/a{port}\"\n"
        ));
        world.listen(&format!("tcp/0.0.0.0:{port}")).by(program(&format!("/usr/bin/a{port}")));
    }
    world.baseline(&text);
    let (inventory, policy) = (world.inventory(), world.policy());
    let begun = std::time::Instant::now();
    let assessment = baseline::assess(&inventory, &policy, &world.accounts, world.now);
    let took = begun.elapsed();
    assert_eq!(assessment.findings().count(), 0);
    // Without an index it is 100,000,000 comparisons, minutes in a debug build.
    assert!(took.as_secs() < 20, "{took:?}");
}

#[test]
fn a_peer_is_no_part_of_what_a_service_is_called() {
    let mut world = World::new();
    world.baseline("");
    world.listen("udp/0.0.0.0:53").by(program("/dns"));
    world.listen("udp/0.0.0.0:53").by(program("/dns")).connected("192.0.2.1:4000");
    world.listen("udp/0.0.0.0:53").by(program("/dns")).connected("192.0.2.2:4000");
    assert_eq!(world.verdicts(), ["unapproved critical", "unjudged"]);
    let assessment = world.assess();
    assert_eq!(assessment.services[0].service.id, assessment.services[1].service.id);
    assert_eq!(assessment.service_of, [0, 1, 1]);
}
