use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;
use std::path::Path;

use baseline::{AddressWord, Listen, PortWord};
use exporter::{PastEvents, ServicePast, past_events};
use inventory::{Inventory, Listener, Protocol, quoted};
use jiff::Timestamp;
use ledger::{Act, Position, Reader, Told};
use serde_json::{Value, json};

use crate::acts::LEDGER;
use crate::owned;
use crate::page::shown;

/// How much of the log of events is read.
const BOUND: u64 = 64 << 20;
/// Older lines are counted by nobody.
pub(crate) const SHOWN: usize = 20;

/// What the logs are asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topic {
    /// Of drifts, services and approvals.
    pub(crate) ids: BTreeSet<String>,
    /// The approval that it is, where it is one.
    approval: Option<String>,
    endpoints: BTreeSet<(Protocol, IpAddr, u16)>,
    /// By name, escaped.
    netns: BTreeSet<String>,
    cookies: BTreeSet<u64>,
}

/// What the logs say of one topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Newest last.
    lines: Vec<Line>,
    /// When its sockets opened, by cookie, as far as that is logged.
    pub(crate) opened: BTreeMap<u64, String>,
}

#[derive(Clone, Debug)]
struct Line {
    /// Unreadable times are as old as can be.
    at: Timestamp,
    log: &'static str,
    record: Value,
}

impl Topic {
    pub(crate) fn of_approval(id: &str) -> Self {
        Topic { ids: BTreeSet::from([id.to_owned()]), approval: Some(id.to_owned()), ..Topic::default() }
    }

    /// A service that may be gone.
    pub(crate) fn of_past(id: &str, past: &ServicePast) -> Self {
        let mut topic = Topic::default();
        topic.ids.insert(id.to_owned());
        topic.ids.extend(past.approval.as_ref().map(|approval| approval.id.clone()));
        topic.netns.insert(past.netns.escaped());
        let addresses = match past.address {
            AddressWord::Any => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
            AddressWord::One(address) => vec![address],
        };
        if let PortWord::Number(port) = past.port {
            topic.endpoints.extend(addresses.into_iter().map(|address| (past.protocol, address, port)));
        }
        topic
    }

    pub(crate) fn listens(&mut self, listener: &Listener) {
        let endpoint = &listener.endpoint;
        self.endpoints.insert((endpoint.protocol, endpoint.canonical_address(), endpoint.port));
        self.netns.insert(listener.netns.name.escaped());
        self.cookies.extend(Some(listener.id.cookie).filter(|cookie| *cookie != 0));
    }

    pub(crate) fn all_listen(&mut self, places: &[usize], inventory: &Inventory) {
        places.iter().for_each(|place| self.listens(&inventory.listeners[*place]));
    }

    fn is_of_event(&self, event: &Value) -> bool {
        if let Some(drift) = event["drift"].as_str()
            && event["event"].as_str().is_some_and(|event| event.starts_with("drift_"))
        {
            return self.ids.contains(drift);
        }
        if event["service"].as_str().is_some_and(|service| self.ids.contains(service)) {
            return true;
        }
        let endpoint = || {
            let protocol = event["protocol"].as_str()?.parse().ok()?;
            let address: IpAddr = event["address"].as_str()?.parse().ok()?;
            Some((protocol, address.to_canonical(), u16::try_from(event["port"].as_u64()?).ok()?))
        };
        // An end does not name its namespace.
        let in_netns = event["netns"]["name"].as_str().is_none_or(|name| self.netns.contains(name));
        in_netns && endpoint().is_some_and(|endpoint| self.endpoints.contains(&endpoint))
    }

    fn is_of_act(&self, act: &Act) -> bool {
        let of_endpoint = || {
            let listens = act.endpoints.iter().filter_map(|listen| listen.parse::<Listen>().ok());
            let mut listens = listens.filter(|_| self.approval.is_none());
            listens.any(|listen| {
                self.endpoints
                    .iter()
                    .any(|(protocol, address, port)| listen.names(*protocol, *address, *port))
            })
        };
        let of = |id: &Option<String>| id.as_ref().is_some_and(|id| self.ids.contains(id));
        of(&act.approval) || of(&act.drift) || of_endpoint()
    }
}

/// What the logs in the state folder say of each of these topics, in their order, at most so much of one, and why they do
/// not say more.
pub(crate) fn read(state: &Path, topics: &[Topic], most: usize) -> (Vec<History>, Vec<String>) {
    let mut histories = vec![History::default(); topics.len()];
    let mut unread = Vec::new();
    read_events(state, topics, &mut histories, &mut unread, most);
    histories.iter_mut().for_each(|history| history.lines.reverse());
    read_ledger(state, topics, &mut histories, &mut unread, most);
    for history in &mut histories {
        history.lines.sort_by_key(|line| line.at);
        let too_many = history.lines.len().saturating_sub(most);
        history.lines.drain(..too_many);
    }
    (histories, unread)
}

fn read_events(
    state: &Path,
    topics: &[Topic],
    histories: &mut [History],
    unread: &mut Vec<String>,
    most: usize,
) {
    let mut damaged = 0_u64;
    let read = past_events(state, BOUND, |line| {
        let Ok(event) = serde_json::from_slice::<Value>(line) else {
            damaged += 1;
            return ControlFlow::Continue(());
        };
        let mut enough = true;
        for (topic, history) in topics.iter().zip(&mut *histories) {
            if topic.is_of_event(&event) {
                history.take_event(topic, &event, most);
            }
            enough &= history.lines.len() >= most && history.opened.len() >= topic.cookies.len();
        }
        if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match read {
        Ok(PastEvents::Read) => {}
        Ok(PastEvents::NoLog) => unread.push(format!(
            "{}: no events.jsonl: `portledger serve` keeps it, and has not run with this state folder",
            state.display()
        )),
        Ok(PastEvents::TooMuch) => {
            unread.push(format!("events.jsonl: what is before its last {} MiB was not read", BOUND >> 20));
        }
        Err(error) => unread.push(format!("events: {error}")),
    }
    if damaged > 0 {
        unread.push(format!("events.jsonl: {damaged} lines are no JSON and were left out"));
    }
}

/// All of it: acts are few, and who reads a part cannot tell whether it hangs together.
fn read_ledger(
    state: &Path,
    topics: &[Topic],
    histories: &mut [History],
    unread: &mut Vec<String>,
    most: usize,
) {
    if let Err(error) = owned::check_ledger(state) {
        unread.push(format!("ledger: {error:#}"));
        return;
    }
    let mut reader = Reader::new(state, LEDGER, Position::default());
    let mut of_topics = vec![VecDeque::new(); topics.len()];
    loop {
        match reader.read() {
            Ok(None) => break,
            Ok(Some(Told::Missed { from, to })) => {
                unread.push(format!("ledger: records {from} to {to} are gone, with their segments"));
            }
            Ok(Some(Told::Line(line))) => {
                let Ok(act) = serde_json::from_slice::<Act>(&line.body) else {
                    unread.push(format!("ledger: record {} is no act that this release knows", line.record));
                    continue;
                };
                for (topic, lines) in topics.iter().zip(&mut of_topics) {
                    if topic.is_of_act(&act)
                        && let Ok(record) = serde_json::from_slice(&line.whole)
                    {
                        lines.push_back(Line::of("ledger", record));
                        if lines.len() > most {
                            lines.pop_front();
                        }
                    }
                }
            }
            Err(error) => {
                unread.push(format!("ledger: {error}"));
                break;
            }
        }
    }
    for (history, lines) in histories.iter_mut().zip(of_topics) {
        history.lines.extend(lines);
    }
}

impl History {
    fn take_event(&mut self, topic: &Topic, event: &Value, most: usize) {
        if event["event"] == "open"
            && let (Some(cookie), Some(time)) = (event["cookie"].as_u64(), event["time"].as_str())
            && topic.cookies.contains(&cookie)
        {
            self.opened.entry(cookie).or_insert_with(|| time.to_owned());
        }
        if self.lines.len() < most {
            self.lines.push(Line::of("events", event.clone()));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// A line each, for people.
    pub(crate) fn told(&self) -> impl Iterator<Item = String> {
        self.lines.iter().map(Line::told)
    }

    /// The records as they are logged, each with the log that it stands in.
    pub(crate) fn document(&self) -> Value {
        self.lines.iter().map(|line| json!({ "log": line.log, "record": line.record })).collect()
    }
}

impl Line {
    fn of(log: &'static str, record: Value) -> Self {
        let at = record["time"].as_str().and_then(|time| time.parse().ok());
        Line { at: at.unwrap_or(Timestamp::MIN), log, record }
    }

    fn told(&self) -> String {
        let what = if self.log == "ledger" { act(&self.record) } else { event(&self.record) };
        let is_known = self.at != Timestamp::MIN;
        let time = if is_known { format!("{:.0}", self.at) } else { "at no known time".to_owned() };
        format!("{time} {what}")
    }
}

fn event(record: &Value) -> String {
    let text = |key: &str| record[key].as_str().map(shown);
    let event = text("event").unwrap_or_default();
    match event.as_str() {
        "open" => {
            let holders = record["holders"].as_array().into_iter().flatten().take(3).map(|holder| {
                let name = holder["name"].as_str().map(|name| quoted(&shown(name))).unwrap_or_default();
                format!("{name}[{}]", holder["pid"].as_u64().unwrap_or_default())
            });
            let holders: Vec<String> = holders.collect();
            let by = if holders.is_empty() { "nobody that was seen".to_owned() } else { holders.join(", ") };
            format!("opened {} by {by}: {}", endpoint(record), text("verdict").unwrap_or_default())
        }
        "close" => {
            let lived = record["lived"].as_f64().map(|lived| format!(" after {lived:.1} s"));
            format!("closed {}{}", endpoint(record), lived.unwrap_or_default())
        }
        _ => {
            let why = text("why").map(|why| format!(": {why}")).unwrap_or_default();
            let (kind, severity) = (text("kind").unwrap_or_default(), text("severity").unwrap_or_default());
            format!("{} ({kind}, {severity}){why}", event.replace('_', " "))
        }
    }
}

fn endpoint(record: &Value) -> String {
    let address = record["address"].as_str().map(shown).unwrap_or_default();
    let address = if address.contains(':') { format!("[{address}]") } else { address };
    format!("{address}:{}", record["port"].as_u64().unwrap_or_default())
}

fn act(record: &Value) -> String {
    let text = |key: &str| record[key].as_str().map(shown);
    let who = &record["who"];
    let by = who["principal"].as_str().or(who["user"].as_str()).map(shown).unwrap_or_default();
    let signed = if who["key"].is_string() { ", signed" } else { "" };
    let of = text("approval")
        .map(|id| format!(" approval {id}"))
        .or_else(|| text("drift").map(|id| format!(" {id}")));
    let reason = text("reason").map(|reason| format!(": {reason}")).unwrap_or_default();
    let ticket = text("ticket").map(|ticket| format!(" ({ticket})")).unwrap_or_default();
    let act = text("act").unwrap_or_default();
    format!("{act}{} by {by}{signed}{reason}{ticket}", of.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> Topic {
        Topic {
            ids: BTreeSet::from(["s1-0".to_owned(), "web".to_owned()]),
            endpoints: BTreeSet::from([(Protocol::Tcp, IpAddr::from([0, 0, 0, 0]), 80)]),
            netns: BTreeSet::from(["host".to_owned()]),
            ..Topic::default()
        }
    }

    #[test]
    fn events_of_the_endpoint_and_turns_of_the_drift_are_about_it() {
        let open = |address: &str, port: u16, netns: &str| {
            json!({"event": "open", "protocol": "tcp", "address": address, "port": port,
                   "netns": {"name": netns}, "drift": "s1-0"})
        };
        let drift = |id: &str| json!({"event": "drift_opened", "drift": id});
        for (event, is) in [
            (open("0.0.0.0", 80, "host"), true),
            (open("::ffff:0.0.0.0", 80, "host"), true),
            (open("127.0.0.1", 80, "host"), false),
            (open("0.0.0.0", 81, "host"), false),
            (open("0.0.0.0", 80, "blue"), false),
            (json!({"event": "close", "protocol": "tcp", "address": "0.0.0.0", "port": 80}), true),
            (json!({"event": "close", "protocol": "tcp", "address": "0.0.0.0", "port": 65616}), false),
            (drift("s1-0"), true),
            (drift("web"), true),
            (drift("s1-1"), false),
            (json!({"event": "reload"}), false),
            (json!([1]), false),
        ] {
            assert_eq!(topic().is_of_event(&event), is, "{event}");
        }
    }

    #[test]
    fn unreadable_logs_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let (_, unread) = read(folder.path(), &[topic()], SHOWN);
        assert!(unread.len() == 1 && unread[0].contains("no events.jsonl"), "{unread:?}");
        std::fs::write(folder.path().join("events.jsonl"), "{\n{}\n").unwrap();
        std::fs::write(folder.path().join("ledger.jsonl"), "nonsense\n").unwrap();
        let (histories, unread) = read(folder.path(), &[topic()], SHOWN);
        assert!(histories[0].is_empty());
        assert!(unread[0].contains("1 lines are no JSON") && unread[1].contains("ledger"), "{unread:?}");
    }

    #[test]
    fn the_last_twenty_are_told_newest_last() {
        let folder = tempfile::tempdir().unwrap();
        let line = |second: u32| {
            format!(
                "{{\"time\":\"2026-11-21T09:00:{second:02}.000Z\",\"event\":\"drift_opened\",\"drift\":\"web\"}}\n"
            )
        };
        let text: String = (0..30).map(line).collect();
        std::fs::write(folder.path().join("events.jsonl"), text).unwrap();
        let (histories, _) = read(folder.path(), &[topic()], SHOWN);
        let told: Vec<String> = histories[0].told().collect();
        assert_eq!(told.len(), 20);
        assert!(
            told[0].starts_with("2026-11-21T09:00:10Z") && told[19].starts_with("2026-11-21T09:00:29Z"),
            "{told:?}"
        );
    }

    #[test]
    fn a_log_that_lies_obeys_nothing() {
        let record = json!({"event": "close\u{1b}[2J", "kind": "a\nb", "severity": "info"});
        let told = Line::of("events", record).told();
        assert!(!told.contains(['\u{1b}', '\n']), "{told:?}");
    }
}
