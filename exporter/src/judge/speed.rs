//! What a batch of events costs: `cargo test --release -p exporter -- --ignored --nocapture speed`.

use std::path::Path;

use baseline::{SourceText, parse};
use inventory::frame::{Closing, messages_of_events, messages_of_inventory};
use inventory::{Event, Holders, Listener, ProcessId, Protocol};

use super::*;
use crate::fixtures::{self, now};
use crate::metrics::Metrics;
use crate::rules::tests::{no_baseline, rules};
use crate::{BaselineSet, LoadOutcome};

const LISTENERS: u16 = 2_000;
const ROUNDS: usize = 500;

fn listener(number: u16) -> Listener {
    let program = format!("/opt/app{}", number % 500);
    let mut holder = inventory::Holder::clone(&fixtures::holder(program.as_bytes()));
    holder.id = ProcessId { pid: u32::from(number), start_ticks: 7 };
    let address = std::net::Ipv4Addr::UNSPECIFIED;
    let holders = Holders::Known(vec![holder.into()]);
    fixtures::listener(u64::from(number), Protocol::Tcp, address, 1_000 + number, holders)
}

/// An approval for each program, with four ports.
fn approved() -> LoadOutcome {
    let mut text = String::new();
    for app in 0..500 {
        let ports: Vec<String> =
            (0..4).map(|turn| format!("\"tcp/*:{}\"", 1_000 + app + turn * 500)).collect();
        let listen = ports.join(", ");
        text +=
            &format!("[[approval]]\nid = \"app{app}\"\nlisten = [{listen}]\nprogram = \"/opt/app{app}\"\n");
    }
    let texts = vec![SourceText { path: "/etc/portledger/baseline.toml".into(), text }];
    let baseline = parse(&texts, &fixtures::everybody()).unwrap();
    LoadOutcome {
        policy: no_baseline().policy,
        baseline: Ok(Some(BaselineSet { texts, baseline, git: None })),
    }
}

fn frames(messages: impl Iterator<Item = inventory::frame::Message>) -> Vec<Vec<u8>> {
    messages.map(|message| inventory::frame::encode(&message).unwrap()).collect()
}

fn hear(judge: &mut Judge, frames: &[Vec<u8>]) -> Duration {
    let began = Instant::now();
    frames.iter().for_each(|frame| judge.take(frame, SystemTime::now()));
    judge.catch_up(SystemTime::now());
    began.elapsed()
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_micros();
    println!("{what}: p50 {} µs, p99 {} µs, most {} µs", at(50), at(99), at(100));
}

fn measure(what: &str, folder: &Path, load: impl FnMut() -> LoadOutcome + Send + 'static) {
    let (mut judge, snapshots) = Judge::new(rules(folder, load), folder.to_owned(), String::new()).unwrap();
    let inventory = fixtures::inventory((1..=LISTENERS).map(listener).collect());
    let look = frames(messages_of_inventory(&inventory, Closing::default()));
    println!("{what}, {LISTENERS} listeners: first look {} µs", hear(&mut judge, &look).as_micros());
    let stranger = listener(LISTENERS + 1);
    let opened = fixtures::inventory((1..=LISTENERS + 1).map(listener).collect());
    let open = [Event::Opened(stranger.clone())];
    let close = [Event::Closed(stranger.id, now())];
    let both = [open[0].clone(), close[0].clone()];
    let open = frames(messages_of_events(&open, &opened, Closing::default()));
    let close = frames(messages_of_events(&close, &inventory, Closing::default()));
    let both = frames(messages_of_events(&both, &inventory, Closing::default()));
    let nothing = frames(messages_of_events(&[], &inventory, Closing::default()));
    let metrics = Metrics::new(snapshots, false, SystemTime::now).unwrap();
    let mut times: [Vec<Duration>; 6] = Default::default();
    for _ in 0..ROUNDS {
        times[0].push(hear(&mut judge, &open));
        times[1].push(hear(&mut judge, &close));
        times[2].push(hear(&mut judge, &both));
        times[3].push(hear(&mut judge, &nothing));
        times[4].push(hear(&mut judge, &look));
        let began = Instant::now();
        metrics.render().unwrap();
        times[5].push(began.elapsed());
    }
    let names = ["an open", "a close", "both at once", "a sign of life", "a look", "a scrape"];
    for (name, times) in names.into_iter().zip(times) {
        show(&format!("  {name}"), times);
    }
    let storm: Vec<Vec<u8>> = (0..50_000_u64)
        .flat_map(|round| {
            let mut shortly = listener(u16::try_from(3_000 + round % 20_000).unwrap());
            shortly.id.cookie = 100_000 + round;
            let events = [Event::Opened(shortly.clone()), Event::Closed(shortly.id, now())];
            frames(messages_of_events(&events, &inventory, Closing::default()))
        })
        .collect();
    let began = Instant::now();
    let mut gathered = Instant::now();
    let mut judged = 0;
    for frame in &storm {
        judge.take(frame, SystemTime::now());
        if gathered.elapsed() >= GATHER || judge.news.happened.len() >= MAX_GATHERED {
            judge.catch_up(SystemTime::now());
            gathered = Instant::now();
            judged += 1;
        }
    }
    judge.catch_up(SystemTime::now());
    println!("  50,000 opens and closes: {} ms, {judged} judgements", began.elapsed().as_millis());
}

#[test]
#[ignore = "measures"]
fn speed() {
    for (what, load) in [("approved", approved as fn() -> LoadOutcome), ("observed", no_baseline)] {
        let folder = tempfile::tempdir().unwrap();
        measure(what, folder.path(), load);
    }
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let is_it = |line: &&str| line.starts_with("VmRSS") || line.starts_with("VmHWM");
    status.lines().filter(is_it).collect::<Vec<_>>().join(" ")
}

/// As many drifts as can be open, each told by itself: `cargo test --release -p exporter -- --ignored --nocapture memory`.
#[test]
#[ignore = "measures"]
fn memory() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules(folder.path(), crate::rules::tests::good_baseline);
    let (mut judge, snapshots) = Judge::new(rules, folder.path().to_owned(), String::new()).unwrap();
    let nothing = fixtures::inventory(Vec::new());
    hear(&mut judge, &frames(messages_of_inventory(&nothing, Closing::default())));
    let holder = fixtures::holder(b"/tmp/bench/target/release/compare");
    let listener = |place: u32| {
        let [_, _, high, low] = (place / 20 + 1).to_be_bytes();
        let address = std::net::Ipv4Addr::new(10, 77, high, low);
        let port = 11_000 + u16::try_from(place % 20).unwrap();
        let holders = Holders::Known(vec![holder.clone()]);
        fixtures::listener(u64::from(place) + 1, Protocol::Tcp, address, port, holders)
    };
    println!("before: {}", resident());
    for some in (0..10_000).step_by(500) {
        let opened: Vec<Event> = (some..some + 500).map(|place| Event::Opened(listener(place))).collect();
        let all = fixtures::inventory((0..some + 500).map(listener).collect());
        let told = frames(messages_of_events(&opened, &all, Closing::default()));
        drop((opened, all));
        hear(&mut judge, &told);
    }
    println!("judged: {}, {} drifts", resident(), snapshots.borrow().register.len());
    std::thread::sleep(Duration::from_secs(8));
    println!("written down: {}", resident());
}

/// What a crowd costs where as many drifts as can be open are: `cargo test --release -p exporter -- --ignored --nocapture
/// storm`.
#[test]
#[ignore = "measures"]
fn storm() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules(folder.path(), crate::rules::tests::good_baseline);
    let (mut judge, snapshots) = Judge::new(rules, folder.path().to_owned(), String::new()).unwrap();
    let there = fixtures::inventory((1..=50).map(listener).collect());
    hear(&mut judge, &frames(messages_of_inventory(&there, Closing::default())));
    let mut cookie = 100_000;
    let mut come_and_go = |judge: &mut Judge, listeners: &mut dyn Iterator<Item = Listener>| {
        let events = listeners.flat_map(|mut shortly| {
            cookie += 1;
            shortly.id.cookie = cookie;
            [Event::Opened(shortly.clone()), Event::Closed(shortly.id, now())]
        });
        let told = frames(messages_of_events(&events.collect::<Vec<_>>(), &there, Closing::default()));
        hear(judge, &told)
    };
    let by = |program: String, port: u16| {
        let holders = Holders::Known(vec![fixtures::holder(program.as_bytes())]);
        fixtures::listener(1, Protocol::Tcp, std::net::Ipv4Addr::LOCALHOST, port, holders)
    };
    for some in (0..10_000_u16).step_by(500) {
        come_and_go(&mut judge, &mut (some..some + 500).map(|place| by(format!("/opt/once{place}"), 7_000)));
    }
    println!("{} drifts", snapshots.borrow().register.len());
    for many in [1_u16, 75, 750, 4_000] {
        let mut times = Vec::new();
        for round in 0..60 {
            let mut crowd = (0..many)
                .map(|place| by("/opt/crowd".to_owned(), 10_000 + (place + round * many) % 30_000))
                .chain((round % 3 == 0).then(|| by(format!("/opt/{many}-{round}"), 7_000)));
            times.push(come_and_go(&mut judge, &mut crowd));
        }
        show(&format!("{many} that come and go"), times);
    }
}
