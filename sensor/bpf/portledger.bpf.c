// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
/*
 * What the kernel tells of sockets that wait for others: an iterator that reads all of them with their holders, and
 * hooks that tell opens and closes as they happen. Nothing here decides or refuses anything.
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

/* Several of the helpers are for programs under the GPL alone; this one may be taken under it. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Set before loading: the inode of the pid namespace of whoever reads the events. */
const volatile __u32 pid_namespace = 0;

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

/* In which pass of the iterator each network namespace was last told. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 12);
	__type(key, __u64);
	__type(value, __u64);
} met SEC(".maps");

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

/* How deep the pid namespace of whoever reads the events lies. A program cannot be told, for no system call tells it:
 * the iterator finds it when that process reads it. */
__u32 pid_level = 0;

/* The process of a task, as a pid namespace at this depth counts; 0 if it is not in it. */
static __noinline __u32 pid_of(struct task_struct *task, __u32 namespace, __u32 level)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	const struct upid *own = (const void *)pid + bpf_core_field_offset(struct pid, numbers) +
				 (__u64)level * bpf_core_type_size(struct upid);
	struct pid_namespace *ns = NULL;
	int number = 0;

	if (!pid || BPF_CORE_READ(pid, level) < level)
		return 0;
	bpf_core_read(&ns, sizeof(ns), &own->ns);
	if (!ns || BPF_CORE_READ(ns, ns.inum) != namespace)
		return 0;
	bpf_core_read(&number, sizeof(number), &own->nr);
	return number;
}

/* Pointers that a program is given may be followed in place. It costs a tenth of a call of bpf_probe_read_kernel(), and
 * whoever opens a socket waits for it. */
static __always_inline __u64 inode_of(struct sock *sk)
{
	struct socket *socket = sk->sk_socket;
	struct file *file;

	if (!socket)
		return 0;
	file = socket->file;
	return file ? file->f_inode->i_ino : 0;
}

/* An MPTCP socket leaves binding to its first subflow. */
static __always_inline __u8 locks_of(struct sock *sk)
{
	if (sk->sk_protocol == IPPROTO_MPTCP && bpf_core_field_exists(struct mptcp_sock, first)) {
		struct sock *first = BPF_CORE_READ((struct mptcp_sock *)sk, first);

		if (first)
			return BPF_CORE_READ_BITFIELD_PROBED(first, sk_userlocks);
	}
	return BPF_CORE_READ_BITFIELD(sk, sk_userlocks);
}

/* With IP_LOCAL_PORT_RANGE a program can leave the kernel a choice of one. */
static __always_inline bool narrows_choice(struct sock *sk)
{
	__u32 bounds = 0;

	if (bpf_core_field_exists(struct inet_sock___word, local_port_range))
		bpf_core_read(&bounds, sizeof(bounds), &((struct inet_sock___word *)sk)->local_port_range);
	else if (bpf_core_field_exists(struct inet_sock___pair, local_port_range))
		bpf_core_read(&bounds, sizeof(bounds), &((struct inet_sock___pair *)sk)->local_port_range);
	return bounds;
}

static __noinline void describe_socket(struct socket_record *to, struct sock *sk, __u64 cookie)
{
	struct net *net = sk->__sk_common.skc_net.net;
	__u8 locks = locks_of(sk);

	to->cookie = cookie;
	to->netns_cookie = net->net_cookie;
	to->netns_inode = net->ns.inum;
	to->uid = sk->sk_uid.val;
	to->device = sk->__sk_common.skc_bound_dev_if;
	to->backlog = sk->sk_max_ack_backlog;
	to->family = sk->__sk_common.skc_family;
	to->protocol = sk->sk_protocol;
	to->type = sk->sk_type;
	to->port = sk->__sk_common.skc_num;
	to->peer_port = bpf_ntohs(sk->__sk_common.skc_dport);
	to->state = sk->__sk_common.skc_state;
	to->flags = PORT_CHOICE_KNOWN | WHOLE;
	if (BPF_CORE_READ_BITFIELD(sk, __sk_common.skc_ipv6only))
		to->flags |= V6_ONLY;
	if (BPF_CORE_READ_BITFIELD(sk, __sk_common.skc_reuseport))
		to->flags |= REUSE_PORT;
	if (locks & SOCK_BINDPORT_LOCK || narrows_choice(sk))
		to->flags |= PORT_ASKED_FOR;
	if (to->family == AF_INET6) {
		BPF_CORE_READ_INTO(&to->address, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&to->peer, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr8);
	} else {
		*(__u32 *)to->address = sk->__sk_common.skc_rcv_saddr;
		*(__u32 *)to->peer = sk->__sk_common.skc_daddr;
	}
}

/* One component of a path behind the others; false where there is no room. The length so far stands in memory and not in a
 * register: of that a verifier knows nothing, so that each turn of a loop looks to it like the one before. */
static __always_inline bool append(struct event_record *event, const void *name)
{
	__u32 at = event->text_length;
	long length;

	if (at > TEXT_ROOM - COMPONENT)
		return false;
	length = bpf_probe_read_kernel_str(event->text + (at & (TEXT_ROOM - 1)), COMPONENT, name);
	if (length > 0)
		event->text_length = at + length;
	return true;
}

#define DEEPEST 24

/* Where the path of an open file goes from here: up a folder, or over to where its file system is mounted. */
static __always_inline void describe_path(struct event_record *event, struct file *file)
{
	struct vfsmount *vfsmount = BPF_CORE_READ(file, f_path.mnt);
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
	struct dentry *root = BPF_CORE_READ(vfsmount, mnt_root);
	struct mount *mount = (void *)vfsmount - bpf_core_field_offset(struct mount, mnt);

#pragma clang loop unroll(disable)
	for (int i = 0; i < DEEPEST; i++) {
		struct dentry *parent;

		if (dentry == root) {
			struct mount *above = BPF_CORE_READ(mount, mnt_parent);

			if (above == mount)
				return;
			dentry = BPF_CORE_READ(mount, mnt_mountpoint);
			root = BPF_CORE_READ(above, mnt.mnt_root);
			mount = above;
			continue;
		}
		if (!append(event, BPF_CORE_READ(dentry, d_name.name)))
			break;
		parent = BPF_CORE_READ(dentry, d_parent);
		/* A file that never had a folder, such as one of memfd_create(2). */
		if (parent == dentry)
			return;
		dentry = parent;
	}
	event->program_flags |= PROGRAM_CUT;
}

static __always_inline void describe_cgroup(struct event_record *event, struct task_struct *task)
{
	struct kernfs_node *node = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn);

#pragma clang loop unroll(disable)
	for (int i = 0; i < DEEPEST; i++) {
		struct kernfs_node *parent;

		if (bpf_core_field_exists(struct kernfs_node, parent))
			parent = BPF_CORE_READ(node, parent);
		else
			parent = BPF_CORE_READ((struct kernfs_node___rcu *)node, __parent);
		if (!parent)
			return;
		if (!append(event, BPF_CORE_READ(node, name)))
			break;
		node = parent;
	}
	event->program_flags |= CGROUP_CUT;
}

static __noinline void describe_task(struct event_record *event, struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;

	event->boot_nanos = bpf_ktime_get_boot_ns();
	event->cgroup_id = 0;
	event->program_inode = 0;
	event->program_device = 0;
	event->program_length = 0;
	event->cgroup_length = 0;
	event->program_flags = 0;
	event->text_length = 0;
	event->start_nanos = leader->start_boottime;
	event->pid = pid_of(leader, pid_namespace, pid_level);
	event->kernel_pid = task->tgid;
	event->uid = task->cred->euid.val;
	BPF_CORE_READ_INTO(&event->name, leader, comm);
}

/* Everything that is known of a process when it is gone; the length of the text. */
static __noinline __u32 describe_process(struct event_record *event, struct task_struct *task)
{
	struct mm_struct *mm = task->mm;
	struct file *program = mm ? mm->exe_file : NULL;

	describe_task(event, task);
	event->cgroup_id = task->cgroups->dfl_cgrp->kn->id;
	if (program) {
		struct inode *inode = program->f_inode;

		event->program_inode = inode->i_ino;
		event->program_device = inode->i_sb->s_dev;
		if (!program->f_path.dentry->d_hash.pprev)
			event->program_flags |= PROGRAM_DELETED;
		describe_path(event, program);
	}
	event->program_length = event->text_length;
	describe_cgroup(event, task);
	event->cgroup_length = event->text_length - event->program_length;
	return event->text_length;
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

static __always_inline bool is_wanted(struct sock *sk)
{
	__u8 state = sk->__sk_common.skc_state;
	__u16 protocol = sk->sk_protocol;
	__u16 type = sk->sk_type;

	if (type == SOCK_STREAM || type == SOCK_SEQPACKET)
		return state == TCP_LISTEN;
	if (type == SOCK_RAW)
		return state == TCP_CLOSE;
	if (protocol == IPPROTO_DCCP)
		return state == TCP_LISTEN;
	if (protocol != IPPROTO_UDP && protocol != IPPROTO_UDPLITE)
		return false;
	if (!sk->__sk_common.skc_num)
		return false;
	if (state == TCP_CLOSE)
		return true;
	/* Bound, then connected: only its peer reaches it, and no table of those who wait shows it. */
	return state == TCP_ESTABLISHED && (BPF_CORE_READ_BITFIELD(sk, sk_userlocks) & SOCK_BINDPORT_LOCK);
}

static __always_inline __u64 references_to(struct file *file)
{
	if (bpf_core_field_exists(struct file___counted, f_count))
		return BPF_CORE_READ((struct file___counted *)file, f_count.counter);
	if (bpf_core_field_exists(struct file___referenced, f_ref))
		/* The first reference counts as nought. */
		return BPF_CORE_READ((struct file___referenced *)file, f_ref.refcnt.counter) + 1;
	return 0;
}

static __always_inline void describe_file(struct file_record *to, struct bpf_iter__task_file *context,
					  struct task_struct *task, __u32 kind)
{
	/* As the pid namespace of whoever reads the iterator counts. */
	struct pid *reader = BPF_CORE_READ(bpf_get_current_task_btf(), thread_pid);
	__u32 level = BPF_CORE_READ(reader, level);
	const struct upid *own = (const void *)reader + bpf_core_field_offset(struct pid, numbers) +
				 (__u64)level * bpf_core_type_size(struct upid);
	struct pid_namespace *ns = NULL;
	__u32 namespace;

	bpf_core_read(&ns, sizeof(ns), &own->ns);
	namespace = BPF_CORE_READ(ns, ns.inum);
	if (namespace == pid_namespace)
		pid_level = level;
	to->kind = kind;
	to->pid = pid_of(task->group_leader, namespace, level);
	to->tid = pid_of(task, namespace, level);
	to->fd = context->fd;
	to->kernel_pid = task->tgid;
}

/* Whether a namespace is not told yet in this pass. */
static __always_inline bool is_news(struct bpf_iter__task_file *context, __u64 netns)
{
	__u64 *last = bpf_map_lookup_elem(&met, &netns);

	return !last || *last != context->meta->session_id;
}

/* Where a file's records find no room they are all dropped, and the file comes again: what was told of it is noted when
 * all of them were written. */
static __always_inline bool tell_file(struct bpf_iter__task_file *context, struct file_record *record)
{
	return !bpf_seq_write(context->meta->seq, record, sizeof(*record));
}

static __always_inline bool see_socket(struct bpf_iter__task_file *context, struct task_struct *task,
				       struct file *file, struct sock *sk)
{
	struct net *net = sk->__sk_common.skc_net.net;
	__u16 family = sk->__sk_common.skc_family;
	struct file_record record = {};
	__u64 netns = net->net_cookie;
	__u64 session = context->meta->session_id;
	bool news = is_news(context, netns);

	if (news) {
		describe_file(&record, context, task, NAMESPACE_SEEN);
		record.socket.netns_cookie = netns;
		record.socket.netns_inode = net->ns.inum;
		record.socket.inode = file->f_inode->i_ino;
		if (!tell_file(context, &record))
			return false;
	}
	if ((family == AF_INET || family == AF_INET6) && is_wanted(sk)) {
		describe_file(&record, context, task, SOCKET_HELD);
		record.references = references_to(file);
		describe_socket(&record.socket, sk, bpf_get_socket_cookie(sk));
		record.socket.inode = file->f_inode->i_ino;
		if (!tell_file(context, &record))
			return false;
	}
	if (news)
		bpf_map_update_elem(&met, &netns, &session, BPF_ANY);
	return true;
}

static __always_inline bool is_ring(struct file *file)
{
	char name[12] = {};

	bpf_probe_read_kernel_str(name, sizeof(name), file->f_path.dentry->d_name.name);
	/* "[io_uring]" */
	return *(__u64 *)name == 0x6e6972755f6f695bULL && name[8] == 'g' && name[9] == ']';
}

/* The task whose files were passed last, and in which pass. Where two passes run at once some tasks are told again. */
__u64 last_session = 0;
int last_task = 0;

static __always_inline bool see_file(struct bpf_iter__task_file *context, struct task_struct *task,
				     struct file *file)
{
	struct socket *socket = bpf_sock_from_file(file);
	struct file_record record = {};
	unsigned long magic;

	if (socket)
		return !socket->sk || see_socket(context, task, file, socket->sk);
	magic = file->f_inode->i_sb->s_magic;
	if (magic != NSFS_MAGIC && (magic != ANON_INODE_FS_MAGIC || !is_ring(file)))
		return true;
	describe_file(&record, context, task, magic == NSFS_MAGIC ? NAMESPACE_HELD : RING_HELD);
	record.socket.inode = file->f_inode->i_ino;
	return tell_file(context, &record);
}

/* Found by its name by those who want to share it: raise the number with every change of its records. */
SEC("iter/task_file")
int portledger_v1(struct bpf_iter__task_file *context)
{
	struct file *file = context->file;
	struct task_struct *task = context->task;
	struct file_record record = {};

	if (!file || !task)
		return 0;
	if (last_task != task->pid || last_session != context->meta->session_id) {
		describe_file(&record, context, task, TASK_SEEN);
		if (!tell_file(context, &record))
			return 0;
	}
	if (see_file(context, task, file)) {
		last_task = task->pid;
		last_session = context->meta->session_id;
	}
	return 0;
}
