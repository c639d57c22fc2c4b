//! The reader against `records.h` as a C compiler understands it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::process::Command;

use inventory::{Protocol, RawText};

use crate::bpf::record::{EventKind, EventRecord, ProgramSeen, SocketRecord};
use crate::bpf::{FileKind, FileRecord};

/// Every field of both records has a value of its own.
const FILLED: &str = r#"
#include <stdio.h>
#include <string.h>
#include <linux/types.h>
#include "records.h"
static void fill(struct socket_record *s)
{
	s->cookie = 0x1122334455667788; s->netns_cookie = 4026531840; s->inode = 0xabcdef0123;
	s->uid = 1000; s->device = 7; s->backlog = 4096; s->netns_inode = 4026531833;
	s->family = 10; s->protocol = 6; s->type = 1; s->port = 8443; s->peer_port = 53;
	s->state = 1; s->flags = V6_ONLY | PORT_CHOICE_KNOWN | WHOLE;
	for (int i = 0; i < 16; i++) { s->address[i] = 0x20 + i; s->peer[i] = 0x60 + i; }
	s->reserved = 0xffffffff;
}
int main(void)
{
	static struct event_record e;
	static struct file_record f;
	e.boot_nanos = 1111; e.start_nanos = 2222; e.cgroup_id = 3333; e.program_inode = 4444;
	e.program_device = 259u << 20 | 5; e.kind = OPENED; e.pid = 42; e.kernel_pid = 4242; e.uid = 1001;
	e.program_length = 14; e.cgroup_length = 12; e.program_flags = PROGRAM_DELETED;
	memset(e.reserved, 0xff, sizeof(e.reserved));
	memcpy(e.name, "name-of-15-byte", 16);
	fill(&e.socket);
	memcpy(e.text, "sshd\0sbin\0usr\0a.service\0s\0", 26);
	fwrite(&e, 1, __builtin_offsetof(struct event_record, text) + 26, stdout);
	f.kind = SOCKET_HELD; f.pid = 42; f.tid = 43; f.fd = 9; f.kernel_pid = 4242; f.reserved = 0xffffffff;
	f.references = 3;
	fill(&f.socket);
	fwrite(&f, 1, sizeof(f), stdout);
	return 0;
}
"#;

fn socket() -> SocketRecord {
    let from = |first: u8| {
        let bytes: Vec<u8> = (first..first + 16).collect();
        Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap())
    };
    SocketRecord {
        cookie: 0x1122_3344_5566_7788,
        netns_cookie: 4_026_531_840,
        inode: 0x00ab_cdef_0123,
        netns_inode: 4_026_531_833,
        uid: 1000,
        device: 7,
        backlog: 4096,
        protocol: Some(Protocol::Tcp),
        address: IpAddr::V6(from(0x20)),
        port: 8443,
        peer: Some(SocketAddr::from((from(0x60), 53))),
        v6_only: true,
        reuse_port: false,
        asked_for_port: Some(false),
        whole: true,
    }
}

#[test]
fn the_reader_reads_what_the_header_lays_out() {
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("filled.c"), folder.path().join("filled"));
    std::fs::write(&source, FILLED).unwrap();
    let headers = concat!(env!("CARGO_MANIFEST_DIR"), "/bpf");
    let compiled = Command::new("cc").args(["-I", headers, "-o"]).args([&program, &source]).status();
    if !compiled.as_ref().is_ok_and(std::process::ExitStatus::success) {
        eprintln!("SKIP the_reader_reads_what_the_header_lays_out: no C compiler ({compiled:?})");
        return;
    }
    let bytes = Command::new(&program).output().unwrap().stdout;
    let (event, file) = bytes.split_at(bytes.len() - crate::bpf::files::RECORD);
    let read = EventRecord::parse(event).unwrap();
    let program = ProgramSeen {
        path: RawText::from("/usr/sbin/sshd"),
        inode: 4444,
        device_major: 259,
        device_minor: 5,
        deleted: true,
    };
    let expected = EventRecord {
        kind: EventKind::Opened,
        boot_nanos: 1111,
        start_nanos: 2222,
        pid: Some(42),
        kernel_pid: 4242,
        uid: 1001,
        name: RawText::from("name-of-15-byte"),
        socket: socket(),
        program: Some(program),
        cgroup: b"/s/a.service".to_vec(),
        described_before: false,
    };
    assert_eq!(read, expected);
    let expected = FileRecord {
        kind: FileKind::Socket,
        pid: 42,
        tid: Some(43),
        fd: 9,
        kernel_pid: 4242,
        references: 3,
        socket: socket(),
    };
    assert_eq!(crate::bpf::files::parse(file), Some(expected));
}
