use std::path::Path;
use std::process::Command;

use rustix::fs::{AtFlags, CWD, statat};

use super::files::Files;
use super::handover::ask;
use super::hook::Hook;
use crate::process::ProcRoot;

/// Makes the command that calls [`super::load`] with this and hands its standard output over.
pub type Loader = fn(Wanted) -> Command;

/// What is to be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What one look wants.
    Iterator,
    /// That, and what tells opens and closes.
    Events,
}

impl Wanted {
    pub(super) fn hooks(self) -> &'static [Hook] {
        match self {
            Wanted::Iterator => &Hook::ALL[..1],
            Wanted::Events => &Hook::ALL,
        }
    }
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

/// The iterator to look with; `None` where a walk is cheaper or was asked for.
///
/// # Errors
/// A sentence about what the kernel refuses.
pub(crate) fn choose(choice: Bpf, proc: &ProcRoot, path: &Path) -> Result<Option<Files>, String> {
    let loader = match choice {
        Bpf::Never => return Ok(None),
        Bpf::WhenItPays(loader) | Bpf::Always(loader) => loader,
    };
    if let Some(files) = Files::shared() {
        return Ok(Some(files));
    }
    if matches!(choice, Bpf::WhenItPays(_)) && descriptors(proc, path) < WORTH_LOADING {
        return Ok(None);
    }
    ask(loader(Wanted::Iterator))?.files().map(Some)
}

/// How many are open in all processes, as far as the kernel tells (Linux 6.2).
fn descriptors(proc: &ProcRoot, path: &Path) -> u64 {
    let processes = proc.processes().unwrap_or_default();
    let open = |pid: u32| statat(CWD, path.join(format!("{pid}/fd")), AtFlags::empty()).ok();
    let sizes = processes.iter().filter_map(|process| u64::try_from(open(process.pid)?.st_size).ok());
    sizes.sum()
}
