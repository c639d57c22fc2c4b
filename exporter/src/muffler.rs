use std::time::{Duration, Instant};

use tracing::warn;

/// Says a thing that may happen a thousand times a second once in ten seconds.
#[derive(Default)]
pub(crate) struct Muffler {
    said: Option<Instant>,
    unsaid: u64,
}

impl Muffler {
    const PAUSE: Duration = Duration::from_secs(10);

    /// Whether what is to be said now is said.
    pub(crate) fn would_say(&self) -> bool {
        self.said.is_none_or(|said| said.elapsed() >= Self::PAUSE)
    }

    pub(crate) fn say(&mut self, message: impl FnOnce() -> String) {
        if !self.would_say() {
            self.unsaid += 1;
            return;
        }
        match std::mem::take(&mut self.unsaid) {
            0 => warn!("{}", message()),
            more => warn!("{} (and {more} more like it)", message()),
        }
        self.said = Some(Instant::now());
    }
}
