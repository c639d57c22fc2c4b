//! Logs, as they grow, to those who gather them: syslog and journald. At least once: where a receiver or we go away, it is
//! told again what it may not have, and each record's number and hash tell which those are.

mod backoff;
mod bell;
mod event;
#[cfg(test)]
mod fixtures;
mod journal;
mod link;
mod positions;
mod receiver;
mod resync;
mod rfc5424;
mod seam;
mod sender;
mod source;
mod status;
mod tls;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use self::receiver::Destination;
use self::rfc5424::Origin;
use self::sender::Sender;

pub(crate) use backoff::{Backoff, random};
pub(crate) use receiver::{Log, is_name};
pub use receiver::{Receiver, ReceiverError, TlsFiles};
pub(crate) use source::Source;
pub(crate) use status::{LogStatus, Status};
pub(crate) use tls::{BUNDLES, config as tls_config};

/// What is exported to whom.
#[derive(Clone, Debug, Default)]
pub struct Exports {
    /// The name of this host in messages.
    pub host: String,
    /// Whose names differ.
    pub receivers: Vec<Receiver>,
}

impl Exports {
    /// The TCP ports of those who receive.
    pub(crate) fn ports(&self) -> impl Iterator<Item = u16> {
        self.receivers.iter().filter_map(|receiver| match &receiver.to {
            Destination::Tcp(peer) | Destination::Tls(peer, _) => Some(peer.port),
            Destination::Unix(_) | Destination::Journal(_) => None,
        })
    }

    /// The files that connections are made with.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let of_tls = |receiver: &Receiver| match &receiver.to {
            Destination::Tls(_, files) => [files.ca.clone(), files.certificate.clone(), files.key.clone()],
            Destination::Tcp(_) | Destination::Unix(_) | Destination::Journal(_) => [None, None, None],
        };
        self.receivers.iter().flat_map(of_tls).flatten().collect()
    }
}

/// The threads that export; they end when it is dropped. What was sent in the last seconds before is sent again.
pub(crate) struct Outbox {
    ends: Arc<AtomicBool>,
    statuses: Arc<[Arc<Status>]>,
}

/// Why nothing is exported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutboxError {
    #[error("export `{0}`: {1}")]
    Tls(String, tls::TlsError),
    #[error("its thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

impl Outbox {
    /// Files that cannot be used are told before anything is started.
    pub(crate) fn start(exports: Exports, folder: &Path) -> Result<Self, OutboxError> {
        for receiver in &exports.receivers {
            if let Destination::Tls(_, files) = &receiver.to {
                tls::config(files).map_err(|error| OutboxError::Tls(receiver.name.clone(), error))?;
            }
        }
        let origin = Origin::new(&exports.host, std::process::id());
        let ends = Arc::new(AtomicBool::new(false));
        let statuses: Arc<[Arc<Status>]> =
            exports.receivers.iter().map(|receiver| Arc::new(Status::new(receiver))).collect();
        for (receiver, status) in exports.receivers.into_iter().zip(statuses.iter()) {
            let sender = Sender::new(receiver, origin.clone(), folder, status.clone());
            let ends = ends.clone();
            let thread = std::thread::Builder::new().name("export".to_owned());
            thread.spawn(move || sender.work(&ends))?;
        }
        Ok(Outbox { ends, statuses })
    }

    /// How it goes, in the order of the receivers.
    pub(crate) fn statuses(&self) -> Arc<[Arc<Status>]> {
        self.statuses.clone()
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

/// A record of a log, as it goes to each kind of receiver: one message, or one entry, whatever stands in it.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzzed(line: &[u8]) {
    let origin = rfc5424::Origin::new("web", 7);
    let Ok(facility) = receiver::Facility::of("authpriv") else { return };
    for log in receiver::Log::ALL {
        let event = event::Event::of(log, 7, "0af3", line);
        let message = rfc5424::message(&origin, facility, &event);
        assert!(message.chars().all(inventory::is_seen), "{message:?} is more than one line");
        let cut = rfc5424::cut_message(&origin, facility, &event, 600);
        assert!(cut.chars().all(inventory::is_seen));
        let entry = journal::entry(facility, &event);
        for field in entry.split(|byte| *byte == b'\n').filter(|field| !field.is_empty()) {
            let name = field.split(|byte| *byte == b'=').next().unwrap_or_default();
            assert!(
                name.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_'),
                "{}",
                field.escape_ascii()
            );
        }
    }
}
