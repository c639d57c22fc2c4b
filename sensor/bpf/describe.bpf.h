/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
 *
 * What events and iterators tell alike: the number of a process, and a socket.
 */
#pragma once

/* Set before loading: the inode of the pid namespace of whoever reads the events. */
const volatile __u32 pid_namespace = 0;

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
 * whoever opens a socket waits for it. What was merely found, as an address somewhere, must be read by that call. Functions
 * for both are told which it is by a constant. */
#define FIELD(of, field, found) ((found) ? BPF_CORE_READ(of, field) : (of)->field)
#define BITFIELD(of, field, found) \
	((found) ? BPF_CORE_READ_BITFIELD_PROBED(of, field) : BPF_CORE_READ_BITFIELD(of, field))

/* An MPTCP socket leaves binding to its first subflow. */
static __always_inline __u8 locks_of(struct sock *sk, const bool found)
{
	if (FIELD(sk, sk_protocol, found) == IPPROTO_MPTCP && bpf_core_field_exists(struct mptcp_sock, first)) {
		struct sock *first = BPF_CORE_READ((struct mptcp_sock *)sk, first);

		if (first)
			return BPF_CORE_READ_BITFIELD_PROBED(first, sk_userlocks);
	}
	return BITFIELD(sk, sk_userlocks, found);
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

static __always_inline void describe(struct socket_record *to, struct sock *sk, __u64 cookie, const bool found)
{
	struct net *net = FIELD(sk, __sk_common.skc_net.net, found);
	__u8 locks = locks_of(sk, found);

	to->cookie = cookie;
	to->netns_cookie = FIELD(net, net_cookie, found);
	to->netns_inode = FIELD(net, ns.inum, found);
	to->uid = FIELD(sk, sk_uid.val, found);
	to->device = FIELD(sk, __sk_common.skc_bound_dev_if, found);
	to->backlog = FIELD(sk, sk_max_ack_backlog, found);
	to->family = FIELD(sk, __sk_common.skc_family, found);
	to->protocol = FIELD(sk, sk_protocol, found);
	to->type = FIELD(sk, sk_type, found);
	to->port = FIELD(sk, __sk_common.skc_num, found);
	to->peer_port = bpf_ntohs(FIELD(sk, __sk_common.skc_dport, found));
	to->state = FIELD(sk, __sk_common.skc_state, found);
	to->flags = PORT_CHOICE_KNOWN | WHOLE;
	if (BITFIELD(sk, __sk_common.skc_ipv6only, found))
		to->flags |= V6_ONLY;
	if (BITFIELD(sk, __sk_common.skc_reuseport, found))
		to->flags |= REUSE_PORT;
	if (locks & SOCK_BINDPORT_LOCK || narrows_choice(sk))
		to->flags |= PORT_ASKED_FOR;
	if (to->family == AF_INET6) {
		BPF_CORE_READ_INTO(&to->address, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&to->peer, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr8);
	} else {
		*(__u32 *)to->address = FIELD(sk, __sk_common.skc_rcv_saddr, found);
		*(__u32 *)to->peer = FIELD(sk, __sk_common.skc_daddr, found);
	}
}
