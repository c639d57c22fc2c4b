//! The same inventory by either way, and by `ss` where that sees it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::process::Command;
use std::sync::Arc;

use inventory::{Holders, Inventory, Listener, NetNsId, PortChoice, Protocol};

use crate::Sensor;
use crate::bpf::{FileKind, Files};
use crate::events::source::Source;
use crate::testing::{Named, Puppet, alone, programs, sensor};

/// All in one namespace. `keep` holds what is open, `say` tells the inodes.
const LOAD: &str = "
keep = []
def have(s):
    keep.append(s)
    say(inode(s))
    return s
def reused(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind(('0.0.0.0', port))
    s.listen(9)
    return s
def only_v6(port):
    s = socket.socket(socket.AF_INET6)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind(('::', port))
    s.listen(11)
    return s
def on_device(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, 25, b'lo\\0')
    s.bind(('0.0.0.0', port))
    s.listen()
    return s
have(tcp('127.0.0.1', 1001)); have(tcp('::', 1002, socket.AF_INET6)); have(only_v6(1003)); have(on_device(1004))
have(reused(1005)); have(reused(1005))
have(udp('0.0.0.0', 1006)); have(udp('::1', 1007, socket.AF_INET6)); have(udp('0.0.0.0', 0))
optional = [lambda: udp('127.0.0.1', 1008, proto=136), lambda: tcp('0.0.0.0', 1009, proto=262),
            lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)]
for make in optional:
    try: have(make())
    except OSError as error: print(error, file=sys.stderr)
children = [descends(forever) for _ in range(3)]
";

/// Holders of odd kinds in the same namespace: a thread with a table of its own, an io_uring, a socket in flight.
const ODD: &str = "
def own_table():
    libc.unshare(0x400)
    s = tcp('0.0.0.0', 1010)
    os.write(w, str(inode(s)).encode())
    forever()
r, w = os.pipe()
threading.Thread(target=own_table, daemon=True).start()
say(*os.read(r, 50).split())
ring = libc.syscall(425, 8, ctypes.create_string_buffer(120))
s = tcp('0.0.0.0', 1011)
if ring >= 0 and libc.syscall(427, ring, 2, (ctypes.c_int * 1)(s.fileno()), 1) == 0:
    say(inode(s))
    s.close()
else: print('no io_uring', file=sys.stderr)
here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
s = tcp('0.0.0.0', 1012)
socket.send_fds(here, [b'x'], [s.fileno()])
say(inode(s))
s.close()
";

/// Its first thread exits, another one goes on.
const LEADERLESS: &str = "
r, w = os.pipe()
def rest():
    s = tcp('0.0.0.0', 1013)
    threading.Thread(target=lambda: (time.sleep(0.2), os.write(w, str(inode(s)).encode()), forever())).start()
    libc.syscall(60, 0)
child = descends(rest)
say(*os.read(r, 50).split(), child)
";

/// A namespace that a socket alone keeps, and one that its own descriptor does, with a socket in flight.
const UNLIVED: &str = "
at = os.open('/proc/self/ns/net', os.O_RDONLY)
libc.unshare(0x40000000)
kept = tcp('0.0.0.0', 1014)
say(inode(kept))
libc.setns(at, 0)
one, other = socket.socketpair(socket.AF_UNIX)
libc.unshare(0x40000000)
s = tcp('0.0.0.0', 1015)
say(inode(s))
socket.send_fds(one, [b'.'], [s.fileno()])
there = os.open('/proc/self/ns/net', os.O_RDONLY)
libc.setns(at, 0)
s.close()
os.close(at)
";

/// An MPTCP socket and its subflow are one file. Where the kernel has no sock_diag for a protocol, tables know no cookie.
type Key = (NetNsId, u64, Protocol);

/// Listeners with these inodes, by what tells them apart.
fn of_inodes(inventory: &Inventory, inodes: &[u64]) -> BTreeMap<Key, Arc<Listener>> {
    let is_it = |listener: &&Arc<Listener>| inodes.contains(&listener.id.inode);
    let key = |listener: &Listener| (listener.id.netns, listener.id.inode, listener.endpoint.protocol);
    inventory.listeners.iter().filter(is_it).map(|listener| (key(listener), listener.clone())).collect()
}

/// What both ways tell; without what only BPF knows and without when it was first seen.
fn common(listener: &Listener) -> Listener {
    let mut common = listener.clone();
    common.since = None;
    common.reuse_port = None;
    common.port_choice = PortChoice::Explicit;
    // Other tests ask sockets for their namespace, and have them for that moment.
    if let Holders::Known(holders) = &mut common.holders {
        holders.retain(|holder| holder.id.pid != std::process::id());
    }
    common
}

#[test]
fn bpf_and_the_tables_tell_the_same_to_the_last_holder() {
    let test = "bpf_and_the_tables_tell_the_same_to_the_last_holder";
    let _alone = alone();
    let Some(programs) = programs(test) else { return };
    let (_source, files) = Source::of(programs).unwrap();
    let (_other_source, handed_out) = Source::of(self::programs(test).unwrap()).unwrap();
    let mut puppet = Puppet::new();
    let mut inodes = puppet.does(LOAD);
    inodes.extend(puppet.does(ODD));
    let without_leader = puppet.does(LEADERLESS);
    inodes.push(without_leader[0]);
    let mut elsewhere = Puppet::here();
    inodes.extend(elsewhere.does(UNLIVED));
    let named = Named::add("parity");
    let mut inside = Command::new("ip");
    inside.args(["netns", "exec", &named.0, "python3"]);
    let mut inside = Puppet::by(inside);
    inodes.extend(
        inside
            .does("a = tcp('0.0.0.0', 1016); b = udp('::', 1017, socket.AF_INET6); say(inode(a), inode(b))"),
    );
    let (mut by_tables, mut by_bpf, mut by_handed_out) = (sensor(), sensor(), sensor());
    by_bpf.files = files;
    by_handed_out.files = handed_out.map(Files::without_tables);
    for pass in 1..=4 {
        let by_bpf = if pass % 2 == 0 { &mut by_handed_out } else { &mut by_bpf };
        let (tables, bpf) = (by_tables.pass(), by_bpf.pass());
        assert!(by_bpf.files.is_some(), "{:?}", by_bpf.without_bpf);
        let (tables, bpf) = (of_inodes(&tables, &inodes), of_inodes(&bpf, &inodes));
        assert!(tables.len() >= inodes.len(), "pass {pass}: {} of {}", tables.len(), inodes.len());
        let ids = |found: &BTreeMap<Key, Arc<Listener>>| found.keys().copied().collect::<Vec<_>>();
        assert_eq!(ids(&tables), ids(&bpf), "pass {pass}");
        for (one, other) in tables.values().zip(bpf.values()) {
            let mut one = common(one);
            if one.id.cookie == 0 {
                one.id.cookie = other.id.cookie;
            }
            let other = common(other);
            let ids = |one: &Listener| one.holders.known().iter().map(|holder| holder.id).collect::<Vec<_>>();
            assert_eq!(ids(&one), ids(&other), "pass {pass}: {}", one.endpoint);
            assert_eq!(one, other, "pass {pass}");
        }
        knows_more(&bpf);
    }
    agrees_with_ss(&puppet, without_leader[1], &by_bpf.pass());
}

fn knows_more(bpf: &BTreeMap<Key, Arc<Listener>>) {
    for listener in bpf.values() {
        let twin = listener.endpoint.port == 1005;
        let by_ring = listener.endpoint.port == 1011;
        let is_held = !matches!(listener.holders, Holders::Unattributed(_));
        // In flight, or held by a ring, it stands in no table of descriptors.
        let in_a_table = is_held && !by_ring && listener.endpoint.protocol != Protocol::Raw;
        if in_a_table {
            assert_eq!(listener.reuse_port, Some(twin), "{listener:?}");
        }
        let chosen = !(1001..=1017).contains(&listener.endpoint.port);
        let expected = match listener.endpoint.protocol {
            _ if chosen => PortChoice::Kernel,
            _ => PortChoice::Explicit,
        };
        if in_a_table {
            assert_eq!(listener.port_choice, expected, "{listener:?}");
        }
    }
}

/// It knows no table of a thread, no ring, and no process whose first thread has exited.
fn agrees_with_ss(puppet: &Puppet, without_leader: u64, bpf: &Inventory) {
    let ran = Command::new("nsenter")
        .arg(format!("--net=/proc/{}/ns/net", puppet.pid()))
        .args(["ss", "-Htulpne"])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let text = String::from_utf8(ran.stdout).unwrap();
    let mut rows = 0;
    for row in text.lines() {
        let inode: u64 = number_after(row, "ino:").expect(row);
        let found = bpf
            .listeners
            .iter()
            .find(|listener| listener.id.inode == inode && listener.endpoint.protocol != Protocol::Mptcp);
        let listener = found.unwrap_or_else(|| panic!("{row}"));
        let mut pids: Vec<u32> = row.split("pid=").skip(1).filter_map(first_number).collect();
        pids.sort_unstable();
        pids.dedup();
        let told = listener.holders.known().iter().map(|holder| holder.id.pid);
        let told: Vec<u32> = told.filter(|pid| u64::from(*pid) != without_leader).collect();
        if pids.is_empty() {
            assert!((1010..=1013).contains(&listener.endpoint.port), "{row}: {told:?}");
        } else {
            assert_eq!(pids, told, "{row}");
        }
        assert!(row.contains(&format!(":{} ", listener.endpoint.port)), "{row}");
        rows += 1;
    }
    let ours = bpf.listeners.iter().filter(|listener| {
        let is_shown = matches!(listener.endpoint.protocol, Protocol::Tcp | Protocol::Udp);
        is_shown && listener.id.netns == NetNsId::Cookie(puppet.netns)
    });
    assert_eq!(rows, ours.count());
}

fn number_after(row: &str, word: &str) -> Option<u64> {
    first_number(row.split(word).nth(1)?)
}

fn first_number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[test]
fn many_namespaces_that_sockets_alone_keep_are_all_seen() {
    let test = "many_namespaces_that_sockets_alone_keep_are_all_seen";
    let _alone = alone();
    let Some(programs) = programs(test) else { return };
    let (_source, files) = Source::of(programs).unwrap();
    let mut puppet = Puppet::here();
    let inodes = puppet.does(
        "
at = os.open('/proc/self/ns/net', os.O_RDONLY)
keep = []
for turn in range(300):
    libc.unshare(0x40000000)
    keep += [tcp('0.0.0.0', 1001), tcp('0.0.0.0', 1002)]
    libc.setns(at, 0)
say(*[inode(s) for s in keep])",
    );
    let mut sensor = sensor();
    sensor.files = files;
    let inventory = sensor.pass();
    for turn in 0..20 {
        let missed = missing(&sensor, &inodes);
        assert!(missed.is_empty(), "turn {turn}: {missed:?}");
    }
    let found = of_inodes(&inventory, &inodes);
    assert_eq!(found.len(), 600, "{:?}", inventory.coverage.gaps);
    let is_held =
        |listener: &Arc<Listener>| listener.holders.known().iter().any(|one| one.id.pid == puppet.pid());
    assert!(found.values().all(is_held));
}

/// What one pass of the iterator does not tell: descriptors, and the first of each namespace. Each pass is handed out
/// in parts, and what does not fit one has to come again with the next.
fn missing(sensor: &Sensor, inodes: &[u64]) -> Vec<String> {
    let files = sensor.files.as_ref().unwrap().all().unwrap();
    let of_kind = |kind| files.iter().filter(move |file| file.kind == kind);
    let sockets: HashMap<u64, u64> =
        of_kind(FileKind::Socket).map(|file| (file.socket.inode, file.socket.netns_cookie)).collect();
    let namespaces: HashSet<u64> =
        of_kind(FileKind::NamespaceSeen).map(|file| file.socket.netns_cookie).collect();
    let missing = |inode: &u64| match sockets.get(inode) {
        None => Some(format!("socket {inode}")),
        Some(netns) => (!namespaces.contains(netns)).then(|| format!("namespace {netns}")),
    };
    inodes.iter().filter_map(missing).collect()
}

#[test]
fn the_kernel_tells_one_process_alone() {
    let Some(mut programs) = programs("the_kernel_tells_one_process_alone") else { return };
    let files = programs.files().unwrap();
    let mut puppet = Puppet::new();
    let inode = puppet.does("s = tcp(port=8080); say(inode(s))")[0];
    let of_process = files.of_process(puppet.pid()).unwrap();
    assert!(of_process.iter().all(|file| file.pid == puppet.pid()));
    assert!(of_process.iter().any(|file| file.socket.inode == inode));
    let pid = puppet.pid();
    puppet.actor.end();
    let gone = files.of_process(pid);
    assert!(gone.as_ref().map_or_else(|error| error.raw_os_error() == Some(3), Vec::is_empty), "{gone:?}");
}
