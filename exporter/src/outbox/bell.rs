use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tracing::debug;

/// How often the logs are looked at in any case where the kernel tells when they grow, and where it does not.
const TOLD: Duration = Duration::from_secs(10);
const UNTOLD: Duration = Duration::from_secs(1);
/// How long what follows is waited for: a batch of records is a write, and a storm of them many.
const GATHER: Duration = Duration::from_millis(50);

/// Rings when something is written into the state folder.
pub(crate) struct Bell {
    told: Option<OwnedFd>,
}

impl Bell {
    pub(crate) fn of(folder: &Path) -> Self {
        let told = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).and_then(|told| {
            let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
            inotify::add_watch(&told, folder, flags)?;
            Ok(told)
        });
        let told = told.inspect_err(|error| debug!("logs are looked at every second: inotify: {error}")).ok();
        Bell { told }
    }

    /// Waits until it rings or the receiver says something, at most so long.
    pub(crate) fn wait(&self, receiver: Option<BorrowedFd<'_>>, most: Option<Duration>) {
        let longest = if self.told.is_some() { TOLD } else { UNTOLD };
        let most = most.unwrap_or(longest).min(longest);
        let descriptors = receiver.into_iter().chain(self.told.as_ref().map(AsFd::as_fd));
        let mut polled: Vec<PollFd<'_>> =
            descriptors.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        let timeout = Timespec::try_from(most).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        let woken = poll(&mut polled, Some(&timeout));
        // A poll that fails at once must not become a busy loop either.
        if !matches!(woken, Ok(0)) {
            std::thread::sleep(GATHER);
            self.silence();
        }
    }

    /// What rang is not asked: all logs are looked at.
    fn silence(&self) {
        let mut buffer = [0; 4096];
        if let Some(told) = &self.told {
            while rustix::io::read(told, &mut buffer).is_ok() {}
        }
    }
}
