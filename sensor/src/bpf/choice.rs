use std::path::Path;
use std::process::Command;

use rustix::fs::{AtFlags, CWD, statat};

use super::files::Files;
use super::handover::Loading;
use crate::process::ProcRoot;

/// Makes the command that calls [`super::load`] with this and hands its standard output over.
pub type Loader = fn(Wanted) -> Command;

/// What is to be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What one look wants.
    Iterators,
    /// That, and what tells opens and closes.
    Events,
}

/// How a look finds the holders.
#[derive(Clone, Copy, Debug)]
pub enum Bpf {
    /// By a walk over the descriptors under /proc.
    Never,
    /// By whichever way is cheaper for as many descriptors as there are.
    WhenItPays(Loader),
    /// By BPF, where the kernel lets us.
    Always(Loader),
}

/// Loading takes as long as walking over so many descriptors.
const WORTH_LOADING: u64 = 80_000;

/// What a look goes by.
#[derive(Debug)]
pub(crate) enum Chosen {
    /// A walk, which is cheaper or was asked for.
    Walk,
    /// Iterators that another process has loaded.
    Shared(Files),
    /// Iterators that are being loaded.
    Loading(Loading),
}

/// What to look by. Where something is to be loaded, that has begun.
///
/// # Errors
/// A sentence about what hinders it.
pub(crate) fn choose(choice: Bpf, proc: &ProcRoot, path: &Path) -> Result<Chosen, String> {
    let loader = match choice {
        Bpf::Never => return Ok(Chosen::Walk),
        Bpf::WhenItPays(loader) | Bpf::Always(loader) => loader,
    };
    if let Some(files) = Files::shared() {
        return Ok(Chosen::Shared(files));
    }
    if matches!(choice, Bpf::WhenItPays(_)) && descriptors(proc, path) < WORTH_LOADING {
        return Ok(Chosen::Walk);
    }
    Loading::start(loader(Wanted::Iterators)).map(Chosen::Loading)
}

/// How many are open in all processes, as far as the kernel tells (Linux 6.2).
fn descriptors(proc: &ProcRoot, path: &Path) -> u64 {
    let processes = proc.processes().unwrap_or_default();
    let open = |pid: u32| statat(CWD, path.join(format!("{pid}/fd")), AtFlags::empty()).ok();
    let sizes = processes.iter().filter_map(|process| u64::try_from(open(process.pid)?.st_size).ok());
    sizes.sum()
}
