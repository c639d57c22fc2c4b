use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::{StateError, create, fail, open_folder};
use crate::daemon;

/// Root's, also in a folder that belongs to the exporter's user.
pub(super) const FILE: &str = "serve.lock";
/// One that root made must keep out also who is started as the exporter's user.
const MODE: u32 = 0o644;

/// Keeps a second `serve` from a state folder for as long as it lives. The kernel lets go of it when the process ends.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

/// Takes `folder` for this process, and makes it with mode 0750 where it is missing. Call it as root, before
/// [`crate::prepare_state`]: that one gives the folder away.
pub fn lock_state(folder: &Path) -> Result<StateLock, StateError> {
    create(folder)?;
    let (opened, _) = open_folder(folder)?;
    let path = folder.join(FILE);
    // Only read: the descriptor outlives root, and whoever owned the folder chose what has this name.
    let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&opened, FILE, flags, Mode::from_raw_mode(MODE));
    let file = File::from(file.map_err(|error| fail(&path, "open")(error.into()))?);
    let meta = file.metadata().map_err(fail(&path, "stat"))?;
    // Another file may have been linked here, one that only root may read.
    if !meta.is_file() || meta.nlink() != 1 || meta.len() != 0 {
        return Err(StateError::NoFile(path));
    }
    if meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o7777 != MODE {
        let mode = Mode::from_raw_mode(MODE);
        rustix::fs::fchmod(&file, mode).map_err(|error| fail(&path, "chmod")(error.into()))?;
    }
    match file.try_lock() {
        Ok(()) => Ok(StateLock { _file: file }),
        Err(TryLockError::WouldBlock) => {
            Err(StateError::Busy { path: folder.to_owned(), pid: daemon::announced(folder) })
        }
        Err(TryLockError::Error(error)) => Err(fail(&path, "lock")(error)),
    }
}
