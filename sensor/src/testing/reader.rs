//! Whoever reads what a sensor tells.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use inventory::Inventory;
use inventory::frame::{Assembler, MAX_FRAME, Pass, decode};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};

const PATIENCE: Duration = Duration::from_secs(20);

/// Takes frames as they come, on a thread of its own, until the other end is closed.
pub(crate) struct Reader {
    passes: Receiver<(Pass, Inventory)>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// And the end to tell it by.
    pub(crate) fn new() -> (Self, OwnedFd) {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let (sender, passes) = channel();
        let read = move || {
            let mut assembler = Assembler::default();
            let mut buffer = vec![MaybeUninit::<u8>::uninit(); MAX_FRAME];
            loop {
                let (frame, _) = match recv(&ours, &mut buffer[..], RecvFlags::empty()) {
                    Ok((frame, _)) if !frame.0.is_empty() => (frame.0.to_vec(), ()),
                    _ => return,
                };
                for message in decode(&frame).unwrap() {
                    let pass = assembler.take(message.unwrap()).unwrap();
                    if let Some(pass) = pass
                        && sender.send((pass, assembler.inventory().unwrap())).is_err()
                    {
                        return;
                    }
                }
            }
        };
        (Reader { passes, thread: Some(std::thread::spawn(read)) }, theirs)
    }

    /// All passes until one is as wanted, that one last; what takes too long never comes.
    pub(crate) fn until(&self, mut wanted: impl FnMut(&Pass, &Inventory) -> bool) -> Vec<(Pass, Inventory)> {
        let end = Instant::now() + PATIENCE;
        let mut passes = Vec::new();
        loop {
            match self.passes.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok((pass, inventory)) => {
                    let is_it = wanted(&pass, &inventory);
                    passes.push((pass, inventory));
                    if is_it {
                        return passes;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!(
                        "it never came; the last of {} was {:?}",
                        passes.len(),
                        passes.last().map(|(pass, _)| pass)
                    )
                }
            }
        }
    }

    /// What came by now.
    pub(crate) fn came(&self) -> Vec<(Pass, Inventory)> {
        self.passes.try_iter().collect()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // The thread ends with the other end, which a test drops before or after.
        drop(self.thread.take());
    }
}
