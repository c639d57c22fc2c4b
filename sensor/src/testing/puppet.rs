//! A program that does what a test tells it, line by line.

use std::io::Write;
use std::process::Command;

use super::{Actor, PRELUDE};

/// `say()` collects the numbers that a line answers with; `tcp()`, `udp()` and `identity()` are short for what many do.
const DOES: &str = "
import json, subprocess
said = []
def say(*words): said.extend(int(word) for word in words)
def cookie(s): return int.from_bytes(s.getsockopt(1, 57, 8), sys.byteorder)
def netns():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        return int.from_bytes(s.getsockopt(1, 71, 8), sys.byteorder)
def own_namespace():
    if libc.unshare(0x40000000) != 0: raise OSError(ctypes.get_errno(), 'unshare')
    subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
def inode(s): return os.fstat(s.fileno()).st_ino
def identity(s): say(cookie(s), inode(s), s.getsockname()[1])
def tcp(address='0.0.0.0', port=0, family=socket.AF_INET, proto=0):
    s = socket.socket(family, socket.SOCK_STREAM, proto)
    s.bind((address, port))
    s.listen()
    return s
def udp(address='0.0.0.0', port=0, family=socket.AF_INET, proto=0):
    s = socket.socket(family, socket.SOCK_DGRAM, proto)
    s.bind((address, port))
    return s
def descends(work):
    child = fork()
    if child == 0:
        try: work()
        finally: os._exit(0)
    return child
for line in sys.stdin:
    said.clear()
    exec(json.loads(line), globals())
    print(*said, flush=True)
";

/// It lives until dropped.
pub(crate) struct Puppet {
    pub(crate) actor: Actor,
    /// The cookie of the network namespace that it is in.
    pub(crate) netns: u64,
}

impl Puppet {
    /// In a network namespace of its own, in which no other test opens anything; wants root.
    pub(crate) fn new() -> Self {
        Self::with("own_namespace()", Command::new("python3"))
    }

    /// Where we are.
    pub(crate) fn here() -> Self {
        Self::with("", Command::new("python3"))
    }

    /// Run by a command that runs python with the arguments given to it.
    pub(crate) fn by(command: Command) -> Self {
        Self::with("", command)
    }

    fn with(first: &str, mut command: Command) -> Self {
        let mut actor = Actor::start(command.arg("-c").arg(format!("{PRELUDE}{DOES}")));
        let netns = does(&mut actor, &format!("{first}\nsay(netns())"))[0];
        Puppet { actor, netns }
    }

    /// Runs some lines of python and gives what they said.
    pub(crate) fn does(&mut self, lines: &str) -> Vec<u64> {
        does(&mut self.actor, lines)
    }

    /// The same without waiting: what it says is said to [`Actor::says`].
    pub(crate) fn begins(&mut self, lines: &str) {
        begins(&mut self.actor, lines);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.actor.pid()
    }
}

fn does(actor: &mut Actor, lines: &str) -> Vec<u64> {
    begins(actor, lines);
    actor.says()
}

fn begins(actor: &mut Actor, lines: &str) {
    let line = serde_json::to_string(lines).unwrap();
    writeln!(actor.child.stdin.as_mut().unwrap(), "{line}").unwrap();
}
