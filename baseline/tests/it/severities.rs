//! How grave drift is.

use baseline::{
    DriftKind, Pattern, PortPattern, ProgramPattern, RunningFile, Severity, SeverityRule, SeverityRules,
    Traits,
};
use inventory::{ProgramFile, Protocol, Reach, Unattributed};

use crate::world::{Process, World, program};

/// Netcat of nobody special.
fn nc() -> Process {
    program("/usr/bin/nc").uid(33)
}

/// Unapproved on one address that reaches so far.
fn held(reach: Reach, by: &[Process]) -> World {
    let mut world = World::new();
    world.baseline("");
    let listening = world.listen("tcp/10.0.0.1:4444").reach(reach);
    by.iter().for_each(|process| _ = listening.by(process.clone()));
    world
}

fn severity(world: &World) -> Severity {
    world.finding().severity
}

use Severity::{Critical, Info, Warning};

#[test]
fn the_built_in_rules_hold_in_their_order() {
    use Reach::{Isolated, Link, Loopback, Private, Public};
    let deleted = |replaced| nc().file(ProgramFile::Deleted { replaced });
    let memfd = program("/memfd:x").uid(33).file(ProgramFile::Deleted { replaced: false });
    let at = |path: &str| program(path).uid(33);
    for (what, reach, by, expected) in [
        ("nobody special", Private, nc(), Warning),
        ("on its link", Link, nc(), Warning),
        ("on loopback", Loopback, nc(), Info),
        ("reached by nobody", Isolated, nc(), Info),
        ("public", Public, nc(), Critical),
        ("root", Private, nc().uid(0), Critical),
        ("root on loopback", Loopback, nc().uid(0), Info),
        ("a shell", Link, at("/bin/bash"), Critical),
        ("an interpreter", Private, at("/usr/bin/python3.11"), Critical),
        ("an interpreter on loopback", Loopback, at("/usr/bin/python3"), Info),
        ("in a home", Private, at("/home/alice/nc"), Critical),
        ("in root's home", Private, at("/root/nc"), Critical),
        ("in no home", Private, at("/homebrew/nc"), Warning),
        ("in a home on loopback", Loopback, at("/home/alice/nc"), Info),
        ("temporary", Loopback, at("/tmp/nc"), Critical),
        ("temporary, reached by nobody", Isolated, at("/dev/shm/nc"), Critical),
        ("not quite temporary", Loopback, at("/opt/tmp/nc"), Info),
        ("deleted", Loopback, deleted(false), Critical),
        ("never a file", Isolated, memfd, Critical),
        ("replaced", Private, deleted(true), Warning),
    ] {
        assert_eq!(severity(&held(reach, &[by])), expected, "{what}");
    }
    let mut everywhere = held(Isolated, &[nc()]);
    everywhere.listeners[0].endpoint.address = "0.0.0.0".parse().unwrap();
    assert_eq!(severity(&everywhere), Critical, "bound to all addresses");
    let unseen = |reason| {
        let mut world = held(Private, &[]);
        world.listeners[0].unattributed(reason);
        severity(&world)
    };
    assert_eq!(unseen(Unattributed::Unknown), Warning, "nobody knows who");
    assert_eq!(unseen(Unattributed::Kernel), Warning);
}

/// Whoever lets a trusted program inherit his socket must not make it harmless, nor the other way round.
#[test]
fn the_gravest_of_those_who_hold_it_counts() {
    let trusted = SeverityRule {
        of: Traits { program: vec![ProgramPattern::new("/usr/bin/trusted").unwrap()], ..Traits::default() },
        is: Info,
    };
    let ours = program("/usr/bin/trusted").pid(7);
    for (by, expected) in [
        (vec![ours.clone()], Info),
        (vec![ours.clone(), nc()], Warning),
        (vec![nc(), ours.clone(), program("/tmp/x").uid(33).pid(8)], Critical),
    ] {
        let mut world = held(Reach::Private, &by);
        world.severities = vec![trusted.clone()];
        assert_eq!(severity(&world), expected, "{by:?}");
    }
    let mut unseen = held(Reach::Private, &[ours]);
    let also = unseen.listeners[0].clone();
    unseen.listeners.push(also);
    unseen.severities = vec![trusted];
    assert_eq!(severity(&unseen), Info, "two sockets of it");
}

#[test]
fn each_key_is_asked_and_all_of_them_must_be_so() {
    type Set = fn(&mut Traits, bool);
    let path = |yes: bool, one: &str| ProgramPattern::new(if yes { one } else { "/nowhere/**" }).unwrap();
    let keys: [Set; 13] = [
        |of, yes| of.kind = vec![if yes { DriftKind::Unapproved } else { DriftKind::Widened }],
        |of, yes| of.reach = vec![if yes { Reach::Private } else { Reach::Public }],
        |of, yes| of.wildcard = Some(!yes),
        |of, yes| of.user = vec![Pattern::new(if yes { "www-*" } else { "postgres" }).unwrap()],
        |of, yes| of.root = Some(!yes),
        |of, yes| of.file = vec![if yes { RunningFile::Host } else { RunningFile::Memfd }],
        |of, yes| of.interpreter = Some(!yes),
        |of, yes| of.home = Some(!yes),
        |of, yes| of.temporary = Some(!yes),
        |of, yes| of.port = vec![if yes { PortPattern::Range(4000, 4999) } else { PortPattern::Kernel }],
        |of, yes| of.protocol = vec![if yes { Protocol::Tcp } else { Protocol::Udp }],
        |of, yes| of.user = vec![Pattern::new(if yes { "33" } else { "0" }).unwrap()],
        |of, yes| of.team = if yes { Vec::new() } else { vec!["web".to_owned()] },
    ];
    let with = |of: Traits| {
        let mut world = held(Reach::Private, &[nc()]);
        world.severities = vec![SeverityRule { of, is: Info }];
        severity(&world)
    };
    let mut all = Traits { program: vec![path(true, "/usr/*/nc")], ..Traits::default() };
    keys.iter().for_each(|set| set(&mut all, true));
    assert_eq!(with(all.clone()), Info);
    assert_eq!(with(Traits { program: vec![path(false, "")], ..all.clone() }), Warning, "program");
    for (number, set) in keys.iter().enumerate() {
        let mut but_one = all.clone();
        set(&mut but_one, false);
        assert_eq!(with(but_one), Warning, "key {number}");
    }
}

#[test]
fn of_who_is_not_seen_neither_yes_nor_no_is_true() {
    for of in [
        Traits { root: Some(true), ..Traits::default() },
        Traits { root: Some(false), ..Traits::default() },
        Traits { interpreter: Some(false), ..Traits::default() },
        Traits { home: Some(false), ..Traits::default() },
        Traits { temporary: Some(false), ..Traits::default() },
        Traits { user: vec![Pattern::new("*").unwrap()], ..Traits::default() },
        Traits { file: vec![RunningFile::Host], ..Traits::default() },
    ] {
        let mut world = held(Reach::Private, &[]);
        world.severities = vec![SeverityRule { of: of.clone(), is: Info }];
        assert_eq!(severity(&world), Warning, "{of:?}");
    }
    let mut unknown = held(Reach::Private, &[nc().unreadable()]);
    let of = Traits { file: vec![RunningFile::Unknown], ..Traits::default() };
    unknown.severities = vec![SeverityRule { of, is: Critical }];
    assert_eq!(severity(&unknown), Critical);
}

#[test]
fn the_first_rule_that_matches_decides_and_observing_is_before_all() {
    let rule = |is| {
        let kind = vec![DriftKind::Unapproved, DriftKind::Missing];
        SeverityRule { of: Traits { kind, ..Traits::default() }, is }
    };
    let mut world = held(Reach::Public, &[nc()]);
    assert_eq!(severity(&world), Critical);
    world.severities = vec![rule(Warning), rule(Info)];
    assert_eq!(severity(&world), Warning);
    world.severities.reverse();
    assert_eq!(severity(&world), Info);
    world.severities = vec![rule(Critical)];
    world.baseline = None;
    assert_eq!(severity(&world), Info, "there is no baseline");
}

#[test]
fn what_is_missing_is_told_apart_by_team_port_and_protocol() {
    let text = "[[approval]]\nid = \"db\"\nteam = \"data\"\nlisten = \"tcp/*:5432\"\nprogram = \"/db\"\nrequired = true\n";
    let with = |of: Traits| {
        let mut world = World::new();
        world.baseline(text);
        world.severities = vec![SeverityRule { of, is: Critical }];
        world.assess().absent[0].severity
    };
    let team = |team: &str| Traits { team: vec![team.to_owned()], ..Traits::default() };
    assert_eq!((with(team("data")), with(team("web"))), (Critical, Warning));
    let port = |port| Traits { port: vec![port], ..Traits::default() };
    assert_eq!(with(port(PortPattern::Range(5432, 5432))), Critical);
    assert_eq!(with(port(PortPattern::Range(80, 80))), Warning);
    assert_eq!(with(Traits { wildcard: Some(true), ..Traits::default() }), Warning, "nothing is bound");
    assert_eq!(with(Traits { reach: Reach::ALL.to_vec(), ..Traits::default() }), Warning);
}

#[test]
fn no_kind_is_left_out_and_the_page_shows_all_rules() {
    let rules = SeverityRules::default();
    for kind in DriftKind::ALL {
        let alone = Traits { kind: vec![kind], ..Traits::default() };
        let decides = |of: &Traits| {
            of.kind.contains(&kind) && Traits { kind: alone.kind.clone(), ..of.clone() } == alone
        };
        assert!(rules.rules().iter().any(|rule| decides(&rule.of)), "{kind}");
    }
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/severity.md")).unwrap();
    let printed: Vec<String> = rules.rules().iter().map(ToString::to_string).collect();
    assert!(page.contains(&printed.join("\n")), "the page wants:\n{}", printed.join("\n"));
}
