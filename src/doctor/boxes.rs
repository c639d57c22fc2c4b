//! What the processes of a running `serve` have given up, as the kernel tells of them.

use std::fs;
use std::io::Write;
use std::path::Path;

use rustix::thread::CapabilitySet;
use serde_json::{Value, json};

/// What can be told of confinement here.
pub(super) struct Boxes {
    /// What the kernel has of Landlock; which of it a process put in force its log alone tells.
    landlock: Result<String, String>,
    processes: Vec<Process>,
}

/// Of /proc/PID/status and /proc/PID/limits.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    pid: u32,
    verb: &'static str,
    uid: u32,
    effective: CapabilitySet,
    bounding: CapabilitySet,
    no_new_privileges: bool,
    filters_calls: bool,
    /// As getrlimit(2) has it: `0` is none.
    core: String,
    /// At most so many, or `unlimited`.
    open_files: String,
    /// In bytes, or `unlimited`.
    addresses: String,
}

/// It is permitted what it starts the sensor with, and bounds nothing that the sensor needs more of.
const HANDS_DOWN: &str = "keeper";
const VERBS: [&str; 3] = ["serve", "keeper", "sensor"];

impl Boxes {
    /// Those of the `serve` that uses this state folder, and of what root started to look for it.
    pub(super) fn look(state: &Path) -> Self {
        let exporter = exporter::daemon::announced(state);
        let mut processes: Vec<Process> =
            exporter.and_then(|pid| Process::read(pid, "serve")).into_iter().collect();
        let found = fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut pids: Vec<u32> = found.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        pids.sort_unstable();
        let others = pids.into_iter().filter_map(|pid| Process::read(pid, verb_of(pid)?));
        let own = processes.first().map(|exporter| exporter.uid);
        // What it calls itself anybody can: an ordinary user's is told only where the exporter is that user's.
        let others =
            others.filter(|process| process.verb != "serve" && [Some(0), own].contains(&Some(process.uid)));
        processes.extend(others);
        Boxes { landlock: confine::kernel_offers().map_err(|error| error.to_string()), processes }
    }

    pub(super) fn tell(&self, out: &mut impl Write) -> std::io::Result<()> {
        writeln!(out, "\nConfinement")?;
        for process in &self.processes {
            writeln!(out, "  {} (process {}, uid {})", process.verb, process.pid, process.uid)?;
            writeln!(
                out,
                "    capabilities {}, never more than {}",
                named(process.effective),
                named(process.bounding)
            )?;
            let yes = |held: bool| if held { "ok       " } else { "missing  " };
            writeln!(out, "    {}no new privileges", yes(process.no_new_privileges))?;
            writeln!(out, "    {}a filter of system calls (seccomp)", yes(process.filters_calls))?;
            writeln!(out, "    {}no core dumps", yes(process.core == "0"))?;
            if process.verb != HANDS_DOWN {
                writeln!(out, "    {}no capability can be gained", yes(process.bounding.is_empty()))?;
                let bounded = process.addresses != "unlimited";
                writeln!(
                    out,
                    "    {}at most {} open files and {} of addresses",
                    yes(bounded),
                    process.open_files,
                    in_gibibytes(&process.addresses)
                )?;
            }
        }
        if self.processes.is_empty() {
            writeln!(out, "  no `portledger serve` is seen that uses this state folder")?;
        }
        match &self.landlock {
            Ok(offered) => writeln!(
                out,
                "  Landlock of this kernel: {offered}; how much the exporter uses its log tells"
            ),
            Err(error) => writeln!(out, "  Landlock of this kernel: {error}"),
        }
    }

    pub(super) fn document(&self) -> Value {
        let processes = self.processes.iter().map(|process| {
            json!({
                "process": process.verb,
                "pid": process.pid,
                "uid": process.uid,
                "capabilities": names(process.effective),
                "bounding": names(process.bounding),
                "no_new_privs": process.no_new_privileges,
                "seccomp": process.filters_calls,
                "core_limit": process.core,
                "open_files_limit": process.open_files,
                "address_space_limit": process.addresses,
            })
        });
        let landlock = match &self.landlock {
            Ok(offered) | Err(offered) => offered,
        };
        json!({"kernel_landlock": landlock, "processes": processes.collect::<Vec<_>>()})
    }
}

fn verb_of(pid: u32) -> Option<&'static str> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = line.split(|byte| *byte == 0);
    let program = Path::new(std::str::from_utf8(words.next()?).ok()?);
    let verb = words.next()?;
    let is_ours = program.file_name().is_some_and(|name| name == "portledger");
    VERBS.into_iter().find(|known| is_ours && known.as_bytes() == verb)
}

impl Process {
    /// `None` where it is gone, or the kernel does not tell of it.
    fn read(pid: u32, verb: &'static str) -> Option<Self> {
        let text = |name: &str| fs::read(format!("/proc/{pid}/{name}")).ok();
        Process::parse(pid, verb, &text("status")?, &text("limits")?)
    }

    fn parse(pid: u32, verb: &'static str, status: &[u8], limits: &[u8]) -> Option<Self> {
        // A process chooses the first of these lines, its name, and no other; a newline there is escaped by the kernel.
        let (status, limits) = (String::from_utf8_lossy(status), String::from_utf8_lossy(limits));
        let field = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t")).map(str::trim)
        };
        let set = |name| {
            let bits = u64::from_str_radix(field(name)?, 16).ok()?;
            Some(CapabilitySet::from_bits_retain(bits))
        };
        // The hard ones: the soft are the process' own to raise.
        let hard = |name| {
            let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().nth(1).map(str::to_owned)
        };
        Some(Process {
            pid,
            verb,
            uid: field("Uid")?.split_whitespace().nth(1)?.parse().ok()?,
            effective: set("CapEff")?,
            bounding: set("CapBnd")?,
            no_new_privileges: field("NoNewPrivs")? == "1",
            // 2 is SECCOMP_MODE_FILTER.
            filters_calls: field("Seccomp")? == "2",
            core: hard("Max core file size")?,
            open_files: hard("Max open files")?,
            addresses: hard("Max address space")?,
        })
    }
}

fn in_gibibytes(limit: &str) -> String {
    limit.parse::<u64>().map_or_else(|_| limit.to_owned(), |bytes| format!("{} GiB", bytes >> 30))
}

/// As capabilities(7) names them; those that have no name here by their number.
fn names(set: CapabilitySet) -> Vec<String> {
    let known = set.iter_names().map(|(name, _)| format!("CAP_{name}"));
    let unknown = (set & !CapabilitySet::all()).bits();
    known.chain((unknown != 0).then(|| format!("{unknown:#x}"))).collect()
}

fn named(set: CapabilitySet) -> String {
    if set.is_empty() { "none".to_owned() } else { names(set).join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_tells_is_read() {
        let status =
            b"Name:\tCapEff:\\n\nUid:\t0\t7\t0\t0\nCapEff:\t0000000000200004\nCapBnd:\t0000000000000000\n\
            NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n";
        let limits = b"Limit Soft Hard Units\nMax core file size        0    0    bytes\n\
            Max open files   1024   4096   files\nMax address space   8589934592   8589934592   bytes\n";
        let process = Process::parse(9, "sensor", status, limits).unwrap();
        assert_eq!(named(process.effective), "CAP_DAC_READ_SEARCH, CAP_SYS_ADMIN");
        assert_eq!((named(process.bounding).as_str(), process.uid), ("none", 7));
        assert!(process.no_new_privileges && process.filters_calls);
        assert_eq!((process.core.as_str(), process.open_files.as_str()), ("0", "4096"));
        assert_eq!(in_gibibytes(&process.addresses), "8 GiB");
        let open = b"Uid:\t0\t0\nCapEff:\t0\nCapBnd:\t0\nNoNewPrivs:\t0\nSeccomp:\t0\n";
        let limits = b"Max core file size  0  unlimited  bytes\nMax open files 1 1 files\n\
            Max address space 1 unlimited bytes\n";
        let process = Process::parse(9, "sensor", open, limits).unwrap();
        assert!(!process.no_new_privileges && !process.filters_calls);
        assert_eq!(process.core, "unlimited", "the soft one is the process' own to raise");
        assert_eq!(Process::parse(9, "sensor", b"Uid:\t0\t0\n", limits), None);
    }
}
