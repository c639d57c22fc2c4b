use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use inventory::frame::MAX_FRAME;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::sync::{mpsc, oneshot};

/// How many bytes of packets wait to be judged before no more are read. A sensor that must wait loses events, so there is
/// room for a storm of some ten thousand.
const ROOM: usize = 6 << 20;

/// A packet of a sensor's socket. It takes its room until it is dropped.
pub struct Packet {
    bytes: Vec<u8>,
    room: Arc<Room>,
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
        Packet { bytes: bytes.to_vec(), room: self.clone() }
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
