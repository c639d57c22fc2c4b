//! perf_event_open(2) for tracepoints. The numbers and the structure are those of include/uapi/linux/perf_event.h.

use std::ffi::{CStr, c_char};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::ioctl::opcode;

const PERF_TYPE_TRACEPOINT: u32 = 2;
const PERF_SAMPLE_TID: u64 = 1 << 1;
const PERF_SAMPLE_TIME: u64 = 1 << 2;
const PERF_SAMPLE_RAW: u64 = 1 << 10;
/// Since Linux 6.0.
const PERF_FORMAT_LOST: u64 = 1 << 4;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 1 << 3;
const EVERY_PROCESS: libc::pid_t = -1;
const NO_GROUP: libc::c_int = -1;

const DISABLED: u64 = flag(0);
const USE_CLOCKID: u64 = flag(25);

const SET_FILTER: libc::Ioctl = opcode::write::<*const c_char>(b'$', 6) as libc::Ioctl;
const ENABLE: libc::Ioctl = opcode::none(b'$', 0) as libc::Ioctl;

/// A C bit-field of one bit: compilers fill a word from the end that comes first in memory.
const fn flag(number: u32) -> u64 {
    if cfg!(target_endian = "big") { 1 << (63 - number) } else { 1 << number }
}

/// `struct perf_event_attr` as far as `PERF_ATTR_SIZE_VER3`, 96 bytes: the kernel takes what is not there for zero.
#[derive(Default)]
#[repr(C)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    config1: u64,
    config2: u64,
    branch_sample_type: u64,
    sample_regs_user: u64,
    sample_stack_user: u32,
    clockid: i32,
}

const SIZE: u32 = 96;
const _: () = assert!(size_of::<Attributes>() == SIZE as usize);

/// Every hit of the tracepoint on that CPU, by whichever process, as a sample of process and thread, `CLOCK_MONOTONIC`
/// (the kernel takes no `CLOCK_BOOTTIME` for tracepoints: an NMI cannot read it) and the raw record, each of which wakes
/// whoever polls. Nothing comes before [`enable`]. With `counting_lost`, reading the descriptor gives two words, of which
/// the second is how many hits found no room.
///
/// # Errors
/// `ENODEV` where the CPU is offline, `EINVAL` where the kernel is too old to count what it lost, `EACCES` or `EPERM`
/// without CAP_PERFMON.
pub(crate) fn open_tracepoint(id: u64, cpu: u32, counting_lost: bool) -> io::Result<OwnedFd> {
    let attributes = Attributes {
        kind: PERF_TYPE_TRACEPOINT,
        size: SIZE,
        config: id,
        sample_period: 1,
        sample_type: PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_RAW,
        read_format: if counting_lost { PERF_FORMAT_LOST } else { 0 },
        flags: DISABLED | USE_CLOCKID,
        wakeup_events: 1,
        clockid: libc::CLOCK_MONOTONIC,
        ..Attributes::default()
    };
    let cpu = libc::c_int::try_from(cpu).map_err(io::Error::other)?;
    // SAFETY: the kernel reads `attributes.size` bytes of `attributes`, which has as many and outlives the call; the
    // other arguments are integers.
    let descriptor = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            EVERY_PROCESS,
            cpu,
            NO_GROUP,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    let descriptor = libc::c_int::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: the kernel has just opened this descriptor for us, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Lets through what `filter`, in the words of Documentation/trace/events.rst, is true of.
pub(crate) fn set_filter(event: BorrowedFd<'_>, filter: &CStr) -> io::Result<()> {
    // SAFETY: the kernel reads `filter` up to its NUL during the call; the borrowed descriptor is open.
    checked(unsafe { libc::ioctl(event.as_raw_fd(), SET_FILTER, filter.as_ptr()) })
}

/// Samples come from now on.
pub(crate) fn enable(event: BorrowedFd<'_>) -> io::Result<()> {
    const THIS_EVENT_ALONE: libc::c_ulong = 0;
    // SAFETY: this ioctl takes an integer and touches no memory of ours; the borrowed descriptor is open.
    checked(unsafe { libc::ioctl(event.as_raw_fd(), ENABLE, THIS_EVENT_ALONE) })
}

fn checked(answer: libc::c_int) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
