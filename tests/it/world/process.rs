use std::fs;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::eventually;

/// A program that runs in a host's namespaces until it is dropped.
pub(crate) struct Running {
    /// `nsenter`, which waits for the program.
    pub(crate) entered: Child,
    /// The program's pid as the machine counts.
    pub(crate) outer: u32,
}

impl Running {
    /// Starts what `Host::command` made; `nsenter` forks, for a pid namespace is entered by children only.
    pub(crate) fn start(command: Command) -> Self {
        let shown = format!("{command:?}");
        Running::start_to_end(command).unwrap_or_else(|ended| panic!("{shown} ended at once: {ended}"))
    }

    /// Likewise what ends by itself, and may have done so when we get to look at it: how it ended then.
    pub(crate) fn start_to_end(mut command: Command) -> Result<Self, ExitStatus> {
        let mut entered = command.spawn().expect("nsenter starts");
        let outer = eventually("nsenter has a child", || {
            let ended = entered.try_wait().unwrap().map(Err);
            ended.or_else(|| children(entered.id()).first().copied().map(Ok))
        })?;
        Ok(Running { entered, outer })
    }

    /// Kills what ends by itself, so long after it was started; its exit code where it was faster.
    pub(crate) fn kill_after(time: Duration, command: Command) -> Option<i32> {
        match Running::start_to_end(command) {
            Ok(mut running) => {
                std::thread::sleep(time);
                running.signal(Signal::KILL);
                running.ends_with()
            }
            Err(ended) => ended.code(),
        }
    }

    /// The pid that it has within its host.
    pub(crate) fn inner(&self) -> u32 {
        let pids = status(self.outer, "NSpid");
        pids.split_whitespace().last().unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.outer, signal);
        if signal == Signal::CONT {
            self.wake();
        }
    }

    /// `nsenter` stops when its child does.
    fn wake(&self) {
        send(self.entered.id(), Signal::CONT);
    }

    /// Ends it without asking and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Waits for it to end by itself and gives its exit code.
    pub(crate) fn ends_with(&mut self) -> Option<i32> {
        eventually("the program ends", || self.entered.try_wait().unwrap()).code()
    }

    fn end(&mut self) {
        if self.entered.try_wait().is_ok_and(|ended| ended.is_none()) {
            send(self.outer, Signal::KILL);
            self.wake();
            self.entered.wait().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sends a signal to a process by its number on the machine; that it is gone already is fine.
pub(crate) fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => panic!("cannot signal {pid:?}: {error}"),
    }
}

/// The pids of a process' children.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>())
        .collect()
}

/// All processes below one, nearest first.
pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let mut found = children(pid);
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        found.extend(children(pid));
        next += 1;
    }
    found
}

/// The command line of a process, a word an argument; none where it is gone.
pub(crate) fn arguments(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// A field of /proc/PID/status.
pub(crate) fn status(pid: u32, field: &str) -> String {
    let [value] = statuses(pid, [field]).unwrap_or_else(|| panic!("{pid} is gone"));
    value
}

/// Some fields of it at one time; none where the process or thread is gone.
pub(crate) fn statuses<const N: usize>(pid: u32, fields: [&str; N]) -> Option<[String; N]> {
    // Its name is whatever the process likes.
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    Some(fields.map(|field| {
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {field} in {status}")).trim().to_owned()
    }))
}
