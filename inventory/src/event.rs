use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::{Listener, SocketId};

/// Something that happened to a socket between two looks, as the kernel told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It began to listen, at [`Listener::since`]. It may be closed by now: then its `Closed` follows.
    Opened(Listener),
    /// It was known, and has other holders, another port or another peer.
    Changed(Listener),
    /// It listens no more, as of this moment.
    Closed(SocketId, SystemTime),
}

/// In how much a look differed from what events had told before it, by what differed. Nothing of a kind that no event
/// tells counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Discrepancies {
    /// Sockets that listen and of which no opening was told.
    pub unannounced: u32,
    /// Sockets of which no end was told, and which are gone.
    pub lingering: u32,
    /// Sockets that differ from what was told of them.
    pub altered: u32,
}

impl Discrepancies {
    /// The kinds by their words in labels and JSON, with their counts.
    pub const fn by_kind(self) -> [(&'static str, u32); 3] {
        [("unannounced", self.unannounced), ("lingering", self.lingering), ("altered", self.altered)]
    }
}
