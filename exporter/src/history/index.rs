//! The index itself: pure, the time comes in as a value.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use baseline::{AddressWord, DriftKind, Judged, PortWord, Verdict};
use inventory::{Protocol, RawText};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// More are not kept.
const MOST: usize = 10_000;
/// How many there may be besides until room is made: that takes a walk over all.
const SLACK: usize = 5_000;
/// How long what is gone is kept.
const KEPT_FOR: u64 = 400 * DAY;
/// In milliseconds. No pause counts for longer: it may be a clock that was set.
const DAY: u64 = 86_400_000;
/// More names, and more letters of one, are not kept.
const NAMES: usize = 4;
const LETTERS: usize = 120;

/// What `serve` remembers of the services of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    pub(super) version: u32,
    /// Since when it is kept.
    pub since: Option<Timestamp>,
    /// As of when it is true.
    pub looked: Option<Timestamp>,
    /// For how many milliseconds it has been kept: unlike a clock it never leaps and never goes back.
    pub(super) age: u64,
    /// When it was last written.
    #[serde(skip)]
    pub(super) written: Option<Timestamp>,
    /// Since when approvals are in force, where it was made anew, until it is known what they cover.
    #[serde(skip)]
    pub(super) in_force: BTreeMap<String, Timestamp>,
    #[serde(skip)]
    names: Names,
    /// By their ids.
    pub services: BTreeMap<Arc<str>, Arc<ServicePast>>,
}

/// The lists of names that services have, each once: most are of many. It says nothing of itself, so that a copy begins with
/// none, and any is like any other.
#[derive(Debug, Default)]
struct Names(HashSet<Arc<[String]>>);

/// What was of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ServicePast {
    pub protocol: Protocol,
    pub address: AddressWord,
    pub port: PortWord,
    pub device: Option<RawText>,
    pub netns: RawText,
    /// The first few, each cut and escaped.
    pub programs: Arc<[String]>,
    /// Likewise.
    pub users: Arc<[String]>,
    /// Likewise.
    pub workloads: Arc<[String]>,
    pub first_seen: Timestamp,
    /// Of what is there: as of [`Past::looked`], or a minute before.
    pub last_seen: Timestamp,
    /// The age of the index then.
    pub(super) seen_at: u64,
    /// How many sockets it has; none where it is gone.
    pub sockets: u64,
    pub opened: Turns,
    pub closed: Turns,
    /// Each time that it began to drift, or came back while the drift was open.
    pub drifted: Turns,
    /// What covers it, or covered it last.
    pub approval: Option<Box<CoveredBy>>,
}

/// How often something happened since it is kept, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Turns {
    pub count: u64,
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
}

/// An approval that covers a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoveredBy {
    /// Its id, escaped.
    pub id: String,
    /// `learn` wrote it, and nobody has approved it.
    pub learned: bool,
    /// Since when it was found to.
    pub since: Timestamp,
    /// When it was found not to any more.
    pub until: Option<Timestamp>,
}

impl Default for Past {
    fn default() -> Self {
        let (since, looked, age, written, in_force, names, services) = Default::default();
        Past { version: Past::VERSION, since, looked, age, written, in_force, names, services }
    }
}

impl Past {
    pub(super) const VERSION: u32 = 1;

    /// Whatever a file says, there are not more than fit.
    pub(super) fn bounded(mut self) -> Self {
        self.make_room(true);
        for line in self.services.values_mut() {
            self.names.share(Arc::make_mut(line));
        }
        self
    }

    /// How many lists of names there are.
    #[cfg(test)]
    pub(super) fn names(&self) -> usize {
        self.names.0.len()
    }

    pub(super) fn knows(&self, id: &str) -> bool {
        self.services.contains_key(id)
    }

    /// From here on it is this late. Where the clock was set back, nothing has happened later than now.
    pub(super) fn begin(&mut self, now: Timestamp) {
        match self.looked {
            Some(looked) if now < looked => self.set_back(now),
            Some(looked) => {
                let passed = now.duration_since(looked).as_millis();
                self.age = self.age.saturating_add(u64::try_from(passed).unwrap_or(DAY).min(DAY));
            }
            None => {}
        }
        self.since = Some(self.since.map_or(now, |since| since.min(now)));
        self.looked = Some(now);
    }

    fn set_back(&mut self, now: Timestamp) {
        for line in self.services.values_mut().map(Arc::make_mut) {
            line.first_seen = line.first_seen.min(now);
            line.last_seen = line.last_seen.min(now);
            for turns in [&mut line.opened, &mut line.closed, &mut line.drifted] {
                turns.first = turns.first.map(|first| first.min(now));
                turns.last = turns.last.map(|last| last.min(now));
            }
            if let Some(approval) = &mut line.approval {
                approval.since = approval.since.min(now);
                approval.until = approval.until.map(|until| until.min(now));
            }
        }
    }

    /// A socket of it opened, then where that is known: as the log of events has it, however late it is judged.
    pub(super) fn opened(&mut self, judged: &Judged, at: Option<SystemTime>) {
        let Some(now) = self.looked else { return };
        let at = at.map_or(now, |at| self.while_kept(at, now));
        self.seen(judged, now, |line| {
            line.first_seen = line.first_seen.min(at);
            line.sockets = line.sockets.saturating_add(1);
            line.opened.count(at);
            line.judged(&judged.verdict, now);
        });
    }

    /// A socket of it closed, likewise.
    pub(super) fn closed(&mut self, judged: &Judged, at: SystemTime) {
        let Some(now) = self.looked else { return };
        let at = self.while_kept(at, now);
        self.seen(judged, now, |line| {
            line.sockets = line.sockets.saturating_sub(1);
            line.closed.count(at);
        });
    }

    /// What happened before it is kept, or by another clock, happened when it was first known.
    fn while_kept(&self, at: SystemTime, now: Timestamp) -> Timestamp {
        let at = Timestamp::try_from(at).map_or(now, |at| at.min(now));
        self.since.map_or(at, |since| since.max(at).min(now))
    }

    /// A drift of it opened, or came back.
    pub(super) fn drifted(&mut self, id: &str) {
        let Some(now) = self.looked else { return };
        if let Some(line) = self.services.get_mut(id) {
            Arc::make_mut(line).drifted.count(now);
        }
    }

    /// These are there now, and no others. True where something is otherwise than it was known.
    pub(super) fn walk(&mut self, services: &[Judged]) -> bool {
        let Some(now) = self.looked else { return false };
        let mut there: HashMap<&str, u64> = HashMap::new();
        let mut is_new = false;
        let in_force = std::mem::take(&mut self.in_force);
        for judged in services {
            let id = judged.service.id.as_str();
            let sockets = u64::try_from(judged.service.listeners.len()).unwrap_or(u64::MAX);
            *there.entry(id).or_default() += sockets;
            is_new |= !self.knows(id);
            // What has a peer has the id of what has none, and no verdict of its own.
            is_new |= self.seen(judged, now, |line| {
                let is_new = !judged.service.connected && line.judged(&judged.verdict, now);
                if is_new {
                    line.was_in_force(&in_force);
                }
                is_new
            });
        }
        for (id, line) in &mut self.services {
            let sockets = there.get(&**id).copied().unwrap_or_default();
            if line.sockets != sockets {
                is_new = true;
                Arc::make_mut(line).sockets = sockets;
            }
        }
        let age = self.age;
        let before = self.services.len();
        self.services.retain(|_, line| line.sockets > 0 || age.saturating_sub(line.seen_at) <= KEPT_FOR);
        self.names.forget();
        is_new || self.services.len() < before
    }

    /// Takes down in its line that it was there now, and what else there is to say.
    fn seen<T>(&mut self, judged: &Judged, now: Timestamp, say: impl FnOnce(&mut ServicePast) -> T) -> T {
        let age = self.age;
        let touch = |line: &mut ServicePast| {
            line.first_seen = line.first_seen.min(now);
            line.last_seen = now;
            line.seen_at = age;
            say(line)
        };
        let id = judged.service.id.as_str();
        match self.services.get_mut(id) {
            Some(line) => touch(Arc::make_mut(line)),
            None => {
                let mut line = ServicePast::of(judged, now);
                let said = touch(&mut line);
                self.names.share(&mut line);
                self.services.insert(id.into(), Arc::new(line));
                said
            }
        }
    }

    /// Keeps as many as there is room for; unless they must fit `now`, only where they are too many by far.
    ///
    /// What an approval never covered goes before what one did. Of either, the users who have the most lose first, so that
    /// whoever makes up services pushes out his own: as long as others have no more than their share of the room, they lose
    /// none. Of one user what is gone goes first, that which was gone for longest; then what came last.
    pub(super) fn make_room(&mut self, now: bool) {
        let room = if now { MOST } else { MOST + SLACK };
        if self.services.len() <= room {
            return;
        }
        for id in doomed(&self.services, self.services.len() - MOST) {
            self.services.remove(&id);
        }
        self.names.forget();
    }
}

impl Names {
    /// Has a line refer to what others have already.
    fn share(&mut self, line: &mut ServicePast) {
        for names in [&mut line.programs, &mut line.users, &mut line.workloads] {
            match self.0.get(&**names) {
                Some(known) => *names = known.clone(),
                None => drop(self.0.insert(names.clone())),
            }
        }
    }

    /// What no line has any more.
    fn forget(&mut self) {
        self.0.retain(|names| Arc::strong_count(names) > 1);
    }
}

impl Clone for Names {
    fn clone(&self) -> Self {
        Names::default()
    }
}

impl PartialEq for Names {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Names {}

/// So many ids of those that go first.
fn doomed(services: &BTreeMap<Arc<str>, Arc<ServicePast>>, mut many: usize) -> Vec<Arc<str>> {
    let mut doomed = Vec::with_capacity(many);
    for covered in [false, true] {
        let mut crowds: HashMap<Cow<'_, str>, Vec<(&Arc<str>, &ServicePast)>> = HashMap::new();
        for (id, line) in services.iter().filter(|(_, line)| line.approval.is_some() == covered) {
            crowds.entry(line.crowd()).or_default().push((id, line));
        }
        // The last of a crowd goes first.
        for crowd in crowds.values_mut() {
            crowd.sort_unstable_by_key(|(id, line)| (Reverse(line.staleness()), *id));
        }
        let sizes = crowds.iter().map(|(name, crowd)| (crowd.len(), name.clone()));
        let mut largest: BinaryHeap<(usize, Cow<'_, str>)> = sizes.collect();
        while many > 0
            && let Some((_, name)) = largest.pop()
        {
            let Some(crowd) = crowds.get_mut(&name) else { continue };
            doomed.extend(crowd.pop().map(|(id, _)| id.clone()));
            many -= 1;
            if !crowd.is_empty() {
                largest.push((crowd.len(), name));
            }
        }
    }
    doomed
}

impl ServicePast {
    fn of(judged: &Judged, now: Timestamp) -> Self {
        let service = &judged.service;
        let (seen_at, sockets, opened, closed, drifted, approval) = Default::default();
        ServicePast {
            protocol: service.protocol,
            address: service.address,
            port: service.port,
            device: service.device.clone(),
            netns: service.netns.clone(),
            programs: few(service.programs.iter().map(RawText::escaped)),
            users: few(service.users.iter().map(|user| RawText::from(user.as_str()).escaped())),
            workloads: few(service.workloads.iter().map(RawText::escaped)),
            first_seen: now,
            last_seen: now,
            seen_at,
            sockets,
            opened,
            closed,
            drifted,
            approval,
        }
    }

    /// It is there.
    pub fn is_there(&self) -> bool {
        self.sockets > 0
    }

    /// Takes in a verdict. True where it is another than it was.
    fn judged(&mut self, verdict: &Verdict, now: Timestamp) -> bool {
        let (id, learned) = match verdict {
            Verdict::Approved(id) => (id, false),
            Verdict::Learned(id) => (id, true),
            // What wants a restart is approved still, and what cannot be judged may be.
            Verdict::Drift(finding) if finding.kind == DriftKind::Outdated => return false,
            Verdict::Unjudged => return false,
            Verdict::Drift(_) => {
                let ends = self.approval.as_mut().filter(|approval| approval.until.is_none());
                return ends.map(|approval| approval.until = Some(now)).is_some();
            }
        };
        let id = cut(RawText::from(&**id).escaped());
        let same = |known: &CoveredBy| known.id == id && known.learned == learned && known.until.is_none();
        if self.approval.as_ref().is_some_and(|known| same(known)) {
            return false;
        }
        self.approval = Some(CoveredBy { id, learned, since: now, until: None }.into());
        true
    }

    /// What covers it did so before that was found, where a log says when it was put in force.
    pub(super) fn was_in_force(&mut self, in_force: &BTreeMap<String, Timestamp>) {
        if let Some(approval) = &mut self.approval
            && let Some(since) = in_force.get(&approval.id)
        {
            approval.since = approval.since.min(self.first_seen.max(*since));
        }
    }

    /// Whose they are: the one thing about a service that nobody can make up without privileges. Users without an account
    /// are one crowd, for who may map uids has thousands of them.
    fn crowd(&self) -> Cow<'_, str> {
        let is_number = |user: &str| user.bytes().all(|byte| byte.is_ascii_digit());
        let mut users: Vec<&str> =
            self.users.iter().map(|user| if is_number(user) { "#" } else { user.as_str() }).collect();
        users.sort_unstable();
        users.dedup();
        match users.as_slice() {
            [one] => Cow::Borrowed(one),
            many => Cow::Owned(many.join(",")),
        }
    }

    /// The greater, the sooner it stays: what is gone by when it was last seen, then what is there by how long it is.
    fn staleness(&self) -> (bool, u64, Reverse<Timestamp>) {
        match self.is_there() {
            true => (true, 0, Reverse(self.first_seen)),
            false => (false, self.seen_at, Reverse(Timestamp::MIN)),
        }
    }
}

impl Turns {
    pub(super) fn count(&mut self, now: Timestamp) {
        self.count = self.count.saturating_add(1);
        self.first = Some(self.first.map_or(now, |first| first.min(now)));
        self.last = Some(self.last.map_or(now, |last| last.max(now)));
    }
}

/// The first of them, each no longer than is kept.
pub(super) fn few(names: impl Iterator<Item = String>) -> Arc<[String]> {
    names.take(NAMES).map(cut).collect()
}

fn cut(name: String) -> String {
    if name.chars().count() <= LETTERS {
        return name;
    }
    let kept: String = name.chars().take(LETTERS).collect();
    kept + "…"
}
