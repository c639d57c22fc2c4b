//! The calls for which no safe wrapper exists: with the files of its folder the only place of this workspace with `unsafe`.
#![allow(unsafe_code)]

pub(crate) mod bpf;
pub(crate) mod mapping;
pub(crate) mod perf;

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

/// include/uapi/asm-generic/socket.h, since Linux 5.14; the same on every architecture that Rust's std supports
/// except sparc and parisc.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// include/uapi/linux/sockios.h, since Linux 4.10.
const SIOCGSKNS: libc::Ioctl = 0x894C;

/// The cookie of the network namespace that `socket` was made in (`SO_NETNS_COOKIE`).
pub(crate) fn netns_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie: u64 = 0;
    let mut length: libc::socklen_t = 8;
    // SAFETY: the kernel writes at most `length` bytes to `cookie`, which has as many, and then `length` itself.
    // Both outlive the call, and the borrowed descriptor is open during it.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    if usize::try_from(length) != Ok(size_of::<u64>()) {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    Ok(cookie)
}

/// Closes what this process was started with from `first` on, by close_range(2), which Linux has since 5.9. Call it before
/// anything is opened.
pub fn close_inherited(first: u32) -> io::Result<()> {
    // SAFETY: close_range takes three integers. By contract nothing in this process owns a descriptor from `first` on.
    let answer = unsafe {
        libc::syscall(libc::SYS_close_range, libc::c_ulong::from(first), libc::c_ulong::from(u32::MAX), 0)
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A descriptor of the network namespace that `socket` was made in (`SIOCGSKNS`, wants CAP_NET_ADMIN there).
pub(crate) fn netns_of_socket(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: this ioctl takes no argument and touches no memory of ours; the borrowed descriptor is open.
    let descriptor = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened this descriptor for us, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Binds `socket` to the device called `name` (`SO_BINDTODEVICE`).
#[cfg(test)]
pub(crate) fn bind_to_device(socket: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let length = libc::socklen_t::try_from(name.len()).map_err(io::Error::other)?;
    let option = libc::SO_BINDTODEVICE;
    // SAFETY: the kernel reads `length` bytes of `name`, which has as many and outlives the call.
    let answer = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, name.as_ptr().cast(), length)
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether two threads share one table of descriptors: kcmp(2) with `KCMP_FILES`.
///
/// # Errors
/// `EPERM` without `PTRACE_MODE_READ` on both, `ESRCH` where one is gone, `ENOSYS` where the kernel lacks it.
pub(crate) fn share_descriptors(one: u32, other: u32) -> Result<bool, Errno> {
    const KCMP_FILES: libc::c_long = 2;
    const UNUSED: libc::c_long = 0;
    // SAFETY: kcmp takes five integers, reads no memory of ours and writes none.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_kcmp,
            libc::c_long::from(one),
            libc::c_long::from(other),
            KCMP_FILES,
            UNUSED,
            UNUSED,
        )
    };
    match answer {
        -1 => Err(last_errno()),
        0 => Ok(true),
        _ => Ok(false),
    }
}

/// The descriptor of this number, which whoever executed us left open for us.
///
/// # Errors
/// `EBADF` where it is not open.
pub(crate) fn inherited(number: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: this asks for flags of a number and touches no memory; a number that is not open is told.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and its one caller takes it once, before this process has opened anything, by the number that
    // the service manager says is for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Gives memory that was freed back to the kernel: what a look takes is kept by nobody until the next, minutes later.
#[cfg(target_env = "gnu")]
pub(crate) fn give_memory_back() {
    // SAFETY: malloc_trim(3) touches only what the allocator itself has free.
    unsafe { libc::malloc_trim(0) };
}

/// Other C libraries keep less.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn give_memory_back() {}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
