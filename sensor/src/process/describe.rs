use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use inventory::{Holder, Parent, Program, Workload};

use super::arguments;
use super::dir::{Owner, ProcessDir, Unreadable};
use super::file_id::UserNamespace;
use super::hashing::{Hasher, Hashing};
use super::program::{HostRoot, Running};
use super::redaction::Redaction;
use super::root::ProcRoot;
use crate::bpf::ProgramSeen;
use crate::workload::Workloads;

/// Longer chains are cut: above come only shells and supervisors.
const PARENTS: usize = 8;

/// Turns the folder of a process into a [`Holder`], and remembers what costs much to find out.
#[derive(Debug)]
pub(crate) struct Describer {
    host: HostRoot,
    redaction: Redaction,
    hasher: Hasher,
    workloads: Workloads,
    hosts_user_namespace: Option<UserNamespace>,
    ancestors: HashMap<u32, Ancestor>,
}

/// A holder, and what tells whether it is still described rightly.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    pub(crate) holder: Arc<Holder>,
    pub(crate) mark: Mark,
}

/// What execve(2), setuid(2) or an upgrade on disk change while pid and start time stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) owner: Owner,
    running: Option<Running>,
}

#[derive(Clone, Debug)]
struct Ancestor {
    shown: Parent,
    parent: u32,
}

impl Describer {
    /// `host_root` is the host's root folder, usually `/`.
    ///
    /// # Errors
    /// Where that folder cannot be opened.
    pub(crate) fn new(
        proc: &ProcRoot,
        host_root: &Path,
        redaction: Redaction,
        hashing: Hashing,
    ) -> io::Result<Self> {
        let namespace_of = |link| UserNamespace::at(proc.fd(), link).ok();
        Ok(Describer {
            host: HostRoot::open(host_root)?,
            redaction,
            hasher: Hasher::new(hashing),
            workloads: Workloads::new(host_root),
            hosts_user_namespace: namespace_of("1/ns/user").or_else(|| namespace_of("self/ns/user")),
            ancestors: HashMap::new(),
        })
    }

    /// Everything that is told of a holder.
    ///
    /// # Errors
    /// [`Unreadable::Gone`] where the process ended before all was read, or is ending.
    #[cfg(test)]
    pub(crate) fn describe(&mut self, proc: &ProcRoot, process: &ProcessDir) -> Result<Holder, Unreadable> {
        Ok(Arc::unwrap_or_clone(self.describe_marked(proc, process)?.holder))
    }

    pub(crate) fn describe_marked(
        &mut self,
        proc: &ProcRoot,
        process: &ProcessDir,
    ) -> Result<Described, Unreadable> {
        let mark = self.mark(process)?;
        let name = process.name()?;
        let arguments = arguments::of(process, &self.redaction)?;
        let workload = self.workload(process)?;
        let program = mark.running.as_ref().map(|running| self.program(process, running));
        let parents = self.parents(proc, process)?;
        // Last, because a process that has its memory still had it for all that was read before.
        let id = process.id_alive()?;
        let started_at = proc.time_of(id.start_ticks);
        let uid = mark.owner.uid;
        let holder = Holder { id, started_at, program, name, arguments, uid, workload, parents };
        Ok(Described { holder: Arc::new(holder), mark })
    }

    /// To be compared with an earlier one.
    pub(crate) fn mark(&self, process: &ProcessDir) -> Result<Mark, Unreadable> {
        let owner = process.owner()?;
        // A kernel thread has no program, and somebody else's is unreadable without privileges.
        let running = Running::look(process, &self.host).ok();
        Ok(Mark { owner, running })
    }

    pub(crate) fn begin_pass(&mut self) {
        self.workloads.begin_pass();
        self.ancestors.clear();
    }

    pub(crate) fn workload(&mut self, process: &ProcessDir) -> Result<Workload, Unreadable> {
        match process.cgroup() {
            Ok(cgroup) => Ok(self.workloads.of(&cgroup)),
            // A kernel without cgroups has no such file; a process that is gone has none either, but then the read
            // of `stat` that ends the description fails.
            Err(Unreadable::Gone | Unreadable::Denied) => Ok(Workload::None),
            Err(failed) => Err(failed),
        }
    }

    /// What a process executed, as the kernel told it when the process was there. Its file was not read.
    pub(crate) fn program_seen(&self, seen: &ProgramSeen) -> Program {
        Program { path: seen.path.clone(), file: self.host.verdict_of_seen(seen), sha256: None }
    }

    /// What a cgroup of the unified hierarchy belongs to.
    pub(crate) fn workload_in(&mut self, cgroup: &[u8]) -> Workload {
        self.workloads.of(&[b"0::", cgroup, b"\n"].concat())
    }

    fn program(&mut self, process: &ProcessDir, running: &Running) -> Program {
        let hosts = self.hosts_user_namespace;
        let in_hosts = hosts.is_some() && process.user_namespace().ok() == hosts;
        Program {
            path: running.path.clone(),
            file: running.verdict(in_hosts),
            sha256: self.hasher.of(process, &running.file),
        }
    }

    fn parents(&mut self, proc: &ProcRoot, process: &ProcessDir) -> Result<Vec<Parent>, Unreadable> {
        let mut parents: Vec<Parent> = Vec::new();
        let mut next = process.origin()?.parent;
        while next > 1 && parents.len() < PARENTS && parents.iter().all(|parent| parent.pid != next) {
            let Some(ancestor) = self.ancestor(proc, next) else { break };
            next = ancestor.parent;
            parents.push(ancestor.shown);
        }
        Ok(parents)
    }

    fn ancestor(&mut self, proc: &ProcRoot, pid: u32) -> Option<Ancestor> {
        if let Some(known) = self.ancestors.get(&pid) {
            return Some(known.clone());
        }
        let process = proc.process(pid).ok()?;
        let name = process.name().ok()?;
        let program = Running::look(&process, &self.host).ok().map(|running| running.path);
        let ancestor =
            Ancestor { shown: Parent { pid, name, program }, parent: process.origin().ok()?.parent };
        self.ancestors.insert(pid, ancestor.clone());
        Some(ancestor)
    }
}
