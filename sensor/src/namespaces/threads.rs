//! Namespaces of threads, where that of the process does not tell them: a thread can leave it for another, and a
//! process whose first thread has exited has none.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, statat};
use rustix::io::Errno;

/// Threads looked at in one process.
const OF_ONE: usize = 4_096;
/// Threads looked at in one pass, at some 5 to 10 µs each.
const OF_ALL: usize = 65_536;
/// A process with as many threads as before is looked at again every so many passes.
const EVERY: u64 = 8;

/// What is remembered of the threads of processes from pass to pass.
#[derive(Debug, Default)]
pub(super) struct Threads {
    known: HashMap<u32, Known>,
    pass: u64,
    looked_at: usize,
    /// Processes not all of whose threads were looked at in this pass.
    pub(super) beyond: usize,
}

/// A process with more than one thread.
#[derive(Debug)]
struct Known {
    links: u64,
    pass: u64,
    /// It has more threads than were looked at.
    is_cut: bool,
    /// Inodes other than that of the process, with one thread for each.
    elsewhere: Vec<(u64, u32)>,
}

impl Threads {
    pub(super) fn begin_pass(&mut self) {
        let last = self.pass;
        self.known.retain(|_, known| known.pass == last);
        self.pass += 1;
        (self.looked_at, self.beyond) = (0, 0);
    }

    /// The namespaces of a process's threads other than `own`, that of the process, with a thread for each. `proc` is
    /// the folder of processes.
    pub(super) fn elsewhere(
        &mut self,
        proc: &OwnedFd,
        pid: u32,
        own: Option<u64>,
    ) -> Result<&[(u64, u32)], Errno> {
        let tasks = format!("{pid}/task");
        // Two for the folder itself and one for each thread: `proc_task_getattr` of fs/proc/base.c.
        // It has 32 bits on some architectures.
        #[allow(clippy::useless_conversion)]
        let links = u64::from(statat(proc, &tasks, AtFlags::empty())?.st_nlink);
        if links <= 3 {
            return Ok(&[]);
        }
        let is_due = (self.pass + u64::from(pid)).is_multiple_of(EVERY);
        let is_same = self.known.get(&pid).is_some_and(|known| {
            let stays =
                |(inode, tid): &(u64, u32)| namespace_of(proc, &format!("{tasks}/{tid}")) == Ok(*inode);
            known.links == links && (known.pass == self.pass || !is_due) && known.elsewhere.iter().all(stays)
        });
        let known = match self.known.remove(&pid) {
            Some(known) if is_same => Known { pass: self.pass, ..known },
            _ => self.look(&openat(proc, tasks, FOLDER, Mode::empty())?, links, own)?,
        };
        self.beyond += usize::from(known.is_cut);
        let known = self.known.entry(pid).insert_entry(known).into_mut();
        Ok(&known.elsewhere)
    }

    fn look(&mut self, tasks: &OwnedFd, links: u64, own: Option<u64>) -> Result<Known, Errno> {
        let mut elsewhere: Vec<(u64, u32)> = Vec::new();
        let room = OF_ONE.min(OF_ALL - self.looked_at);
        let (mut looked_at, mut is_cut) = (0, false);
        for entry in Dir::read_from(tasks)? {
            let entry = entry?;
            let Some(tid) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if looked_at == room {
                is_cut = true;
                break;
            }
            looked_at += 1;
            match namespace_of(tasks, &format!("{tid}")) {
                Ok(inode) if Some(inode) == own || elsewhere.iter().any(|(other, _)| *other == inode) => {}
                Ok(inode) => elsewhere.push((inode, tid)),
                // It has exited.
                Err(Errno::NOENT | Errno::SRCH) => {}
                Err(errno) => return Err(errno),
            }
        }
        self.looked_at += looked_at;
        // Cut for the sake of others it is looked at again as soon as there is room.
        let links = if is_cut && room < OF_ONE { 0 } else { links };
        Ok(Known { links, pass: self.pass, is_cut, elsewhere })
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

fn namespace_of(folder: impl AsFd, task: &str) -> Result<u64, Errno> {
    Ok(statat(folder, format!("{task}/ns/net"), AtFlags::empty())?.st_ino)
}

#[cfg(test)]
mod tests {
    use rustix::fs::open;

    use super::*;
    use crate::testing::{Actor, PRELUDE};

    #[test]
    fn more_threads_than_are_looked_at_are_told_at_every_pass() {
        let script = "
threading.stack_size(1 << 16)
for _ in range(4096): threading.Thread(target=forever, daemon=True).start()
say()
forever()
";
        let (actor, _) = Actor::python(&format!("{PRELUDE}{script}"));
        let proc = open("/proc", FOLDER, Mode::empty()).unwrap();
        let own = namespace_of(&proc, &actor.pid().to_string()).unwrap();
        let mut threads = Threads::default();
        let mut looked_at = 0;
        for pass in 1..=EVERY {
            threads.begin_pass();
            assert_eq!(threads.elsewhere(&proc, actor.pid(), Some(own)), Ok(&[][..]), "pass {pass}");
            assert_eq!(threads.beyond, 1, "pass {pass}");
            looked_at += threads.looked_at;
        }
        assert!(looked_at <= 2 * OF_ONE, "{looked_at}");
        actor.end();
    }
}
