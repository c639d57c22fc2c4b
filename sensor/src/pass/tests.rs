use std::collections::{HashMap, HashSet};
use std::io::Write;

use inventory::{Inventory, Listener, NetNsId, SocketId};

use super::{Options, Sensor};
use crate::bpf::Bpf;
use crate::process::Hashing;
use crate::testing::{Actor, PRELUDE, is_root};

fn sensor() -> Sensor {
    let options = Options {
        public: Vec::new(),
        namespaces: 1_000,
        redact: Vec::new(),
        hashing: Hashing::Off,
        workers: 1,
        bpf: Bpf::Never,
    };
    Sensor::new(options).unwrap()
}

fn listens(inventory: &Inventory, inode: u64) -> Option<&Listener> {
    inventory.listeners.iter().map(|listener| &**listener).find(|listener| listener.id.inode == inode)
}

/// Keeps a namespace by its descriptor alone: the socket waits in a queue, where no walk sees it.
const KEPT: &str = "
one, other = socket.socketpair(socket.AF_UNIX)
at = os.open('/proc/self/ns/net', os.O_RDONLY)
libc.unshare(0x40000000)
s, inode = listener()
socket.send_fds(one, [b'.'], [s.fileno()])
kept = os.open('/proc/self/ns/net', os.O_RDONLY)
libc.setns(at, 0)
s.close()
say(inode)
forever()
";

#[test]
fn a_namespace_kept_by_its_descriptor_is_seen_at_every_pass() {
    if !is_root("a_namespace_kept_by_its_descriptor_is_seen_at_every_pass") {
        return;
    }
    let (actor, said) = Actor::python(&format!("{PRELUDE}{KEPT}"));
    let mut sensor = sensor();
    for pass in 1..=3 {
        assert!(listens(&sensor.pass(), said[0]).is_some(), "pass {pass}");
    }
    actor.end();
}

/// The same by a socket in a table of the thread's own.
const KEPT_BY_A_THREAD: &str = "
def run():
    libc.unshare(0x400)
    at = os.open('/proc/self/ns/net', os.O_RDONLY)
    libc.unshare(0x40000000)
    s, inode = listener()
    libc.setns(at, 0)
    say(inode)
    forever()
threading.Thread(target=run).start()
";

/// The same by a socket of a process whose first thread exits when it is told to.
const KEPT_WITHOUT_LEADER: &str = "
at = os.open('/proc/self/ns/net', os.O_RDONLY)
libc.unshare(0x40000000)
s, inode = listener()
libc.setns(at, 0)
def run():
    while open(f'/proc/{os.getpid()}/stat').read().split()[2] != 'Z': time.sleep(0.01)
    say(inode)
    forever()
threading.Thread(target=run).start()
say(inode)
sys.stdin.readline()
libc.pthread_exit(None)
";

#[test]
fn a_namespace_kept_by_a_socket_in_a_table_of_a_thread_is_seen() {
    if !is_root("a_namespace_kept_by_a_socket_in_a_table_of_a_thread_is_seen") {
        return;
    }
    let (actor, said) = Actor::python(&format!("{PRELUDE}{KEPT_BY_A_THREAD}"));
    let mut sensor = sensor();
    for pass in 1..=2 {
        let inventory = sensor.pass();
        assert!(listens(&inventory, said[0]).is_some(), "pass {pass}: {:?}", inventory.coverage.gaps);
    }
    actor.end();
}

#[test]
fn a_namespace_kept_by_a_socket_outlives_the_first_thread_of_its_holder() {
    if !is_root("a_namespace_kept_by_a_socket_outlives_the_first_thread_of_its_holder") {
        return;
    }
    let (mut actor, said) = Actor::python(&format!("{PRELUDE}{KEPT_WITHOUT_LEADER}"));
    let mut sensor = sensor();
    assert!(listens(&sensor.pass(), said[0]).is_some());
    writeln!(actor.child.stdin.as_mut().unwrap()).unwrap();
    assert_eq!(actor.says(), said);
    for pass in 2..=3 {
        assert!(listens(&sensor.pass(), said[0]).is_some(), "pass {pass}");
    }
    actor.end();
}

#[test]
fn what_a_second_look_could_not_see_is_not_gone() {
    let socket = |netns, cookie| SocketId { netns: NetNsId::Cookie(netns), cookie, inode: cookie };
    let look = |has_gaps| super::SecondLook {
        sockets: HashSet::from([socket(1, 7), socket(2, 8)]),
        seen: HashMap::from([(NetNsId::Cookie(1), true), (NetNsId::Cookie(2), false)]),
        has_gaps,
    };
    for (what, netns, cookie, has_gaps, is_gone) in [
        ("it is there", 1, 7, false, false),
        ("it is not, in a namespace that was seen whole", 1, 9, true, true),
        ("not among what was seen of its namespace", 2, 9, false, false),
        ("its namespace is not there", 3, 9, false, true),
        ("its namespace was not found, but not everything was seen", 3, 9, true, false),
    ] {
        assert_eq!(look(has_gaps).lacks(&socket(netns, cookie)), is_gone, "{what}");
    }
}
