//! What the service manager is told, sd_notify(3); nothing where none asks.

use std::future::pending;

use sd_notify::NotifyState;
use tracing::warn;

/// Answers are given from now on.
pub(crate) fn tell_ready(where_served: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(where_served)]);
}

/// What comes in now is no more answered.
pub(crate) fn tell_end() {
    tell(&[NotifyState::Stopping]);
}

/// Says that the event loop turns, three times in the time after which the manager starts us again.
pub(crate) async fn keep_alive() {
    let Some(patience) = sd_notify::watchdog_enabled() else { return pending().await };
    let mut turns = tokio::time::interval(patience / 3);
    loop {
        turns.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!("the service manager cannot be told how it goes: {error}");
    }
}
