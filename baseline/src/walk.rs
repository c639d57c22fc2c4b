use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

use crate::sources::ReadErrorKind;

/// As many as Linux follows.
const MAX_LINKS: usize = 40;

/// Opens a file as its path says, folder by folder and link by link, each of which must be root's or `trusted_uid`'s, and
/// none but those two may put another file in its place: in a folder that more may write to, only where it is sticky.
pub(crate) fn open(path: &Path, flags: OFlags, trusted_uid: u32) -> Result<File, ReadErrorKind> {
    let mut walk = Walk::new(path, trusted_uid)?;
    while let Some(name) = walk.left.pop_front() {
        let found = walk.look_at(&name)?;
        let meta = found.metadata()?;
        if meta.is_symlink() {
            walk.follow(&found, &name, &meta)?;
        } else if walk.left.is_empty() {
            return Ok(open_at(&walk.folder, &name, flags | OFlags::RDONLY)?);
        } else {
            walk.enter(found, &name, &meta)?;
        }
    }
    // The path, or a link in it, is of folders that are entered alone.
    Ok(open_at(&walk.folder, OsStr::new("."), flags | OFlags::RDONLY)?)
}

/// On the way to a file.
struct Walk {
    trusted_uid: u32,
    /// Whom the folders of the machine seem to belong to, where we are in a user namespace without their owners.
    outsider: Option<u32>,
    /// Where the way has led so far, and its name without links.
    folder: File,
    at: PathBuf,
    left: VecDeque<OsString>,
    links: usize,
    /// While as many or more are left, a link said where to go.
    after_link: Option<usize>,
}

impl Walk {
    fn new(path: &Path, trusted_uid: u32) -> Result<Self, ReadErrorKind> {
        let left = names(&std::path::absolute(path)?);
        let (folder, at, links) = (root()?, PathBuf::from("/"), 0);
        let outsider = outsider();
        let walk = Walk { trusted_uid, outsider, folder, at, left, links, after_link: None };
        walk.check(&walk.folder.metadata()?, &walk.at)?;
        Ok(walk)
    }

    /// What is there of this name, itself and not what it leads to.
    fn look_at(&self, name: &OsStr) -> Result<File, ReadErrorKind> {
        open_at(&self.folder, name, OFlags::PATH).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if self.after_link.is_some_and(|after| self.left.len() >= after) => {
                ReadErrorKind::LeadsNowhere
            }
            _ => error.into(),
        })
    }

    fn follow(&mut self, link: &File, name: &OsStr, meta: &Metadata) -> Result<(), ReadErrorKind> {
        if !self.is_trusted(meta.uid()) {
            return Err(ReadErrorKind::LinkOwner { link: self.at.join(name), owner: meta.uid() });
        }
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(io::Error::from(rustix::io::Errno::LOOP).into());
        }
        let target = rustix::fs::readlinkat(link, "", Vec::new()).map_err(io::Error::from)?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        if target.is_absolute() {
            (self.folder, self.at) = (root()?, PathBuf::from("/"));
        }
        let after = self.left.len();
        self.after_link = self.after_link.filter(|outer| after >= *outer).or(Some(after));
        for name in names(&target).into_iter().rev() {
            self.left.push_front(name);
        }
        Ok(())
    }

    fn enter(&mut self, folder: File, name: &OsStr, meta: &Metadata) -> Result<(), ReadErrorKind> {
        match name == ".." {
            true => drop(self.at.pop()),
            false => self.at.push(name),
        }
        if !meta.is_dir() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory).into());
        }
        self.folder = folder;
        self.check(meta, &self.at)
    }

    fn check(&self, meta: &Metadata, folder: &Path) -> Result<(), ReadErrorKind> {
        let (owner, mode, folder) = (meta.uid(), meta.mode() & 0o7777, folder.to_owned());
        // Whoever made the namespace chose what is in it; who of the outside owns a folder cannot be told.
        if !self.is_trusted(owner) && self.outsider != Some(owner) {
            return Err(ReadErrorKind::FolderOwner { folder, owner });
        }
        let by_group = mode & 0o020 != 0 && meta.gid() != 0;
        let is_sticky = mode & 0o1000 != 0;
        match (mode & 0o002 != 0 || by_group) && !is_sticky {
            true => Err(ReadErrorKind::FolderMode { folder, mode }),
            false => Ok(()),
        }
    }

    fn is_trusted(&self, owner: u32) -> bool {
        owner == 0 || owner == self.trusted_uid
    }
}

/// user_namespaces(7): what belongs to a user that has no number here belongs to this one. `None` where every user has
/// one, as outside of such namespaces.
fn outsider() -> Option<u32> {
    let map = std::fs::read_to_string("/proc/self/uid_map").ok()?;
    let has_all = map.split_whitespace().eq(["0", "0", "4294967295"]);
    let uid = || std::fs::read_to_string("/proc/sys/kernel/overflowuid").ok()?.trim().parse().ok();
    if has_all { None } else { uid() }
}

fn names(path: &Path) -> VecDeque<OsString> {
    let steps = path.components().filter(|step| matches!(step, Component::Normal(_) | Component::ParentDir));
    steps.map(|step| step.as_os_str().to_owned()).collect()
}

fn root() -> io::Result<File> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(CWD, "/", flags, Mode::empty())?))
}

fn open_at(folder: &File, name: &OsStr, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(File::from(rustix::fs::openat(folder, name, flags, Mode::empty())?))
}
