use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, Mode, StatxFlags, StatxTimestamp, statx};
use rustix::io::Errno;

/// A file for as long as nobody writes to it, renames or removes it: statx(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    pub(crate) device: (u32, u32),
    pub(crate) inode: u64,
    pub(crate) size: u64,
    modified: (i64, u32),
    changed: (i64, u32),
    /// Some folder still names it.
    pub(crate) has_name: bool,
    pub(crate) is_regular: bool,
    pub(crate) is_roots: bool,
    /// Its group or everybody may write to it.
    pub(crate) is_open_to_others: bool,
}

impl FileId {
    /// Of what stands at `path` beneath `dir`; of `dir` itself where `path` is empty. Links are followed.
    pub(crate) fn at(dir: BorrowedFd<'_>, path: &[u8]) -> Result<Self, Errno> {
        // What the kernel has cached is enough: a file system in user space must not be able to keep us waiting.
        let flags = AtFlags::STATX_DONT_SYNC | AtFlags::EMPTY_PATH;
        let stat = statx(dir, path, flags, StatxFlags::BASIC_STATS)?;
        let seconds = |time: StatxTimestamp| (time.tv_sec, time.tv_nsec);
        Ok(FileId {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            size: stat.stx_size,
            modified: seconds(stat.stx_mtime),
            changed: seconds(stat.stx_ctime),
            has_name: stat.stx_nlink > 0,
            is_regular: FileType::from_raw_mode(stat.stx_mode.into()) == FileType::RegularFile,
            is_roots: stat.stx_uid == 0,
            is_open_to_others: Mode::from_raw_mode(stat.stx_mode.into()).intersects(Mode::WGRP | Mode::WOTH),
        })
    }

    pub(crate) fn is_same_file(&self, other: &FileId) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// A user namespace, by the file of nsfs that stands for it. No [`FileId`]: the kernel may make that file anew for each
/// look, and its times with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UserNamespace {
    device: (u32, u32),
    inode: u64,
}

impl UserNamespace {
    /// Of a link such as /proc/PID/ns/user.
    pub(crate) fn at(dir: BorrowedFd<'_>, link: &str) -> Result<Self, Errno> {
        let FileId { device, inode, .. } = FileId::at(dir, link.as_bytes())?;
        Ok(UserNamespace { device, inode })
    }
}
