//! The tracepoint `sock:inet_sock_set_state` by perf_event_open(2): TCP listeners that open and close, in every network
//! namespace, where the kernel takes no BPF programs. It tells neither the namespace nor the inode of a socket.

#[cfg(test)]
mod recorded;
mod ring;
mod sample;
#[cfg(test)]
mod tests;
mod tracefs;

use std::ffi::CStr;
use std::fs;
use std::io;
use std::ops::{ControlFlow, RangeInclusive};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::param::page_size;
use rustix::time::{ClockId, clock_gettime};
use thiserror::Error;

use ring::{Ring, Torn};
use sample::Record;
pub(crate) use sample::{Sample, SocketKey};
use tracefs::Format;

use crate::sys;
#[cfg(any(test, fuzzing))]
pub use sample::fuzzed;

/// To `TCP_LISTEN`, and from it to `TCP_CLOSE`. A connection that is accepted leaves the former too, for another state:
/// it wakes nobody.
const FILTER: &CStr = c"newstate == 10 || (oldstate == 10 && newstate == 7)";

/// The CPUs that may ever be there.
const POSSIBLE: &str = "/sys/devices/system/cpu/possible";

/// As many as Linux is built for at most on any architecture.
const MOST_CPUS: u32 = 8192;

/// A ring is at most so large on each CPU, in pages.
const MOST_PAGES: usize = 1024;

/// Which hook failed, on what and why: a sentence for a person.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct Refusal(String);

/// One ring for each CPU that was online at the opening.
///
/// A CPU that comes online later, or comes back, has none: what happens there is not told by this, nor counted as lost,
/// and it is the next look at the socket tables that finds it.
#[derive(Debug)]
pub(crate) struct Perf {
    format: Format,
    rings: Vec<OfCpu>,
}

/// What [`Perf::drain`] found.
#[derive(Debug, Default)]
pub(crate) struct Drained {
    /// By time.
    pub(crate) samples: Vec<Sample>,
    /// How many were not told since the last time, at least: the rings were full, or said what is not understood.
    pub(crate) lost: u64,
}

#[derive(Debug)]
struct OfCpu {
    event: OwnedFd,
    ring: Ring,
    lost: Lost,
}

/// How the kernel says what it lost.
#[derive(Debug)]
enum Lost {
    /// By a record in the ring that comes with the next sample after, and so never after the last one.
    InTheRing,
    /// By a counter of the event, since Linux 6.0. So much of it has been told.
    Counted { told: u64 },
}

impl Perf {
    /// Opens a ring of `room_per_cpu_pages` pages, rounded up to a power of two, on each CPU.
    ///
    /// # Errors
    /// Where tracefs or perf events are not to be had, or on some CPU that is online not: half of the events would look
    /// like all of them.
    pub(crate) fn open(room_per_cpu_pages: usize) -> Result<Self, Refusal> {
        let pages = room_per_cpu_pages.clamp(1, MOST_PAGES).next_power_of_two();
        let format = Format::parse(&tracefs::read_format()?)?;
        let mut rings = Vec::new();
        for cpu in possible_cpus()?.into_iter().flatten() {
            rings.extend(OfCpu::open(format.id, cpu, pages)?);
        }
        if rings.is_empty() {
            return Err(Refusal(format!("perf_event_open on no CPU of {POSSIBLE}: none is online")));
        }
        Ok(Perf { format, rings })
    }

    /// They become readable when something waits, and by poll(2) say so once: drain after each time.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.rings.iter().map(|of_cpu| of_cpu.event.as_fd())
    }

    /// Everything that waits, over all CPUs; no close before the open that preceded it on another CPU, be it in one call
    /// or in two. At most twice what the rings have room for.
    pub(crate) fn drain(&mut self) -> Drained {
        let mut drained = Drained::default();
        let to_boot = monotonic_to_boot();
        self.read_until(u64::MAX, to_boot, &mut drained);
        self.settle(to_boot, &mut drained);
        drained
    }

    /// An open may have come to a ring that had just been read, and its close to one that was read after. Whatever
    /// precedes what was read by now is in the rings by now, and has an earlier time. What is later stays, and since it
    /// came during this call it makes its descriptor readable again.
    fn settle(&mut self, to_boot: u64, drained: &mut Drained) {
        if let Some(latest) = drained.samples.iter().map(|sample| sample.boot_nanos).max() {
            self.read_until(latest, to_boot, drained);
        }
        for of_cpu in &mut self.rings {
            // Only then, since reading a counter interrupts the CPU that it is of.
            if of_cpu.ring.was_full() {
                drained.lost = drained.lost.saturating_add(of_cpu.lost.since(of_cpu.event.as_fd()));
            }
        }
        drained.samples.sort_by_key(|sample| sample.boot_nanos);
    }

    fn read_until(&mut self, until: u64, to_boot: u64, drained: &mut Drained) {
        for of_cpu in &mut self.rings {
            of_cpu.read_until(until, to_boot, &self.format, drained);
        }
    }
}

impl OfCpu {
    /// `None` where the CPU is offline.
    fn open(id: u64, cpu: u32, pages: usize) -> Result<Option<Self>, Refusal> {
        let refused = |hook, error| refused(hook, cpu, &error);
        let Some((event, lost)) = open_event(id, cpu).map_err(|error| refused("perf_event_open", error))?
        else {
            return Ok(None);
        };
        let ring = Ring::map(event.as_fd(), pages, page_size()).map_err(|error| refused("mmap", error))?;
        sys::perf::set_filter(event.as_fd(), FILTER)
            .map_err(|error| refused("PERF_EVENT_IOC_SET_FILTER", error))?;
        sys::perf::enable(event.as_fd()).map_err(|error| refused("PERF_EVENT_IOC_ENABLE", error))?;
        Ok(Some(OfCpu { event, ring, lost }))
    }

    fn read_until(&mut self, until: u64, to_boot: u64, format: &Format, drained: &mut Drained) {
        let Drained { samples, lost } = drained;
        let in_the_ring = matches!(self.lost, Lost::InTheRing);
        let read = self.ring.read(|kind, body| {
            match sample::read(kind, body, format, to_boot) {
                Some(Record::Sample(sample)) if sample.boot_nanos > until => return ControlFlow::Break(()),
                Some(Record::Sample(sample)) => samples.push(sample),
                Some(Record::Lost(count)) if in_the_ring => *lost = lost.saturating_add(count),
                Some(Record::Lost(_)) => {}
                None => *lost = lost.saturating_add(1),
            }
            ControlFlow::Continue(())
        });
        if read == Err(Torn) {
            *lost = lost.saturating_add(1);
        }
    }
}

impl Lost {
    /// What the counter says that has not been told; at least one where it cannot be read.
    fn since(&mut self, event: BorrowedFd<'_>) -> u64 {
        let Lost::Counted { told } = self else { return 0 };
        let mut words = [0; 16];
        let read = rustix::io::read(event, &mut words);
        let count = match (read, words.last_chunk()) {
            (Ok(16), Some(count)) => u64::from_ne_bytes(*count),
            _ => {
                *self = Lost::InTheRing;
                return 1;
            }
        };
        count.saturating_sub(std::mem::replace(told, count))
    }
}

fn open_event(id: u64, cpu: u32) -> io::Result<Option<(OwnedFd, Lost)>> {
    let opened = match sys::perf::open_tracepoint(id, cpu, true) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            sys::perf::open_tracepoint(id, cpu, false).map(|event| (event, Lost::InTheRing))
        }
        opened => opened.map(|event| (event, Lost::Counted { told: 0 })),
    };
    match opened {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        opened => opened.map(Some),
    }
}

fn refused(hook: &str, cpu: u32, error: &io::Error) -> Refusal {
    let cure = match error.kind() {
        io::ErrorKind::PermissionDenied => " (it wants CAP_PERFMON)",
        _ => "",
    };
    Refusal(format!("{hook} for sock:inet_sock_set_state on CPU {cpu}: {error}{cure}"))
}

fn possible_cpus() -> Result<Vec<RangeInclusive<u32>>, Refusal> {
    let text = fs::read_to_string(POSSIBLE).map_err(|error| Refusal(format!("{POSSIBLE}: {error}")))?;
    cpus(&text).ok_or_else(|| Refusal(format!("{POSSIBLE} does not list CPUs: {:?}", text.trim_end())))
}

/// From a list as `0-3,8`.
fn cpus(text: &str) -> Option<Vec<RangeInclusive<u32>>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last && last < MOST_CPUS).then_some(first..=last)
    };
    text.trim_end().split(',').map(range).collect()
}

/// From `CLOCK_MONOTONIC` to `CLOCK_BOOTTIME`, in nanoseconds: how long the machine slept. The least of a few
/// differences, for whatever comes between the two readings makes it larger.
fn monotonic_to_boot() -> u64 {
    let difference = |_| {
        let monotonic = nanos(ClockId::Monotonic);
        nanos(ClockId::Boottime).saturating_sub(monotonic)
    };
    (0..3).map(difference).min().unwrap_or(0)
}

fn nanos(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    let whole = u64::try_from(now.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000);
    whole.saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}
