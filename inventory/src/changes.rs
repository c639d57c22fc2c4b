use std::sync::Arc;

use crate::{Listener, SocketId};

/// What differs between two inventories of one host.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Changes {
    /// Sockets that were not there before.
    pub opened: Vec<Arc<Listener>>,
    /// Sockets that were, with other holders, another reach or another name of their namespace.
    pub changed: Vec<Arc<Listener>>,
    /// Sockets that are not there any more.
    pub closed: Vec<SocketId>,
}

impl Changes {
    /// What turns `before` into `after`, both ordered by [`SocketId`].
    pub fn between<'a>(
        before: impl IntoIterator<Item = &'a Arc<Listener>>,
        after: impl IntoIterator<Item = &'a Arc<Listener>>,
    ) -> Self {
        let mut changes = Changes::default();
        let mut old = before.into_iter().peekable();
        for new in after {
            while let Some(gone) = old.next_if(|old| old.id < new.id) {
                changes.closed.push(gone.id);
            }
            match old.next_if(|old| old.id == new.id) {
                None => changes.opened.push(new.clone()),
                Some(same) if same != new => changes.changed.push(new.clone()),
                Some(_) => {}
            }
        }
        changes.closed.extend(old.map(|gone| gone.id));
        changes
    }

    /// Nothing differs.
    pub fn is_empty(&self) -> bool {
        self.opened.is_empty() && self.changed.is_empty() && self.closed.is_empty()
    }
}
