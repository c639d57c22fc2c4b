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

    pub(crate) fn say(&mut self, message: impl FnOnce() -> String) {
        if self.said.is_some_and(|said| said.elapsed() < Self::PAUSE) {
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
