use std::collections::BTreeMap;
use std::sync::Arc;

use inventory::{Listener, NetNsId, SocketId};

use super::Key;

/// What listens, in the order of ids, and how one batch of events changes it: the whole is put in order once in a batch,
/// not with each event.
#[derive(Debug, Default)]
pub(super) struct Batch {
    changed: BTreeMap<SocketId, Option<Arc<Listener>>>,
}

impl Batch {
    /// The listener that the kernel names so. `listeners` are those of before this batch.
    pub(super) fn get<'a>(&'a self, listeners: &'a [Arc<Listener>], key: Key) -> Option<&'a Listener> {
        let first = first_of(key);
        let is_it = |id: &SocketId| (id.netns, id.cookie) == (first.netns, first.cookie);
        if let Some((_, changed)) = self.changed.range(first..).next().filter(|(id, _)| is_it(id)) {
            return changed.as_deref();
        }
        let place = listeners.partition_point(|listener| listener.id < first);
        listeners.get(place).map(|listener| &**listener).filter(|listener| is_it(&listener.id))
    }

    /// It is new, or another than before.
    pub(super) fn put(&mut self, listener: Listener) {
        self.changed.insert(listener.id, Some(listener.into()));
    }

    /// It is gone.
    pub(super) fn remove(&mut self, id: SocketId) {
        self.changed.insert(id, None);
    }

    /// Ends the batch.
    pub(super) fn apply(&mut self, listeners: &mut Vec<Arc<Listener>>) {
        if self.changed.is_empty() {
            return;
        }
        let changed = std::mem::take(&mut self.changed);
        listeners.retain(|listener| !changed.contains_key(&listener.id));
        listeners.extend(changed.into_values().flatten());
        // Two runs in order: this sort finds them.
        listeners.sort_by_key(|listener| listener.id);
    }
}

/// Ids are ordered by namespace, then cookie.
fn first_of((netns, cookie): Key) -> SocketId {
    SocketId { netns: NetNsId::Cookie(netns), cookie, inode: 0 }
}

#[cfg(test)]
mod tests;
