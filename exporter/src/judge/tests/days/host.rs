use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use baseline::{Accounts, Dismissal, SourceText};
use inventory::frame::{Closing, messages_of_events, messages_of_inventory};
use inventory::{
    Container, Coverage, Event, Holder, Holders, Inventory, Listener, NetNs, NetNsId, NetNsKind, PortChoice,
    ProcessId, ProgramFile, Protocol, RawText, Reach, Runtime, Share, Shares, SocketId, Workload,
};

use super::super::encoded;
use crate::alerting::{Step, Turn};
use crate::fixtures::{self, TOOK, everybody, now};
use crate::judge::Judge;
use crate::rules::tests::{policy, rules};
use crate::{BaselineSet, LoadOutcome};

/// As many daemons as a host has.
pub(super) const DAEMONS: u16 = 60;
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// The same of each host.
static LEARNED: OnceLock<String> = OnceLock::new();

/// A host, all of whose services are approved as `learn` writes it and required. What happens on it is told as the sensor
/// tells it, and time passes as fast as it is told.
pub(super) struct Host {
    judge: Option<Judge>,
    text: String,
    there: BTreeMap<SocketId, Listener>,
    clock: SystemTime,
    steady: Instant,
    /// Cookies, inodes, pids, namespaces: none comes twice.
    used: u32,
    /// Which file of its program each daemon runs.
    version: u8,
    told: Vec<Arc<Turn>>,
    folder: tempfile::TempDir,
}

impl Host {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut host = Host {
            judge: None,
            text: String::new(),
            there: BTreeMap::new(),
            clock: now(),
            steady: Instant::now(),
            used: 0,
            version: 1,
            told: Vec::new(),
            folder,
        };
        let daemons: Vec<Listener> = (0..DAEMONS).map(|number| host.daemon(number)).collect();
        host.arrange(daemons);
        let container = host.container();
        host.arrange(container);
        host.text = LEARNED.get_or_init(|| learned(&host.inventory())).clone();
        host.start();
        host
    }

    /// What people were told, each word with the alert that it is of.
    pub(super) fn told(&self) -> Vec<(Step, &str)> {
        self.told.iter().map(|turn| (turn.event, turn.id())).collect()
    }

    /// What they are told last.
    pub(super) fn last(&self) -> &Turn {
        self.told.last().unwrap()
    }

    /// What a pager groups by.
    pub(super) fn pages(&self) -> BTreeSet<(&'static str, String)> {
        self.told.iter().map(|turn| (turn.about.name(), turn.id().to_owned())).collect()
    }

    pub(super) fn firing(&self) -> usize {
        self.judge().turns().book().firing.len()
    }

    /// Time passes, and the sensor looks at least once an hour.
    pub(super) fn pass(&mut self, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(HOUR);
            self.wait(step);
            left -= step;
            self.look();
        }
    }

    /// They end, and start again: each listens as root before it drops its privileges.
    pub(super) fn restart(&mut self, daemons: Range<u16>) {
        self.end(daemons.clone());
        self.wait(3 * SECOND);
        self.begin(daemons);
    }

    pub(super) fn end(&mut self, daemons: Range<u16>) {
        let ports = daemons.start + 1_000..daemons.end + 1_000;
        let is_one = |listener: &Listener| ports.contains(&listener.endpoint.port);
        self.close_all(is_one);
    }

    pub(super) fn begin(&mut self, daemons: Range<u16>) {
        let ready: Vec<Listener> = daemons.map(|number| self.daemon(number)).collect();
        let early: Vec<Listener> =
            ready.iter().map(|listener| held(listener, |holder| holder.uid = 0)).collect();
        self.open(early);
        self.wait(SECOND / 10);
        self.happens(&ready.into_iter().map(Event::Changed).collect::<Vec<_>>());
        self.wait(3 * SECOND);
    }

    /// Packages with other files come onto the disk.
    pub(super) fn replace_programs(&mut self) {
        self.version += 1;
        let outdated = |holder: &mut Holder| {
            if let Some(program) = &mut holder.program {
                program.file = ProgramFile::Deleted { replaced: true };
            }
        };
        let ports = 1_000..1_000 + DAEMONS;
        let daemons = self.there.values().filter(|listener| ports.contains(&listener.endpoint.port));
        let replaced: Vec<Event> = daemons.map(|daemon| Event::Changed(held(daemon, outdated))).collect();
        assert_eq!(replaced.len(), usize::from(DAEMONS));
        self.happens(&replaced);
    }

    /// Another takes the place of the container: its id, pid, cgroup, namespace and proxy are others.
    pub(super) fn redeploy(&mut self) {
        self.close_all(|listener| matches!(listener.endpoint.port, 80 | 8_080));
        self.wait(2 * SECOND);
        let container = self.container();
        self.open(container);
    }

    /// Something listens in a container, and nobody beyond it is let in.
    pub(super) fn listen_within(&mut self, port: u16) -> SocketId {
        let inner = self.listener(Protocol::Tcp, port, "/usr/bin/postgres", container("db"));
        let netns = NetNs { kind: NetNsKind::Container, name: RawText::from("db"), id: inner.netns.id };
        let inner = Listener { netns, reach: Reach::Link, ..inner };
        let id = inner.id;
        self.open(vec![inner]);
        id
    }

    /// A process asks by UDP, each time from another port that the kernel chose; every other socket of these is gone before
    /// it is looked at.
    pub(super) fn ask_by_udp(&mut self, times: u16) {
        let client = self.listener(Protocol::Udp, 0, "/usr/bin/resolver", Workload::None);
        let mut events = Vec::new();
        let mut stay = Vec::new();
        for number in 0..times {
            let mut client = Listener { port_choice: PortChoice::Kernel, ..client.clone() };
            client.id.cookie = self.another().into();
            client.endpoint.port = 32_768 + number;
            let id = client.id;
            events.push(Event::Opened(client));
            if number % 2 == 0 {
                events.push(Event::Closed(id, self.clock));
            } else {
                stay.push(Event::Closed(id, self.clock));
            }
        }
        self.happens(&events);
        self.wait(SECOND);
        self.happens(&stay);
    }

    /// Something that nobody approved listens for two seconds.
    pub(super) fn backdoor(&mut self, port: u16, choice: PortChoice) {
        let door = self.listener(Protocol::Tcp, port, "/usr/local/bin/nc", Workload::None);
        let door = Listener { port_choice: choice, ..door };
        let id = door.id;
        self.open(vec![door]);
        self.wait(2 * SECOND);
        self.close(id);
    }

    /// The same so many times, told at once.
    pub(super) fn flap(&mut self, port: u16, times: u32) {
        let mut events = Vec::new();
        for _ in 0..times {
            let door = self.listener(Protocol::Tcp, port, "/usr/local/bin/nc", Workload::None);
            events.extend([Event::Opened(door.clone()), Event::Closed(door.id, self.clock)]);
        }
        self.happens(&events);
    }

    /// Another sensor tells what follows. What was there before is as old as the machine to it.
    pub(super) fn restart_sensor(&mut self) {
        self.judge_mut().assembler.resume();
        self.there.values_mut().for_each(|listener| listener.since = None);
        self.wait(SECOND);
        self.look();
    }

    /// The exporter ends and starts again, and the sensor with it.
    pub(super) fn restart_exporter(&mut self) {
        self.judge = None;
        self.start();
    }

    /// Somebody sets the clock, by so much ahead or back.
    pub(super) fn set_clock(&mut self, ahead: Duration, back: Duration) {
        self.clock = self.clock + ahead - back;
        self.happens(&[]);
    }

    /// The admin lets be whatever is gone.
    pub(super) fn dismiss_all(&mut self, by: &str) {
        let register = self.judge().publish.borrow().register.clone();
        let gone = register.by_id().filter_map(|drift| {
            Some(Dismissal { drift: drift.id().clone(), gone_since: drift.gone_since?, by: by.into() })
        });
        let now = self.clock;
        let judge = self.judge_mut();
        judge.dismissed.extend(gone);
        judge.reload(now);
        self.listen();
    }

    fn start(&mut self) {
        let text = self.text.clone();
        let load = move || {
            let texts = vec![SourceText { path: "/etc/portledger/baseline.toml".into(), text: text.clone() }];
            let baseline = baseline::parse(&texts, &everybody()).unwrap();
            LoadOutcome {
                policy: Ok(policy()),
                baseline: Ok(Some(BaselineSet { texts, baseline, git: None })),
            }
        };
        let folder = self.folder.path();
        let (judge, _) = Judge::new(rules(folder, load), folder.to_owned(), String::new()).unwrap();
        self.judge = Some(judge);
        self.look();
    }

    fn daemon(&mut self, number: u16) -> Listener {
        let unit = Workload::Unit(RawText::from(format!("daemon-{number}.service").as_str()));
        let daemon =
            self.listener(Protocol::Tcp, 1_000 + number, &format!("/usr/sbin/daemon-{number}"), unit);
        let version = self.version;
        held(&daemon, |holder| {
            holder.uid = 70_000 + u32::from(number);
            if let Some(program) = &mut holder.program {
                program.sha256 = Some([version; 32]);
            }
        })
    }

    /// A web server in a container, and the proxy that publishes it.
    fn container(&mut self) -> Vec<Listener> {
        let unit = Workload::Unit(RawText::from("docker.service"));
        let proxy = self.listener(Protocol::Tcp, 8_080, "/usr/bin/docker-proxy", unit);
        let web = self.listener(Protocol::Tcp, 80, "/usr/sbin/nginx", container("web"));
        let mut web = held(&web, |holder| {
            if let Some(program) = &mut holder.program {
                program.file = ProgramFile::Foreign;
            }
            if let Workload::Container(container) = &mut holder.workload {
                container.id = format!("{:064x}", holder.id.pid);
            }
        });
        web.id.netns = NetNsId::Cookie(self.another().into());
        web.netns = NetNs { id: web.id.netns, kind: NetNsKind::Container, name: RawText::from("web") };
        web.published = vec![proxy.endpoint.clone()];
        vec![proxy, web]
    }

    /// On all addresses, by a process of its own.
    fn listener(&mut self, protocol: Protocol, port: u16, program: &str, workload: Workload) -> Listener {
        let (cookie, pid) = (self.another(), self.another());
        let holder = Holder {
            id: ProcessId { pid, start_ticks: pid.into() },
            started_at: self.clock,
            uid: 0,
            workload,
            ..Holder::clone(&fixtures::holder(program.as_bytes()))
        };
        let holders = Holders::Known(vec![holder.into()]);
        let listener = fixtures::listener(cookie.into(), protocol, Ipv4Addr::UNSPECIFIED, port, holders);
        Listener { since: Some(self.clock), port_choice: PortChoice::Explicit, ..listener }
    }

    fn another(&mut self) -> u32 {
        self.used += 1;
        self.used + 1_000
    }

    fn open(&mut self, listeners: Vec<Listener>) {
        self.happens(&listeners.into_iter().map(Event::Opened).collect::<Vec<_>>());
    }

    pub(super) fn close(&mut self, id: SocketId) {
        self.happens(&[Event::Closed(id, self.clock)]);
    }

    fn close_all(&mut self, which: impl Fn(&Listener) -> bool) {
        let over = self.there.values().filter(|listener| which(listener));
        let ends: Vec<Event> = over.map(|listener| Event::Closed(listener.id, self.clock)).collect();
        assert!(!ends.is_empty());
        self.happens(&ends);
    }

    pub(super) fn wait(&mut self, time: Duration) {
        self.clock += time;
        self.steady += time;
    }

    /// They are there, and nobody was told.
    fn arrange(&mut self, listeners: Vec<Listener>) {
        self.there.extend(listeners.into_iter().map(|listener| (listener.id, listener)));
    }

    fn inventory(&self) -> Inventory {
        let all = Share { seen: 1, of: 1 };
        let shares = Shares { sockets: all, holders: all, namespaces: all, addresses: all, events: all };
        let coverage = Coverage { gaps: Vec::new(), shares, ..fixtures::inventory(Vec::new()).coverage };
        Inventory {
            listeners: self.there.values().cloned().map(Arc::new).collect(),
            coverage,
            taken_at: self.clock,
            ..fixtures::inventory(Vec::new())
        }
    }

    fn look(&mut self) {
        let closing = Closing { took: TOOK, ..Closing::default() };
        let frames = encoded(messages_of_inventory(&self.inventory(), closing));
        self.hear(&frames);
    }

    /// The sensor tells events; none is a sign of life.
    pub(super) fn happens(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::Opened(listener) | Event::Changed(listener) => {
                    self.there.insert(listener.id, listener.clone());
                }
                Event::Closed(id, _) => drop(self.there.remove(id)),
            }
        }
        let frames = encoded(messages_of_events(events, &self.inventory(), Closing::default()));
        self.hear(&frames);
    }

    fn hear(&mut self, frames: &[Vec<u8>]) {
        let (now, steady) = (self.clock, self.steady);
        let judge = self.judge_mut();
        judge.compare_clocks(now, steady);
        super::super::hear(judge, frames, now);
        judge.tick(now);
        self.listen();
    }

    fn listen(&mut self) {
        let at = self.told.last().map_or(0, |turn| turn.seq);
        let turns = self.judge().turns().after(at, usize::MAX).unwrap();
        self.told.extend(turns);
    }

    fn judge(&self) -> &Judge {
        self.judge.as_ref().unwrap()
    }

    fn judge_mut(&mut self) -> &mut Judge {
        self.judge.as_mut().unwrap()
    }
}

fn learned(inventory: &Inventory) -> String {
    let text = baseline::learn(inventory, &policy(), &Accounts::default(), now());
    let text = text.replace("[[approval]]\n", "[[approval]]\nrequired = true\n");
    assert_eq!(text.matches("required = true\n").count(), usize::from(DAEMONS) + 2, "{text}");
    text
}

fn container(name: &str) -> Workload {
    Workload::Container(Container {
        runtime: Runtime::Docker,
        id: "0".repeat(64),
        name: Some(RawText::from(name)),
        image: Some(RawText::from("registry/image:1")),
        service: None,
    })
}

/// The same, held by one who is otherwise.
fn held(listener: &Listener, otherwise: impl FnOnce(&mut Holder)) -> Listener {
    let mut holder = Holder::clone(&listener.holders.known()[0]);
    otherwise(&mut holder);
    Listener { holders: Holders::Known(vec![holder.into()]), ..listener.clone() }
}
