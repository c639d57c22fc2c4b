//! Records as bytes: whole, cut, and of lengths that lie.

use std::io::{self, Read};

use inventory::{Protocol, RawText};
use proptest::prelude::*;

use crate::bpf::FileKind;
use crate::bpf::files::{self, RECORD};
use crate::bpf::record::{EventKind, EventRecord};

/// Before the text of `struct event_record`.
pub(super) const HEAD: usize = 64 + 16 + 88;

/// An event of this kind by process 7, of the socket with this cookie, with these texts.
pub(super) fn event(kind: u32, cookie: u64, program: &[u8], cgroup: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEAD];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &5_000_000_000_u64.to_ne_bytes()); // boot_nanos
    put(8, &4_000_000_000_u64.to_ne_bytes()); // start_nanos
    put(24, &99_u64.to_ne_bytes()); // program_inode
    put(36, &kind.to_ne_bytes());
    put(40, &7_u32.to_ne_bytes()); // pid
    put(48, &1000_u32.to_ne_bytes()); // uid
    put(52, &u16::try_from(program.len()).unwrap().to_ne_bytes());
    put(54, &u16::try_from(cgroup.len()).unwrap().to_ne_bytes());
    put(64, b"nc\0garbage"); // name
    put(80, &cookie.to_ne_bytes());
    put(120, &2_u16.to_ne_bytes()); // family
    put(122, &17_u16.to_ne_bytes()); // protocol
    put(124, &2_u16.to_ne_bytes()); // type
    put(126, &53_u16.to_ne_bytes()); // port
    put(132, &[127, 0, 0, 1]); // address
    bytes.extend(program);
    bytes.extend(cgroup);
    bytes
}

#[test]
fn an_event_is_read_whole_or_not_at_all() {
    let bytes = event(1, 77, b"nc\0bin\0", b"x.scope\0");
    let read = EventRecord::parse(&bytes).unwrap();
    assert_eq!((read.kind, read.pid, read.socket.cookie), (EventKind::Opened, Some(7), 77));
    assert_eq!((read.name, read.cgroup), (RawText::from("nc"), b"/x.scope".to_vec()));
    assert_eq!(read.program.unwrap().path, RawText::from("/bin/nc"));
    assert_eq!((read.socket.protocol, read.socket.port), (Some(Protocol::Udp), 53));
    assert_eq!(read.socket.uid, 1000, "of a socket that is not whole that of its process");
    for length in 0..bytes.len() {
        assert_eq!(EventRecord::parse(&bytes[..length]), None, "{length} bytes");
    }
}

#[test]
fn kinds_that_are_not_known_are_not_guessed() {
    for kind in [0, 7, u32::MAX] {
        assert_eq!(EventRecord::parse(&event(kind, 1, b"", b"")), None);
    }
    assert_eq!(files::parse(&[0; RECORD]), None);
}

#[test]
fn lengths_that_lie_are_refused() {
    let mut bytes = event(1, 1, b"nc\0", b"");
    bytes[52..56].fill(0xff);
    assert_eq!(EventRecord::parse(&bytes), None);
}

fn task(pid: u32) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    bytes[0] = 5;
    bytes[4..8].copy_from_slice(&pid.to_ne_bytes());
    bytes[8..12].copy_from_slice(&pid.to_ne_bytes());
    bytes
}

/// Gives these answers to read(2) in turn.
struct Answers(Vec<io::Result<Vec<u8>>>);

impl Read for Answers {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(answer) = (!self.0.is_empty()).then(|| self.0.remove(0)) else { return Ok(0) };
        let answer = answer?;
        into[..answer.len()].copy_from_slice(&answer);
        Ok(answer.len())
    }
}

#[test]
fn the_files_of_a_pass_are_read_over_any_breaks() {
    let two = [task(1), task(2)].concat();
    let again = |kind: io::ErrorKind| Err(io::Error::from(kind));
    let answers = vec![
        Ok(two[..50].to_vec()),
        again(io::ErrorKind::Interrupted),
        Ok(two[50..130].to_vec()),
        // After a million files of which there was nothing to tell.
        again(io::ErrorKind::WouldBlock),
        Ok(two[130..].to_vec()),
    ];
    let read = files::read_all(Answers(answers)).unwrap();
    let read: Vec<_> = read.iter().map(|record| (record.kind, record.pid, record.tid)).collect();
    assert_eq!(read, [(FileKind::Task, 1, None), (FileKind::Task, 2, None)]);
}

#[test]
fn a_pass_that_ends_within_a_record_is_none() {
    let cut = files::read_all(Answers(vec![Ok(task(1)[..RECORD - 1].to_vec())]));
    assert_eq!(cut.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    let failed = files::read_all(Answers(vec![Ok(task(1).to_vec()), Err(io::Error::other("broken"))]));
    assert!(failed.is_err());
    let never = (0..20_000).map(|_| Err(io::ErrorKind::WouldBlock.into())).collect();
    assert_eq!(files::read_all(Answers(never)).unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

proptest! {
    #[test]
    fn no_event_panics(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let _any = EventRecord::parse(&bytes);
    }

    #[test]
    fn no_known_kind_of_event_panics(
        kind in 0..7_u32,
        lengths in any::<(u16, u16)>(),
        noise in prop::collection::vec(any::<u8>(), 0..3_000),
    ) {
        let mut bytes = event(kind, 1, b"", b"");
        bytes[52..54].copy_from_slice(&lengths.0.to_ne_bytes());
        bytes[54..56].copy_from_slice(&lengths.1.to_ne_bytes());
        bytes.extend(noise);
        let _any = EventRecord::parse(&bytes);
    }

    #[test]
    fn no_file_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _any = files::parse(&bytes);
        let _any = files::read_all(Answers(vec![Ok(bytes)]));
    }
}
