/* SPDX-License-Identifier: Apache-2.0 */
/*
 * portreeve-watch: prints what the kernel tells of changes to rules and to the network, one line each, and loads nothing.
 *
 *   nft monitor     begins by loading every rule of the node (126 MB for 47,000 of them), because it prints what changes in full.
 *   xtables-monitor dies of a transaction of 300 rules (ENOBUFS).
 *
 * The agent reads the changed chains back, so all it needs is their names, and who changed them.
 *
 *   # ready                                            everything is subscribed to
 *   add|delete rule FAMILY TABLE CHAIN handle N TEXT   TEXT (of added rules) is what can be said of it without its extensions
 *   rules FAMILY TABLE CHAIN +N -N                     further rules of a chain that a transaction changes much
 *   same rules FAMILY TABLE CHAIN N                    N rules were deleted and the same N added at the end, in the same order: if the chain
 *                                                      had no others, it is what it was. kube-proxy writes most chains so. Nothing else is told of it.
 *   add|create|delete chain FAMILY TABLE CHAIN         create: it was not there; add: it was changed, or renamed
 *   add|delete set|map FAMILY TABLE NAME
 *   elements FAMILY TABLE NAME +N -N
 *   add|delete table FAMILY TABLE
 *   anything                                           more objects than are told
 *   # new generation N by process PID (NAME)           ends a transaction, as nft monitor says it
 *   [LINK] [ADDR] [ROUTE] [RULE] [NETCONF]             as ip monitor labels its lines
 *   # lock                                             somebody has closed the lock file of iptables-legacy
 *   # synced                                           the answer to a line on stdin: everything that had happened by then has been told
 *   # ERROR: lost                                      messages were lost: what has changed is not known
 *
 * usage: portreeve-watch [LOCKFILE]. Ends with its parent, or when nobody reads its output.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Messages wait here while the agent is busy: a transaction of 100,000 objects takes about half of it. */
#define RECEIVE_BYTES (64 << 20)
#define BUFFER_BYTES (1 << 20)
/* Rules of one chain that are told one by one in one transaction; chains and sets told of in one; its lines. */
#define RULES_TOLD 16
#define OBJECTS_MAX 4096
#define LINES_MAX 4000
#define SLOTS (OBJECTS_MAX * 2)
#define TEXT_MAX 480

static char buffer[BUFFER_BYTES] __attribute__((aligned(8)));

struct object {
	char *name;
	unsigned added, deleted, told_added, told_deleted;
	/* Digests of the rules that were deleted and added, each in order; `unsure` when one was not known, or did not come last. */
	uint64_t deleted_digest, added_digest;
	int unsure;
	/* The lines of its rules, told when it is known that they are not the same. */
	char *lines;
	size_t lines_length;
};

static struct object objects[OBJECTS_MAX];
static uint16_t slots[SLOTS];
static unsigned object_count, line_count;
static int overflow;

static void say(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
}

/* ---- names of one transaction ---- */

static void forget(void)
{
	for (unsigned i = 0; i < object_count; i++) {
		free(objects[i].name);
		free(objects[i].lines);
	}
	memset(slots, 0, sizeof slots);
	object_count = line_count = 0;
	overflow = 0;
}

static struct object *find(const char *name)
{
	uint32_t hash = 2166136261u;
	for (const char *at = name; *at; at++)
		hash = (hash ^ (unsigned char)*at) * 16777619u;
	for (unsigned i = hash % SLOTS;; i = (i + 1) % SLOTS) {
		if (slots[i] == 0) {
			if (object_count == OBJECTS_MAX)
				return NULL;
			slots[i] = ++object_count;
			objects[object_count - 1] = (struct object){ .name = strdup(name) };
			return &objects[object_count - 1];
		}
		if (strcmp(objects[slots[i] - 1].name, name) == 0)
			return &objects[slots[i] - 1];
	}
}

static int may_tell(void)
{
	if (line_count < LINES_MAX) {
		line_count++;
		return 1;
	}
	overflow = 1;
	return 0;
}

/* ---- what rules say, by their handles ---- */

/* Rules that were added while this runs; more are forgotten, all at once. There are more places, or it would be all rehashing (8 MB). */
#define KNOWN_MAX (3 << 16)
#define PLACES_MAX (1 << 19)

struct known {
	uint64_t key, digest;
};

static struct known *known;
/* Places; those that are not free, with what is gone; rules. */
static size_t known_size, known_count, known_rules;

static uint64_t mix(uint64_t digest, const void *bytes, size_t length)
{
	for (const unsigned char *at = bytes; length > 0; at++, length--)
		digest = (digest ^ *at) * 1099511628211u;
	return digest;
}

#define MIX_START 14695981039346656037u

/* The place of a rule, or the free place where it belongs. A key of 0 is a free place, one of 1 a rule that is gone. */
static struct known *known_place(uint64_t key)
{
	size_t at = (key ^ key >> 29) & (known_size - 1);
	while (known[at].key != 0 && known[at].key != key)
		at = (at + 1) & (known_size - 1);
	return &known[at];
}

static void remember(uint64_t key, uint64_t digest)
{
	if ((known_count + 1) * 2 > known_size) {
		struct known *before = known;
		size_t size_before = known_size;
		/* What is gone makes room: kube-proxy deletes as many rules as it adds. */
		if (known_rules >= KNOWN_MAX)
			known_rules = size_before = 0;
		else if (known_size == 0 || (known_rules * 4 > known_size && known_size < PLACES_MAX))
			known_size = known_size ? known_size * 2 : 1024;
		known = calloc(known_size, sizeof *known);
		if (!known)
			abort();
		known_count = 0;
		for (size_t i = 0; i < size_before; i++)
			if (before[i].key > 1) {
				*known_place(before[i].key) = before[i];
				known_count++;
			}
		free(before);
	}
	struct known *place = known_place(key);
	if (place->key == 0) {
		known_count++;
		known_rules++;
	}
	*place = (struct known){ key, digest };
}

/* The digest of a rule that is deleted; 0 when it is not known. */
static uint64_t recall(uint64_t key)
{
	struct known *place = known_size ? known_place(key) : NULL;
	if (!place || place->key != key)
		return 0;
	place->key = 1;
	known_rules--;
	return place->digest;
}

static void forget_rules(void)
{
	free(known);
	known = NULL;
	known_size = known_count = known_rules = 0;
}

/* ---- attributes ---- */

static const struct nlattr *attribute(const struct nlattr *first, int length, int type)
{
	for (const struct nlattr *each = first; length >= (int)sizeof *each && each->nla_len >= sizeof *each && each->nla_len <= length;
	     length -= NLA_ALIGN(each->nla_len), each = (const void *)((const char *)each + NLA_ALIGN(each->nla_len)))
		if ((each->nla_type & NLA_TYPE_MASK) == type)
			return each;
	return NULL;
}

static const void *value(const struct nlattr *attr) { return (const char *)attr + NLA_HDRLEN; }
static int length_of(const struct nlattr *attr) { return attr->nla_len - NLA_HDRLEN; }
static const struct nlattr *inside(const struct nlattr *attr, int type)
{
	return attr ? attribute(value(attr), length_of(attr), type) : NULL;
}

/* Text of an attribute as one word, with what would end a word or a line made visible. */
static const char *word(const struct nlattr *attr, char *into, size_t size)
{
	size_t at = 0;
	int length = attr ? length_of(attr) : 0;
	for (const char *from = attr ? value(attr) : ""; length > 0 && *from && at + 1 < size; from++, length--)
		into[at++] = (unsigned char)*from <= ' ' || *from == 127 ? '?' : *from;
	into[at] = '\0';
	return into;
}

static uint32_t number(const struct nlattr *attr) { return attr && length_of(attr) >= 4 ? ntohl(*(const uint32_t *)value(attr)) : 0; }

static uint64_t handle(const struct nlattr *attr)
{
	uint64_t raw = 0;
	if (attr && length_of(attr) >= 8)
		memcpy(&raw, value(attr), 8);
	return be64toh(raw);
}

/* ---- what can be said of a rule ---- */

struct text {
	char bytes[TEXT_MAX];
	size_t length;
};

static void append(struct text *text, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	int wrote = vsnprintf(text->bytes + text->length, sizeof text->bytes - text->length, format, arguments);
	va_end(arguments);
	if (wrote > 0)
		text->length = text->length + wrote < sizeof text->bytes ? text->length + wrote : sizeof text->bytes - 1;
}

/* What a register holds, as nft names it, and how its bytes are written. */
struct held {
	const char *name;
	enum { NOTHING, ADDRESS4, ADDRESS6, PORT, PROTOCOL, NAME, HEX } form;
};

static struct held held[32];

static struct held *register_of(uint32_t number) { return &held[number % 32]; }

static void load_payload(const struct nlattr *data, uint8_t family)
{
	uint32_t base = number(inside(data, NFTA_PAYLOAD_BASE)), offset = number(inside(data, NFTA_PAYLOAD_OFFSET)), length = number(inside(data, NFTA_PAYLOAD_LEN));
	struct held *into = register_of(number(inside(data, NFTA_PAYLOAD_DREG)));
	*into = (struct held){ "payload", HEX };
	if (base == NFT_PAYLOAD_TRANSPORT_HEADER && length == 2 && offset == 0)
		*into = (struct held){ "sport", PORT };
	else if (base == NFT_PAYLOAD_TRANSPORT_HEADER && length == 2 && offset == 2)
		*into = (struct held){ "dport", PORT };
	else if (base == NFT_PAYLOAD_NETWORK_HEADER && family != AF_INET6 && length <= 4 && (offset == 12 || offset == 16))
		*into = (struct held){ offset == 12 ? "saddr" : "daddr", ADDRESS4 };
	else if (base == NFT_PAYLOAD_NETWORK_HEADER && length <= 16 && (offset == 8 || offset == 24))
		*into = (struct held){ offset == 8 ? "saddr" : "daddr", ADDRESS6 };
	else if (base == NFT_PAYLOAD_NETWORK_HEADER && length == 1 && (offset == 9 || offset == 6))
		*into = (struct held){ "protocol", PROTOCOL };
}

static void load_meta(const struct nlattr *data)
{
	struct held *into = register_of(number(inside(data, NFTA_META_DREG)));
	switch (number(inside(data, NFTA_META_KEY))) {
	case NFT_META_IIFNAME: *into = (struct held){ "iifname", NAME }; return;
	case NFT_META_OIFNAME: *into = (struct held){ "oifname", NAME }; return;
	case NFT_META_L4PROTO: *into = (struct held){ "protocol", PROTOCOL }; return;
	case NFT_META_MARK: *into = (struct held){ "mark", HEX }; return;
	default: *into = (struct held){ "meta", HEX }; return;
	}
}

static const char *protocol_name(uint8_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP: return "tcp";
	case IPPROTO_UDP: return "udp";
	case IPPROTO_SCTP: return "sctp";
	case IPPROTO_ICMP: return "icmp";
	case IPPROTO_ICMPV6: return "ipv6-icmp";
	default: return NULL;
	}
}

static void append_address(struct text *text, int family, const uint8_t *bytes, int length)
{
	char address[INET6_ADDRSTRLEN];
	append(text, "%s", inet_ntop(family, bytes, address, sizeof address));
	if (length < (family == AF_INET ? 4 : 16))
		append(text, "/%d", length * 8);
}

static void append_bytes(struct text *text, const struct held *what, const uint8_t *bytes, int length)
{
	uint8_t padded[16] = { 0 };
	memcpy(padded, bytes, length < 16 ? length : 16);
	switch (what->form) {
	case ADDRESS4:
	case ADDRESS6:
		append_address(text, what->form == ADDRESS4 ? AF_INET : AF_INET6, padded, length);
		return;
	case PORT:
		append(text, "%u", padded[0] << 8 | padded[1]);
		return;
	case PROTOCOL:
		if (protocol_name(padded[0]))
			append(text, "%s", protocol_name(padded[0]));
		else
			append(text, "%u", padded[0]);
		return;
	case NAME:
		for (int i = 0; i < length && bytes[i]; i++)
			append(text, "%c", bytes[i] <= ' ' || bytes[i] >= 127 ? '?' : bytes[i]);
		return;
	default:
		append(text, "0x");
		for (int i = 0; i < length && i < 16; i++)
			append(text, "%02x", bytes[i]);
		return;
	}
}

static const char *const operators[] = { "", "!= ", "< ", "<= ", "> ", ">= " };

static void tell_compare(struct text *text, const struct nlattr *data)
{
	const struct nlattr *bytes = inside(inside(data, NFTA_CMP_DATA), NFTA_DATA_VALUE);
	const struct held *what = register_of(number(inside(data, NFTA_CMP_SREG)));
	uint32_t op = number(inside(data, NFTA_CMP_OP));
	if (!bytes || !what->name)
		return;
	append(text, "%s %s", what->name, operators[op < 6 ? op : 0]);
	append_bytes(text, what, value(bytes), length_of(bytes));
	append(text, " ");
}

static void tell_verdict(struct text *text, const struct nlattr *data)
{
	char name[256];
	const struct nlattr *verdict = inside(inside(data, NFTA_IMMEDIATE_DATA), NFTA_DATA_VERDICT);
	if (!verdict)
		return;
	const char *chain = word(inside(verdict, NFTA_VERDICT_CHAIN), name, sizeof name);
	switch ((int)number(inside(verdict, NFTA_VERDICT_CODE))) {
	case 0: append(text, "drop "); return;
	case 1: append(text, "accept "); return;
	case NFT_RETURN: append(text, "return "); return;
	case NFT_JUMP: append(text, "jump %s ", chain); return;
	case NFT_GOTO: append(text, "goto %s ", chain); return;
	}
}

static void tell_expression(struct text *text, const struct nlattr *expression, uint8_t family)
{
	char name[64], extension[64];
	const struct nlattr *data = inside(expression, NFTA_EXPR_DATA);
	word(inside(expression, NFTA_EXPR_NAME), name, sizeof name);
	if (strcmp(name, "payload") == 0)
		load_payload(data, family);
	else if (strcmp(name, "meta") == 0)
		load_meta(data);
	else if (strcmp(name, "cmp") == 0)
		tell_compare(text, data);
	else if (strcmp(name, "immediate") == 0)
		tell_verdict(text, data);
	else if (strcmp(name, "match") == 0)
		append(text, "-m %s ", word(inside(data, NFTA_MATCH_NAME), extension, sizeof extension));
	else if (strcmp(name, "target") == 0)
		append(text, "-j %s ", word(inside(data, NFTA_TARGET_NAME), extension, sizeof extension));
	else if (strcmp(name, "bitwise") != 0 && strcmp(name, "counter") != 0)
		append(text, "%s ", name);
}

static void tell_rule_text(struct text *text, const struct nlattr *expressions, uint8_t family)
{
	memset(held, 0, sizeof held);
	if (!expressions)
		return;
	int left = length_of(expressions);
	for (const struct nlattr *each = value(expressions); left >= (int)sizeof *each && each->nla_len >= sizeof *each && each->nla_len <= left;
	     left -= NLA_ALIGN(each->nla_len), each = (const void *)((const char *)each + NLA_ALIGN(each->nla_len)))
		tell_expression(text, each, family);
	while (text->length > 0 && text->bytes[text->length - 1] == ' ')
		text->bytes[--text->length] = '\0';
}

/* ---- nf_tables ---- */

static const char *family_name(uint8_t family)
{
	switch (family) {
	case NFPROTO_INET: return "inet";
	case NFPROTO_IPV4: return "ip";
	case NFPROTO_IPV6: return "ip6";
	case NFPROTO_ARP: return "arp";
	case NFPROTO_BRIDGE: return "bridge";
	case NFPROTO_NETDEV: return "netdev";
	default: return "unknown";
	}
}

static uint64_t digest_of(const struct nlattr *first, int length)
{
	uint64_t digest = MIX_START;
	const struct nlattr *expressions = attribute(first, length, NFTA_RULE_EXPRESSIONS), *data = attribute(first, length, NFTA_RULE_USERDATA);
	int left = expressions ? length_of(expressions) : 0;
	for (const struct nlattr *each = expressions ? value(expressions) : NULL; left >= (int)sizeof *each && each->nla_len >= sizeof *each && each->nla_len <= left;
	     left -= NLA_ALIGN(each->nla_len), each = (const void *)((const char *)each + NLA_ALIGN(each->nla_len))) {
		const struct nlattr *name = inside(each, NFTA_EXPR_NAME);
		/* Packets so far are no part of what a rule says. */
		if (!name || strncmp(value(name), "counter", length_of(name)) != 0)
			digest = mix(digest, value(each), length_of(each));
	}
	return data ? mix(digest, value(data), length_of(data)) : digest;
}

static void keep_line(struct object *object, const char *line, size_t length)
{
	char *grown = realloc(object->lines, object->lines_length + length + 1);
	if (!grown)
		abort();
	memcpy(grown + object->lines_length, line, length + 1);
	object->lines = grown;
	object->lines_length += length;
}

static void take_rule(const char *place, const struct nlmsghdr *message, const struct nlattr *first, int length)
{
	int added = (message->nlmsg_type & 0xff) == NFT_MSG_NEWRULE;
	struct object *object = find(place);
	if (!object) {
		overflow = 1;
		return;
	}
	uint64_t number = handle(attribute(first, length, NFTA_RULE_HANDLE)), key = mix(MIX_START, place, strrchr(place, ' ') - place) ^ number * 0x9e3779b97f4a7c15u;
	uint64_t digest = added ? digest_of(first, length) : recall(key > 1 ? key : 2);
	if (added)
		remember(key > 1 ? key : 2, digest);
	/* A rule that is put among others, or one that was there before this was. */
	if (digest == 0 || (added && !(message->nlmsg_flags & NLM_F_APPEND)))
		object->unsure = 1;
	uint64_t *sum = added ? &object->added_digest : &object->deleted_digest;
	*sum = mix(*sum, &digest, sizeof digest);
	(*(added ? &object->added : &object->deleted))++;
	unsigned *told = added ? &object->told_added : &object->told_deleted;
	if (*told == RULES_TOLD)
		return;
	(*told)++;
	char line[TEXT_MAX + 700];
	struct text text = { .length = 0 };
	if (added)
		tell_rule_text(&text, attribute(first, length, NFTA_RULE_EXPRESSIONS), ((const struct nfgenmsg *)NLMSG_DATA(message))->nfgen_family);
	text.bytes[text.length] = '\0';
	int wrote = snprintf(line, sizeof line, "%s rule %s handle %llu%s%s\n", added ? "add" : "delete", place, (unsigned long long)number, text.length > 0 ? " " : "", text.bytes);
	keep_line(object, line, wrote < (int)sizeof line ? (size_t)wrote : sizeof line - 1);
}

static void take_elements(const char *place, int added)
{
	char key[600];
	snprintf(key, sizeof key, "elements %s", place);
	struct object *object = find(key);
	if (object)
		(*(added ? &object->added : &object->deleted))++;
	else
		overflow = 1;
}

static void tell_object(const struct object *object)
{
	unsigned added = object->added - object->told_added, deleted = object->deleted - object->told_deleted;
	if (strncmp(object->name, "elements ", 9) == 0)
		say("%s +%u -%u\n", object->name, object->added, object->deleted);
	else if (!object->unsure && object->added == object->deleted && object->added_digest == object->deleted_digest)
		say("same rules %s %u\n", object->name, object->added);
	else if (line_count + object->told_added + object->told_deleted > LINES_MAX)
		say("rules %s +%u -%u\n", object->name, object->added, object->deleted);
	else {
		line_count += object->told_added + object->told_deleted;
		if (object->lines)
			say("%s", object->lines);
		if (added > 0 || deleted > 0)
			say("rules %s +%u -%u\n", object->name, added, deleted);
	}
}

static void end_transaction(const struct nlattr *first, int length)
{
	char name[64];
	for (unsigned i = 0; i < object_count; i++)
		tell_object(&objects[i]);
	if (overflow)
		say("anything\n");
	say("# new generation %u by process %u (%s)\n", number(attribute(first, length, NFTA_GEN_ID)), number(attribute(first, length, NFTA_GEN_PROC_PID)),
	    word(attribute(first, length, NFTA_GEN_PROC_NAME), name, sizeof name));
	forget();
}

static void tables_message(const struct nlmsghdr *message)
{
	const struct nfgenmsg *header = NLMSG_DATA(message);
	const struct nlattr *first = (const void *)((const char *)header + NLMSG_ALIGN(sizeof *header));
	int length = (int)message->nlmsg_len - (int)NLMSG_LENGTH(sizeof *header), type = message->nlmsg_type & 0xff;
	if (message->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES || length < 0)
		return;
	if (type == NFT_MSG_NEWGEN)
		return end_transaction(first, length);
	char table[256], name[256], place[560];
	const char *family = family_name(header->nfgen_family);
	/* Attribute 1 is the table's name in all of them. */
	word(attribute(first, length, 1), table, sizeof table);
	int create = (message->nlmsg_flags & NLM_F_EXCL) != 0;
	switch (type) {
	case NFT_MSG_NEWTABLE:
	case NFT_MSG_DELTABLE:
		if (may_tell())
			say("%s table %s %s\n", type == NFT_MSG_NEWTABLE ? "add" : "delete", family, table);
		return;
	case NFT_MSG_NEWCHAIN:
	case NFT_MSG_DELCHAIN:
		if (may_tell())
			say("%s chain %s %s %s\n", type == NFT_MSG_DELCHAIN ? "delete" : create ? "create" : "add", family, table,
			    word(attribute(first, length, NFTA_CHAIN_NAME), name, sizeof name));
		return;
	case NFT_MSG_NEWRULE:
	case NFT_MSG_DELRULE:
		snprintf(place, sizeof place, "%s %s %s", family, table, word(attribute(first, length, NFTA_RULE_CHAIN), name, sizeof name));
		return take_rule(place, message, first, length);
	case NFT_MSG_NEWSET:
	case NFT_MSG_DELSET:
		word(attribute(first, length, NFTA_SET_NAME), name, sizeof name);
		if (!(number(attribute(first, length, NFTA_SET_FLAGS)) & NFT_SET_ANONYMOUS) && may_tell())
			say("%s %s %s %s %s\n", type == NFT_MSG_NEWSET ? "add" : "delete", number(attribute(first, length, NFTA_SET_FLAGS)) & NFT_SET_MAP ? "map" : "set",
			    family, table, name);
		return;
	case NFT_MSG_NEWSETELEM:
	case NFT_MSG_DELSETELEM:
		snprintf(place, sizeof place, "%s %s %s", family, table, word(attribute(first, length, NFTA_SET_ELEM_LIST_SET), name, sizeof name));
		return take_elements(place, type == NFT_MSG_NEWSETELEM);
	}
}

/* ---- the network ---- */

enum { LINK = 1, ADDR = 2, ROUTE = 4, RULE = 8, NETCONF = 16 };

static unsigned network_message(const struct nlmsghdr *message)
{
	switch (message->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK: return LINK;
	case RTM_NEWADDR:
	case RTM_DELADDR: return ADDR;
	case RTM_NEWROUTE:
	case RTM_DELROUTE: return ((const struct rtmsg *)NLMSG_DATA(message))->rtm_flags & RTM_F_CLONED ? 0 : ROUTE;
	case RTM_NEWRULE:
	case RTM_DELRULE: return RULE;
	case RTM_NEWNETCONF:
	case RTM_DELNETCONF: return NETCONF;
	default: return 0;
	}
}

static void tell_network(unsigned what)
{
	static const char *const labels[] = { "LINK", "ADDR", "ROUTE", "RULE", "NETCONF" };
	for (int i = 0; i < 5; i++)
		if (what & 1u << i)
			say("[%s]\n", labels[i]);
}

/* ---- sockets ---- */

static int subscribe(int protocol, const int *groups, int count)
{
	int size = RECEIVE_BYTES, socket_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
	struct sockaddr_nl address = { .nl_family = AF_NETLINK };
	if (socket_fd < 0 || bind(socket_fd, (struct sockaddr *)&address, sizeof address) < 0)
		return -1;
	if (setsockopt(socket_fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
		setsockopt(socket_fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	for (int i = 0; i < count; i++)
		if (setsockopt(socket_fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof groups[i]) < 0)
			return -1;
	return socket_fd;
}

/* Everything that waits on a socket. */
static void drain(int socket_fd, int is_network)
{
	unsigned changed = 0;
	for (;;) {
		ssize_t got = recv(socket_fd, buffer, sizeof buffer, MSG_TRUNC);
		if (got < 0 && errno == ENOBUFS) {
			say("# ERROR: lost\n");
			forget();
			forget_rules();
			continue;
		}
		if (got <= 0)
			break;
		int length = got > (ssize_t)sizeof buffer ? (int)sizeof buffer : (int)got;
		for (const struct nlmsghdr *message = (const void *)buffer; NLMSG_OK(message, length); message = NLMSG_NEXT(message, length)) {
			if (is_network)
				changed |= network_message(message);
			else
				tables_message(message);
		}
		if (got > (ssize_t)sizeof buffer)
			say("# ERROR: lost\n");
	}
	tell_network(changed);
}

/* ---- the lock of iptables-legacy ---- */

static const char *lock_path;
static int lock_watch = -1;

static int watch_lock(int inotify)
{
	char directory[PATH_MAX];
	snprintf(directory, sizeof directory, "%s", lock_path);
	char *slash = strrchr(directory, '/');
	if (slash && slash != directory) {
		*slash = '\0';
		inotify_add_watch(inotify, directory, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
	}
	return lock_watch = inotify_add_watch(inotify, lock_path, IN_CLOSE);
}

static void drain_lock(int inotify)
{
	int closed = 0;
	for (;;) {
		ssize_t got = read(inotify, buffer, sizeof buffer);
		if (got <= 0)
			break;
		for (char *at = buffer; at < buffer + got; at += sizeof(struct inotify_event) + ((struct inotify_event *)at)->len) {
			const struct inotify_event *event = (const void *)at;
			if (event->wd == lock_watch && event->mask & IN_CLOSE)
				closed = 1;
			else if (event->len > 0 && strcmp(event->name, strrchr(lock_path, '/') + 1) == 0) {
				watch_lock(inotify);
				closed = 1;
			}
		}
	}
	if (closed)
		say("# lock\n");
}

/* Whoever asks is answered when everything that had happened by then has been told. 0: nobody asks any more. */
static int answer(int tables, int network, int inotify)
{
	ssize_t got = read(STDIN_FILENO, buffer, sizeof buffer);
	if (got <= 0)
		return got < 0 && (errno == EAGAIN || errno == EINTR);
	drain(tables, 0);
	drain(network, 1);
	drain_lock(inotify);
	say("# synced\n");
	return 1;
}

static int fail(const char *what)
{
	fprintf(stderr, "portreeve-watch: %s: %s\n", what, strerror(errno));
	return 1;
}

int main(int count, char **arguments)
{
	static const int table_groups[] = { NFNLGRP_NFTABLES };
	static const int network_groups[] = { RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,
					      RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE, RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF };
	pid_t parent = getppid();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		return 0;
	int tables = subscribe(NETLINK_NETFILTER, table_groups, 1);
	if (tables < 0)
		return fail("nf_tables cannot be watched");
	int network = subscribe(NETLINK_ROUTE, network_groups, sizeof network_groups / sizeof *network_groups);
	if (network < 0)
		return fail("the network cannot be watched");
	int inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	lock_path = count > 1 && strchr(arguments[1], '/') ? arguments[1] : "/run/xtables.lock";
	int has_lock = inotify >= 0 && (watch_lock(inotify) >= 0 || errno == ENOENT);
	say(has_lock ? "# ready with lock\n" : "# ready\n");
	struct pollfd polled[] = { { tables, POLLIN, 0 }, { network, POLLIN, 0 }, { inotify, POLLIN, 0 }, { STDOUT_FILENO, 0, 0 },
				   { STDIN_FILENO, POLLIN, 0 } };
	while (fflush(stdout) == 0 && poll(polled, 5, -1) >= 0) {
		if (polled[3].revents & (POLLERR | POLLHUP))
			return 0;
		if (polled[0].revents)
			drain(tables, 0);
		if (polled[1].revents)
			drain(network, 1);
		if (polled[2].revents)
			drain_lock(inotify);
		if (polled[4].revents && !answer(tables, network, inotify))
			polled[4].fd = -1;
	}
	return 0;
}
