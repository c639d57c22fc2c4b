use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR of include/uapi/linux/rtnetlink.h.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// Tells that interfaces or addresses of our own network namespace changed. Those of others are seen at the next look: a
/// socket in one would keep it alive.
#[derive(Debug)]
pub(crate) struct AddressChanges(OwnedFd);

impl AddressChanges {
    /// Begins to listen.
    pub(crate) fn open() -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // NETLINK_ROUTE is 0, which no protocol is.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok(AddressChanges(socket))
    }

    /// Readable when something changed.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Takes what waits; whether it was anything. What was lost for want of room was something too.
    pub(crate) fn take(&self) -> bool {
        const MOST: usize = 1_000;
        let mut buffer = [MaybeUninit::<u8>::uninit(); 512];
        let mut any = false;
        for _ in 0..MOST {
            match recv(&self.0, &mut buffer, RecvFlags::TRUNC) {
                Ok(_) | Err(Errno::NOBUFS) => any = true,
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        any
    }
}
