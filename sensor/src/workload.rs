//! What started a process and would start it again.

mod cgroup;
mod containers;
mod files;
mod listen;
mod pod;
mod proxy;
mod sessions;
mod socket_units;

use std::path::Path;

use inventory::Workload;

use cgroup::{ContainerPath, WorkloadPath};
use containers::Containers;
use files::Files;

pub(crate) use proxy::{Published, published_by};
pub(crate) use socket_units::SocketUnits;

/// Names workloads, out of cgroups and of the state files that their runtimes keep.
#[derive(Debug)]
pub(crate) struct Workloads {
    files: Files,
    containers: Containers,
}

impl Workloads {
    /// `host_root` is the host's root folder, usually `/`.
    pub(crate) fn new(host_root: &Path) -> Self {
        Workloads { files: Files::beneath(host_root), containers: Containers::default() }
    }

    /// Of a process whose /proc/PID/cgroup reads so.
    pub(crate) fn of(&mut self, cgroup: &[u8]) -> Workload {
        match cgroup::from_cgroup(cgroup) {
            WorkloadPath::Unit(unit) => Workload::Unit(unit),
            WorkloadPath::Container(path) => self.container(&path),
            WorkloadPath::Session { id, uid } => {
                sessions::session(&self.files, &id, uid).map_or(Workload::None, Workload::Session)
            }
            WorkloadPath::None => Workload::None,
        }
    }

    /// State files are read again from here on.
    pub(crate) fn begin_pass(&mut self) {
        self.containers.forget();
    }

    /// A unit to which systemd delegated its cgroup can make any beneath it, and call it a container. One that root made
    /// is one.
    fn container(&mut self, path: &ContainerPath) -> Workload {
        match &path.below {
            Some(above) if !self.is_roots_cgroup(&above.cgroup) => Workload::Unit(above.unit.clone()),
            _ => Workload::Container(self.containers.name(path, &self.files)),
        }
    }

    fn is_roots_cgroup(&self, cgroup: &[u8]) -> bool {
        let mounts: [&[u8]; 3] = [b"sys/fs/cgroup", b"sys/fs/cgroup/systemd", b"sys/fs/cgroup/unified"];
        mounts.iter().any(|mount| self.files.belongs_to_root(&[*mount, cgroup].concat()))
    }
}

#[cfg(test)]
mod tests;

/// What says what a process belongs to: its cgroup, a unit, the state of a container runtime.
#[cfg(any(test, fuzzing))]
pub fn fuzzed(bytes: &[u8]) {
    cgroup::fuzzed(bytes);
    listen::fuzzed(bytes);
    containers::fuzzed(bytes);
}
