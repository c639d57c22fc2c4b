use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};

use crate::{Identity, powers};

mod lock;

pub use lock::{StateLock, lock_state};

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StateError {
    #[error("{path}: {step} failed: {error}")]
    Io { path: PathBuf, step: &'static str, error: io::Error },
    #[error("{path}: {step} failed: {error}: {cure}")]
    Powerless { path: PathBuf, step: &'static str, error: io::Error, cure: String },
    #[error("{0} is no folder, or a symbolic link to one: name the folder itself with --state")]
    NoFolder(PathBuf),
    #[error("{0} can be written by everybody: chmod o-w it, or choose another folder with --state")]
    WorldWritable(PathBuf),
    #[error(
        "{path} belongs to uid {owner} and is not empty: chown it to uid {uid}, or choose another folder with --state"
    )]
    Foreign { path: PathBuf, owner: u32, uid: u32 },
    #[error("{path} is larger than {bound} bytes")]
    TooLarge { path: PathBuf, bound: u64 },
    #[error(
        "{0} is not the file that `portledger serve` makes there: remove it and restart `portledger serve`"
    )]
    NoFile(PathBuf),
    #[error(
        "{path} is in use by another `portledger serve`{}: end it, or choose another folder with --state", named(*pid)
    )]
    Busy { path: PathBuf, pid: Option<u32> },
}

fn named(pid: Option<u32>) -> String {
    pid.map(|pid| format!(", process {pid}")).unwrap_or_default()
}

/// What root lets the exporter's group write into, and nobody take another's file out of: the ledger there is root's. New
/// files are that group's, which may read the ledger.
const SHARED: u32 = 0o3770;

/// Makes sure that `folder` exists and that `identity` can keep its files in it. As root it stays root's, with mode 3770
/// and the group of `identity`, who is given the files of an earlier exporter. Call it before [`crate::drop_to`].
pub fn prepare_state(folder: &Path, identity: &Identity) -> Result<(), StateError> {
    create(folder)?;
    let (found, meta) = open_folder(folder)?;
    let root = rustix::process::geteuid().is_root();
    let is_shared = meta.uid() == 0 && meta.gid() == identity.gid() && meta.mode() & 0o7777 == SHARED;
    let is_own = !root && meta.uid() == identity.uid();
    if is_shared || is_own { Ok(()) } else { adopt(folder, &found, &meta, identity) }
}

/// Fails where others than its owner say what is in it.
fn open_folder(folder: &Path) -> Result<(File, Metadata), StateError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(folder, flags, Mode::empty());
    let opened = opened.map_err(|error| match error {
        rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR => StateError::NoFolder(folder.to_owned()),
        other => fail(folder, "open")(other.into()),
    })?;
    let found = File::from(opened);
    let meta = found.metadata().map_err(fail(folder, "stat"))?;
    if meta.mode() & 0o002 != 0 {
        return Err(StateError::WorldWritable(folder.to_owned()));
    }
    Ok((found, meta))
}

fn create(folder: &Path) -> Result<(), StateError> {
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(fail(parent, "mkdir"))?;
    }
    match DirBuilder::new().mode(0o750).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(fail(folder, "mkdir")(error)),
        _ => Ok(()),
    }
}

/// Takes over a folder that is new, that root's verbs made for the ledger, or that was an earlier exporter's. Any other was
/// somebody's before, and root must not let others write into it. The lock and the ledger are root's and stay so.
fn adopt(path: &Path, folder: &File, meta: &Metadata, identity: &Identity) -> Result<(), StateError> {
    let mut names = names_in(path)?;
    names.retain(|name| name != lock::FILE);
    let (roots, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| is_of_ledger(name));
    if !others.is_empty() && !is_an_exporters(meta, identity) {
        return Err(StateError::Foreign { path: path.to_owned(), owner: meta.uid(), uid: identity.uid() });
    }
    let (uid, gid) = owner_of(identity);
    for name in others {
        adopt_file(path, folder, &name, (uid, gid))?;
    }
    for name in roots {
        adopt_file(path, folder, &name, (None, gid))?;
    }
    // Last: one that is killed before has left what is not settled.
    let root = rustix::process::geteuid();
    rustix::fs::fchown(folder, Some(root), gid).map_err(|error| fail(path, "chown")(error.into()))?;
    let mode = Mode::from_raw_mode(SHARED);
    rustix::fs::fchmod(folder, mode).map_err(|error| fail(path, "chmod")(error.into()))
}

/// A folder that this identity, or a number that only an exporter can have had, writes into already.
fn is_an_exporters(meta: &Metadata, identity: &Identity) -> bool {
    let is_one = |id: u32| id == identity.uid() || id == identity.gid() || Identity::is_dynamic(id);
    is_one(meta.uid()) || (meta.uid() == 0 && meta.mode() & 0o1020 == 0o1020 && is_one(meta.gid()))
}

/// What admins did is logged by root, also before `serve` ever ran.
fn is_of_ledger(name: &std::ffi::OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.strip_prefix(b".").unwrap_or(name).starts_with(b"ledger.")
}

fn names_in(path: &Path) -> Result<Vec<std::ffi::OsString>, StateError> {
    let entries =
        std::fs::read_dir(path).and_then(|entries| entries.map(|e| e.map(|e| e.file_name())).collect());
    entries.map_err(fail(path, "list"))
}

/// Plain files with no second name only: the former owner may have linked a file of root's into the folder.
fn adopt_file(
    path: &Path,
    folder: &File,
    name: &std::ffi::OsStr,
    (uid, gid): (Option<rustix::fs::Uid>, Option<rustix::fs::Gid>),
) -> Result<(), StateError> {
    let at = path.join(name);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let listed = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    let listed = listed.map_err(|error| fail(&at, "stat")(error.into()))?;
    if rustix::fs::FileType::from_raw_mode(listed.st_mode) != rustix::fs::FileType::RegularFile {
        return Ok(());
    }
    let file = rustix::fs::openat(folder, name, flags, Mode::empty());
    let file = File::from(file.map_err(|error| fail(&at, "open")(error.into()))?);
    let meta = file.metadata().map_err(fail(&at, "stat"))?;
    if !meta.is_file() || meta.nlink() != 1 {
        return Ok(());
    }
    rustix::fs::fchown(&file, uid, gid).map_err(|error| fail(&at, "chown")(error.into()))
}

fn owner_of(identity: &Identity) -> (Option<rustix::fs::Uid>, Option<rustix::fs::Gid>) {
    let uid = rustix::fs::Uid::from_raw(identity.uid());
    (Some(uid), Some(rustix::fs::Gid::from_raw(identity.gid())))
}

/// Reads `folder/name` whole, up to `bound` bytes; `None` where there is no such file.
///
/// Root reads here what the exporter's user may have replaced: a FIFO must not keep it waiting.
pub(crate) fn read(folder: &Path, name: &str, bound: u64) -> Result<Option<Vec<u8>>, StateError> {
    let path = folder.join(name);
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(&path, "open")(error)),
    };
    if !file.metadata().map_err(fail(&path, "stat"))?.is_file() {
        return Err(StateError::NoFile(path));
    }
    let mut content = Vec::new();
    file.take(bound + 1).read_to_end(&mut content).map_err(fail(&path, "read"))?;
    if u64::try_from(content.len()).unwrap_or(u64::MAX) > bound {
        return Err(StateError::TooLarge { path, bound });
    }
    Ok(Some(content))
}

/// Replaces `folder/name` so that a kill at any instant leaves the old content or the new. One writer at a time.
pub(crate) fn write(folder: &Path, name: &str, content: &[u8]) -> Result<(), StateError> {
    write_by(folder, name, |file| file.write_all(content))
}

/// Likewise, with what `content` writes.
pub(crate) fn write_by(
    folder: &Path,
    name: &str,
    content: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), StateError> {
    let beside = folder.join(format!("{name}.new"));
    let no_follow = OFlags::NOFOLLOW.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o640).custom_flags(no_follow);
    let mut file = options.open(&beside).map_err(fail(&beside, "open"))?;
    let written = content(&mut file).and_then(|()| file.sync_all());
    if written.is_err() {
        // A full disk is not to be kept full by us.
        file.set_len(0).unwrap_or_default();
    }
    written.map_err(fail(&beside, "write"))?;
    let path = folder.join(name);
    std::fs::rename(&beside, &path).map_err(fail(&path, "rename"))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail(folder, "sync"))
}

fn fail(path: &Path, step: &'static str) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |error| match powers::cure().filter(|_| error.kind() == io::ErrorKind::PermissionDenied) {
        Some(cure) => StateError::Powerless { path, step, error, cure },
        None => StateError::Io { path, step, error },
    }
}

#[cfg(test)]
mod tests;
