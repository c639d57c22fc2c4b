use std::time::{Duration, SystemTime};

use inventory::{Event, Listener, NetNsId, PortChoice, ProgramFile, RawText};

use super::{is_closed, opened, pids, told};
use crate::testing::{Following, Puppet, of};

/// What opens a socket, how it is told, and who chose its port.
const SOCKETS: [(&str, &str, PortChoice); 17] = [
    ("tcp('127.0.0.1', 8001)", "tcp/127.0.0.1:8001", PortChoice::Explicit),
    ("tcp('0.0.0.0', 0)", "tcp/0.0.0.0:PORT", PortChoice::Kernel),
    ("tcp('::', 8002, socket.AF_INET6)", "tcp/[::]:8002", PortChoice::Explicit),
    ("tcp('::1', 0, socket.AF_INET6)", "tcp/[::1]:PORT", PortChoice::Kernel),
    ("unbound()", "tcp/0.0.0.0:PORT", PortChoice::Kernel),
    ("tcp('127.0.0.1', 8003, proto=262)", "mptcp/127.0.0.1:8003", PortChoice::Explicit),
    ("tcp('0.0.0.0', 0, proto=262)", "mptcp/0.0.0.0:PORT", PortChoice::Kernel),
    ("udp('127.0.0.1', 8004)", "udp/127.0.0.1:8004", PortChoice::Explicit),
    ("udp('0.0.0.0', 0)", "udp/0.0.0.0:PORT", PortChoice::Kernel),
    ("udp('::', 8005, socket.AF_INET6)", "udp/[::]:8005", PortChoice::Explicit),
    ("udp('::1', 0, socket.AF_INET6)", "udp/[::1]:PORT", PortChoice::Kernel),
    ("udp('127.0.0.1', 8006, proto=136)", "udplite/127.0.0.1:8006", PortChoice::Explicit),
    ("udp('::1', 0, socket.AF_INET6, 136)", "udplite/[::1]:PORT", PortChoice::Kernel),
    ("refused_then_bound()", "udp/0.0.0.0:8007", PortChoice::Explicit),
    ("raw(1)", "raw/0.0.0.0:1", PortChoice::Explicit),
    ("raw(58, socket.AF_INET6)", "raw/[::]:58", PortChoice::Explicit),
    ("tcp('0.0.0.0', 8008)", "tcp/0.0.0.0:8008", PortChoice::Explicit),
];

const OPENERS: &str = "
def unbound():
    s = socket.socket()
    s.listen()
    return s
def raw(protocol, family=socket.AF_INET): return socket.socket(family, socket.SOCK_RAW, protocol)
def refused_then_bound():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try: s.bind(('203.0.113.1', 0))
    except OSError: pass
    else: raise Exception('bound to an address of others')
    s.bind(('0.0.0.0', 8007))
    return s
";

#[test]
fn each_socket_is_told_once_when_it_opens_and_once_when_it_closes() {
    let test = "each_socket_is_told_once_when_it_opens_and_once_when_it_closes";
    let Some(mut following) = Following::begin(test) else { return };
    let mut puppet = Puppet::new();
    puppet.does(OPENERS);
    for (open, endpoint, choice) in SOCKETS {
        let Ok(said) = try_open(&mut puppet, open) else {
            eprintln!("SKIP {test}: {open}: this kernel lacks it");
            continue;
        };
        let [cookie, inode, port] = said;
        let endpoint = endpoint.replace("PORT", &port.to_string());
        let first = following.until(|events, _| opened(events, cookie).is_some());
        let listener = opened(&first, cookie).unwrap_or_else(|| panic!("{open}: {first:#?}"));
        assert_eq!((listener.id.cookie, listener.id.inode), (cookie, inode), "{open}");
        assert_eq!(
            (listener.endpoint.to_string(), listener.port_choice),
            (endpoint.clone(), choice),
            "{open}"
        );
        is_of(listener, &puppet);
        assert_eq!(following.knows(cookie), Some(listener));
        puppet.does("s.close()");
        let mut events = first.clone();
        events.extend(following.until(|events, _| is_closed(events, cookie)));
        events.extend(following.during(Duration::from_millis(30)));
        let expected = [format!("+ {endpoint}"), format!("- {cookie}")];
        let told = told(&events, puppet.netns);
        // The subflow of an MPTCP listener is a socket beside it, as in every look.
        let of_it: Vec<_> = if endpoint.starts_with("mptcp") {
            told.into_iter().filter(|event| expected.contains(event)).collect()
        } else {
            told
        };
        assert_eq!(of_it, expected, "{open}");
        assert_eq!(following.knows(cookie), None);
    }
    let discrepancies = following.look().discrepancies;
    if !following.is_drowned(test) {
        assert_eq!(discrepancies.unannounced + discrepancies.lingering, 0, "of anybody: {discrepancies:?}");
    }
}

fn try_open(puppet: &mut Puppet, open: &str) -> Result<[u64; 3], ()> {
    let said = puppet.does(&format!(
        "
try:
    s = {open}
    identity(s)
except OSError as error:
    print(error, file=sys.stderr)
    say(0)"
    ));
    // A raw socket's name has no port.
    said.try_into().map_err(drop)
}

fn is_of(listener: &Listener, puppet: &Puppet) {
    let [holder] = listener.holders.known() else { panic!("{:?}", listener.holders) };
    assert_eq!(holder.id.pid, puppet.pid());
    let exe = std::fs::read_link(format!("/proc/{}/exe", puppet.pid())).unwrap();
    let program = holder.program.as_ref().unwrap();
    assert_eq!(program.path, RawText::new(exe.as_os_str().as_encoded_bytes()));
    assert_eq!(program.file, ProgramFile::Host);
    let name = std::fs::read_to_string(format!("/proc/{}/comm", puppet.pid())).unwrap();
    assert_eq!(holder.name, RawText::from(name.trim_end()));
    assert_eq!((holder.uid, listener.uid), (0, 0));
    assert_eq!(listener.netns.id, NetNsId::Cookie(puppet.netns));
    let age = SystemTime::now().duration_since(holder.started_at).unwrap_or_default();
    assert!(age < Duration::from_secs(60), "{age:?}");
    let since = SystemTime::now().duration_since(listener.since.unwrap()).unwrap_or_default();
    assert!(since < Duration::from_secs(20), "{since:?}");
}

#[test]
fn a_udp_client_is_nobody_who_waits() {
    let Some(mut following) = Following::begin("a_udp_client_is_nobody_who_waits") else { return };
    let mut puppet = Puppet::new();
    puppet.does("c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); c.sendto(b'x', ('127.0.0.1', 9))");
    puppet.does("d = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); d.connect(('127.0.0.1', 9))");
    puppet.does("c.close(); d.close()");
    let events = following.during(Duration::from_millis(100));
    assert_eq!(told(&events, puppet.netns), [""; 0]);
}

#[test]
fn a_socket_of_before_is_told_when_it_closes_and_when_it_closes_alone() {
    let Some(mut following) =
        Following::begin("a_socket_of_before_is_told_when_it_closes_and_when_it_closes_alone")
    else {
        return;
    };
    let mut puppet = Puppet::new();
    puppet.does("import gc");
    let tcp = puppet.does("t = tcp(); identity(t)");
    let udp = puppet.does("u = udp('0.0.0.0', 5353); identity(u)");
    following.until(|events, _| opened(events, udp[0]).is_some());
    // As if the sensor had begun later.
    drop(following);
    let Some(mut following) = Following::begin("again") else { return };
    for cookie in [tcp[0], udp[0]] {
        assert!(following.knows(cookie).is_some_and(|listener| listener.since.is_none()));
    }
    puppet.does("t.close(); u.close()");
    let events = following.until(|events, _| is_closed(events, tcp[0]) && is_closed(events, udp[0]));
    let mut told = told(&events, puppet.netns);
    told.sort();
    let mut expected = [format!("- {}", tcp[0]), format!("- {}", udp[0])];
    expected.sort();
    assert_eq!(told, expected);
}

#[test]
fn the_same_socket_listens_again() {
    let Some(mut following) = Following::begin("the_same_socket_listens_again") else { return };
    let mut puppet = Puppet::new();
    let [cookie, ..] = puppet.does("s = tcp(port=8080); identity(s)")[..] else { panic!() };
    let mut events = following.until(|events, _| opened(events, cookie).is_some());
    puppet.does("s.listen(7); s.shutdown(socket.SHUT_RD)");
    events.extend(following.until(|events, _| is_closed(events, cookie)));
    puppet.does("s.listen(3)");
    events.extend(following.until(|events, _| opened(events, cookie).is_some()));
    let (opens, closes) = ("+ tcp/0.0.0.0:8080".to_owned(), format!("- {cookie}"));
    assert_eq!(told(&events, puppet.netns), [opens.clone(), closes, opens]);
    assert_eq!(following.knows(cookie).unwrap().backlog, Some(3));
}

#[test]
fn a_udp_socket_that_is_connected_later_shows_its_peer_at_the_next_look() {
    let test = "a_udp_socket_that_is_connected_later_shows_its_peer_at_the_next_look";
    let Some(mut following) = Following::begin(test) else { return };
    let mut puppet = Puppet::new();
    let [cookie, ..] = puppet.does("s = udp(port=5000); identity(s)")[..] else { panic!() };
    let events = following.until(|events, _| opened(events, cookie).is_some());
    assert_eq!(opened(&events, cookie).unwrap().peer, None);
    puppet.does("s.connect(('127.0.0.1', 53))");
    following.look();
    let listener = following.knows(cookie).expect("it is there still");
    assert_eq!(listener.peer.map(|peer| peer.to_string()), Some("127.0.0.1:53".to_owned()));
    assert_eq!(pids(listener), [puppet.pid()]);
    puppet.does("s.close()");
    assert!(is_closed(&following.until(|events, _| is_closed(events, cookie)), cookie));
}

#[test]
fn a_udp_socket_that_is_connected_at_once_is_told_with_its_peer() {
    let test = "a_udp_socket_that_is_connected_at_once_is_told_with_its_peer";
    let Some(mut following) = Following::begin(test) else { return };
    let mut puppet = Puppet::new();
    let said = puppet.does("s = udp(port=5000); s.connect(('127.0.0.1', 53)); identity(s)");
    let events = following.until(|events, _| opened(events, said[0]).is_some());
    let listener = opened(&events, said[0]).unwrap_or_else(|| panic!("{} lost", following.lost));
    assert_eq!(listener.peer.map(|peer| peer.to_string()), Some("127.0.0.1:53".to_owned()));
}

#[test]
fn a_process_that_is_gone_is_described_whole() {
    let test = "a_process_that_is_gone_is_described_whole";
    let Some(mut following) = Following::begin(test) else { return };
    let mut puppet = Puppet::new();
    puppet.begins(
        "
def short(port):
    libc.prctl(15, b'short-lived')
    os.setuid(65534)
    tcp(port=port)
for port in range(20000, 20500):
    os.waitpid(descends(lambda: short(port)), 0)",
    );
    let events = following.until(|events, _| of(events, puppet.netns).len() >= 1_000);
    if following.is_drowned(test) {
        return;
    }
    let mut ports = Vec::new();
    for event in of(&events, puppet.netns) {
        let Event::Opened(listener) = event else { continue };
        ports.push(listener.endpoint.port);
        assert!(is_closed(&events, listener.id.cookie), "{listener:?}");
        let [holder] = listener.holders.known() else { panic!("{:?}", listener.holders) };
        let program = holder.program.as_ref().unwrap();
        let exe = std::fs::read_link(format!("/proc/{}/exe", puppet.pid())).unwrap();
        assert_eq!(program.path, RawText::new(exe.as_os_str().as_encoded_bytes()));
        assert_eq!(program.file, ProgramFile::Host);
        assert_eq!(holder.name, RawText::from("short-lived"));
        assert_eq!((holder.uid, listener.uid), (65534, 65534));
        assert_eq!(listener.port_choice, PortChoice::Explicit);
    }
    ports.sort_unstable();
    assert_eq!(ports, (20_000..20_500).collect::<Vec<_>>());
    assert_eq!(of(&events, puppet.netns).len(), 1_000);
}

#[test]
fn a_udp_socket_that_is_gone_is_of_the_user_who_bound_it_to_the_port_asked_for() {
    let Some(mut following) =
        Following::begin("a_udp_socket_that_is_gone_is_of_the_user_who_bound_it_to_the_port_asked_for")
    else {
        return;
    };
    let mut puppet = Puppet::new();
    puppet.does(
        "
def short():
    os.setuid(65534)
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try: s.bind(('203.0.113.1', 0))
    except OSError: pass
    s.bind(('0.0.0.0', 5000))
os.waitpid(descends(short), 0)",
    );
    let events = following.until(|events, _| of(events, puppet.netns).len() >= 2);
    let [Event::Opened(listener), Event::Closed(..)] = of(&events, puppet.netns)[..] else {
        panic!("{events:#?}")
    };
    assert_eq!((listener.uid, listener.port_choice), (65534, PortChoice::Explicit));
}

#[test]
fn a_namespace_that_lives_for_a_moment_is_told() {
    let Some(mut following) = Following::begin("a_namespace_that_lives_for_a_moment_is_told") else {
        return;
    };
    let mut puppet = Puppet::here();
    let said = puppet.does(
        "
def short(out):
    libc.unshare(0x40000000)
    s = tcp(port=8080)
    os.write(out, f'{netns()} {cookie(s)}'.encode())
r, w = os.pipe()
os.waitpid(descends(lambda: short(w)), 0)
say(*os.read(r, 100).decode().split())",
    );
    let [netns, cookie] = said[..] else { panic!("{said:?}") };
    let events = following.until(|events, _| is_closed(events, cookie));
    assert_eq!(told(&events, netns), ["+ tcp/0.0.0.0:8080".to_owned(), format!("- {cookie}")]);
    assert_eq!(opened(&events, cookie).unwrap().holders.known().len(), 1);
}

#[test]
fn a_process_in_a_pid_namespace_is_told_by_the_pid_that_we_know_it_by() {
    let test = "a_process_in_a_pid_namespace_is_told_by_the_pid_that_we_know_it_by";
    let Some(mut following) = Following::begin(test) else { return };
    let mut puppet = Puppet::new();
    let said = puppet.does(
        "
r, w = os.pipe()
libc.unshare(0x20000000)
def within():
    s = tcp(port=8080)
    os.write(w, f'{os.getpid()} {cookie(s)}'.encode())
    forever()
child = os.fork() # as its parent counts
if child == 0: within()
say(child, *os.read(r, 50).decode().split())",
    );
    let [child, 1, cookie] = said[..] else { panic!("{said:?}") };
    let events = following.until(|events, _| opened(events, cookie).is_some());
    let listener = opened(&events, cookie).expect("told");
    assert_eq!(pids(listener), [u32::try_from(child).unwrap()]);
    following.look();
    assert_eq!(following.knows(cookie).map(pids), Some(vec![u32::try_from(child).unwrap()]));
    puppet.does("os.kill(child, 9); os.waitpid(child, 0)");
    assert!(is_closed(&following.until(|events, _| is_closed(events, cookie)), cookie));
}

#[test]
fn a_namespace_that_is_new_is_looked_into() {
    let Some(mut following) = Following::begin("a_namespace_that_is_new_is_looked_into") else { return };
    let mut puppet = Puppet::new();
    let [cookie, ..] = puppet.does("s = tcp('127.0.0.1', 8080); identity(s)")[..] else { panic!() };
    let events = following.until(|events, _| opened(events, cookie).is_some());
    let first = opened(&events, cookie).unwrap();
    assert_eq!(first.reach, inventory::Reach::Loopback);
    following.look();
    let looked = following.knows(cookie).unwrap();
    assert_eq!((&looked.netns, looked.reach), (&first.netns, first.reach));
    assert_eq!(looked, first, "what an event tells and what a look tells are the same");
}

#[test]
fn a_program_executed_a_moment_later_lends_nobody_its_name() {
    let test = "a_program_executed_a_moment_later_lends_nobody_its_name";
    let Some(mut following) = Following::begin(test) else { return };
    let mut puppet = Puppet::new();
    // What python opens is closed by execve(2).
    puppet.begins(
        "
def forge(port):
    tcp(port=port)
    os.execv('/usr/bin/true', ['true'])
for port in range(21000, 21100):
    os.waitpid(descends(lambda: forge(port)), 0)",
    );
    let events = following.until(|events, _| of(events, puppet.netns).len() >= 200);
    if following.is_drowned(test) {
        return;
    }
    let exe = std::fs::read_link(format!("/proc/{}/exe", puppet.pid())).unwrap();
    let opener = RawText::new(exe.as_os_str().as_encoded_bytes());
    for event in of(&events, puppet.netns) {
        let Event::Opened(listener) = event else { continue };
        let programs =
            listener.holders.known().iter().map(|holder| holder.program.as_ref().unwrap().path.clone());
        assert_eq!(programs.collect::<Vec<_>>(), std::slice::from_ref(&opener), "{listener:?}");
    }
}
