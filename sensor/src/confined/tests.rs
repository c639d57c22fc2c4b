//! What the sensor and its loader cannot do any more, tried by a process that has given it up, and by one that has not.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, MountFlags};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketType, connect, listen, netlink, sendto, socket,
};

use super::*;

/// What was made before the box closed.
struct Given {
    folder: PathBuf,
    stream: OwnedFd,
    datagrams: OwnedFd,
    listener: TcpListener,
    address: SocketAddr,
}

type Attempt = (&'static str, fn(&Given) -> Result<(), Errno>);

const REFUSED: [Attempt; 17] = [
    ("open a socket that connects", |_| of(socket(AddressFamily::INET, SocketType::STREAM, None))),
    ("open a packet socket", |_| of(socket(AddressFamily::PACKET, SocketType::RAW, None))),
    ("open a Unix stream", |_| of(socket(AddressFamily::UNIX, SocketType::STREAM, None))),
    ("open a socket to another part of the kernel", |_| {
        of(socket(AddressFamily::NETLINK, SocketType::RAW, Some(netlink::NETFILTER)))
    }),
    ("connect", |given| connect(&given.stream, &given.address)),
    ("listen", |given| listen(&given.stream, 1)),
    ("accept", |given| match rustix::net::accept(&given.listener) {
        Err(Errno::AGAIN) => Ok(()),
        accepted => of(accepted),
    }),
    ("take a name for a socket", |given| {
        rustix::net::bind(&given.datagrams, &SocketAddrUnix::new(given.folder.join("its-name")).unwrap())
    }),
    ("send to a name", |given| {
        let name = SocketAddrUnix::new(given.folder.join("heard")).unwrap();
        of(sendto(&given.datagrams, b"x", SendFlags::empty(), &name))
    }),
    ("make a file", |given| open(given, "new", OFlags::WRONLY | OFlags::CREATE)),
    ("write a file", |given| open(given, "there", OFlags::WRONLY)),
    ("read and write a file", |given| open(given, "there", OFlags::RDWR)),
    ("empty a file", |given| open(given, "there", OFlags::TRUNC)),
    ("remove a file", |given| code(std::fs::remove_file(given.folder.join("there")))),
    ("rename a file", |given| code(std::fs::rename(given.folder.join("there"), given.folder.join("here")))),
    ("signal a process", |_| rustix::process::test_kill_process(rustix::process::getppid().unwrap())),
    ("start a process", |_| code(Command::new("/bin/true").spawn().map(|mut child| child.wait().unwrap()))),
];

const DEADLY: [Attempt; 5] = [
    ("execute a program", |_| code::<()>(Err(Command::new("/bin/true").exec()))),
    ("mount", |given| {
        rustix::mount::mount("none", given.folder.join("no"), "tmpfs", MountFlags::empty(), None)
    }),
    ("mount anew", |_| of(rustix::mount::fsopen("tmpfs", FsOpenFlags::empty()))),
    ("change its root", |given| rustix::process::chroot(given.folder.join("no"))),
    ("remove a module", |_| of(rustix::system::delete_module(c"portledger_has_none", 0))),
];

const ALLOWED: [Attempt; 4] = [
    ("read of any process", |_| code(std::fs::read("/proc/1/status"))),
    ("read a file", |given| open(given, "there", OFlags::RDONLY)),
    ("ask for sockets", |_| {
        of(socket(AddressFamily::NETLINK, SocketType::RAW, Some(rustix::net::netlink::SOCK_DIAG)))
    }),
    ("start a thread", |_| {
        code(std::thread::Builder::new().spawn(|| {}).map(|thread| thread.join().unwrap()))
    }),
];

/// Which of them is meant stands in no argument where none is named.
const ANY_NAMESPACE: Attempt = ("enter a namespace of any kind", |given| {
    rustix::thread::move_into_link_name_space(given.stream.as_fd(), None)
});

const SIGSYS: i32 = 31;
const ROLE: &str = "PORTLEDGER_TEST_CONFINED";

#[test]
fn plays_its_part() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (role, name) = role.split_once(' ').unwrap();
    let folder = tempfile::tempdir().unwrap();
    let given = Given::new(folder.path());
    match role {
        "sensor" => {
            before_loading().unwrap();
            after_loading(&Source::none(), None, None).unwrap();
        }
        "loader" => confine_loader().unwrap(),
        _ => {}
    }
    match name {
        "status" => println!("{}", std::fs::read_to_string("/proc/thread-self/status").unwrap()),
        "load" => println!("loads: {}", crate::bpf::load_here().is_ok()),
        "look" => println!("gaps: {:?}", crate::testing::sensor().pass().coverage.gaps.len()),
        // One process for all: each that starts holds what others have open, for a moment.
        "refused" => {
            for (name, attempt) in &REFUSED {
                println!("{name}: {}", attempt(&given).map_or_else(Errno::raw_os_error, |()| 0));
            }
        }
        name => {
            let mut attempts = DEADLY.iter().chain(&ALLOWED).chain([&ANY_NAMESPACE]);
            let (_, attempt) = attempts.find(|(other, _)| *other == name).unwrap();
            println!("it was {:?}.", attempt(&given));
        }
    }
    // In the box it cannot even tidy up.
    std::process::exit(0);
}

impl Given {
    fn new(folder: &Path) -> Self {
        std::fs::write(folder.join("there"), "content").unwrap();
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        listener.set_nonblocking(true).unwrap();
        let datagrams = socket(AddressFamily::UNIX, SocketType::DGRAM, None).unwrap();
        let heard = socket(AddressFamily::UNIX, SocketType::DGRAM, None).unwrap();
        rustix::net::bind(&heard, &SocketAddrUnix::new(folder.join("heard")).unwrap()).unwrap();
        std::mem::forget(heard);
        let stream = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        let address = listener.local_addr().unwrap();
        Given { folder: folder.to_owned(), stream, datagrams, listener, address }
    }
}

#[test]
fn a_sensor_cannot_reach_out_nor_write() {
    let without = outcome("nobody", "refused").0;
    for role in ["sensor", "loader"] {
        let within = outcome(role, "refused").0;
        for (name, _) in REFUSED {
            let of = |said: &str| {
                said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
            };
            assert_eq!(of(&within).as_deref(), Some("1"), "{role}, {name}: {within}");
            assert_ne!(of(&without).as_deref(), Some("1"), "{name}: it is refused anyway");
        }
    }
}

#[test]
fn who_tries_what_only_an_intruder_does_is_ended() {
    for (name, _) in DEADLY {
        assert_eq!(outcome("sensor", name).1, Some(SIGSYS), "{name}");
        assert_eq!(outcome("nobody", name).1, None, "{name}");
        // Mounting where nobody sees it is a loader's work.
        if name != "mount anew" {
            assert_eq!(outcome("loader", name).1, Some(SIGSYS), "{name}");
        }
    }
}

#[test]
fn a_sensor_can_still_look() {
    for (name, _) in ALLOWED {
        assert!(outcome("sensor", name).0.contains("it was Ok("), "{name}: {:?}", outcome("sensor", name));
    }
    let gaps = |role| outcome(role, "look").0;
    assert_eq!(gaps("sensor"), gaps("nobody"));
}

#[test]
fn a_sensor_enters_network_namespaces_alone() {
    let (name, _) = ANY_NAMESPACE;
    let refused = format!("it was {:?}.", Err::<(), _>(Errno::PERM));
    assert!(outcome("sensor", name).0.contains(&refused), "{:?}", outcome("sensor", name));
    assert!(!outcome("nobody", name).0.contains(&refused), "it is refused anyway");
}

#[test]
fn a_sensor_loads_nothing_any_more() {
    let loads = |role| outcome(role, "load").0;
    if loads("nobody").contains("loads: false") {
        return eprintln!("SKIP a_sensor_loads_nothing_any_more: nothing can be loaded here");
    }
    assert!(loads("sensor").contains("loads: false") || outcome("sensor", "load").1 == Some(SIGSYS));
}

#[test]
fn only_what_is_used_is_kept() {
    let (status, _) = outcome("sensor", "status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.unwrap_or_else(|| panic!("{name}: {status}")).to_owned()
    };
    assert_eq!((field("NoNewPrivs").as_str(), field("Seccomp").as_str()), ("1", "2"));
    assert_eq!((field("CapInh"), field("CapAmb")), ("0".repeat(16), "0".repeat(16)));
    let (all, only_loading) = used();
    let kept = u64::from_str_radix(&field("CapEff"), 16).unwrap();
    assert_eq!(kept & !(all & !only_loading).bits(), 0, "{kept:x}");
    assert_eq!(field("CapPrm"), field("CapEff"));
    if rustix::process::geteuid().is_root() {
        assert_eq!(field("CapBnd"), "0".repeat(16));
    }
}

/// What it said, and the signal that ended it.
fn outcome(role: &str, name: &str) -> (String, Option<i32>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "confined::tests::plays_its_part", "--nocapture"]);
    let output = command.env(ROLE, format!("{role} {name}")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = |line: &&str| ["it was", "loads:", "gaps:"].iter().any(|start| line.contains(start));
    let line = said.lines().find(told).map(str::to_owned);
    (
        if ["status", "refused"].contains(&name) { said } else { line.unwrap_or_default() },
        output.status.signal(),
    )
}

fn of<T>(done: Result<T, Errno>) -> Result<(), Errno> {
    done.map(drop)
}

fn code<T>(done: std::io::Result<T>) -> Result<(), Errno> {
    done.map(drop).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn open(given: &Given, name: &str, flags: OFlags) -> Result<(), Errno> {
    of(rustix::fs::open(given.folder.join(name), flags, Mode::from_raw_mode(0o600)))
}
