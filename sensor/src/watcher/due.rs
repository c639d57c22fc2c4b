use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A child may close what it was born with, or end: it is looked at when it had time to. One that executes another
/// program is looked at for that.
const AFTER_FORK: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(15)];
/// The kernel tells that a program is executed before it is.
const AFTER_EXEC: [Duration; 2] = [Duration::from_millis(5), Duration::from_secs(2)];
/// The kernel tells that a process ends before it closes what the process had. That comes
/// after it gave back its memory, which takes long where it was much.
const AFTER_EXIT: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_secs(1), Duration::from_secs(10)];
/// Who has just begun may drop its user, be moved to its cgroup, or give itself a name, a moment later; a drift of
/// such kinds waits two seconds for it.
const AFTER_OPEN: [Duration; 3] =
    [Duration::from_millis(150), Duration::from_millis(1500), Duration::from_secs(15)];
/// The kernel tells that a socket is connected before it is.
const AFTER_CONNECT: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(500)];
/// What closed a socket may be told a moment after its descriptor is gone.
const AFTER_LOSS: [Duration; 1] = [Duration::from_millis(20)];
/// Between two of these what the kernel tells is taken: the ring must not fill meanwhile.
const AT_ONCE: usize = 256;
/// More wait for the next look at everything.
const MOST: usize = 65_536;

/// Processes to be looked at again, and when.
#[derive(Debug, Default)]
pub(crate) struct Due {
    at: BTreeMap<Instant, BTreeSet<u32>>,
    count: usize,
    crowded: bool,
}

impl Due {
    pub(super) fn forked(&mut self, child: u32, now: Instant) {
        self.add(child, &AFTER_FORK, now);
    }

    pub(super) fn executed(&mut self, pid: u32, now: Instant) {
        self.add(pid, &AFTER_EXEC, now);
    }

    pub(super) fn exited(&mut self, pid: u32, now: Instant) {
        self.add(pid, &AFTER_EXIT, now);
    }

    /// One of its UDP sockets is given a peer.
    pub(super) fn connected(&mut self, pid: u32, now: Instant) {
        self.add(pid, &AFTER_CONNECT, now);
    }

    /// One that has not been there for long.
    pub(super) fn opened(&mut self, pid: u32, now: Instant) {
        self.add(pid, &AFTER_OPEN, now);
    }

    /// One that was seen to hold a socket no more of which no end was told.
    pub(super) fn let_go(&mut self, pid: u32, now: Instant) {
        self.add(pid, &AFTER_LOSS, now);
    }

    /// Whether there were more than are looked at; asked once.
    pub(super) fn was_crowded(&mut self) -> bool {
        std::mem::take(&mut self.crowded)
    }

    /// Some of those whose time has come, each once; the others are due still.
    pub(super) fn take(&mut self, now: Instant) -> BTreeSet<u32> {
        let mut due = BTreeSet::new();
        while due.len() < AT_ONCE
            && let Some(mut first) = self.at.first_entry().filter(|first| *first.key() <= now)
        {
            match first.get_mut().pop_first() {
                Some(pid) => {
                    self.count -= 1;
                    due.insert(pid);
                }
                None => drop(first.remove()),
            }
        }
        self.at.retain(|_, pids| !pids.is_empty());
        due
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.at.keys().next().copied()
    }

    /// All that are to be looked at.
    pub(super) fn pids(&self) -> impl Iterator<Item = u32> {
        self.at.values().flatten().copied()
    }

    fn add(&mut self, pid: u32, after: &[Duration], now: Instant) {
        for after in after {
            if self.count >= MOST {
                self.crowded = true;
                return;
            }
            self.count += usize::from(self.at.entry(now + *after).or_default().insert(pid));
        }
    }
}

#[cfg(test)]
mod tests;
