//! What is left to the sensor and to those who start it and load for it: docs/hardening.md has the same as tables.
//!
//! All of it bounds mistakes, and what a parser that was led astray could do by calls of its own. It does not bound whoever
//! has taken the sensor over: who may trace every process and enter every namespace is as good as root.

use std::os::fd::{AsRawFd, BorrowedFd};

use confine::{Argument, Bound, Calls, ConfineError};
use rustix::thread::CapabilitySet;
use tracing::warn;

use crate::bpf::Files;
use crate::events::source::Source;
use crate::privileges::used;

const MOST_DESCRIPTORS: u64 = 65_536;
const MOST_ADDRESSES: u64 = 16 << 30;

/// Locking memory for programs took it before Linux 5.11.
const FOR_LOADING: CapabilitySet = CapabilitySet::SYS_RESOURCE;
/// To give up what a process executed later could have.
const TO_GIVE_UP: CapabilitySet = CapabilitySet::SETPCAP;

/// For the process that starts the sensor, again and again: it hands down privileges that it does not use.
pub fn confine_keeper() -> Result<(), ConfineError> {
    confine::without_new_privileges()?;
    told(confine::without_dumps(rustix::process::geteuid().is_root()));
    let handed_down = used().0 | FOR_LOADING | TO_GIVE_UP;
    told(confine::keep_capabilities(CapabilitySet::empty(), handed_down, handed_down));
    let started = Calls::of_any_program().and(LOOKING).and(LOADING);
    started.and(&[libc::SYS_execve, libc::SYS_perf_event_open]).enforce_on_all_that_is_started()
}

/// For the process that loads programs, before it does. It needs nothing else, and no socket but the one it was given.
pub fn confine_loader() -> Result<(), ConfineError> {
    confine::without_new_privileges()?;
    told(confine::without_dumps(rustix::process::geteuid().is_root()));
    let (all, only_loading) = used();
    let kept = only_loading | FOR_LOADING | (all & (CapabilitySet::NET_ADMIN | CapabilitySet::SYS_ADMIN));
    told(confine::keep_capabilities(kept, kept, CapabilitySet::empty()));
    Calls::of_any_program().and_reading().and(LOADING).and(&[libc::SYS_sendmsg]).enforce()
}

/// At the start of the sensor, whose loader inherits it.
pub(crate) fn before_loading() -> Result<(), ConfineError> {
    confine::without_new_privileges()?;
    // Of an ordinary user another of its processes learns nothing that it could not read itself.
    told(confine::without_dumps(rustix::process::geteuid().is_root()));
    told(confine::bound(Bound::Descriptors, MOST_DESCRIPTORS));
    told(confine::bound(Bound::Addresses, MOST_ADDRESSES));
    let kept = used().0 | FOR_LOADING | TO_GIVE_UP;
    told(confine::keep_capabilities(kept, kept, kept));
    Ok(())
}

/// Once all is loaded: nothing can be loaded any more. Where a program is lost the sensor ends, and another is started.
pub(crate) fn after_loading(
    source: &Source,
    files: Option<&Files>,
    listening: Option<BorrowedFd<'_>>,
) -> Result<(), ConfineError> {
    let (all, only_loading) = used();
    let looking = all & !only_loading;
    told(confine::keep_capabilities(looking | TO_GIVE_UP, all | TO_GIVE_UP, all | TO_GIVE_UP));
    // Between Linux 5.13 and 5.18 what is loaded can be used with CAP_BPF only.
    let works = source.check().is_ok() && files.is_none_or(|files| files.probe().is_ok());
    let kept = if works { looking } else { looking | CapabilitySet::BPF };
    let raised = confine::raise_capabilities(kept | TO_GIVE_UP);
    told(raised.and_then(|()| confine::keep_capabilities(kept, kept, CapabilitySet::empty())));
    match listening.map(|socket| u32::try_from(socket.as_raw_fd())) {
        Some(Ok(number)) => calls().and_one_of(libc::SYS_accept4, 0, &[number]).enforce(),
        Some(Err(_)) | None => calls().enforce(),
    }
}

fn told(done: Result<(), ConfineError>) {
    if let Err(error) = done {
        warn!("this cannot be put in force: {error}");
    }
}

/// What only a sensor makes.
const LOOKING: &[libc::c_long] =
    &[libc::SYS_setns, libc::SYS_kcmp, libc::SYS_pidfd_open, libc::SYS_pidfd_getfd, libc::SYS_bpf];
/// What only a loader makes: the root of the cgroups, and tracefs, are mounted where nobody sees them.
const LOADING: &[libc::c_long] = &[libc::SYS_bpf, libc::SYS_fsopen, libc::SYS_fsconfig, libc::SYS_fsmount];

/// Of bpf(2): what is done with programs and maps that are there. None of it loads.
const USING: [u32; 6] = [2, 3, 4, 15, 28, 33];

/// The length of a netlink address, `struct sockaddr_nl`.
const NETLINK_ADDRESS: u32 = 12;

const SIOCGIFINDEX: u32 = 0x8933;
const SIOCGSKNS: u32 = 0x894c;
const TCGETS: u32 = 0x5401;

fn calls() -> Calls {
    let netlink = |protocol: libc::c_int| {
        [Argument::Is(0, libc::AF_NETLINK.cast_unsigned()), Argument::Is(2, protocol.cast_unsigned())]
    };
    let (sockets, addresses) = (netlink(libc::NETLINK_SOCK_DIAG), netlink(libc::NETLINK_ROUTE));
    let unix = Argument::Is(0, libc::AF_UNIX.cast_unsigned());
    let datagrams = Argument::has(1, 0xf, libc::SOCK_DGRAM.cast_unsigned());
    let not_to_execute = Argument::has(2, libc::PROT_EXEC.cast_unsigned(), 0);
    let calls = Calls::of_any_program().and_reading().and_sockets().and(LOOKING);
    calls
        .and_one_of(libc::SYS_bpf, 0, &USING)
        // Of a Unix socket nothing is wanted but its namespace, and the numbers of devices there.
        .and_where(libc::SYS_socket, &[&sockets, &addresses, &[unix, datagrams]])
        .and_one_of(libc::SYS_setns, 1, &[libc::CLONE_NEWNET.cast_unsigned()])
        .and_one_of(libc::SYS_bind, 2, &[NETLINK_ADDRESS])
        // To whom a socket is connected, or to the kernel.
        .and_one_of(libc::SYS_sendto, 5, &[0, NETLINK_ADDRESS])
        .and_one_of(libc::SYS_ioctl, 1, &[SIOCGIFINDEX, SIOCGSKNS, TCGETS])
        .and_where(libc::SYS_mmap, &[&[not_to_execute]])
        .and_where(libc::SYS_mprotect, &[&[not_to_execute]])
}

#[cfg(test)]
mod tests;
