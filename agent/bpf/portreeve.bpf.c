// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The programs in the kernel: packets that are dropped on their way to a NodePort, answers that reset a connection, processes that change the firewall,
 * and the calls by which they do it. They look and count; they change nothing.
 */
#include "kernel.h"
#include "events.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

char LICENSE[] SEC("license") = "GPL";

/* Set before loading. */
const volatile __u32 own_netns = 0;
const volatile __u8 every_netns = 0;
/* Calls of interest that have begun and not ended: while there is none, the end of every other call is passed over at once. */
__u32 pending = 0;
/* The generic netlink family of IPVS, which gets its number when its module is loaded. */
__u16 ipvs_family = 0;

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_SCTP 132
#define TCP_RST 0x04
#define SOL_IP 0
#define SOL_IPV6 41
#define SECOND 1000000000ull

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, RING_BYTES);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PORT_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} node_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct backend_key);
	__type(value, __u8);
} backends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, DROP_KEYS_MAX);
	__type(key, struct drop_key);
	__type(value, struct drop_value);
} drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct port_key);
	__type(value, __u32);
} prefixes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

/* The second that records are being counted in, and how many it has had. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} pace SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, TOOLS_MAX);
	__type(key, char[COMM_LENGTH]);
	__type(value, __u32);
} tools SEC(".maps");

/* Processes whose start was told, so that their end is told too. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u32);
} watched SEC(".maps");

/* Calls that have begun, by thread. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 256);
	__type(key, __u64);
	__type(value, struct replace_call);
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 512);
	__type(key, struct netlink_key);
	__type(value, struct netlink_value);
} senders SEC(".maps");

static __always_inline void count(__u32 index)
{
	__u64 *counter = bpf_map_lookup_elem(&counters, &index);

	if (counter)
		*counter += 1;
}

/* Whether this second has room for one more record. Two processors may count at once and lose one: it is a bound, not an account. */
static __always_inline int has_room(__u64 now)
{
	__u32 zero = 0, one = 1;
	__u64 *second = bpf_map_lookup_elem(&pace, &zero);
	__u64 *told = bpf_map_lookup_elem(&pace, &one);

	if (!second || !told)
		return 0;
	if (now - *second > SECOND) {
		*second = now;
		*told = 0;
	}
	*told += 1;
	return *told <= EVENTS_PER_SECOND_MAX;
}

/* ---- packets ---- */

struct packet {
	__u8 source[16];
	__u8 destination[16];
	__u16 source_port;
	__u16 destination_port;
	__u8 protocol;
	__u8 family;
	__u8 tcp_flags;
};

static __always_inline int read_ports(struct packet *packet, const void *transport)
{
	__be16 ports[2] = {};

	if (packet->protocol != IPPROTO_TCP && packet->protocol != IPPROTO_UDP && packet->protocol != IPPROTO_SCTP)
		return 0;
	if (bpf_probe_read_kernel(ports, sizeof(ports), transport))
		return 0;
	packet->source_port = bpf_ntohs(ports[0]);
	packet->destination_port = bpf_ntohs(ports[1]);
	if (packet->protocol == IPPROTO_TCP)
		bpf_probe_read_kernel(&packet->tcp_flags, 1, transport + 13);
	return 1;
}

static __always_inline int read_ipv4(struct packet *packet, const void *header)
{
	__u8 start[20] = {};
	__u32 length;

	if (bpf_probe_read_kernel(start, sizeof(start), header) || start[0] >> 4 != 4)
		return 0;
	/* Only the first fragment has ports. */
	if ((start[6] & 0x1f) || start[7])
		return 0;
	length = (start[0] & 0x0f) * 4;
	packet->family = 4;
	packet->protocol = start[9];
	__builtin_memcpy(packet->source, start + 12, 4);
	__builtin_memcpy(packet->destination, start + 16, 4);
	return read_ports(packet, header + length);
}

#define NEXT_HOPOPTS 0
#define NEXT_ROUTING 43
#define NEXT_FRAGMENT 44
#define NEXT_DSTOPTS 60

static __always_inline int read_ipv6(struct packet *packet, const void *header)
{
	__u8 start[40] = {};
	__u32 offset = 40;
	__u8 next;

	if (bpf_probe_read_kernel(start, sizeof(start), header) || start[0] >> 4 != 6)
		return 0;
	next = start[6];
	packet->family = 6;
	__builtin_memcpy(packet->source, start + 8, 16);
	__builtin_memcpy(packet->destination, start + 24, 16);
#pragma unroll
	for (int i = 0; i < 3; i++) {
		__u8 extension[4] = {};

		if (next != NEXT_HOPOPTS && next != NEXT_ROUTING && next != NEXT_DSTOPTS && next != NEXT_FRAGMENT)
			break;
		if (bpf_probe_read_kernel(extension, sizeof(extension), header + offset))
			return 0;
		if (next == NEXT_FRAGMENT && (extension[2] || extension[3] & 0xf8))
			return 0;
		offset += next == NEXT_FRAGMENT ? 8 : (extension[1] + 1) * 8;
		next = extension[0];
	}
	packet->protocol = next;
	return read_ports(packet, header + offset);
}

static __always_inline int read_packet(struct packet *packet, struct sk_buff *skb)
{
	__be16 protocol = BPF_CORE_READ(skb, protocol);
	const void *header;

	if (protocol != bpf_htons(ETH_P_IP) && protocol != bpf_htons(ETH_P_IPV6))
		return 0;
	header = BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, network_header);
	return protocol == bpf_htons(ETH_P_IP) ? read_ipv4(packet, header) : read_ipv6(packet, header);
}

static __always_inline int is_node_port(const struct packet *packet, __u16 port)
{
	__u32 word = port >> 3;
	__u64 *ports = bpf_map_lookup_elem(&node_ports, &word);
	__u64 bit = packet->protocol == IPPROTO_TCP ? PORT_TCP : packet->protocol == IPPROTO_UDP ? PORT_UDP : PORT_SCTP;

	if (packet->family == 6)
		bit <<= PORT_FAMILY_6;
	return ports && (*ports >> ((port & 7) * 8)) & bit;
}

static __always_inline int is_backend(const struct packet *packet, const __u8 *address, __u16 port)
{
	struct backend_key key = { .port = port, .protocol = packet->protocol, .family = packet->family };

	__builtin_memcpy(key.address, address, 16);
	return bpf_map_lookup_elem(&backends, &key) != 0;
}

/* What conntrack knows of a packet: the port that the client addressed, the client, and the backend that it was sent to. */
struct origin {
	__u16 node_port;
	__u8 is_reply;
	__u8 client[16];
	__u8 backend[16];
};

#define NFCT_INFO_MASK 7ul
#define IP_CT_IS_REPLY 3

static __always_inline int read_origin(struct origin *origin, struct sk_buff *skb)
{
	unsigned long tracked = BPF_CORE_READ(skb, _nfct);
	struct nf_conn *connection = (struct nf_conn *)(tracked & ~NFCT_INFO_MASK);

	if (!connection || !bpf_core_type_exists(struct nf_conn))
		return 0;
	origin->is_reply = (tracked & NFCT_INFO_MASK) >= IP_CT_IS_REPLY;
	origin->node_port = bpf_ntohs(BPF_CORE_READ(connection, tuplehash[0].tuple.dst.u.all));
	BPF_CORE_READ_INTO(&origin->client, connection, tuplehash[0].tuple.src.u3);
	BPF_CORE_READ_INTO(&origin->backend, connection, tuplehash[1].tuple.src.u3);
	return 1;
}

/* The network namespace, from the packet's device or else its route: the device is not there any more when a socket has it. */
static __always_inline __u32 netns_of(struct sk_buff *skb)
{
	struct net_device *device = BPF_CORE_READ(skb, dev);
	__u32 netns = BPF_CORE_READ(device, nd_net.net, ns.inum);
	struct dst_entry *route;

	if (netns)
		return netns;
	route = (struct dst_entry *)(BPF_CORE_READ(skb, _skb_refdst) & ~1ul);
	return BPF_CORE_READ(route, dev, nd_net.net, ns.inum);
}

#define RTN_LOCAL 2
#define RTF_LOCAL 0x80000000u

/* Whether the packet has arrived where it was sent to: its route is one to the machine itself. */
static __always_inline int has_arrived(struct sk_buff *skb, __u8 family)
{
	void *route = (void *)(BPF_CORE_READ(skb, _skb_refdst) & ~1ul);

	if (!route)
		return 0;
	if (family == 4)
		return BPF_CORE_READ((struct rtable *)route, rt_type) == RTN_LOCAL;
	return (BPF_CORE_READ((struct rt6_info *)route, rt6i_flags) & RTF_LOCAL) != 0;
}

static __always_inline int same_address(const __u8 *one, const __u8 *other)
{
	__u64 left[2], right[2];

	__builtin_memcpy(left, one, 16);
	__builtin_memcpy(right, other, 16);
	return left[0] == right[0] && left[1] == right[1];
}

static __always_inline void to_prefix(__u8 *prefix, const __u8 *address, __u8 family)
{
	if (family == 4)
		__builtin_memcpy(prefix, address, 3);
	else
		__builtin_memcpy(prefix, address, 8);
}

/* A port that meets many prefixes is told of with 64 of them at most; the rest share one key. */
static __always_inline int has_many(const struct drop_key *key)
{
	struct port_key port = {
		.netns = key->netns,
		.reason = key->reason,
		.port = key->node_port ? key->node_port : key->port,
		.protocol = key->protocol,
		.family = key->family,
		.kind = key->kind,
	};
	__u32 one = 1, *known = bpf_map_lookup_elem(&prefixes, &port);

	if (!known) {
		bpf_map_update_elem(&prefixes, &port, &one, BPF_ANY);
		return 0;
	}
	if (*known >= PREFIXES_PER_PORT_MAX)
		return 1;
	*known += 1;
	return 0;
}

static __always_inline void tell_drop(const struct drop_key *key, const struct drop_value *value, __u64 now)
{
	struct drop_record *record;

	if (!has_room(now)) {
		count(COUNT_LOST);
		return;
	}
	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	if (!record) {
		count(COUNT_LOST);
		return;
	}
	record->type = RECORD_DROP;
	record->zero = 0;
	record->key = *key;
	record->value = *value;
	bpf_ringbuf_submit(record, 0);
}

/* Counts it, and tells of it when it is new or the last of its sort was a second ago. What comes in between is found by those who look at the map. */
static __always_inline void count_drop(struct drop_key *key, struct drop_value *fresh)
{
	__u64 now = bpf_ktime_get_ns();
	struct drop_value *known = bpf_map_lookup_elem(&drops, key);
	__u64 before;

	count(COUNT_DROPS);
	if (!known && has_many(key)) {
		key->many = 1;
		__builtin_memset(key->client, 0, sizeof(key->client));
		known = bpf_map_lookup_elem(&drops, key);
	}
	if (!known) {
		fresh->count = 1;
		fresh->first = fresh->last = now;
		bpf_map_update_elem(&drops, key, fresh, BPF_NOEXIST);
		tell_drop(key, fresh, now);
		return;
	}
	before = known->last;
	__sync_fetch_and_add(&known->count, 1);
	known->last = now;
	if (now - before > SECOND)
		tell_drop(key, known, now);
}

static __always_inline void describe_device(struct drop_key *key, struct drop_value *value, struct sk_buff *skb)
{
	struct net_device *device = BPF_CORE_READ(skb, dev);

	key->ifindex = BPF_CORE_READ(device, ifindex);
	value->arrived_on = BPF_CORE_READ(skb, skb_iif);
	BPF_CORE_READ_INTO(&value->device, device, name);
}

/* Why a dropped packet concerns a NodePort; fills in what it is of. 0 when it does not. */
static __always_inline int classify(struct drop_key *key, struct drop_value *value, const struct packet *packet, struct sk_buff *skb)
{
	struct origin origin = {};
	int tracked;

	key->protocol = packet->protocol;
	key->family = packet->family;
	key->port = packet->destination_port;
	__builtin_memcpy(value->destination, packet->destination, 16);
	if (is_node_port(packet, packet->destination_port)) {
		key->kind = TO_NODEPORT;
		key->node_port = packet->destination_port;
		__builtin_memcpy(value->client, packet->source, 16);
		value->client_port = packet->source_port;
		return 1;
	}
	tracked = read_origin(&origin, skb) && is_node_port(packet, origin.node_port);
	if (tracked && !origin.is_reply) {
		key->kind = TO_NODEPORT;
		key->node_port = origin.node_port;
		__builtin_memcpy(key->backend, packet->destination, 16);
		__builtin_memcpy(value->client, origin.client, 16);
		value->client_port = packet->source_port;
		return 1;
	}
	if (tracked || is_node_port(packet, packet->source_port) || is_backend(packet, packet->source, packet->source_port)) {
		key->kind = REPLY;
		key->port = packet->source_port;
		key->node_port = tracked ? origin.node_port : is_node_port(packet, packet->source_port) ? packet->source_port : 0;
		__builtin_memcpy(key->backend, tracked ? origin.backend : packet->source, 16);
		__builtin_memcpy(value->client, tracked ? origin.client : packet->destination, 16);
		value->client_port = packet->destination_port;
		return 1;
	}
	if (!is_backend(packet, packet->destination, packet->destination_port))
		return 0;
	key->kind = TO_BACKEND;
	__builtin_memcpy(key->backend, packet->destination, 16);
	__builtin_memcpy(value->client, packet->source, 16);
	value->client_port = packet->source_port;
	return 1;
}

SEC("raw_tp/kfree_skb")
int on_drop(struct bpf_raw_tracepoint_args *context)
{
	struct sk_buff *skb = (struct sk_buff *)context->args[0];
	struct drop_key key = {};
	struct drop_value value = {};
	struct packet packet = {};

	key.location = context->args[1];
	/* Before 5.17 the tracepoint has no third argument, and the loader cuts this branch out. */
	if (bpf_core_type_exists(enum skb_drop_reason)) {
		key.reason = (__u32)context->args[2];
		if (bpf_core_enum_value_exists(enum skb_drop_reason, SKB_CONSUMED) && key.reason <= bpf_core_enum_value(enum skb_drop_reason, SKB_CONSUMED))
			return 0;
		if (key.reason != bpf_core_enum_value(enum skb_drop_reason, SKB_DROP_REASON_NOT_SPECIFIED))
			key.location = 0;
	}
	if (!read_packet(&packet, skb) || !classify(&key, &value, &packet, skb))
		return 0;
	key.netns = netns_of(skb);
	/*
	 * In the network namespace of a pod its own drops as a backend are of interest, not what happens to have a NodePort's number; and not what passes
	 * through another namespace, which may be a node of another cluster on this machine with pods of the same addresses.
	 */
	if (key.netns != own_netns && !every_netns && (key.kind != TO_BACKEND || !has_arrived(skb, packet.family)))
		return 0;
	value.tcp_flags = packet.tcp_flags;
	describe_device(&key, &value, skb);
	to_prefix(key.client, value.client, key.family);
	count_drop(&key, &value);
	return 0;
}

/* Headers of a reset: Ethernet with two tags, IP and TCP with all their options. It carries no data. */
#define RESET_BYTES_MAX (22 + 60 + 60)

/* Whether a packet can be a reset, by one look at the place of the flags in headers without options, as nearly all are. */
static __always_inline int may_reset(const struct sk_buff *skb)
{
	const void *header = skb->head + skb->network_header;
	__u8 start[54] = {};

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		bpf_probe_read_kernel(start, 34, header);
		return start[9] == IPPROTO_TCP && (start[0] != 0x45 || start[33] & TCP_RST);
	}
	if (skb->protocol != bpf_htons(ETH_P_IPV6))
		return 0;
	bpf_probe_read_kernel(start, 54, header);
	return start[6] == IPPROTO_TCP ? start[53] & TCP_RST : start[6] != IPPROTO_UDP;
}

/*
 * A packet that is handed to a device for sending: only the resets of connections to NodePorts are of interest. It runs for every packet, so what most
 * packets are asked is read without a call, which this sort of program may do.
 */
SEC("tp_btf/net_dev_queue")
int on_send(__u64 *context)
{
	struct sk_buff *skb = (struct sk_buff *)context[0];
	struct drop_key key = {};
	struct drop_value value = {};
	struct packet packet = {};
	struct origin origin = {};

	if (skb->len > RESET_BYTES_MAX || !may_reset(skb))
		return 0;
	if (!read_packet(&packet, skb) || packet.protocol != IPPROTO_TCP || !(packet.tcp_flags & TCP_RST))
		return 0;
	if (!is_node_port(&packet, packet.source_port))
		return 0;
	key.netns = netns_of(skb);
	if (key.netns != own_netns && !every_netns)
		return 0;
	key.kind = RESET;
	key.protocol = packet.protocol;
	key.family = packet.family;
	key.node_port = key.port = packet.source_port;
	if (read_origin(&origin, skb) && origin.is_reply && !same_address(origin.backend, packet.source))
		__builtin_memcpy(key.backend, origin.backend, 16);
	__builtin_memcpy(value.client, packet.destination, 16);
	__builtin_memcpy(value.destination, packet.source, 16);
	value.client_port = packet.destination_port;
	value.tcp_flags = packet.tcp_flags;
	describe_device(&key, &value, skb);
	to_prefix(key.client, value.client, key.family);
	count_drop(&key, &value);
	return 0;
}

/* ---- processes ---- */

static __always_inline __u32 netns_of_task(struct task_struct *task)
{
	return BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
}

static __always_inline struct kernfs_node *parent_of(struct kernfs_node *node)
{
	struct kernfs_node___renamed *renamed = (void *)node;

	if (bpf_core_field_exists(renamed->__parent))
		return BPF_CORE_READ(renamed, __parent);
	return BPF_CORE_READ(node, parent);
}

/* The task's control group in the unified hierarchy; in that of pids where there is none, as on nodes with version 1. */
static __always_inline void read_cgroups(struct exec_record *record, struct task_struct *task)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	struct kernfs_node *node = BPF_CORE_READ(set, dfl_cgrp, kn);

	if (!parent_of(node) && bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id)) {
		__u32 index = bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id);
		struct cgroup_subsys_state *state = 0;

		bpf_probe_read_kernel(&state, sizeof(state), (void *)__builtin_preserve_access_index(&set->subsys) + (index & 15) * sizeof(void *));
		node = BPF_CORE_READ(state, cgroup, kn);
	}
#pragma unroll
	for (int i = 0; i < CGROUPS_MAX; i++) {
		struct kernfs_node *parent = parent_of(node);

		record->cgroups[i][0] = 0;
		/* The root of the hierarchy has no name of interest. */
		if (!parent)
			continue;
		bpf_probe_read_kernel_str(record->cgroups[i], CGROUP_LENGTH, BPF_CORE_READ(node, name));
		node = parent;
	}
}

static __always_inline void read_parents(struct exec_record *record, struct task_struct *task)
{
	struct task_struct *parent = BPF_CORE_READ(task, real_parent);

#pragma unroll
	for (int i = 0; i < PARENTS_MAX; i++) {
		__u32 pid = BPF_CORE_READ(parent, tgid);

		record->parents[i].pid = pid;
		BPF_CORE_READ_INTO(&record->parents[i].comm, parent, comm);
		if (pid > 1)
			parent = BPF_CORE_READ(parent, real_parent);
		else
			parent = 0;
	}
}

static __always_inline void read_arguments(struct exec_record *record, struct task_struct *task)
{
	unsigned long start = BPF_CORE_READ(task, mm, arg_start);
	__u64 length = BPF_CORE_READ(task, mm, arg_end) - start;

	record->arguments_length = length;
	if (length > ARGUMENTS_LENGTH)
		length = ARGUMENTS_LENGTH;
	barrier_var(length);
	if (length > ARGUMENTS_LENGTH || bpf_probe_read_user(record->arguments, length, (void *)start))
		record->arguments_length = 0;
}

SEC("raw_tp/sched_process_exec")
int on_exec(struct bpf_raw_tracepoint_args *context)
{
	struct task_struct *task = (struct task_struct *)context->args[0];
	struct linux_binprm *program = (struct linux_binprm *)context->args[2];
	__u32 netns = netns_of_task(task);
	char comm[COMM_LENGTH] = {};
	struct exec_record *record;
	__u32 pid, *class;

	if (netns != own_netns && !every_netns)
		return 0;
	bpf_get_current_comm(comm, sizeof(comm));
	class = bpf_map_lookup_elem(&tools, comm);
	if (!class)
		return 0;
	pid = BPF_CORE_READ(task, tgid);
	bpf_map_update_elem(&watched, &pid, class, BPF_ANY);
	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	if (!record) {
		count(COUNT_LOST);
		return 0;
	}
	record->type = RECORD_EXEC;
	record->class = *class;
	record->time = bpf_ktime_get_ns();
	record->pid = pid;
	record->uid = BPF_CORE_READ(task, cred, uid.val);
	record->login_uid = bpf_core_field_exists(task->loginuid) ? BPF_CORE_READ(task, loginuid.val) : (__u32)-1;
	record->netns = netns;
	__builtin_memcpy(record->comm, comm, sizeof(comm));
	record->filename[0] = 0;
	bpf_probe_read_kernel_str(record->filename, FILENAME_LENGTH, BPF_CORE_READ(program, filename));
	read_parents(record, task);
	read_cgroups(record, task);
	read_arguments(record, task);
	bpf_ringbuf_submit(record, 0);
	return 0;
}

/* A daemon may have started before anybody watched. */
static __always_inline int is_daemon(struct task_struct *task)
{
	__u32 netns = netns_of_task(task), *class;
	char comm[COMM_LENGTH] = {};

	if (netns != own_netns && !every_netns)
		return 0;
	BPF_CORE_READ_INTO(&comm, task, comm);
	class = bpf_map_lookup_elem(&tools, comm);
	return class && *class == DAEMON;
}

SEC("raw_tp/sched_process_exit")
int on_exit(struct bpf_raw_tracepoint_args *context)
{
	struct task_struct *task = (struct task_struct *)context->args[0];
	__u32 pid = BPF_CORE_READ(task, tgid);
	struct exit_record *record;

	if (pid != (__u32)BPF_CORE_READ(task, pid) || (bpf_map_delete_elem(&watched, &pid) && !is_daemon(task)))
		return 0;
	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	if (!record) {
		count(COUNT_LOST);
		return 0;
	}
	record->type = RECORD_EXIT;
	record->pid = pid;
	record->time = bpf_ktime_get_ns();
	record->status = BPF_CORE_READ(task, exit_code);
	record->zero = 0;
	BPF_CORE_READ_INTO(&record->comm, task, comm);
	bpf_ringbuf_submit(record, 0);
	return 0;
}

#define SIGNALS_THAT_END (1u << 2 | 1u << 3 | 1u << 6 | 1u << 9 | 1u << 15 | 1u << 19) /* INT QUIT ABRT KILL TERM STOP */

/* Signals of the kernel itself (out of memory, a fault) have no sender: the process that happens to run is not to blame. */
static __always_inline int is_sent(void *info)
{
	__s32 code = 0;

	if ((unsigned long)info <= 1)
		return info == 0;
	/* si_code stands third in every siginfo. */
	bpf_probe_read_kernel(&code, sizeof(code), info + 2 * sizeof(__s32));
	return code <= 0;
}

SEC("raw_tp/signal_generate")
int on_signal(struct bpf_raw_tracepoint_args *context)
{
	__u32 number = (__u32)context->args[0];
	struct task_struct *task = (struct task_struct *)context->args[2];
	struct task_struct *sender = (struct task_struct *)bpf_get_current_task();
	struct signal_record *record;

	if (number > 31 || !(SIGNALS_THAT_END & 1u << number))
		return 0;
	if (!is_daemon(task) || !is_sent((void *)context->args[1]))
		return 0;
	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	if (!record) {
		count(COUNT_LOST);
		return 0;
	}
	record->sender.type = RECORD_SIGNAL;
	record->sender.class = TOOL;
	record->sender.time = bpf_ktime_get_ns();
	record->sender.pid = BPF_CORE_READ(sender, tgid);
	record->sender.uid = BPF_CORE_READ(sender, cred, uid.val);
	record->sender.login_uid = bpf_core_field_exists(sender->loginuid) ? BPF_CORE_READ(sender, loginuid.val) : (__u32)-1;
	record->sender.netns = netns_of_task(task);
	BPF_CORE_READ_INTO(&record->sender.comm, sender, comm);
	record->sender.filename[0] = 0;
	read_parents(&record->sender, sender);
	read_cgroups(&record->sender, sender);
	read_arguments(&record->sender, sender);
	record->target = BPF_CORE_READ(task, tgid);
	record->signal = number;
	BPF_CORE_READ_INTO(&record->comm, task, comm);
	bpf_ringbuf_submit(record, 0);
	return 0;
}

/* ---- calls ---- */

#define REPLACE_TABLE 64 /* IPT_SO_SET_REPLACE, IP6T_SO_SET_REPLACE */
#define REPLACE_ARP 96 /* ARPT_SO_SET_REPLACE */
#define REPLACE_BRIDGE 128 /* EBT_SO_SET_ENTRIES */
#define IPVS_FIRST 1152 /* IP_VS_BASE_CTL */
#define IPVS_LAST 1215

static __always_inline int begin_call(__u32 level, __u32 option, const void *value)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct replace_call call = {};
	int replaces = option == REPLACE_TABLE || (level == SOL_IP && (option == REPLACE_ARP || option == REPLACE_BRIDGE));

	if (level != SOL_IP && level != SOL_IPV6)
		return 0;
	if (!replaces && !(level == SOL_IP && option >= IPVS_FIRST && option <= IPVS_LAST))
		return 0;
	call.netns = netns_of_task((struct task_struct *)bpf_get_current_task());
	if (call.netns != own_netns && !every_netns)
		return 0;
	call.time = bpf_ktime_get_ns();
	call.pid = thread >> 32;
	call.uid = (__u32)bpf_get_current_uid_gid();
	call.level = level;
	call.option = option;
	bpf_get_current_comm(call.comm, sizeof(call.comm));
	/* All of them begin with the name of the table. */
	if (replaces)
		bpf_probe_read_user_str(call.table, sizeof(call.table), value);
	if (!bpf_map_update_elem(&calls, &thread, &call, BPF_ANY))
		__sync_fetch_and_add(&pending, 1);
	return 0;
}

static __always_inline int end_call(long result)
{
	struct replace_record *record;
	struct replace_call *call;
	__u64 thread;

	if (!pending)
		return 0;
	thread = bpf_get_current_pid_tgid();
	call = bpf_map_lookup_elem(&calls, &thread);
	if (!call)
		return 0;
	__sync_fetch_and_add(&pending, -1);
	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	if (record) {
		record->type = RECORD_REPLACE;
		record->zero = 0;
		record->call = *call;
		record->call.result = result;
		bpf_ringbuf_submit(record, 0);
	} else {
		count(COUNT_LOST);
	}
	bpf_map_delete_elem(&calls, &thread);
	return 0;
}

SEC("tp/syscalls/sys_enter_setsockopt")
int on_setsockopt(struct trace_event_raw_sys_enter *context)
{
	return begin_call((__u32)context->args[1], (__u32)context->args[2], (void *)context->args[3]);
}

SEC("tp/syscalls/sys_exit_setsockopt")
int on_setsockopt_end(struct trace_event_raw_sys_exit *context)
{
	return end_call(context->ret);
}

#define PF_INET 2
#define PF_INET6 10

/* nf_setsockopt(socket, family, option, value, length): reached only by options of netfilter, so that no other call pays for it. */
SEC("kprobe/nf_setsockopt")
int on_nf_setsockopt(void *context)
{
	__u32 family = (__u8)PARM2(context);

	if (family != PF_INET && family != PF_INET6)
		return 0;
	return begin_call(family == PF_INET6 ? SOL_IPV6 : SOL_IP, (__u32)PARM3(context), (void *)PARM4(context));
}

SEC("kretprobe/nf_setsockopt")
int on_nf_setsockopt_end(void *context)
{
	return end_call((int)RESULT(context));
}

#define NETLINK_ROUTE 0
#define NETLINK_NETFILTER 12
#define NETLINK_GENERIC 16
#define SUBSYSTEM_CONNTRACK 1
#define SUBSYSTEM_IPSET 6

struct message_header {
	__u32 length;
	__u16 type;
	__u16 flags;
	__u32 sequence;
	__u32 port;
};

/* What a message changes, as one number; 0 when it asks, or changes what is seen in other ways. */
static __always_inline __u16 subject_of(__u16 protocol, __u16 type, __u8 command)
{
	if (protocol == NETLINK_NETFILTER) {
		__u8 subsystem = type >> 8, message = type;

		/* IPSET_CMD_CREATE to SWAP, ADD and DEL; IPCTNL_MSG_CT_DELETE. */
		if (subsystem == SUBSYSTEM_IPSET && ((message >= 2 && message <= 6) || message == 9 || message == 10))
			return type;
		return subsystem == SUBSYSTEM_CONNTRACK && message == 2 ? type : 0;
	}
	if (protocol == NETLINK_ROUTE) {
		__u16 group = type & ~3;

		/* Links, addresses, routes and rules; every fourth of a group asks. */
		return (group == 16 || group == 20 || group == 24 || group == 32) && (type & 3) != 2 ? type : 0;
	}
	/* IPVS_CMD_NEW_SERVICE to DEL_DEST, ZERO and FLUSH. */
	if (protocol == NETLINK_GENERIC && ipvs_family && type == ipvs_family)
		return (command >= 1 && command <= 7 && command != 4) || command == 16 || command == 17 ? 0x100 | command : 0;
	return 0;
}

/* netlink_unicast(sender, message, port, …): every message from a process into the kernel passes here, and none that a socket of another sort sends. */
SEC("kprobe/netlink_unicast")
int on_netlink(void *context)
{
	struct sock *sender = (struct sock *)PARM1(context);
	struct sk_buff *skb = (struct sk_buff *)PARM2(context);
	struct netlink_key key = {};
	struct netlink_value fresh = { .count = 1 }, *known;
	struct message_header header = {};
	struct netlink_record *record;
	const void *message;
	__u64 now;
	__u8 command = 0;
	__u32 netns;

	if ((__u32)PARM3(context) != 0)
		return 0;
	key.protocol = BPF_CORE_READ(sender, sk_protocol);
	if (key.protocol != NETLINK_NETFILTER && key.protocol != NETLINK_ROUTE && key.protocol != NETLINK_GENERIC)
		return 0;
	message = BPF_CORE_READ(skb, data);
	if (bpf_probe_read_kernel(&header, sizeof(header), message))
		return 0;
	if (key.protocol == NETLINK_GENERIC)
		bpf_probe_read_kernel(&command, 1, message + sizeof(header));
	key.subject = subject_of(key.protocol, header.type, command);
	if (!key.subject)
		return 0;
	netns = BPF_CORE_READ(sender, __sk_common.skc_net.net, ns.inum);
	if (netns != own_netns && !every_netns)
		return 0;
	key.pid = bpf_get_current_pid_tgid() >> 32;
	now = fresh.last = bpf_ktime_get_ns();
	known = bpf_map_lookup_elem(&senders, &key);
	if (known) {
		__sync_fetch_and_add(&known->count, 1);
		if (now - known->last < SECOND) {
			count(COUNT_NETLINK);
			return 0;
		}
		known->last = now;
	} else {
		bpf_map_update_elem(&senders, &key, &fresh, BPF_ANY);
	}
	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	if (!record) {
		count(COUNT_LOST);
		return 0;
	}
	record->type = RECORD_NETLINK;
	record->pid = key.pid;
	record->time = now;
	record->count = known ? known->count : 1;
	record->uid = (__u32)bpf_get_current_uid_gid();
	record->netns = netns;
	record->protocol = key.protocol;
	record->message_type = header.type;
	record->flags = header.flags;
	record->zero = 0;
	bpf_get_current_comm(record->comm, sizeof(record->comm));
	record->length = header.length;
	if (bpf_probe_read_kernel(record->message, sizeof(record->message), message + sizeof(header)))
		record->length = 0;
	bpf_ringbuf_submit(record, 0);
	return 0;
}
