//! What the tests of this crate have in common: programs that hold sockets in odd ways, and a /proc in a folder.

mod following;
mod listeners;
mod namespaces;
mod puppet;
mod reader;

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with};
use tempfile::TempDir;

use crate::process::{Describer, Hashing, ProcRoot, Redaction};
pub(crate) use following::{Following, alone, detach, loader, loader_by, of, programs, sensor};
pub(crate) use listeners::{inventory_of, listener};
pub(crate) use namespaces::{Named, Sleeper, enter_new_namespace, in_new_namespace, ip};
pub(crate) use puppet::Puppet;
pub(crate) use reader::Reader;

/// A program that runs until it is dropped.
pub(crate) struct Actor {
    pub(crate) child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Actor {
    /// Runs a python script, and waits until it has printed one line.
    pub(crate) fn python(script: &str) -> (Actor, Vec<u64>) {
        let mut actor = Actor::start(Command::new("python3").args(["-c", script]));
        let said = actor.says();
        (actor, said)
    }

    pub(crate) fn start(command: &mut Command) -> Actor {
        let command = command.stdout(Stdio::piped()).stdin(Stdio::piped());
        // A child that another test has just forked may still have a program open that was written a moment ago.
        let busy = |started: &io::Result<Child>| {
            started.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ExecutableFileBusy)
        };
        let mut child = (0..100)
            .map(|_| {
                std::thread::sleep(Duration::from_millis(1));
                command.spawn()
            })
            .find(|started| !busy(started))
            .unwrap()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Actor { child, said }
    }

    /// The numbers in its next line.
    pub(crate) fn says(&mut self) -> Vec<u64> {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.split_whitespace().map(|word| word.parse().unwrap()).collect()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn end(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.stop();
        }
    }
}

/// Begins each script: `listener()` gives a socket and its inode.
pub(crate) const PRELUDE: &str = "
import ctypes, os, socket, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def listener():
    s = socket.socket()
    s.bind(('127.0.0.1', 0))
    s.listen()
    return s, os.fstat(s.fileno()).st_ino
def fork():
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        libc.prctl(1, 9) # PR_SET_PDEATHSIG, SIGKILL: ends with its parent
        if os.getppid() != parent: os._exit(0)
    return child
def say(*words):
    print(*words, flush=True)
def forever():
    while True: time.sleep(60)
";

/// The machine's own.
pub(crate) fn real() -> (ProcRoot, Describer) {
    let proc = ProcRoot::open(Path::new("/proc")).unwrap();
    let describer = Describer::new(&proc, Path::new("/"), Redaction::default(), Hashing::Off).unwrap();
    (proc, describer)
}

/// A socket that what other tests execute meanwhile does not hold too.
pub(crate) fn socket(family: AddressFamily, kind: SocketType, protocol: Option<Protocol>) -> OwnedFd {
    socket_with(family, kind, SocketFlags::CLOEXEC, protocol).unwrap()
}

/// Copies a program by a process of its own: were it open for writing here, a child that another test forks meanwhile
/// would have it open too, and nobody could run it.
pub(crate) fn copy(program: impl AsRef<Path>, to: &Path) {
    assert!(
        Command::new("cp").arg("--preserve=mode").arg(program.as_ref()).arg(to).status().unwrap().success()
    );
}

/// Says so, and is false, where the tests do not run as root.
pub(crate) fn is_root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("SKIP {test}: wants root");
    }
    is_root
}

/// A host in a folder, with a /proc.
pub(crate) struct Host {
    root: TempDir,
}

impl Host {
    pub(crate) fn new() -> Host {
        let host = Host { root: tempfile::tempdir().unwrap() };
        host.write("proc/stat", b"cpu  1 2 3\nbtime 1795238000\nprocesses 7\n");
        host
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), bytes).unwrap();
    }

    /// A process whose first thread has these links for descriptors.
    pub(crate) fn process(&self, pid: u32, parent: u32, name: &[u8], links: &[&str]) {
        // As a Linux 6.18 wrote it: field 4 is the parent, field 22 the start in ticks.
        let after = format!(
            ") S {parent} 1 1 0 -1 4194560 2 0 0 0 3 4 0 0 20 0 1 0 {} 8192 100 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 \
             0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
            u64::from(pid) * 100
        );
        let stat = [format!("{pid} (").as_bytes(), name, after.as_bytes()].concat();
        self.write(&format!("proc/{pid}/stat"), &stat);
        self.write(&format!("proc/{pid}/comm"), &[name, b"\n"].concat());
        self.write(&format!("proc/{pid}/cmdline"), b"");
        self.write(&format!("proc/{pid}/cgroup"), b"0::/\n");
        fs::create_dir_all(self.path(&format!("proc/{pid}/task/{pid}"))).unwrap();
        fs::create_dir_all(self.path(&format!("proc/{pid}/fd"))).unwrap();
        for (fd, link) in links.iter().enumerate() {
            symlink(link, self.path(&format!("proc/{pid}/fd/{fd}"))).unwrap();
        }
    }

    /// Has a process executed a program of this name under /usr/bin.
    pub(crate) fn executes(&self, pid: u32, name: &str) {
        self.write(&format!("usr/bin/{name}"), b"#!");
        symlink(self.path(&format!("usr/bin/{name}")), self.path(&format!("proc/{pid}/exe"))).unwrap();
    }

    /// Has a process end as far as the kernel does it before it closes descriptors.
    pub(crate) fn gives_memory_back(&self, pid: u32) {
        let stat = self.path(&format!("proc/{pid}/stat"));
        let ending = fs::read_to_string(&stat).unwrap().replace(" 4194560 ", " 4194564 ");
        fs::write(&stat, ending).unwrap();
        fs::remove_file(self.path(&format!("proc/{pid}/exe"))).unwrap();
    }

    pub(crate) fn open(&self) -> (ProcRoot, Describer) {
        let proc = ProcRoot::open(&self.path("proc")).unwrap();
        let describer = Describer::new(&proc, self.root(), Redaction::default(), Hashing::Off).unwrap();
        (proc, describer)
    }
}
