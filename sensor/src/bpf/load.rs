use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use aya::maps::Map;
use aya::programs::{BtfTracePoint, CgroupSock, CgroupSockAddr, FEntry, FExit, Iter, ProgramError};
use aya::{Btf, Ebpf, EbpfLoader};
use rustix::fs::{Access, AtFlags, accessat, stat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::choice::Wanted;
use super::handover::{Attached, Loaded, Maps, hand_over};
use super::hook::{Attach, Hook, INSTEAD_OF_CGROUPS};
use crate::sys::bpf::{self, Whose};

/// clang's output for `portledger.bpf.c`, made by `make bpf`: all programs.
static ALL: &[u8] = aya::include_bytes_aligned!("../../bpf/portledger.bpf.o");
/// The same for `iterators.bpf.c`: of them those that one look wants, in a third of the time.
static ITERATORS: &[u8] = aya::include_bytes_aligned!("../../bpf/iterators.bpf.o");

/// Why nothing was handed over.
#[derive(Debug, thiserror::Error)]
#[error("what was loaded could not be handed over: {0}")]
pub struct LoadError(#[from] std::io::Error);

/// Loads and attaches the programs, hands them over through `output`, a Unix socket, and keeps nothing: for a process
/// that ends after it. What the kernel refuses is a part of what is told.
pub fn load(wanted: Wanted, output: &impl AsFd) -> Result<(), LoadError> {
    Ok(hand_over(output.as_fd(), load_wanted(wanted))?)
}

pub(super) fn load_wanted(wanted: Wanted) -> Result<Loaded, String> {
    let (hooks, object) = match wanted {
        Wanted::Iterators => (&Hook::ITERATORS[..], ITERATORS),
        Wanted::Events => (&Hook::ALL[..], ALL),
    };
    // The loader parses the types for itself, whatever it is given.
    let (btf, mut loader) = std::thread::scope(|scope| {
        let btf = scope.spawn(Btf::from_sys_fs);
        let loader = EbpfLoader::new();
        (btf.join(), loader)
    });
    let btf = btf.map_err(|_| "the thread that parses the kernel's types panicked")?.map_err(|error| {
        format!("the kernel does not tell its types (/sys/kernel/btf/vmlinux): {}", chain(&error))
    })?;
    let namespace = stat("/proc/self/ns/pid").map_err(|errno| format!("/proc/self/ns/pid: {errno}"))?;
    let namespace = u32::try_from(namespace.st_ino).map_err(|error| error.to_string())?;
    loader.override_global("pid_namespace", &namespace, true);
    let mut ebpf = loader.load(object).map_err(|error| chain(&error))?;
    // Taking the types apart takes a while, and the process ends soon.
    std::mem::forget(loader);
    let cgroup = root_cgroup();
    let mut attached = Vec::with_capacity(hooks.len());
    for &hook in hooks {
        let link = attach(&mut ebpf, hook, &btf, cgroup.as_ref());
        attached.push(Attached { hook, link });
    }
    let cgroup_is_refused = |attached: &Attached| attached.hook.is_of_cgroup() && attached.link.is_err();
    if attached.iter().any(cgroup_is_refused) {
        for hook in INSTEAD_OF_CGROUPS {
            let link = attach(&mut ebpf, hook, &btf, cgroup.as_ref());
            attached.push(Attached { hook, link });
        }
    }
    let program: Option<&Iter> =
        ebpf.program(Hook::Files.program()).and_then(|program| program.try_into().ok());
    let iterator = program.and_then(|program| duplicate(program.fd().ok()?.as_fd()).ok());
    let maps = match wanted {
        Wanted::Iterators => None,
        Wanted::Events => Some(Maps {
            events: map_of(&mut ebpf, "events")?,
            lost: map_of(&mut ebpf, "lost")?,
            waiting: map_of(&mut ebpf, "waiting")?,
            holders: map_of(&mut ebpf, "holders")?,
        }),
    };
    Ok(Loaded { maps, iterator, attached, remains: (ebpf, btf) })
}

fn map_of(ebpf: &mut Ebpf, name: &str) -> Result<OwnedFd, String> {
    let map = ebpf.map(name).ok_or_else(|| format!("the object has no map `{name}`"))?;
    let (Map::RingBuf(data) | Map::Array(data) | Map::HashMap(data)) = map else {
        return Err(format!("the map `{name}` is of another kind"));
    };
    duplicate(data.fd().as_fd()).map_err(|errno| errno.to_string())
}

fn duplicate(descriptor: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(descriptor, 0)
}

fn attach(
    ebpf: &mut Ebpf,
    hook: Hook,
    btf: &Btf,
    cgroup: Result<&OwnedFd, &String>,
) -> Result<OwnedFd, String> {
    let refused = |error: ProgramError| format!("loading: {}", chain(&error));
    let program = ebpf.program_mut(hook.program()).ok_or("the object lacks it")?;
    let wrong = |error: ProgramError| error.to_string();
    let link = match hook.attach() {
        Attach::TaskFiles => {
            let program: &mut Iter = program.try_into().map_err(wrong)?;
            program.load("task_file", btf).map_err(refused)?;
            bpf::attach_iterator(program.fd().map_err(wrong)?.as_fd(), Whose::Everybodys)
        }
        Attach::Tasks => {
            let program: &mut Iter = program.try_into().map_err(wrong)?;
            program.load("task", btf).map_err(refused)?;
            bpf::attach_iterator(program.fd().map_err(wrong)?.as_fd(), Whose::Everybodys)
        }
        Attach::Tracepoint(name) => {
            let program: &mut BtfTracePoint = program.try_into().map_err(wrong)?;
            program.load(name, btf).map_err(refused)?;
            bpf::attach_trace(program.fd().map_err(wrong)?.as_fd())
        }
        Attach::CgroupSocket(place) => {
            let program: &mut CgroupSock = program.try_into().map_err(wrong)?;
            program.load().map_err(refused)?;
            bpf::attach_to_cgroup(program.fd().map_err(wrong)?.as_fd(), cgroup?.as_fd(), place)
        }
        Attach::CgroupAddress(place) => {
            let program: &mut CgroupSockAddr = program.try_into().map_err(wrong)?;
            program.load().map_err(refused)?;
            bpf::attach_to_cgroup(program.fd().map_err(wrong)?.as_fd(), cgroup?.as_fd(), place)
        }
        Attach::FunctionEntry(name) => {
            let program: &mut FEntry = program.try_into().map_err(wrong)?;
            program.load(name, btf).map_err(refused)?;
            bpf::attach_trace(program.fd().map_err(wrong)?.as_fd())
        }
        Attach::FunctionExit(name) => {
            let program: &mut FExit = program.try_into().map_err(wrong)?;
            program.load(name, btf).map_err(refused)?;
            bpf::attach_trace(program.fd().map_err(wrong)?.as_fd())
        }
    };
    link.map_err(|errno| format!("attaching: {errno}"))
}

/// The root of the unified hierarchy, mounted nowhere. Beneath another cgroup only its own sockets would be told.
fn root_cgroup() -> Result<OwnedFd, String> {
    let root = mount_unified()
        .map_err(|errno| format!("the unified cgroup hierarchy cannot be mounted: {errno}"))?;
    // The root has no events of its own.
    match accessat(&root, "cgroup.events", Access::EXISTS, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(root),
        Err(errno) => Err(format!("the unified cgroup hierarchy cannot be read: {errno}")),
        Ok(()) => {
            Err("the root of the unified cgroup hierarchy is out of reach in this cgroup namespace"
                .to_owned())
        }
    }
}

fn mount_unified() -> Result<OwnedFd, Errno> {
    let context = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// An error with all that caused it, each once, and of what a verifier wrote the first lines.
fn chain(error: &dyn std::error::Error) -> String {
    let mut told: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let cause_told = lines_that_tell(&cause.to_string().replace(" Verifier output: ", ""));
        if !told.iter().any(|before| before.contains(&cause_told)) {
            told.push(cause_told);
        }
        next = cause.source();
    }
    told.join(": ")
}

/// Of a message of many lines, which is what a verifier wrote, the last before its statistics: they tell what is wrong.
fn lines_that_tell(text: &str) -> String {
    const MOST: usize = 400;
    let statistics = ["processed ", "verification time ", "stack depth "];
    let lines = text.lines().filter(|line| !statistics.iter().any(|start| line.starts_with(start)));
    let lines: Vec<&str> = lines.filter(|line| !line.trim().is_empty()).collect();
    let told = match lines[..] {
        [first, .., before, last] => format!("{first} … {before}; {last}"),
        _ => lines.join("; "),
    };
    told.chars().take(MOST).collect()
}
