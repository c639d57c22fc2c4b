//! What somebody is to be told of drift: which alerts fire, the log of their turns, and whoever they are posted to. Each turn
//! has a number, and arrives at each receiver at least once; by its id and by when it was first seen a receiver knows what
//! it was told before.

mod alertmanager;
mod answer;
mod book;
mod client;
mod clocks;
mod cursor;
mod feed;
mod kept;
mod poster;
mod recall;
mod receiver;
mod status;
mod told;
mod trial;
mod turn;
mod turns;
mod webhook;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use self::poster::Poster;

pub(crate) use book::{Book, Known};
pub(crate) use kept::{keep, restore};
pub(crate) use recall::recall;
pub use receiver::{AlertReceiver, AlertReceiverError, AlertReceiverKeys, AlertReceiverKind};
use status::ReceiverEntry;
pub(crate) use status::Status;
pub use trial::try_receiver;
use trial::{TRIAL, TRIAL_TEXT, trial_summary};
pub(crate) use turn::Turn;
#[cfg(test)]
pub(crate) use turn::{Step, Why};
pub(crate) use turns::Turns;

/// Who tells people of drift.
#[derive(Clone, Debug, Default)]
pub struct Alerting {
    /// Whom alerts are posted to; `None` where Prometheus' rules alert.
    pub post_to: Option<Vec<AlertReceiver>>,
}

impl Alerting {
    /// `rules` or `post`.
    pub(crate) fn path(&self) -> &'static str {
        if self.post_to.is_some() { "post" } else { "rules" }
    }

    /// The TCP ports of those who receive.
    pub(crate) fn ports(&self) -> impl Iterator<Item = u16> {
        self.receivers().map(|receiver| receiver.to.port)
    }

    /// The files that they are asked with.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.receivers().flat_map(AlertReceiver::files).collect()
    }

    fn receivers(&self) -> impl Iterator<Item = &AlertReceiver> {
        self.post_to.iter().flatten()
    }
}

/// The threads that post; they end when it is dropped.
pub(crate) struct Posting {
    turns: Arc<Turns>,
    told: Arc<Told>,
}

/// How alerting goes, for whoever asks.
pub(crate) struct Told {
    pub(crate) path: &'static str,
    /// In the order of the receivers.
    pub(crate) statuses: Vec<Arc<Status>>,
    turns: Arc<Turns>,
}

impl Default for Told {
    fn default() -> Self {
        Told { path: Alerting::default().path(), statuses: Vec::new(), turns: Arc::default() }
    }
}

/// An alert that is no more, for people.
pub(crate) struct Over {
    /// As it was told.
    pub(crate) summary: String,
    /// Since when, why and by whom.
    pub(crate) how: String,
}

/// As `/api/v1/alerts` has it.
#[derive(Serialize)]
struct Document {
    schema: u32,
    path: &'static str,
    firing: usize,
    newest: u64,
    receivers: Vec<ReceiverEntry>,
}

impl Told {
    pub(crate) fn document(&self) -> impl Serialize + use<> {
        let book = self.turns.book();
        let receivers = self.statuses.iter().map(|status| status.entry(book.seq)).collect();
        Document { schema: 1, path: self.path, firing: book.firing.len(), newest: book.seq, receivers }
    }

    /// How the last alert of this id ended, where that was of late.
    pub(crate) fn over(&self, id: &str) -> Option<Over> {
        let book = self.turns.book();
        let ended = book.ended.iter().rev().find(|turn| turn.id() == id)?;
        Some(Over { summary: ended.about.summary(), how: told::description(ended) })
    }

    /// The number of the newest turn.
    pub(crate) fn newest(&self) -> u64 {
        self.turns.book().seq
    }
}

impl Posting {
    /// `external_url` is the address by which others reach our pages; empty where it is not known.
    pub(crate) fn start(
        alerting: &Alerting,
        turns: Arc<Turns>,
        folder: &Path,
        external_url: &str,
    ) -> std::io::Result<Self> {
        let mut statuses = Vec::new();
        for receiver in alerting.receivers() {
            let status = Arc::new(Status::new(receiver));
            let poster = Poster::new(receiver.clone(), turns.clone(), folder, external_url, status.clone())?;
            std::thread::Builder::new().name("alerts".to_owned()).spawn(move || poster.work())?;
            statuses.push(status);
        }
        let told = Arc::new(Told { path: alerting.path(), statuses, turns: turns.clone() });
        Ok(Posting { turns, told })
    }

    pub(crate) fn told(&self) -> Arc<Told> {
        self.told.clone()
    }
}

impl Drop for Posting {
    fn drop(&mut self) {
        self.turns.end();
    }
}
