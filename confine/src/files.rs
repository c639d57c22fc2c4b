use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, NetPort, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};

use crate::ConfineError;

/// The newest interface of Landlock that this was tried on, of Linux 6.15.
const TRIED: ABI = ABI::V7;

/// All that is left of files and TCP ports. Nothing of it can be executed. What is opened already stays open, and names
/// of sockets in the file system can be connected to, as far as their modes let.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Files, and folders with all beneath them, that can be read. What is not there is left out.
    pub reads: Vec<PathBuf>,
    /// Folders in which files can also be made, written and removed.
    pub writes: Vec<PathBuf>,
    /// TCP ports that can be listened on; 0 is one that the kernel chooses.
    pub listens: Vec<u16>,
    /// TCP ports, of any host, that can be connected to.
    pub connects: Vec<u16>,
}

/// Leaves only `reach`: landlock(7). Gives how far that is in force, as words; fails where nothing of it is.
pub fn within(reach: &Reach) -> Result<String, ConfineError> {
    pin(&reach.reads);
    let failed = |error: RulesetError| ConfineError::Files(error.to_string());
    let RestrictionStatus { ruleset, landlock, .. } = restrict(reach).map_err(failed)?;
    let offered = words(landlock);
    match ruleset {
        RulesetStatus::FullyEnforced => Ok(offered),
        RulesetStatus::PartiallyEnforced => Ok(format!("{offered}, which lacks a part of what is asked for")),
        RulesetStatus::NotEnforced => Err(ConfineError::Files(offered)),
    }
}

/// What this kernel has of Landlock, as a thread finds that bounds itself and ends.
pub fn kernel_offers() -> Result<String, ConfineError> {
    let tried = std::thread::spawn(|| restrict(&Reach::default()).map(|status| words(status.landlock)));
    let told = tried.join().map_err(|_| ConfineError::Files("it cannot be tried".to_owned()))?;
    told.map_err(|error| ConfineError::Files(error.to_string()))
}

fn words(status: LandlockStatus) -> String {
    match status {
        LandlockStatus::Available { kernel_abi: Some(newer), .. } => format!("ABI {newer}"),
        LandlockStatus::Available { effective_abi, .. } => format!("ABI {effective_abi}"),
        LandlockStatus::NotEnabled => {
            "it is not enabled: add `landlock` to lsm= of the kernel's command line".to_owned()
        }
        LandlockStatus::NotImplemented => "this kernel has none: it came with Linux 5.13".to_owned(),
    }
}

fn restrict(reach: &Reach) -> Result<RestrictionStatus, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = AccessFs::from_all(TRIED) & !AccessFs::Execute & !AccessFs::IoctlDev;
    let listens = reach.listens.iter().map(|port| NetPort::new(*port, AccessNet::BindTcp));
    let connects = reach.connects.iter().map(|port| NetPort::new(*port, AccessNet::ConnectTcp));
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(TRIED))?
        .handle_access(AccessNet::from_all(TRIED))?
        .scope(Scope::from_all(TRIED))?
        .create()?
        .add_rules(path_beneath_rules(&reach.reads, read))?
        .add_rules(path_beneath_rules(&reach.writes, write))?
        .add_rules(listens.chain(connects).map(Ok::<_, RulesetError>))?;
    ruleset.restrict_self()
}

/// The kernel may forget a file of /proc that nobody has open, and make it anew when it is asked for: that one would be
/// another file, for which no rule holds. These stay open as long as the process lives.
fn pin(paths: &[PathBuf]) {
    let of_proc = paths.iter().filter(|path| path.starts_with(Path::new("/proc")));
    of_proc.filter_map(|path| PathFd::new(path).ok()).for_each(std::mem::forget);
}
