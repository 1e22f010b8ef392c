// SPDX-License-Identifier: GPL-2.0-or-later
/* Prints records of the ring buffer, and what the maps have counted since it was told: of each key at most one line a second. */
#include "json.h"
#include "portreeve-bpf.h"
#include "watch.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SECOND 1000000000ull
/* Lines of one sweep; the rest is told by the next. */
#define SWEEP_LINES_MAX 256
#define BATCH 256

static uint64_t now_of(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec * SECOND + time.tv_nsec;
}

/* Milliseconds since 1970 of a moment on the monotonic clock. */
static int64_t wall_ms(uint64_t monotonic)
{
	return (int64_t)(now_of(CLOCK_REALTIME) - now_of(CLOCK_MONOTONIC) + monotonic) / 1000000;
}

/* ---- what was told ---- */

/* Twice the keys of the map, so that places are found quickly. The hash stands for the key: two with one hash would be told of as one. */
#define TOLD_MAX (2 * DROP_KEYS_MANY)

static struct told {
	uint64_t hash;
	uint64_t count;
	uint64_t at;
} told[TOLD_MAX];

static uint64_t hash_of(const void *bytes, size_t length)
{
	const uint8_t *byte = bytes;
	uint64_t hash = 14695981039346656037ull;

	while (length--)
		hash = (hash ^ *byte++) * 1099511628211ull;
	return hash | 1;
}

/* The entry of a key, made where there is none. A full neighbourhood gives up the entry that was told longest ago. */
static struct told *told_of(uint64_t hash)
{
	struct told *oldest = NULL;

	for (int i = 0; i < 16; i++) {
		struct told *entry = &told[(hash + i) % TOLD_MAX];

		if (entry->hash == hash)
			return entry;
		if (!oldest || entry->at < oldest->at)
			oldest = entry;
	}
	memset(oldest, 0, sizeof(*oldest));
	oldest->hash = hash;
	return oldest;
}

/* Whether a count is to be told now, and if so notes that it was. A smaller count is that of a key which was forgotten and came again. */
static bool is_due(uint64_t hash, uint64_t count)
{
	struct told *entry = told_of(hash);
	uint64_t now = now_of(CLOCK_MONOTONIC);

	if (entry->count == count || now - entry->at < SECOND - SECOND / 20)
		return false;
	entry->count = count;
	entry->at = now;
	return true;
}

/* ---- drops ---- */

static const char *protocol_name(uint8_t number)
{
	return number == 6 ? "tcp" : number == 17 ? "udp" : number == 132 ? "sctp" : "other";
}

static void print_prefix(const char *name, const struct drop_key *key)
{
	char text[INET6_ADDRSTRLEN + 4];

	if (key->many || !inet_ntop(key->family == 6 ? AF_INET6 : AF_INET, key->client, text, INET6_ADDRSTRLEN))
		return;
	strcat(text, key->family == 6 ? "/64" : "/24");
	json_text(name, text);
}

static void print_flags(uint8_t flags)
{
	static const char letters[] = "FSRPAU";
	char text[8] = {};
	int length = 0;

	for (int i = 0; i < 6; i++)
		if (flags & (1 << i))
			text[length++] = letters[i];
	json_text("flags", text);
}

static bool is_zero(const uint8_t *bytes)
{
	static const uint8_t zero[16];

	return !memcmp(bytes, zero, 16);
}

static void print_drop(const struct drop_key *key, const struct drop_value *value, uint32_t own_netns)
{
	static const char *const kinds[] = { "", "nodeport", "backend", "reply", "reset" };

	json_begin("drop");
	json_text("kind", kinds[key->kind <= RESET ? key->kind : 0]);
	if (key->kind != RESET)
		json_number("reason", key->reason);
	if (key->location)
		json_text("place", symbol_of(key->location));
	json_text("protocol", protocol_name(key->protocol));
	json_number("family", key->family);
	if (key->node_port)
		json_number("nodePort", key->node_port);
	json_number("port", key->port);
	print_prefix("prefix", key);
	if (!is_zero(key->backend))
		json_address("backend", key->backend, key->family);
	json_number("netns", key->netns);
	json_bool("own", key->netns == own_netns);
	json_text_n("device", value->device, strnlen(value->device, sizeof(value->device)));
	json_number("ifindex", key->ifindex);
	json_number("arrivedOn", value->arrived_on);
	json_address("client", value->client, key->family);
	json_number("clientPort", value->client_port);
	json_address("destination", value->destination, key->family);
	if (key->protocol == 6)
		print_flags(value->tcp_flags);
	json_number("count", value->count);
	json_number("firstAt", wall_ms(value->first));
	json_number("lastAt", wall_ms(value->last));
	json_end();
}

static bool sweep_drops(struct portreeve_bpf *bpf, uint32_t own_netns)
{
	static struct drop_key keys[BATCH];
	static struct drop_value values[BATCH];
	int map = bpf_map__fd(bpf->maps.drops), lines = 0, error;
	uint32_t position, size;
	void *from = NULL;

	do {
		size = BATCH;
		error = bpf_map_lookup_batch(map, from, &position, keys, values, &size, NULL);
		if (error && errno != ENOENT)
			break;
		for (uint32_t i = 0; i < size && lines < SWEEP_LINES_MAX; i++) {
			if (!is_due(hash_of(&keys[i], sizeof(keys[i])), values[i].count))
				continue;
			print_drop(&keys[i], &values[i], own_netns);
			lines++;
		}
		from = &position;
	} while (!error && lines < SWEEP_LINES_MAX);
	return lines > 0;
}

/* ---- processes ---- */

static void print_arguments(const struct exec_record *record)
{
	uint32_t length = record->arguments_length < ARGUMENTS_LENGTH ? record->arguments_length : ARGUMENTS_LENGTH;

	json_array("argv");
	for (uint32_t at = 0; at < length;) {
		uint32_t word = strnlen(record->arguments + at, length - at);

		json_text_n(NULL, record->arguments + at, word);
		at += word + 1;
	}
	json_array_end();
	if (record->arguments_length > ARGUMENTS_LENGTH)
		json_bool("argvCut", true);
}

/* The first arguments of an interpreter that are looked at: its script, and the line of -c, may come after options. */
#define WORDS_LOOKED_AT 4

static bool is_tool(struct portreeve_bpf *bpf, const char *word, size_t length)
{
	char comm[COMM_LENGTH] = {};
	uint32_t class;

	for (size_t i = length; i > 0; i--) {
		if (word[i - 1] != '/')
			continue;
		word += i;
		length -= i;
		break;
	}
	memcpy(comm, word, length < COMM_LENGTH - 1 ? length : COMM_LENGTH - 1);
	return length && !bpf_map_lookup_elem(bpf_map__fd(bpf->maps.tools), comm, &class) && class != INTERPRETER;
}

/* Shells and Pythons start all the time; those are told of whose arguments name a program of interest. */
static bool names_tool(struct portreeve_bpf *bpf, const struct exec_record *record)
{
	uint32_t length = record->arguments_length < ARGUMENTS_LENGTH ? record->arguments_length : ARGUMENTS_LENGTH;
	uint32_t at = strnlen(record->arguments, length) + 1;

	for (int words = 0; words < WORDS_LOOKED_AT && at < length; words++) {
		uint32_t end = at + strnlen(record->arguments + at, length - at);

		while (at < end) {
			uint32_t part = 0;

			while (at + part < end && !strchr(" \t\n;|&", record->arguments[at + part]))
				part++;
			if (is_tool(bpf, record->arguments + at, part))
				return true;
			at += part + 1;
		}
		at = end + 1;
	}
	return false;
}

static void print_program(const struct exec_record *record, uint32_t own_netns)
{
	static const char *const classes[] = { "", "tool", "interpreter", "daemon" };

	json_text("class", classes[record->class <= DAEMON ? record->class : 0]);
	json_number("at", wall_ms(record->time));
	json_number("pid", record->pid);
	json_text_n("comm", record->comm, strnlen(record->comm, COMM_LENGTH));
	json_text_n("file", record->filename, strnlen(record->filename, FILENAME_LENGTH));
	json_number("uid", record->uid);
	if (record->login_uid != (uint32_t)-1)
		json_number("loginUid", record->login_uid);
	json_number("netns", record->netns);
	json_bool("own", record->netns == own_netns);
	json_array("parents");
	for (int i = 0; i < PARENTS_MAX && record->parents[i].pid; i++) {
		json_object();
		json_number("pid", record->parents[i].pid);
		json_text_n("comm", record->parents[i].comm, strnlen(record->parents[i].comm, COMM_LENGTH));
		json_object_end();
	}
	json_array_end();
	json_array("cgroup");
	for (int i = CGROUPS_MAX - 1; i >= 0; i--)
		if (record->cgroups[i][0])
			json_text_n(NULL, record->cgroups[i], strnlen(record->cgroups[i], CGROUP_LENGTH));
	json_array_end();
	print_arguments(record);
}

static void print_exec(const struct exec_record *record, uint32_t own_netns)
{
	json_begin("exec");
	print_program(record, own_netns);
	json_end();
}

static void print_signal(const struct signal_record *record, uint32_t own_netns)
{
	json_begin("signal");
	print_program(&record->sender, own_netns);
	json_number("signal", record->signal);
	json_number("target", record->target);
	json_text_n("targetComm", record->comm, strnlen(record->comm, COMM_LENGTH));
	json_end();
}

static void print_exit(const struct exit_record *record)
{
	json_begin("exit");
	json_number("at", wall_ms(record->time));
	json_number("pid", record->pid);
	json_text_n("comm", record->comm, strnlen(record->comm, COMM_LENGTH));
	if (record->status & 0x7f)
		json_number("signal", record->status & 0x7f);
	else
		json_number("code", record->status >> 8 & 0xff);
	json_end();
}

/* ---- calls ---- */

static const char *replaced(const struct replace_call *call)
{
	switch (call->option) {
	case 64:
		return call->level == 41 ? "ip6" : "ip";
	case 96:
		return "arp";
	case 128:
		return "bridge";
	default:
		return "ipvs";
	}
}

static void print_replace(const struct replace_call *call, uint32_t own_netns)
{
	json_begin("replace");
	json_text("what", replaced(call));
	json_text_n("table", call->table, strnlen(call->table, TABLE_LENGTH));
	json_number("result", call->result);
	json_number("at", wall_ms(call->time));
	json_number("pid", call->pid);
	json_number("uid", call->uid);
	json_text_n("comm", call->comm, strnlen(call->comm, COMM_LENGTH));
	json_bool("own", call->netns == own_netns);
	json_end();
}

static void print_netlink(const struct netlink_record *record, uint32_t own_netns)
{
	uint32_t length = record->length > 16 ? record->length - 16 : 0;

	json_begin("netlink");
	json_number("protocol", record->protocol);
	json_number("type", record->message_type);
	json_hex("message", record->message, length < MESSAGE_LENGTH ? length : MESSAGE_LENGTH);
	json_number("count", record->count);
	json_number("at", wall_ms(record->time));
	json_number("pid", record->pid);
	json_number("uid", record->uid);
	json_text_n("comm", record->comm, strnlen(record->comm, COMM_LENGTH));
	json_bool("own", record->netns == own_netns);
	json_end();
}

/* What a sender did since its last record: the record itself is gone, so only that it went on, and when. */
static bool sweep_senders(struct portreeve_bpf *bpf)
{
	int map = bpf_map__fd(bpf->maps.senders);
	struct netlink_key key, next, *from = NULL;
	struct netlink_value value;
	bool found = false;

	for (int i = 0; i < 512 && !bpf_map_get_next_key(map, from, &next); i++) {
		key = next;
		from = &key;
		if (bpf_map_lookup_elem(map, &key, &value) || value.count < 2 || !is_due(hash_of(&key, sizeof(key)), value.count))
			continue;
		found = true;
		json_begin("netlink-more");
		json_number("protocol", key.protocol);
		json_number("subject", key.subject);
		json_number("pid", key.pid);
		json_number("count", value.count);
		json_end();
	}
	return found;
}

/* ---- both ---- */

static void told_now(const void *key, size_t length, uint64_t count)
{
	struct told *entry = told_of(hash_of(key, length));

	entry->count = count;
	entry->at = now_of(CLOCK_MONOTONIC);
}

void print_record(struct portreeve_bpf *bpf, const void *data, uint32_t own_netns)
{
	switch (*(const uint32_t *)data) {
	case RECORD_DROP: {
		const struct drop_record *record = data;

		told_now(&record->key, sizeof(record->key), record->value.count);
		print_drop(&record->key, &record->value, own_netns);
		break;
	}
	case RECORD_EXEC: {
		const struct exec_record *record = data;

		if (record->class != INTERPRETER || names_tool(bpf, record))
			print_exec(record, own_netns);
		else
			bpf_map_delete_elem(bpf_map__fd(bpf->maps.watched), &record->pid);
		break;
	}
	case RECORD_EXIT:
		print_exit(data);
		break;
	case RECORD_SIGNAL:
		print_signal(data, own_netns);
		break;
	case RECORD_REPLACE:
		print_replace(&((const struct replace_record *)data)->call, own_netns);
		break;
	case RECORD_NETLINK: {
		const struct netlink_record *record = data;

		print_netlink(record, own_netns);
		break;
	}
	}
}

uint64_t count_of(struct portreeve_bpf *bpf, enum counter counter)
{
	static uint64_t counts[1024];
	uint32_t index = counter;
	uint64_t sum = 0;
	int processors = libbpf_num_possible_cpus();

	if (processors < 1 || processors > 1024 || bpf_map_lookup_elem(bpf_map__fd(bpf->maps.counters), &index, counts))
		return 0;
	for (int i = 0; i < processors; i++)
		sum += counts[i];
	return sum;
}

/* What could not be told, where it has become more. */
static void tell_lost(struct portreeve_bpf *bpf)
{
	static uint64_t events_told, lines_told;
	uint64_t events = count_of(bpf, COUNT_LOST), lines = json_lost();

	if (events == events_told && lines == lines_told)
		return;
	events_told = events;
	lines_told = lines;
	json_begin("lost");
	json_number("events", events);
	json_number("lines", lines);
	json_end();
}

bool sweep(struct portreeve_bpf *bpf, uint32_t own_netns)
{
	static uint64_t drops_seen, messages_seen;
	uint64_t drops = count_of(bpf, COUNT_DROPS), messages = count_of(bpf, COUNT_NETLINK);
	bool found = false;

	if (drops != drops_seen)
		found |= sweep_drops(bpf, own_netns);
	if (messages != messages_seen)
		found |= sweep_senders(bpf);
	/* What did not fit this time keeps the next sweep looking. */
	if (!found) {
		drops_seen = drops;
		messages_seen = messages;
	}
	tell_lost(bpf);
	return found;
}
