//! What a change of the baseline changes.

use baseline::{HostInventory, Plan, Turn, plan};
use inventory::{RawText, Reach, Scope};
use proptest::collection::vec;
use proptest::prelude::{prop_assert_eq, proptest};
use proptest::sample::select;

use crate::world::{World, everybody, program, read};

fn host(name: &str, fill: impl FnOnce(&mut World)) -> HostInventory {
    let mut world = World::new();
    world.host.name = RawText::from(name);
    fill(&mut world);
    HostInventory { host: world.host.clone(), inventory: world.inventory(), accounts: world.accounts }
}

fn web(name: &str) -> HostInventory {
    host(name, |world| drop(world.listen("tcp/0.0.0.0:443").by(program("/usr/sbin/nginx")).clone()))
}

fn changed(old: &str, new: &str, hosts: &[HostInventory]) -> Plan {
    let now = World::new().now;
    plan(read(old).unwrap(), read(new).unwrap(), hosts, &everybody().into(), now)
}

/// `worse approved by a -> drift unapproved, critical: 443 on web1 web2`.
fn lines(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    for change in &plan.changes {
        for touched in change.touched.values() {
            let hosts: Vec<String> = touched.hosts.iter().map(ToString::to_string).collect();
            lines.push(format!(
                "{} {} -> {}: {} on {}",
                change.turn.as_str(),
                change.before,
                change.after,
                touched.subject.port,
                hosts.join(" ")
            ));
        }
    }
    lines
}

const TLS: &str = "[[approval]]\nid = \"tls\"\nlisten = \"tcp/*:443\"\nprogram = \"/usr/sbin/nginx\"\n";

#[test]
fn the_same_change_on_many_hosts_is_one() {
    let hosts = [web("web2"), web("web1")];
    assert_eq!(
        lines(&changed("", TLS, &hosts)),
        ["better drift unapproved, critical -> approved by tls: 443 on web1 web2"]
    );
    assert_eq!(
        lines(&changed(TLS, "", &hosts)),
        ["worse approved by tls -> drift unapproved, critical: 443 on web1 web2"]
    );
    let unchanged = changed(TLS, TLS, &hosts);
    assert_eq!((lines(&unchanged).len(), unchanged.hosts, unchanged.services), (0, 2, 2));
    assert!(!unchanged.gets_worse() && !unchanged.is_partial());
}

#[test]
fn what_gets_worse_comes_first_and_says_in_what_it_differs() {
    let hosts = [host("web1", |world| {
        world.listen("tcp/0.0.0.0:443").by(program("/usr/sbin/nginx"));
        world.listen("tcp/127.0.0.1:22").by(program("/usr/sbin/sshd"));
        world.listen("tcp/0.0.0.0:25").by(program("/usr/sbin/exim"));
    })];
    let ssh = "[[approval]]\nid = \"ssh\"\nlisten = \"tcp/*:22\"\nprogram = \"/usr/sbin/sshd\"\n";
    let mail = "[[approval]]\nid = \"mail\"\nlisten = \"tcp/*:25\"\nprogram = \"/usr/sbin/exim\"\n";
    let old = format!("{TLS}{mail}{}", ssh.replace("sshd", "dropbear"));
    let narrow = TLS.replace("id = \"tls\"", "id = \"tls\"\nreach = \"private\"");
    let new = format!("{narrow}{ssh}{}", mail.replace("mail", "smtp"));
    let plan = changed(&old, &new, &hosts);
    assert_eq!(
        lines(&plan),
        [
            "worse approved by tls -> drift widened from tls, critical: 443 on web1",
            "otherwise approved by mail -> approved by smtp: 25 on web1",
            "better drift program_changed from ssh, info -> approved by ssh: 22 on web1",
        ]
    );
    let touched = plan.changes[0].touched.values().next().unwrap();
    assert_eq!(touched.differs, ["reach is public, approved up to private"]);
}

#[test]
fn graver_drift_is_worse_and_less_grave_is_better() {
    let hosts = [host("web1", |world| {
        world.listen("tcp/0.0.0.0:443").by(program("/usr/sbin/nginx")).reach(Reach::Private);
    })];
    // What is unapproved is graver than another program.
    let other = TLS.replace("nginx", "apache2");
    assert_eq!(changed("", &other, &hosts).changes[0].turn, Turn::Better);
    assert_eq!(changed(&other, "", &hosts).changes[0].turn, Turn::Worse);
    // Against which approval it is told changes nothing.
    assert!(changed(&other, &other.replace("tls", "web"), &hosts).changes.is_empty());
}

#[test]
fn what_is_required_and_missing_is_told() {
    let required = format!("{TLS}required = true\n").replace("443", "8443");
    let hosts = [web("web1"), web("web2")];
    let expected = ["worse not missing -> drift missing from tls, warning: 8443 on web1 web2"];
    assert_eq!(lines(&changed(TLS, &format!("{TLS}{}", required.replace("tls", "must")), &hosts)).len(), 1);
    assert_eq!(lines(&changed("", &required, &[host("web1", |_| ()), host("web2", |_| ())])), expected);
}

#[test]
fn hosts_of_an_approval_are_each_hosts_own() {
    let mut db = web("db1");
    db.host.groups = ["db".to_owned()].into();
    let for_web = format!("{TLS}hosts = \"@web\"\n");
    assert_eq!(
        lines(&changed("", &for_web, &[web("web1"), db])),
        ["better drift unapproved, critical -> approved by tls: 443 on web1"]
    );
}

#[test]
fn what_was_not_seen_is_told() {
    let gap = host("web1", |world| drop(world.gap(Scope::Holders).clone()));
    assert!(changed("", "", &[gap]).is_partial());
    let by_group = TLS.replace("program", "group = \"ops\"\nprogram");
    let untold = changed("", &by_group, &[web("web1")]);
    assert_eq!(untold.untold_groups.keys().collect::<Vec<_>>(), ["ops"]);
    assert!(
        untold.is_partial() && !changed("", &by_group.replace("ops", "admins"), &[web("web1")]).is_partial()
    );
}

proptest! {
    #[test]
    fn the_way_back_turns_every_change_round(
        old in vec(select(&["tls", "web", "learned"][..]), 0..2),
        new in vec(select(&["tls", "web", "private"][..]), 0..2),
    ) {
        let text = |ids: &[&str]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids.dedup();
            let one = |id: &str| {
                let more = match id {
                    "learned" => "by = \"learn\"\n",
                    "private" => "reach = \"private\"\n",
                    _ => "",
                };
                TLS.replace("tls", id) + more
            };
            ids.into_iter().map(one).collect::<String>()
        };
        let (there, back) = (changed(&text(&old), &text(&new), &[web("a")]), changed(&text(&new), &text(&old), &[web("a")]));
        prop_assert_eq!(there.changes.len(), back.changes.len());
        for (there, back) in there.changes.iter().zip(&back.changes) {
            prop_assert_eq!((&there.before, &there.after), (&back.after, &back.before));
            let round = match there.turn {
                Turn::Worse => Turn::Better,
                Turn::Otherwise => Turn::Otherwise,
                Turn::Better => Turn::Worse,
            };
            prop_assert_eq!(round, back.turn);
        }
    }
}
