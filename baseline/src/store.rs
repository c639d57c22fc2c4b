use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::SourceText;
use crate::diagnostic::shown_path;
use crate::sources::{ReadError, read};

/// One file of a baseline that nobody else of us edits while this value lives.
#[derive(Debug)]
pub struct LockedFile {
    path: PathBuf,
    trusted_uid: Option<u32>,
    read: Option<SourceText>,
    /// Held for its lock.
    _lock: File,
}

/// Why a file was not edited. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It may not be trusted, or cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Somebody else holds the lock.
    #[error("{} is being edited by another run of this command: try again when that is done", shown_path(.0))]
    Busy(PathBuf),
    /// Somebody who takes no lock wrote to it.
    #[error("{} was changed by somebody else in the meantime: look at it and try again", shown_path(.0))]
    Changed(PathBuf),
    /// Its folder does not exist, or nothing can be written there.
    #[error("{}: cannot be written: {source}", shown_path(.path))]
    Io {
        /// What was written to.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// New files: root writes them, the exporter's user reads them.
const MODE: u32 = 0o644;

impl LockedFile {
    /// Locks a file, waiting at most this long, and reads it, if it is there. Where the path is a symbolic link, what it
    /// leads to is edited.
    pub fn open(path: &Path, trusted_uid: u32, wait: Duration) -> Result<Self, StoreError> {
        LockedFile::open_of(path, Some(trusted_uid), wait)
    }

    /// The same, whoever owns the file: one of a checkout, by which no host is judged.
    pub fn open_of_anybody(path: &Path, wait: Duration) -> Result<Self, StoreError> {
        LockedFile::open_of(path, None, wait)
    }

    fn open_of(path: &Path, trusted_uid: Option<u32>, wait: Duration) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Io { path: path.to_owned(), source };
        // Whoever made a checkout could have a link in it lead to any file of who works in it.
        if trusted_uid.is_none() {
            let refused = |what| Err(failed(io::Error::new(io::ErrorKind::InvalidInput, what)));
            if path.is_symlink() {
                return refused("it is a symbolic link: name the file itself");
            }
            if path.parent().is_some_and(|folder| folder.ends_with("baseline.d") && folder.is_symlink()) {
                return refused("its folder is a symbolic link: put the folder itself there");
            }
        }
        let path = resolved(path).map_err(failed)?;
        let lock = lock(&path, wait)?;
        let before = read(&path, trusted_uid)?;
        Ok(LockedFile { path, trusted_uid, read: before, _lock: lock })
    }

    /// What it holds; empty where there is none yet.
    pub fn source(&self) -> SourceText {
        self.read.clone().unwrap_or_else(|| SourceText { path: self.path.clone(), text: String::new() })
    }

    /// There is none yet.
    pub fn is_new(&self) -> bool {
        self.read.is_none()
    }

    /// Puts this text in its place, whole or not at all, whenever the machine stops.
    pub fn replace(self, text: &str) -> Result<(), StoreError> {
        if read(&self.path, self.trusted_uid)? != self.read {
            return Err(StoreError::Changed(self.path));
        }
        write_whole(&self.path, text.as_bytes()).map_err(|source| StoreError::Io { path: self.path, source })
    }
}

/// Reads a file of the state folder, up to this many bytes.
pub(crate) fn read_plain(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_plain(path)?.take(max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a file of the state folder. Who may write there may have put a pipe or a link in its place.
pub(crate) fn open_plain(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok(file)
}

/// Where the file stands, or will stand, from wherever it is looked for later.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = path.file_name().ok_or(error)?;
            Ok(fs::canonicalize(folder_of(path))?.join(name))
        }
        resolved => resolved,
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn lock(path: &Path, wait: Duration) -> Result<File, StoreError> {
    let beside = beside(path, "lock");
    let failed = |source| StoreError::Io { path: beside.clone(), source };
    // Not to hang on a pipe that somebody put there.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let mut options = File::options();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let file = options.open(&beside).map_err(failed)?;
    let until = Instant::now() + wait;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            Err(TryLockError::WouldBlock) if Instant::now() >= until => {
                return Err(StoreError::Busy(path.to_owned()));
            }
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// `.NAME.what` in the same folder: no `*.toml`, so never read as one of a set.
fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".");
    name.push(what);
    path.with_file_name(name)
}

/// Writes beside, to the disk, then renames. One writer at a time; what a killed one left is overwritten.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(path, "new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    let written = fill(&mut file, path, bytes).and_then(|()| fs::rename(&new, path));
    if let Err(error) = written {
        // What is left would be overwritten the next time; the first error is the one to tell.
        return fs::remove_file(&new).and(Err(error));
    }
    File::open(folder_of(path))?.sync_all()
}

/// Owner and mode are those of the file that is replaced.
fn fill(file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(old) => {
            let new = file.metadata()?;
            if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                fchown(&*file, Some(old.uid()), Some(old.gid()))?;
            }
            file.set_permissions(Permissions::from_mode(old.mode() & 0o777))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            file.set_permissions(Permissions::from_mode(MODE))?;
        }
        Err(error) => return Err(error),
    }
    file.write_all(bytes)?;
    file.sync_all()
}
