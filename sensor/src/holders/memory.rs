use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use inventory::{Holder, Share, Unattributed, Workload};

use super::attribution::Attribution;
use super::gaps::{self, Unseen};
use super::schedule::{Open, Schedule, Search};
use super::walk::{Hold, Sightings, Walk, Walked, still_holds};
use crate::process::{Described, Describer, ProcRoot, ProcessDir, Unreadable};

/// After so long a description is read again, for names, titles and cgroups change without a trace.
const FRESH: Duration = Duration::from_secs(60);
/// After so long where the process had just begun: it may have been moved to its cgroup, or have been given its
/// arguments, a moment later.
const FRESH_WHEN_YOUNG: Duration = Duration::from_secs(1);
const YOUNG: Duration = Duration::from_secs(10);
/// How many of them in one pass.
pub(super) const REFRESHED_PER_PASS: usize = 32;
/// A socket that nobody holds is searched for everywhere so often at once, then with each complete walk.
const URGENT_SEARCHES: u8 = 2;
/// To start a thread costs as much as to look into some processes.
const WORTH_A_THREAD: usize = 64;

/// Who holds what, kept from pass to pass. Grows with the listeners and with the number of processes, not with their
/// descriptors.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(super) proc: ProcRoot,
    pub(super) describer: Describer,
    pub(super) walk: Walk,
    schedule: Schedule,
    processes: HashMap<u32, Seen>,
    pub(super) held: BTreeMap<u32, Held>,
    /// How often each socket's holders were looked for in every process.
    searched: HashMap<u64, u8>,
    /// The mount option by which the kernel does not even list some processes.
    hidden_by: Option<String>,
    /// Threads that share a complete walk.
    workers: usize,
}

/// What a look into one process found.
#[derive(Debug)]
struct Looked {
    /// Of its folder under /proc.
    inode: u64,
    walked: Walked,
}

/// A process that was walked.
#[derive(Clone, Debug)]
struct Seen {
    inode: u64,
    access: Access,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Access {
    Readable { unsure_threads: usize, busy_rings: usize },
    Denied,
    Failed(Unreadable),
}

/// A process that holds wanted sockets.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) described: Described,
    pub(super) described_at: Instant,
    pub(super) stays_fresh: Duration,
    pub(super) holds: Vec<Hold>,
}

impl Held {
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.described_at) > self.stays_fresh
    }
}

/// A holder after it was looked at again.
struct Verified {
    held: Held,
    /// A descriptor no longer is the wanted socket that it was.
    lost: bool,
}

/// What one pass works on.
struct Pass<'a, S> {
    now: Instant,
    wanted: HashSet<u64>,
    /// The processes there are, with the inodes of their folders.
    entries: BTreeMap<u32, u64>,
    walked: HashSet<u32>,
    /// Sockets of processes that ended while they were looked at.
    left: HashSet<u64>,
    sightings: &'a mut S,
}

impl Memory {
    /// Of nothing yet. So many threads share a look into every process.
    pub(crate) fn new(proc: ProcRoot, describer: Describer, workers: usize) -> Self {
        Memory {
            walk: Walk::new(&proc),
            hidden_by: proc.hidden_by(),
            proc,
            describer,
            schedule: Schedule::new(),
            processes: HashMap::new(),
            held: BTreeMap::new(),
            searched: HashMap::new(),
            workers: workers.max(1),
        }
    }

    /// Makes the next attribution look through every process.
    pub(crate) fn search_everywhere(&mut self) {
        self.schedule = Schedule::new();
    }

    /// What a process belongs to; none where it is gone.
    pub(crate) fn workload_of(&mut self, pid: u32) -> Workload {
        let process = self.proc.process(pid);
        process.and_then(|process| self.describer.workload(&process)).unwrap_or(Workload::None)
    }

    /// Finds out who holds the sockets with these inodes, and forgets all others. The first time every process is
    /// looked through; later what is known is verified, and only what is new is searched for. The sightings are those of
    /// the processes that happen to be looked through.
    pub(crate) fn attribute<S: Sightings>(&mut self, wanted: &[u64], sightings: &mut S) -> Attribution {
        let wanted: HashSet<u64> = wanted.iter().copied().filter(|inode| *inode != 0).collect();
        let entries = self.proc.processes();
        let no_list = entries.as_ref().err().map(io::Error::to_string);
        let entries = entries.unwrap_or_default().iter().map(|entry| (entry.pid, entry.inode)).collect();
        let (walked, left) = (HashSet::new(), HashSet::new());
        let mut pass = Pass { now: Instant::now(), wanted, entries, walked, left, sightings };
        self.describer.begin_pass();
        self.forget(&pass);
        self.verify(&mut pass);
        self.search(&mut pass);
        self.conclude(&pass, no_list)
    }

    fn forget<S>(&mut self, pass: &Pass<'_, S>) {
        self.processes.retain(|pid, _| pass.entries.contains_key(pid));
        self.held.retain(|pid, _| pass.entries.contains_key(pid));
        self.searched.retain(|inode, _| pass.wanted.contains(inode));
    }

    /// Looks whether every holder still is who it was and still holds what it held.
    fn verify<S: Sightings>(&mut self, pass: &mut Pass<'_, S>) {
        let mut refreshes = REFRESHED_PER_PASS;
        let pids: Vec<u32> = self.held.keys().copied().collect();
        for pid in pids {
            let Some(held) = self.held.remove(&pid) else { continue };
            let Ok(process) = self.proc.process(pid) else { continue };
            let known = held.described.holder.id;
            let Ok(verified) = self.verify_one(&process, held, pass, &mut refreshes) else { continue };
            let Verified { held, lost } = verified;
            if held.described.holder.id == known && !held.holds.is_empty() {
                self.held.insert(pid, held);
            }
            if lost {
                // It may hold the same socket by another descriptor.
                self.visit(pid, pass);
            }
        }
    }

    fn verify_one<S>(
        &mut self,
        process: &ProcessDir,
        mut held: Held,
        pass: &Pass<'_, S>,
        refreshes: &mut usize,
    ) -> Result<Verified, Unreadable> {
        let mark = self.describer.mark(process)?;
        let mut lost = false;
        let mut kept = Vec::with_capacity(held.holds.len());
        for hold in held.holds.drain(..).filter(|hold| pass.wanted.contains(&hold.inode)) {
            if still_holds(process, &hold)? {
                kept.push(hold);
            } else {
                lost = true;
            }
        }
        held.holds = kept;
        let stale = *refreshes > 0 && held.is_stale(pass.now);
        if stale || mark != held.described.mark {
            *refreshes = refreshes.saturating_sub(usize::from(stale));
            held = self.describe_again(process, held, pass.now)?;
        }
        Ok(Verified { held, lost })
    }

    fn search<S: Sightings>(&mut self, pass: &mut Pass<'_, S>) {
        let held = self.held_inodes();
        let open = Open {
            unheld: pass.wanted.iter().any(|inode| !held.contains(inode) && self.is_urgent(*inode)),
            partly_searched: pass
                .wanted
                .iter()
                .any(|inode| held.contains(inode) && self.times_searched(*inode) == 0),
        };
        let search = self.schedule.decide(pass.now, open);
        let began = Instant::now();
        let everyone: Vec<u32> = pass.entries.keys().copied().collect();
        if search == Search::Complete {
            self.visit_all(&everyone, pass);
            pass.wanted.iter().for_each(|inode| self.count_search(*inode));
        } else {
            // A forked child has its parent's sockets, old ones too: new processes are always walked whole.
            let is_new =
                |pid: &u32| self.processes.get(pid).map(|seen| seen.inode) != pass.entries.get(pid).copied();
            let new: Vec<u32> = everyone.iter().copied().filter(is_new).collect();
            new.iter().for_each(|pid| self.visit(*pid, pass));
            self.search_for_unheld(&everyone, pass, search);
        }
        let ended = Instant::now();
        self.schedule.walked(search, ended, ended.saturating_duration_since(began));
    }

    fn search_for_unheld<S: Sightings>(&mut self, everyone: &[u32], pass: &mut Pass<'_, S>, search: Search) {
        let held = self.held_inodes();
        let is_sought = |inode: &u64| !held.contains(inode) && self.is_urgent(*inode);
        let mut sought: HashSet<u64> = pass.wanted.iter().copied().filter(is_sought).collect();
        let holders: Vec<u32> = self.held.keys().copied().collect();
        self.visit_until_found(&holders, &mut sought, pass);
        if search == Search::UntilFound && !sought.is_empty() {
            self.visit_until_found(everyone, &mut sought, pass);
            sought.into_iter().for_each(|inode| self.count_search(inode));
        }
    }

    fn visit_until_found<S: Sightings>(
        &mut self,
        pids: &[u32],
        sought: &mut HashSet<u64>,
        pass: &mut Pass<'_, S>,
    ) {
        for pid in pids {
            if sought.is_empty() {
                return;
            }
            if !pass.walked.contains(pid) {
                self.visit(*pid, pass);
                for hold in self.held.get(pid).into_iter().flat_map(|held| &held.holds) {
                    sought.remove(&hold.inode);
                }
            }
        }
    }

    fn held_inodes(&self) -> HashSet<u64> {
        self.held.values().flat_map(|held| &held.holds).map(|hold| hold.inode).collect()
    }

    fn times_searched(&self, inode: u64) -> u8 {
        self.searched.get(&inode).copied().unwrap_or(0)
    }

    fn is_urgent(&self, inode: u64) -> bool {
        self.times_searched(inode) < URGENT_SEARCHES
    }

    fn count_search(&mut self, inode: u64) {
        let times = self.searched.entry(inode).or_default();
        *times = times.saturating_add(1);
    }

    /// Looks through processes for all wanted sockets.
    fn visit_all<S: Sightings>(&mut self, pids: &[u32], pass: &mut Pass<'_, S>) {
        let workers = self.workers.min(pids.len() / WORTH_A_THREAD + 1);
        if workers == 1 {
            pids.iter().for_each(|pid| self.visit(*pid, pass));
            return;
        }
        let next = AtomicUsize::new(0);
        let (proc, wanted, others) = (&self.proc, &pass.wanted, &*pass.sightings);
        let work = |mut sightings: S| {
            let mut walk = Walk::new(proc);
            let mut found = Vec::new();
            while let Some(pid) = pids.get(next.fetch_add(1, Ordering::Relaxed)) {
                found.push((*pid, look(proc, &mut walk, *pid, wanted, &mut sightings)));
            }
            (found, sightings)
        };
        let worked: Vec<_> = thread::scope(|scope| {
            let workers: Vec<_> = (1..workers)
                .map_while(|_| {
                    let sightings = others.another();
                    thread::Builder::new().spawn_scoped(scope, || work(sightings)).ok()
                })
                .collect();
            let own = work(others.another());
            let theirs = workers.into_iter().filter_map(|worker| worker.join().ok());
            std::iter::once(own).chain(theirs).collect()
        });
        let mut all = Vec::with_capacity(pids.len());
        for (found, sightings) in worked {
            all.extend(found);
            pass.sightings.join(sightings);
        }
        for (pid, looked) in all {
            self.take(pid, looked, pass);
        }
    }

    /// Looks through one process for all wanted sockets.
    fn visit<S: Sightings>(&mut self, pid: u32, pass: &mut Pass<'_, S>) {
        let looked = look(&self.proc, &mut self.walk, pid, &pass.wanted, pass.sightings);
        self.take(pid, looked, pass);
    }

    /// Remembers what a look into a process found.
    fn take<S>(&mut self, pid: u32, looked: Result<Looked, Unreadable>, pass: &mut Pass<'_, S>) {
        pass.walked.insert(pid);
        let seen = looked.as_ref().map_err(Clone::clone).and_then(|looked| self.hold(pid, looked, pass));
        match seen {
            Ok(seen) => {
                self.processes.insert(pid, seen);
            }
            Err(Unreadable::Gone) => {
                pass.left
                    .extend(looked.iter().flat_map(|looked| &looked.walked.holds).map(|hold| hold.inode));
                self.processes.remove(&pid);
                self.held.remove(&pid);
            }
            Err(error) => {
                let access = match error {
                    Unreadable::Denied => Access::Denied,
                    error => Access::Failed(error),
                };
                self.held.remove(&pid);
                let inode = pass.entries.get(&pid).copied().unwrap_or(0);
                self.processes.insert(pid, Seen { inode, access });
            }
        }
    }

    fn hold<S>(&mut self, pid: u32, looked: &Looked, pass: &Pass<'_, S>) -> Result<Seen, Unreadable> {
        let Looked { inode, walked } = looked;
        let seen = Seen {
            inode: *inode,
            access: Access::Readable { unsure_threads: walked.unsure_threads, busy_rings: walked.busy_rings },
        };
        let known = self.held.remove(&pid);
        if walked.holds.is_empty() {
            return Ok(seen);
        }
        let process = self.proc.process(pid)?;
        if process.owner()?.inode != *inode {
            return Err(Unreadable::Gone);
        }
        let mark = self.describer.mark(&process)?;
        let holds = walked.holds.clone();
        let held = match known {
            Some(known) if known.described.mark == mark => Held { holds, ..known },
            Some(known) => self.describe_again(&process, Held { holds, ..known }, pass.now)?,
            None => self.describe(&process, holds, pass.now)?,
        };
        self.held.insert(pid, held);
        Ok(seen)
    }

    pub(super) fn describe(
        &mut self,
        process: &ProcessDir,
        holds: Vec<Hold>,
        now: Instant,
    ) -> Result<Held, Unreadable> {
        let described = self.describer.describe_marked(&self.proc, process)?;
        let age = SystemTime::now().duration_since(described.holder.started_at);
        let is_young = age.is_ok_and(|age| age < YOUNG);
        let stays_fresh = if is_young { FRESH_WHEN_YOUNG } else { FRESH };
        Ok(Held { described, described_at: now, stays_fresh, holds })
    }

    /// Likewise one that is known. What is ending has given back its program before its descriptors: it is who it was.
    pub(super) fn describe_again(
        &mut self,
        process: &ProcessDir,
        known: Held,
        now: Instant,
    ) -> Result<Held, Unreadable> {
        match self.describe(process, known.holds.clone(), now) {
            Err(Unreadable::Gone) if process.id()? == known.described.holder.id => Ok(known),
            described => described,
        }
    }

    fn conclude<S>(&self, pass: &Pass<'_, S>, no_list: Option<String>) -> Attribution {
        let mut found: HashMap<u64, Vec<Arc<Holder>>> = HashMap::new();
        for held in self.held.values() {
            for hold in &held.holds {
                found.entry(hold.inode).or_default().push(Arc::clone(&held.described.holder));
            }
        }
        let unseen = self.unseen(pass, &found, no_list);
        let refused = unseen.denied > 0 || unseen.failed > 0 || unseen.hidden_by.is_some();
        let missing = pass.wanted.iter().filter(|inode| !found.contains_key(inode));
        let missing = missing
            .map(|inode| match pass.left.contains(inode) {
                true => (*inode, Unattributed::Exited),
                false => (*inode, self.why_missing(*inode, refused)),
            })
            .collect();
        let seen = unseen.processes - unseen.denied - unseen.failed;
        let mut gaps = unseen.gaps();
        let holders = self.held.values().map(|held| held.described.holder.as_ref());
        gaps.extend(gaps::of_descriptions(holders));
        Attribution { found, missing, gaps, share: share(seen, unseen.processes) }
    }

    fn why_missing(&self, inode: u64, refused: bool) -> Unattributed {
        match self.times_searched(inode) {
            _ if refused => Unattributed::Denied,
            0 => Unattributed::Unknown,
            _ => Unattributed::InFlight,
        }
    }

    fn unseen<S>(
        &self,
        pass: &Pass<'_, S>,
        found: &HashMap<u64, Vec<Arc<Holder>>>,
        no_list: Option<String>,
    ) -> Unseen {
        let mut unseen = Unseen {
            // With nothing to count, one that was not seen tells that nothing was.
            processes: pass.entries.len().max(usize::from(no_list.is_some())),
            denied: usize::from(no_list.is_some()),
            no_list,
            hidden_by: self.hidden_by.clone(),
            complete_in: self.schedule.complete_in(pass.now, true),
            ..Unseen::default()
        };
        for (pid, seen) in &self.processes {
            match &seen.access {
                Access::Readable { unsure_threads, busy_rings } => {
                    unseen.unsure_threads += unsure_threads;
                    unseen.busy_rings += busy_rings;
                }
                Access::Denied => unseen.denied += 1,
                Access::Failed(error) => {
                    unseen.failed += 1;
                    unseen.failure = Some(format!("{pid}: {error}"));
                }
            }
        }
        for inode in pass.wanted.iter().filter(|inode| self.times_searched(**inode) == 0) {
            let count =
                if found.contains_key(inode) { &mut unseen.partly_searched } else { &mut unseen.unsearched };
            *count += 1;
        }
        unseen
    }
}

fn look<S: Sightings>(
    proc: &ProcRoot,
    walk: &mut Walk,
    pid: u32,
    wanted: &HashSet<u64>,
    sightings: &mut S,
) -> Result<Looked, Unreadable> {
    let process = proc.process(pid)?;
    let inode = process.owner()?.inode;
    Ok(Looked { inode, walked: walk.process(&process, wanted, sightings)? })
}

pub(super) fn share(seen: usize, of: usize) -> Share {
    let bounded = |count| u32::try_from(count).unwrap_or(u32::MAX);
    Share { seen: bounded(seen), of: bounded(of) }
}
