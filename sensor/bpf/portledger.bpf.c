// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
/*
 * What the kernel tells of sockets that wait for others: iterators that read all of them with their holders, and hooks
 * that tell opens and closes as they happen. Nothing here decides or refuses anything.
 */
#include <stdbool.h>
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

#include "kernel.h"
#include "records.h"
#include "describe.bpf.h"
#include "process.bpf.h"

/* Several of the helpers are for programs under the GPL alone; this one may be taken under it. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* How many events found no room; read by mapping it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} lost SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 19);
} events SEC(".maps");

/* Sockets whose end is told by cgroup/sock_release, which tells no more of them than the cookie. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 16);
	__type(key, __u64);
	__type(value, __u8);
} waiting SEC(".maps");

/* UDP sockets between bind(2) with port 0 and the choice of the port. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u8);
} portless SEC(".maps");

/* Processes that hold a socket that waits for others, by their pid in the initial pid namespace, and whether their program
 * and cgroup were told. */
enum holder_state {
	FOLLOWED = 1,
	DESCRIBED = 2,
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 15);
	__type(key, __u32);
	__type(value, __u8);
} holders SEC(".maps");

/* An event is too large for the stack. A program may be preempted by another one on its processor, so each takes a
 * place of its own. */
#define PLACES 4

struct place {
	__u64 taken;
	struct event_record event;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PLACES);
	__type(key, __u32);
	__type(value, struct place);
} places SEC(".maps");

static __always_inline void lose(void)
{
	__u32 first = 0;
	__u64 *count = bpf_map_lookup_elem(&lost, &first);

	if (count)
		__sync_fetch_and_add(count, 1);
}

static __always_inline struct place *take_place(void)
{
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < PLACES; i++) {
		__u32 key = i;
		struct place *place = bpf_map_lookup_elem(&places, &key);

		if (place && !__sync_lock_test_and_set(&place->taken, 1))
			return place;
	}
	lose();
	return NULL;
}

static __always_inline bool send(struct place *place, __u32 text)
{
	bool sent = true;
	__u64 size = __builtin_offsetof(struct event_record, text) + (text & TEXT_MASK);

	if (bpf_ringbuf_output(&events, &place->event, size, 0)) {
		lose();
		sent = false;
	}
	__sync_lock_test_and_set(&place->taken, 0);
	return sent;
}

static __always_inline __u64 inode_of(struct sock *sk)
{
	struct socket *socket = sk->sk_socket;
	struct file *file;

	if (!socket)
		return 0;
	file = socket->file;
	return file ? file->f_inode->i_ino : 0;
}

static __noinline void describe_socket(struct socket_record *to, struct sock *sk, __u64 cookie)
{
	describe(to, sk, cookie, false);
}

static __always_inline void remember_holder(struct task_struct *task)
{
	__u32 pid = task->tgid;
	__u8 state = FOLLOWED;

	bpf_map_update_elem(&holders, &pid, &state, BPF_NOEXIST);
}

/* Ends the event of an open. A process is described at its first, and again after it executes another program: whoever
 * opens a socket waits for it. */
static __noinline void send_open(struct place *place)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 pid = task->tgid;
	__u8 *known = bpf_map_lookup_elem(&holders, &pid);
	__u8 state = DESCRIBED;

	if (known && *known == DESCRIBED) {
		describe_task(&place->event, task);
		place->event.program_flags = DESCRIBED_BEFORE;
		send(place, 0);
	} else if (send(place, describe_process(&place->event, task)) &&
		   bpf_map_update_elem(&holders, &pid, &state, BPF_ANY)) {
		lose();
	}
}

static __always_inline void tell_state(struct sock *sk, __u32 kind)
{
	struct place *place = take_place();

	if (!place)
		return;
	describe_socket(&place->event.socket, sk, bpf_get_socket_cookie(sk));
	place->event.socket.inode = inode_of(sk);
	place->event.kind = kind;
	if (kind == OPENED) {
		send_open(place);
		return;
	}
	/* By now the port is given back; what was listened on is told here still. */
	place->event.socket.port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	describe_task(&place->event, bpf_get_current_task_btf());
	send(place, 0);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(stream_state, struct sock *sk, int before, int after)
{
	if (after == TCP_LISTEN)
		tell_state(sk, OPENED);
	else if (before == TCP_LISTEN && after == TCP_CLOSE)
		tell_state(sk, CLOSED);
	return 0;
}

/* What a cgroup program is told of a socket is less than what the socket knows: the reader asks for the rest. */
static __always_inline struct place *begin_datagram(struct bpf_sock *sk)
{
	__u64 cookie = bpf_get_socket_cookie(sk);
	struct place *place = take_place();
	struct socket_record *socket;
	__u8 yes = 1;

	if (!place)
		return NULL;
	/* Without room its end is told by nobody. */
	if (bpf_map_update_elem(&waiting, &cookie, &yes, BPF_ANY))
		lose();
	place->event.kind = OPENED;
	socket = &place->event.socket;
	__builtin_memset(socket, 0, sizeof(*socket));
	socket->cookie = cookie;
	socket->netns_cookie = bpf_get_netns_cookie(sk);
	socket->family = sk->family;
	socket->protocol = sk->protocol;
	socket->type = sk->type;
	socket->state = TCP_CLOSE;
	socket->flags = PORT_CHOICE_KNOWN;
	return place;
}

static __always_inline int note_port_choice(struct bpf_sock_addr *context)
{
	__u64 cookie;
	__u8 yes = 1;

	if (context->type != SOCK_DGRAM)
		return 1;
	cookie = bpf_get_socket_cookie(context);
	if (context->user_port)
		/* It may have asked for none before, and been refused. */
		bpf_map_delete_elem(&portless, &cookie);
	else
		bpf_map_update_elem(&portless, &cookie, &yes, BPF_ANY);
	return 1;
}

SEC("cgroup/bind4")
int asked_port4(struct bpf_sock_addr *context)
{
	return note_port_choice(context);
}

SEC("cgroup/bind6")
int asked_port6(struct bpf_sock_addr *context)
{
	return note_port_choice(context);
}

static __always_inline struct place *begin_bound(struct bpf_sock *sk)
{
	struct place *place;

	if (sk->type != SOCK_DGRAM || (sk->protocol != IPPROTO_UDP && sk->protocol != IPPROTO_UDPLITE))
		return NULL;
	place = begin_datagram(sk);
	if (!place)
		return NULL;
	place->event.socket.port = sk->src_port;
	if (bpf_map_delete_elem(&portless, &place->event.socket.cookie))
		place->event.socket.flags |= PORT_ASKED_FOR;
	return place;
}

SEC("cgroup/post_bind4")
int bound4(struct bpf_sock *sk)
{
	struct place *place = begin_bound(sk);

	if (!place)
		return 1;
	*(__u32 *)place->event.socket.address = sk->src_ip4;
	send_open(place);
	return 1;
}

SEC("cgroup/post_bind6")
int bound6(struct bpf_sock *sk)
{
	struct place *place = begin_bound(sk);
	__u32 *address;

	if (!place)
		return 1;
	address = (__u32 *)place->event.socket.address;
	address[0] = sk->src_ip6[0];
	address[1] = sk->src_ip6[1];
	address[2] = sk->src_ip6[2];
	address[3] = sk->src_ip6[3];
	send_open(place);
	return 1;
}

/* Connected sockets wait for nobody but their peer. */
static __always_inline int gains_peer(struct bpf_sock_addr *context)
{
	struct place *place;
	__u64 cookie;

	if (context->type != SOCK_DGRAM)
		return 1;
	cookie = bpf_get_socket_cookie(context);
	if (!bpf_map_lookup_elem(&waiting, &cookie))
		return 1;
	place = take_place();
	if (!place)
		return 1;
	__builtin_memset(&place->event.socket, 0, sizeof(place->event.socket));
	place->event.socket.cookie = cookie;
	place->event.socket.netns_cookie = bpf_get_netns_cookie(context);
	place->event.kind = CONNECTED;
	describe_task(&place->event, bpf_get_current_task_btf());
	send(place, 0);
	return 1;
}

SEC("cgroup/connect4")
int gains_peer4(struct bpf_sock_addr *context)
{
	return gains_peer(context);
}

SEC("cgroup/connect6")
int gains_peer6(struct bpf_sock_addr *context)
{
	return gains_peer(context);
}

SEC("cgroup/sock_create")
int raw_created(struct bpf_sock *sk)
{
	struct place *place;

	if (sk->type != SOCK_RAW)
		return 1;
	place = begin_datagram(sk);
	if (!place)
		return 1;
	place->event.socket.port = sk->protocol;
	place->event.socket.flags |= PORT_ASKED_FOR;
	send_open(place);
	return 1;
}

SEC("cgroup/sock_release")
int released(struct bpf_sock *sk)
{
	struct place *place;
	__u64 cookie;

	/* The end of what has connections is told with its state. */
	if (sk->type == SOCK_STREAM)
		return 1;
	cookie = bpf_get_socket_cookie(sk);
	if (bpf_map_delete_elem(&waiting, &cookie))
		return 1;
	place = take_place();
	if (!place)
		return 1;
	__builtin_memset(&place->event.socket, 0, sizeof(place->event.socket));
	place->event.socket.cookie = cookie;
	place->event.socket.netns_cookie = bpf_get_netns_cookie(sk);
	place->event.socket.protocol = sk->protocol;
	place->event.socket.type = sk->type;
	place->event.kind = CLOSED;
	describe_task(&place->event, bpf_get_current_task_btf());
	send(place, 0);
	return 1;
}

/* The same by functions of the kernel, where it lets programs be attached to them, for when the root of the cgroups is
 * out of reach. They tell the whole socket. */
static __noinline void tell_whole(struct sock *sk, __u32 kind)
{
	__u64 cookie = bpf_get_socket_cookie(sk);
	struct place *place;
	__u8 yes = 1;

	if (kind == CLOSED && bpf_map_delete_elem(&waiting, &cookie))
		return;
	place = take_place();
	if (!place)
		return;
	describe_socket(&place->event.socket, sk, cookie);
	place->event.socket.inode = inode_of(sk);
	place->event.kind = kind;
	if (kind == OPENED) {
		if (bpf_map_update_elem(&waiting, &cookie, &yes, BPF_ANY))
			lose();
		send_open(place);
	} else {
		describe_task(&place->event, bpf_get_current_task_btf());
		send(place, 0);
	}
}

static __always_inline int bound_by_function(struct sock *sk, int failure)
{
	__u16 protocol = sk->sk_protocol;

	if (!failure && sk->sk_type == SOCK_DGRAM && (protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE) &&
	    sk->__sk_common.skc_num)
		tell_whole(sk, OPENED);
	return 0;
}

SEC("fexit/__inet_bind")
int BPF_PROG(function_bound4, struct sock *sk, const void *address, int length, __u32 flags, int failure)
{
	return bound_by_function(sk, failure);
}

SEC("fexit/__inet6_bind")
int BPF_PROG(function_bound6, struct sock *sk, const void *address, int length, __u32 flags, int failure)
{
	return bound_by_function(sk, failure);
}

static __always_inline int created_by_function(struct socket *socket, int kernels, int failure)
{
	struct sock *sk = socket->sk;

	if (!failure && !kernels && sk && sk->sk_type == SOCK_RAW)
		tell_whole(sk, OPENED);
	return 0;
}

SEC("fexit/inet_create")
int BPF_PROG(function_made4, struct net *net, struct socket *socket, int protocol, int kernels, int failure)
{
	return created_by_function(socket, kernels, failure);
}

SEC("fexit/inet6_create")
int BPF_PROG(function_made6, struct net *net, struct socket *socket, int protocol, int kernels, int failure)
{
	return created_by_function(socket, kernels, failure);
}

SEC("fentry/inet_release")
int BPF_PROG(function_released, struct socket *socket)
{
	struct sock *sk = socket->sk;

	if (sk && sk->sk_type != SOCK_STREAM)
		tell_whole(sk, CLOSED);
	return 0;
}

static __always_inline void tell_process(struct task_struct *task, __u32 kind)
{
	struct place *place = take_place();

	if (!place)
		return;
	__builtin_memset(&place->event.socket, 0, sizeof(place->event.socket));
	place->event.kind = kind;
	describe_task(&place->event, task);
	send(place, 0);
}

static __always_inline bool is_holder(struct task_struct *task)
{
	__u32 pid = task->tgid;

	return bpf_map_lookup_elem(&holders, &pid);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_forked, struct task_struct *parent, struct task_struct *child)
{
	if (child->tgid == parent->tgid || !is_holder(parent))
		return 0;
	remember_holder(child);
	tell_process(child, FORKED);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_executed, struct task_struct *task)
{
	__u32 pid = task->tgid;
	__u8 *known = bpf_map_lookup_elem(&holders, &pid);

	if (known) {
		*known = FOLLOWED;
		tell_process(task, EXECUTED);
	}
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exited, struct task_struct *task)
{
	__u32 pid = task->tgid;

	if (BPF_CORE_READ(task, signal, live.counter) || !is_holder(task))
		return 0;
	bpf_map_delete_elem(&holders, &pid);
	tell_process(task, EXITED);
	return 0;
}

#include "iterators.bpf.h"
