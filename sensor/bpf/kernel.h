/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
 *
 * The fields of the kernel's structures that are read. Their places are found at load time (CO-RE), so only names and
 * types count here. A suffix after three underscores is another kernel's shape of the same structure.
 */
#pragma once

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_RAW 3
#define SOCK_SEQPACKET 5
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_DCCP 33
#define IPPROTO_SCTP 132
#define IPPROTO_UDPLITE 136
#define IPPROTO_MPTCP 262
/* include/net/tcp_states.h */
#define TCP_ESTABLISHED 1
#define TCP_CLOSE 7
#define TCP_LISTEN 10
/* include/net/sock.h */
#define SOCK_BINDPORT_LOCK 8
/* include/linux/fs.h */
#define FMODE_PATH (1 << 14)
/* include/uapi/linux/magic.h */
#define SOCKFS_MAGIC 0x534f434b
#define NSFS_MAGIC 0x6e736673
#define ANON_INODE_FS_MAGIC 0x09041934

#define read_in_place __attribute__((preserve_access_index))

typedef struct { __u32 val; } kuid_t;
typedef struct { int counter; } atomic_t;
typedef struct { __s64 counter; } atomic64_t;
struct hlist_bl_node { struct hlist_bl_node **pprev; } read_in_place;

struct ns_common { unsigned int inum; } read_in_place;
struct net { struct ns_common ns; __u64 net_cookie; } read_in_place;
struct pid_namespace { struct ns_common ns; } read_in_place;

typedef struct { struct net *net; } possible_net_t;
struct in6_addr { union { __u8 u6_addr8[16]; } in6_u; } read_in_place;

struct sock_common {
	__u16 skc_family;
	volatile unsigned char skc_state;
	unsigned char skc_reuse : 4;
	unsigned char skc_reuseport : 1;
	unsigned char skc_ipv6only : 1;
	int skc_bound_dev_if;
	__u32 skc_daddr;
	__u32 skc_rcv_saddr;
	__u16 skc_dport;
	__u16 skc_num;
	possible_net_t skc_net;
	atomic64_t skc_cookie;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
} read_in_place;

struct sock {
	struct sock_common __sk_common;
	kuid_t sk_uid;
	unsigned char sk_userlocks : 4;
	__u16 sk_type;
	__u16 sk_protocol;
	__u32 sk_max_ack_backlog;
	struct socket *sk_socket;
} read_in_place;

struct inet_sock { struct sock sk; __u16 inet_sport; } read_in_place;
/* The bounds that a program gives to the kernel's choice of a port: since Linux 6.3, and since 6.8. */
struct port_range { __u16 lo, hi; };
struct inet_sock___pair { struct port_range local_port_range; } read_in_place;
struct inet_sock___word { __u32 local_port_range; } read_in_place;
struct mptcp_sock { struct sock *first; } read_in_place;

struct super_block { __u32 s_dev; unsigned long s_magic; } read_in_place;
struct inode { unsigned long i_ino; struct super_block *i_sb; } read_in_place;
struct qstr { const unsigned char *name; } read_in_place;
struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	struct hlist_bl_node d_hash;
} read_in_place;
struct vfsmount { struct dentry *mnt_root; } read_in_place;
struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
} read_in_place;
struct path { struct vfsmount *mnt; struct dentry *dentry; } read_in_place;

struct file_operations;
typedef struct { atomic64_t refcnt; } file_ref_t;
struct file {
	unsigned int f_mode;
	const struct file_operations *f_op;
	struct inode *f_inode;
	struct path f_path;
	void *private_data;
	/* Before and since Linux 6.13. */
	atomic64_t f_count;
	file_ref_t f_ref;
} read_in_place;
struct socket { struct file *file; struct sock *sk; } read_in_place;

struct fdtable { unsigned int max_fds; struct file **fd; } read_in_place;
struct files_struct { struct fdtable *fdt; } read_in_place;

struct upid { int nr; struct pid_namespace *ns; } read_in_place;
struct pid { unsigned int level; struct upid numbers[1]; } read_in_place;
struct cred { kuid_t euid; } read_in_place;
struct mm_struct { struct file *exe_file; } read_in_place;
struct signal_struct { atomic_t live; } read_in_place;

struct kernfs_node { const char *name; struct kernfs_node *parent; __u64 id; } read_in_place;
/* Since Linux 6.15. */
struct kernfs_node___rcu { struct kernfs_node *__parent; } read_in_place;
struct cgroup { struct kernfs_node *kn; } read_in_place;
struct css_set { struct cgroup *dfl_cgrp; } read_in_place;

struct task_struct {
	int pid;
	int tgid;
	__u64 start_boottime;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	struct signal_struct *signal;
	struct files_struct *files;
	const struct cred *cred;
	struct mm_struct *mm;
	struct css_set *cgroups;
	char comm[16];
} read_in_place;

struct seq_file;
struct bpf_iter_meta { struct seq_file *seq; __u64 session_id; __u64 seq_num; } read_in_place;
/* Contexts, whose layout a verifier knows. */
struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	__u32 reserved;
	struct file *file;
};
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};
