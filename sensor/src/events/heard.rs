//! Openings that perf told: it names neither the socket nor its namespace, so a look has to find them.

use std::collections::HashMap;
use std::net::IpAddr;

use inventory::{Event, Inventory, Protocol, SocketId};

use super::clock::Clock;
use super::perf::{Sample, SocketKey};
use crate::bpf::{EventKind, EventRecord, SocketRecord};
use crate::watcher::Watcher;

/// More openings than these are left to the look alone.
const MOST: usize = 100_000;

/// Sockets that opened since the last look.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    open: HashMap<SocketKey, Sample>,
    /// With when they closed.
    passed: Vec<(Sample, u64)>,
}

impl Heard {
    /// Takes what perf told.
    pub(crate) fn take(&mut self, samples: Vec<Sample>) {
        for sample in samples {
            if sample.opened {
                if self.open.len() < MOST {
                    self.open.insert(sample.socket, sample);
                }
            } else if let Some(mut opened) = self.open.remove(&sample.socket) {
                if opened.port == 0 {
                    opened.port = sample.port;
                }
                if self.passed.len() < MOST {
                    self.passed.push((opened, sample.boot_nanos));
                }
            }
        }
    }

    /// Something opened that no look has shown.
    pub(crate) fn waits_for_look(&self) -> bool {
        !self.open.is_empty()
    }

    /// After a look that began at this moment of CLOCK_BOOTTIME and shows what is open: what came and went before it.
    pub(crate) fn looked(&mut self, watcher: &mut Watcher, began: u64) -> Vec<Event> {
        // What opened while it was under way it may have missed.
        self.open.retain(|_, opened| opened.boot_nanos >= began && !is_shown(opened, &watcher.now));
        let clock = Clock::now();
        let mut events = Vec::new();
        let mut described = HashMap::new();
        for (opened, closed_at) in std::mem::take(&mut self.passed) {
            // Perf tells of the whole machine, and not in which namespace.
            let told = record(&opened).filter(|record| watcher.sensor.concerns_us(record));
            let Some(mut record) = told else { continue };
            record.socket.netns_cookie = record.pid.map_or(0, |pid| watcher.sensor.netns_of(pid));
            let since = clock.wall(opened.boot_nanos);
            let Some(mut listener) = watcher.sensor.passing(&record, since, &mut described) else { continue };
            // Nothing else tells it from others.
            listener.id = SocketId { cookie: opened.boot_nanos, ..listener.id };
            let id = listener.id;
            events.extend([Event::Opened(listener), Event::Closed(id, clock.wall(closed_at))]);
        }
        events
    }
}

fn protocol_of(sample: &Sample) -> Option<Protocol> {
    match sample.protocol {
        6 => Some(Protocol::Tcp),
        33 => Some(Protocol::Dccp),
        132 => Some(Protocol::Sctp),
        262 => Some(Protocol::Mptcp),
        _ => None,
    }
}

/// Whether a look shows it, as far as can be told without its cookie.
fn is_shown(opened: &Sample, now: &Inventory) -> bool {
    now.listeners.iter().any(|listener| {
        let endpoint = &listener.endpoint;
        let is_there =
            endpoint.address == opened.address && (opened.port == 0 || endpoint.port == opened.port);
        let holds = |pid| listener.holders.known().iter().any(|holder| holder.id.pid == pid);
        Some(endpoint.protocol) == protocol_of(opened) && is_there && opened.pid.is_none_or(holds)
    })
}

fn record(sample: &Sample) -> Option<EventRecord> {
    let protocol = protocol_of(sample)?;
    let socket =
        SocketRecord { protocol: Some(protocol), ..SocketRecord::nameless(sample.address, sample.port) };
    Some(EventRecord {
        kind: EventKind::Opened,
        boot_nanos: sample.boot_nanos,
        start_nanos: 0,
        pid: sample.pid,
        kernel_pid: 0,
        uid: 0,
        name: inventory::RawText::default(),
        socket,
        program: None,
        cgroup: Vec::new(),
        described_before: false,
    })
}

impl SocketRecord {
    /// Of which nothing is known but where it was bound.
    pub(crate) fn nameless(address: IpAddr, port: u16) -> Self {
        SocketRecord {
            cookie: 0,
            netns_cookie: 0,
            inode: 0,
            netns_inode: 0,
            uid: 0,
            device: 0,
            backlog: 0,
            protocol: None,
            address,
            port,
            peer: None,
            v6_only: false,
            reuse_port: false,
            asked_for_port: None,
            whole: false,
        }
    }
}

#[cfg(test)]
mod tests;
