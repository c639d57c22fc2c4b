use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Host, eventually, skip, status};

/// The number that the next descriptor of a process would have.
pub(crate) fn next_descriptor(pid: u32) -> u64 {
    let open: Vec<_> =
        fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|fd| fd.unwrap().file_name()).collect();
    (0..).find(|number| !open.contains(&number.to_string().into())).unwrap()
}

/// Below which number descriptors of a process must be from now on; it keeps those that it has. Done as its own user, who needs no privilege.
pub(crate) fn limit_descriptors(pid: u32, most: u64) {
    let own = |field| status(pid, field).split_whitespace().next().unwrap().to_owned();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &own("Uid"), "--regid", &own("Gid"), "--clear-groups", "prlimit"]);
    let limited = command.args(["--pid", &pid.to_string(), &format!("--nofile={most}:")]).status();
    assert!(limited.unwrap().success());
}

/// Leaves no room, nor any that a file which is being replaced gives back.
pub(crate) fn fill(host: &Host, folder: &str) {
    host.sh(&format!(
        "cd {folder}; before=none
         until [ $before = \"$(stat -c %s full)\" ] && [ -z \"$(find . -name '*.new' -size +0)\" ]; do
             before=$(stat -c %s full || echo none)
             sleep 1.5; cat /dev/zero >>full || true
         done 2>/dev/null"
    ));
}

/// A cgroup of limited memory below our own. What is left in it moves out of it with this.
pub(crate) struct Cage {
    above: PathBuf,
    folder: PathBuf,
    /// Of cgroups v1 the files have other names.
    is_v1: bool,
}

impl Cage {
    /// `None`, and says so, where there is no such cgroup to be had.
    pub(crate) fn new(bytes: u64) -> Option<Self> {
        let found = own_cgroup();
        let Some((above, is_v1)) = found else {
            skip("needs the memory controller of cgroups");
            return None;
        };
        let folder = above.join(format!("portledger-it-{}-{bytes}", std::process::id()));
        let cage = Cage { above, folder, is_v1 };
        let made = fs::create_dir(&cage.folder).and_then(|()| {
            if is_v1 {
                return fs::write(cage.folder.join("memory.limit_in_bytes"), bytes.to_string());
            }
            fs::write(cage.folder.join("memory.max"), bytes.to_string())
        });
        if let Err(error) = made {
            skip(&format!("no cgroup with limited memory can be made: {error}"));
            return None;
        }
        // Swap would hide what does not fit.
        let swap = if is_v1 { "memory.memsw.limit_in_bytes" } else { "memory.swap.max" };
        let most = if is_v1 { bytes } else { 0 };
        fs::write(cage.folder.join(swap), most.to_string()).unwrap_or_default();
        Some(cage)
    }

    /// What the command starts is in it from its beginning.
    pub(crate) fn holds(&self, command: Command) -> Command {
        let join = format!("echo $$ >{}/cgroup.procs; exec \"$@\"", self.folder.display());
        let mut held = Command::new("sh");
        held.args(["-ec", &join, "sh"]).arg(command.get_program()).args(command.get_args());
        held
    }

    /// The most that it held at a time.
    pub(crate) fn peak_kib(&self) -> u64 {
        let name = if self.is_v1 { "memory.max_usage_in_bytes" } else { "memory.peak" };
        let text = fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        text.trim().parse::<u64>().unwrap_or_default() >> 10
    }

    /// How many of its processes the kernel ended for want of memory.
    pub(crate) fn ended(&self) -> u64 {
        let name = if self.is_v1 { "memory.oom_control" } else { "memory.events" };
        let text = fs::read_to_string(self.folder.join(name)).unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        let pids = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        for pid in pids.lines() {
            fs::write(self.above.join("cgroup.procs"), pid).unwrap_or_default();
        }
        eventually("the cgroup is empty", || fs::remove_dir(&self.folder).ok());
    }
}

/// Where our own memory is counted, and whether by cgroups v1.
fn own_cgroup() -> Option<(PathBuf, bool)> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let path_of = |wanted: &str| {
        own.lines().find_map(|line| {
            let fields: Vec<&str> = line.splitn(3, ':').collect();
            fields[1]
                .split(',')
                .any(|name| name == wanted)
                .then(|| fields[2].trim_start_matches('/').to_owned())
        })
    };
    let mounted = |kind: &str, option: &str| {
        mounts.lines().find_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let fits =
                words[2] == kind && (option.is_empty() || words[3].split(',').any(|word| word == option));
            fits.then(|| Path::new(words[1]).to_owned())
        })
    };
    if let (Some(root), Some(path)) = (mounted("cgroup", "memory"), path_of("memory")) {
        return Some((root.join(path), true));
    }
    let (root, path) = (mounted("cgroup2", "")?, path_of("")?);
    let own = root.join(path);
    let controllers = fs::read_to_string(own.join("cgroup.subtree_control")).ok()?;
    controllers.split_whitespace().any(|name| name == "memory").then_some((own, false))
}

/// A cgroup of any name, for processes that want to be called so.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// `None` where the kernel takes no such name, or there is nowhere to make it.
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        use std::os::unix::ffi::OsStrExt;
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let root = mounts.lines().find_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (words[2] == "cgroup2").then(|| PathBuf::from(words[1]))
        })?;
        let slice = root.join(format!("portledger_it_{}.slice", std::process::id()));
        fs::create_dir_all(&slice).ok()?;
        let folder = slice.join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir(&folder).ok()?;
        Some(Cgroup(folder))
    }

    pub(crate) fn takes_in(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        eventually("the cgroup is empty", || fs::remove_dir(&self.0).ok());
        // The last one takes the slice with it.
        fs::remove_dir(self.0.parent().unwrap()).unwrap_or_default();
    }
}
