//! What holds for every world.

use baseline::edit::{add, remove, render};
use baseline::{
    AddressPattern, Approval, Assessment, Baseline, Before, Countersignature, DriftKind, Finding,
    HostPattern, Listen, NetNsPattern, Pattern, PortPattern, ProgramPattern, Register, RunningFile, Severity,
    SeverityRule, SeverityRules, Traits, User, Verdict, When, approval_json, approval_of_json, assess, learn,
    propose, reassess,
};
use inventory::{NetNsKind, ProgramFile, Protocol, RawText, Reach, Unattributed};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;

use crate::world::{Process, World, program, read, source, told};

/// Names as an attacker would choose them.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("web".to_owned()),
        Just("host".to_owned()),
        Just("container".to_owned()),
        "[a-z*?\\[\\]!\"'\\\\ \n\u{1b}\u{202e}]{1,6}",
    ]
}

fn process() -> impl Strategy<Value = Process> {
    let path = prop_oneof![
        select(&["/usr/sbin/sshd", "/usr/bin/python3", "/usr/lib/systemd/systemd", "kernel"][..])
            .prop_map(str::to_owned),
        name().prop_map(|name| format!("/opt/{name}")),
    ];
    let file = select(
        &[
            ProgramFile::Host,
            ProgramFile::Host,
            ProgramFile::Foreign,
            ProgramFile::Unknown,
            ProgramFile::Deleted { replaced: true },
            ProgramFile::Deleted { replaced: false },
        ][..],
    );
    let workload = prop_oneof![
        Just(None),
        name().prop_map(|name| Some((false, format!("{name}.service")))),
        Just(Some((false, "ssh.socket".to_owned()))),
        name().prop_map(|name| Some((true, name))),
    ];
    (path, file, workload, select(&[0_u32, 33, 4242][..]), 1_u32..4, name()).prop_map(
        |(path, file, workload, uid, pid, argument)| {
            let process = match workload {
                None => program(&path),
                Some((false, unit)) => program(&path).unit(&unit),
                Some((true, container)) => program(&path).container(&container, &container, 'a'),
            };
            process.file(file).uid(uid).pid(pid).arguments(&format!("argv0 {argument}"))
        },
    )
}

fn listening(world: &mut World, socket: &Socket) {
    let device = socket.device.as_ref().map(|device| format!("%{device}")).unwrap_or_default();
    let text = format!("{}/{}{device}:{}", socket.protocol, socket.address, socket.port);
    let listening = world.listen(&text).reach(socket.reach).unattributed(socket.unattributed);
    if let Some((kind, name)) = &socket.netns {
        listening.in_netns(*kind, name).published_as("tcp/0.0.0.0:1");
    }
    listening.ipv6_only = socket.ipv6_only;
    if socket.kernel_chose {
        listening.kernel_chose();
    }
    for process in &socket.holders {
        listening.by(process.clone());
    }
}

#[derive(Clone, Debug)]
struct Socket {
    protocol: Protocol,
    address: &'static str,
    device: Option<&'static str>,
    port: u16,
    reach: Reach,
    ipv6_only: Option<bool>,
    kernel_chose: bool,
    netns: Option<(NetNsKind, String)>,
    unattributed: Unattributed,
    holders: Vec<Process>,
}

fn socket() -> impl Strategy<Value = Socket> {
    let address = select(&["0.0.0.0", "[::]", "127.0.0.1", "[::1]", "10.0.0.1", "[::ffff:10.0.0.1]"][..]);
    let netns = option::weighted(
        0.3,
        (select(&[NetNsKind::Named, NetNsKind::Container, NetNsKind::Anonymous][..]), name()),
    );
    (
        (
            select(&[Protocol::Tcp, Protocol::Udp, Protocol::Raw][..]),
            address,
            select(&[22_u16, 80, 40000][..]),
        ),
        (select(&Reach::ALL[..]), any::<Option<bool>>(), any::<bool>(), netns),
        (
            select(&Unattributed::ALL[..]),
            vec(process(), 0..3),
            select(&[None, None, Some("eth0"), Some("e*")][..]),
        ),
    )
        .prop_map(|((protocol, address, port), (reach, ipv6_only, kernel_chose, netns), rest)| {
            let (unattributed, holders, device) = rest;
            Socket {
                protocol,
                address,
                device,
                port,
                reach,
                ipv6_only,
                kernel_chose,
                netns,
                unattributed,
                holders,
            }
        })
}

/// Which of a few kinds, how far it reaches, whether it has a peer.
type Twin = (usize, Reach, bool);

fn twin() -> impl Strategy<Value = Twin> {
    (0_usize..3, select(&Reach::ALL[..]), any::<bool>())
}

fn listening_as(world: &mut World, kinds: &[Socket], (kind, reach, connected): Twin) {
    listening(world, &Socket { reach, ..kinds[kind % kinds.len()].clone() });
    if connected {
        world.listeners.last_mut().unwrap().connected("192.0.2.1:53");
    }
}

fn listen() -> impl Strategy<Value = Listen> {
    let address = prop_oneof![
        Just(AddressPattern::Any),
        Just(AddressPattern::AnyV4),
        Just(AddressPattern::AnyV6),
        Just(AddressPattern::Loopback),
        Just(AddressPattern::Link),
        Just(AddressPattern::Private),
        select(&["127.0.0.1", "::1", "10.0.0.1"][..])
            .prop_map(|text| AddressPattern::One(text.parse().unwrap())),
        select(&["10.0.0.0/8", "fe80::/10", "0.0.0.0/0"][..])
            .prop_map(|text| AddressPattern::Net(text.parse().unwrap())),
    ];
    let port = prop_oneof![
        Just(PortPattern::Any),
        (any::<u16>(), any::<u16>())
            .prop_map(|(one, other)| PortPattern::Range(one.min(other), one.max(other))),
        select(&[22_u16, 80][..]).prop_map(|port| PortPattern::Range(port, port)),
    ];
    let device = option::weighted(0.2, Just(Pattern::new("eth*").unwrap()));
    (select(&Protocol::ALL[..]), address, device, port).prop_map(|(protocol, address, device, port)| Listen {
        protocol,
        address,
        device,
        port,
    })
}

pub(crate) fn approval() -> impl Strategy<Value = Approval> {
    let text = "[ -~\u{e9}\n\t\u{1b}]{0,12}x";
    let patterns = || vec(name().prop_map(|name| Pattern::exactly(&RawText::from(name.as_str()))), 0..3);
    (
        ("[a-z]{1,8}", vec(listen(), 1..4), patterns(), patterns(), patterns(), patterns()),
        (option::of(select(&Reach::ALL[..])), any::<bool>(), vec(any::<[u8; 32]>(), 0..2)),
        (option::of(text), option::of(text), vec("@?[a-z]{1,4}", 0..2), vec("[a-z]{1,4}", 0..2)),
        (
            0_i64..4_000_000_000,
            option::of(select(&["2027-11-21", "2027-11-21T09:00:00", "2027-11-21T09:00:00Z"][..])),
        ),
        (1_u64..4, option::of("[A-Za-z0-9+/]{1,8}"), vec((text, any::<bool>(), "[A-Za-z0-9+/]{1,8}"), 0..3)),
    )
        .prop_map(|(what, how, who, when, signed)| {
            let (id, listen, unit, image, service, arguments) = what;
            let mut approval = Approval::new(id, listen);
            approval.unit = unit;
            approval.image = image;
            approval.service = service;
            approval.arguments = arguments;
            approval.program = vec![ProgramPattern::Path(Pattern::new("/usr/bin/a*z").unwrap())];
            (approval.reach, approval.required, approval.sha256) = how;
            (approval.reason, approval.ticket) = (who.0, who.1);
            approval.hosts = who.2.iter().map(|host| HostPattern::new(host).unwrap()).collect();
            approval.group = who.3;
            approval.user = vec![User::new("root"), User::new("1000")];
            approval.netns =
                vec![NetNsPattern::Any, NetNsPattern::exactly(NetNsKind::Named, &RawText::from("host"))];
            let at =
                std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(when.0.unsigned_abs());
            approval.at = Some(When::instant(at));
            approval.expires = when.1.and_then(When::parse);
            let countersigned = signed.2.into_iter().map(|(by, says_when, signature)| {
                let at = if says_when { approval.at } else { None };
                Countersignature { by, at, signature }
            });
            approval.countersigned = countersigned.collect();
            (approval.serial, approval.signature) = (signed.0, signed.1);
            approval
        })
}

fn world_of(sockets: &[Socket]) -> World {
    let mut world = World::new();
    world.baseline("");
    sockets.iter().for_each(|socket| listening(&mut world, socket));
    world
}

fn severity_rule() -> impl Strategy<Value = SeverityRule> {
    let asks = (
        vec(select(&DriftKind::ALL[..]), 0..3),
        vec(select(&Reach::ALL[..]), 0..3),
        vec(select(&RunningFile::ALL[..]), 0..2),
        (any::<Option<bool>>(), any::<Option<bool>>(), any::<Option<bool>>()),
    );
    (asks, select(&Severity::ALL[..])).prop_map(|((kind, reach, file, (wildcard, root, interpreter)), is)| {
        let of = Traits { kind, reach, file, wildcard, root, interpreter, ..Traits::default() };
        SeverityRule { of, is }
    })
}

fn read_or_show(text: &str) -> Baseline {
    read(text).unwrap_or_else(|wrong| panic!("{}\n{text}", told(&wrong)))
}

/// An address and `ipv6_only`.
type Bound = (&'static str, bool);

/// All that the first takes the second takes too.
const NARROWER_AND_WIDER: [(Bound, Bound); 6] = [
    (("127.0.0.1", false), ("0.0.0.0", false)),
    (("10.0.0.1", false), ("0.0.0.0", false)),
    (("10.0.0.1", false), ("[::]", false)),
    (("[::1]", true), ("[::]", true)),
    (("[::]", true), ("[::]", false)),
    (("0.0.0.0", false), ("[::]", false)),
];

proptest! {
    #[test]
    fn rules_of_severity_change_severities_alone(sockets in vec(socket(), 0..6), rules in vec(severity_rule(), 0..4)) {
        let mut world = world_of(&sockets);
        world.baseline("[[approval]]\nid = \"a\"\nlisten = \"tcp/127.0.0.1:22\"\nprogram = \"/usr/sbin/sshd\"\nrequired = true\n");
        let built_in = world.assess();
        world.severities.clone_from(&rules);
        let ruled = world.assess();
        let but_severity = |assessment: &Assessment| {
            let found = assessment.findings().chain(&assessment.absent).cloned();
            found.map(|finding| Finding { severity: Severity::Info, ..finding }).collect::<Vec<_>>()
        };
        prop_assert_eq!(but_severity(&built_in), but_severity(&ruled));
        let ids = |assessment: &Assessment| {
            let services = assessment.services.iter().map(|judged| (judged.service.id.clone(), judged.verdict.as_str()));
            services.collect::<Vec<_>>()
        };
        prop_assert_eq!(ids(&built_in), ids(&ruled));
        // Each has one of those that a rule could have given it.
        let given = |severity| SeverityRules::before_built_in(rules.clone()).rules().iter().any(|rule| rule.is == severity);
        prop_assert!(ruled.findings().all(|finding| given(finding.severity)));
        world.severities.clear();
        prop_assert_eq!(world.assess(), built_in);
    }

    #[test]
    fn a_baseline_is_written_as_it_is_read(approvals in vec(approval(), 0..6)) {
        let mut text = String::new();
        let mut kept: Vec<Approval> = Vec::new();
        for approval in approvals {
            match add(&source("b.toml", &text), &approval) {
                Ok(longer) => {
                    prop_assert!(longer.starts_with(&text) || text.is_empty());
                    text = longer;
                    kept.push(approval);
                }
                Err(_) => prop_assert!(kept.iter().any(|earlier| earlier.id == approval.id)),
            }
        }
        kept.sort_by(|one, other| one.id.cmp(&other.id));
        let back = read_or_show(&text);
        prop_assert_eq!(back.approvals(), &kept[..]);
        if let Some(first) = kept.first() {
            let without = remove(&source("b.toml", &text), &first.id).unwrap();
            let without = read_or_show(&without);
            prop_assert_eq!(without.approvals(), &kept[1..]);
        }
    }

    #[test]
    fn parsing_never_panics(text in "(\\[\\[approval\\]\\]\n|id = |listen = |\"tcp/|\\*|:|22|\"|\n|\\[|\\]|%|=|'|#|\u{e9}|-|,){0,40}") {
        match read(&text) {
            Ok(_) => {}
            Err(wrong) => prop_assert!(wrong.iter().all(|one| one.line >= 1 && one.column >= 1 && !one.to_string().is_empty())),
        }
    }

    #[test]
    fn what_is_learned_covers_what_it_was_learned_from(sockets in vec(socket(), 0..8)) {
        let mut world = world_of(&sockets);
        let text = learn(&world.inventory(), &world.policy(), &world.accounts, world.now);
        read_or_show(&text);
        world.baseline(&text);
        let again = learn(&world.inventory(), &world.policy(), &world.accounts, world.now);
        prop_assert!(!again.contains("[[approval]]"), "{}\nleaves\n{}", text, again);
        let assessment = world.assess();
        for judged in &assessment.services {
            let Verdict::Drift(finding) = &judged.verdict else { continue };
            let proposed = propose(judged, &world.inventory(), &world.policy().baseline, &world.accounts, baseline::Request {
                reason: String::new(), by: String::new(), at: world.now, expires: None, hosts: Vec::new(), id: None,
            });
            let is_outdated = finding.kind == baseline::DriftKind::Outdated;
            prop_assert!(proposed.is_err() || is_outdated, "{:?}\n{}", finding, text);
        }
    }

    #[test]
    fn what_is_learned_covers_nothing_else(learned in socket(), other in socket()) {
        let mut world = world_of(std::slice::from_ref(&learned));
        let text = learn(&world.inventory(), &world.policy(), &world.accounts, world.now);
        let own = world.judged().service;
        world = world_of(&[other]);
        world.baseline(&text);
        let judged = world.judged();
        if let Verdict::Learned(_) = judged.verdict {
            // Pid 1 may be there or not; everything else is as it was, and reach no wider.
            let service = &judged.service;
            prop_assert_eq!(service.protocol, own.protocol);
            // By design one that is not the host's is known by its name alone, be it a container's or of `ip netns`.
            let is_host = |kind| kind == NetNsKind::Host;
            prop_assert_eq!(
                (&service.netns, is_host(service.netns_kind)),
                (&own.netns, is_host(own.netns_kind))
            );
            prop_assert!(service.reach <= own.reach);
            prop_assert!(!service.wildcard || own.wildcard);
            let systemd = RawText::from("/usr/lib/systemd/systemd");
            prop_assert!(service.programs.iter().all(|program| own.programs.contains(program) || *program == systemd));
        }
    }

    #[test]
    fn wider_never_passes_for_narrower(
        protocol in select(&[Protocol::Tcp, Protocol::Udp][..]),
        listen in vec(listen(), 1..4),
        ceiling in option::of(select(&Reach::ALL[..])),
        (narrow, wide) in select(&NARROWER_AND_WIDER[..]),
        (one, other) in (select(&Reach::ALL[..]), select(&Reach::ALL[..])),
    ) {
        // What passes where it is bound to more and reaches farther, passes too where it is bound to less and reaches less.
        let mut approval = Approval::new("a", listen);
        approval.listen.iter_mut().for_each(|listen| listen.protocol = protocol);
        approval.reach = ceiling;
        let passes = |(address, ipv6_only): (&str, bool), reach: Reach| {
            let mut world = World::new();
            world.baseline(&render(&approval));
            let listening = world.listen(&format!("{protocol}/{address}:22")).reach(reach).by(program("/usr/bin/a"));
            listening.ipv6_only = Some(ipv6_only);
            matches!(world.judged().verdict, Verdict::Approved(_))
        };
        if passes(wide, one.max(other)) {
            prop_assert!(passes(narrow, one.min(other)));
        }
    }

    #[test]
    fn what_a_record_says_of_an_approval_is_read_back(mut approval in approval(), serial in 1_u64..9, signed in any::<bool>()) {
        (approval.serial, approval.user) = (serial, vec![User::new("www")]);
        if signed {
            approval.signature = Some("AAAA".to_owned());
            let (by, at, signature) = ("bob".to_owned(), approval.at, "BBBB".to_owned());
            approval.countersigned.push(Countersignature { by, at, signature });
        }
        prop_assert_eq!(approval_of_json(&approval_json(&approval)), Ok(approval));
    }

    #[test]
    fn the_order_of_approvals_decides_nothing(sockets in vec(socket(), 1..5), approvals in vec(approval(), 1..5), seed in any::<u64>()) {
        let mut texts: Vec<String> = Vec::new();
        for (place, mut approval) in approvals.into_iter().enumerate() {
            approval.id = format!("a{place}");
            texts.push(render(&approval));
        }
        let mut world = world_of(&sockets);
        world.baseline(&texts.concat());
        let before = world.assess();
        let turn = usize::try_from(seed % (texts.len() as u64)).unwrap();
        texts.rotate_left(turn);
        texts.reverse();
        world.baseline(&texts.concat());
        prop_assert_eq!(world.assess(), before);
    }

    #[test]
    fn judging_what_differs_gives_what_judging_all_gives(
        // Few kinds, so that many sockets are one service.
        kinds in vec(socket(), 1..4),
        sockets in vec(twin(), 0..10),
        later in vec((0_usize..12, twin()), 0..6),
        closed in vec(0_usize..12, 0..4),
        approvals in vec(approval(), 0..5),
        days in 0_u64..800,
    ) {
        let mut world = world_of(&[]);
        sockets.iter().for_each(|twin| listening_as(&mut world, &kinds, *twin));
        let mut text = String::new();
        for (place, mut approval) in approvals.into_iter().enumerate() {
            approval.id = format!("a{place}");
            text.push_str(&render(&approval));
        }
        world.baseline(&text);
        let (policy, inventory) = (world.policy(), world.inventory());
        let accounts = world.accounts.clone();
        let assessment = assess(&inventory, &policy, &accounts, world.now);
        for (place, twin) in later {
            // A socket of its own, or one that was there and differs.
            let before = world.listeners.len();
            listening_as(&mut world, &kinds, twin);
            if place < before {
                let new = world.listeners.remove(before);
                world.listeners[place].become_like(new);
            }
        }
        for place in closed {
            if place < world.listeners.len() {
                world.listeners.remove(place);
            }
        }
        world.later(days * 24 * 3600);
        let after = world.inventory();
        let known = Before { inventory: &inventory, assessment: &assessment, accounts: &accounts };
        let expected = assess(&after, &policy, &accounts, world.now);
        prop_assert_eq!(reassess(known, &after, &policy, &accounts, world.now), expected);
    }

    #[test]
    fn a_register_kept_by_what_differs_is_one_kept_by_all(
        kinds in vec(socket(), 1..4),
        steps in vec((vec(twin(), 0..3), vec(0_usize..8, 0..3), 0_u64..4), 1..8),
    ) {
        let mut world = world_of(&[]);
        world.baseline("[[approval]]\nid = \"a\"\nlisten = \"tcp/*:22\"\nprogram = \"/usr/sbin/sshd\"\nreach = \"private\"\n");
        let (policy, accounts) = (world.policy(), world.accounts.clone());
        let (mut by_all, mut by_difference) = (Register::default(), Register::default());
        let mut inventory = world.inventory();
        let mut assessment = assess(&inventory, &policy, &accounts, world.now);
        for (opens, closes, seconds) in steps {
            opens.into_iter().for_each(|twin| listening_as(&mut world, &kinds, twin));
            for place in closes {
                if place < world.listeners.len() {
                    world.listeners.remove(place);
                }
            }
            world.later(seconds);
            let (after, now) = (world.inventory(), world.now);
            let whole = assess(&after, &policy, &accounts, now);
            let expected = by_all.update(&after, &whole, &policy, &accounts, now);
            let before = Before { inventory: &inventory, assessment: &assessment, accounts: &accounts };
            assessment = reassess(before, &after, &policy, &accounts, now);
            inventory = after;
            let happened = by_difference.update(&inventory, &assessment, &policy, &accounts, now);
            prop_assert_eq!(happened, expected);
            prop_assert_eq!(&by_difference, &by_all);
        }
    }
}
