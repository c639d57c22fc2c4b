use std::fmt;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use rustix::fs::OFlags;

use crate::audit::{EVENTS_KEY, LEDGER_KEY};

/// A file that is to stand somewhere.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) from: PathBuf,
    pub(super) to: PathBuf,
    pub(super) owner: Owner,
    /// Permissions of a new one.
    pub(super) mode: u32,
}

/// Whose a file becomes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner {
    /// That of the file which is replaced; ours where there is none.
    AsItIs,
    /// A uid and a gid.
    Of(u32, u32),
}

/// What happens to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    New,
    Same,
    Replaced,
}

impl Owner {
    /// Ours, for their group to read.
    pub(super) fn as_group(self) -> Self {
        match self {
            Owner::AsItIs => Owner::AsItIs,
            Owner::Of(_, gid) => Owner::Of(rustix::process::geteuid().as_raw(), gid),
        }
    }
}

impl Target {
    pub(super) fn is_keys(&self) -> bool {
        self.to.ends_with(LEDGER_KEY) || self.to.ends_with(EVENTS_KEY)
    }

    pub(super) fn change(&self) -> anyhow::Result<Change> {
        let failed = || self.to.display().to_string();
        let Some(mut there) = open(&self.to).with_context(failed)? else { return Ok(Change::New) };
        let mut wanted = File::open(&self.from).with_context(|| self.from.display().to_string())?;
        Ok(if same(&mut wanted, &mut there).with_context(failed)? { Change::Same } else { Change::Replaced })
    }

    /// Writes it beside, to the disk, and renames. What it replaces is kept.
    pub(super) fn put(&self, aside: &mut Aside) -> anyhow::Result<()> {
        match self.change()? {
            Change::Same => return Ok(()),
            Change::New => {}
            Change::Replaced => aside.copy(&self.to)?,
        }
        let failed = || format!("{}: cannot be written", self.to.display());
        if let Some(folder) = self.to.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(folder).with_context(failed)?;
        }
        replace(&self.from, &self.to, self.owner, self.mode).with_context(failed)
    }
}

/// A regular file, whoever may have put something else there; `None` where there is nothing.
pub(super) fn open(path: &Path) -> io::Result<Option<File>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    match File::options().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            Err(io::Error::other("it is a symbolic link: look where it leads, and remove it"))
        }
        Err(error) => Err(error),
        Ok(file) if file.metadata()?.is_file() => Ok(Some(file)),
        Ok(_) => Err(io::Error::other("it is no regular file: look who put it there")),
    }
}

fn same(one: &mut File, other: &mut File) -> io::Result<bool> {
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (io::BufReader::new(one).bytes(), io::BufReader::new(other).bytes());
    loop {
        match (one.next().transpose()?, other.next().transpose()?) {
            (None, None) => return Ok(true),
            (left, right) if left == right => {}
            _ => return Ok(false),
        }
    }
}

/// Whole or not at all, whenever the machine stops. What a killed one left beside is written over.
pub(super) fn replace(from: &Path, to: &Path, owner: Owner, mode: u32) -> io::Result<()> {
    let beside = beside(to);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut new = File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written = fill(from, to, &mut new, owner, mode).and_then(|()| fs::rename(&beside, to));
    if let Err(error) = written {
        // The first error is the one to tell.
        return fs::remove_file(&beside).and(Err(error));
    }
    sync_folder(to)
}

fn fill(from: &Path, to: &Path, new: &mut File, owner: Owner, mode: u32) -> io::Result<()> {
    let old = open(to)?.map(|file| file.metadata()).transpose()?;
    let ids = match (owner, &old) {
        (Owner::Of(uid, gid), _) => Some((uid, gid)),
        (Owner::AsItIs, Some(old)) => Some((old.uid(), old.gid())),
        (Owner::AsItIs, None) => None,
    };
    let own = new.metadata()?;
    if let Some((uid, gid)) = ids.filter(|ids| *ids != (own.uid(), own.gid())) {
        fchown(&*new, Some(uid), Some(gid))?;
    }
    let mode = old.map_or(mode, |old| old.mode() & 0o777);
    new.set_permissions(Permissions::from_mode(mode))?;
    io::copy(&mut File::open(from)?, new)?;
    new.sync_all()
}

/// `.NAME.restored` in the same folder.
fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".restored");
    path.with_file_name(name)
}

pub(super) fn sync_folder(of: &Path) -> io::Result<()> {
    File::open(of.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// How the name of a folder begins in which something is kept.
pub(super) const REPLACED: &str = "replaced-";

/// Where what is replaced is kept: a folder that is made when there is something to keep.
#[derive(Debug)]
pub(super) struct Aside {
    state: PathBuf,
    folder: Option<PathBuf>,
}

impl Aside {
    pub(super) fn new(state: &Path) -> Self {
        Aside { state: state.to_owned(), folder: None }
    }

    pub(super) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    fn made(&mut self) -> anyhow::Result<PathBuf> {
        if let Some(folder) = &self.folder {
            return Ok(folder.clone());
        }
        let name = format!("{REPLACED}{}", Timestamp::now().strftime("%Y-%m-%dT%H-%M-%S.%6fZ"));
        let folder = self.state.join(name);
        let made = DirBuilder::new().mode(0o700).create(&folder);
        made.with_context(|| format!("{}: cannot be made", folder.display()))?;
        self.folder = Some(folder.clone());
        Ok(folder)
    }

    /// A name in it that is not taken.
    fn free(&mut self, path: &Path) -> anyhow::Result<PathBuf> {
        let (folder, name) = (self.made()?, path.file_name().unwrap_or_default());
        let numbered = |number: u32| {
            let mut name = name.to_owned();
            if number > 0 {
                name.push(format!(".{number}"));
            }
            folder.join(name)
        };
        Ok((0..).map(numbered).find(|path| !path.exists()).unwrap_or_else(|| folder.join(name)))
    }

    /// Keeps what stands there now.
    pub(super) fn copy(&mut self, path: &Path) -> anyhow::Result<()> {
        let to = self.free(path)?;
        let failed = || format!("{}: cannot be kept as {}", path.display(), to.display());
        let Some(mut there) = open(path).with_context(failed)? else { return Ok(()) };
        let new = File::options().write(true).create_new(true).mode(0o600).open(&to);
        let copied = new.and_then(|mut new| {
            io::copy(&mut there, &mut new)?;
            new.sync_all()?;
            sync_folder(&to)
        });
        copied.with_context(failed)
    }

    /// Takes a file away.
    pub(super) fn take(&mut self, path: &Path) -> anyhow::Result<()> {
        let to = self.free(path)?;
        let moved = fs::rename(path, &to).and_then(|()| sync_folder(path));
        moved.with_context(|| format!("{}: cannot be moved to {}", path.display(), to.display()))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Change::New => "new",
            Change::Same => "as it is",
            Change::Replaced => "replaced; what stands there is kept",
        })
    }
}
