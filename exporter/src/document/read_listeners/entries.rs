//! The entries of the document, each turned into what it was written from.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use inventory::{
    Container, Endpoint, Gap, Holder, Holders, Listener, NetNs, NetNsId, NetNsKind, Parent, PortChoice,
    ProcessId, Program, ProgramFile, Protocol, RawText, Reach, Runtime, Scope, Session, SocketId,
    Unattributed, Workload,
};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// What the kernel chooses ports from where nobody changed it (ip(7), `ip_local_port_range`).
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32_768..=60_999;
/// Lists within one listener; none that the sensor makes comes near.
const MAX_LIST: usize = 65_536;

/// A name as [`RawText::escaped`] wrote it.
pub(super) struct Unescaped(pub(super) RawText);

impl<'de> Deserialize<'de> for Unescaped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let raw = RawText::from_escaped(&text);
        raw.map(Unescaped).ok_or_else(|| D::Error::custom(format!("`{text}` is not escaped as names are")))
    }
}

/// A time as `time` of the documents wrote it.
pub(super) struct Moment(pub(super) SystemTime);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // What stands for all that is beyond the calendar is itself a day beyond it.
        if text.starts_with("9999-12-31T") {
            return Ok(Moment(SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799)));
        }
        let time: Result<jiff::Timestamp, _> = text.parse();
        time.map(|time| Moment(time.into()))
            .map_err(|_| D::Error::custom(format!("`{text}` is no time as in 2026-11-21T09:00:00.000Z")))
    }
}

#[derive(Deserialize)]
pub(super) struct GapEntry {
    collector: String,
    scope: Word<Scope>,
    protocol: Option<Word<Protocol>>,
    netns: Option<Unescaped>,
    netns_kind: Option<Word<NetNsKind>>,
    reason: Unescaped,
}

impl GapEntry {
    /// Where an earlier release did not tell the kind of the namespace, it may hide something in any.
    pub(super) fn gap(self) -> Gap {
        let netns = self.netns.zip(self.netns_kind);
        Gap {
            collector: self.collector,
            scope: self.scope.0,
            protocol: self.protocol.map(|protocol| protocol.0),
            netns: netns.map(|(name, kind)| NetNs { id: UNKNOWN, kind: kind.0, name: name.0 }),
            reason: self.reason.0,
        }
    }
}

/// Of a namespace whose cookie was not told.
const UNKNOWN: NetNsId = NetNsId::Inode { inode: 0, generation: 0 };

#[derive(Deserialize)]
pub(super) struct ListenerEntry {
    protocol: Word<Protocol>,
    address: IpAddr,
    port: u16,
    device: Option<Unescaped>,
    netns: NetNsEntry,
    cookie: u64,
    #[serde(default)]
    inode: u64,
    ipv6_only: Option<bool>,
    reuse_port: Option<bool>,
    backlog: Option<u32>,
    socket_uid: u32,
    reach: Word<Reach>,
    port_choice: String,
    ephemeral: Option<bool>,
    peer: Option<SocketAddr>,
    published: Vec<String>,
    since: Option<Moment>,
    holders: Vec<HolderEntry>,
    unattributed: Option<Word<Unattributed>>,
}

#[derive(Deserialize)]
struct NetNsEntry {
    kind: Word<NetNsKind>,
    name: Unescaped,
    cookie: Option<u64>,
}

#[derive(Deserialize)]
struct HolderEntry {
    pid: u32,
    started_at: Moment,
    #[serde(default)]
    start_ticks: u64,
    program: Option<Unescaped>,
    file: Option<String>,
    replaced: Option<bool>,
    sha256: Option<String>,
    name: Unescaped,
    arguments: Vec<Unescaped>,
    uid: u32,
    user: Option<String>,
    workload: WorkloadEntry,
    #[serde(default)]
    parents: Vec<ParentEntry>,
}

#[derive(Deserialize)]
struct WorkloadEntry {
    kind: String,
    name: Option<Unescaped>,
    image: Option<Unescaped>,
    service: Option<Unescaped>,
    runtime: Option<Word<Runtime>>,
    id: Option<Unescaped>,
    from: Option<Unescaped>,
}

#[derive(Deserialize)]
struct ParentEntry {
    pid: u32,
    name: Unescaped,
    program: Option<Unescaped>,
}

impl ListenerEntry {
    /// `keep` has each holder once, and is told the name of its user.
    pub(super) fn listener(
        self,
        mut keep: impl FnMut(Holder, Option<String>) -> Arc<Holder>,
    ) -> Result<Listener, String> {
        let netns_id = self.netns.cookie.map_or(UNKNOWN, NetNsId::Cookie);
        let port_choice = self.port_choice()?;
        if self.holders.len() > MAX_LIST || self.published.len() > MAX_LIST {
            return Err(format!("a listener has more than {MAX_LIST} holders or published endpoints"));
        }
        let mut holders = Vec::with_capacity(self.holders.len());
        for entry in self.holders {
            let (holder, user) = entry.holder()?;
            holders.push(keep(holder, user));
        }
        let holders = match (holders.is_empty(), self.unattributed) {
            (false, None) => Holders::Known(holders),
            (true, Some(reason)) => Holders::Unattributed(reason.0),
            (false, Some(_)) => return Err("a listener has holders, and a reason why it has none".to_owned()),
            (true, None) => return Err("a listener has no holder, and no reason why".to_owned()),
        };
        let published: Result<Vec<Endpoint>, String> =
            self.published.iter().map(|text| endpoint(text)).collect();
        Ok(Listener {
            id: SocketId { netns: netns_id, cookie: self.cookie, inode: self.inode },
            endpoint: Endpoint {
                protocol: self.protocol.0,
                address: self.address,
                port: self.port,
                device: self.device.map(|device| device.0),
            },
            netns: NetNs { id: netns_id, kind: self.netns.kind.0, name: self.netns.name.0 },
            uid: self.socket_uid,
            ipv6_only: self.ipv6_only,
            reuse_port: self.reuse_port,
            backlog: self.backlog,
            holders,
            reach: self.reach.0,
            port_choice,
            peer: self.peer,
            published: published?,
            since: self.since.map(|since| since.0),
        })
    }

    fn port_choice(&self) -> Result<PortChoice, String> {
        match self.port_choice.as_str() {
            "explicit" => Ok(PortChoice::Explicit),
            "kernel" => Ok(PortChoice::Kernel),
            "unknown" => Ok(PortChoice::Unknown {
                ephemeral: self.ephemeral.unwrap_or_else(|| EPHEMERAL.contains(&self.port)),
            }),
            other => Err(format!("`{other}` is no port_choice")),
        }
    }
}

impl HolderEntry {
    fn holder(self) -> Result<(Holder, Option<String>), String> {
        let program = match (self.program, &self.file) {
            (Some(path), Some(file)) => {
                let file = program_file(file, self.replaced)?;
                let sha256 = self.sha256.as_deref().map(digest).transpose()?;
                Some(Program { path: path.0, file, sha256 })
            }
            (None, None) => None,
            _ => return Err("a holder has one of `program` and `file` without the other".to_owned()),
        };
        let parent = |entry: ParentEntry| Parent {
            pid: entry.pid,
            name: entry.name.0,
            program: entry.program.map(|program| program.0),
        };
        let holder = Holder {
            id: ProcessId { pid: self.pid, start_ticks: self.start_ticks },
            started_at: self.started_at.0,
            program,
            name: self.name.0,
            arguments: self.arguments.into_iter().map(|word| word.0).collect(),
            uid: self.uid,
            workload: self.workload.workload()?,
            parents: self.parents.into_iter().map(parent).collect(),
        };
        Ok((holder, self.user))
    }
}

fn program_file(word: &str, replaced: Option<bool>) -> Result<ProgramFile, String> {
    match word {
        "host" => Ok(ProgramFile::Host),
        "foreign" => Ok(ProgramFile::Foreign),
        "deleted" => Ok(ProgramFile::Deleted { replaced: replaced.unwrap_or(false) }),
        "unknown" => Ok(ProgramFile::Unknown),
        other => Err(format!("`{other}` is no `file` of a program")),
    }
}

fn digest(text: &str) -> Result<[u8; 32], String> {
    let wrong = || format!("`{text}` is no sha256");
    let mut hash = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    for (place, byte) in hash.iter_mut().enumerate() {
        let digits = text.get(2 * place..2 * place + 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(hash)
}

impl WorkloadEntry {
    /// Earlier releases told neither runtime nor id, by which nothing is judged.
    fn workload(self) -> Result<Workload, String> {
        let plain = |text: Option<Unescaped>| text.map(|text| text.0);
        match self.kind.as_str() {
            "none" => Ok(Workload::None),
            "unit" => {
                let name = plain(self.name).ok_or("a unit has no name")?;
                Ok(Workload::Unit(name))
            }
            "container" => Ok(Workload::Container(Container {
                runtime: self.runtime.map_or(Runtime::Docker, |runtime| runtime.0),
                id: plain(self.id).map(|id| id.escaped()).unwrap_or_default(),
                name: plain(self.name),
                image: plain(self.image),
                service: plain(self.service),
            })),
            "session" => {
                let name = plain(self.name).map(|name| name.escaped()).unwrap_or_default();
                let uid = name.strip_prefix("session of ").and_then(|uid| uid.parse().ok());
                let uid = uid.ok_or_else(|| format!("`{name}` is no name of a session"))?;
                let id = plain(self.id).unwrap_or_default();
                Ok(Workload::Session(Session { id, uid, from: plain(self.from) }))
            }
            other => Err(format!("`{other}` is no kind of workload")),
        }
    }
}

/// As [`Endpoint`] is shown: `tcp/0.0.0.0%eth0:22`, `udp/[::1]:53`.
fn endpoint(text: &str) -> Result<Endpoint, String> {
    let read = || {
        let (protocol, rest) = text.split_once('/')?;
        let (bound, port) = rest.rsplit_once(':')?;
        let (address, device) = match bound.split_once('%') {
            Some((address, device)) => (address, Some(RawText::from_escaped(device)?)),
            None => (bound, None),
        };
        let v6 = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        let address: IpAddr = v6.unwrap_or(address).parse().ok()?;
        Some(Endpoint { protocol: protocol.parse().ok()?, address, port: port.parse().ok()?, device })
    };
    read().ok_or_else(|| format!("`{text}` is no endpoint"))
}

/// One of the words that stand for a `T`.
pub(super) struct Word<T>(pub(super) T);

impl<'de, T: Worded> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        let found = T::all().iter().copied().find(|known| known.word() == word);
        found.map(Word).ok_or_else(|| D::Error::custom(format!("`{word}` is no {}", T::SET)))
    }
}

/// A set of values that the documents write as words.
trait Worded: Copy + 'static {
    const SET: &'static str;
    fn all() -> &'static [Self];
    fn word(&self) -> &'static str;
}

macro_rules! worded {
    ($type:ty, $set:literal, $all:expr) => {
        impl Worded for $type {
            const SET: &'static str = $set;

            fn all() -> &'static [Self] {
                &$all
            }

            fn word(&self) -> &'static str {
                self.as_str()
            }
        }
    };
}

worded!(Scope, "scope", Scope::ALL);
worded!(Protocol, "protocol", Protocol::ALL);
worded!(Reach, "reach", Reach::ALL);
worded!(Unattributed, "reason", Unattributed::ALL);
worded!(
    NetNsKind,
    "kind of namespace",
    [NetNsKind::Host, NetNsKind::Named, NetNsKind::Container, NetNsKind::Unit, NetNsKind::Anonymous]
);
worded!(Runtime, "runtime", [Runtime::Docker, Runtime::Podman, Runtime::Containerd, Runtime::Crio]);
