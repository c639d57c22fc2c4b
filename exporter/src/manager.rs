//! What the service manager is told, sd_notify(3); nothing where none asks.

use std::future::pending;
use std::io;
use std::time::Duration;

use sd_notify::{NotifyState, notify};
use tokio::task::spawn_blocking;
use tokio::time::{interval, timeout};
use tracing::warn;

/// A manager that takes nothing must not keep us from our work.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers are given from now on.
pub(crate) async fn tell_ready(where_served: String) {
    tell_in_time(move || notify(&[NotifyState::Ready, NotifyState::Status(&where_served)])).await;
}

/// What comes in now is no more answered.
pub(crate) async fn tell_end() {
    tell_in_time(|| notify(&[NotifyState::Stopping])).await;
}

/// Says that the event loop turns, three times in the time after which the manager starts us again.
pub(crate) async fn keep_alive() {
    let Some(patience) = sd_notify::watchdog_enabled() else { return pending().await };
    let mut turns = interval(patience / 3);
    loop {
        turns.tick().await;
        tell(|| notify(&[NotifyState::Watchdog])).await;
    }
}

async fn tell_in_time(send: impl FnOnce() -> io::Result<()> + Send + 'static) {
    if timeout(PATIENCE, tell(send)).await.is_err() {
        warn!("the service manager takes no word of how it goes");
    }
}

/// Returns when it is told: sending waits where the manager's queue is full, and the event loop must not.
async fn tell(send: impl FnOnce() -> io::Result<()> + Send + 'static) {
    match spawn_blocking(send).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!("the service manager cannot be told how it goes: {error}"),
        Err(error) => warn!("the service manager cannot be told how it goes: {error}"),
    }
}
