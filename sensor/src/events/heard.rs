//! Openings that perf told: it names neither the socket nor its namespace, so a look has to find them.

use std::collections::HashMap;
use std::net::IpAddr;

use inventory::{Event, Protocol, SocketId};

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
            if sample.opened && self.open.len() < MOST {
                self.open.insert(sample.socket, sample);
            } else if let Some(mut opened) = self.open.remove(&sample.socket) {
                if opened.port == 0 {
                    opened.port = sample.port;
                }
                self.passed.push((opened, sample.boot_nanos));
            }
        }
    }

    /// After a look, which shows what is open: what came and went before it.
    pub(crate) fn looked(&mut self, watcher: &mut Watcher) -> Vec<Event> {
        self.open.clear();
        let clock = Clock::now();
        let mut events = Vec::new();
        let mut described = HashMap::new();
        for (opened, closed_at) in std::mem::take(&mut self.passed) {
            let Some(record) = record(&opened) else { continue };
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

fn record(sample: &Sample) -> Option<EventRecord> {
    const MPTCP: u16 = 262;
    const TCP: u16 = 6;
    let protocol = match sample.protocol {
        TCP => Protocol::Tcp,
        MPTCP => Protocol::Mptcp,
        132 => Protocol::Sctp,
        33 => Protocol::Dccp,
        _ => return None,
    };
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
    })
}

impl SocketRecord {
    /// Of which nothing is known but where it was bound.
    fn nameless(address: IpAddr, port: u16) -> Self {
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
