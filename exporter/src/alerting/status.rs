use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::Serialize;

use super::receiver::{AlertReceiver, AlertReceiverKind};
use crate::alert::Moment;
use crate::document::time;

/// How posting to one receiver goes, for whoever asks.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) receiver: String,
    kind: AlertReceiverKind,
    url: String,
    delivered: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    /// How many fire that it refuses.
    refusing: AtomicU64,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Up to which turn it was told.
    seq: u64,
    succeeded: Option<SystemTime>,
    /// When the last try failed, and why; `None` once one succeeded.
    error: Option<(SystemTime, String)>,
    /// When it last refused an alert, and why.
    refusal: Option<(SystemTime, String)>,
    /// When the oldest of what waits was told to everybody.
    waits_since: Option<Moment>,
}

/// As `/api/v1/alerts` has it.
#[derive(Serialize)]
pub(crate) struct ReceiverEntry {
    name: String,
    kind: &'static str,
    /// Without secrets.
    url: String,
    connected: bool,
    last_success: Option<String>,
    last_failure: Option<String>,
    last_error: Option<String>,
    last_refusal: Option<String>,
    refused_because: Option<String>,
    pending: u64,
    pending_since: Option<String>,
    delivered: u64,
    refused: u64,
    failed: u64,
    refusing: u64,
}

impl Status {
    pub(crate) fn new(receiver: &AlertReceiver) -> Self {
        let (delivered, refused, failed, refusing, state) = Default::default();
        Status {
            receiver: receiver.name.clone(),
            kind: receiver.kind,
            url: receiver.to.to_string(),
            delivered,
            refused,
            failed,
            refusing,
            state,
        }
    }

    pub(crate) fn succeeded(&self, now: SystemTime) {
        let mut state = self.lock();
        (state.succeeded, state.error) = (Some(now), None);
    }

    /// So many were not delivered by this try.
    pub(crate) fn failed(&self, alerts: u64, why: &str, now: SystemTime) {
        self.failed.fetch_add(alerts, Ordering::Relaxed);
        self.lock().error = Some((now, why.to_owned()));
    }

    pub(crate) fn delivered(&self, alerts: u64) {
        self.delivered.fetch_add(alerts, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, why: &str, now: SystemTime) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.lock().refusal = Some((now, why.to_owned()));
    }

    pub(crate) fn refuses(&self, alerts: usize) {
        self.refusing.store(u64::try_from(alerts).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Up to this turn it was told, and since when the next waits.
    pub(crate) fn is_at(&self, seq: u64, waits_since: Option<Moment>) {
        let mut state = self.lock();
        state.seq = seq;
        state.waits_since = waits_since;
    }

    /// Turns that did not arrive, of so many that there are.
    pub(crate) fn pending(&self, newest: u64) -> u64 {
        newest.saturating_sub(self.lock().seq)
    }

    pub(crate) fn last_success(&self) -> Option<SystemTime> {
        self.lock().succeeded
    }

    /// `delivered`, `refused`, `failed`.
    pub(crate) fn outcomes(&self) -> [(&'static str, u64); 3] {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("delivered", load(&self.delivered)),
            ("refused", load(&self.refused)),
            ("failed", load(&self.failed)),
        ]
    }

    pub(crate) fn entry(&self, newest: u64) -> ReceiverEntry {
        let State { succeeded, error, refusal, waits_since, .. } = self.lock().clone();
        let pending = self.pending(newest);
        let [(_, delivered), (_, refused), (_, failed)] = self.outcomes();
        ReceiverEntry {
            name: self.receiver.clone(),
            kind: self.kind.as_str(),
            url: self.url.clone(),
            connected: succeeded.is_some() && error.is_none(),
            last_success: succeeded.map(time),
            last_failure: error.as_ref().map(|(at, _)| time(*at)),
            last_error: error.map(|(_, why)| why),
            last_refusal: refusal.as_ref().map(|(at, _)| time(*at)),
            refused_because: refusal.map(|(_, why)| why),
            pending,
            pending_since: waits_since.filter(|_| pending > 0).map(|since| since.to_string()),
            delivered,
            refused,
            failed,
            refusing: self.refusing.load(Ordering::Relaxed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can leave it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
