use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, openat, statat};

use crate::process::read_at;

/// No state file that is of use has more.
const BYTES: u64 = 16 << 20;
/// Nor a folder.
const NAMES: usize = 65_536;

/// Files beneath the host's root, read as far as they can be: what cannot be read is as good as not there, and leaves
/// the thing that it would have named without a name.
#[derive(Debug)]
pub(super) struct Files {
    root: Option<OwnedFd>,
}

impl Files {
    pub(super) fn beneath(root: &Path) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Files { root: openat(CWD, root, flags, Mode::empty()).ok() }
    }

    /// `path` is relative to the root.
    pub(super) fn read(&self, path: &str) -> Option<Vec<u8>> {
        let bytes = read_at(self.root.as_ref()?.as_fd(), path, BYTES + 1).ok()?;
        (bytes.len() as u64 <= BYTES).then_some(bytes)
    }

    /// The names in a folder, in order.
    pub(super) fn names(&self, path: &str) -> Vec<Vec<u8>> {
        let mut names = self.try_names(path).unwrap_or_default();
        names.sort_unstable();
        names
    }

    /// True where only root can have made it.
    pub(super) fn belongs_to_root(&self, path: &[u8]) -> bool {
        let Some(root) = &self.root else { return false };
        statat(root, path, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| stat.st_uid == 0)
    }

    fn try_names(&self, path: &str) -> Option<Vec<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(self.root.as_ref()?, path, flags, Mode::empty()).ok()?;
        let entries = Dir::new(dir).ok()?.filter_map(Result::ok);
        let names = entries.map(|entry| entry.file_name().to_bytes().to_vec());
        Some(names.filter(|name| !name.starts_with(b".")).take(NAMES).collect())
    }
}
