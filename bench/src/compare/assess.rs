use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::anyhow;
use baseline::{Accounts, Before, Host, Policy, SourceText, Trust, Verdict, assess, parse, reassess};
use inventory::{
    Coverage, Endpoint, EventSource, Holder, Holders, Inventory, Listener, NetNs, NetNsId, NetNsKind,
    PortChoice, ProcessId, Program, ProgramFile, Protocol, RawText, Reach, Share, Shares, SocketId, Workload,
};

use crate::Arguments;
use crate::machine;

/// How listeners and approvals are spread.
#[derive(Clone, Copy)]
enum Shape {
    Ports,
    Addresses,
    Ranges,
    Namespaces,
}

const SHAPES: [(&str, Shape); 4] = [
    ("a port each", Shape::Ports),
    ("100 ports on as many addresses as it takes", Shape::Addresses),
    ("a range of 5 ports each", Shape::Ranges),
    ("one port in a namespace each", Shape::Namespaces),
];

/// Holds many listeners against as many approvals, each of which covers one.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    machine::print()?;
    let rounds = arguments.rounds(11);
    for (name, shape) in SHAPES {
        println!("{name}");
        for count in [1_000, 10_000, 100_000] {
            if count > 13_000 && matches!(shape, Shape::Ports | Shape::Ranges) {
                continue;
            }
            measure(shape, count, rounds)?;
        }
    }
    Ok(())
}

fn measure(shape: Shape, count: u32, rounds: u32) -> anyhow::Result<()> {
    let trust = Arc::new(Trust::in_everybody(jiff::tz::TimeZone::UTC));
    let text: String = (0..count).map(|number| approval(shape, number)).collect();
    let texts = [SourceText { path: "baseline.toml".into(), text }];
    let baseline = parse(&texts, &trust).map_err(|wrong| anyhow!("{}", wrong[0]))?;
    let policy = Policy::new(Some(baseline), Host::default(), trust);
    let accounts = Accounts::default().with_user("app", 1000);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_251_600);
    let mut inventory = inventory(shape, count, now);
    let assessment = assess(&inventory, &policy, &accounts, now);
    let approved = |verdict: &Verdict| matches!(verdict, Verdict::Approved(_));
    let covered = assessment.services.iter().filter(|judged| approved(&judged.verdict)).count();
    anyhow::ensure!(covered == assessment.services.len(), "{covered} of {count} are covered");
    let whole = median(rounds, || assess(&inventory, &policy, &accounts, now));
    let before = inventory.clone();
    let place = inventory.listeners.len() / 2;
    Arc::make_mut(&mut inventory.listeners[place]).backlog = Some(1);
    let known = Before { inventory: &before, assessment: &assessment, accounts: &accounts };
    let one = median(rounds, || reassess(known, &inventory, &policy, &accounts, now));
    println!(
        "  {count:>7} listeners, {count:>7} approvals: {whole:>8.2} ms, with one that changed {one:>7.2} ms ({:.3} of it)",
        one / whole
    );
    Ok(())
}

/// In milliseconds.
fn median<T>(rounds: u32, work: impl Fn() -> T) -> f64 {
    let mut took: Vec<f64> = (0..rounds)
        .map(|_| {
            let began = Instant::now();
            let done = work();
            let took = began.elapsed();
            drop(done);
            took.as_secs_f64() * 1e3
        })
        .collect();
    took.sort_by(f64::total_cmp);
    took[took.len() / 2]
}

fn approval(shape: Shape, number: u32) -> String {
    let Place { address, port, netns } = Place::of(shape, number);
    let (port, netns) = match shape {
        Shape::Ranges => (format!("{port}-{}", port + 4), String::new()),
        Shape::Namespaces => (port.to_string(), format!("netns = \"{netns}\"\n")),
        _ => (port.to_string(), String::new()),
    };
    let address = if address.is_unspecified() { "*".to_owned() } else { address.to_string() };
    format!(
        "[[approval]]\nid = \"app-{number}\"\nlisten = \"tcp/{address}:{port}\"\nprogram = \"/opt/app{number}/bin/app\"\n\
         unit = \"app{number}.service\"\nuser = \"app\"\nreach = \"public\"\n{netns}"
    )
}

/// Where a listener is bound.
struct Place {
    address: IpAddr,
    port: u16,
    netns: String,
}

impl Place {
    fn of(shape: Shape, number: u32) -> Self {
        let low = |number: u32| u16::try_from(number % 65_536).unwrap_or_default();
        let (address, port) = match shape {
            Shape::Ports => (Ipv4Addr::UNSPECIFIED, low(1 + number)),
            Shape::Ranges => (Ipv4Addr::UNSPECIFIED, low(1 + number * 5)),
            Shape::Namespaces => (Ipv4Addr::UNSPECIFIED, 80),
            Shape::Addresses => (Ipv4Addr::from(0x0a00_0001 + number / 100), low(8_000 + number % 100)),
        };
        Place { address: address.into(), port, netns: format!("ns{number}") }
    }
}

fn inventory(shape: Shape, count: u32, now: SystemTime) -> Inventory {
    let all = Share { seen: 1, of: 1 };
    let shares = Shares { sockets: all, holders: all, namespaces: all, addresses: all, events: all };
    let coverage = Coverage { gaps: Vec::new(), shares, events: EventSource::Bpf };
    let listeners = (0..count).map(|number| Arc::new(listener(shape, number, now))).collect();
    Inventory { host: RawText::from("web"), taken_at: now, listeners, coverage }
}

fn listener(shape: Shape, number: u32, now: SystemTime) -> Listener {
    let Place { address, port, netns } = Place::of(shape, number);
    let id = match shape {
        Shape::Namespaces => NetNsId::Cookie(u64::from(number) + 2),
        _ => NetNsId::Cookie(1),
    };
    let of_host = NetNs::host(id);
    let netns = match shape {
        Shape::Namespaces => NetNs { kind: NetNsKind::Named, name: RawText::from(netns.as_str()), ..of_host },
        _ => of_host,
    };
    let path = RawText::from(format!("/opt/app{number}/bin/app").as_str());
    let holder = Holder {
        id: ProcessId { pid: number + 1, start_ticks: 7 },
        started_at: now,
        program: Some(Program { path: path.clone(), file: ProgramFile::Host, sha256: None }),
        name: RawText::from("app"),
        arguments: vec![path],
        uid: 1000,
        workload: Workload::Unit(RawText::from(format!("app{number}.service").as_str())),
        parents: Vec::new(),
    };
    Listener {
        id: SocketId { netns: id, cookie: u64::from(number) + 1, inode: u64::from(number) + 1 },
        endpoint: Endpoint { protocol: Protocol::Tcp, address, port, device: None },
        netns,
        uid: 1000,
        ipv6_only: None,
        reuse_port: Some(false),
        backlog: Some(128),
        holders: Holders::Known(vec![Arc::new(holder)]),
        reach: Reach::Private,
        port_choice: PortChoice::Explicit,
        peer: None,
        published: Vec::new(),
        since: Some(now),
    }
}
