/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
 *
 * What the programs tell, byte by byte; sensor/src/bpf/record.rs reads it. Integers in the machine's order, no holes.
 */
#pragma once

/* Paths of the program and of the cgroup, each as components from the leaf up, each ended by a zero. */
#define TEXT_ROOM 1024
#define COMPONENT 256
/* Twice as much, so that a masked length is within bounds by itself: compilers move comparisons to where a verifier does
 * not follow. */
#define TEXT_MASK 2047

struct socket_record {
	__u64 cookie;
	__u64 netns_cookie;
	__u64 inode;	/* in sockfs; 0 where not known */
	__u32 uid;
	__u32 device;
	__u32 backlog;
	__u32 netns_inode;	/* 0 where not known */
	__u16 family;
	__u16 protocol;	/* IPPROTO, 262 for MPTCP */
	__u16 type;	/* SOCK_* */
	__u16 port;	/* of a raw socket the IP protocol */
	__u16 peer_port;
	__u8 state;	/* TCP_* of include/net/tcp_states.h */
	__u8 flags;	/* enum socket_flag */
	__u8 address[16];	/* of IPv4 the first four */
	__u8 peer[16];
	__u32 reserved;
};

enum socket_flag {
	V6_ONLY = 1,
	REUSE_PORT = 2,
	PORT_ASKED_FOR = 4,	/* SOCK_BINDPORT_LOCK: the program named it */
	PORT_CHOICE_KNOWN = 8,
	WHOLE = 16,	/* what only the socket itself tells was read: uid, v6-only, reuse-port, backlog */
};

/* Of the iterator over files of tasks. */
struct file_record {
	__u32 kind;	/* enum file_kind */
	__u32 pid;	/* as the reader's pid namespace counts, 0 if it is not in it */
	__u32 tid;
	__u32 fd;
	__u32 kernel_pid;	/* as the initial pid namespace counts */
	__u32 reserved;
	__u64 references;	/* to the open file, from everywhere; 0 where not known */
	struct socket_record socket;	/* of NAMESPACE_SEEN the cookies and inodes alone */
};

enum file_kind {
	SOCKET_HELD = 1,	/* a socket that waits for others */
	NAMESPACE_SEEN = 2,	/* some socket of a network namespace that was not told in this pass */
	NAMESPACE_HELD = 3,	/* a descriptor of a namespace of any kind */
	RING_HELD = 4,	/* an io_uring, which may hold sockets of its own */
	TASK_SEEN = 5,	/* a task whose files were looked through */
	TASK_IN_PART = 6,	/* one whose files are to be asked of the other iterator, for its process */
};

/* Of the ring. A record ends after the text that it has. */
struct event_record {
	__u64 boot_nanos;	/* CLOCK_BOOTTIME */
	__u64 start_nanos;	/* of the process, CLOCK_BOOTTIME */
	__u64 cgroup_id;
	__u64 program_inode;	/* 0 where there is no program */
	__u32 program_device;	/* as the kernel encodes it: major << 20 | minor */
	__u32 kind;	/* enum event_kind */
	__u32 pid;	/* as in file_record */
	__u32 kernel_pid;
	__u32 uid;	/* effective */
	__u16 program_length;	/* bytes of the text */
	__u16 cgroup_length;	/* bytes of the text, after those of the program */
	__u8 program_flags;	/* enum program_flag */
	__u8 reserved[5];
	__u16 text_length;
	char name[16];
	struct socket_record socket;
	char text[TEXT_MASK + 1];
};

enum event_kind {
	OPENED = 1,
	CLOSED = 2,
	/* Of processes that hold a socket that waits for others: */
	FORKED = 3,	/* pid is that of the child */
	EXECUTED = 4,
	EXITED = 5,
	CONNECTED = 6,	/* pid is that of who gives a bound UDP socket a peer */
};

enum program_flag {
	PROGRAM_CUT = 1,	/* the path is longer than the room for it */
	PROGRAM_DELETED = 2,
	CGROUP_CUT = 4,
	DESCRIBED_BEFORE = 8,	/* program and cgroup are those of the event of this process that has them */
};
