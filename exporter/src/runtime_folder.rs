use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Uid};

use crate::Identity;

/// Where sockets of ours stand: `RuntimeDirectory=portledger` of a unit, or made by root.
const FOLDER: &str = "/run/portledger";
const API: &str = "api.sock";

/// Makes `/run/portledger` and gives it to `identity`. Call it as root, before [`crate::drop_to`].
pub fn prepare_runtime_folder(identity: &Identity) -> io::Result<()> {
    prepare(Path::new(FOLDER), identity)
}

fn prepare(path: &Path, identity: &Identity) -> io::Result<()> {
    match DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC).bits().cast_signed();
    let folder = File::options().read(true).custom_flags(flags).open(path)?;
    let (uid, gid) = (Uid::from_raw(identity.uid()), Gid::from_raw(identity.gid()));
    rustix::fs::fchown(&folder, Some(uid), Some(gid))?;
    rustix::fs::fchmod(&folder, Mode::from_raw_mode(0o755))?;
    Ok(())
}

/// Where the local API is served unless somebody says otherwise; `None` where that folder is not ours.
pub(crate) fn default_api_socket() -> Option<PathBuf> {
    api_socket_in(Path::new(FOLDER))
}

fn api_socket_in(folder: &Path) -> Option<PathBuf> {
    let meta = std::fs::symlink_metadata(folder).ok()?;
    let is_ours = meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw();
    is_ours.then(|| folder.join(API))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_made_and_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portledger");
        let us = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let identity = Identity::started(us.0, us.1);
        assert_eq!(api_socket_in(&path), None);
        prepare(&path, &identity).unwrap();
        prepare(&path, &identity).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o755);
        assert_eq!(api_socket_in(&path), Some(path.join("api.sock")));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(prepare(&link, &identity).is_err());
        assert_eq!(api_socket_in(&link), None);
    }
}
