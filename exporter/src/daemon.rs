//! How the verbs of root tell a running `serve` that there is something to read again.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::state::{self, StateError};

const FILE: &str = "serve.pid";
const MAX_FILE: u64 = 64;

/// Why the running `serve` could not be told. It goes on with what it read before.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ReloadError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("{0} does not hold a pid and a start time: restart `portledger serve`")]
    Malformed(PathBuf),
    #[error("{path} names process {pid}, which does not run as the owner of that file: it is left alone")]
    Stranger { path: PathBuf, pid: Pid },
    #[error("process {pid} cannot be told to reload: {error}; send it SIGHUP")]
    Signal { pid: Pid, error: std::io::Error },
}

/// Writes down who serves. The signal handler must stand before: SIGHUP ends a process that has none.
pub fn announce(folder: &Path) -> Result<(), StateError> {
    let broken = |error: procfs::ProcError| StateError::Io {
        path: PathBuf::from("/proc/self/stat"),
        step: "read",
        error: std::io::Error::other(error),
    };
    let stat = procfs::process::Process::myself().and_then(|myself| myself.stat()).map_err(broken)?;
    state::write(folder, FILE, format!("{} {}\n", stat.pid, stat.starttime).as_bytes())
}

/// Sends SIGHUP to the `serve` that uses this state folder. `None` where none runs.
///
/// The exporter's user could name any process there: only one that runs as the very user who wrote the file is signalled.
pub fn reload_running(folder: &Path) -> Result<Option<u32>, ReloadError> {
    let path = folder.join(FILE);
    let Some(content) = state::read(folder, FILE, MAX_FILE)? else { return Ok(None) };
    let (pid, started) = parse(&content).ok_or_else(|| ReloadError::Malformed(path.clone()))?;
    let failed = |error: Errno| ReloadError::Signal { pid, error: error.into() };
    // From here on the descriptor names the process, also when its pid is given to another.
    let process = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(Errno::SRCH) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let found = procfs::process::Process::new(pid.as_raw_nonzero().get());
    let found = found.and_then(|found| Ok((found.stat()?, found.status()?)));
    let Ok((stat, status)) = found else { return Ok(None) };
    if stat.starttime != started {
        return Ok(None);
    }
    let owner = std::fs::symlink_metadata(&path).map_err(|error| StateError::Io {
        path: path.clone(),
        step: "stat",
        error,
    })?;
    if [status.ruid, status.euid, status.suid] != [owner.uid(); 3] {
        return Err(ReloadError::Stranger { path, pid });
    }
    match rustix::process::pidfd_send_signal(&process, Signal::HUP) {
        Ok(()) => Ok(Some(pid.as_raw_nonzero().get().cast_unsigned())),
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Who serves from this folder; `None` where that cannot be told.
pub fn announced(folder: &Path) -> Option<u32> {
    let (pid, started) = parse(&state::read(folder, FILE, MAX_FILE).ok()??)?;
    let pid = pid.as_raw_nonzero().get();
    let stat = procfs::process::Process::new(pid).and_then(|process| process.stat()).ok()?;
    (stat.starttime == started).then(|| pid.cast_unsigned())
}

fn parse(content: &[u8]) -> Option<(Pid, u64)> {
    let (pid, started) = std::str::from_utf8(content).ok()?.trim_end().split_once(' ')?;
    let pid = i32::try_from(pid.parse::<u32>().ok()?).ok()?;
    Some((Pid::from_raw(pid)?, started.parse().ok()?))
}

/// Who serves, as the file says it.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzzed(bytes: &[u8]) {
    if let Some((pid, started)) = parse(bytes) {
        let written = format!("{} {started}\n", pid.as_raw_nonzero());
        assert_eq!(parse(written.as_bytes()), Some((pid, started)));
    }
}
