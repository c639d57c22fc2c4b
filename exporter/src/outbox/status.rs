use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::receiver::{Log, Receiver};

/// How the export to one receiver goes, for whoever scrapes.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) receiver: String,
    pub(crate) logs: Vec<Arc<LogStatus>>,
    connected: AtomicBool,
}

/// How one of its logs goes. Numbers are those of records.
#[derive(Debug)]
pub(crate) struct LogStatus {
    pub(crate) log: Log,
    readable: AtomicBool,
    head: AtomicU64,
    position: AtomicU64,
    exported: AtomicU64,
    missed: AtomicU64,
}

impl Status {
    pub(crate) fn new(receiver: &Receiver) -> Self {
        let log = |log: &Log| Arc::new(LogStatus::new(*log));
        Status {
            receiver: receiver.name.clone(),
            logs: receiver.logs.iter().map(log).collect(),
            connected: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_connected(&self, now: bool) {
        self.connected.store(now, Ordering::Relaxed);
    }

    pub(crate) fn connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Records that are not known to have arrived.
    pub(crate) fn lag(&self) -> u64 {
        self.logs.iter().map(|log| log.lag()).sum()
    }

    pub(crate) fn missed(&self) -> u64 {
        self.logs.iter().map(|log| log.missed.load(Ordering::Relaxed)).sum()
    }
}

impl LogStatus {
    pub(crate) fn new(log: Log) -> Self {
        let (head, position, exported, missed) = Default::default();
        LogStatus { log, readable: AtomicBool::new(true), head, position, exported, missed }
    }

    pub(crate) fn is_readable(&self, now: bool) {
        self.readable.store(now, Ordering::Relaxed);
    }

    pub(crate) fn readable(&self) -> bool {
        self.readable.load(Ordering::Relaxed)
    }

    /// The newest record.
    pub(crate) fn head(&self, record: u64) {
        self.head.store(record, Ordering::Relaxed);
    }

    /// The newest record that has arrived, and how many have with it.
    pub(crate) fn arrived(&self, position: u64, records: u64) {
        self.position.store(position, Ordering::Relaxed);
        self.exported.fetch_add(records, Ordering::Relaxed);
    }

    pub(crate) fn missed(&self, records: u64) {
        self.missed.fetch_add(records, Ordering::Relaxed);
    }

    pub(crate) fn exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    fn lag(&self) -> u64 {
        self.head.load(Ordering::Relaxed).saturating_sub(self.position.load(Ordering::Relaxed))
    }
}
