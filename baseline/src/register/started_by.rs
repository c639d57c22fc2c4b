use std::collections::HashMap;
use std::sync::Arc;

use inventory::{Holder, Parent, RawText, Session, SocketId, Workload};
use serde::{Deserialize, Serialize};

use super::Drift;
use crate::Accounts;

/// A name of a process is 15 bytes, of a kernel's worker 63.
const NAME: usize = 64;
/// The longest name of a host, RFC 1035.
const FROM: usize = 255;

/// Who started the process that a drift was first found on, as it was then: those above it may have ended since.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StartedBy {
    /// The processes above it, nearest first, without pid 1; at most [`StartedBy::PARENTS`].
    pub parents: Vec<Starter>,
    /// The login session that it is in. Its parents' are not known apart: a process is born in its parent's.
    pub session: Option<Session>,
    /// The name of its user, where the host knows one.
    #[serde(default)]
    pub user: Option<String>,
}

/// A process above one that listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Starter {
    /// Its pid when the chain was read.
    pub pid: u32,
    /// /proc/PID/comm, which it can set itself.
    pub name: RawText,
}

impl StartedBy {
    /// How many parents are kept.
    pub const PARENTS: usize = 8;

    /// `None` where nothing tells it: a daemon below pid 1, or one whose parents were not read.
    pub(super) fn of(holder: &Holder, accounts: &Accounts) -> Option<Self> {
        let named = |parent: &Parent| Starter { pid: parent.pid, name: parent.name.clone() };
        let parents = holder.parents.iter().take(StartedBy::PARENTS).map(named).collect();
        let session = match &holder.workload {
            Workload::Session(session) => Some(session.clone()),
            Workload::Unit(_) | Workload::Container(_) | Workload::None => None,
        };
        let user = session.as_ref().and_then(|session| accounts.name(session.uid)).map(str::to_owned);
        StartedBy { parents, session, user }.bounded()
    }

    /// Ten thousand of them are kept, of whatever was read.
    pub(super) fn bounded(mut self) -> Option<Self> {
        self.parents.truncate(StartedBy::PARENTS);
        self.parents.iter_mut().for_each(|parent| cut(&mut parent.name, NAME));
        if let Some(session) = &mut self.session {
            cut(&mut session.id, NAME);
            session.from.iter_mut().for_each(|from| cut(from, FROM));
        }
        self.user = self.user.filter(|user| user.len() <= FROM);
        let says_nothing = self.parents.is_empty() && self.session.is_none();
        (!says_nothing).then_some(self)
    }
}

/// Whoever took a socket over from another drift was started by whom that was: the processes between them may have ended, and
/// with them the chain.
pub(super) fn inherit<'d>(
    heirs: impl Iterator<Item = &'d mut Drift>,
    earlier: impl Iterator<Item = &'d Drift>,
) {
    let has_parents = |drift: &Drift| drift.started_by.as_ref().is_some_and(|by| !by.parents.is_empty());
    let heirs: Vec<&mut Drift> = heirs.filter(|heir| !has_parents(heir)).collect();
    if heirs.is_empty() {
        return;
    }
    let mut starters: HashMap<SocketId, &Arc<StartedBy>> = HashMap::new();
    for drift in earlier.filter(|drift| has_parents(drift)) {
        for listener in drift.listeners() {
            starters.extend(drift.started_by.as_ref().map(|by| (listener.id, by)));
        }
    }
    for heir in heirs {
        let known = heir.listeners().iter().find_map(|listener| starters.get(&listener.id));
        if let Some(known) = known {
            heir.started_by = Some(Arc::clone(known));
        }
    }
}

fn cut(name: &mut RawText, bytes: usize) {
    if let Some(kept) = name.as_bytes().get(..bytes) {
        *name = RawText::new(kept);
    }
}
