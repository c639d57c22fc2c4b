//! Where a socket is bound.

use super::*;

#[test]
fn loopback_became_a_wildcard() {
    let mut world = World::new();
    world.baseline(POSTGRES).listen("tcp/127.0.0.1:5432").by(postgres());
    assert_eq!(world.verdict(), "approved postgres");
    let mut world = World::new();
    world.baseline(POSTGRES).listen("tcp/0.0.0.0:5432").by(postgres());
    assert_eq!(world.verdict(), "widened critical (postgres)");
    let finding = world.finding();
    assert_eq!(
        finding.differs,
        [
            "bound to tcp/0.0.0.0:5432, approved for tcp/loopback:5432",
            "reach is public, approved up to loopback"
        ]
    );
    assert_eq!(finding.team.as_deref(), Some("db"));
    assert_eq!(finding.id.as_str(), world.judged().service.id.as_str());
    world.listeners[0].reach(Reach::Loopback);
    assert_eq!(world.verdict(), "widened critical (postgres)", "an interface may come any day");
}

#[test]
fn the_ceiling_of_reach_holds_for_the_same_address() {
    let text = "[[approval]]\nid = \"a\"\nlisten = \"tcp/*:80\"\nreach = \"private\"\n";
    for (reach, expected) in [
        (Reach::Isolated, "approved a"),
        (Reach::Private, "approved a"),
        (Reach::Public, "widened critical (a)"),
    ] {
        let mut world = World::new();
        world.baseline(text).listen("tcp/0.0.0.0:80").reach(reach).by(program("/usr/sbin/nginx"));
        assert_eq!(world.verdict(), expected, "{reach}");
    }
}

#[test]
fn v4_and_v6_twins_are_one_service() {
    let mut world = World::new();
    world.baseline(SSH).listen("tcp/0.0.0.0:22").by(sshd());
    world.listen("tcp/[::]:22").v6_only().by(sshd());
    assert_eq!(world.verdicts(), ["approved ssh"]);
    assert_eq!(world.judged().service.listeners.len(), 2);
    world.baseline(&SSH.replace("tcp/*:22", "tcp/0.0.0.0:22"));
    assert_eq!(world.verdict(), "widened critical (ssh)", "one of the twins is not in it");
    world.baseline(&SSH.replace("\"tcp/*:22\"", "[\"tcp/0.0.0.0:22\", \"tcp/[::]:22\"]"));
    assert_eq!(world.verdict(), "approved ssh", "both families are everything");
}

#[test]
fn a_device_is_part_of_where_it_is_bound() {
    let on = |device: &str| SSH.replace("tcp/*:22", &format!("tcp/*{device}:22"));
    for (text, endpoint, expected) in [
        (on("%eth0"), "tcp/0.0.0.0%eth0:22", "approved ssh"),
        (on("%eth*"), "tcp/0.0.0.0%eth1:22", "approved ssh"),
        (on(""), "tcp/0.0.0.0%eth1:22", "approved ssh"),
        (on("%eth0"), "tcp/0.0.0.0%eth1:22", "widened critical (ssh)"),
        (on("%eth0"), "tcp/0.0.0.0:22", "widened critical (ssh)"),
    ] {
        let mut world = World::new();
        world.baseline(&text).listen(endpoint).by(sshd());
        assert_eq!(world.verdict(), expected, "{text} {endpoint}");
    }
}

#[test]
fn namespaces_are_named_and_the_host_is_a_word() {
    for (netns, kind, name, expected) in [
        ("host", NetNsKind::Host, "host", true),
        ("any", NetNsKind::Host, "host", true),
        ("*", NetNsKind::Host, "host", false),
        ("container", NetNsKind::Container, "web", true),
        ("web", NetNsKind::Container, "web", true),
        ("red", NetNsKind::Named, "red", true),
        ("r*", NetNsKind::Named, "red", true),
        ("host", NetNsKind::Named, "host", false),
        ("container", NetNsKind::Named, "container", false),
        ("[h]ost", NetNsKind::Named, "host", true),
        ("[h]ost", NetNsKind::Host, "host", false),
    ] {
        let mut world = World::new();
        world.baseline(&format!("{SSH}netns = \"{netns}\"\n[[scope]]\nnetns = \"any\"\njudged = true\n"));
        world.listen("tcp/0.0.0.0:22").in_netns(kind, name).by(sshd());
        let expected = if expected { "approved ssh" } else { "unapproved critical" };
        assert_eq!(world.verdict(), expected, "{netns} and {kind:?} {name}");
    }
}
