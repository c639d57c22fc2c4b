use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use inventory::{Holder, Holders, Listener, NetNsId, Unattributed};

use super::Key;
use crate::happening::Held;

/// What some processes hold, looked at again.
#[derive(Debug, Default)]
pub(super) struct Refreshed {
    pub(super) looked_at: BTreeSet<u32>,
    held: HashMap<u64, Vec<Arc<Holder>>>,
    peers: HashMap<Key, Option<SocketAddr>>,
}

impl Refreshed {
    pub(super) fn add(&mut self, pid: u32, held: Held) {
        self.looked_at.insert(pid);
        for hold in &held.holds {
            self.held.entry(hold.inode).or_default().extend(held.holder.clone());
        }
        let of_file = held.files.iter().map(|file| &file.socket);
        self.peers.extend(of_file.map(|socket| ((socket.netns_cookie, socket.cookie), socket.peer)));
    }

    /// Its holders, those that were not looked at as they were.
    pub(super) fn holders_of(&self, listener: &Listener) -> Holders {
        let known = listener.holders.known();
        let held = self.held.get(&listener.id.inode);
        if held.is_none() && !known.iter().any(|holder| self.looked_at.contains(&holder.id.pid)) {
            return listener.holders.clone();
        }
        let others = known.iter().filter(|holder| !self.looked_at.contains(&holder.id.pid));
        let mut holders: Vec<Arc<Holder>> = others.chain(held.into_iter().flatten()).cloned().collect();
        holders.sort_by_key(|holder| holder.id);
        match holders.is_empty() {
            false => Holders::Known(holders),
            true => Holders::Unattributed(Unattributed::Exited),
        }
    }

    /// Its peer, as it was where none of its holders was looked at.
    pub(super) fn peer_of(&self, listener: &Listener) -> Option<SocketAddr> {
        let NetNsId::Cookie(netns) = listener.id.netns else { return listener.peer };
        self.peers.get(&(netns, listener.id.cookie)).copied().unwrap_or(listener.peer)
    }

    /// All who held it hold it no more.
    pub(super) fn leaves_unheld(&self, listener: &Listener) -> bool {
        let was_held = matches!(listener.holders, Holders::Known(_));
        was_held && matches!(self.holders_of(listener), Holders::Unattributed(_))
    }
}
