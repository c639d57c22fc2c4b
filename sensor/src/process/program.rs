use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use inventory::{ProgramFile, RawText};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::dir::{ProcessDir, Unreadable};
use super::file_id::FileId;
use crate::bpf::ProgramSeen;

const DELETED: &[u8] = b" (deleted)";

/// The host's root, against which the paths of programs are held.
#[derive(Debug)]
pub(crate) struct HostRoot {
    dir: OwnedFd,
}

impl HostRoot {
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(CWD, path, flags, Mode::empty()).map_err(std::io::Error::from)?;
        Ok(HostRoot { dir })
    }

    /// What stands at an absolute path. `Ok(None)` where nothing does.
    fn file_at(&self, path: &[u8]) -> Result<Option<FileId>, Unreadable> {
        let Some(relative) = path.strip_prefix(b"/").filter(|rest| !rest.is_empty()) else { return Ok(None) };
        match FileId::at(self.dir.as_fd(), relative) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(Unreadable::new("exe", errno)),
        }
    }
}

impl HostRoot {
    /// Whether the path of a program that ran can be believed. Where devices are numbered otherwise for users than inside
    /// the kernel, as btrfs does, it cannot be compared.
    pub(crate) fn verdict_of_seen(&self, seen: &ProgramSeen) -> ProgramFile {
        if seen.deleted {
            return ProgramFile::Deleted { replaced: false };
        }
        let device = (seen.device_major, seen.device_minor);
        match self.file_at(seen.path.as_bytes()) {
            Err(_) => ProgramFile::Unknown,
            Ok(Some(found)) if (found.device, found.inode) == (device, seen.inode) => ProgramFile::Host,
            Ok(Some(found)) if found.inode == seen.inode => ProgramFile::Unknown,
            Ok(_) => ProgramFile::Foreign,
        }
    }
}

/// What a process executes and what stands at its path in the host's root, as one look found them: as long as all of
/// it stays equal, so does the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) path: RawText,
    pub(crate) file: FileId,
    deleted: bool,
    at_path: Result<Option<FileId>, Unreadable>,
}

impl Running {
    pub(crate) fn look(process: &ProcessDir, host: &HostRoot) -> Result<Self, Unreadable> {
        let link = process.program_path()?;
        Ok(Self::settle(link, process.program_file()?, |path| host.file_at(path)))
    }

    /// The kernel marks a path that no longer leads to the file with ` (deleted)`, in which a file's own name may end
    /// too: it is a mark only where the file has no name left and is not found at the path as given.
    fn settle(
        link: Vec<u8>,
        file: FileId,
        file_at: impl Fn(&[u8]) -> Result<Option<FileId>, Unreadable>,
    ) -> Self {
        let as_given = file_at(&link);
        let stands_there = matches!(&as_given, Ok(Some(found)) if found.is_same_file(&file));
        match link.strip_suffix(DELETED) {
            Some(path) if !file.has_name && !stands_there => {
                Running { path: RawText::new(path), file, deleted: true, at_path: file_at(path) }
            }
            _ => Running { path: RawText::new(link), file, deleted: false, at_path: as_given },
        }
    }

    /// Whoever owns a user namespace can mount what he likes at any path of it, so that only in the host's own a
    /// deleted path means anything. Even there it proves little: a descriptor that was opened through such a mount can
    /// be sent out and executed.
    pub(crate) fn verdict(&self, in_hosts_user_namespace: bool) -> ProgramFile {
        match self.at_path {
            Err(_) => ProgramFile::Unknown,
            Ok(found) if self.deleted => {
                let replaced = found.is_some_and(|found| self.was_replaced_by(&found));
                ProgramFile::Deleted { replaced: replaced && in_hosts_user_namespace }
            }
            Ok(Some(found)) if found.is_same_file(&self.file) => ProgramFile::Host,
            Ok(_) => ProgramFile::Foreign,
        }
    }

    /// The owner of the file that runs is what nobody but root can arrange. Its mount would tell less: that of a service
    /// with mounts of its own (`PrivateTmp=`) is none of the host's.
    fn was_replaced_by(&self, found: &FileId) -> bool {
        let only_root_wrote = self.file.is_roots && !self.file.is_open_to_others;
        only_root_wrote && found.is_roots && found.is_regular && found.device == self.file.device
    }
}
