//! A connection to a receiver, whatever it speaks.

use std::fs;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sockopt};
use rustls::{ClientConnection, StreamOwned};

use super::event::Event;
use super::receiver::{Destination, Facility, Peer};
use super::rfc5424::{self, Origin};
use super::{journal, tls};

/// How long a peer may leave us waiting: for a connection, for room to write, and for its kernel to acknowledge.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection is silent before it is asked whether it lives, and how often then.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// How many addresses of a name are tried.
const MAX_ADDRESSES: usize = 4;
/// Below this a datagram that does not fit is an error: the fields alone are as long.
const LEAST_DATAGRAM: usize = 4096;

pub(crate) struct Link {
    line: Line,
    facility: Facility,
}

enum Line {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Unix(UnixStream),
    Datagrams(Datagrams),
    Journal(Datagrams),
}

/// A socket whose peer never says that it is gone: whether another stands in its place is seen by its file.
struct Datagrams {
    socket: UnixDatagram,
    path: PathBuf,
    file: FileId,
}

/// Device, inode, and when it was last changed: an inode's number is given again.
type FileId = (u64, u64, i64, i64);

impl Link {
    /// Names are resolved here, each time.
    pub(crate) fn connect(to: &Destination, facility: Facility) -> io::Result<Self> {
        let line = match to {
            Destination::Tcp(peer) => Line::Tcp(tcp(peer)?),
            Destination::Tls(peer, files) => Line::Tls(Box::new(tls::connect(tcp(peer)?, peer, files)?)),
            Destination::Journal(path) => Line::Journal(Datagrams::connect(path)?),
            Destination::Unix(path) => match Datagrams::connect(path) {
                Err(error) if error.raw_os_error() == Some(Errno::PROTOTYPE.raw_os_error()) => {
                    let stream = UnixStream::connect(path)?;
                    stream.set_write_timeout(Some(PATIENCE))?;
                    Line::Unix(stream)
                }
                datagrams => Line::Datagrams(datagrams?),
            },
        };
        Ok(Link { line, facility })
    }

    /// Gives all of them to the kernel; after an error nobody knows how many.
    pub(crate) fn send(&mut self, origin: &Origin, events: &[Event]) -> io::Result<()> {
        let facility = self.facility;
        let framed = || {
            let mut stream = Vec::new();
            events.iter().for_each(|event| {
                rfc5424::frame(&mut stream, &rfc5424::message(origin, facility, event));
            });
            stream
        };
        match &mut self.line {
            Line::Tcp(stream) => stream.write_all(&framed()),
            Line::Unix(stream) => stream.write_all(&framed()),
            Line::Tls(stream) => stream.write_all(&framed()).and_then(|()| stream.flush()),
            Line::Datagrams(to) => events.iter().try_for_each(|event| {
                let whole = rfc5424::message(origin, facility, event);
                to.send(whole.as_bytes(), |room| {
                    rfc5424::cut_message(origin, facility, event, room).into_bytes()
                })
            }),
            Line::Journal(to) => events.iter().try_for_each(|event| {
                let whole = journal::entry(facility, event);
                match to.socket.send(&whole) {
                    Err(error) if is_too_large(&error) => to.send_by_memory(&whole).or_else(|_| {
                        to.send_cut(whole.len(), |room| journal::cut_entry(facility, event, room))
                    }),
                    sent => sent.map(drop),
                }
            }),
        }
    }

    /// Reads away what the peer says; fails where it is gone.
    pub(crate) fn check(&mut self) -> io::Result<()> {
        match &mut self.line {
            Line::Tcp(stream) => drain(stream.as_fd()),
            Line::Unix(stream) => drain(stream.as_fd()),
            Line::Tls(stream) => drain_tls(stream),
            Line::Datagrams(to) | Line::Journal(to) => to.check(),
        }
    }

    /// Whether the kernel has sent all that it was given. Local sockets hand over at once.
    pub(crate) fn has_left(&self) -> bool {
        match &self.line {
            Line::Tcp(stream) => is_writable(stream),
            Line::Tls(stream) => !stream.conn.wants_write() && is_writable(&stream.sock),
            Line::Unix(_) | Line::Datagrams(_) | Line::Journal(_) => true,
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.line {
            Line::Tcp(stream) => stream.as_fd(),
            Line::Tls(stream) => stream.sock.as_fd(),
            Line::Unix(stream) => stream.as_fd(),
            Line::Datagrams(to) | Line::Journal(to) => to.socket.as_fd(),
        }
    }
}

fn tcp(peer: &Peer) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in (peer.host.as_str(), peer.port).to_socket_addrs()?.take(MAX_ADDRESSES) {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                prepare(&stream)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What is not acknowledged in time ends the connection, and while there is something unsent it is not writable: so that
/// what left over a connection that lives is known to have been taken by the peer's kernel, without asking ours.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    sockopt::set_tcp_user_timeout(stream, u32::try_from(PATIENCE.as_millis()).unwrap_or(u32::MAX))?;
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(1)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE.0)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE.1)?;
    Ok(sockopt::set_socket_keepalive(stream, true)?)
}

fn is_writable(stream: &TcpStream) -> bool {
    let mut polled = [PollFd::new(stream, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().contains(PollFlags::OUT)
}

fn gone() -> io::Error {
    io::Error::new(ErrorKind::ConnectionReset, "the receiver closed the connection")
}

fn drain(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    // One who talks all the time is heard again later.
    for _ in 0..16 {
        match rustix::net::recv(socket, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return Err(gone()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// What a receiver says over TLS are tickets, and alerts when it refuses us.
fn drain_tls(stream: &mut StreamOwned<ClientConnection, TcpStream>) -> io::Result<()> {
    for _ in 0..16 {
        let mut byte = [0];
        match rustix::net::recv(&stream.sock, &mut byte, RecvFlags::DONTWAIT | RecvFlags::PEEK) {
            Ok((_, 0)) => return Err(gone()),
            Ok(_) => {}
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        stream.conn.read_tls(&mut stream.sock)?;
        let state = stream.conn.process_new_packets().map_err(io::Error::other)?;
        if state.peer_has_closed() {
            return Err(gone());
        }
        // Nobody reads what it says to us: kept, it would fill up.
        let heard = state.plaintext_bytes_to_read();
        io::copy(
            &mut io::Read::take(stream.conn.reader(), u64::try_from(heard).unwrap_or(0)),
            &mut io::sink(),
        )?;
        while stream.conn.wants_write() {
            stream.conn.write_tls(&mut stream.sock)?;
        }
    }
    Ok(())
}

impl Datagrams {
    fn connect(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Datagrams { socket, path: path.to_owned(), file: file_at(path)? })
    }

    /// A probe tells that somebody reads from the socket, and the file that it is the one we talk to.
    fn check(&self) -> io::Result<()> {
        UnixDatagram::unbound()?.connect(&self.path)?;
        if file_at(&self.path)? == self.file { Ok(()) } else { Err(gone()) }
    }

    fn send(&self, whole: &[u8], cut: impl Fn(usize) -> Vec<u8>) -> io::Result<()> {
        match self.socket.send(whole) {
            Err(error) if is_too_large(&error) => self.send_cut(whole.len(), cut),
            sent => sent.map(drop),
        }
    }

    /// Sends as much as the kernel lets through, in powers of two.
    fn send_cut(&self, length: usize, cut: impl Fn(usize) -> Vec<u8>) -> io::Result<()> {
        let mut room = length.next_power_of_two() / 2;
        loop {
            match self.socket.send(&cut(room)) {
                Err(error) if is_too_large(&error) && room > LEAST_DATAGRAM => room /= 2,
                sent => return sent.map(drop),
            }
        }
    }

    /// What no datagram can hold journald takes as a file in memory that nobody can change any more.
    fn send_by_memory(&self, entry: &[u8]) -> io::Result<()> {
        let memory =
            rustix::fs::memfd_create(c"portledger", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut memory = fs::File::from(memory);
        memory.write_all(entry)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&memory, seals)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let passed = [memory.as_fd()];
        if !control.push(SendAncillaryMessage::ScmRights(&passed)) {
            return Err(io::Error::other("no room for a descriptor"));
        }
        rustix::net::sendmsg(&self.socket, &[IoSlice::new(&[])], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

fn file_at(path: &Path) -> io::Result<FileId> {
    fs::metadata(path).map(|meta| (meta.dev(), meta.ino(), meta.ctime(), meta.ctime_nsec()))
}

fn is_too_large(error: &io::Error) -> bool {
    [Errno::MSGSIZE, Errno::NOBUFS].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests;
