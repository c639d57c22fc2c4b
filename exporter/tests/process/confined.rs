//! What the exporter cannot do any more, tried by a process that has given it up. Each is also tried by one that has only
//! given up root, where it comes out otherwise: so it is the box that holds.

use std::io::IoSliceMut;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sched::CloneFlags;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, MountFlags, OpenTreeFlags};
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, netlink, sendto, socket};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

use super::child;

type Attempt = (&'static str, fn(&Path) -> Result<(), Errno>);

/// include/linux/socket.h: TCP Fast Open.
const MSG_FASTOPEN: u32 = 0x2000_0000;

/// Ends the process.
const SIGSYS: i32 = 31;

/// These are refused.
const REFUSED: [Attempt; 16] = [
    ("open a socket to the kernel", |_| {
        of(socket(AddressFamily::NETLINK, SocketType::RAW, Some(netlink::SOCK_DIAG)))
    }),
    ("open a route socket", |_| of(socket(AddressFamily::NETLINK, SocketType::RAW, None))),
    ("open a vsock", |_| of(socket(AddressFamily::VSOCK, SocketType::STREAM, None))),
    ("open a socket of a protocol that no rule for ports is of", |_| {
        of(socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::MPTCP)))
    }),
    ("open a raw socket", |_| of(socket(AddressFamily::INET, SocketType::RAW, None))),
    ("connect by sending", |_| {
        let stream = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        of(sendto(&stream, b"x", SendFlags::from_bits_retain(MSG_FASTOPEN), &elsewhere()))
    }),
    ("read a process", |_| read("/proc/1/status")),
    ("list processes", |_| list("/proc")),
    ("read the kernel's table of sockets", |_| read("/proc/1/net/tcp")),
    ("read what is not its own", |state| read(state.parent().unwrap().join("others"))),
    ("list what is not its own", |state| list(state.parent().unwrap())),
    ("write what is not its own", |state| write(&state.parent().unwrap().join("open/new"))),
    ("listen elsewhere", |_| bound()),
    ("connect elsewhere", |state| connected(state)),
    ("start a process", |_| code(Command::new("/bin/true").spawn().map(drop))),
    ("signal a process", |_| rustix::process::test_kill_process(rustix::process::getpid())),
];

/// After these it is no more.
const DEADLY: [Attempt; 14] = [
    ("execute a program", |_| code::<()>(Err(Command::new("/bin/true").exec()))),
    ("trace a process", |_| Errno::from_nix(nix::sys::ptrace::attach(parent()))),
    ("read the memory of a process", |_| memory()),
    ("take a descriptor of a process", |_| taken()),
    ("enter a namespace", |_| entered()),
    ("make a user namespace", |_| Errno::from_nix(nix::sched::unshare(CloneFlags::CLONE_NEWUSER))),
    ("make a network namespace", |_| Errno::from_nix(nix::sched::unshare(CloneFlags::CLONE_NEWNET))),
    ("mount", |state| rustix::mount::mount("none", state, "tmpfs", MountFlags::empty(), None)),
    ("unmount", |state| rustix::mount::unmount(state, rustix::mount::UnmountFlags::empty())),
    ("mount anew", |_| of(rustix::mount::fsopen("tmpfs", FsOpenFlags::empty()))),
    ("copy a mount", |_| of(rustix::mount::open_tree(rustix::fs::CWD, "/", OpenTreeFlags::OPEN_TREE_CLONE))),
    ("change its root", |state| rustix::process::chroot(state)),
    ("remove a module", |_| of(rustix::system::delete_module(c"portledger_has_none", 0))),
    ("rename the host", |_| rustix::system::sethostname(b"elsewhere")),
];

/// These it does for a living, and still can.
const ALLOWED: [Attempt; 6] = [
    ("read about itself", |_| read("/proc/self/status")),
    ("list its descriptors", |_| list("/proc/self/fd")),
    ("look up names", |_| read("/etc/passwd")),
    ("write its own", |state| {
        write(&state.join("new")).and(of(code(std::fs::rename(state.join("new"), state.join("old")))))
    }),
    ("listen where it was told to", |_| code(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(drop))),
    ("start a thread", |_| {
        code(std::thread::Builder::new().spawn(|| {}).map(|thread| thread.join().unwrap()))
    }),
];

pub(crate) fn play(name: &str, state: &Path) {
    let attempts = REFUSED.iter().chain(&DEADLY).chain(&ALLOWED);
    let (_, attempt) = attempts.into_iter().find(|(other, _)| *other == name).unwrap();
    match attempt(state) {
        Ok(()) => println!("done"),
        Err(errno) => println!("{}", errno.raw_os_error()),
    }
}

pub(crate) fn cannot_do_what_it_need_not() {
    for (name, _) in REFUSED {
        let (without, within) = (outcome("dropped", name), outcome("confined", name));
        assert!(
            [Errno::PERM, Errno::ACCESS].iter().any(|errno| within.0 == errno.raw_os_error().to_string()),
            "{name}: {within:?}"
        );
        assert_ne!(without, within, "{name}: it is refused anyway");
    }
}

pub(crate) fn ends_when_it_tries_what_only_an_intruder_does() {
    for (name, _) in DEADLY {
        let (without, within) = (outcome("dropped", name), outcome("confined", name));
        assert_eq!(within.1, Some(SIGSYS), "{name}: {within:?}");
        assert_eq!(without.1, None, "{name}: {without:?}");
    }
}

pub(crate) fn can_do_what_it_does_for_a_living() {
    for (name, _) in ALLOWED {
        assert_eq!(outcome("confined", name), ("done".to_owned(), None), "{name}");
    }
}

pub(crate) fn leaves_no_memory_behind() {
    let report = outcome_of("confined_report", "");
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "Dumpable:\tfalse", "CapEff:\t0000000000000000"] {
        assert!(report.0.lines().any(|had| had == line), "{line}: {}", report.0);
    }
    let core = report.0.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
}

fn outcome(role: &str, name: &str) -> (String, Option<i32>) {
    let (said, signal) = outcome_of(role, name);
    (said.lines().last().unwrap_or_default().to_owned(), signal)
}

/// What it said, and the signal that ended it.
fn outcome_of(role: &str, name: &str) -> (String, Option<i32>) {
    let above = child::passable_folder();
    std::fs::write(above.path().join("others"), "for everybody").unwrap();
    std::fs::create_dir(above.path().join("open")).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(above.path().join("open"), open).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env("EXPORTER_TEST_ROLE", role).env("EXPORTER_TEST_ATTEMPT", name);
    command.env("EXPORTER_TEST_STATE", above.path().join("state"));
    command.env("EXPORTER_TEST_PORT", listener.local_addr().unwrap().port().to_string());
    let output = command.stdin(Stdio::null()).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.signal())
}

fn of<T>(done: Result<T, Errno>) -> Result<(), Errno> {
    done.map(drop)
}

fn code<T>(done: std::io::Result<T>) -> Result<(), Errno> {
    done.map(drop).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

trait FromNix {
    fn from_nix(done: nix::Result<()>) -> Result<(), Errno>;
}

impl FromNix for Errno {
    fn from_nix(done: nix::Result<()>) -> Result<(), Errno> {
        done.map_err(|errno| Errno::from_raw_os_error(errno as i32))
    }
}

fn read(path: impl AsRef<Path>) -> Result<(), Errno> {
    code(std::fs::read(path))
}

fn list(path: impl AsRef<Path>) -> Result<(), Errno> {
    code(std::fs::read_dir(path))
}

fn write(path: &Path) -> Result<(), Errno> {
    of(rustix::fs::open(path, OFlags::WRONLY | OFlags::CREATE, Mode::from_raw_mode(0o600)))
}

/// A port of those that anybody may take, and not the one that it was told.
fn bound() -> Result<(), Errno> {
    code(TcpListener::bind((Ipv4Addr::LOCALHOST, super::serving::choose_high_port())))
}

fn connected(_: &Path) -> Result<(), Errno> {
    code(TcpStream::connect(elsewhere()))
}

/// Where somebody listens.
fn elsewhere() -> SocketAddr {
    let port: u16 = std::env::var("EXPORTER_TEST_PORT").unwrap().parse().unwrap();
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn parent() -> nix::unistd::Pid {
    nix::unistd::getppid()
}

fn memory() -> Result<(), Errno> {
    let mut bytes = [0; 8];
    let remote = [nix::sys::uio::RemoteIoVec { base: 0x1000, len: 8 }];
    let read = nix::sys::uio::process_vm_readv(parent(), &mut [IoSliceMut::new(&mut bytes)], &remote);
    Errno::from_nix(read.map(drop))
}

fn handle() -> Result<OwnedFd, Errno> {
    rustix::process::pidfd_open(Pid::from_raw(parent().as_raw()).unwrap(), PidfdFlags::empty())
}

fn taken() -> Result<(), Errno> {
    // What can be had of no process has no handle in the box: any descriptor does, for the call itself is what ends it.
    let any: OwnedFd = handle().or_else(|_| rustix::io::dup(std::io::stdin()))?;
    of(rustix::process::pidfd_getfd(any.as_fd(), 0, PidfdGetfdFlags::empty()))
}

fn entered() -> Result<(), Errno> {
    rustix::thread::move_into_link_name_space(std::io::stdin().as_fd(), None)
}
