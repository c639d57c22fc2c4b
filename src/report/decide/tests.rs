use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use baseline::{Accounts, Host, Trust, assess, parse};
use inventory::{
    Coverage, Endpoint, EventSource, Gap, Holder, Holders, Listener, NetNs, NetNsId, PortChoice, ProcessId,
    Program, ProgramFile, Protocol, Share, Shares, SocketId, Unattributed, Workload,
};
use jiff::tz::TimeZone;
use serde_json::json;

use super::*;
use crate::report::{html, text};

/// 2026-11-21T09:00:00Z.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_251_600)
}

fn listener(address: Ipv4Addr, port: u16, program: &str) -> Listener {
    let holder = Holder {
        id: ProcessId { pid: u32::from(port), start_ticks: 7 },
        started_at: SystemTime::UNIX_EPOCH,
        program: Some(Program { path: RawText::from(program), file: ProgramFile::Host, sha256: None }),
        name: RawText::from("name"),
        arguments: Vec::new(),
        uid: 0,
        workload: Workload::Unit(RawText::from("app.service")),
        parents: Vec::new(),
    };
    let netns = NetNs::host(NetNsId::Cookie(1));
    Listener {
        id: SocketId { netns: netns.id, cookie: u64::from(port), inode: u64::from(port) },
        endpoint: Endpoint { protocol: Protocol::Tcp, address: address.into(), port, device: None },
        netns,
        uid: 0,
        ipv6_only: None,
        reuse_port: None,
        backlog: Some(128),
        holders: Holders::Known(vec![holder.into()]),
        reach: if address.is_loopback() { Reach::Loopback } else { Reach::Public },
        port_choice: PortChoice::Explicit,
        peer: None,
        published: Vec::new(),
        since: None,
    }
}

/// On all addresses.
fn open(port: u16, program: &str) -> Listener {
    listener(Ipv4Addr::UNSPECIFIED, port, program)
}

struct Case {
    listeners: Vec<Listener>,
    gaps: Vec<Gap>,
    baseline: Option<&'static str>,
    trust: Trust,
    acts: Acts,
}

impl Case {
    fn new(baseline: &'static str, listeners: Vec<Listener>) -> Self {
        let acts = Acts::fixed(LedgerState::Whole, Vec::new());
        let trust = Trust::in_everybody(TimeZone::UTC);
        Case { listeners, gaps: Vec::new(), baseline: Some(baseline), trust, acts }
    }

    fn report(mut self) -> Report {
        self.listeners.sort_by_key(|listener| listener.id);
        let all = Share { seen: 1, of: 1 };
        let shares = Shares { sockets: all, holders: all, namespaces: all, addresses: all, events: all };
        let inventory = Inventory {
            host: RawText::from("web-17"),
            taken_at: now(),
            listeners: self.listeners.into_iter().map(Arc::new).collect(),
            coverage: Coverage { gaps: self.gaps, shares, events: EventSource::Polls },
        };
        let texts = self.baseline.map(|text| {
            vec![SourceText { path: "/etc/portledger/baseline.toml".into(), text: text.to_owned() }]
        });
        let baseline = texts.as_ref().map(|texts| parse(texts, &self.trust).unwrap());
        let host = Host { name: RawText::from("web-17"), groups: Default::default() };
        let policy = Policy::new(baseline, host, self.trust.into());
        let accounts = Accounts::default().with_user("root", 0);
        let assessment = assess(&inventory, &policy, &accounts, now());
        let seen = Seen {
            inventory: &inventory,
            assessment: &assessment,
            policy: &policy,
            texts: texts.as_deref(),
            now: now(),
        };
        let git = Some("0123456789abcdef0123456789abcdef01234567".to_owned());
        Report::of(&seen, &self.acts, Made { by: "alice".to_owned(), version: "0.1.0", git })
    }
}

fn gap(scope: Scope) -> Gap {
    let reason = RawText::from("it was refused");
    Gap { collector: "test".to_owned(), scope, protocol: None, netns: None, reason }
}

const WEB: &str = "[[approval]]\nid = \"web\"\nlisten = \"tcp/*:80\"\nprogram = \"/usr/sbin/nginx\"\nreach = \"public\"\n\
                   reason = \"the shop\"\nticket = \"OPS-7\"\nby = \"alice@example.org\"\nat = 2026-11-01T08:00:00Z\n\
                   expires = 2027-01-01\n";
const LEARNED: &str = "[[approval]]\nid = \"web\"\nlisten = \"tcp/*:80\"\nprogram = \"/usr/sbin/nginx\"\nreach = \"public\"\nby = \"learn\"\n";
const EXPIRED: &str = "[[approval]]\nid = \"web\"\nlisten = \"tcp/*:80\"\nprogram = \"/usr/sbin/nginx\"\nreach = \"public\"\nby = \"a\"\nexpires = 2026-01-01\n";
const LEFT_OUT: &str =
    "[[scope]]\nlisten = \"tcp/*:80\"\nnetns = \"host\"\njudged = false\nreason = \"a lab\"\n";

#[test]
fn each_service_has_its_verdict_and_bears_on_the_result() {
    let nginx = || vec![open(80, "/usr/sbin/nginx")];
    for (what, baseline, listeners, verdict, result) in [
        ("approved", WEB, nginx(), Word::Approved, Ruling::Pass),
        ("learned", LEARNED, nginx(), Word::Learned, Ruling::Fail),
        ("expired", EXPIRED, nginx(), Word::Expired, Ruling::Fail),
        ("another program", WEB, vec![open(80, "/tmp/nginx")], Word::Drift, Ruling::Fail),
        ("nothing approves it", "", nginx(), Word::Drift, Ruling::Fail),
        ("a scope leaves it out", LEFT_OUT, nginx(), Word::Unjudged, Ruling::CannotBeSaid),
    ] {
        let report = Case::new(baseline, listeners).report();
        let [item] = &report.services[..] else { panic!("{what}: {report:?}") };
        assert_eq!((item.verdict, report.result), (verdict, result), "{what}");
        let has_evidence = matches!(verdict, Word::Approved | Word::Learned | Word::Expired);
        assert_eq!(item.evidence.is_some(), has_evidence, "{what}: what comes near is no evidence");
    }
    let mut unsigned = Case::new(WEB, nginx());
    unsigned.trust = Trust::in_nobody(TimeZone::UTC);
    let report = unsigned.report();
    assert_eq!((report.services[0].verdict, report.result), (Word::Untrusted, Ruling::Fail));
    let evidence = report.services[0].evidence.as_ref().unwrap();
    assert!(evidence.distrust.as_ref().unwrap().contains("is not signed"), "{evidence:?}");
    assert_eq!(evidence.signed(), ["unsigned: the name proves nothing"]);
}

#[test]
fn loopback_and_what_waits_for_nobody_is_apart() {
    let mut client = open(5353, "/usr/bin/dig");
    client.endpoint.protocol = Protocol::Udp;
    client.port_choice = PortChoice::Kernel;
    let local = listener(Ipv4Addr::LOCALHOST, 8080, "/usr/bin/app");
    let report = Case::new(WEB, vec![local, client]).report();
    assert_eq!((report.services.len(), report.apart.len()), (0, 2), "{report:?}");
    assert_eq!(report.result, Ruling::Pass);
    assert!(report.apart.iter().any(|item| item.verdict == Word::Drift), "its verdict is told all the same");
}

#[test]
fn what_was_not_seen_is_never_a_pass_and_never_hides_a_fail() {
    for scope in [Scope::Sockets, Scope::Holders, Scope::Namespaces, Scope::Addresses] {
        for (program, result) in [("/usr/sbin/nginx", Ruling::CannotBeSaid), ("/tmp/nginx", Ruling::Fail)] {
            let mut case = Case::new(WEB, vec![open(80, program)]);
            case.gaps.push(gap(scope));
            let report = case.report();
            assert_eq!(report.result, result, "{scope:?}");
            assert!(report.because.iter().any(|why| why.contains("Not all was seen")), "{scope:?}");
        }
    }
    let mut unheld = open(80, "");
    unheld.holders = Holders::Unattributed(Unattributed::Denied);
    let report = Case::new(WEB, vec![unheld]).report();
    assert_ne!(report.result, Ruling::Pass, "{report:?}");
    for state in [LedgerState::Whole, LedgerState::Empty, LedgerState::Broken, LedgerState::Unread] {
        let mut case = Case::new(WEB, vec![open(80, "/usr/sbin/nginx")]);
        case.acts = Acts::fixed(state, Vec::new());
        let sound = matches!(state, LedgerState::Whole | LedgerState::Empty);
        assert_eq!(case.report().result == Ruling::Pass, sound, "{state:?}");
    }
    let none = Case { baseline: None, ..Case::new(WEB, vec![open(80, "/usr/sbin/nginx")]) };
    let report = none.report();
    assert_eq!(report.result, Ruling::Fail);
    assert!(report.because[0].contains("no baseline"), "{report:?}");
}

fn act(new: serde_json::Value, vouched: bool) -> Act {
    Act {
        record: 12,
        vouched,
        time: "2026-11-01T08:00:01Z".to_owned(),
        act: "approve".to_owned(),
        who: "alice@example.org (SHA256:abc)".to_owned(),
        new,
    }
}

#[test]
fn an_act_proves_what_it_wrote_and_stands_whole() {
    let texts = [SourceText { path: "b.toml".into(), text: WEB.to_owned() }];
    let baseline = parse(&texts, &Trust::in_everybody(TimeZone::UTC)).unwrap();
    let wrote = approval_json(&baseline.approvals()[0]);
    let mut other = wrote.clone();
    other["listen"] = json!(["tcp/*:81"]);
    for (acts, told) in [
        (vec![], "no act of this host's ledger"),
        (vec![("web", act(wrote.clone(), true))], "by alice@example.org (SHA256:abc); stands whole"),
        (vec![("web", act(wrote, false))], "NOT VOUCHED FOR"),
        (vec![("web", act(other, true))], "the file says otherwise than it wrote"),
    ] {
        let mut case = Case::new(WEB, vec![open(80, "/usr/sbin/nginx")]);
        case.acts = Acts::fixed(LedgerState::Whole, acts);
        let report = case.report();
        let acted = report.services[0].evidence.as_ref().unwrap().acted();
        assert!(acted.contains(told), "{acted}");
    }
}

/// One of each.
fn sample() -> Report {
    let mut wide = open(8443, "/opt/app <b>&\"'\u{1b}[2J\u{202e}");
    wide.holders = match wide.holders {
        Holders::Known(known) => {
            let mut holder = Holder::clone(&known[0]);
            holder.workload = Workload::Unit(RawText::from("</td><script>alert(1)</script>.service"));
            Holders::Known(vec![holder.into()])
        }
        other => other,
    };
    let local = listener(Ipv4Addr::LOCALHOST, 8080, "/usr/bin/app");
    let mut case = Case::new(WEB, vec![open(80, "/usr/sbin/nginx"), wide, local]);
    case.gaps.push(gap(Scope::Holders));
    case.acts = Acts::fixed(LedgerState::Whole, vec![("web", act(json!({}), true))]);
    case.report()
}

/// What is written now, where it differs, is put beside, to be read and then put in its place.
#[test]
fn each_format_is_as_it_was() {
    let report = sample();
    let json = serde_json::to_string_pretty(&report).unwrap() + "\n";
    let printed = crate::say::harmless(&text::page(&report)).into_owned();
    let differ = [
        ("report.txt", include_str!("../golden/report.txt"), printed),
        ("report.html", include_str!("../golden/report.html"), html::page(&report)),
        ("report.json", include_str!("../golden/report.json"), json),
    ];
    let differ: Vec<_> = differ.into_iter().filter(|(_, golden, written)| golden != written).collect();
    let folder = std::env::temp_dir().join("portledger-golden");
    for (name, _, written) in &differ {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), written).unwrap();
    }
    assert!(differ.is_empty(), "src/report/golden is otherwise than {}", folder.display());
}

#[test]
fn no_name_breaks_out_of_a_format() {
    let report = sample();
    let page = html::page(&report);
    for part in ["<script", "</td><script", "<b>", "\u{1b}", "\u{202e}", "src=", "href=", "url("] {
        assert!(!page.contains(part), "{part}");
    }
    assert!(page.contains("&lt;script&gt;") && page.contains("break-inside:avoid"));
    let printed = text::page(&report);
    let is_obeyed = |letter: char| letter.is_control() && letter != '\n' || letter == '\u{202e}';
    assert!(!crate::say::harmless(&printed).contains(is_obeyed));
    let json = serde_json::to_string(&report).unwrap();
    let read: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(read["services"].as_array().unwrap().len(), 2);
    assert!(!json.contains('\u{1b}'));
}
