//! Why something is judged as it is.

use baseline::{Explanation, Sought, explain};
use inventory::{Scope, Unattributed};

use crate::world::{World, program};

/// `approved ssh: covers ssh; speaks old (differs, ...); ...` for each service, then `awaited ...`.
fn told(world: &World, sought: &str) -> Vec<String> {
    let (inventory, policy, assessment) = (world.inventory(), world.policy(), world.assess());
    let sought: Sought = sought.parse().unwrap();
    let explanation = explain(&sought, &inventory, &policy, &world.accounts, &assessment, world.now);
    lines(&explanation)
}

fn lines(explanation: &Explanation<'_>) -> Vec<String> {
    let regarded = |one: &baseline::Regarded<'_>| {
        let differs =
            if one.differs.is_empty() { String::new() } else { format!(" ({})", one.differs.join("; ")) };
        format!("{} {}{differs}", one.regard.as_str(), one.approval.id)
    };
    let services = explanation.services.iter().map(|service| {
        let regards: Vec<String> = service.approvals.iter().map(regarded).collect();
        let verdict = service.unjudged.unwrap_or(service.judged.verdict.as_str());
        format!("{}: {verdict}: {}", service.judged.service.port, regards.join(", "))
    });
    services.chain(explanation.awaited.iter().map(|one| format!("awaited {}", regarded(one)))).collect()
}

const BASELINE: &str = r#"
[[approval]]
id = "a-tls"
listen = "tcp/*:443"
program = "/usr/sbin/nginx"
reach = "private"

[[approval]]
id = "b-tls"
listen = "tcp/*:443"
program = "/usr/sbin/apache2"
user = "www-data"
hosts = "@db"

[[approval]]
id = "c-any"
listen = "tcp/*:*"
program = "/usr/sbin/haproxy"

[[approval]]
id = "d-quic"
listen = "udp/*:443"
program = "/usr/sbin/nginx"

[[approval]]
id = "e-inside"
listen = "tcp/*:443"
netns = "container"
program = "/usr/sbin/nginx"

[[approval]]
id = "f-ssh"
listen = "tcp/loopback:22"
program = "/usr/sbin/sshd"
required = true
"#;

fn world() -> World {
    let mut world = World::new();
    world.baseline(BASELINE);
    world.listen("tcp/0.0.0.0:443").by(program("/usr/sbin/nginx"));
    world
}

#[test]
fn every_approval_that_has_to_do_with_it_is_told() {
    let expected = "443: drift: speaks a-tls (reach is public, approved up to private), \
                    speaks c-any (held by /usr/sbin/nginx, approved for /usr/sbin/haproxy), \
                    other_hosts b-tls (held by /usr/sbin/nginx, approved for /usr/sbin/apache2; \
                    /usr/sbin/nginx runs as root, approved for www-data), \
                    other_namespace e-inside, other_protocol d-quic";
    for sought in ["443", "tcp/443", "tcp/*:443", "tcp/10.1.2.3:443", "203.0.113.1:443"] {
        assert_eq!(told(&world(), sought), [expected], "{sought}");
    }
    let id = world().judged().service.id.to_string();
    assert_eq!(told(&world(), &id), [expected]);
    assert_eq!(told(&world(), &id[..11]), [expected]);
    assert_eq!(told(&world(), "a-tls"), [expected], "all that the approval speaks of");
    for sought in ["udp/443", "[::1]:443"] {
        assert!(!told(&world(), sought).contains(&expected.to_owned()), "{sought}");
    }
}

#[test]
fn no_program_passes_for_words_of_a_reason() {
    let mut world = World::new();
    world.baseline(BASELINE);
    world.listen("tcp/0.0.0.0:443").by(program("/x, approved \"y"));
    let told = told(&world, "443");
    let reason = r#"c-any (held by "/x, approved \x22y", approved for /usr/sbin/haproxy)"#;
    assert!(told[0].contains(reason), "{told:?}");
}

#[test]
fn the_one_that_covers_comes_first() {
    let mut world = world();
    world.listeners[0].reach(inventory::Reach::Private);
    assert!(told(&world, "443")[0].starts_with("443: approved: covers a-tls, speaks c-any ("));
}

#[test]
fn where_nothing_listens_what_would_speak_of_it_is_told() {
    let missing = "(it is required, and nothing that it covers listens on tcp/loopback:22)";
    assert_eq!(
        told(&world(), "22"),
        ["awaited speaks c-any".to_owned(), format!("awaited speaks f-ssh {missing}")]
    );
    assert_eq!(told(&world(), "f-ssh"), [format!("awaited speaks f-ssh {missing}")]);
    assert_eq!(told(&world(), "tcp/10.0.0.1:22"), ["awaited speaks c-any"]);
    assert_eq!(told(&world(), "s1-0123456789abcdef"), [""; 0]);
}

#[test]
fn what_is_not_judged_says_why() {
    let mut world = World::new();
    world.baseline(BASELINE);
    world.listen("udp/0.0.0.0:443").kernel_chose().by(program("/usr/bin/dig"));
    world.listen("udp/127.0.0.1:53").connected("192.0.2.1:53").by(program("/usr/bin/dig"));
    world.listen("tcp/0.0.0.0:80").in_container("web").by(program("/usr/bin/dig"));
    world.gap(Scope::Holders);
    world.listen("tcp/0.0.0.0:8080").unattributed(Unattributed::Denied);
    assert!(told(&world, "udp/443")[0].contains("nobody asks it"));
    assert!(told(&world, "53")[0].contains("one peer alone"));
    assert!(told(&world, "80")[0].contains("not published"));
    let unseen = &told(&world, "8080")[0];
    assert!(unseen.contains("could not be seen: may_cover c-any"), "{unseen}");
}
