//! Holders that the kernel itself tells: nothing need be searched for.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use inventory::{Holder, ProcessId, Unattributed};
use rustix::io::Errno;

use super::attribution::Attribution;
use super::gaps::{self, Unseen};
use super::memory::{Held, Memory, REFRESHED_PER_PASS, share};
use super::ring;
use super::walk::{Hold, Via, open_dir};
use crate::bpf::{EventRecord, FileKind, FileRecord};
use crate::process::Unreadable;

impl Memory {
    /// Who holds the sockets with these inodes, by the descriptors of all processes, and forgets all others.
    pub(crate) fn attribute_told(&mut self, files: &[FileRecord], wanted: &[u64]) -> Attribution {
        let wanted: HashSet<u64> = wanted.iter().copied().filter(|inode| *inode != 0).collect();
        let now = Instant::now();
        self.describer.begin_pass();
        let (mut holds, busy_rings) = self.holds_in(files, |inode| wanted.contains(&inode));
        let mut unseen = self.walk_untold(files, &wanted, &mut holds);
        unseen.busy_rings += busy_rings;
        self.held.retain(|pid, _| holds.contains_key(pid));
        let mut found: HashMap<u64, Vec<Arc<Holder>>> = HashMap::new();
        let mut refreshes = REFRESHED_PER_PASS;
        let mut left: HashSet<u64> = HashSet::new();
        for (pid, holds) in holds {
            let inodes: Vec<u64> = holds.iter().map(|hold| hold.inode).collect();
            match self.hold_told(pid, holds, now, &mut refreshes) {
                Ok(holder) => {
                    inodes
                        .iter()
                        .for_each(|inode| found.entry(*inode).or_default().push(Arc::clone(&holder)));
                }
                Err(Unreadable::Gone) => left.extend(inodes),
                Err(error) => {
                    unseen.failed += 1;
                    unseen.failure = Some(format!("{pid}: {error}"));
                }
            }
        }
        let missing = wanted.iter().filter(|inode| !found.contains_key(inode));
        let refused = unseen.denied > 0 || unseen.failed > 0;
        let why = if refused { Unattributed::Denied } else { Unattributed::InFlight };
        let why = |inode| if left.contains(inode) { Unattributed::Exited } else { why };
        let missing = missing.map(|inode| (*inode, why(inode))).collect();
        let share = share(unseen.processes - unseen.denied - unseen.failed, unseen.processes);
        let mut gaps = unseen.gaps();
        gaps.extend(gaps::of_descriptions(found.values().flatten().map(AsRef::as_ref)));
        Attribution { found, missing, gaps, share }
    }

    /// Looks by itself through the processes that the kernel did not tell of: those that began meanwhile, and those that
    /// it keeps to itself.
    fn walk_untold(
        &mut self,
        files: &[FileRecord],
        wanted: &HashSet<u64>,
        holds: &mut BTreeMap<u32, Vec<Hold>>,
    ) -> Unseen {
        let told: HashSet<u32> = files.iter().map(|file| file.pid).collect();
        let mut unseen = Unseen::default();
        let entries = self.proc.processes().unwrap_or_else(|error| {
            unseen.no_list = Some(error.to_string());
            Vec::new()
        });
        unseen.processes = entries.len();
        for pid in entries.iter().map(|entry| entry.pid).filter(|pid| !told.contains(pid)) {
            let Ok(process) = self.proc.process(pid) else { continue };
            if process.open_files() == Some(0) {
                continue;
            }
            match self.walk.process(&process, wanted, &mut ()) {
                Ok(walked) => {
                    unseen.busy_rings += walked.busy_rings;
                    if !walked.holds.is_empty() {
                        holds.insert(pid, walked.holds);
                    }
                }
                Err(Unreadable::Gone) => {}
                Err(Unreadable::Denied) => unseen.denied += 1,
                Err(error) => {
                    unseen.failed += 1;
                    unseen.failure = Some(format!("{pid}: {error}"));
                }
            }
        }
        unseen
    }

    /// A process of which the kernel has told these descriptors, described; again where it was described long ago and
    /// `refreshes` are left.
    ///
    /// # Errors
    /// [`Unreadable::Gone`] where it has ended meanwhile, or is ending and was not described before.
    pub(crate) fn hold_told(
        &mut self,
        pid: u32,
        holds: Vec<Hold>,
        now: Instant,
        refreshes: &mut usize,
    ) -> Result<Arc<Holder>, Unreadable> {
        let process = self.proc.process(pid)?;
        let mark = self.describer.mark(&process)?;
        let held = match self.held.remove(&pid) {
            None => self.describe(&process, holds, now)?,
            Some(known) => {
                let held = Held { holds, ..known };
                let stale = *refreshes > 0 && held.is_stale(now);
                if stale || held.described.mark != mark {
                    *refreshes = refreshes.saturating_sub(usize::from(stale));
                    self.describe_again(&process, held, now)?
                } else {
                    held
                }
            }
        };
        let holder = Arc::clone(&held.described.holder);
        self.held.insert(pid, held);
        Ok(holder)
    }

    /// The descriptors of each process that have a wanted socket open, also through an io_uring, and how many of those
    /// were at work and did not show their files.
    pub(crate) fn holds_in(
        &self,
        files: &[FileRecord],
        is_wanted: impl Fn(u64) -> bool,
    ) -> (BTreeMap<u32, Vec<Hold>>, usize) {
        let mut busy_rings = 0;
        let mut holds: BTreeMap<u32, Vec<Hold>> = BTreeMap::new();
        for file in files.iter().filter(|file| file.pid != 0) {
            let of_process = |via, inode| Hold { inode, tid: file.tid, fd: file.fd, via };
            match file.kind {
                FileKind::Socket if is_wanted(file.socket.inode) => {
                    holds.entry(file.pid).or_default().push(of_process(Via::Descriptor, file.socket.inode));
                }
                FileKind::Ring => {
                    let Ok(process) = self.proc.process(file.pid) else { continue };
                    // Once the first thread has exited only the others show the table.
                    let owner = file.tid.map_or_else(|| ".".to_owned(), |tid| format!("task/{tid}"));
                    let Ok(owner) = open_dir(process.fd(), &owner) else { continue };
                    let read = ring::each_socket(owner.as_fd(), file.fd, |inode| {
                        if is_wanted(inode) {
                            holds.entry(file.pid).or_default().push(of_process(Via::Ring, inode));
                        }
                    });
                    // One that is closed meanwhile keeps nothing open any more.
                    busy_rings += usize::from(read == Err(Errno::BUSY));
                }
                FileKind::Socket
                | FileKind::NamespaceSeen
                | FileKind::NamespaceHeld
                | FileKind::Task
                | FileKind::TaskInPart => {}
            }
        }
        for holds in holds.values_mut() {
            holds.sort_unstable();
            holds.dedup_by_key(|hold| hold.inode);
        }
        (holds, busy_rings)
    }
}

impl Memory {
    /// Who has this pid now.
    pub(crate) fn id_of(&self, pid: u32) -> Option<ProcessId> {
        self.proc.process(pid).and_then(|process| process.id()).ok()
    }

    /// A process as it is now, described for an event; nothing of it is kept.
    ///
    /// # Errors
    /// [`Unreadable::Gone`] where it has ended, also where another one has its pid.
    pub(crate) fn describe_now(&mut self, id: ProcessId) -> Result<Arc<Holder>, Unreadable> {
        let process = self.proc.process(id.pid)?;
        if process.id()? != id {
            return Err(Unreadable::Gone);
        }
        if let Some(held) = self.held.get(&id.pid)
            && held.described.holder.id == id
            && self.describer.mark(&process)? == held.described.mark
        {
            return Ok(Arc::clone(&held.described.holder));
        }
        Ok(self.describer.describe_marked(&self.proc, &process)?.holder)
    }

    /// A process that has ended, by what the kernel told of it when it was there.
    pub(crate) fn as_told(&mut self, id: ProcessId, record: &EventRecord) -> Holder {
        Holder {
            id,
            started_at: self.proc.time_of(id.start_ticks),
            program: record.program.as_ref().map(|seen| self.describer.program_seen(seen)),
            name: record.name.clone(),
            arguments: Vec::new(),
            uid: record.uid,
            workload: self.describer.workload_in(&record.cgroup),
            parents: Vec::new(),
        }
    }
}
