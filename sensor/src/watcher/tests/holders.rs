use std::time::{Duration, Instant};

use inventory::{Event, Holders, PortChoice, RawText, Unattributed};

use super::{is_closed, opened, pids, told};
use crate::testing::{Following, Puppet};
use crate::watcher::Due;

fn two(one: u32, other: u64) -> Vec<u32> {
    let mut pids = vec![one, u32::try_from(other).unwrap()];
    pids.sort_unstable();
    pids
}

/// Listens on a port and has been told.
fn listening(following: &mut Following, puppet: &mut Puppet) -> u64 {
    let said = puppet.does("s = tcp(port=8080); identity(s)");
    following.until(|events, _| opened(events, said[0]).is_some());
    if following.lost > 0 {
        following.look();
    }
    assert_eq!(pids(following.knows(said[0]).expect("told")), [puppet.pid()]);
    said[0]
}

fn until_held_by(following: &mut Following, cookie: u64, expected: &[u32]) {
    following.until(|_, watcher| {
        let known = watcher.now.listeners.iter().find(|listener| listener.id.cookie == cookie);
        known.is_some_and(|listener| pids(listener) == expected)
    });
    assert_eq!(following.knows(cookie).map(pids), Some(expected.to_vec()));
}

#[test]
fn a_child_holds_what_its_parent_held_until_one_of_them_ends() {
    let Some(mut following) = Following::begin("a_child_holds_what_its_parent_held_until_one_of_them_ends")
    else {
        return;
    };
    let mut puppet = Puppet::new();
    let cookie = listening(&mut following, &mut puppet);
    let child = puppet.does("child = descends(forever); say(child)")[0];
    until_held_by(&mut following, cookie, &two(puppet.pid(), child));
    following.look();
    assert_eq!(pids(following.knows(cookie).unwrap()), two(puppet.pid(), child));
    puppet.does("os.kill(child, 9); os.waitpid(child, 0)");
    until_held_by(&mut following, cookie, &[puppet.pid()]);
}

#[test]
fn a_child_that_ends_holds_on_for_its_own_children() {
    let Some(mut following) = Following::begin("a_child_that_ends_holds_on_for_its_own_children") else {
        return;
    };
    let mut puppet = Puppet::new();
    let cookie = listening(&mut following, &mut puppet);
    let said = puppet.does(
        "
r, w = os.pipe()
def middle():
    grandchild = os.fork()
    if grandchild == 0: forever()
    os.write(w, str(grandchild).encode())
os.waitpid(descends(middle), 0)
grandchild = int(os.read(r, 20))
say(grandchild)",
    );
    until_held_by(&mut following, cookie, &two(puppet.pid(), said[0]));
    puppet.does("os.kill(grandchild, 9)");
    until_held_by(&mut following, cookie, &[puppet.pid()]);
}

#[test]
fn who_executes_another_program_is_described_anew() {
    let Some(mut following) = Following::begin("who_executes_another_program_is_described_anew") else {
        return;
    };
    let mut puppet = Puppet::new();
    let cookie = listening(&mut following, &mut puppet);
    let child = puppet.does(
        "
os.set_inheritable(s.fileno(), True)
r, w = os.pipe()
child = descends(lambda: (os.read(r, 1), os.execv('/bin/sleep', ['sleep', '60'])))
say(child)",
    )[0];
    until_held_by(&mut following, cookie, &two(puppet.pid(), child));
    // As if it had begun long ago.
    following.watcher.due = Due::default();
    puppet.does("os.write(w, b'.')");
    let name = |following: &Following| {
        let holders = &following.knows(cookie).unwrap().holders;
        let holder = holders.known().iter().find(|holder| u64::from(holder.id.pid) == child).cloned();
        holder
            .map(|holder| (holder.name.clone(), holder.program.as_ref().map(|program| program.path.clone())))
    };
    let end = Instant::now() + Duration::from_secs(60);
    while name(&following).is_none_or(|(name, _)| name != RawText::from("sleep")) && Instant::now() < end {
        following.during(Duration::from_millis(20));
    }
    let path = std::fs::canonicalize("/bin/sleep").unwrap();
    let path = RawText::new(path.as_os_str().as_encoded_bytes());
    assert_eq!(name(&following), Some((RawText::from("sleep"), Some(path))));
    puppet.does("os.kill(child, 9); os.waitpid(child, 0)");
    until_held_by(&mut following, cookie, &[puppet.pid()]);
}

#[test]
fn who_has_just_begun_is_described_again_a_moment_later() {
    let Some(mut following) = Following::begin("who_has_just_begun_is_described_again_a_moment_later") else {
        return;
    };
    let mut puppet = Puppet::new();
    let cookie = listening(&mut following, &mut puppet);
    puppet.does("libc.prctl(15, b'settled')");
    let name = |listener: &inventory::Listener| listener.holders.known()[0].name.clone();
    following.until(|_, watcher| {
        let known = watcher.now.listeners.iter().find(|listener| listener.id.cookie == cookie);
        known.is_some_and(|listener| name(listener) == RawText::from("settled"))
    });
    assert_eq!(following.knows(cookie).map(name), Some(RawText::from("settled")));
}

#[test]
fn what_one_drops_and_another_keeps_is_right_after_a_look_that_counts_it() {
    let test = "what_one_drops_and_another_keeps_is_right_after_a_look_that_counts_it";
    let Some(mut following) = Following::begin(test) else { return };
    let mut puppet = Puppet::new();
    let cookie = listening(&mut following, &mut puppet);
    let child = puppet.does("child = descends(forever); say(child)")[0];
    until_held_by(&mut following, cookie, &two(puppet.pid(), child));
    // As if long ago: neither is looked at for its own sake.
    following.watcher.due = Due::default();
    puppet.does("os.close(s.fileno())");
    following.during(Duration::from_millis(50));
    let reconciled = following.look();
    let child = u32::try_from(child).unwrap();
    assert_eq!(following.knows(cookie).map(pids), Some(vec![child]));
    assert!(reconciled.discrepancies.altered >= 1, "{:?}", reconciled.discrepancies);
    puppet.does("os.kill(child, 9); os.waitpid(child, 0); s.detach()");
    assert!(is_closed(&following.until(|events, _| is_closed(events, cookie)), cookie));
}

#[test]
fn whoever_is_sent_a_socket_holds_it_after_a_look() {
    let Some(mut following) = Following::begin("whoever_is_sent_a_socket_holds_it_after_a_look") else {
        return;
    };
    let mut puppet = Puppet::new();
    puppet.does(
        "
here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
back, forth = os.pipe()
def receive():
    message, fds, flags, address = socket.recv_fds(there, 1, 1)
    os.write(forth, b'.')
    forever()
child = descends(receive)",
    );
    let child = puppet.does("say(child)")[0];
    let cookie = listening(&mut following, &mut puppet);
    puppet.does("socket.send_fds(here, [b'x'], [s.fileno()]); os.read(back, 1)");
    following.look();
    assert_eq!(following.knows(cookie).map(pids), Some(two(puppet.pid(), child)));
    puppet.does("os.close(s.detach())");
    following.look();
    assert_eq!(following.knows(cookie).map(pids), Some(vec![u32::try_from(child).unwrap()]));
    puppet.does("os.kill(child, 9); os.waitpid(child, 0)");
    assert!(is_closed(&following.until(|events, _| is_closed(events, cookie)), cookie));
}

#[test]
fn a_socket_on_its_way_from_the_first_is_told_and_says_so() {
    let Some(mut following) = Following::begin("a_socket_on_its_way_from_the_first_is_told_and_says_so")
    else {
        return;
    };
    let mut puppet = Puppet::new();
    let said = puppet.does(
        "
here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
s = tcp(port=8080)
socket.send_fds(here, [b'x'], [s.fileno()])
identity(s)
s.close()",
    );
    let key = (puppet.netns, said[0]);
    following.until(|_, watcher| watcher.unfound.contains_key(&key));
    assert!(following.watcher.unfound.contains_key(&key) && following.watcher.wants_look());
    let reconciled = following.look();
    assert_eq!(told(&reconciled.passed, puppet.netns), [""; 0], "it is there");
    let named = opened(&reconciled.opened, said[0]).expect("told before the look, with who opened it");
    assert_eq!((pids(named), &named.port_choice), (vec![puppet.pid()], &PortChoice::Explicit));
    assert!(reconciled.before.listeners.iter().any(|known| **known == *named));
    let listener = following.knows(said[0]).expect("seen by the look");
    // Where not all processes can be looked at, one of them may have it.
    let reasons = [Unattributed::InFlight, Unattributed::Denied].map(Holders::Unattributed);
    assert!(reasons.contains(&listener.holders), "{:?}", listener.holders);
    puppet.does("here.close(); there.close()");
    assert!(is_closed(&following.until(|events, _| is_closed(events, said[0])), said[0]));
}

#[test]
fn a_pid_that_comes_again_is_another_process() {
    let Some(mut following) = Following::begin("a_pid_that_comes_again_is_another_process") else { return };
    let mut puppet = Puppet::here();
    let said = puppet.does(
        "
def with_pid(pid, work):
    for turn in range(200):
        with open('/proc/sys/kernel/ns_last_pid', 'w') as last: last.write(str(pid - 1))
        child = descends(work)
        if child == pid: return True
        os.kill(child, 9)
        os.waitpid(child, 0)
    return False
r, w = os.pipe()
def one(port, name):
    libc.prctl(15, name)
    libc.unshare(0x40000000)
    s = tcp(port=port)
    os.write(w, f'{cookie(s)} '.encode())
    forever()
try:
    first = descends(lambda: one(8081, b'first'))
    a = os.read(r, 50)
    os.kill(first, 9); os.waitpid(first, 0)
    time.sleep(0.03) # what begins in one tick of the clock with the same pid is the same to /proc
    again = with_pid(first, lambda: one(8082, b'second'))
    b = os.read(r, 50) if again else b'0'
    say(first, int(a), int(b), 1 if again else 0)
except OSError as error:
    print(error, file=sys.stderr)
    say(0, 0, 0, 0)",
    );
    let [pid, one, other, 1] = said[..] else {
        eprintln!("SKIP a_pid_that_comes_again_is_another_process: no pid can be had again");
        return;
    };
    let events = following.until(|events, _| is_closed(events, one) && opened(events, other).is_some());
    let holder = |cookie| opened(&events, cookie).unwrap().holders.known()[0].clone();
    let (first, second) = (holder(one), holder(other));
    assert_eq!((u64::from(first.id.pid), u64::from(second.id.pid)), (pid, pid));
    assert_ne!(first.id, second.id);
    assert_eq!((first.name.escaped(), second.name.escaped()), ("first".to_owned(), "second".to_owned()));
}

#[test]
fn what_its_holder_closes_is_closed_and_never_left_to_nobody() {
    let test = "what_its_holder_closes_is_closed_and_never_left_to_nobody";
    let Some(mut following) = Following::begin(test) else { return };
    let mut puppet = Puppet::new();
    let cookie = listening(&mut following, &mut puppet);
    let known = following.knows(cookie).unwrap().clone();
    // It is read between the close and the news of it, which wait in the ring.
    following.be_deaf();
    puppet.does("s.close()");
    following.watcher.due.opened(puppet.pid(), Instant::now() - Duration::from_secs(60));
    let events = following.watcher.catch_up();
    assert_eq!(told(&events, puppet.netns), [""; 0]);
    assert_eq!(following.knows(cookie), Some(&known));
    std::thread::sleep(Duration::from_millis(30));
    let events = following.watcher.catch_up();
    let left = |event: &Event| matches!(event, Event::Changed(one) if one.id.cookie == cookie && one.holders.known().is_empty());
    assert!(events.iter().any(left), "no end is told of it: {events:?}");
}

#[test]
fn a_namespace_that_only_a_socket_on_its_way_keeps_is_not_forgotten() {
    let test = "a_namespace_that_only_a_socket_on_its_way_keeps_is_not_forgotten";
    let Some(mut following) = Following::begin(test) else { return };
    let mut puppet = Puppet::new();
    let cookie = puppet.does(
        "
at = os.open('/proc/self/ns/net', os.O_RDONLY)
here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
libc.unshare(0x40000000)
s = tcp(port=8080)
libc.setns(at, 0)
identity(s)",
    )[0];
    following.until(|events, _| opened(events, cookie).is_some());
    puppet.does("socket.send_fds(here, [b'x'], [s.fileno()]); s.close()");
    following.look();
    if following.is_drowned(test) {
        return;
    }
    assert!(following.knows(cookie).is_some(), "no end was told");
    let gaps = &following.watcher.now.coverage.gaps;
    assert!(gaps.iter().any(|gap| gap.reason.escaped().contains("told as they were")), "{gaps:?}");
    puppet.does("here.close(); there.close()");
    assert!(is_closed(&following.until(|events, _| is_closed(events, cookie)), cookie));
}
