//! A small vocabulary: `world.listen("tcp/0.0.0.0:22").by(program("/usr/sbin/sshd").unit("ssh.service"))`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use baseline::{
    Accounts, Assessment, Baseline, Diagnostic, Finding, Host, Judged, Policy, SeverityRule, SeverityRules,
    SourceText, Trust, Verdict, assess, parse,
};
use inventory::{
    Container, Coverage, Endpoint, Gap, Holder, Holders, Inventory, Listener, NetNs, NetNsId, NetNsKind,
    PortChoice, ProcessId, Program, ProgramFile, Protocol, RawText, Reach, Runtime, Scope, Session, Share,
    Shares, SocketId, Unattributed, Workload,
};

/// 2026-11-21T09:00:00Z, a Saturday.
pub(crate) const NOW: Duration = Duration::from_secs(1_795_251_600);

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) listeners: Vec<Listening>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) baseline: Option<String>,
    pub(crate) host: Host,
    pub(crate) accounts: Accounts,
    pub(crate) now: SystemTime,
    /// Before the built-in ones.
    pub(crate) severities: Vec<SeverityRule>,
    next_socket: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        let accounts = Accounts::default()
            .with_user("root", 0)
            .with_user("www-data", 33)
            .with_user("postgres", 105)
            .with_user("alice", 1000)
            .with_group("admins", [0, 1000]);
        World {
            listeners: Vec::new(),
            gaps: Vec::new(),
            baseline: None,
            host: Host { name: RawText::from("web1"), groups: ["web".to_owned()].into() },
            accounts,
            now: SystemTime::UNIX_EPOCH + NOW,
            severities: Vec::new(),
            next_socket: 1,
        }
    }

    /// `tcp/0.0.0.0:22`, as an endpoint is written.
    pub(crate) fn listen(&mut self, endpoint: &str) -> &mut Listening {
        let socket = self.next_socket;
        self.next_socket += 1;
        self.listeners.push(Listening::new(endpoint, socket));
        self.listeners.last_mut().unwrap()
    }

    pub(crate) fn baseline(&mut self, text: &str) -> &mut Self {
        self.baseline = Some(text.to_owned());
        self
    }

    pub(crate) fn gap(&mut self, scope: Scope) -> &mut Gap {
        let reason = RawText::from("it was refused");
        self.gaps.push(Gap { collector: "test".to_owned(), scope, protocol: None, netns: None, reason });
        self.gaps.last_mut().unwrap()
    }

    pub(crate) fn later(&mut self, seconds: u64) -> &mut Self {
        self.now += Duration::from_secs(seconds);
        self
    }

    pub(crate) fn inventory(&self) -> Inventory {
        let all = Share { seen: 1, of: 1 };
        let shares = Shares { sockets: all, holders: all, namespaces: all, addresses: all, events: all };
        let mut listeners: Vec<Listener> = self.listeners.iter().map(Listening::listener).collect();
        listeners.sort_by_key(|listener| listener.id);
        let coverage = Coverage { gaps: self.gaps.clone(), shares, events: inventory::EventSource::Polls };
        let listeners = listeners.into_iter().map(Arc::new).collect();
        Inventory { host: self.host.name.clone(), taken_at: self.now, listeners, coverage }
    }

    pub(crate) fn policy(&self) -> Policy {
        let baseline = self
            .baseline
            .as_deref()
            .map(|text| read(text).unwrap_or_else(|wrong| panic!("{}", told(&wrong))));
        let severities = SeverityRules::before_built_in(self.severities.clone());
        Policy { severities, ..Policy::new(baseline, self.host.clone(), everybody().into()) }
    }

    pub(crate) fn assess(&self) -> Assessment {
        assess(&self.inventory(), &self.policy(), &self.accounts, self.now)
    }

    /// `approved ssh`, `unjudged`, or `widened+outdated critical (ssh)` for each service.
    pub(crate) fn verdicts(&self) -> Vec<String> {
        self.assess().services.iter().map(|judged| word(&judged.verdict)).collect()
    }

    /// The verdict of the only service.
    pub(crate) fn verdict(&self) -> String {
        let verdicts = self.verdicts();
        assert_eq!(verdicts.len(), 1, "one service, not {verdicts:?}");
        verdicts[0].clone()
    }

    pub(crate) fn finding(&self) -> Finding {
        let assessment = self.assess();
        assessment.findings().next().expect("a finding").clone()
    }

    pub(crate) fn judged(&self) -> Judged {
        self.assess().services.remove(0)
    }
}

pub(crate) fn read(text: &str) -> Result<Baseline, Vec<Diagnostic>> {
    parse(&[source("baseline.toml", text)], &everybody())
}

/// Nothing has to be signed.
pub(crate) fn everybody() -> Trust {
    Trust::in_everybody(jiff::tz::TimeZone::UTC)
}

pub(crate) fn source(path: &str, text: &str) -> SourceText {
    SourceText { path: path.into(), text: text.to_owned() }
}

pub(crate) fn told(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
}

pub(crate) fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Approved(id) => format!("approved {id}"),
        Verdict::Learned(id) => format!("learned {id}"),
        Verdict::Unjudged => "unjudged".to_owned(),
        Verdict::Drift(finding) => {
            let also: String = finding.also.iter().map(|kind| format!("+{kind}")).collect();
            let approval = finding.approval.as_ref().map(|id| format!(" ({id})")).unwrap_or_default();
            format!("{}{also} {}{approval}", finding.kind, finding.severity)
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Listening {
    pub(crate) endpoint: Endpoint,
    pub(crate) netns: NetNs,
    pub(crate) ipv6_only: Option<bool>,
    pub(crate) reach: Reach,
    pub(crate) port_choice: PortChoice,
    pub(crate) published: Vec<Endpoint>,
    pub(crate) peer: Option<SocketAddr>,
    holders: Vec<Process>,
    unattributed: Unattributed,
    socket: u64,
    since: Option<SystemTime>,
}

impl Listening {
    fn new(text: &str, socket: u64) -> Self {
        let endpoint = endpoint(text);
        let address = endpoint.canonical_address();
        let reach = if address.is_loopback() { Reach::Loopback } else { Reach::Public };
        Listening {
            ipv6_only: endpoint.is_ipv6_wildcard().then_some(false),
            netns: NetNs::host(NetNsId::Cookie(1)),
            reach,
            port_choice: PortChoice::Unknown { ephemeral: (32768..=60999).contains(&endpoint.port) },
            published: Vec::new(),
            peer: None,
            holders: Vec::new(),
            unattributed: Unattributed::Unknown,
            endpoint,
            socket,
            since: None,
        }
    }

    pub(crate) fn by(&mut self, process: Process) -> &mut Self {
        self.holders.push(process);
        self
    }

    pub(crate) fn unattributed(&mut self, reason: Unattributed) -> &mut Self {
        self.unattributed = reason;
        self
    }

    pub(crate) fn since(&mut self, time: SystemTime) -> &mut Self {
        self.since = Some(time);
        self
    }

    pub(crate) fn v6_only(&mut self) -> &mut Self {
        self.ipv6_only = Some(true);
        self
    }

    pub(crate) fn reach(&mut self, reach: Reach) -> &mut Self {
        self.reach = reach;
        self
    }

    pub(crate) fn kernel_chose(&mut self) -> &mut Self {
        self.port_choice = PortChoice::Kernel;
        self
    }

    pub(crate) fn connected(&mut self, peer: &str) -> &mut Self {
        self.peer = Some(peer.parse().expect("an address and a port"));
        self
    }

    pub(crate) fn in_container(&mut self, name: &str) -> &mut Self {
        let id = NetNsId::Cookie(7);
        self.netns = NetNs { id, kind: NetNsKind::Container, name: RawText::from(name) };
        self
    }

    pub(crate) fn in_netns(&mut self, kind: NetNsKind, name: &str) -> &mut Self {
        self.netns = NetNs { id: NetNsId::Cookie(8), kind, name: RawText::from(name) };
        self
    }

    pub(crate) fn published_as(&mut self, text: &str) -> &mut Self {
        self.published.push(endpoint(text));
        self
    }

    /// The same socket with everything else of another.
    pub(crate) fn become_like(&mut self, other: Listening) {
        *self = Listening { socket: self.socket, ..other };
    }

    fn listener(&self) -> Listener {
        let mut holders: Vec<Arc<Holder>> =
            self.holders.iter().map(|process| Arc::new(process.0.clone())).collect();
        holders.sort_by_key(|holder| holder.id);
        Listener {
            id: SocketId { netns: self.netns.id, cookie: self.socket, inode: self.socket + 1000 },
            endpoint: self.endpoint.clone(),
            netns: self.netns.clone(),
            uid: 0,
            ipv6_only: self.ipv6_only,
            reuse_port: Some(false),
            backlog: Some(128),
            holders: match holders.is_empty() {
                true => Holders::Unattributed(self.unattributed),
                false => Holders::Known(holders),
            },
            reach: self.reach,
            port_choice: self.port_choice,
            peer: self.peer,
            published: self.published.clone(),
            since: self.since,
        }
    }
}

pub(crate) fn endpoint(text: &str) -> Endpoint {
    let (protocol, rest) = text.split_once('/').expect("protocol/address:port");
    let (bound, port) = rest.rsplit_once(':').expect("protocol/address:port");
    let (address, device) = match bound.split_once('%') {
        Some((address, device)) => (address, Some(RawText::from(device))),
        None => (bound, None),
    };
    let address: IpAddr = address.trim_matches(['[', ']']).parse().expect("an address");
    let protocol: Protocol = protocol.parse().expect("a protocol");
    Endpoint { protocol, address, port: port.parse().expect("a port"), device }
}

#[derive(Clone, Debug)]
pub(crate) struct Process(pub(crate) Holder);

/// A program of the host, run by root outside any workload.
pub(crate) fn program(path: &str) -> Process {
    let file = RawText::from(path);
    Process(Holder {
        id: ProcessId { pid: 100, start_ticks: 7 },
        started_at: SystemTime::UNIX_EPOCH,
        program: Some(Program { path: file.clone(), file: ProgramFile::Host, sha256: Some([7; 32]) }),
        name: RawText::from("name"),
        arguments: vec![file],
        uid: 0,
        workload: Workload::None,
        parents: Vec::new(),
    })
}

/// Pid 1, holding what a socket unit opened.
pub(crate) fn systemd(unit: &str) -> Process {
    program("/usr/lib/systemd/systemd").pid(1).unit(unit)
}

impl Process {
    pub(crate) fn pid(mut self, pid: u32) -> Self {
        self.0.id.pid = pid;
        self
    }

    pub(crate) fn uid(mut self, uid: u32) -> Self {
        self.0.uid = uid;
        self
    }

    pub(crate) fn unit(mut self, unit: &str) -> Self {
        self.0.workload = Workload::Unit(RawText::from(unit));
        self
    }

    pub(crate) fn session(mut self, id: &str) -> Self {
        self.0.workload = Workload::Session(Session { id: RawText::from(id), uid: self.0.uid, from: None });
        self
    }

    pub(crate) fn file(mut self, file: ProgramFile) -> Self {
        self.0.program.as_mut().expect("a program").file = file;
        self
    }

    pub(crate) fn sha256(mut self, hash: Option<[u8; 32]>) -> Self {
        self.0.program.as_mut().expect("a program").sha256 = hash;
        self
    }

    pub(crate) fn unreadable(mut self) -> Self {
        self.0.program = None;
        self
    }

    pub(crate) fn arguments(mut self, line: &str) -> Self {
        self.0.arguments = line.split(' ').map(RawText::from).collect();
        self
    }

    /// Its files are the container's own.
    pub(crate) fn container(mut self, name: &str, image: &str, id: char) -> Self {
        let container = Container {
            runtime: Runtime::Docker,
            id: id.to_string().repeat(64),
            name: Some(RawText::from(name)),
            image: Some(RawText::from(image)),
            service: Some(RawText::from(format!("shop/{name}").as_str())),
        };
        self.0.workload = Workload::Container(container);
        self.file(ProgramFile::Foreign)
    }
}
