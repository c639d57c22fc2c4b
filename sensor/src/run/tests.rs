use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use inventory::frame::{MAX_FRAME, Message, Tells, decode};
use inventory::{EventSource, Happening, Inventory, Listener, Scope, Share};

use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, recv, send, socketpair,
};

use super::*;
use crate::events::source::Source;
use crate::sys::bpf::put_key;
use crate::testing::{Puppet, Reader, alone, detach, loader_by, programs, sensor};

const NEVER: Duration = Duration::from_secs(3_600);
const AT_ONCE: Timing = Timing { interval: NEVER, reconcile: NEVER, events: None, again: false };

/// Steps until this is so, a bounded number of times.
fn step_until(run: &mut Run, mut enough: impl FnMut(&Run) -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !enough(run) && Instant::now() < end {
        assert_eq!(run.step().unwrap(), Told::Whole);
    }
}

fn is_on(listener: &inventory::Listener, netns: u64, port: u16) -> bool {
    listener.id.netns == inventory::NetNsId::Cookie(netns) && listener.endpoint.port == port
}

fn happenings(passes: &[(inventory::frame::Pass, Inventory)], netns: u64) -> Vec<String> {
    let all = passes.iter().flat_map(|(pass, _)| &pass.happened);
    let of_it = all.filter(|happening| happening.id().netns == inventory::NetNsId::Cookie(netns));
    let told = |happening: &Happening| match happening {
        Happening::Opened(listener) => format!("+ {}", listener.endpoint),
        Happening::Changed { after, .. } => format!("~ {}", after.endpoint),
        Happening::Closed { listener, .. } => format!("- {}", listener.endpoint),
    };
    of_it.map(told).collect()
}

fn with_bpf(test: &str) -> Option<(Source, Sensor)> {
    let (source, files) = Source::of(programs(test)?).unwrap();
    let mut sensor = sensor();
    sensor.files = files;
    Some((source, sensor))
}

#[test]
fn what_opens_and_closes_is_told_without_a_look() {
    let _alone = alone();
    let Some((source, sensor)) = with_bpf("what_opens_and_closes_is_told_without_a_look") else { return };
    let mut puppet = Puppet::new();
    let (reader, output) = Reader::new();
    let mut run = Run::new(sensor, source, AT_ONCE, Output::Reader(output));
    run.begin().unwrap();
    let begun = reader.until(|_, _| true).pop().unwrap();
    assert_eq!(begun.0.tells, Tells::Everything);
    assert_eq!(begun.1.coverage.events, EventSource::Bpf);
    assert_eq!(begun.1.coverage.shares.events, Share { seen: 4, of: 4 });
    puppet.does("t = tcp(port=8080)");
    step_until(&mut run, |run| run.watcher.now.listeners.iter().any(|one| is_on(one, puppet.netns, 8080)));
    puppet.does("t.close(); s = tcp(port=8081); s.close()");
    step_until(&mut run, |run| !run.watcher.now.listeners.iter().any(|one| is_on(one, puppet.netns, 8080)));
    let mut passes = reader.until(|_, now| {
        !now.listeners.iter().any(|one| is_on(one, puppet.netns, 8080)) && {
            run.step().unwrap();
            true
        }
    });
    step_until(&mut run, |_| {
        passes.extend(reader.came());
        happenings(&passes, puppet.netns).len() >= 3
    });
    let told = happenings(&passes, puppet.netns);
    // Its opening may have come with the first wait.
    let told: Vec<_> = told.iter().map(String::as_str).collect();
    assert_eq!(
        told,
        ["+ tcp/0.0.0.0:8080", "- tcp/0.0.0.0:8080", "+ tcp/0.0.0.0:8081", "- tcp/0.0.0.0:8081"]
    );
}

#[test]
fn what_is_lost_is_counted_told_as_a_gap_and_looked_for() {
    let _alone = alone();
    let Some((source, sensor)) = with_bpf("what_is_lost_is_counted_told_as_a_gap_and_looked_for") else {
        return;
    };
    let mut puppet = Puppet::new();
    let (reader, output) = Reader::new();
    let mut run = Run::new(sensor, source, AT_ONCE, Output::Reader(output));
    run.begin().unwrap();
    puppet.does(
        "
for turn in range(10_000):
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        s.listen()
t = tcp(port=8080)",
    );
    step_until(&mut run, |run| run.lost > 0 && run.lost_since_look == 0);
    let lost = |now: &Inventory| {
        let gaps = now.coverage.gaps.iter().filter(|gap| gap.scope == Scope::Events);
        gaps.filter(|gap| gap.reason.escaped().contains("found no room")).count()
    };
    let passes = reader.until(|pass, now| pass.tells != Tells::Events && lost(now) == 1);
    let (pass, now) = passes.last().unwrap();
    assert!(pass.closing.lost > 0);
    assert_eq!(pass.closing.discrepancies, inventory::Discrepancies::default(), "what was lost explains it");
    assert!(now.listeners.iter().any(|one| is_on(one, puppet.netns, 8080)));
    // The next look is whole again.
    run.look().unwrap();
    reader.until(|pass, now| pass.tells != Tells::Events && lost(now) == 0);
}

/// One closes and another is on its way between two processes, and a look finds out before the events are taken.
#[test]
fn who_opened_what_nobody_holds_is_told_before_the_look_that_found_it() {
    let test = "who_opened_what_nobody_holds_is_told_before_the_look_that_found_it";
    let _alone = alone();
    let Some((source, sensor)) = with_bpf(test) else { return };
    let mut puppet = Puppet::new();
    let (reader, output) = Reader::new();
    let mut run = Run::new(sensor, source, AT_ONCE, Output::Reader(output));
    run.begin().unwrap();
    puppet.does("t = tcp(port=8080)");
    step_until(&mut run, |run| run.watcher.now.listeners.iter().any(|one| is_on(one, puppet.netns, 8080)));
    puppet.does("t.close(); s = tcp(port=8081); a, b = socket.socketpair()");
    puppet.does("socket.send_fds(a, [b'x'], [s.fileno()]); s.close()");
    assert_eq!(run.look().unwrap(), Told::Whole);
    let passes = reader.until(|pass, now| {
        pass.tells != Tells::Events && now.listeners.iter().any(|one| is_on(one, puppet.netns, 8081))
    });
    let told = happenings(&passes, puppet.netns);
    let told: Vec<_> = told.iter().map(String::as_str).filter(|told| !told.starts_with('~')).collect();
    assert_eq!(told, ["+ tcp/0.0.0.0:8080", "+ tcp/0.0.0.0:8081", "- tcp/0.0.0.0:8080"]);
    let (_, now) = passes.last().unwrap();
    let of_puppet = |now: &Inventory| {
        let own = now.listeners.iter().filter(|one| one.netns.id == inventory::NetNsId::Cookie(puppet.netns));
        own.map(|one| one.id).collect::<Vec<_>>()
    };
    assert_eq!(of_puppet(now), of_puppet(&run.watcher.now));
}

#[test]
fn an_iterator_that_fails_is_a_gap_and_what_opens_is_found_by_looks() {
    let test = "an_iterator_that_fails_is_a_gap_and_what_opens_is_found_by_looks";
    let _alone = alone();
    let Some((source, mut sensor)) = with_bpf(test) else { return };
    let mut puppet = Puppet::new();
    sensor.files = None;
    let (reader, output) = Reader::new();
    let mut run = Run::new(sensor, source, AT_ONCE, Output::Reader(output));
    run.begin().unwrap();
    let (_, begun) = reader.until(|_, _| true).pop().unwrap();
    let is_told = |gap: &inventory::Gap| gap.reason.escaped().contains("by looks alone");
    assert!(begun.coverage.gaps.iter().any(is_told), "{:?}", begun.coverage.gaps);
    // Nobody's holders are forgotten because they cannot be asked for.
    puppet.does("t = tcp(port=8080); child = descends(forever)");
    // It is looked for everywhere, but not again before a hundred times as long as a look takes.
    step_until(&mut run, |run| run.look_at.is_some());
    run.look().unwrap();
    let held = |run: &Run| {
        let listener = run.watcher.now.listeners.iter().find(|one| is_on(one, puppet.netns, 8080));
        listener.map(|listener| listener.holders.known().len())
    };
    assert_eq!(held(&run), Some(2));
}

#[test]
fn a_program_that_was_taken_off_ends_it() {
    let _alone = alone();
    let Some((source, sensor)) = with_bpf("a_program_that_was_taken_off_ends_it") else { return };
    let (_reader, output) = Reader::new();
    let mut run = Run::new(sensor, source, AT_ONCE, Output::Reader(output));
    run.begin().unwrap();
    let Teller::Bpf(attached) = &run.source.teller else { panic!() };
    detach(attached.of_cgroup().next().unwrap().1);
    // Not at the next look, which is far away.
    run.checked -= HEARTBEAT;
    let error = run.step().unwrap_err();
    assert!(matches!(&error, RunError::Blind(what) if what.contains("detached")), "{error}");
}

#[test]
fn what_is_gone_is_followed_no_more() {
    let _alone = alone();
    let Some((source, sensor)) = with_bpf("what_is_gone_is_followed_no_more") else { return };
    let mut puppet = Puppet::new();
    let kept = puppet.does("u = udp(port=5353); say(cookie(u))")[0];
    let (_reader, output) = Reader::new();
    let mut run = Run::new(sensor, source, AT_ONCE, Output::Reader(output));
    run.begin().unwrap();
    let (no_socket, no_process) = (u64::MAX, u32::MAX);
    let Teller::Bpf(attached) = &run.source.teller else { panic!() };
    put_key(attached.waiting.as_fd(), &no_socket.to_ne_bytes()).unwrap();
    put_key(attached.holders.as_fd(), &no_process.to_ne_bytes()).unwrap();
    let followed = |run: &Run| {
        let followed = run.followed().unwrap();
        let of_puppet = followed.has_process(puppet.pid());
        (
            followed.has_socket(no_socket),
            followed.has_process(no_process),
            followed.has_socket(kept),
            of_puppet,
        )
    };
    // In a pid namespace of our own the programs count otherwise.
    let (.., counts_alike) = followed(&run);
    assert_eq!(followed(&run), (true, true, true, counts_alike));
    run.look().unwrap();
    assert_eq!(followed(&run), (false, false, true, counts_alike));
}

#[test]
fn nobody_who_reads_ends_it() {
    let (reader, output) = Reader::new();
    let mut run = Run::new(sensor(), Source::none(), AT_ONCE, Output::Reader(output));
    run.begin().unwrap();
    reader.until(|_, _| true);
    drop(reader);
    // The reader's thread ends with the first pass that nobody wants, when it gets to it.
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        run.told -= HEARTBEAT;
        if run.look().unwrap() == Told::NobodyReads || run.step().unwrap() == Told::NobodyReads {
            break;
        }
        assert!(Instant::now() < end, "it goes on for nobody");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn is_held_by(listener: &Listener, pid: u32) -> bool {
    listener.holders.known().iter().map(|holder| holder.id.pid).eq([pid])
}

#[test]
fn without_btf_a_short_listener_is_told_by_perf() {
    let test = "without_btf_a_short_listener_is_told_by_perf";
    let _alone = alone();
    let (source, files) = Source::find(without_btf);
    if source.word() != EventSource::Perf {
        eprintln!("SKIP {test}: {:?}", source.gaps());
        return;
    }
    assert!(files.is_none());
    let mut puppet = Puppet::new();
    let (reader, output) = Reader::new();
    let timing = Timing { interval: Duration::from_secs(1), ..AT_ONCE };
    let mut run = Run::new(sensor(), source, timing, Output::Reader(output));
    run.begin().unwrap();
    let (_, begun) = reader.until(|_, _| true).pop().unwrap();
    assert_eq!(begun.coverage.shares.events, Share { seen: 0, of: 4 });
    let gap = begun.coverage.gaps.iter().find(|gap| gap.scope == Scope::Events).unwrap();
    assert!(gap.reason.escaped().contains("/sys/kernel/btf/vmlinux"), "{gap:?}");
    let said = puppet.does("s = tcp('127.0.0.1', 0); identity(s); time.sleep(0.003); s.close()");
    let port = u16::try_from(said[2]).unwrap();
    let (mut opened, mut closed) = (0, 0);
    let pid = puppet.pid();
    step_until(&mut run, |_| {
        for (pass, _) in reader.came() {
            for happening in &pass.happened {
                match happening {
                    // Ports of other namespaces are told as well.
                    Happening::Opened(one) if one.endpoint.port == port && is_held_by(one, pid) => {
                        assert!(one.holders.known()[0].program.is_some(), "it is there still");
                        opened += 1;
                    }
                    Happening::Closed { listener, .. }
                        if listener.endpoint.port == port && is_held_by(listener, pid) =>
                    {
                        closed += 1;
                    }
                    _ => {}
                }
            }
        }
        closed > 0
    });
    assert_eq!((opened, closed), (1, 1));
    // What stays is found by the look that it calls for.
    puppet.does("t = tcp(port=8080)");
    step_until(&mut run, |run| run.watcher.now.listeners.iter().any(|one| is_on(one, puppet.netns, 8080)));
    puppet.does("u = udp(port=8081)");
    step_until(&mut run, |run| run.watcher.now.listeners.iter().any(|one| is_on(one, puppet.netns, 8081)));
    assert!(run.watcher.now.listeners.iter().any(|one| is_on(one, puppet.netns, 8081)), "by polls");
}

fn without_btf(wanted: crate::Wanted) -> std::process::Command {
    loader_by(
        "
test \"$UNSHARED\" || UNSHARED=1 exec unshare --mount sh -c '
    empty=$(mktemp) && mount --bind \"$empty\" /sys/kernel/btf/vmlinux; rm -f \"$empty\"
    exec \"$@\" 3>&1 >/dev/null' sh \"$@\"",
        wanted,
    )
}

/// As the service manager makes it.
fn socket_for_readers(folder: &std::path::Path) -> (std::path::PathBuf, Readers) {
    let path = folder.join("sensor.sock");
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&socket, 8).unwrap();
    (path, Readers::of(socket).unwrap())
}

fn connected(path: &std::path::Path) -> std::os::fd::OwnedFd {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    socket
}

/// The messages that wait there.
fn heard(socket: &std::os::fd::OwnedFd) -> Vec<Message> {
    let mut frame = vec![0; MAX_FRAME];
    let mut messages = Vec::new();
    while let Ok((length, _)) = recv(socket, &mut frame[..], RecvFlags::DONTWAIT) {
        if length == 0 {
            break;
        }
        messages.extend(decode(&frame[..length]).unwrap().map(Result::unwrap));
    }
    messages
}

#[test]
fn each_reader_is_told_everything_and_none_is_heard() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (path, readers) = socket_for_readers(folder.path());
    let mut run = Run::new(sensor(), Source::none(), AT_ONCE, Output::Readers(readers));
    run.begin().unwrap();
    assert_eq!(run.tell(&[]).unwrap(), Told::Whole, "nobody is there to be told");
    for _ in 0..2 {
        let (first, waits) = (connected(&path), connected(&path));
        assert_eq!(run.step().unwrap(), Told::Whole);
        let told = heard(&first);
        let whole = |message: &Message| matches!(message, Message::Begin { tells: Tells::Everything, .. });
        assert!(whole(&told[0]) && matches!(told.last(), Some(Message::End { .. })), "{told:?}");
        assert_eq!(send(&first, b"a word", SendFlags::NOSIGNAL), Err(Errno::PIPE), "it is not even kept");
        assert_eq!(heard(&waits), [], "one at a time");
        drop(first);
        assert_eq!(run.step().unwrap(), Told::NobodyReads);
        assert_eq!(run.step().unwrap(), Told::Whole);
        assert!(whole(&heard(&waits)[0]), "and the next when that one is gone");
        drop(waits);
        assert_eq!(run.step().unwrap(), Told::NobodyReads);
    }
}

/// It takes nothing, so the socket is full; what is seen is seen all the same.
#[test]
fn a_reader_that_takes_nothing_stops_nothing() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (path, readers) = socket_for_readers(folder.path());
    let mut run = Run::new(sensor(), Source::none(), AT_ONCE, Output::Readers(readers));
    run.begin().unwrap();
    let reader = connected(&path);
    assert_eq!(run.step().unwrap(), Told::Whole);
    let full = Instant::now() + Duration::from_secs(20);
    while run.telling.look(None, &run.watcher.now, Closing::default()).unwrap() == Told::Whole {
        assert!(Instant::now() < full, "it is never full");
    }
    let mut puppet = Puppet::new();
    puppet.does("t = tcp(port=8080)");
    run.look().unwrap();
    assert!(run.watcher.now.listeners.iter().any(|one| is_on(one, puppet.netns, 8080)));
    puppet.does("t.close()");
    run.look().unwrap();
    assert!(!run.watcher.now.listeners.iter().any(|one| is_on(one, puppet.netns, 8080)));
    drop(reader);
}

#[test]
fn only_whom_the_socket_belongs_to_may_read() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut readers) = socket_for_readers(folder.path());
    (readers.owner, readers.group) = (7, 8);
    let may = |readers: &Readers, uid, gid| readers.may_read(uid, gid);
    assert!(may(&readers, 0, 99) && may(&readers, 7, 99) && may(&readers, 99, 8));
    assert!(!may(&readers, 99, 99) && !may(&readers, 8, 7));
    (readers.owner, readers.group) = (0, 0);
    assert!(!may(&readers, 99, 0), "root's group is no exporter's");
}

#[test]
fn strangers_are_warned_of_now_and_then_and_counted_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let (_, readers) = socket_for_readers(folder.path());
    let (ours, _theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let peer = socket_peercred(&ours).unwrap();
    (0..5).for_each(|_| readers.warn_of_stranger(&peer));
    assert_eq!(readers.strangers.get().1, 4);
}
