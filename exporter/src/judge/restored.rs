use std::path::Path;

use baseline::{Dismissal, Register};
use tracing::warn;

use crate::alerting::{self, Book};
use crate::dismissals::Dismissals;
use crate::scribe::restore_register;

/// Which drift an earlier process left open, what it told of it, and what people let be.
pub(super) struct Restored {
    pub(super) register: Register,
    /// How many of it were known by their alerts alone.
    pub(super) recalled: usize,
    pub(super) book: Book,
    pub(super) dismissals: Dismissals,
    /// Read by now, and not closed yet.
    pub(super) dismissed: Vec<Dismissal>,
}

impl Restored {
    pub(super) fn of(state: &Path) -> Self {
        let (mut register, book) = (restore_register(state), alerting::restore(state));
        let may_be_let_be = !book.firing.is_empty() || register.by_id().any(|drift| !drift.is_present());
        let mut dismissals = Dismissals::new(state, may_be_let_be);
        let dismissed = dismissals.read();
        let recalled = alerting::recall(&mut register, &book, &dismissed);
        if recalled > 0 {
            warn!("{recalled} drifts that alerts tell of were not written down as open: they are open again");
        }
        Restored { register, recalled, book, dismissals, dismissed }
    }
}
