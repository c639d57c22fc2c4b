//! What a pattern of endpoints takes in.

use baseline::Listen;
use inventory::Reach;

use crate::world::{World, program};

#[test]
fn addresses_are_sets() {
    // Each pattern against: a dual-stack wildcard, v4, v6-only, 127.0.0.1, ::1, 10.1.2.3, fe80::1, a public address.
    let bindings = [
        "[::]",
        "0.0.0.0",
        "v6-only",
        "127.0.0.1",
        "[::1]",
        "10.1.2.3",
        "[fe80::1]",
        "203.0.113.9",
        "[::ffff:10.1.2.3]",
    ];
    let cases = [
        ("*", "yyyyyyyyy"),
        ("0.0.0.0", "-y-y-y-yy"),
        ("[::]", "--y-y-y--"),
        ("[::ffff:0.0.0.0]", "-y-y-y-yy"),
        ("127.0.0.1", "---y-----"),
        ("[::ffff:127.0.0.1]", "---y-----"),
        ("10.0.0.0/8", "-----y--y"),
        ("0.0.0.0/0", "-y-y-y-yy"),
        ("[::/0]", "--y-y-y--"),
        ("[fe80::]/10", "------y--"),
        ("[fe80::/10]", "------y--"),
        ("loopback", "---yy----"),
        ("link", "------y--"),
        ("private", "-----y--y"),
    ];
    for (pattern, expected) in cases {
        let covered: String =
            bindings.iter().map(|binding| if covers(pattern, binding) { 'y' } else { '-' }).collect();
        assert_eq!(covered, expected, "{pattern}");
    }
}

fn covers(pattern: &str, binding: &str) -> bool {
    let mut world = World::new();
    world.baseline(&format!("[[approval]]\nid = \"a\"\nlisten = \"tcp/{pattern}:80\"\n"));
    match binding {
        "v6-only" => world.listen("tcp/[::]:80").v6_only(),
        address => world.listen(&format!("tcp/{address}:80")),
    }
    .reach(Reach::Public)
    .by(program("/usr/sbin/nginx"));
    world.verdict() == "approved a"
}

#[test]
fn a_dual_stack_socket_whose_kind_nobody_knows_is_taken_for_the_wider() {
    let mut world = World::new();
    world.baseline("[[approval]]\nid = \"a\"\nlisten = \"tcp/[::]:80\"\n");
    world.listen("tcp/[::]:80").by(program("/usr/sbin/nginx")).ipv6_only = None;
    assert_eq!(world.verdict(), "widened critical (a)");
}

#[test]
fn a_raw_v6_socket_takes_no_v4() {
    let mut world = World::new();
    world.baseline("[[approval]]\nid = \"a\"\nlisten = \"raw/[::]:58\"\n");
    world.listen("raw/[::]:58").by(program("/usr/sbin/radvd"));
    assert_eq!(world.verdict(), "approved a");
}

#[test]
fn is_written_as_it_is_read() {
    for text in [
        "tcp/*:22",
        "udp/0.0.0.0:1-1023",
        "tcp/[::]:*",
        "sctp/[fe80::/10]%eth*:kernel",
        "mptcp/127.0.0.1:80",
        "udplite/[2001:db8::1]%wg0:53",
        "dccp/10.0.0.0/8:5",
        "raw/private:1",
        "tcp/loopback:0",
        "tcp/link:65535",
    ] {
        let read: Listen = text.parse().unwrap();
        assert_eq!(read.to_string(), text);
    }
}
