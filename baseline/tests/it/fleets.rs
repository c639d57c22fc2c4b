//! What `learn` writes of many hosts.

use std::collections::BTreeSet;
use std::time::Duration;

use baseline::{Host, HostInventory, Policy, Verdict, assess, learn_from, parse};
use inventory::{ProgramFile, RawText};
use proptest::collection::{btree_set, vec};
use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};
use proptest::sample::select;

use crate::world::{NOW, World, everybody, program, read, source};

/// A host in groups, where programs listen, each on a port of its own.
fn host(name: &str, groups: &[&str], ports: &[u16]) -> HostInventory {
    let mut world = World::new();
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    world.host = Host { name: RawText::from(name), groups };
    for port in ports {
        // The same program on 80 and 81, others on others.
        let path = if *port < 82 { "/usr/sbin/nginx".to_owned() } else { format!("/opt/app{port}") };
        world.listen(&format!("tcp/0.0.0.0:{port}")).by(program(&path));
    }
    HostInventory { host: world.host.clone(), inventory: world.inventory(), accounts: world.accounts }
}

fn learned(hosts: &[HostInventory]) -> String {
    learn_from(hosts, None, &everybody().into(), std::time::SystemTime::UNIX_EPOCH + NOW)
}

/// `id port port: host host`.
fn lines(hosts: &[HostInventory]) -> Vec<String> {
    let text = learned(hosts);
    let baseline = read(&text).unwrap_or_else(|wrong| panic!("{wrong:?}\n{text}"));
    let line = |approval: &baseline::Approval| {
        let ports: Vec<String> = approval.listen.iter().map(|listen| listen.port.to_string()).collect();
        let hosts: Vec<String> = approval.hosts.iter().map(ToString::to_string).collect();
        format!("{} {}: {}", approval.id, ports.join(" "), hosts.join(" "))
    };
    baseline.approvals().iter().map(line).collect()
}

#[test]
fn reads_like_written_by_a_person() {
    let mut hosts = vec![
        host("web-1", &["web"], &[80, 81, 443]),
        host("web-2", &["web"], &[80, 81, 443]),
        host("db-1", &["db"], &[443, 5432]),
    ];
    hosts[0].inventory.taken_at += Duration::from_secs(60);
    let mut odd = World::new();
    odd.host = hosts[2].host.clone();
    odd.listen("tcp/0.0.0.0:443").by(program("/opt/app443"));
    odd.listen("tcp/0.0.0.0:5432").by(program("/opt/app5432"));
    odd.listen("tcp/0.0.0.0:4444").by(program("/tmp/x").file(ProgramFile::Deleted { replaced: false }));
    hosts[2].inventory = odd.inventory();
    let expected = r#"# Learned from what listened on 3 hosts from 2026-11-21T09:00:00Z to 2026-11-21T09:01:00Z.
# Nobody has approved it yet: read it, strike what should not be, and put your name to the rest.

# reaches everybody: bound to all addresses
[[approval]]
id = "nginx"
listen = ["tcp/0.0.0.0:80", "tcp/0.0.0.0:81"]
program = "/usr/sbin/nginx"
user = "root"
reach = "public"
hosts = "@web"
by = "learn"
at = 2026-11-21T09:00:00Z

# reaches everybody: bound to all addresses
[[approval]]
id = "app443"
listen = "tcp/0.0.0.0:443"
program = "/opt/app443"
user = "root"
reach = "public"
by = "learn"
at = 2026-11-21T09:00:00Z

# reaches everybody: bound to all addresses
[[approval]]
id = "app5432"
listen = "tcp/0.0.0.0:5432"
program = "/opt/app5432"
user = "root"
reach = "public"
hosts = "@db"
by = "learn"
at = 2026-11-21T09:00:00Z

# Not written, because no approval could cover it:
# tcp/*:4444 by /tmp/x: the file that /tmp/x runs from is gone: restart it, then approve it (on db-1)
"#;
    assert_eq!(learned(&hosts), expected);
}

#[test]
fn hosts_are_told_by_the_fewest_words() {
    let all = |ports: [&[u16]; 4]| {
        [
            host("a1", &["a", "all"], ports[0]),
            host("a2", &["a", "all"], ports[1]),
            host("b1", &["b", "all"], ports[2]),
            host("c1", &["c"], ports[3]),
        ]
    };
    let cases: [([&[u16]; 4], &[&str]); 7] = [
        ([&[90], &[90], &[90], &[90]], &["app90 90: "]),
        ([&[90], &[90], &[90], &[]], &["app90 90: @all"]),
        ([&[90], &[90], &[], &[]], &["app90 90: @a"]),
        ([&[90], &[], &[90], &[]], &["app90 90: @b a1"]),
        ([&[90], &[], &[], &[]], &["app90 90: a1"]),
        ([&[], &[], &[90], &[90]], &["app90 90: @b @c"]),
        ([&[80], &[80, 81], &[80], &[80]], &["nginx-80 80: ", "nginx-81 81: a2"]),
    ];
    for (ports, expected) in cases {
        assert_eq!(lines(&all(ports)), expected, "{ports:?}");
    }
    assert_eq!(lines(&[host("a1", &[], &[90])]), ["app90 90: a1"], "one host is not all");
}

#[test]
fn a_host_that_is_called_as_a_group_is_written_is_no_group() {
    for name in ["@web", "web*", "we[b]", "web\u{1b}"] {
        let hosts = [host(name, &[], &[90]), host("web", &["web"], &[]), host("webs", &["web"], &[])];
        let baseline = read(&learned(&hosts)).unwrap();
        let verdict = |host: &Host| {
            let policy = Policy::new(Some(baseline.clone()), host.clone(), everybody().into());
            let HostInventory { inventory, accounts, .. } = &hosts[0];
            let assessment = assess(inventory, &policy, accounts, inventory.taken_at);
            assessment.services[0].verdict.as_str()
        };
        assert_eq!(
            [verdict(&hosts[0].host), verdict(&hosts[1].host), verdict(&hosts[2].host)],
            ["learned", "drift", "drift"],
            "{name}"
        );
    }
}

#[test]
fn what_the_baseline_covers_is_not_learned_again() {
    let hosts = [host("a", &[], &[80, 90]), host("b", &[], &[80])];
    let text =
        "[[approval]]\nid = \"nginx\"\nlisten = \"tcp/*:80\"\nprogram = \"/usr/sbin/nginx\"\nhosts = \"a\"\n";
    let present = read(text).unwrap();
    let text =
        learn_from(&hosts, Some(&present), &everybody().into(), std::time::SystemTime::UNIX_EPOCH + NOW);
    let learned = read(&text).unwrap();
    let ids: Vec<&str> = learned.approvals().iter().map(|approval| approval.id.as_str()).collect();
    assert_eq!(ids, ["app90", "nginx-80"], "the name is taken, and only b lacks it: {text}");
    assert_eq!(learned.approval("nginx-80").unwrap().hosts.len(), 1);
}

const PORTS: [u16; 6] = [80, 81, 90, 91, 92, 93];

/// Up to six hosts, each in some groups, with some of few services.
fn fleet() -> impl Strategy<Value = Vec<HostInventory>> {
    let groups = btree_set(select(&["a", "b", "c"][..]), 0..3);
    let one = (groups, btree_set(select(&PORTS[..]), 0..5));
    vec(one, 1..7).prop_map(|hosts| {
        let hosts = hosts.iter().enumerate().map(|(place, (groups, ports))| {
            let groups: Vec<&str> = groups.iter().copied().collect();
            let ports: Vec<u16> = ports.iter().copied().collect();
            host(&format!("h{place}"), &groups, &ports)
        });
        hosts.collect()
    })
}

proptest! {
    #[test]
    fn each_host_has_what_it_had_and_no_other(hosts in fleet(), turn in 0_usize..6) {
        let text = learned(&hosts);
        let mut turned = hosts.clone();
        turned.rotate_left(turn % hosts.len());
        turned.reverse();
        prop_assert_eq!(learned(&turned), &*text, "the order decides nothing");
        let baseline = parse(&[source("b.toml", &text)], &everybody()).unwrap();
        for whole in &hosts {
            let policy = Policy::new(Some(baseline.clone()), whole.host.clone(), everybody().into());
            let judge = |other: &HostInventory| {
                assess(&other.inventory, &policy, &other.accounts, other.inventory.taken_at)
            };
            prop_assert!(judge(whole).services.iter().all(|one| one.verdict.as_str() == "learned"), "{}", text);
            // What another host has is drift here, if this one does not have it too.
            let own: BTreeSet<_> = judge(whole).services.iter().map(|one| one.service.id.clone()).collect();
            for other in &hosts {
                for one in judge(other).services {
                    let drifts = matches!(one.verdict, Verdict::Drift(_));
                    prop_assert_eq!(drifts, !own.contains(&one.service.id), "{}", text);
                }
            }
        }
    }

    #[test]
    fn one_more_host_that_is_like_its_group_changes_the_heading_alone(hosts in fleet(), like in 0_usize..6) {
        let mut like = hosts[like % hosts.len()].clone();
        // Where it is alone, or has something of its own, that is news.
        let in_full = hosts.iter().filter(|host| host.host.groups == like.host.groups);
        let alike = in_full.clone().count() > 1 && !like.host.groups.is_empty()
            && hosts.iter().all(|host| {
                host.host.groups.is_disjoint(&like.host.groups) || ports(host) == ports(&like)
            });
        like.host.name = RawText::from("h9");
        let before = learned(&hosts);
        let mut more = hosts;
        more.push(like);
        let after = learned(&more);
        if alike {
            let tail = |text: &str| text.split_once('\n').unwrap().1.to_owned();
            prop_assert_eq!(tail(&before), tail(&after));
        }
    }
}

fn ports(host: &HostInventory) -> BTreeSet<u16> {
    host.inventory.listeners.iter().map(|listener| listener.endpoint.port).collect()
}
