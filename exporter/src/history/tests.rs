use std::net::Ipv4Addr;

use baseline::{AddressWord, Assessment, Host, Policy, PortWord, SourceText, assess, parse};
use inventory::{Holder, Holders, Listener, Protocol, RawText};
use proptest::prelude::*;

use super::*;
use crate::fixtures;

const DAY: i64 = 86_400;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_251_600 + second).unwrap()
}

/// On a port of its own, held by `/opt/PORT` as this uid.
fn listener(port: u16, uid: u32) -> Listener {
    let mut holder = Holder::clone(&fixtures::holder(format!("/opt/{port}").as_bytes()));
    holder.uid = uid;
    let holders = Holders::Known(vec![holder.into()]);
    fixtures::listener(u64::from(port), Protocol::Tcp, Ipv4Addr::UNSPECIFIED, port, holders)
}

fn judged(baseline: &str, listeners: Vec<Listener>) -> Assessment {
    let source = SourceText { path: "b.toml".into(), text: baseline.to_owned() };
    let baseline = parse(&[source], &fixtures::everybody()).unwrap();
    let host = Host { name: RawText::from("web-1"), groups: Default::default() };
    let policy = Policy::new(Some(baseline), host, fixtures::everybody().into());
    let accounts = baseline::Accounts::default().with_user("root", 0).with_user("eve", 1000);
    assess(&fixtures::inventory(listeners), &policy, &accounts, fixtures::now())
}

const WEB: &str = "[[approval]]\nid = \"web\"\nlisten = \"tcp/*:80\"\nprogram = \"/opt/80\"\nreach = \"public\"\nby = \"alice\"\n";

fn line<'a>(past: &'a Past, judged: &Judged) -> &'a ServicePast {
    &past.services[judged.service.id.as_str()]
}

#[test]
fn a_service_is_remembered_from_its_first_to_its_last_day() {
    let (covered, bare) = (judged(WEB, vec![listener(80, 0)]), judged("", vec![listener(80, 0)]));
    let web = &covered.services[0];
    let mut past = Past::default();
    past.begin(at(0));
    assert!(past.walk(&bare.services));
    past.drifted(web.service.id.as_str());
    past.begin(at(10));
    past.closed(web, at(10).into());
    past.begin(at(103));
    past.opened(web, Some(at(100).into()));
    past.begin(at(200));
    assert!(!past.walk(&covered.services), "nothing is new");
    let known = line(&past, web);
    assert_eq!((known.first_seen, known.last_seen, known.sockets), (at(0), at(200), 1));
    let turns = |count, time| Turns { count, first: Some(time), last: Some(time) };
    assert_eq!(
        (known.opened, known.closed, known.drifted),
        (turns(1, at(100)), turns(1, at(10)), turns(1, at(0)))
    );
    let by = CoveredBy { id: "web".to_owned(), learned: false, since: at(103), until: None };
    assert_eq!(known.approval.as_deref(), Some(&by));
    assert_eq!((known.users.join(","), known.programs.join(",")), ("root".to_owned(), "/opt/80".to_owned()));

    past.begin(at(300));
    assert!(past.walk(&bare.services), "the approval was taken away");
    assert_eq!(line(&past, web).approval.as_deref(), Some(&CoveredBy { until: Some(at(300)), ..by.clone() }));
    past.begin(at(400));
    past.walk(&covered.services);
    assert_eq!(line(&past, web).approval.as_deref(), Some(&CoveredBy { since: at(400), ..by }));
    past.begin(at(500));
    past.walk(&[]);
    assert_eq!((line(&past, web).is_there(), line(&past, web).last_seen), (false, at(400)));
}

#[test]
fn what_is_gone_is_forgotten_after_400_days_that_passed() {
    let all = judged("", vec![listener(80, 0), listener(81, 0)]);
    let there = judged("", vec![listener(81, 0)]);
    let mut past = Past::default();
    past.begin(at(0));
    past.walk(&all.services);
    past.begin(at(5_000 * DAY));
    past.walk(&there.services);
    assert_eq!(past.services.len(), 2, "the clock was set ahead");
    past.begin(at(DAY));
    past.walk(&there.services);
    for day in 2..=401 {
        past.begin(at(day * DAY));
        past.walk(&there.services);
        assert!(past.services.len() == 2 || day > 398, "day {day}");
    }
    assert_eq!(past.services.len(), 1, "and what is there is not");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever the clock does, nothing is later than what came after it.
    #[test]
    fn no_leap_of_the_clock_turns_time_around(
        turns in proptest::collection::vec((-500 * DAY..500 * DAY, 0..4_u8, 80..84_u16, -9..9_i64), 1..40),
    ) {
        let all = judged(WEB, (80..84).map(|port| listener(port, 0)).collect());
        let mut past = Past::default();
        for (second, what, port, late) in turns {
            past.begin(at(second));
            let of_port = |judged: &&Judged| judged.service.port == PortWord::Number(port);
            let judged = all.services.iter().find(of_port).unwrap();
            match what {
                0 => past.opened(judged, Some(at(second - late).into())),
                1 => past.closed(judged, at(second - late).into()),
                2 => past.drifted(judged.service.id.as_str()),
                _ => drop(past.walk(std::slice::from_ref(judged))),
            }
            let (since, looked) = (past.since.unwrap(), past.looked.unwrap());
            for line in past.services.values() {
                prop_assert!(since <= line.first_seen && line.first_seen <= line.last_seen && line.last_seen <= looked);
                for turns in [line.opened, line.closed, line.drifted] {
                    prop_assert!(turns.first <= turns.last && turns.last <= Some(looked));
                    prop_assert_eq!(turns.first.is_some(), turns.count > 0);
                }
                if let Some(approval) = &line.approval {
                    prop_assert!(approval.since <= looked && approval.until.is_none_or(|until| until >= approval.since));
                }
            }
        }
    }

    /// Whoever makes up services loses his own: those of users who have no more than their share stay, and so do those that
    /// an approval covers or covered.
    #[test]
    fn who_churns_pushes_out_nobody_elses(
        others in proptest::collection::vec((0..5_u32, any::<bool>(), any::<bool>(), 0..1_000_u32), 0..1_500),
        churned in 9_000..14_000_u32,
        (churner_stays, of_subuids) in any::<(bool, bool)>(),
    ) {
        let mut past = Past::default();
        for (number, (user, covered, there, seen)) in others.iter().enumerate() {
            let user = format!("user{user}");
            past.services.insert(format!("s1-o{number}").into(), made_up(&user, *covered, *there, *seen).into());
        }
        for number in 0..churned {
            let user = if of_subuids { (100_000 + number).to_string() } else { "eve".to_owned() };
            past.services.insert(format!("s1-c{number}").into(), made_up(&user, false, churner_stays, 2_000 + number).into());
        }
        let all = past.services.len();
        past.make_room(true);
        prop_assert_eq!(past.services.len(), all.min(10_000));
        let kept = past.services.keys().filter(|id| id.starts_with("s1-o")).count();
        prop_assert_eq!(kept, others.len());
    }
}

fn made_up(user: &str, covered: bool, there: bool, seen: u32) -> ServicePast {
    static LINE: std::sync::OnceLock<ServicePast> = std::sync::OnceLock::new();
    let mut line = LINE
        .get_or_init(|| {
            let mut past = Past::default();
            past.begin(at(0));
            past.walk(&judged("", vec![listener(80, 0)]).services);
            ServicePast::clone(past.services.values().next().unwrap())
        })
        .clone();
    line.users = [user.to_owned()].into();
    line.sockets = u64::from(there);
    (line.first_seen, line.last_seen, line.seen_at) = (at(seen.into()), at(seen.into()), u64::from(seen));
    line.approval =
        covered.then(|| CoveredBy { id: "web".to_owned(), learned: false, since: at(0), until: None }.into());
    line
}

#[test]
fn of_one_user_what_is_gone_for_longest_goes_first_then_what_came_last() {
    let mut past = Past::default();
    for number in 0..12_000_u32 {
        let there = number >= 6_000;
        let line = made_up("eve", false, there, number);
        past.services.insert(format!("s1-{number:05}").into(), line.into());
    }
    past.make_room(false);
    assert_eq!(past.services.len(), 12_000, "there is some room besides");
    past.make_room(true);
    assert!(!past.knows("s1-01999") && past.knows("s1-02000") && past.knows("s1-11999"));
    for number in 12_000..17_000_u32 {
        past.services.insert(format!("s1-{number:05}").into(), made_up("eve", false, true, number).into());
    }
    past.make_room(true);
    assert!(!past.knows("s1-05999") && past.knows("s1-06000"), "what is gone");
    assert!(past.knows("s1-15999") && !past.knows("s1-16000"), "what came last");
}

#[test]
fn names_are_bounded() {
    let mut wide = listener(80, 0);
    let holders = (0..9_u32).map(|number| {
        let mut holder =
            Holder::clone(&fixtures::holder(format!("/{number}{}", "x".repeat(4_000)).as_bytes()));
        holder.id.pid = number;
        holder.into()
    });
    wide.holders = Holders::Known(holders.collect());
    let mut past = Past::default();
    past.begin(at(0));
    past.walk(&judged("", vec![wide]).services);
    let line = past.services.values().next().unwrap();
    assert_eq!((line.programs.len(), line.programs[0].chars().count()), (4, 121));
}

#[test]
fn it_is_had_back_and_damage_is_told() {
    let folder = tempfile::tempdir().unwrap();
    assert!(history(folder.path()).unwrap().is_none());
    let mut past = Past::default();
    past.begin(at(0));
    past.walk(&judged(WEB, vec![listener(80, 0), listener(81, 1000)]).services);
    keep(folder.path(), &past).unwrap();
    assert_eq!(history(folder.path()).unwrap(), Some(past));
    for text in ["{", "{\"version\":2,\"since\":null,\"looked\":null,\"age\":0,\"services\":{}}"] {
        std::fs::write(folder.path().join(FILE), text).unwrap();
        assert!(history(folder.path()).unwrap_err().to_string().contains("history.json"));
        drop(HistoryKeeper::restore(folder.path().to_owned()).unwrap());
    }
}

#[test]
fn the_logs_give_back_what_they_have() {
    let folder = tempfile::tempdir().unwrap();
    let record = |second: i64, more: &str| {
        let time = at(second);
        format!("{{\"time\":\"{time:.3}\",{more}}}\n")
    };
    let socket = "\"protocol\":\"tcp\",\"address\":\"0.0.0.0\",\"port\":80,\"service\":\"s1-web\"";
    let held = "\"netns\":{\"name\":\"host\"},\"holders\":[{\"program\":\"/opt/80\",\"user\":\"root\",\"uid\":0,\"workload\":{}}]";
    let open = |second, more: &str| record(second, &format!("\"event\":\"open\",{socket},{held},{more}"));
    let events = open(10, "\"verdict\":\"drift\"")
        + &record(11, "\"event\":\"drift_opened\",\"drift\":\"s1-web\"")
        + &record(20, &format!("\"event\":\"close\",{socket}"))
        + &open(30, "\"verdict\":\"approved\",\"approval\":\"web\"")
        + &record(40, "\"event\":\"close\",\"protocol\":\"tcp\",\"address\":\"::\",\"port\":81,\"cookie\":7")
        + "no record\n";
    std::fs::write(folder.path().join("events.jsonl"), events).unwrap();
    let reloads =
        record(25, "\"event\":\"approval\",\"approval\":\"web\",\"old\":null,\"new\":{\"id\":\"web\"}");
    std::fs::write(folder.path().join("reloads.jsonl"), reloads).unwrap();
    let past = rebuild::from_logs(folder.path()).unwrap();
    assert_eq!(past.services.len(), 1, "of a release that did not name services nothing is known");
    let web = &past.services["s1-web"];
    assert_eq!((web.first_seen, web.last_seen, web.is_there()), (at(10), at(30), false));
    assert_eq!((web.opened.count, web.closed.count, web.drifted.count), (2, 1, 1));
    assert_eq!((web.address, web.port), (AddressWord::Any, PortWord::Number(80)));
    assert_eq!((web.programs.join(","), web.users.join(",")), ("/opt/80".to_owned(), "root".to_owned()));
    let by = web.approval.as_ref().unwrap();
    assert_eq!((by.id.as_str(), by.since), ("web", at(25)));
    assert!(rebuild::from_logs(&folder.path().join("none")).unwrap().services.is_empty());
}

#[test]
fn names_that_many_have_are_there_once_and_go_with_the_last_of_them() {
    let crowd = |ports: std::ops::Range<u16>, program: &str| {
        let holders = Holders::Known(vec![fixtures::holder(program.as_bytes())]);
        let address = Ipv4Addr::UNSPECIFIED;
        let of = |port| fixtures::listener(u64::from(port), Protocol::Tcp, address, port, holders.clone());
        judged("", ports.map(of).collect()).services
    };
    let mut past = Past::default();
    past.begin(at(0));
    past.walk(&crowd(80..90, "/opt/web"));
    let shared = |past: &Past| {
        let names: Vec<*const String> = past.services.values().map(|line| line.programs.as_ptr()).collect();
        names.iter().all(|place| *place == names[0])
    };
    assert!(past.services.len() == 10 && shared(&past));
    let written = serde_json::to_vec(&past).unwrap();
    let read = serde_json::from_slice::<Past>(&written).unwrap();
    assert!(read == past && !shared(&read) && shared(&read.bounded()));
    for day in 1..=402 {
        past.begin(at(day * DAY));
        past.walk(&crowd(90..91, "/opt/mail"));
    }
    assert_eq!((past.services.len(), past.names()), (1, 3), "programs, users, workloads");
}
