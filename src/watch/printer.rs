use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::sync::mpsc;

/// How much text waits for a reader who takes none.
const MOST_WAITING: usize = 32 << 20;
/// How long it waits for that reader at the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Writes to the standard output on a thread of its own: a terminal that is held, or a pager that is not scrolled, keeps
/// nobody from taking events.
pub(crate) struct Printer {
    texts: Sender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
    ended: mpsc::UnboundedReceiver<io::Result<()>>,
}

impl Printer {
    pub(crate) fn start() -> io::Result<Self> {
        let (texts, inbox) = channel();
        let (end, ended) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let (of_writer, closed) = (waiting.clone(), end.clone());
        std::thread::Builder::new().name("printer".to_owned()).spawn(move || {
            // Where nobody waits for the end any more, the process is ending itself.
            end.send(write(&inbox, &of_writer)).unwrap_or_default();
        })?;
        std::thread::Builder::new().name("reader's end".to_owned()).spawn(move || {
            if until_closed() {
                closed.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap_or_default();
            }
        })?;
        Ok(Printer { texts, waiting, ended })
    }

    /// True where there is no room: what is printed now waits for a reader who has been behind for long.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= MOST_WAITING
    }

    /// Has it written, and flushed, as soon as can be. What comes after the end is of no use to anybody.
    pub(crate) fn print(&self, text: Vec<u8>) {
        self.waiting.fetch_add(text.len(), Ordering::Relaxed);
        self.texts.send(text).unwrap_or_default();
    }

    /// Resolves when nothing can be written any more, with the reason.
    pub(crate) async fn broken(&mut self) -> io::Error {
        match self.ended.recv().await {
            Some(Err(error)) => error,
            Some(Ok(())) | None => io::Error::other("the thread that writes has ended"),
        }
    }

    /// Waits a moment until all is written. False where whoever holds the output does not read it.
    pub(crate) async fn finish(self) -> io::Result<bool> {
        let Printer { texts, mut ended, .. } = self;
        drop(texts);
        match tokio::time::timeout(FAREWELL, ended.recv()).await {
            Ok(Some(ended)) => ended.map(|()| true),
            Ok(None) | Err(_) => Ok(false),
        }
    }
}

fn write(inbox: &Receiver<Vec<u8>>, waiting: &AtomicUsize) -> io::Result<()> {
    let mut output = io::stdout();
    for text in inbox {
        output.write_all(&text)?;
        output.flush()?;
        waiting.fetch_sub(text.len(), Ordering::Relaxed);
    }
    Ok(())
}

/// Waits until the reader of the output is gone, which a write would tell only when there is something to write. False
/// where that cannot be known.
fn until_closed() -> bool {
    let output = io::stdout();
    loop {
        let mut polled = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::empty())];
        match poll(&mut polled, None) {
            Ok(_) if polled[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) => return true,
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return false,
        }
        if polled[0].revents().contains(PollFlags::NVAL) {
            return false;
        }
    }
}
