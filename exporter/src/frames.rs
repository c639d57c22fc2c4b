use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use inventory::frame::MAX_FRAME;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

/// How many bytes of packets wait to be judged before no more are read. A sensor that must wait loses events, so there is
/// room for a storm of some ten thousand.
const ROOM: usize = 6 << 20;

/// A packet of a sensor's socket. It takes its room until it is dropped.
pub struct Packet {
    bytes: Vec<u8>,
    read: Instant,
    room: Arc<Room>,
}

impl Packet {
    /// How long ago it was read. No clock that is set changes it.
    pub(crate) fn waited(&self) -> Duration {
        self.read.elapsed()
    }

    /// One that was read at this moment.
    #[cfg(test)]
    pub(crate) fn read_at(read: Instant, bytes: &[u8]) -> Self {
        let mut packet = Arc::new(Room::default()).enter(bytes);
        packet.read = read;
        packet
    }
}

impl std::ops::Deref for Packet {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        self.room.leave(self.bytes.len());
    }
}

#[derive(Default)]
struct Room {
    taken: Mutex<usize>,
    left: Condvar,
}

impl Room {
    fn lock(&self) -> MutexGuard<'_, usize> {
        // A number is never half written.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is some.
    fn enter(self: &Arc<Self>, bytes: &[u8]) -> Packet {
        let full = |taken: &mut usize| *taken >= ROOM;
        let mut taken = self.left.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
        *taken += bytes.len();
        Packet { bytes: bytes.to_vec(), read: Instant::now(), room: self.clone() }
    }

    fn leave(&self, bytes: usize) {
        let mut taken = self.lock();
        let was_full = *taken >= ROOM;
        *taken -= bytes;
        if was_full {
            self.left.notify_one();
        }
    }
}

/// Where the sensor tells what it sees.
#[derive(Debug)]
pub enum Frames {
    /// The end of a `SOCK_SEQPACKET` socket of which a keeper holds the other: when that is closed, no more comes ever.
    Of(OwnedFd),
    /// The name of a socket on which a sensor tells one reader after the other. It is connected to again when it ends.
    At(PathBuf),
}

/// A sensor ended, and another is read from: so many times by now. What happened in between nobody saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resumed(pub u32);

/// The pause before the first attempt to connect again, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// As [`forward`], from wherever the sensor tells.
pub(crate) fn forward_from<T: From<Packet> + From<Resumed> + Send + 'static>(
    frames: Frames,
    inbox: mpsc::Sender<T>,
) -> io::Result<oneshot::Receiver<io::Result<()>>> {
    let path = match frames {
        Frames::Of(socket) => return forward(socket, inbox),
        Frames::At(path) => path,
    };
    let (end, ended) = oneshot::channel();
    std::thread::Builder::new().name("frames".to_owned()).spawn(move || {
        keep_reading(&path, &inbox);
        end.send(Ok(())).unwrap_or_default();
    })?;
    Ok(ended)
}

/// Until nobody takes what is read.
fn keep_reading<T: From<Packet> + From<Resumed>>(path: &Path, inbox: &mpsc::Sender<T>) {
    let (mut times, mut pause, mut told) = (0_u32, FIRST_PAUSE, String::new());
    let mut was_heard = false;
    while !inbox.is_closed() {
        match connect_to(path) {
            Ok(socket) => {
                let mut hears = false;
                // Only what tells something is a sensor; one that turns us away ends the connection at once.
                let resumed = was_heard.then(|| times.saturating_add(1));
                let read = read_with(&socket, inbox, |inbox| {
                    if !hears && (was_heard || !told.is_empty()) {
                        info!("a sensor is read from at {}", path.display());
                    }
                    if let Some(again) = resumed.filter(|_| !hears) {
                        times = again;
                        inbox.blocking_send(Resumed(again).into()).unwrap_or_default();
                    }
                    hears = true;
                });
                (was_heard, pause) = if hears { (true, FIRST_PAUSE) } else { (was_heard, pause) };
                let reason = match read {
                    Ok(()) if hears => "it ended".to_owned(),
                    Ok(()) => "it turns us away: the socket belongs to another user and group".to_owned(),
                    Err(error) => error.to_string(),
                };
                warn_once(&mut told, path, reason, hears);
            }
            Err(errno) => warn_once(&mut told, path, errno.to_string(), false),
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// A sensor that stays away is told of once.
fn warn_once(told: &mut String, path: &Path, reason: String, was_there: bool) {
    if was_there || *told != reason {
        warn!("no sensor is read from at {}: {reason}; it is tried again", path.display());
        *told = reason;
    }
}

fn connect_to(path: &Path) -> Result<OwnedFd, Errno> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    // The one direction is all that there is; a sensor that has closed the other already is as well.
    match rustix::net::shutdown(&socket, rustix::net::Shutdown::Write) {
        Ok(()) | Err(Errno::NOTCONN) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

/// Starts a thread that hands on every packet of a sensor's socket. The receiver resolves when the other end is closed, or
/// with what went wrong.
///
/// Where whoever takes them falls too far behind nothing is read; what the sensor then cannot send it drops or waits with.
pub fn forward<T: From<Packet> + Send + 'static>(
    frames: OwnedFd,
    inbox: mpsc::Sender<T>,
) -> io::Result<oneshot::Receiver<io::Result<()>>> {
    let flags = rustix::fs::fcntl_getfl(&frames)?;
    rustix::fs::fcntl_setfl(&frames, flags - OFlags::NONBLOCK)?;
    let (end, ended) = oneshot::channel();
    std::thread::Builder::new().name("frames".to_owned()).spawn(move || {
        // Where nobody waits for the end any more, the process is ending itself.
        end.send(read(&frames, &inbox)).unwrap_or_default();
    })?;
    Ok(ended)
}

fn read<T: From<Packet>>(frames: &OwnedFd, inbox: &mpsc::Sender<T>) -> io::Result<()> {
    read_with(frames, inbox, |_| ())
}

/// Does `before` each packet is handed on.
fn read_with<T: From<Packet>>(
    frames: &OwnedFd,
    inbox: &mpsc::Sender<T>,
    mut before: impl FnMut(&mpsc::Sender<T>),
) -> io::Result<()> {
    // One byte more than a frame may have, so that a longer packet is seen to be longer.
    let mut buffer = vec![0; MAX_FRAME + 1];
    let room = Arc::new(Room::default());
    loop {
        let packet = match rustix::net::recv(frames, &mut buffer[..], RecvFlags::empty()) {
            // The other end died, maybe with frames unread.
            Ok((_, 0)) | Err(Errno::CONNRESET) => return Ok(()),
            Ok((length, _)) => room.enter(&buffer[..length]),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        before(inbox);
        if inbox.blocking_send(packet.into()).is_err() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_room_and_takes_what_is_left() {
        let room = Arc::new(Room::default());
        let large = vec![0; MAX_FRAME];
        let mut packets: Vec<Packet> = (0..ROOM / MAX_FRAME).map(|_| room.enter(&large)).collect();
        let (entered, enters) = std::sync::mpsc::channel();
        let beside = room.clone();
        let waits = std::thread::spawn(move || {
            drop(beside.enter(b"one more"));
            entered.send(()).unwrap();
        });
        assert!(enters.recv_timeout(std::time::Duration::from_millis(50)).is_err(), "it is full");
        packets.pop();
        enters.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
        waits.join().unwrap();
        drop(packets);
        assert_eq!(*room.lock(), 0);
    }
}
