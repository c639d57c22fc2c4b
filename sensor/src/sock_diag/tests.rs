//! The bytes were recorded on Linux 6.18 (x86-64) in a namespace of its own, from sockets of a Python program.

use std::net::IpAddr;

use inventory::Protocol;
use proptest::prelude::{any, prop_assert, proptest};

use super::dump::{Broken, Dump, Step};
use super::query::Query;
use super::{refusal, table};
use crate::collector::Socket;
use crate::protocols::Family;

const PORT: u32 = 24_622;
const SEQUENCE: u32 = 7;

fn dump(protocol: Protocol, family: Family) -> Dump {
    Dump::new(Query { protocol, family: Some(family), sequence: SEQUENCE }, PORT, 100)
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.lines().map(|line| line.split('#').next().unwrap());
    digits.flat_map(str::split_ascii_whitespace).map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn read(protocol: Protocol, family: Family, text: &str) -> Vec<Socket> {
    let mut dump = dump(protocol, family);
    assert_eq!(dump.take(&hex(text)), Ok(Step::More));
    assert!(!dump.torn && !dump.full);
    dump.found
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// listen(16) on 127.0.0.1:48080, and on 127.0.0.1:48082 the subflow of an MPTCP listener.
const TCP: &str = "
    7c 00 00 00 14 00 02 00 07 00 00 00 2e 60 00 00  # 124 bytes, SOCK_DIAG_BY_FAMILY, MULTI, sequence 7, port 24622
    02 0a 00 00                                      # AF_INET, LISTEN, no timer, no retransmits
    bb d0 00 00                                      # ports 48080 and 0
    7f 00 00 01 00 00 00 00 00 00 00 00 00 00 00 00  # 127.0.0.1
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  # no peer
    00 00 00 00                                      # no device
    04 00 00 00 00 00 00 00                          # cookie 4
    00 00 00 00 00 00 00 00                          # expires, receive queue
    10 00 00 00                                      # send queue: the backlog, 16
    00 00 00 00 0e 9c 00 00                          # uid 0, inode 39950
    05 00 08 00 00 00 00 00                          # 5 bytes INET_DIAG_SHUTDOWN, padded to 8
    08 00 0f 00 00 00 00 00                          # INET_DIAG_MARK
    0c 00 15 00 01 00 00 00 00 00 00 00              # INET_DIAG_CGROUP_ID 1
    06 00 16 00 52 00 00 00                          # INET_DIAG_SOCKOPT
    7c 00 00 00 14 00 02 00 07 00 00 00 2e 60 00 00
    02 0a 00 00 bb d2 00 00 7f 00 00 01 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 05 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 05 00 00 00
    00 00 00 00 12 9c 00 00 05 00 08 00 00 00 00 00
    08 00 0f 00 00 00 00 00 0c 00 15 00 01 00 00 00
    00 00 00 00 06 00 16 00 52 00 00 00";

/// listen(7) on [::1]:48081 with `IPV6_V6ONLY`.
const TCP6: &str = "
    84 00 00 00 14 00 02 00 07 00 00 00 2e 60 00 00  # 132 bytes
    0a 0a 00 00 bb d1 00 00                          # AF_INET6, LISTEN, port 48081
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01  # ::1
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 06 00 00 00 00 00 00 00              # no device, cookie 6
    00 00 00 00 00 00 00 00 07 00 00 00              # backlog 7
    00 00 00 00 0f 9c 00 00                          # uid 0, inode 39951
    05 00 08 00 00 00 00 00
    05 00 0b 00 01 00 00 00                          # INET_DIAG_SKV6ONLY 1
    08 00 0f 00 00 00 00 00
    0c 00 15 00 01 00 00 00 00 00 00 00
    06 00 16 00 12 00 00 00";

/// UDP on 0.0.0.0:45353, bound to the device lo.
const UDP: &str = "
    7c 00 00 00 14 00 02 00 07 00 00 00 2e 60 00 00
    02 07 00 00 b1 29 00 00                          # AF_INET, CLOSE, port 45353
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    01 00 00 00 07 00 00 00 00 00 00 00              # device 1, cookie 7
    00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 10 9c 00 00                          # uid 0, inode 39952
    05 00 08 00 00 00 00 00 08 00 0f 00 00 00 00 00
    0c 00 15 00 01 00 00 00 00 00 00 00
    06 00 16 00 50 00 00 00";

/// The MPTCP listener itself, asked for with `INET_DIAG_REQ_PROTOCOL` 262.
const MPTCP: &str = "
    7c 00 00 00 14 00 02 00 07 00 00 00 2e 60 00 00
    02 0a 00 00 bb d2 00 00 7f 00 00 01 00 00 00 00  # port 48082, 127.0.0.1
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00 00 00 00 00 08 00 00 00  # cookie 8: the subflow's is 5
    00 00 00 00 00 00 00 00 00 00 00 00 05 00 00 00
    00 00 00 00 12 9c 00 00                          # inode 39954: the subflow's too
    05 00 08 00 00 00 00 00 08 00 0f 00 00 00 00 00
    0c 00 15 00 01 00 00 00 00 00 00 00
    06 00 16 00 52 00 00 00";

const DONE: &str = "
    14 00 00 00 03 00 02 00 07 00 00 00 2e 60 00 00  # 20 bytes, NLMSG_DONE, MULTI
    00 00 00 00                                      # no error";

/// The end of a dump of raw sockets on a kernel without raw_diag.
const NO_MODULE: &str = "
    14 00 00 00 03 00 02 00 07 00 00 00 2e 60 00 00
    fe ff ff ff                                      # -2, ENOENT";

#[test]
fn reads_tcp() {
    let expected = Socket {
        protocol: Protocol::Tcp,
        address: address("127.0.0.1"),
        more_addresses: Vec::new(),
        port: 48_080,
        device_index: 0,
        inode: 39_950,
        cookie: 4,
        uid: 0,
        ipv6_only: None,
        backlog: Some(16),
        cgroup_id: Some(1),
        reuse_port: None,
        asked_for_port: None,
        peer: None,
    };
    let found = read(Protocol::Tcp, Family::V4, TCP);
    assert_eq!(found[0], expected);
    assert_eq!((found[1].port, found[1].inode, found[1].cookie), (48_082, 39_954, 5));
    assert_eq!(found.len(), 2);
}

#[test]
fn reads_a_v6_only_socket() {
    let found = read(Protocol::Tcp, Family::V6, TCP6);
    assert_eq!((found[0].address, found[0].port), (address("::1"), 48_081));
    assert_eq!((found[0].ipv6_only, found[0].backlog), (Some(true), Some(7)));
}

#[test]
fn reads_a_device_and_no_backlog_of_udp() {
    let found = read(Protocol::Udp, Family::V4, UDP);
    assert_eq!((found[0].port, found[0].device_index, found[0].backlog), (45_353, 1, None));
}

#[test]
fn an_mptcp_listener_has_the_inode_of_its_subflow() {
    let parent = &read(Protocol::Mptcp, Family::V4, MPTCP)[0];
    let subflow = &read(Protocol::Tcp, Family::V4, TCP)[1];
    assert_eq!(parent.inode, subflow.inode);
    assert_ne!(parent.cookie, subflow.cookie);
}

#[test]
fn an_end_without_an_error_is_the_end() {
    assert_eq!(dump(Protocol::Tcp, Family::V4).take(&hex(DONE)), Ok(Step::End));
}

#[test]
fn an_error_inside_the_end_is_no_emptiness() {
    let mut dump = dump(Protocol::Raw, Family::V4);
    let broken = dump.take(&hex(NO_MODULE)).unwrap_err();
    assert_eq!(broken, Broken::Refused(2));
    assert_eq!(
        refusal(&broken, Protocol::Raw, Family::V4).reason,
        "the kernel lacks a module: modprobe raw_diag"
    );
}

#[test]
fn an_error_message_is_an_error() {
    let mut error = hex(NO_MODULE);
    error[4] = 2;
    error[16] = 0xea;
    assert_eq!(dump(Protocol::Tcp, Family::V4).take(&error), Err(Broken::Refused(22)));
}

#[test]
fn an_acknowledgement_is_neither_an_error_nor_the_end() {
    let mut acknowledged = hex(DONE);
    acknowledged[4] = 2;
    assert_eq!(dump(Protocol::Tcp, Family::V4).take(&acknowledged), Ok(Step::More));
}

#[test]
fn a_torn_dump_is_known() {
    for (text, end) in [(TCP, Step::More), (DONE, Step::End)] {
        let mut torn = hex(text);
        torn[6] |= 0x10;
        let mut dump = dump(Protocol::Tcp, Family::V4);
        assert_eq!(dump.take(&torn), Ok(end));
        assert!(dump.torn);
        let table = table(dump, None, Family::V4);
        assert_eq!(table.flaws[0].reason, "the IPv4 table changed during each of 5 dumps of it");
    }
}

#[test]
fn answers_to_other_questions_are_passed_over() {
    // The sequence, then the port.
    for at in [8, 12] {
        for text in [TCP6, DONE, NO_MODULE] {
            let mut stray = hex(text);
            stray[at] ^= 1;
            let mut dump = dump(Protocol::Tcp, Family::V6);
            assert_eq!(dump.take(&stray), Ok(Step::More));
            assert_eq!(dump.found, []);
        }
    }
}

#[test]
fn sockets_that_were_not_asked_for_are_passed_over() {
    // The family; the state; a peer's port; a peer's address.
    for (at, value) in [(16, 10), (17, 1), (22, 1), (40, 9)] {
        let mut other = hex(UDP);
        other[at] = value;
        let mut dump = dump(Protocol::Udp, Family::V4);
        assert_eq!(dump.take(&other), Ok(Step::More));
        assert_eq!(dump.found, [], "byte {at}");
    }
}

#[test]
fn what_there_is_no_room_for_is_told() {
    let query = Query { protocol: Protocol::Tcp, family: Some(Family::V4), sequence: SEQUENCE };
    let mut dump = Dump::new(query, PORT, 1);
    dump.take(&hex(TCP)).unwrap();
    assert_eq!(dump.found.len(), 1);
    assert_eq!(table(dump, None, Family::V4).flaws[0].reason, crate::collector::NO_ROOM);
}

#[test]
fn a_dump_that_breaks_off_keeps_what_had_come() {
    let mut dump = dump(Protocol::Tcp, Family::V4);
    dump.take(&hex(TCP)).unwrap();
    let broken = dump.take(&hex(NO_MODULE)).unwrap_err();
    let table = table(dump, Some(broken), Family::V4);
    assert_eq!(table.found.len(), 2);
    assert!(table.flaws[0].reason.starts_with("the IPv4 dump broke off after 2 sockets: No such file"));
}

#[test]
fn a_socket_told_twice_is_kept_once() {
    let mut dump = dump(Protocol::Tcp, Family::V4);
    dump.take(&[hex(TCP), hex(TCP)].concat()).unwrap();
    assert_eq!(table(dump, None, Family::V4).found.len(), 2);
}

#[test]
fn every_cut_is_an_error_and_no_socket_is_made_up() {
    let whole = hex(TCP6);
    for length in 1..whole.len() {
        let mut dump = dump(Protocol::Tcp, Family::V6);
        assert!(matches!(dump.take(&whole[..length]), Err(Broken::Malformed(_))), "{length} bytes");
        assert_eq!(dump.found, []);
    }
}

#[test]
fn lengths_that_lie_are_errors() {
    // Of the message: none, less than its header, less than a socket, more than there is. Of an attribute: none, less
    // than its header, more than there is.
    for (at, value) in [(0, 0), (0, 15), (0, 80), (0, 0x88), (88, 0), (88, 3), (88, 0xff)] {
        let mut lying = hex(TCP6);
        lying[at] = value;
        assert!(
            matches!(dump(Protocol::Tcp, Family::V6).take(&lying), Err(Broken::Malformed(_))),
            "byte {at} is {value}"
        );
    }
}

#[test]
fn attributes_that_are_too_short_are_errors() {
    // SKV6ONLY without its byte, in 8 bytes of which the next 4 are an attribute of nothing.
    let mut short = hex(TCP6);
    short[96] = 4;
    short[100] = 4;
    assert!(matches!(dump(Protocol::Tcp, Family::V6).take(&short), Err(Broken::Malformed(_))));
    let mut codeless = hex(DONE);
    codeless.truncate(16);
    codeless[0] = 16;
    assert!(matches!(dump(Protocol::Tcp, Family::V6).take(&codeless), Err(Broken::Malformed(_))));
}

/// An SCTP endpoint on 127.0.0.1 and on ::1 as include/uapi/linux/inet_diag.h has it: this kernel has no SCTP.
#[test]
fn sctp_has_several_addresses() {
    let mut sctp = hex(TCP);
    sctp.truncate(88);
    let mut locals = vec![0_u8; 4 + 256];
    locals[..4].copy_from_slice(&[4, 1, 12, 0]);
    // struct sockaddr_in: family, port, address.
    locals[4..12].copy_from_slice(&[2, 0, 0xbb, 0xd0, 127, 0, 0, 1]);
    // struct sockaddr_in6: family, port, flow, address.
    locals[132..136].copy_from_slice(&[10, 0, 0xbb, 0xd0]);
    locals[155] = 1;
    sctp.extend(locals);
    sctp[0..2].copy_from_slice(&(88_u16 + 260).to_ne_bytes());
    let mut dump = dump(Protocol::Sctp, Family::V4);
    dump.take(&sctp).unwrap();
    assert_eq!(dump.found[0].address, address("127.0.0.1"));
    assert_eq!(dump.found[0].more_addresses, [address("::1")]);
}

#[test]
fn asks_for_one_state_and_for_mptcp_by_an_attribute() {
    let tcp = Query { protocol: Protocol::Tcp, family: Some(Family::V6), sequence: 9 }.encode();
    let expected = "
        48 00 00 00 14 00 01 03 09 00 00 00 00 00 00 00  # 72 bytes, SOCK_DIAG_BY_FAMILY, REQUEST|DUMP, sequence 9
        0a 06 00 00                                      # AF_INET6, TCP, no extensions
        00 04 00 00                                      # 1 << LISTEN";
    assert_eq!(tcp[..24], hex(expected));
    assert_eq!(tcp[24..], [0; 48]);
    let mptcp = Query { protocol: Protocol::Mptcp, family: Some(Family::V4), sequence: 9 }.encode();
    assert_eq!(mptcp[16..18], [2, 0]);
    assert_eq!(mptcp[72..], hex("08 00 03 00 06 01 00 00"));
    assert_eq!(mptcp.len(), 80);
    let udp = Query { protocol: Protocol::Udp, family: Some(Family::V4), sequence: 9 }.encode();
    assert_eq!(udp[20..24], hex("80 00 00 00"));
}

#[test]
fn asks_for_both_families_of_tcp_by_the_older_question() {
    let both = Query { protocol: Protocol::Tcp, family: None, sequence: 9 }.encode();
    let expected = "
        4c 00 00 00 12 00 01 03 09 00 00 00 00 00 00 00  # 76 bytes, TCPDIAG_GETSOCK, REQUEST|DUMP, sequence 9
        00 00 00 00                                      # no family, no prefixes, no extensions";
    assert_eq!(both[..20], hex(expected));
    assert_eq!(both[20..68], [0; 48]);
    assert_eq!(both[68..], hex("00 04 00 00 00 00 00 00"));
}

#[test]
fn an_answer_about_both_families_is_split_by_them() {
    let mut datagram = hex(TCP);
    datagram.extend(hex(TCP6));
    let answers_the_newer_question = datagram.clone();
    let query = Query { protocol: Protocol::Tcp, family: None, sequence: SEQUENCE };
    let mut at = 0;
    while at < datagram.len() {
        datagram[at + 4] = 0x12;
        at += usize::from(u16::from_ne_bytes([datagram[at], datagram[at + 1]]));
    }
    let mut both = Dump::new(query, PORT, 100);
    assert_eq!(both.take(&datagram), Ok(Step::More));
    assert!(both.take(&answers_the_newer_question).is_err());
    let (v4, v6) = both.split();
    assert_eq!(v4.found, read(Protocol::Tcp, Family::V4, TCP));
    assert_eq!(v6.found, read(Protocol::Tcp, Family::V6, TCP6));
    assert!(!v4.found.is_empty() && !v6.found.is_empty());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
        drop(dump(Protocol::Tcp, Family::V4).take(&bytes));
    }

    #[test]
    fn no_damage_makes_it_panic(at in 0..132_usize, value in any::<u8>(), protocol in 0..7_usize) {
        let mut damaged = hex(TCP6);
        damaged[at] = value;
        let mut dump = dump(Protocol::ALL[protocol], Family::V6);
        drop(dump.take(&damaged));
        prop_assert!(dump.found.len() <= 1);
    }
}
