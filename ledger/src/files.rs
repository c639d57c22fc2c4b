//! Which files a log is, and how each is opened: nobody who may write to the folder makes its writer wait, or write elsewhere.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use crate::error::{LogError, fail};
use crate::line;

#[derive(Clone, Debug)]
pub(crate) struct LogFiles {
    pub(crate) folder: PathBuf,
    name: String,
}

impl LogFiles {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        LogFiles { folder: folder.to_owned(), name: name.to_owned() }
    }

    /// Where records are appended.
    pub(crate) fn current(&self) -> PathBuf {
        self.folder.join(format!("{}.jsonl", self.name))
    }

    pub(crate) fn segment(&self, first: u64) -> PathBuf {
        self.folder.join(format!("{}.jsonl.{first}", self.name))
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.folder.join(format!(".{}.lock", self.name))
    }

    /// The first records of the older segments, by their names, in order. None where there is no folder.
    pub(crate) fn segments(&self) -> Result<Vec<u64>, LogError> {
        let mut found = self.named_like_segments()?;
        let is_trusted = self.is_trusted(&found)?;
        found.retain(|(_, owner)| is_trusted(*owner));
        Ok(found.into_iter().map(|(first, _)| first).collect())
    }

    /// What is named like a segment and is none, since whose it is does not write this log.
    pub(crate) fn strangers(&self) -> Result<Vec<Stranger>, LogError> {
        let found = self.named_like_segments()?;
        let is_trusted = self.is_trusted(&found)?;
        let strangers = found.into_iter().filter(|(_, owner)| !is_trusted(*owner));
        Ok(strangers.map(|(first, owner)| Stranger { path: self.segment(first), owner }).collect())
    }

    /// The numbers in their names, in order, and whose each is.
    fn named_like_segments(&self) -> Result<Vec<(u64, u32)>, LogError> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(fail(&self.folder, "list"))?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(fail(&self.folder, "list"))?.file_name();
            let Some(first) = self.first_record(name.as_encoded_bytes()) else { continue };
            // It may have been dropped meanwhile.
            found.extend(meta_at(&self.segment(first))?.map(|meta| (first, meta.uid())));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Others may write to the folder, as the exporter's group beside the ledger, but nobody else has a file there that is
    /// root's or the writer's. The current file tells whose the log is; between two of them, a segment of root's does.
    fn is_trusted(&self, found: &[(u64, u32)]) -> Result<impl Fn(u32) -> bool + use<>, LogError> {
        let is_roots = || found.iter().any(|(_, owner)| *owner == 0).then_some(0);
        let writer = meta_at(&self.current())?.map(|meta| meta.uid()).or_else(is_roots);
        Ok(move |owner| owner == 0 || writer.is_none_or(|writer| writer == owner))
    }

    fn first_record(&self, name: &[u8]) -> Option<u64> {
        line::number(name.strip_prefix(self.name.as_bytes())?.strip_prefix(b".jsonl.")?)
    }

    pub(crate) fn sync_folder(&self) -> Result<(), LogError> {
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(fail(&self.folder, "sync"))
    }
}

/// A file beside a log that is named like a segment of it, and is another user's. It is left out of the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{path} is a stranger's file, of uid {owner}, and is not read as a part of the log: look who put it there, and remove it, \
     or chown it where it is the log's own"
)]
pub struct Stranger {
    /// The file.
    pub path: PathBuf,
    /// Whose it is.
    pub owner: u32,
}

/// The first records of the older segments of a log, in order. None where there is no folder.
pub fn segments(folder: &Path, name: &str) -> Result<Vec<u64>, LogError> {
    LogFiles::new(folder, name).segments()
}

/// What is left out of a log.
pub fn strangers(folder: &Path, name: &str) -> Result<Vec<Stranger>, LogError> {
    LogFiles::new(folder, name).strangers()
}

fn careful() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed()
}

/// A regular file, whoever's it is; `None` where there is none.
pub(crate) fn open_to_read(path: &Path) -> Result<Option<File>, LogError> {
    open(path, OpenOptions::new().read(true))
}

/// A regular file of our own that has no other name; `None` where there is none.
pub(crate) fn open_to_append(path: &Path) -> Result<Option<File>, LogError> {
    let file = open(path, OpenOptions::new().read(true).append(true))?;
    file.as_ref().map_or(Ok(()), |file| check_ours(path, &meta(path, file)?))?;
    Ok(file)
}

/// A new file; fails where something stands there.
pub(crate) fn create(path: &Path, mode: u32) -> Result<File, LogError> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create_new(true).mode(mode).custom_flags(careful());
    options.open(path).map_err(fail(path, "create"))
}

fn open(path: &Path, options: &mut OpenOptions) -> Result<Option<File>, LogError> {
    let file = match options.custom_flags(careful()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if is_something_else(&error) => return Err(LogError::NoFile(path.to_owned())),
        Err(error) => return Err(fail(path, "open")(error)),
    };
    match meta(path, &file)?.is_file() {
        true => Ok(Some(file)),
        false => Err(LogError::NoFile(path.to_owned())),
    }
}

/// What open(2) says of a symbolic link, a folder, and a socket or a FIFO.
fn is_something_else(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::LOOP, Errno::ISDIR, Errno::NXIO]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

pub(crate) fn meta(path: &Path, file: &File) -> Result<Metadata, LogError> {
    file.metadata().map_err(fail(path, "stat"))
}

/// What stands there now, itself and not what it may lead to.
pub(crate) fn meta_at(path: &Path) -> Result<Option<Metadata>, LogError> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fail(path, "stat")(error)),
    }
}

pub(crate) fn check_ours(path: &Path, meta: &Metadata) -> Result<(), LogError> {
    let uid = rustix::process::geteuid().as_raw();
    if !meta.is_file() {
        return Err(LogError::NoFile(path.to_owned()));
    }
    if meta.uid() != uid {
        return Err(LogError::Foreign { path: path.to_owned(), owner: meta.uid(), uid });
    }
    match meta.nlink() {
        0 | 1 => Ok(()),
        _ => Err(LogError::Linked(path.to_owned())),
    }
}

pub(crate) fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Waits at most so long for whoever holds the lock. It is given back when the file is closed.
pub(crate) fn lock(beside: &Path, busy: &Path, wait: Duration) -> Result<File, LogError> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false).mode(0o600);
    let file =
        open(beside, options)?.ok_or_else(|| fail(beside, "create")(io::ErrorKind::NotFound.into()))?;
    let until = Instant::now() + wait;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(fail(beside, "lock")(error)),
            Err(TryLockError::WouldBlock) if Instant::now() >= until => {
                return Err(LogError::Busy(busy.to_owned()));
            }
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(20)),
        }
    }
}
