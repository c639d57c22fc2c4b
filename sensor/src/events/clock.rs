use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// What the wall clock showed at moments of CLOCK_BOOTTIME, which goes on while the machine is suspended and is set by
/// nobody. Made anew for each batch: the wall clock may have been set since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    wall: SystemTime,
    boot_nanos: u64,
}

impl Clock {
    /// As of now.
    pub(crate) fn now() -> Self {
        let boot = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(boot.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(boot.tv_nsec).unwrap_or(0);
        Clock { wall: SystemTime::now(), boot_nanos: seconds * 1_000_000_000 + nanos }
    }

    /// This moment of CLOCK_BOOTTIME.
    pub(crate) fn boot_nanos(&self) -> u64 {
        self.boot_nanos
    }

    /// The wall clock at a moment before.
    pub(crate) fn wall(&self, boot_nanos: u64) -> SystemTime {
        self.wall.checked_sub(self.age(boot_nanos)).unwrap_or(self.wall)
    }

    /// How long ago that moment is.
    pub(crate) fn age(&self, boot_nanos: u64) -> Duration {
        Duration::from_nanos(self.boot_nanos.saturating_sub(boot_nanos))
    }
}

#[cfg(test)]
mod tests;
