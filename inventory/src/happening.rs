use std::sync::Arc;
use std::time::SystemTime;

use crate::{Listener, SocketId};

/// A step from one inventory to the next, with all that is known of the socket. Of one socket there is one opening and
/// one closing, however often either was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It began to listen.
    Opened(Arc<Listener>),
    /// It listens still, and differs.
    Changed {
        /// As it was.
        before: Arc<Listener>,
        /// As it is.
        after: Arc<Listener>,
    },
    /// It listens no more.
    Closed {
        /// As it was last known.
        listener: Arc<Listener>,
        /// Since when, as far as is known.
        at: SystemTime,
    },
}

impl Happening {
    /// Which socket.
    pub fn id(&self) -> SocketId {
        match self {
            Happening::Opened(listener)
            | Happening::Changed { after: listener, .. }
            | Happening::Closed { listener, .. } => listener.id,
        }
    }
}
