use std::io;
use std::os::fd::OwnedFd;

use inventory::frame::MAX_FRAME;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::sync::{mpsc, oneshot};

use crate::judge::Work;

/// Starts a thread that hands every packet of the sensor's socket to the judge. The receiver resolves when the other end
/// is closed, or with what went wrong.
///
/// While the judge is busy nothing is read; what the sensor then cannot send it drops or waits with.
pub(crate) fn forward(
    frames: OwnedFd,
    judge: mpsc::Sender<Work>,
) -> io::Result<oneshot::Receiver<io::Result<()>>> {
    let flags = rustix::fs::fcntl_getfl(&frames)?;
    rustix::fs::fcntl_setfl(&frames, flags - OFlags::NONBLOCK)?;
    let (end, ended) = oneshot::channel();
    std::thread::Builder::new().name("frames".to_owned()).spawn(move || {
        // Where nobody waits for the end any more, the process is ending itself.
        end.send(read(&frames, &judge)).unwrap_or_default();
    })?;
    Ok(ended)
}

fn read(frames: &OwnedFd, judge: &mpsc::Sender<Work>) -> io::Result<()> {
    // One byte more than a frame may have, so that a longer packet is seen to be longer.
    let mut buffer = vec![0; MAX_FRAME + 1];
    loop {
        let packet = match rustix::net::recv(frames, &mut buffer[..], RecvFlags::empty()) {
            // The other end died, maybe with frames unread.
            Ok((_, 0)) | Err(Errno::CONNRESET) => return Ok(()),
            Ok((length, _)) => buffer[..length].to_vec(),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        if judge.blocking_send(Work::Frame(packet)).is_err() {
            return Ok(());
        }
    }
}
