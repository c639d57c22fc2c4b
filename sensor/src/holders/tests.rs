use std::collections::HashSet;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::{fs, io};

use inventory::{Holders, RawText, Unattributed};

use super::walk::{Hold, Via, Walk};
use super::{Memory, Place, Sightings};
use crate::process::Unreadable;
use crate::testing::{Actor, Host, PRELUDE, is_root, real};

fn memory() -> Memory {
    let (proc, describer) = real();
    Memory::new(proc, describer, 1)
}

fn inode_of(listener: &TcpListener) -> u64 {
    fs::metadata(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(listener))).unwrap().ino()
}

/// The pids of who holds it, once this memory has looked again.
fn holders(memory: &mut Memory, inode: u64) -> Vec<u32> {
    let attribution = memory.attribute(&[inode], &mut ());
    attribution.holders(inode).known().iter().map(|holder| holder.id.pid).collect()
}

fn run(script: &str) -> (Actor, Vec<u64>) {
    Actor::python(&format!("{PRELUDE}{script}"))
}

fn walk(pid: u32, inode: u64) -> Vec<Hold> {
    let (proc, _) = real();
    let process = proc.process(pid).unwrap();
    Walk::new(&proc).process(&process, &HashSet::from([inode]), &mut ()).unwrap().holds
}

#[test]
fn finds_its_own_listener_and_lets_go_of_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let inode = inode_of(&listener);
    let mut memory = memory();
    assert_eq!(holders(&mut memory, inode), [std::process::id()]);
    let copy = listener.try_clone().unwrap();
    drop(listener);
    assert_eq!(holders(&mut memory, inode), [std::process::id()], "by the duplicated descriptor");
    drop(copy);
    assert_eq!(holders(&mut memory, inode), [0_u32; 0]);
}

#[test]
fn finds_a_listener_that_is_new_with_a_holder_that_is_new() {
    let mut memory = memory();
    memory.attribute(&[], &mut ());
    let (actor, said) = run("s, i = listener(); say(i); forever()");
    assert_eq!(holders(&mut memory, said[0]), [actor.pid()]);
    actor.end();
    assert_eq!(holders(&mut memory, said[0]), [0_u32; 0]);
}

#[test]
fn finds_a_listener_that_is_new_with_a_holder_that_is_old() {
    let mut memory = memory();
    let (mut actor, _) = run("say(0); sys.stdin.readline(); s, i = listener(); say(i); forever()");
    memory.attribute(&[], &mut ());
    io::Write::write_all(actor.child.stdin.as_mut().unwrap(), b"\n").unwrap();
    let inode = actor.says()[0];
    assert_eq!(holders(&mut memory, inode), [actor.pid()]);
}

#[test]
fn finds_every_process_that_shares_a_socket() {
    let (actor, said) = run("
s, i = listener()
child = fork()
if child == 0: forever()
say(i, child)
forever()");
    let child = u32::try_from(said[1]).unwrap();
    let mut memory = memory();
    assert_eq!(holders(&mut memory, said[0]), sorted([actor.pid(), child]));
}

#[test]
fn finds_a_child_forked_since() {
    let (mut actor, said) = run("
s, i = listener()
say(i)
sys.stdin.readline()
child = fork()
if child == 0: forever()
say(child)
forever()");
    let mut memory = memory();
    assert_eq!(holders(&mut memory, said[0]), [actor.pid()]);
    io::Write::write_all(actor.child.stdin.as_mut().unwrap(), b"\n").unwrap();
    let child = u32::try_from(actor.says()[0]).unwrap();
    assert_eq!(holders(&mut memory, said[0]), sorted([actor.pid(), child]));
}

#[test]
fn finds_who_was_sent_a_socket_and_says_when_it_is_still_on_its_way() {
    let (mut actor, said) = run("
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
child = fork()
if child == 0:
    a.close()
    sys.stdin.readline()
    m, fds, f, x = socket.recv_fds(b, 1, 1)
    say(0)
    forever()
s, i = listener()
socket.send_fds(a, [b'x'], [s.fileno()])
s.close()
say(i, child)
forever()");
    let (inode, child) = (said[0], u32::try_from(said[1]).unwrap());
    let on_its_way = memory().attribute(&[inode], &mut ());
    // In some sandboxes not even root may look at the first process.
    let saw_all = on_its_way.share.seen == on_its_way.share.of;
    let expected = if saw_all { Unattributed::InFlight } else { Unattributed::Denied };
    assert_eq!(on_its_way.holders(inode), Holders::Unattributed(expected), "{:?}", on_its_way.gaps);
    io::Write::write_all(actor.child.stdin.as_mut().unwrap(), b"\n").unwrap();
    actor.says();
    assert_eq!(holders(&mut memory(), inode), [child]);
}

#[test]
fn finds_what_a_thread_holds_in_a_table_of_its_own() {
    let (actor, said) = run("
def own():
    libc.unshare(0x400)
    s, i = listener()
    say(i, threading.get_native_id())
    forever()
threading.Thread(target=own).start()
threading.Thread(target=forever).start()
forever()");
    let (inode, tid) = (said[0], u32::try_from(said[1]).unwrap());
    let found = walk(actor.pid(), inode);
    assert_eq!(found.iter().map(|hold| hold.tid).collect::<Vec<_>>(), [Some(tid)]);
    let mut memory = memory();
    assert_eq!(holders(&mut memory, inode), [actor.pid()]);
    assert_eq!(holders(&mut memory, inode), [actor.pid()], "when verified");
}

#[test]
fn finds_what_the_threads_hold_after_the_first_has_exited() {
    let (actor, said) = run("
def rest():
    time.sleep(0.2)
    say(i)
    forever()
s, i = listener()
threading.Thread(target=rest).start()
libc.syscall(60, 0)");
    let mut memory = memory();
    assert_eq!(holders(&mut memory, said[0]), [actor.pid()]);
    assert_eq!(holders(&mut memory, said[0]), [actor.pid()], "when verified");
}

#[test]
fn finds_what_an_io_uring_alone_holds() {
    let (actor, said) = run("
ring = libc.syscall(425, 8, ctypes.create_string_buffer(120))
s, i = listener()
files = (ctypes.c_int * 1)(s.fileno())
done = libc.syscall(427, ring, 2, files, 1) if ring >= 0 else -1
s.close()
say(i, 1 if done == 0 else 0)
forever()");
    if said[1] == 0 {
        eprintln!(
            "SKIP finds_what_an_io_uring_alone_holds: the kernel refuses io_uring_setup(2) or io_uring_register(2)"
        );
        return;
    }
    let found = walk(actor.pid(), said[0]);
    assert_eq!(found.iter().map(|hold| hold.via).collect::<Vec<_>>(), [Via::Ring]);
    let mut memory = memory();
    assert_eq!(holders(&mut memory, said[0]), [actor.pid()]);
    assert_eq!(holders(&mut memory, said[0]), [actor.pid()], "when verified");
}

#[test]
fn describes_anew_what_executes_another_program_or_becomes_another_user() {
    if !is_root("describes_anew_what_executes_another_program_or_becomes_another_user") {
        return;
    }
    let (mut actor, said) = run("
s, i = listener()
os.set_inheritable(s.fileno(), True)
say(i)
sys.stdin.readline()
os.setuid(65534)
say(0)
sys.stdin.readline()
os.execv('/bin/sleep', ['sleep', '60'])");
    let mut memory = memory();
    let look = |memory: &mut Memory| {
        let holders = memory.attribute(&[said[0]], &mut ()).holders(said[0]);
        let holder = holders.known()[0].clone();
        (holder.id, holder.uid, holder.name.escaped())
    };
    let first = look(&mut memory);
    assert_eq!(first.1, 0);
    io::Write::write_all(actor.child.stdin.as_mut().unwrap(), b"\n").unwrap();
    actor.says();
    assert_eq!(look(&mut memory), (first.0, 65534, first.2));
    io::Write::write_all(actor.child.stdin.as_mut().unwrap(), b"\n").unwrap();
    let name = || fs::read_to_string(format!("/proc/{}/comm", actor.pid())).unwrap();
    while name() != "sleep\n" {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(look(&mut memory), (first.0, 65534, "sleep".to_owned()));
}

#[test]
fn says_whom_it_could_not_look_at() {
    const INODE: &str = "PORTLEDGER_TEST_INODE";
    let this = "holders::tests::says_whom_it_could_not_look_at";
    if let Ok(inode) = std::env::var(INODE) {
        let inode = inode.parse().unwrap();
        let attribution = memory().attribute(&[inode], &mut ());
        assert_eq!(attribution.holders(inode), Holders::Unattributed(Unattributed::Denied));
        assert!(attribution.share.seen < attribution.share.of, "{:?}", attribution.share);
        let reasons: Vec<String> = attribution.gaps.iter().map(|gap| gap.reason.escaped()).collect();
        assert!(reasons[0].contains("CAP_SYS_PTRACE"), "{reasons:?}");
        return;
    }
    if !is_root(this) {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("tests");
    crate::testing::copy(std::env::current_exe().unwrap(), &copy);
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let status = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&copy)
        .args(["--exact", this])
        .env(INODE, inode_of(&listener).to_string())
        .current_dir("/")
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn reads_a_proc_in_a_folder_with_names_that_lie() {
    let host = Host::new();
    host.process(7, 1, b"a\",pid=1,fd=9))", &["/dev/null", "socket:[100]", "socket:[100]"]);
    host.process(8, 7, b"x) R 1\n\xff", &["socket:[100]", "socket:[200] (deleted)", "socket:[0200]x"]);
    host.process(9, 8, b"", &["anon_inode:[eventpoll]"]);
    let (proc, describer) = host.open();
    let mut memory = Memory::new(proc, describer, 1);
    let attribution = memory.attribute(&[0, 100, 200], &mut ());
    let holders = attribution.holders(100);
    let [first, second] = holders.known() else { panic!("{holders:?}") };
    assert_eq!((first.id.pid, first.id.start_ticks), (7, 700));
    assert_eq!(first.name, RawText::from("a\",pid=1,fd=9))"));
    assert_eq!((second.id.pid, second.id.start_ticks), (8, 800));
    assert_eq!(second.name, RawText::new(&b"x) R 1\n\xff"[..]));
    assert_eq!(second.parents.iter().map(|parent| parent.pid).collect::<Vec<_>>(), [7]);
    assert_eq!(attribution.holders(0), Holders::Unattributed(Unattributed::Kernel));
    assert_eq!(attribution.holders(200), Holders::Unattributed(Unattributed::InFlight));
    assert_eq!(attribution.holders(300), Holders::Unattributed(Unattributed::Unknown));
    assert_eq!((attribution.share.seen, attribution.share.of), (3, 3));
    assert_eq!(attribution.gaps, []);
}

#[test]
fn forgets_a_process_whose_pid_went_to_another() {
    let host = Host::new();
    host.process(7, 1, b"old", &["socket:[100]"]);
    let (proc, describer) = host.open();
    let mut memory = Memory::new(proc, describer, 1);
    assert_eq!(holders(&mut memory, 100), [7]);
    fs::rename(host.path("proc/7"), host.path("gone")).unwrap();
    host.process(7, 1, b"new", &["/dev/null", "socket:[100]"]);
    let attribution = memory.attribute(&[100], &mut ());
    assert_eq!(attribution.holders(100).known()[0].name, RawText::from("new"));
    fs::rename(host.path("proc/7"), host.path("gone too")).unwrap();
    host.process(7, 1, b"third", &[]);
    assert_eq!(holders(&mut memory, 100), [0_u32; 0]);
}

#[test]
fn tells_a_process_that_cannot_be_read_from_one_that_holds_nothing() {
    let host = Host::new();
    host.process(7, 1, b"odd", &[]);
    fs::remove_dir(host.path("proc/7/fd")).unwrap();
    host.write("proc/7/fd", b"no folder");
    let (proc, describer) = host.open();
    let attribution = Memory::new(proc, describer, 1).attribute(&[100], &mut ());
    assert_eq!(attribution.holders(100), Holders::Unattributed(Unattributed::Denied));
    assert_eq!((attribution.share.seen, attribution.share.of), (0, 1));
    assert!(attribution.gaps[0].reason.escaped().contains("7: fd:"), "{:?}", attribution.gaps);
}

#[test]
fn tells_that_there_is_no_list_of_processes() {
    let host = Host::new();
    let (proc, describer) = host.open();
    let mut memory = Memory::new(proc, describer, 1);
    fs::rename(host.path("proc"), host.path("gone")).unwrap();
    fs::remove_dir_all(host.path("gone")).unwrap();
    let attribution = memory.attribute(&[100], &mut ());
    assert_eq!(attribution.holders(100), Holders::Unattributed(Unattributed::Denied));
    assert_eq!((attribution.share.seen, attribution.share.of), (0, 1));
}

#[derive(Default)]
struct Notes {
    sockets: Vec<(Place, u64)>,
    namespaces: Vec<(Place, u64)>,
}

impl Sightings for Notes {
    fn another(&self) -> Self {
        Notes::default()
    }

    fn join(&mut self, other: Self) {
        self.sockets.extend(other.sockets);
        self.namespaces.extend(other.namespaces);
    }

    fn other_socket(&mut self, place: Place, inode: u64) {
        self.sockets.push((place, inode));
    }

    fn namespace(&mut self, place: Place, inode: u64) {
        self.namespaces.push((place, inode));
    }
}

#[test]
fn tells_of_what_it_passes_by() {
    let host = Host::new();
    host.process(7, 1, b"a", &["socket:[100]", "socket:[200]", "net:[4026531833]", "pipe:[1]"]);
    let (proc, describer) = host.open();
    let mut notes = Notes::default();
    Memory::new(proc, describer, 1).attribute(&[100], &mut notes);
    let at = |fd| Place { pid: 7, tid: None, fd };
    assert_eq!((notes.sockets, notes.namespaces), (vec![(at(1), 200)], vec![(at(2), 4_026_531_833)]));
}

#[test]
fn answers_for_nobody_once_the_process_has_ended() {
    let (actor, said) = run("s, i = listener(); say(i); forever()");
    let (proc, _) = real();
    let process = proc.process(actor.pid()).unwrap();
    actor.end();
    let found = Walk::new(&proc).process(&process, &HashSet::from([said[0]]), &mut ());
    assert_eq!(found, Err(Unreadable::Gone));
}

/// Ends a process while it is being walked.
struct Killer(Option<Actor>);

impl Sightings for Killer {
    fn another(&self) -> Self {
        Killer(None)
    }

    fn join(&mut self, _other: Self) {}

    fn other_socket(&mut self, _place: Place, _inode: u64) {
        self.0.take().into_iter().for_each(Actor::end);
    }
}

#[test]
fn takes_a_process_that_ends_while_it_is_read_for_gone_and_not_for_refused() {
    let (actor, said) = run("kept = [listener() for _ in range(9)]; say(kept[8][1]); forever()");
    let (proc, _) = real();
    let process = proc.process(actor.pid()).unwrap();
    let found = Walk::new(&proc).process(&process, &HashSet::from([said[0]]), &mut Killer(Some(actor)));
    assert_eq!(found, Err(Unreadable::Gone));
}

#[test]
fn follows_a_socket_to_another_descriptor_of_one_of_its_holders() {
    let host = Host::new();
    host.process(7, 1, b"a", &["socket:[100]"]);
    host.process(8, 1, b"b", &["socket:[100]"]);
    let (proc, describer) = host.open();
    let mut memory = Memory::new(proc, describer, 1);
    assert_eq!(holders(&mut memory, 100), [7, 8]);
    fs::rename(host.path("proc/7/fd/0"), host.path("proc/7/fd/5")).unwrap();
    assert_eq!(holders(&mut memory, 100), [7, 8]);
}

/// Its program is gone before its sockets are closed: that is not another program, and not none.
#[test]
fn what_is_ending_is_who_it_was_and_nobody_where_it_was_not_known() {
    let host = Host::new();
    for (pid, link) in [(7, "socket:[100]"), (8, "socket:[200]")] {
        host.process(pid, 1, b"srv", &[link]);
        host.executes(pid, &format!("srv-{pid}"));
    }
    let (proc, describer) = host.open();
    let mut memory = Memory::new(proc, describer, 1);
    let known = memory.attribute(&[100], &mut ()).holders(100);
    assert!(known.known()[0].program.is_some(), "{known:?}");
    host.gives_memory_back(7);
    host.gives_memory_back(8);
    let ending = memory.attribute(&[100, 200], &mut ());
    assert_eq!(ending.holders(100), known);
    assert_eq!(ending.holders(200), Holders::Unattributed(Unattributed::Exited));
    let hold = |fd, inode| vec![Hold { inode, tid: None, fd, via: Via::Descriptor }];
    let mut told = |pid, inode| memory.hold_told(pid, hold(0, inode), std::time::Instant::now(), &mut 1);
    assert_eq!(told(7, 100).unwrap(), known.known()[0]);
    assert_eq!(told(8, 200), Err(Unreadable::Gone));
}

/// Its first thread and many others have exited, and somebody who traces them keeps them from being forgotten.
#[test]
fn what_runs_on_in_one_of_many_threads_is_not_ending() {
    for (threads, program) in [(100, true), (1_000, false)] {
        let host = Host::new();
        host.process(7, 1, b"srv", &["socket:[100]"]);
        host.executes(7, "srv-7");
        let running = std::fs::read_link(host.path("proc/7/exe")).unwrap();
        host.gives_memory_back(7);
        for thread in 8..8 + threads {
            std::fs::create_dir(host.path(&format!("proc/7/task/{thread}"))).unwrap();
            if program && thread == 107 {
                std::os::unix::fs::symlink(&running, host.path(&format!("proc/7/task/{thread}/exe")))
                    .unwrap();
            }
        }
        let (proc, describer) = host.open();
        let holders = Memory::new(proc, describer, 1).attribute(&[100], &mut ()).holders(100);
        assert_eq!(
            holders.known().first().map(|holder| holder.program.is_some()),
            Some(program),
            "{holders:?}"
        );
    }
}

fn sorted<const N: usize>(mut pids: [u32; N]) -> [u32; N] {
    pids.sort_unstable();
    pids
}
