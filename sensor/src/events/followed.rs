//! What the programs are told to follow: processes and sockets that were there before them, or that a look found.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};

use inventory::{NetNsId, Protocol};

use super::source::Attached;
use crate::sys::bpf;
use crate::watcher::Watcher;

/// More keys than these are in no map of the programs.
const MOST: usize = 1 << 17;

/// What was followed at some moment.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    sockets: HashSet<u64>,
    processes: HashSet<u32>,
}

impl Followed {
    /// `None` where it cannot be read.
    pub(crate) fn of(attached: &Attached) -> Option<Self> {
        let sockets = keys(attached.waiting.as_fd(), u64::from_ne_bytes)?;
        let processes = keys(attached.holders.as_fd(), u32::from_ne_bytes)?;
        Some(Followed { sockets, processes })
    }

    /// What should be, by what is known.
    fn wanted(watcher: &Watcher) -> Self {
        let listeners = watcher.now.listeners.iter();
        let ends_by_release = listeners.filter(|listener| {
            let protocol = listener.endpoint.protocol;
            let known = matches!(listener.id.netns, NetNsId::Cookie(_)) && listener.id.cookie != 0;
            known && matches!(protocol, Protocol::Udp | Protocol::Udplite | Protocol::Raw)
        });
        let known = ends_by_release.map(|listener| listener.id.cookie);
        // What opened and was not found yet may still be, and its end is told by nothing else.
        let sockets = known.chain(watcher.awaited().map(|(_, cookie)| cookie)).collect();
        Followed { sockets, processes: watcher.sensor.kernel_pids.clone() }
    }
}

#[cfg(test)]
impl Followed {
    pub(crate) fn has_socket(&self, cookie: u64) -> bool {
        self.sockets.contains(&cookie)
    }

    pub(crate) fn has_process(&self, pid: u32) -> bool {
        self.processes.contains(&pid)
    }
}

impl Attached {
    /// Has the programs follow all that is known. What finds no room is found by the next look.
    pub(crate) fn follow(&self, watcher: &Watcher) {
        let wanted = Followed::wanted(watcher);
        let put = |map: BorrowedFd<'_>, key: &[u8]| {
            if let Err(errno) = bpf::put_key(map, key) {
                tracing::debug!("a socket or process is not followed: {errno}");
            }
        };
        wanted.sockets.iter().for_each(|cookie| put(self.waiting.as_fd(), &cookie.to_ne_bytes()));
        wanted.processes.iter().for_each(|pid| put(self.holders.as_fd(), &pid.to_ne_bytes()));
    }

    /// Has them forget what was followed before a look and is not there after it: its end was not told.
    pub(crate) fn forget(&self, before: &Followed, watcher: &Watcher) {
        let wanted = Followed::wanted(watcher);
        let remove = |map: BorrowedFd<'_>, key: &[u8]| {
            if let Err(errno) = bpf::remove_key(map, key) {
                tracing::debug!("what is gone is still followed: {errno}");
            }
        };
        for cookie in before.sockets.difference(&wanted.sockets) {
            remove(self.waiting.as_fd(), &cookie.to_ne_bytes());
        }
        for pid in before.processes.difference(&wanted.processes) {
            remove(self.holders.as_fd(), &pid.to_ne_bytes());
        }
    }
}

fn keys<const SIZE: usize, T: Eq + std::hash::Hash>(
    map: BorrowedFd<'_>,
    read: fn([u8; SIZE]) -> T,
) -> Option<HashSet<T>> {
    let mut keys = HashSet::new();
    let mut last = None;
    // Where a key goes away meanwhile the kernel begins again with the first.
    for _ in 0..MOST {
        match bpf::next_key(map, last).ok()? {
            Some(key) => {
                keys.insert(read(key));
                last = Some(key);
            }
            None => break,
        }
    }
    Some(keys)
}
