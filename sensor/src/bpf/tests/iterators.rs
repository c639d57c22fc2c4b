//! The two iterators: both tell the same, and what changes while one looks is told as it is or not at all.

use std::collections::BTreeMap;

use crate::bpf::{FileKind, FileRecord, Files};
use crate::testing::{Puppet, alone, programs};

/// Of one process, in order, without what is told once in a pass or once of a task.
fn of_process(files: Vec<FileRecord>, pid: u32) -> Vec<FileRecord> {
    let is_file =
        |file: &FileRecord| !matches!(file.kind, FileKind::NamespaceSeen | FileKind::Task) && file.pid == pid;
    let mut files: Vec<FileRecord> = files.into_iter().filter(is_file).collect();
    files.sort_by_key(|file| (file.tid, file.fd));
    files
}

fn both(files: &Files, pid: u32) -> (Vec<FileRecord>, Vec<FileRecord>) {
    assert!(files.reads_tables(), "this kernel has no bpf_loop");
    (of_process(files.all().unwrap(), pid), of_process(files.handed_out().unwrap(), pid))
}

#[test]
fn both_tell_the_same() {
    let _alone = alone();
    let Some(mut programs) = programs("both_tell_the_same") else { return };
    let files = programs.files().unwrap();
    let mut puppet = Puppet::new();
    let inodes = puppet.does(
        "
s, twin = tcp('0.0.0.0', 1001), udp('::1', 1002, socket.AF_INET6)
again, sent = os.dup(s.fileno()), udp('127.0.0.1', 0)
by_path = os.open(f'/proc/self/fd/{s.fileno()}', os.O_PATH)
namespaces = os.open('/proc/self/ns/net', os.O_RDONLY), os.open('/proc/self/ns/mnt', os.O_PATH)
libc.syscall(425, 8, ctypes.create_string_buffer(120))
others = [os.open('/dev/null', os.O_RDONLY) for _ in range(500)], os.eventfd(0), os.memfd_create('m')
talks = socket.create_connection(s.getsockname()), s.accept()
def own_table():
    libc.unshare(0x400)
    t = tcp('0.0.0.0', 1003)
    os.close(again)
    os.write(w, b'.')
    forever()
r, w = os.pipe()
threading.Thread(target=own_table, daemon=True).start()
os.read(r, 1)
say(inode(s), inode(twin))",
    );
    let (tables, handed_out) = both(&files, puppet.pid());
    assert_eq!(tables, handed_out);
    let of = |inode| tables.iter().filter(|file| file.socket.inode == inode).count();
    assert_eq!((of(inodes[0]), of(inodes[1])), (3, 2), "two tables, in one of them twice: {tables:?}");
    let held = tables.iter().filter(|file| file.kind == FileKind::NamespaceHeld);
    assert_eq!(held.count(), 4);
}

#[test]
fn what_the_tables_tell_in_part_is_asked_again() {
    let _alone = alone();
    let Some(mut programs) = programs("what_the_tables_tell_in_part_is_asked_again") else { return };
    let files = programs.files().unwrap();
    let mut many = Puppet::new();
    let inodes = many.does("keep = [tcp('0.0.0.0', 1001 + at) for at in range(700)]; say(*map(inode, keep))");
    let mut unasked = Puppet::new();
    let connected = unasked.does("s = udp('127.0.0.1', 1001); s.connect(('127.0.0.1', 9)); say(inode(s))")[0];
    let (tables, handed_out) = both(&files, many.pid());
    assert_eq!(tables, handed_out);
    assert_eq!(tables.iter().map(|file| file.socket.inode).collect::<Vec<_>>(), inodes);
    let found = of_process(files.all().unwrap(), unasked.pid());
    let socket = &found.iter().find(|file| file.socket.inode == connected).unwrap().socket;
    assert!(socket.cookie != 0 && socket.peer.is_some_and(|peer| peer.port() == 9), "{socket:?}");
}

#[test]
fn what_changes_meanwhile_is_told_as_it_is_or_not_at_all() {
    let _alone = alone();
    let Some(mut programs) = programs("what_changes_meanwhile_is_told_as_it_is_or_not_at_all") else {
        return;
    };
    let files = programs.files().unwrap();
    let mut puppet = Puppet::new();
    let told = puppet.does(
        "
stay = [tcp('0.0.0.0', 1001 + at) for at in range(20)]
def churn(first):
    while True:
        s = tcp('0.0.0.0', 0)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        copies = [os.dup(s.fileno()) for _ in range(first)]
        u = udp('127.0.0.1', 0)
        null = os.open('/dev/null', os.O_RDONLY)
        os.dup2(null, copies[0])
        for fd in copies: os.close(fd)
        s.close(); u.close(); os.close(null)
for first in (5, 90): threading.Thread(target=churn, args=(first,), daemon=True).start()
for s in stay: say(s.fileno(), inode(s), cookie(s))",
    );
    let stay: BTreeMap<u32, (u64, u64)> =
        told.chunks(3).map(|one| (u32::try_from(one[0]).unwrap(), (one[1], one[2]))).collect();
    let mut passing = 0;
    for _ in 0..100 {
        let found = of_process(files.all().unwrap(), puppet.pid());
        let sockets = found.iter().filter(|file| file.kind == FileKind::Socket);
        let (staying, others): (Vec<_>, Vec<_>) = sockets.partition(|file| stay.contains_key(&file.fd));
        let staying: BTreeMap<u32, (u64, u64)> =
            staying.iter().map(|file| (file.fd, (file.socket.inode, file.socket.cookie))).collect();
        assert_eq!(staying, stay);
        for file in others {
            passing += 1;
            let socket = &file.socket;
            assert!(socket.cookie != 0 && socket.netns_cookie == puppet.netns, "{file:?}");
            assert!(socket.port == 0 || socket.port > 1020, "{file:?}");
            assert!(!stay.values().any(|(_, cookie)| *cookie == socket.cookie), "{file:?}");
        }
    }
    assert!(passing > 20, "{passing} passing sockets were met");
}
