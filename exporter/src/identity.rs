use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};
use tracing::info;

use crate::powers;

/// The system user that packages create.
const ACCOUNT: &str = "portledger";
/// What systemd.exec(5) sets aside for `DynamicUser=`: nothing but a running service is ever one of these.
const DYNAMIC: std::ops::RangeInclusive<u32> = 61_184..=65_519;
/// Where the search begins: a fixed place, so that a restart finds its state under its own number.
const DYNAMIC_START: u32 = 62_945;

/// Whom the exporter runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    uid: u32,
    gid: u32,
    origin: Origin,
}

/// Where an [`Identity`] comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The system user `portledger`.
    Account,
    /// There is no such user: a free number of systemd's dynamic range.
    Dynamic,
    /// It was not started as root and stays as it is.
    Started,
}

/// Why privileges could not be given up. The process must not go on.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum IdentityError {
    #[error("the user database cannot be asked for `{0}`: {1}")]
    Lookup(String, nix::Error),
    #[error("the user `portledger` has uid 0 or gid 0: give it numbers of its own")]
    Root,
    #[error("/proc cannot be read to see which uids are in use: {0}")]
    Processes(procfs::ProcError),
    #[error("no uid between 61184 and 65519 is free: create the system user `portledger`")]
    NoneFree,
    #[error("{0} threads run already, and what is given up now would be given up by one of them only")]
    Threads(usize),
    #[error("{step} failed: {error}")]
    Step { step: &'static str, error: io::Error },
    #[error("giving up root failed at {step}: {error}: {cure}")]
    Powerless { step: &'static str, error: io::Error, cure: String },
    #[error("after giving up root, {0}")]
    Kept(&'static str),
}

impl Identity {
    /// Finds out without changing anything. Where there is no user `portledger`, the number that owns the `state` folder
    /// is kept, also while a process runs as it: lock the folder first, see [`crate::lock_state`].
    pub fn find(state: &Path) -> Result<Self, IdentityError> {
        if !is_root() {
            let (uid, gid) = (Uid::effective().as_raw(), Gid::effective().as_raw());
            return Ok(Identity { uid, gid, origin: Origin::Started });
        }
        let account = User::from_name(ACCOUNT).map_err(|error| lookup(ACCOUNT, error))?;
        let Some(account) = account else {
            let id = match owner_of(state)? {
                Some(owner) => owner,
                None => free_id()?,
            };
            return Ok(Identity { uid: id, gid: id, origin: Origin::Dynamic });
        };
        if account.uid.is_root() || account.gid.as_raw() == 0 {
            return Err(IdentityError::Root);
        }
        let (uid, gid) = (account.uid.as_raw(), account.gid.as_raw());
        Ok(Identity { uid, gid, origin: Origin::Account })
    }

    /// The uid, real, effective and saved.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The gid likewise.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Where it comes from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// What whoever runs many hosts should know of it.
    fn advice(&self) -> Option<String> {
        (self.origin == Origin::Dynamic).then(|| {
            format!(
                "runs as uid {} of the dynamic range: there is no system user `{ACCOUNT}`; create it to have the same \
                 number on every host",
                self.uid
            )
        })
    }

    #[cfg(test)]
    pub(crate) fn started(uid: u32, gid: u32) -> Self {
        Identity { uid, gid, origin: Origin::Started }
    }

    /// True of a number that only services without an account of their own are given.
    pub(crate) fn is_dynamic(uid: u32) -> bool {
        DYNAMIC.contains(&uid)
    }
}

fn is_root() -> bool {
    Uid::effective().is_root() || Uid::current().is_root()
}

fn lookup(what: impl ToString, error: nix::Error) -> IdentityError {
    IdentityError::Lookup(what.to_string(), error)
}

/// Who has the folder, where that is a number as [`free_id`] chooses them.
fn owner_of(folder: &Path) -> Result<Option<u32>, IdentityError> {
    // One that is missing has no owner, and one that cannot be used is refused by those who use it.
    let Ok(meta) = folder.symlink_metadata() else { return Ok(None) };
    // Root keeps the folder, and lets the exporter write into it by its group.
    let owner = if meta.uid() == 0 { meta.gid() } else { meta.uid() };
    Ok((meta.is_dir() && Identity::is_dynamic(owner) && is_unknown(owner)?).then_some(owner))
}

/// True of what is neither an account nor a group.
fn is_unknown(id: u32) -> Result<bool, IdentityError> {
    Ok(User::from_uid(Uid::from_raw(id)).map_err(|error| lookup(id, error))?.is_none()
        && Group::from_gid(Gid::from_raw(id)).map_err(|error| lookup(id, error))?.is_none())
}

/// A number that is neither an account, nor a group, nor the uid or gid of a process.
fn free_id() -> Result<u32, IdentityError> {
    let used = ids_of_processes()?;
    for id in (DYNAMIC_START..=*DYNAMIC.end()).chain(*DYNAMIC.start()..DYNAMIC_START) {
        if !used.contains(&id) && is_unknown(id)? {
            return Ok(id);
        }
    }
    Err(IdentityError::NoneFree)
}

fn ids_of_processes() -> Result<HashSet<u32>, IdentityError> {
    let mut used = HashSet::new();
    for process in procfs::process::all_processes().map_err(IdentityError::Processes)? {
        // A process that ended while the list was read has no uid any more.
        let Ok(status) = process.and_then(|process| process.status()) else { continue };
        used.extend([status.ruid, status.euid, status.suid, status.fuid]);
        used.extend([status.rgid, status.egid, status.sgid, status.fgid]);
    }
    Ok(used)
}

/// Gives up root and every capability for good, and sees to it that they do not come back. Call it before there is a
/// second thread: the kernel keeps capabilities by thread.
pub fn drop_to(identity: &Identity) -> Result<(), IdentityError> {
    let threads = procfs::process::Process::myself().and_then(|myself| myself.tasks());
    match threads.map_err(IdentityError::Processes)?.count() {
        1 => {}
        more => return Err(IdentityError::Threads(more)),
    }
    step("no_new_privs", rustix::thread::set_no_new_privs(true))?;
    if is_root() {
        empty_bounding_set()?;
        let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
        step("setgroups", nix::unistd::setgroups(&[]))?;
        step("setresgid", nix::unistd::setresgid(gid, gid, gid))?;
        step("setresuid", nix::unistd::setresuid(uid, uid, uid))?;
    }
    match rustix::thread::clear_ambient_capability_set() {
        // Kernels before 4.3 have no ambient set.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return step("clearing the ambient capabilities", Err(error)),
    }
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    step("capset", rustix::thread::set_capabilities(None, none))?;
    verify()?;
    if let Some(advice) = identity.advice() {
        info!("{advice}");
    }
    Ok(())
}

fn empty_bounding_set() -> Result<(), IdentityError> {
    for bit in 0..u64::BITS {
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            Ok(()) => {}
            // Past the last capability that this kernel knows.
            Err(Errno::INVAL) => break,
            // Started without CAP_SETPCAP: the set is out of our hands, and with no_new_privs nothing draws on it.
            Err(Errno::PERM) => break,
            Err(error) => return step("emptying the capability bounding set", Err(error)),
        }
    }
    Ok(())
}

fn verify() -> Result<(), IdentityError> {
    let root = Uid::from_raw(0);
    if nix::unistd::setresuid(root, root, root).is_ok() || is_root() {
        return Err(IdentityError::Kept("setuid(0) still succeeds"));
    }
    let sets = rustix::thread::capabilities(None);
    let sets = sets.map_err(|error| IdentityError::Step { step: "capget", error: error.into() })?;
    if !(sets.effective | sets.permitted | sets.inheritable).is_empty() {
        return Err(IdentityError::Kept("capabilities are left"));
    }
    Ok(())
}

fn step(step: &'static str, done: Result<(), impl Into<io::Error>>) -> Result<(), IdentityError> {
    done.map_err(|error| {
        let error = error.into();
        match powers::cure().filter(|_| error.kind() == io::ErrorKind::PermissionDenied) {
            Some(cure) => IdentityError::Powerless { step, error, cure },
            None => IdentityError::Step { step, error },
        }
    })
}

#[cfg(test)]
mod tests;
