use std::collections::HashMap;

use crate::bpf::{EventKind, EventRecord, ProgramSeen};

/// More processes than these are not remembered at a time; the programs tell of each anew after a look.
const MOST: usize = 16_384;

/// What the kernel told of processes at their first open, which it does not repeat at later ones.
#[derive(Debug, Default)]
pub(super) struct Described {
    processes: HashMap<(u32, u64), Seen>,
}

#[derive(Debug)]
struct Seen {
    program: Option<ProgramSeen>,
    cgroup: Vec<u8>,
}

impl Described {
    /// Makes the record of an open whole, or remembers what it tells.
    pub(super) fn complete(&mut self, record: &mut EventRecord) {
        let process = (record.kernel_pid, record.start_nanos);
        match record.kind {
            EventKind::Opened if record.described_before => {
                if let Some(seen) = self.processes.get(&process) {
                    record.program = seen.program.clone();
                    record.cgroup = seen.cgroup.clone();
                }
            }
            EventKind::Opened => {
                if self.processes.len() >= MOST {
                    self.processes.clear();
                }
                let seen = Seen { program: record.program.clone(), cgroup: record.cgroup.clone() };
                self.processes.insert(process, seen);
            }
            EventKind::Exited => drop(self.processes.remove(&process)),
            EventKind::Closed | EventKind::Forked | EventKind::Executed | EventKind::Connected => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use inventory::RawText;

    use super::*;
    use crate::bpf::SocketRecord;

    fn record(kind: EventKind, kernel_pid: u32) -> EventRecord {
        EventRecord {
            kind,
            boot_nanos: 0,
            start_nanos: 0,
            pid: Some(kernel_pid),
            kernel_pid,
            uid: 0,
            name: RawText::default(),
            socket: SocketRecord::nameless(IpAddr::V4(Ipv4Addr::LOCALHOST), 1),
            program: None,
            cgroup: Vec::new(),
            described_before: false,
        }
    }

    #[test]
    fn what_was_told_once_holds_for_later_opens_of_the_same_process() {
        let mut described = Described::default();
        let mut first = EventRecord { cgroup: b"/a".to_vec(), ..record(EventKind::Opened, 7) };
        described.complete(&mut first);
        let later = |pid| EventRecord { described_before: true, ..record(EventKind::Opened, pid) };
        let cgroup_of = |described: &mut Described, mut record: EventRecord| {
            described.complete(&mut record);
            record.cgroup
        };
        assert_eq!(cgroup_of(&mut described, later(7)), b"/a");
        assert_eq!(cgroup_of(&mut described, later(8)), b"");
        // The next one with this pid is another process.
        let next = EventRecord { start_nanos: 1, ..later(7) };
        assert_eq!(cgroup_of(&mut described, next), b"");
        described.complete(&mut record(EventKind::Exited, 7));
        assert_eq!(cgroup_of(&mut described, later(7)), b"");
    }
}
