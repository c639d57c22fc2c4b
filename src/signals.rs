use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What somebody wants by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    End,
    Reload,
}

pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// Those of the standard files that were terminals at the start.
    terminals: Vec<OwnedFd>,
}

impl Signals {
    pub(crate) fn catch() -> io::Result<Self> {
        let (input, output, errors) = (io::stdin(), io::stdout(), io::stderr());
        let standard = [input.as_fd(), output.as_fd(), errors.as_fd()];
        let terminals = standard.into_iter().filter(IsTerminal::is_terminal);
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            terminals: terminals.map(|fd| fd.try_clone_to_owned()).collect::<io::Result<_>>()?,
        })
    }

    pub(crate) async fn next(&mut self) -> Wanted {
        tokio::select! {
            _ = self.interrupt.recv() => Wanted::End,
            _ = self.terminate.recv() => Wanted::End,
            // Of a terminal that was closed it means to end.
            _ = self.hangup.recv() => if self.terminal_is_gone() { Wanted::End } else { Wanted::Reload },
        }
    }

    fn terminal_is_gone(&self) -> bool {
        let mut polled: Vec<PollFd<'_>> =
            self.terminals.iter().map(|fd| PollFd::new(fd, PollFlags::empty())).collect();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        match poll(&mut polled, Some(&at_once)) {
            Ok(_) => polled.iter().any(|fd| fd.revents().intersects(PollFlags::HUP | PollFlags::ERR)),
            Err(Errno::INTR) => false,
            Err(_) => true,
        }
    }
}
