/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the programs in the kernel and the process that loads them share: keys and values of maps, and the records of the ring buffer. */
#ifndef PORTREEVE_EVENTS_H
#define PORTREEVE_EVENTS_H

#include <linux/types.h>

#define COMM_LENGTH 16
#define FILENAME_LENGTH 256
#define ARGUMENTS_LENGTH 1024
#define PARENTS_MAX 6
#define CGROUPS_MAX 4
#define CGROUP_LENGTH 96
#define TABLE_LENGTH 32
#define MESSAGE_LENGTH 64

/* Bounds of the maps. */
/* On machines of many processors each keeps some of the free entries to itself, so these have more. */
#define DROP_KEYS_MAX 2048
#define DROP_KEYS_MANY 8192
#define MANY_PROCESSORS 16
#define PREFIXES_PER_PORT_MAX 64
#define EVENTS_PER_SECOND_MAX 500
#define RING_BYTES (256 * 1024)
#define TOOLS_MAX 512

/* Why a packet was looked at. */
enum drop_kind {
	/* It was on its way to a NodePort. */
	TO_NODEPORT = 1,
	/* It was on its way to a backend of a NodePort; which NodePort is known only where conntrack says so. */
	TO_BACKEND = 2,
	/* It was an answer, of a NodePort or of a backend. */
	REPLY = 3,
	/* It was sent, and resets a client's connection to a NodePort. */
	RESET = 4,
};

/* One sort of drop. Zeroed before it is filled, as its bytes are compared. Addresses take 16 bytes, IPv4 the first four. Ports are in host order. */
struct drop_key {
	/* Address of the kernel's code, only where no reason tells. */
	__u64 location;
	__u32 netns;
	__u32 ifindex;
	__u32 reason;
	/* As the client addressed it; 0 when it is not known. */
	__u16 node_port;
	/* Port of the packet's destination (of its source for answers). */
	__u16 port;
	__u8 protocol;
	__u8 family;
	__u8 kind;
	/* Prefixes of this port were too many to tell apart: `client` is zero. */
	__u8 many;
	__u32 zero;
	/* The client's /24 or /64. */
	__u8 client[16];
	/* The backend; zero for packets to the node itself. */
	__u8 backend[16];
};

struct drop_value {
	__u64 count;
	/* Nanoseconds of the monotonic clock. */
	__u64 first;
	__u64 last;
	__u32 arrived_on;
	__u16 client_port;
	__u8 tcp_flags;
	__u8 zero;
	/* The client's address and the packet's destination, of the first packet. */
	__u8 client[16];
	__u8 destination[16];
	char device[16];
};

struct port_key {
	__u32 netns;
	__u32 reason;
	__u16 port;
	__u8 protocol;
	__u8 family;
	__u8 kind;
	__u8 zero[3];
};

struct backend_key {
	__u8 address[16];
	__u16 port;
	__u8 protocol;
	__u8 family;
};

/* Bits of one port in the set of NodePorts, by protocol and family. */
#define PORT_TCP 1
#define PORT_UDP 2
#define PORT_SCTP 4
#define PORT_FAMILY_6 3 /* shift */
/* Eight ports share one word. */
#define PORT_WORDS 8192

/* How a program's name makes it interesting. */
enum tool_class {
	/* Changes the network and ends. */
	TOOL = 1,
	/* Runs scripts: whether it is interesting, its arguments tell. */
	INTERPRETER = 2,
	/* Runs on: kube-proxy, k3s, the network plugins. */
	DAEMON = 3,
};

enum record_type {
	RECORD_DROP = 1,
	RECORD_EXEC = 2,
	RECORD_EXIT = 3,
	RECORD_REPLACE = 4,
	RECORD_NETLINK = 5,
	RECORD_SIGNAL = 6,
};

struct drop_record {
	__u32 type;
	__u32 zero;
	struct drop_key key;
	struct drop_value value;
};

struct ancestor {
	__u32 pid;
	char comm[COMM_LENGTH];
};

struct exec_record {
	__u32 type;
	__u32 class;
	__u64 time;
	__u32 pid;
	__u32 uid;
	__u32 login_uid;
	__u32 netns;
	char comm[COMM_LENGTH];
	char filename[FILENAME_LENGTH];
	/* The parent first; a pid of 0 ends the list. */
	struct ancestor parents[PARENTS_MAX];
	/* The innermost group first; an empty name ends the list. */
	char cgroups[CGROUPS_MAX][CGROUP_LENGTH];
	/* Bytes of all arguments in the process, which may be more than are here. */
	__u32 arguments_length;
	char arguments[ARGUMENTS_LENGTH];
};

struct exit_record {
	__u32 type;
	__u32 pid;
	__u64 time;
	/* As wait(2) gives it. */
	__u32 status;
	__u32 zero;
	char comm[COMM_LENGTH];
};

/* A signal that ends or stops a daemon, and who sent it: told as the start of a program is, without a file. */
struct signal_record {
	struct exec_record sender;
	__u32 target;
	__s32 signal;
	char comm[COMM_LENGTH];
};

/* A setsockopt that replaces a whole table of x_tables or changes IPVS. */
struct replace_call {
	__u64 time;
	__u32 pid;
	__u32 uid;
	__u32 netns;
	/* SOL_IP or SOL_IPV6. */
	__u32 level;
	__u32 option;
	/* 0 or a negative error number; meaningful when the call has returned. */
	__s32 result;
	char comm[COMM_LENGTH];
	char table[TABLE_LENGTH];
};

struct replace_record {
	__u32 type;
	__u32 zero;
	struct replace_call call;
};

struct netlink_key {
	__u32 pid;
	__u16 protocol;
	__u16 subject;
};

struct netlink_value {
	__u64 count;
	__u64 last;
};

/* A message that changes something, on its way into the kernel. */
struct netlink_record {
	__u32 type;
	__u32 pid;
	__u64 time;
	__u64 count;
	__u32 uid;
	__u32 netns;
	__u16 protocol;
	__u16 message_type;
	__u16 flags;
	__u16 zero;
	char comm[COMM_LENGTH];
	__u32 length;
	/* What follows its header. */
	__u8 message[MESSAGE_LENGTH];
};

/* Counters, by index. */
enum counter {
	/* Drops that matched. */
	COUNT_DROPS = 0,
	/* Records that the ring buffer had no room for, or that were too many for one second. */
	COUNT_LOST = 1,
	/* Netlink messages that were counted without a record of their own. */
	COUNT_NETLINK = 2,
	COUNTERS = 3,
};

#endif
