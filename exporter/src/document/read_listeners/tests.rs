use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use baseline::{Policy, SourceText, assess, parse};
use inventory::{
    Container, Endpoint, Gap, Holders, NetNs, NetNsId, NetNsKind, Parent, PortChoice, ProcessId, Program,
    ProgramFile, Protocol, RawText, Reach, Runtime, Session, SocketId, Unattributed, Workload,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;

use super::*;
use crate::document::{Listed, listeners_document};
use crate::fixtures;

fn name() -> impl Strategy<Value = RawText> {
    prop_oneof![
        Just(RawText::from("web")),
        Just(RawText::new(fixtures::HOSTILE)),
        vec(any::<u8>(), 0..6).prop_map(RawText::new),
    ]
}

/// To the millisecond, as the document has it.
fn moment() -> impl Strategy<Value = SystemTime> {
    (0_u64..4_000_000_000_000).prop_map(|millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis))
}

fn workload() -> impl Strategy<Value = Workload> {
    let container =
        (option::of(name()), option::of(name()), option::of(name())).prop_map(|(name, image, service)| {
            let id = "a".repeat(64);
            Workload::Container(Container { runtime: Runtime::Podman, id, name, image, service })
        });
    let session = (name(), any::<u32>(), option::of(name()))
        .prop_map(|(id, uid, from)| Workload::Session(Session { id, uid, from }));
    prop_oneof![Just(Workload::None), name().prop_map(Workload::Unit), container, session]
}

fn holder() -> impl Strategy<Value = Holder> {
    let file = select(
        &[
            ProgramFile::Host,
            ProgramFile::Foreign,
            ProgramFile::Unknown,
            ProgramFile::Deleted { replaced: true },
            ProgramFile::Deleted { replaced: false },
        ][..],
    );
    let path = prop_oneof![Just(RawText::from("/usr/sbin/sshd")), name()];
    let program = (path, file, option::of(any::<[u8; 32]>())).prop_map(|(path, file, sha256)| Program {
        path,
        file,
        sha256,
    });
    let parent = (any::<u32>(), name(), option::of(name())).prop_map(|(pid, name, program)| Parent {
        pid,
        name,
        program,
    });
    (
        (1_u32..9, any::<u64>(), moment(), option::weighted(0.9, program)),
        (name(), vec(name(), 0..3), select(&[0_u32, 33, 4242][..]), workload(), vec(parent, 0..2)),
    )
        .prop_map(
            |((pid, start_ticks, started_at, program), (name, arguments, uid, workload, parents))| {
                let id = ProcessId { pid, start_ticks };
                Holder { id, started_at, program, name, arguments, uid, workload, parents }
            },
        )
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let address = select(&["0.0.0.0", "::", "127.0.0.1", "::1", "::ffff:10.0.0.1", "fe80::1"][..]);
    let port = select(&[22_u16, 80, 40000, 0][..]);
    (select(&Protocol::ALL[..]), address, port, option::of(name())).prop_map(
        |(protocol, address, port, device)| Endpoint {
            protocol,
            address: address.parse().unwrap(),
            port,
            device,
        },
    )
}

fn netns() -> impl Strategy<Value = NetNs> {
    let kinds = [NetNsKind::Named, NetNsKind::Container, NetNsKind::Unit, NetNsKind::Anonymous];
    prop_oneof![
        Just(NetNs::host(NetNsId::Cookie(1))),
        (2_u64..9, select(kinds.to_vec()), name()).prop_map(|(cookie, kind, name)| NetNs {
            id: NetNsId::Cookie(cookie),
            kind,
            name
        }),
    ]
}

fn listener() -> impl Strategy<Value = Listener> {
    let choice = prop_oneof![
        Just(PortChoice::Explicit),
        Just(PortChoice::Kernel),
        any::<bool>().prop_map(|ephemeral| PortChoice::Unknown { ephemeral }),
    ];
    let holders = prop_oneof![
        vec(holder().prop_map(Arc::new), 1..3).prop_map(Holders::Known),
        select(&Unattributed::ALL[..]).prop_map(Holders::Unattributed),
    ];
    (
        (endpoint(), netns(), any::<u64>(), any::<u64>(), any::<u32>()),
        (any::<Option<bool>>(), any::<Option<bool>>(), any::<Option<u32>>(), holders),
        (select(&Reach::ALL[..]), choice, option::of(any::<SocketAddr>()), vec(endpoint(), 0..2)),
        option::of(moment()),
    )
        .prop_map(|((endpoint, netns, cookie, inode, uid), kernel, seen, since)| {
            let (ipv6_only, reuse_port, backlog, holders) = kernel;
            let (reach, port_choice, peer, published) = seen;
            // What an address of v6 has besides, a listing does not show.
            let peer = peer.map(|peer| SocketAddr::new(peer.ip(), peer.port()));
            Listener {
                id: SocketId { netns: netns.id, cookie, inode },
                endpoint,
                netns,
                uid,
                ipv6_only,
                reuse_port,
                backlog,
                holders,
                reach,
                port_choice,
                peer,
                published,
                since,
            }
        })
}

fn policy(host: &Host) -> Policy {
    let text = "[[approval]]\nid = \"ssh\"\nlisten = \"tcp/*:22\"\nprogram = \"/usr/sbin/sshd\"\nuser = \"root\"\n\
                hosts = \"@web\"\n\n\
                [[approval]]\nid = \"admins\"\nlisten = [\"tcp/*:80\", \"udp/*:80\"]\ngroup = \"admins\"\n\
                required = true\n\n\
                [[approval]]\nid = \"gone\"\nlisten = \"sctp/*:9\"\nnetns = \"container\"\nuser = \"root\"\nrequired = true\n";
    let baseline =
        parse(&[SourceText { path: "b.toml".into(), text: text.to_owned() }], &fixtures::everybody())
            .unwrap();
    Policy::new(Some(baseline), host.clone(), fixtures::everybody().into())
}

/// What a document is made of: a host, and all that is known of it.
fn whole(mut listeners: Vec<Listener>, gap: Option<NetNs>) -> HostInventory {
    listeners.sort_by_key(|listener| listener.id);
    listeners.dedup_by_key(|listener| listener.id);
    let mut inventory = fixtures::inventory(listeners);
    let first = inventory.coverage.gaps[0].clone();
    inventory.coverage.gaps.extend(gap.map(|netns| Gap {
        scope: Scope::Sockets,
        protocol: Some(Protocol::Sctp),
        netns: Some(netns),
        ..first
    }));
    let host = Host { name: RawText::from("web-017"), groups: ["web".to_owned(), "dmz".to_owned()].into() };
    let accounts = Accounts::default().with_user("root", 0).with_user("www-data", 33);
    HostInventory { host, inventory, accounts: accounts.with_group("admins", [0, 4242, 7]) }
}

fn write(whole: &HostInventory) -> Vec<u8> {
    let HostInventory { host, inventory, accounts } = whole;
    let assessment = assess(inventory, &policy(host), accounts, fixtures::now());
    let listed = Listed {
        inventory,
        assessment: &assessment,
        register: None,
        accounts,
        host,
        lost: None,
        filtered: false,
        command_lines: true,
    };
    serde_json::to_vec(&listeners_document(listed)).unwrap()
}

fn refusal(json: &serde_json::Value) -> String {
    read_listeners(serde_json::to_string_pretty(json).unwrap().as_bytes()).unwrap_err().to_string()
}

fn document() -> serde_json::Value {
    serde_json::from_slice(&write(&whole(fixtures::listeners(), None))).unwrap()
}

proptest! {
    #[test]
    fn what_is_read_back_is_what_was_written(listeners in vec(listener(), 0..4), gap in option::of(netns())) {
        let written = whole(listeners, gap);
        let mut read = read_listeners(&write(&written)).unwrap();
        prop_assert_eq!(&read.host, &written.host);
        // Of which namespace a gap is, its kind and name tell.
        for (read, written) in read.inventory.coverage.gaps.iter_mut().zip(&written.inventory.coverage.gaps) {
            if let (Some(read), Some(written)) = (&mut read.netns, &written.netns) {
                read.id = written.id;
            }
        }
        prop_assert_eq!(&read.inventory, &written.inventory);
        let judge = |whole: &HostInventory| {
            assess(&whole.inventory, &policy(&whole.host), &whole.accounts, fixtures::now())
        };
        prop_assert_eq!(judge(&read), judge(&written));
    }

    #[test]
    fn no_bytes_make_it_panic(at in any::<usize>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = write(&whole(fixtures::listeners(), None));
        let at = at % bytes.len();
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        if let Err(wrong) = read_listeners(&bytes) {
            prop_assert_eq!(wrong.to_string().find('\x1b'), None);
        }
    }
}

/// What the first release printed.
#[test]
fn what_earlier_releases_printed_is_read() {
    let mut json = document();
    for field in ["name", "groups", "filtered", "members", "shares", "events"] {
        json.as_object_mut().unwrap().remove(field).unwrap();
    }
    json["unheard_of"] = 7.into();
    for listener in json["listeners"].as_array_mut().unwrap() {
        for field in ["inode", "ephemeral"] {
            listener.as_object_mut().unwrap().remove(field).unwrap();
        }
        for holder in listener["holders"].as_array_mut().unwrap() {
            for field in ["start_ticks", "replaced", "parents"] {
                holder.as_object_mut().unwrap().remove(field).unwrap();
            }
        }
    }
    let read = read_listeners(json.to_string().as_bytes()).unwrap();
    assert_eq!((read.host.name.escaped().as_str(), read.host.groups.len()), ("web-1", 0));
    let choice = |port| {
        let listeners = &read.inventory.listeners;
        listeners.iter().find(|listener| listener.endpoint.port == port).unwrap().port_choice
    };
    assert_eq!(choice(22), PortChoice::Unknown { ephemeral: false });
    assert_eq!(choice(51820), PortChoice::Unknown { ephemeral: true });
    assert_eq!(read.accounts.name(0), Some("root"));
}

#[test]
fn what_is_no_inventory_is_refused_with_its_place() {
    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut json = document();
        change(&mut json);
        refusal(&json)
    };
    let told = refused(&|json| json["listeners"][0]["reach"] = "far\u{1b}".into());
    assert!(told.contains("`far\\x1b` is no reach at line "), "{told}");
    let told = refused(&|json| json["listeners"][0]["address"] = "localhost".into());
    assert!(told.contains("at line"), "{told}");
    let told = refused(&|json| json["listeners"][0]["unattributed"] = "denied".into());
    assert!(told.contains("has holders, and a reason why it has none"), "{told}");
    let told = refused(&|json| json["listeners"][1]["published"] = ["tcp/nowhere:1"].as_slice().into());
    assert!(told.contains("`tcp/nowhere:1` is no endpoint"), "{told}");
    let told = refused(&|json| json["taken_at"] = "yesterday".into());
    assert!(told.contains("`yesterday` is no time"), "{told}");
    assert_eq!(refused(&|json| json["schema"] = 2.into()), NoInventory::Schema(2).to_string());
    assert_eq!(refused(&|json| json["filtered"] = true.into()), NoInventory::Filtered.to_string());
    assert_eq!(refused(&|json| json["name"] = "".into()), NoInventory::Nameless.to_string());
    assert!(read_listeners(b"").unwrap_err().to_string().contains("line 1"));
    assert!(read_listeners(b"{\"listeners\":[[[[[[[[").is_err());
}

#[test]
fn small_values_are_bounded_by_their_number() {
    let mut bytes = b"[0".to_vec();
    bytes.extend(b",0".repeat(MAX_VALUES + 1));
    assert_eq!(read_listeners(&bytes), Err(NoInventory::TooMany));
    assert_eq!(read_listeners(&vec![b' '; MAX_INVENTORY + 1]), Err(NoInventory::TooLarge));
}
