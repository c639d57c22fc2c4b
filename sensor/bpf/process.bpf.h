/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
 *
 * A process with its program and its cgroup, so that it is known when it is gone.
 */
#pragma once

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
