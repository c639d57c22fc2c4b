use inventory::frame::{Pass, Tells};
use inventory::{Happening, SocketId};

use crate::crowd::LeftOut;

/// What came in and is not judged yet.
#[derive(Default)]
pub(super) struct News {
    pub(super) happened: Vec<Happening>,
    /// Sockets whose end was told as an event; what a look lacks it may not have seen.
    pub(super) ended: Vec<SocketId>,
    pub(super) looked: bool,
    pub(super) covers_otherwise: bool,
    pub(super) first: bool,
    pub(super) left_out: LeftOut,
}

impl News {
    pub(super) fn add(&mut self, pass: Pass) {
        self.looked |= pass.tells != Tells::Events;
        self.covers_otherwise |= pass.covers_otherwise;
        self.first |= pass.first;
        if pass.tells == Tells::Events {
            self.ended.extend(pass.happened.iter().filter_map(ended));
        }
        self.happened.extend(pass.happened);
    }

    pub(super) fn is_any(&self) -> bool {
        self.looked || self.is_to_be_judged()
    }

    pub(super) fn is_to_be_judged(&self) -> bool {
        self.first || self.covers_otherwise || !self.happened.is_empty()
    }
}

fn ended(happening: &Happening) -> Option<SocketId> {
    matches!(happening, Happening::Closed { .. }).then(|| happening.id())
}
