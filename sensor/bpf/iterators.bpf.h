/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
 *
 * Two ways to the open files of all tasks, which tell the same. One has the kernel hand out each file, which takes a
 * reference to it: that costs several times what the rest does, and others meet the reference. The other one reads the
 * tables of descriptors itself, takes nothing, and looks twice at what it tells. It leaves to the first what it cannot:
 * sockets that no cookie was asked of yet, and tasks with more than one buffer or one moment takes.
 */
#pragma once

/* In which pass each network namespace was last told. */
struct meeting {
	__u64 session;
	__u64 show;
	__u32 task;
	__u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 12);
	__type(key, __u64);
	__type(value, struct meeting);
} met SEC(".maps");

/* Where a pass is. */
struct look {
	struct seq_file *seq;
	struct task_struct *task;
	__u64 session;
	/* Of a task whose files are told together. Where they find no room the kernel drops them and shows the task again. */
	__u64 show;
	__u32 task_id;
	__u32 fd;
	/* As the pid namespace of whoever reads the iterator counts. */
	__u32 pid;
	__u32 tid;
	/* As the initial pid namespace counts. */
	__u32 kernel_pid;
};

/* Tables with more are left to the other iterator, which lets others run meanwhile. */
#define MOST_SLOTS (1 << 17)
/* The kernel's buffer takes 32 KiB (BPF_ITER_MAX_SEQ of kernel/bpf/bpf_iter.c). */
#define MOST_RECORDS 128
#define SLOTS_AT_ONCE 16

/* The table of descriptors of one task. */
struct scan {
	struct look look;
	struct files_struct *files;
	struct file **slots;
	struct file *ahead[SLOTS_AT_ONCE];
	/* The operations of the file that was last found to be of no interest. */
	const struct file_operations *dull;
	__u32 size;
	__u32 records;
	__u32 is_over;	/* 0 or 1 */
	bool in_part;
};

static __always_inline void leave_to_the_other(struct scan *scan)
{
	scan->in_part = true;
	scan->is_over = 1;
}

static __always_inline bool is_wanted(struct sock *sk)
{
	__u16 type = BPF_CORE_READ(sk, sk_type);
	__u8 state = BPF_CORE_READ(sk, __sk_common.skc_state);
	__u16 protocol;

	if (type == SOCK_STREAM || type == SOCK_SEQPACKET)
		return state == TCP_LISTEN;
	if (type == SOCK_RAW)
		return state == TCP_CLOSE;
	protocol = BPF_CORE_READ(sk, sk_protocol);
	if (protocol == IPPROTO_DCCP)
		return state == TCP_LISTEN;
	if (protocol != IPPROTO_UDP && protocol != IPPROTO_UDPLITE)
		return false;
	if (!BPF_CORE_READ(sk, __sk_common.skc_num))
		return false;
	if (state == TCP_CLOSE)
		return true;
	/* Bound, then connected: only its peer reaches it, and no table of those who wait shows it. */
	return state == TCP_ESTABLISHED && (BPF_CORE_READ_BITFIELD_PROBED(sk, sk_userlocks) & SOCK_BINDPORT_LOCK);
}

static __always_inline __u64 references_to(struct file *file)
{
	if (bpf_core_field_exists(struct file, f_count))
		return BPF_CORE_READ(file, f_count.counter);
	if (bpf_core_field_exists(struct file, f_ref))
		/* The first reference counts as nought. */
		return BPF_CORE_READ(file, f_ref.refcnt.counter) + 1;
	return 0;
}

static __always_inline void number_task(struct look *look, struct task_struct *task)
{
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
	look->pid = pid_of(BPF_CORE_READ(task, group_leader), namespace, level);
	look->tid = pid_of(task, namespace, level);
	look->kernel_pid = BPF_CORE_READ(task, tgid);
}

static __always_inline void describe_file(struct file_record *to, struct look *look, __u32 kind)
{
	to->kind = kind;
	to->pid = look->pid;
	to->tid = look->tid;
	to->fd = look->fd;
	to->kernel_pid = look->kernel_pid;
}

/* Whether a namespace is not told yet in this pass. */
static __always_inline bool is_news(struct look *look, __u64 netns)
{
	struct meeting *last = bpf_map_lookup_elem(&met, &netns);

	if (!last || last->session != look->session)
		return true;
	return last->task == look->task_id && last->show != look->show;
}

static __always_inline void meet(struct look *look, __u64 netns)
{
	struct meeting meeting = {
		.session = look->session,
		.show = look->show,
		.task = look->task_id,
	};

	bpf_map_update_elem(&met, &netns, &meeting, BPF_ANY);
}

static __always_inline bool tell(struct look *look, struct file_record *record)
{
	return !bpf_seq_write(look->seq, record, sizeof(*record));
}

static __always_inline bool is_ring(struct file *file)
{
	char name[12] = {};

	bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(file, f_path.dentry, d_name.name));
	/* "[io_uring]" */
	return *(__u64 *)name == 0x6e6972755f6f695bULL && name[8] == 'g' && name[9] == ']';
}

/* The kind of an open file that is no socket; 0 where it is of no interest. */
static __always_inline __u32 kind_of(struct file *file, unsigned long magic)
{
	if (magic == NSFS_MAGIC)
		return NAMESPACE_HELD;
	return magic == ANON_INODE_FS_MAGIC && is_ring(file) ? RING_HELD : 0;
}

static __always_inline bool is_inet(struct sock *sk)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	return family == AF_INET || family == AF_INET6;
}

/* Of a socket whose address was merely found. */
static __noinline void describe_found(struct socket_record *to, struct sock *sk, __u64 cookie)
{
	describe(to, sk, cookie, true);
}

/* The first iterator. The task whose files were passed last, and in which pass. Where two passes run at once some tasks are
 * told again. */
__u64 last_session = 0;
__u32 last_task = 0;

static __always_inline bool see_socket(struct look *look, struct file *file, struct sock *sk)
{
	__u64 netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, net_cookie);
	struct file_record record = {};
	bool news = is_news(look, netns);
	bool wanted = is_inet(sk) && is_wanted(sk);

	if (!news && !wanted)
		return true;
	number_task(look, look->task);
	if (news) {
		describe_file(&record, look, NAMESPACE_SEEN);
		record.socket.netns_cookie = netns;
		record.socket.netns_inode = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
		record.socket.inode = BPF_CORE_READ(file, f_inode, i_ino);
		if (!tell(look, &record))
			return false;
	}
	if (wanted) {
		describe_file(&record, look, SOCKET_HELD);
		record.references = references_to(file);
		/* One is taken for handing it out. */
		if (record.references)
			record.references--;
		describe_found(&record.socket, sk, bpf_get_socket_cookie(sk));
		record.socket.inode = BPF_CORE_READ(file, f_inode, i_ino);
		if (!tell(look, &record))
			return false;
	}
	/* A file's records that find no room are all dropped, and it comes again. */
	if (news)
		meet(look, netns);
	return true;
}

static __always_inline bool see_file(struct look *look, struct file *file)
{
	struct socket *socket = bpf_sock_from_file(file);
	struct file_record record = {};
	__u32 kind;

	if (socket)
		return !socket->sk || see_socket(look, file, socket->sk);
	kind = kind_of(file, BPF_CORE_READ(file, f_inode, i_sb, s_magic));
	if (!kind)
		return true;
	number_task(look, look->task);
	describe_file(&record, look, kind);
	record.socket.inode = BPF_CORE_READ(file, f_inode, i_ino);
	return tell(look, &record);
}

/* Found by its name by those who want to share it: raise the number with every change of its records. */
SEC("iter/task_file")
int portledger_f2(struct bpf_iter__task_file *context)
{
	struct file *file = context->file;
	struct look look = {};
	struct file_record record = {};

	look.task = context->task;
	if (!file || !look.task)
		return 0;
	look.seq = context->meta->seq;
	look.session = context->meta->session_id;
	look.fd = context->fd;
	look.task_id = look.task->pid;
	if (last_task != look.task_id || last_session != look.session) {
		number_task(&look, look.task);
		describe_file(&record, &look, TASK_SEEN);
		if (!tell(&look, &record))
			return 0;
	}
	if (see_file(&look, file)) {
		last_task = look.task_id;
		last_session = look.session;
	}
	return 0;
}

/* The second iterator. */

/* Nothing keeps the files from being closed, nor their memory from being used again, also while it is read. What is told
 * must stand in its place before and after, and a cookie is never used again. */
static __always_inline bool is_still_there(struct scan *scan, struct file *file)
{
	struct task_struct *task = scan->look.task;
	struct files_struct *files = BPF_CORE_READ(task, files);
	struct file *now = NULL;

	if (files != scan->files)
		return false;
	bpf_probe_read_kernel(&now, sizeof(now), BPF_CORE_READ(files, fdt, fd) + scan->look.fd);
	return now == file;
}

static __always_inline bool is_still_socket(struct scan *scan, struct file *file, struct sock *sk, __u64 cookie)
{
	struct socket *socket = BPF_CORE_READ(file, private_data);

	return BPF_CORE_READ(socket, sk) == sk && (__u64)BPF_CORE_READ(sk, __sk_common.skc_cookie.counter) == cookie &&
	       is_still_there(scan, file);
}

static __always_inline void tell_of_scan(struct scan *scan, struct file_record *record, bool is_still_there)
{
	if (!is_still_there || scan->records >= MOST_RECORDS)
		leave_to_the_other(scan);
	else if (tell(&scan->look, record))
		scan->records++;
	else
		scan->is_over = 1;
}

static __noinline void scan_socket(struct scan *scan, struct file *file)
{
	struct socket *socket = BPF_CORE_READ(file, private_data);
	struct file_record record = {};
	struct sock *sk;
	__u64 netns, cookie;

	/* What is open by its path alone has no socket, and one that is reused has another file. */
	if (!socket || BPF_CORE_READ(socket, file) != file)
		return;
	sk = BPF_CORE_READ(socket, sk);
	if (!sk)
		return;
	cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, net_cookie);
	if (is_news(&scan->look, netns)) {
		describe_file(&record, &scan->look, NAMESPACE_SEEN);
		record.socket.netns_cookie = netns;
		record.socket.netns_inode = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
		record.socket.inode = BPF_CORE_READ(file, f_inode, i_ino);
		tell_of_scan(scan, &record, is_still_socket(scan, file, sk, cookie));
		meet(&scan->look, netns);
	}
	if (!is_inet(sk) || !is_wanted(sk))
		return;
	if (!cookie) {
		leave_to_the_other(scan);
		return;
	}
	describe_file(&record, &scan->look, SOCKET_HELD);
	record.references = references_to(file);
	describe_found(&record.socket, sk, cookie);
	record.socket.inode = BPF_CORE_READ(file, f_inode, i_ino);
	tell_of_scan(scan, &record, is_still_socket(scan, file, sk, cookie));
}

static __noinline void scan_other(struct scan *scan, struct file *file, __u32 kind)
{
	struct file_record record = {};

	describe_file(&record, &scan->look, kind);
	record.socket.inode = BPF_CORE_READ(file, f_inode, i_ino);
	tell_of_scan(scan, &record, is_still_there(scan, file));
}

/* Files with the same operations are of the same interest, but for those that are open by their path alone: all of these
 * have the same. */
static __always_inline void scan_file(struct scan *scan, struct file *file)
{
	const struct file_operations *operations = BPF_CORE_READ(file, f_op);
	unsigned long magic;
	__u32 kind;

	if (operations == scan->dull)
		return;
	magic = BPF_CORE_READ(file, f_inode, i_sb, s_magic);
	if (magic == SOCKFS_MAGIC) {
		scan_socket(scan, file);
		return;
	}
	kind = kind_of(file, magic);
	if (kind)
		scan_other(scan, file, kind);
	/* Its memory may be another file's by now. */
	else if (!(BPF_CORE_READ(file, f_mode) & FMODE_PATH) && BPF_CORE_READ(file, f_op) == operations &&
		 is_still_there(scan, file))
		scan->dull = operations;
}

/* One slot each time: of a loop in here a verifier would follow every turn by itself. */
static long scan_slot(__u32 slot, struct scan *scan)
{
	struct file *file;

	/* Tables have a multiple of 64 slots. */
	if (slot >= scan->size)
		return 1;
	if (slot % SLOTS_AT_ONCE == 0 &&
	    bpf_probe_read_kernel(scan->ahead, sizeof(scan->ahead), scan->slots + slot)) {
		leave_to_the_other(scan);
		return 1;
	}
	file = scan->ahead[slot % SLOTS_AT_ONCE];
	if (file) {
		scan->look.fd = slot;
		scan_file(scan, file);
	}
	/* A verifier sees that this is 0 or 1. */
	return scan->is_over & 1;
}

static __noinline bool tell_task(struct scan *scan, __u32 kind)
{
	struct file_record record = {};

	describe_file(&record, &scan->look, kind);
	return tell(&scan->look, &record);
}

/* Found by its name, as the other one. */
SEC("iter/task")
int portledger_t2(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	struct files_struct *files;
	struct scan scan = {};

	if (!task)
		return 0;
	scan.files = BPF_CORE_READ(task, files);
	scan.look.task_id = BPF_CORE_READ(task, pid);
	if (scan.look.task_id != BPF_CORE_READ(task, group_leader, pid) &&
	    (!scan.files || scan.files == BPF_CORE_READ(task, group_leader, files)))
		return 0;
	scan.look.task = task;
	scan.look.seq = context->meta->seq;
	scan.look.session = context->meta->session_id;
	scan.look.show = bpf_ktime_get_ns();
	number_task(&scan.look, task);
	if (!tell_task(&scan, TASK_SEEN) || !scan.files)
		return 0;
	files = scan.files;
	scan.size = BPF_CORE_READ(files, fdt, max_fds);
	scan.slots = BPF_CORE_READ(files, fdt, fd);
	if (scan.size <= MOST_SLOTS)
		bpf_loop(MOST_SLOTS, scan_slot, &scan, 0);
	if (scan.in_part || scan.size > MOST_SLOTS)
		tell_task(&scan, TASK_IN_PART);
	return 0;
}
