use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use baseline::SourceText;
use exporter::BaselineSet;
use inventory::frame::{Closing, Message, encode, messages_of_events, messages_of_inventory};
use inventory::{
    Coverage, Endpoint, Event, EventSource, Holder, Holders, Inventory, Listener, NetNs, NetNsId, PortChoice,
    ProcessId, Program, ProgramFile, Protocol, RawText, Reach, Share, Shares, SocketId, Workload,
};
use rustix::net::{SendFlags, send};
use rustix::process::Signal;

use super::serving::{ask, choose_port};
use super::signals::Serving;

/// A sensor with what it has told.
struct Telling {
    serving: Serving,
    port: u16,
    listeners: Vec<Listener>,
}

impl Telling {
    /// Tells of this many listeners, and waits until they are served.
    fn start(state: &Path, listeners: u16) -> Self {
        Telling::start_as("serve", state, listeners)
    }

    fn start_as(role: &str, state: &Path, listeners: u16) -> Self {
        let port = choose_port();
        let serving = Serving::start_as(role, state, port);
        let telling = Telling { serving, port, listeners: (1..=listeners).map(listener).collect() };
        telling.send(messages_of_inventory(&telling.inventory(), Closing::default()));
        telling.wait_for("portledger_event_source{source=\"bpf\"} 1");
        telling
    }

    fn inventory(&self) -> Inventory {
        let all = Share { seen: 1, of: 1 };
        let shares = Shares { sockets: all, holders: all, namespaces: all, addresses: all, events: all };
        let coverage = Coverage { gaps: Vec::new(), shares, events: EventSource::Bpf };
        let (host, taken_at) = (RawText::from("web-1"), SystemTime::now());
        let listeners = self.listeners.iter().cloned().map(Arc::new).collect();
        Inventory { host, taken_at, listeners, coverage }
    }

    fn send(&self, messages: impl Iterator<Item = Message>) {
        let sensor = self.serving.sensor.as_ref().unwrap();
        for message in messages {
            send(sensor, &encode(&message).unwrap(), SendFlags::empty()).unwrap();
        }
    }

    fn tell(&self, events: &[Event]) {
        self.send(messages_of_events(events, &self.inventory(), Closing::default()));
    }

    /// The whole scrape in which this line stands.
    fn wait_for(&self, line: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let metrics = ask(self.port, "/metrics");
            if metrics.lines().any(|told| told == line) {
                return metrics;
            }
            assert!(Instant::now() < deadline, "`{line}` is not in\n{metrics}");
        }
    }
}

fn listener(number: u16) -> Listener {
    let path = RawText::from(format!("/opt/app{number}").as_str());
    let netns = NetNsId::Cookie(1);
    let holder = Holder {
        id: ProcessId { pid: u32::from(number), start_ticks: 7 },
        started_at: SystemTime::UNIX_EPOCH,
        program: Some(Program { path: path.clone(), file: ProgramFile::Host, sha256: Some([7; 32]) }),
        name: RawText::from("app"),
        arguments: vec![path],
        uid: 0,
        workload: Workload::None,
        parents: Vec::new(),
    };
    Listener {
        id: SocketId { netns, cookie: number.into(), inode: number.into() },
        endpoint: Endpoint {
            protocol: Protocol::Tcp,
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port: number,
            device: None,
        },
        netns: NetNs::host(netns),
        uid: 0,
        ipv6_only: None,
        reuse_port: Some(false),
        backlog: Some(128),
        holders: Holders::Known(vec![Arc::new(holder)]),
        reach: Reach::Private,
        port_choice: PortChoice::Explicit,
        peer: None,
        published: Vec::new(),
        since: Some(SystemTime::now()),
    }
}

fn lived_shortly(number: u16) -> [Event; 2] {
    let listener = listener(number);
    let id = listener.id;
    [Event::Opened(listener), Event::Closed(id, SystemTime::now())]
}

fn log_of(state: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(state.join("events.jsonl")).unwrap_or_default();
    // The last line may be on its way.
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// One after the other and many at once.
pub(crate) fn tells_what_lived_a_moment() {
    const COUNT: u16 = 3_000;
    let state = tempfile::tempdir().unwrap();
    let telling = Telling::start(state.path(), 3);
    for number in 1_001..=2_000 {
        telling.tell(&lived_shortly(number));
    }
    let many: Vec<Event> = (2_001..=4_000).flat_map(lived_shortly).collect();
    telling.tell(&many);
    let metrics = telling.wait_for(&format!("portledger_opened_total{{protocol=\"tcp\"}} {COUNT}"));
    for line in [
        format!("portledger_closed_total{{protocol=\"tcp\"}} {COUNT}"),
        // Those that are there, too.
        format!("portledger_drift{{kind=\"unapproved\",severity=\"info\"}} {}", COUNT + 3),
        format!("portledger_drift_events_total{{kind=\"unapproved\",severity=\"info\"}} {}", COUNT + 3),
        "portledger_events_unlogged_total 0".to_owned(),
    ] {
        assert!(metrics.lines().any(|told| told == line), "`{line}` is not in\n{metrics}");
    }
    telling.serving.send(Signal::TERM);
    assert_eq!(telling.serving.exit_code(), Some(0));
    let log = log_of(state.path());
    for event in ["open", "close"] {
        let mut cookies: Vec<_> =
            log.iter().filter(|line| line["event"] == event).map(|line| line["cookie"].as_u64()).collect();
        cookies.sort_unstable();
        assert!(cookies.into_iter().eq((1_001..=4_000).map(Some)), "{event}");
    }
    let gone = log.iter().filter(|line| line["event"] == "drift_gone").count();
    assert_eq!(gone, usize::from(COUNT));
    let kept = exporter::open_drifts(state.path()).unwrap().unwrap();
    assert_eq!(kept.len(), usize::from(COUNT) + 3, "it outlives the end");
}

/// Without a moment to write anything down at the end.
pub(crate) fn keeps_what_was_told_a_second_before_a_kill() {
    let state = tempfile::tempdir().unwrap();
    let telling = Telling::start(state.path(), 0);
    telling.tell(&lived_shortly(4_444));
    telling.wait_for("portledger_opened_total{protocol=\"tcp\"} 1");
    let deadline = Instant::now() + Duration::from_secs(20);
    while exporter::open_drifts(state.path()).unwrap().is_none_or(|kept| kept.is_empty())
        || log_of(state.path()).len() < 4
    {
        assert!(Instant::now() < deadline, "{:?}", log_of(state.path()));
        std::thread::sleep(Duration::from_millis(10));
    }
    telling.serving.send(Signal::KILL);
    assert_eq!(telling.serving.exit_code(), None);
    std::fs::remove_file(state.path().join("serve.pid")).unwrap();
    let telling = Telling::start(state.path(), 0);
    telling.wait_for("portledger_drift{kind=\"unapproved\",severity=\"info\"} 1");
    telling.serving.send(Signal::TERM);
    assert_eq!(telling.serving.exit_code(), Some(0));
}

/// Only where it is asked for by name: `cargo test --release -p exporter --test process measures`.
pub(crate) fn measures() {
    for role in ["serve_approved", "serve"] {
        println!("{role}, {LISTENERS} listeners");
        measure(role);
    }
}

const LISTENERS: u16 = 2_000;

/// Each of them.
pub(crate) fn approved() -> BaselineSet {
    let approval = |number: u16| {
        format!(
            "[[approval]]\nid = \"app{number}\"\nlisten = \"tcp/*:{number}\"\nprogram = \"/opt/app{number}\"\n"
        )
    };
    let text = (1..=LISTENERS).map(approval).collect();
    let texts = vec![SourceText { path: "/etc/portledger/baseline.toml".into(), text }];
    let trust = baseline::Trust::in_everybody(jiff::tz::TimeZone::UTC);
    let baseline = baseline::parse(&texts, &trust).unwrap();
    BaselineSet { texts, baseline, git: None }
}

fn measure(role: &str) {
    let state = tempfile::tempdir().unwrap();
    let mut telling = Telling::start_as(role, state.path(), LISTENERS);
    println!("at the start: {}", telling.serving.resident());
    let (mut told, mut scraped) = (Vec::new(), Vec::new());
    for round in 0..200_u16 {
        let new = listener(LISTENERS + 1 + round);
        telling.listeners.push(new.clone());
        let began = Instant::now();
        telling.tell(&[Event::Opened(new)]);
        telling.wait_for(&format!("portledger_opened_total{{protocol=\"tcp\"}} {}", round + 1));
        told.push(began.elapsed());
    }
    show("from telling to being read", told);
    let rest = Duration::from_secs(std::env::var("REST").map_or(60, |rest| rest.parse().unwrap()));
    std::thread::sleep(rest);
    println!("{rest:?} later: {}", telling.serving.resident());
    let inventory = telling.inventory();
    let frames: Vec<Vec<u8>> = (0..20_000_u16)
        .flat_map(|round| {
            let events = lived_shortly(10_000 + round % 10_000);
            messages_of_events(&events, &inventory, Closing::default()).collect::<Vec<_>>()
        })
        .map(|message| encode(&message).unwrap())
        .collect();
    std::thread::scope(|scope| {
        let pours = scope.spawn(|| {
            let sensor = telling.serving.sensor.as_ref().unwrap();
            let began = Instant::now();
            for frame in &frames {
                send(sensor, frame, SendFlags::empty()).unwrap();
            }
            began.elapsed()
        });
        while !pours.is_finished() {
            let began = Instant::now();
            ask(telling.port, "/metrics");
            scraped.push(began.elapsed());
        }
        println!("20,000 opens and closes were taken in {:?}", pours.join().unwrap());
    });
    show("a scrape while events pour in", scraped);
    let metrics = telling.wait_for("portledger_opened_total{protocol=\"tcp\"} 20200");
    println!("after the storm: {}", telling.serving.resident());
    println!(
        "{}",
        metrics.lines().find(|line| line.starts_with("portledger_events_unlogged_total ")).unwrap()
    );
    telling.serving.send(Signal::TERM);
    assert_eq!(telling.serving.exit_code(), Some(0));
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!("{what}: p50 {:?}, p99 {:?}, most {:?} of {}", at(50), at(99), at(100), times.len());
}
