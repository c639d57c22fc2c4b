use std::collections::HashMap;
use std::sync::Arc;

use inventory::{Gap, Holder, Holders, Share, Unattributed};

/// Who holds which socket, as one pass found it.
#[derive(Clone, Debug)]
pub(crate) struct Attribution {
    pub(super) found: HashMap<u64, Vec<Arc<Holder>>>,
    pub(super) missing: HashMap<u64, Unattributed>,
    /// What could not be seen.
    pub gaps: Vec<Gap>,
    /// Processes whose descriptors could be read.
    pub share: Share,
}

impl Attribution {
    /// The holders of the socket with that inode. A socket without an inode is the kernel's own. Whether one that nobody
    /// holds is gone by now ([`Unattributed::Exited`]) only another look into the socket tables tells, unless who held it was
    /// seen to end.
    pub(crate) fn holders(&self, inode: u64) -> Holders {
        if inode == 0 {
            return Holders::Unattributed(Unattributed::Kernel);
        }
        match self.found.get(&inode) {
            Some(holders) => Holders::Known(holders.clone()),
            None => Holders::Unattributed(self.missing.get(&inode).copied().unwrap_or(Unattributed::Unknown)),
        }
    }

    /// Whether the first process holds any of them: then its socket units tell why.
    pub(crate) fn involves_first_process(&self) -> bool {
        self.found.values().any(|holders| holders.first().is_some_and(|holder| holder.id.pid == 1))
    }
}
