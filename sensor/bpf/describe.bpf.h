/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
 *
 * What is told of a socket, and of a process.
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

/* What was merely found, by reading an address somewhere, must be read by that call. Functions for both are told which it
 * is by a constant. */
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

static __noinline void describe_socket(struct socket_record *to, struct sock *sk, __u64 cookie)
{
	describe(to, sk, cookie, false);
}

/* The same of one whose address was merely found. */
static __noinline void describe_found(struct socket_record *to, struct sock *sk, __u64 cookie)
{
	describe(to, sk, cookie, true);
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
