//! A socket that the service manager made and listens on, for one reader after the other.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::UCred;
use rustix::net::sockopt::{socket_acceptconn, socket_peercred, socket_type};
use rustix::net::{SocketAddrUnix, SocketFlags, SocketType, accept_with, getsockname};

use crate::sys;

/// sd_listen_fds(3): the first descriptor that is passed.
const FIRST: i32 = 3;
/// Strangers are warned of so often, and counted meanwhile.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Where readers come from. Only root, and whom the socket's file belongs to, is told anything.
#[derive(Debug)]
pub struct Readers {
    socket: OwnedFd,
    pub(crate) owner: u32,
    pub(crate) group: u32,
    /// When a stranger was last warned of, and how many were turned away since.
    pub(crate) strangers: Cell<(Option<Instant>, u64)>,
}

/// Why there are none, although a socket was passed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum NoReaders {
    #[error("{0} sockets were passed: pass one, as ListenSequentialPacket= of a socket unit makes it")]
    Count(String),
    #[error(
        "what was passed is no Unix socket that listens for packets (ListenSequentialPacket= of a socket unit)"
    )]
    Kind,
    #[error("the socket that was passed cannot be used: {0}")]
    Socket(#[from] io::Error),
    #[error("{path}, the socket that was passed: {error}")]
    File { path: PathBuf, error: io::Error },
}

impl Readers {
    /// The socket that was passed to this process, as sd_listen_fds(3) has it; `None` where none was. Call it before
    /// anything is opened, and once.
    pub fn passed() -> Result<Option<Self>, NoReaders> {
        let is_for_us = std::env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string());
        let Ok(count) = std::env::var("LISTEN_FDS") else { return Ok(None) };
        if !is_for_us {
            return Ok(None);
        }
        if count != "1" {
            return Err(NoReaders::Count(count));
        }
        Readers::of(sys::inherited(FIRST)?).map(Some)
    }

    pub(crate) fn of(socket: OwnedFd) -> Result<Self, NoReaders> {
        fcntl_setfd(&socket, FdFlags::CLOEXEC).map_err(io::Error::from)?;
        rustix::io::ioctl_fionbio(&socket, true).map_err(io::Error::from)?;
        let kind = socket_type(&socket).map_err(io::Error::from)?;
        if kind != SocketType::SEQPACKET || !socket_acceptconn(&socket).map_err(io::Error::from)? {
            return Err(NoReaders::Kind);
        }
        let name = SocketAddrUnix::try_from(getsockname(&socket).map_err(io::Error::from)?);
        let name = name.map_err(|_| NoReaders::Kind)?;
        let path = name.path().ok_or(NoReaders::Kind)?;
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(path.to_bytes()));
        let meta = path.symlink_metadata().map_err(|error| NoReaders::File { path, error })?;
        Ok(Readers { socket, owner: meta.uid(), group: meta.gid(), strangers: Cell::default() })
    }

    /// The next that waits and may read, if there is one. Nothing that it writes is ever read, nor kept.
    pub(crate) fn next(&self) -> Option<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let reader = match accept_with(&self.socket, flags) {
            Ok(reader) => reader,
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return None,
            Err(errno) => {
                tracing::warn!("who wants to read cannot be let in: {errno}");
                return None;
            }
        };
        let one_way = rustix::net::shutdown(&reader, rustix::net::Shutdown::Read);
        match (socket_peercred(&reader), one_way) {
            (Ok(peer), Ok(())) if self.may_read(peer.uid.as_raw(), peer.gid.as_raw()) => Some(reader),
            (Ok(peer), Ok(())) => {
                self.warn_of_stranger(&peer);
                None
            }
            (Err(errno), _) | (_, Err(errno)) => {
                tracing::warn!("who wants to read cannot be let in: {errno}");
                None
            }
        }
    }

    /// Whoever may connect can do so all the time.
    pub(crate) fn warn_of_stranger(&self, peer: &UCred) {
        let (warned_at, unsaid) = self.strangers.get();
        if warned_at.is_some_and(|at| at.elapsed() < WARN_EVERY) {
            return self.strangers.set((warned_at, unsaid.saturating_add(1)));
        }
        self.strangers.set((Some(Instant::now()), 0));
        let (pid, uid, gid) = (peer.pid.as_raw_nonzero(), peer.uid.as_raw(), peer.gid.as_raw());
        let more = if unsaid > 0 { format!(" (and {unsaid} more before)") } else { String::new() };
        tracing::warn!(
            "process {pid} of uid {uid} and gid {gid} wanted to read what the sensor tells, and was turned away{more}"
        );
    }

    /// A file of root's group is there for root alone.
    pub(crate) fn may_read(&self, uid: u32, gid: u32) -> bool {
        uid == 0 || uid == self.owner || (gid == self.group && gid != 0)
    }
}

impl AsFd for Readers {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
