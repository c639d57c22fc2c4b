//! Tests on what Linux 6.18 wrote, and on what no kernel should.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::FileExt;

use proptest::prelude::*;
use rustix::fs::{MemfdFlags, memfd_create};

use super::*;

const FORMAT: &str = "\
name: inet_sock_set_state
ID: 2287
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:unsigned char common_flags;	offset:2;	size:1;	signed:0;
	field:unsigned char common_preempt_count;	offset:3;	size:1;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

	field:const void * skaddr;	offset:8;	size:8;	signed:0;
	field:int oldstate;	offset:16;	size:4;	signed:1;
	field:int newstate;	offset:20;	size:4;	signed:1;
	field:__u16 sport;	offset:24;	size:2;	signed:0;
	field:__u16 dport;	offset:26;	size:2;	signed:0;
	field:__u16 family;	offset:28;	size:2;	signed:0;
	field:__u16 protocol;	offset:30;	size:2;	signed:0;
	field:__u8 saddr[4];	offset:32;	size:4;	signed:0;
	field:__u8 daddr[4];	offset:36;	size:4;	signed:0;
	field:__u8 saddr_v6[16];	offset:40;	size:16;	signed:0;
	field:__u8 daddr_v6[16];	offset:56;	size:16;	signed:0;

print fmt: \"family=%s protocol=%s sport=%hu dport=%hu saddr=%pI4\", REC->family, REC->saddr
";

fn format() -> Format {
    Format::parse(FORMAT).unwrap()
}

/// The words of a record as [`FORMAT`] has them, in the machine's order of bytes.
fn raw(states: [u32; 2], family: u16, port: u16, v4: Ipv4Addr, v6: Ipv6Addr) -> Vec<u8> {
    let mut raw = vec![0xef, 0x08, 0, 1]; // common_type and so on
    raw.extend(0x47f2_u32.to_ne_bytes()); // common_pid
    raw.extend(0xffff_8881_09fd_0000_u64.to_ne_bytes()); // skaddr
    raw.extend(states.iter().flat_map(|state| state.to_ne_bytes()));
    raw.extend([port, 0, family, 6].iter().flat_map(|word| word.to_ne_bytes())); // sport, dport, family, protocol
    raw.extend(v4.octets());
    raw.extend([0; 4]); // daddr
    raw.extend(v6.octets());
    raw.extend([0; 16]); // daddr_v6
    raw.extend([0; 4]); // to a multiple of eight with the word that tells the size
    raw
}

fn body(pid: u32, nanos: u64, raw: &[u8]) -> Vec<u8> {
    let mut body = [pid.to_ne_bytes(), 0x47f2_u32.to_ne_bytes()].concat(); // pid, tid
    body.extend(nanos.to_ne_bytes());
    body.extend(u32::try_from(raw.len()).unwrap().to_ne_bytes());
    body.extend(raw);
    body
}

fn opened_v4() -> Vec<u8> {
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    body(0x47f1, 1_501_133_567_383, &raw([7, 10], 2, 43043, Ipv4Addr::LOCALHOST, mapped))
}

/// The file says 127.0.0.6 in `saddr` of a v6 socket: what is there is of no use.
fn closed_v6() -> Vec<u8> {
    body(0x47f1, 1_501_133_729_877, &raw([10, 7], 10, 43613, [127, 0, 0, 6].into(), Ipv6Addr::LOCALHOST))
}

fn sample_of(body: &[u8]) -> Option<Sample> {
    match sample::read(9, body, &format(), 1000)? {
        Record::Sample(sample) => Some(sample),
        Record::Lost(_) => None,
    }
}

#[test]
fn finds_the_fields_wherever_a_kernel_has_them() {
    let found = format();
    assert_eq!(found.id, 2287);
    assert_eq!((found.socket.at, found.socket.size), (8, 8));
    assert_eq!((found.protocol.at, found.protocol.size), (30, 2));
    assert_eq!((found.v4.at, found.v6.at), (32, 40));
    // Linux 4.16 to 5.5.
    let older = FORMAT
        .replace("__u16 protocol;	offset:30;	size:2;", "__u8 protocol;	offset:30;	size:1;")
        .replace("saddr[4];	offset:32;", "saddr[4];	offset:31;");
    let found = Format::parse(&older).unwrap();
    assert_eq!((found.protocol.at, found.protocol.size, found.v4.at), (30, 1, 31));
}

#[test]
fn refuses_a_format_that_lacks_what_it_needs() {
    for (cut, told) in [
        ("ID: 2287", "no ID"),
        ("skaddr", "no field skaddr of [4, 8] bytes"),
        ("	field:int newstate;	offset:20;", "no field newstate of [4] bytes"),
        ("saddr_v6[16]", "no field saddr_v6 of [16] bytes"),
    ] {
        let refusal = Format::parse(&FORMAT.replace(cut, "")).unwrap_err().to_string();
        assert!(refusal.ends_with(told), "{refusal}");
    }
    let odd = FORMAT.replace("sport;	offset:24;	size:2;", "sport;	offset:24;	size:3;");
    assert!(Format::parse(&odd).is_err());
}

#[test]
fn a_field_beyond_the_record_is_nothing() {
    let far = FORMAT.replace("skaddr;	offset:8;", "skaddr;	offset:18446744073709551615;");
    let format = Format::parse(&far).unwrap();
    assert_eq!(sample::read(9, &opened_v4(), &format, 0), None);
}

#[test]
fn reads_an_open_and_a_close() {
    let opened = sample_of(&opened_v4()).unwrap();
    assert_eq!((opened.pid, opened.tid), (Some(0x47f1), Some(0x47f2)));
    assert_eq!((opened.boot_nanos, opened.protocol, opened.opened), (1_501_133_568_383, 6, true));
    assert_eq!((opened.address, opened.port), (IpAddr::from([127, 0, 0, 1]), 43043));
    let closed = sample_of(&closed_v6()).unwrap();
    assert_eq!((closed.opened, closed.address, closed.port), (false, Ipv6Addr::LOCALHOST.into(), 43613));
    assert_eq!(closed.socket, opened.socket);
    assert_eq!(format!("{:?}", closed.socket), "SocketKey(..)");
}

#[test]
fn a_process_of_elsewhere_has_no_pid() {
    for (pid, known) in [(0, None), (u32::MAX, None), (1, Some(1))] {
        let raw = raw([7, 10], 2, 80, Ipv4Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED);
        assert_eq!(sample_of(&body(pid, 5, &raw)).unwrap().pid, known);
    }
}

#[test]
fn a_record_cut_short_is_nothing() {
    let whole = opened_v4();
    for length in 0..whole.len() {
        assert_eq!(sample_of(&whole[..length]), None, "{length}");
    }
    let mut absurd = whole.clone();
    absurd[16..20].copy_from_slice(&u32::MAX.to_ne_bytes());
    assert_eq!(sample_of(&absurd), None);
    let unix = raw([7, 10], 1, 80, Ipv4Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED);
    assert_eq!(sample_of(&body(1, 5, &unix)), None);
    assert_eq!(sample::read(7, &whole, &format(), 0), None);
}

#[test]
fn reads_how_many_were_lost() {
    let body = [77_u64.to_ne_bytes(), 12_u64.to_ne_bytes()].concat(); // id of the event, count
    assert_eq!(sample::read(2, &body, &format(), 0), Some(Record::Lost(12)));
    assert_eq!(sample::read(2, &body[..12], &format(), 0), None);
}

#[test]
fn reads_lists_of_cpus() {
    assert_eq!(cpus("0-1\n"), Some(vec![0..=1]));
    assert_eq!(cpus("0,2-5,8\n"), Some(vec![0..=0, 2..=5, 8..=8]));
    for not_one in ["", "\n", "3-1", "a", "0,,1", "0-4294967295", "-1"] {
        assert_eq!(cpus(not_one), None, "{not_one:?}");
    }
}

const PAGE: usize = 4096;

/// A ring of one page in a file that stands for the kernel.
struct Kernel {
    file: File,
    head: u64,
}

impl Kernel {
    fn new() -> (Kernel, Ring) {
        let file = File::from(memfd_create("ring", MemfdFlags::CLOEXEC).unwrap());
        file.set_len(2 * PAGE as u64).unwrap();
        let ring = Ring::map(file.as_fd(), 1, PAGE).unwrap();
        (Kernel { file, head: 0 }, ring)
    }

    fn write(&mut self, kind: u32, body: &[u8]) {
        let size = u16::try_from(body.len() + 8).unwrap();
        self.write_as(kind, size, body);
    }

    /// A record whose header says another size than it has.
    fn write_as(&mut self, kind: u32, size: u16, body: &[u8]) {
        let header = [&kind.to_ne_bytes()[..], &[0; 2], &size.to_ne_bytes()].concat();
        for byte in [&header, body].concat() {
            let at = PAGE as u64 + self.head % PAGE as u64;
            self.file.write_all_at(&[byte], at).unwrap();
            self.head += 1;
        }
        self.set_head(self.head);
    }

    fn set_head(&mut self, head: u64) {
        self.head = head;
        self.file.write_all_at(&head.to_ne_bytes(), 1024).unwrap();
    }

    fn tail(&self) -> u64 {
        let mut word = [0; 8];
        self.file.read_exact_at(&mut word, 1032).unwrap();
        u64::from_ne_bytes(word)
    }
}

type Records = Vec<(u32, Vec<u8>)>;

fn all(ring: &mut Ring) -> (Records, Result<(), Torn>) {
    let mut found = Vec::new();
    let read = ring.read(|kind, body| {
        found.push((kind, body.to_vec()));
        ControlFlow::Continue(())
    });
    (found, read)
}

#[test]
fn gives_each_record_once_wherever_the_ring_ends_in_it() {
    let (mut kernel, mut ring) = Kernel::new();
    // 96 bytes do not divide a page: after some rounds the end of the ring came at each multiple of eight in a record.
    for round in 0..2000_u32 {
        let body: Vec<u8> = (0..88).map(|at| (round + at).to_ne_bytes()[0]).collect();
        kernel.write(round, &body);
        if round % 3 == 0 {
            kernel.write(round, &[]);
            let (found, read) = all(&mut ring);
            assert_eq!((found.last().unwrap(), read), (&(round, Vec::new()), Ok(())));
            assert!(found.contains(&(round, body)), "{round}");
            assert_eq!(kernel.tail(), kernel.head);
        }
    }
    assert_eq!(all(&mut ring).0.len(), 1);
    assert_eq!(all(&mut ring), (Vec::new(), Ok(())));
}

#[test]
fn keeps_what_was_not_taken() {
    let (mut kernel, mut ring) = Kernel::new();
    kernel.write(1, &[1; 8]);
    kernel.write(2, &[2; 8]);
    let read =
        ring.read(|kind, _| if kind == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
    assert_eq!((read, kernel.tail()), (Ok(()), 16));
    kernel.write(3, &[3; 8]);
    assert_eq!(all(&mut ring).0, [(2, vec![2; 8]), (3, vec![3; 8])]);
}

#[test]
fn knows_whether_a_record_may_have_found_no_room() {
    let (mut kernel, mut ring) = Kernel::new();
    for (records, full) in [(0, false), (20, false), (40, true), (1, false)] {
        (0..records).for_each(|_| kernel.write(9, &[0; 88]));
        assert_eq!(all(&mut ring).0.len(), records);
        assert_eq!(ring.was_full(), full, "{records}");
    }
    // What came while the ring was read had no more room than what was there.
    (0..20).for_each(|_| kernel.write(9, &[0; 88]));
    let mut came = false;
    ring.read(|_, _| {
        if !std::mem::replace(&mut came, true) {
            (0..20).for_each(|_| kernel.write(9, &[0; 88]));
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!((ring.was_full(), ring.was_full()), (true, false));
}

#[test]
fn a_torn_ring_is_told_and_left_behind() {
    // Smaller than a header, not whole words, beyond the head, the largest.
    for size in [0, 4, 12, 32, u16::MAX] {
        let (mut kernel, mut ring) = Kernel::new();
        kernel.write(1, &[1; 8]);
        kernel.write_as(2, size, &[2; 8]);
        let (found, read) = all(&mut ring);
        assert_eq!((found.len(), read, kernel.tail()), (1, Err(Torn), kernel.head), "{size}");
        kernel.write(3, &[3; 8]);
        assert_eq!(all(&mut ring), (vec![(3, vec![3; 8])], Ok(())), "{size}");
    }
}

#[test]
fn a_head_where_no_kernel_puts_it_is_told() {
    for head in [4, 12, PAGE as u64 + 8, u64::MAX - 7, u64::MAX] {
        let (mut kernel, mut ring) = Kernel::new();
        kernel.set_head(head);
        assert_eq!(all(&mut ring), (Vec::new(), Err(Torn)), "{head}");
    }
}

proptest! {
    #[test]
    fn whatever_the_ring_holds_is_read_within_bounds(
        bytes in prop::collection::vec(prop_oneof![3 => Just(0_u8), 1 => Just(8), 1 => Just(104), 1 => any::<u8>()], 256),
        heads in prop::collection::vec(any::<u64>(), 1..4),
    ) {
        let (mut kernel, mut ring) = Kernel::new();
        kernel.file.write_all_at(&bytes.repeat(PAGE / bytes.len()), PAGE as u64).unwrap();
        for head in heads.into_iter().flat_map(|head| [head % (PAGE as u64), head]) {
            kernel.set_head(head);
            let mut size = 0;
            ring.read(|kind, body| {
                size += body.len() + 8;
                sample::read(kind, body, &format(), 0);
                ControlFlow::Continue(())
            }).ok();
            prop_assert!(size <= PAGE);
        }
    }
}
