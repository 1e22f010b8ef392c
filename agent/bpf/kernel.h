/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The few fields of kernel structures that the programs read. The loader finds each by name in the BTF of the running kernel (CO-RE), so neither
 * order nor offsets nor what is left out matter here, and building needs no kernel's BTF.
 */
#ifndef PORTREEVE_KERNEL_H
#define PORTREEVE_KERNEL_H

#include <linux/bpf.h>
#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	char name[16];
	int ifindex;
	possible_net_t nd_net;
};

struct dst_entry {
	struct net_device *dev;
};

struct rtable {
	__u16 rt_type;
};

struct rt6_info {
	__u32 rt6i_flags;
};

struct sock_common {
	possible_net_t skc_net;
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
};

struct sk_buff {
	struct net_device *dev;
	unsigned long _skb_refdst;
	unsigned long _nfct;
	unsigned int len;
	int skb_iif;
	__be16 protocol;
	__u16 network_header;
	unsigned char *head;
	unsigned char *data;
};

union nf_inet_addr {
	__u32 all[4];
};

struct nf_conntrack_man {
	union nf_inet_addr u3;
	union {
		__be16 all;
	} u;
};

struct nf_conntrack_tuple {
	struct nf_conntrack_man src;
	struct {
		union nf_inet_addr u3;
		union {
			__be16 all;
		} u;
	} dst;
};

struct nf_conntrack_tuple_hash {
	struct nf_conntrack_tuple tuple;
};

struct nf_conn {
	struct nf_conntrack_tuple_hash tuplehash[2];
};

struct kernfs_node {
	const char *name;
	struct kernfs_node *parent;
};

/* Since 6.15 the field has another name. */
struct kernfs_node___renamed {
	struct kernfs_node *__parent;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
};

struct css_set {
	struct cgroup_subsys_state *subsys[16];
	struct cgroup *dfl_cgrp;
};

typedef struct {
	unsigned int val;
} kuid_t;

struct cred {
	kuid_t uid;
};

struct nsproxy {
	struct net *net_ns;
};

struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
};

struct task_struct {
	int pid;
	int tgid;
	int exit_code;
	char comm[16];
	struct task_struct *real_parent;
	struct mm_struct *mm;
	struct nsproxy *nsproxy;
	const struct cred *cred;
	struct css_set *cgroups;
	kuid_t loginuid;
};

struct linux_binprm {
	const char *filename;
};

struct trace_event_raw_sys_enter {
	long int id;
	unsigned long args[6];
};

struct trace_event_raw_sys_exit {
	long int id;
	long int ret;
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long di, si, dx, cx, r8, ax;
};
#elif defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
	unsigned long regs[31];
};
#endif

#pragma clang attribute pop

/* Numbers of drop reasons differ between kernels, and before 5.17 there are none: only names are used, and whether they exist is asked. */
enum skb_drop_reason {
	SKB_NOT_DROPPED_YET,
	SKB_CONSUMED,
	SKB_DROP_REASON_NOT_SPECIFIED,
};

enum cgroup_subsys_id {
	pids_cgrp_id,
};

/* The arguments of a probed function. */
#if defined(__TARGET_ARCH_x86)
#define PARM1(ctx) BPF_CORE_READ((struct pt_regs *)(ctx), di)
#define PARM2(ctx) BPF_CORE_READ((struct pt_regs *)(ctx), si)
#define PARM3(ctx) BPF_CORE_READ((struct pt_regs *)(ctx), dx)
#define PARM4(ctx) BPF_CORE_READ((struct pt_regs *)(ctx), cx)
#define RESULT(ctx) BPF_CORE_READ((struct pt_regs *)(ctx), ax)
#elif defined(__TARGET_ARCH_arm64)
#define PARM1(ctx) BPF_CORE_READ((struct user_pt_regs *)(ctx), regs[0])
#define PARM2(ctx) BPF_CORE_READ((struct user_pt_regs *)(ctx), regs[1])
#define PARM3(ctx) BPF_CORE_READ((struct user_pt_regs *)(ctx), regs[2])
#define PARM4(ctx) BPF_CORE_READ((struct user_pt_regs *)(ctx), regs[3])
#define RESULT(ctx) BPF_CORE_READ((struct user_pt_regs *)(ctx), regs[0])
#else
#error "the arguments of probed functions are known for x86 and arm64 only"
#endif

#endif
