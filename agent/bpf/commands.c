// SPDX-License-Identifier: GPL-2.0-or-later
/* The lines of stdin: what to look for, and whether anybody is here. */
#include "json.h"
#include "portreeve-bpf.h"
#include "watch.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 6

static const char *const protocols[] = { "tcp", "udp", "sctp" };
static const uint8_t protocol_numbers[] = { 6, 17, 132 };

static int protocol_index(const char *word)
{
	for (int i = 0; word && i < 3; i++)
		if (!strcmp(word, protocols[i]))
			return i;
	return -1;
}

static long number_in(const char *word, long min, long max)
{
	char *end;
	long number;

	if (!word || !*word)
		return -1;
	number = strtol(word, &end, 10);
	return *end || number < min || number > max ? -1 : number;
}

static const char *set_node_port(struct portreeve_bpf *bpf, char **words, bool add)
{
	int map = bpf_map__fd(bpf->maps.node_ports), protocol = protocol_index(words[2]);
	long family = number_in(words[3], 4, 6), port = number_in(words[4], 1, 65535);
	uint64_t ports = 0, bit;
	uint32_t word;

	if (protocol < 0 || (family != 4 && family != 6) || port < 0)
		return "wanted: nodeport tcp|udp|sctp 4|6 PORT";
	word = port >> 3;
	bit = 1ull << ((port & 7) * 8 + protocol + (family == 6 ? PORT_FAMILY_6 : 0));
	bpf_map_lookup_elem(map, &word, &ports);
	ports = add ? ports | bit : ports & ~bit;
	return bpf_map_update_elem(map, &word, &ports, BPF_ANY) ? strerror(errno) : NULL;
}

static const char *set_backend(struct portreeve_bpf *bpf, char **words, bool add)
{
	int map = bpf_map__fd(bpf->maps.backends), protocol = protocol_index(words[2]);
	long port = number_in(words[4], 1, 65535);
	struct backend_key key = {};
	uint8_t one = 1;

	if (protocol < 0 || !words[3] || port < 0)
		return "wanted: backend tcp|udp|sctp ADDRESS PORT";
	key.family = strchr(words[3], ':') ? 6 : 4;
	key.port = port;
	key.protocol = protocol_numbers[protocol];
	if (inet_pton(key.family == 6 ? AF_INET6 : AF_INET, words[3], key.address) != 1)
		return "no address";
	if (!add)
		return bpf_map_delete_elem(map, &key) && errno != ENOENT ? strerror(errno) : NULL;
	if (!bpf_map_update_elem(map, &key, &one, BPF_ANY))
		return NULL;
	return errno == E2BIG ? "more backends than --backends" : strerror(errno);
}

static const char *set_tool(struct portreeve_bpf *bpf, char **words, bool add)
{
	int map = bpf_map__fd(bpf->maps.tools);
	long class = number_in(words[2], TOOL, DAEMON);
	char comm[COMM_LENGTH] = {};
	uint32_t value = class;

	if (class < 0 || !words[3])
		return "wanted: tool 1|2|3 NAME";
	snprintf(comm, sizeof(comm), "%s", words[3]);
	if (!add)
		return bpf_map_delete_elem(map, comm) && errno != ENOENT ? strerror(errno) : NULL;
	return bpf_map_update_elem(map, comm, &value, BPF_ANY) ? strerror(errno) : NULL;
}

static const char *set(struct portreeve_bpf *bpf, char **words, bool add)
{
	if (words[1] && !strcmp(words[1], "nodeport"))
		return set_node_port(bpf, words, add);
	if (words[1] && !strcmp(words[1], "backend"))
		return set_backend(bpf, words, add);
	if (words[1] && !strcmp(words[1], "tool"))
		return set_tool(bpf, words, add);
	return "wanted: nodeport, backend or tool";
}

static const char *set_resets(struct portreeve_bpf *bpf, struct attached *attached, const char *word)
{
	int error;

	if (!word || (strcmp(word, "on") && strcmp(word, "off")))
		return "wanted: resets on|off";
	error = attach_resets(bpf, attached, !strcmp(word, "on"));
	return error ? strerror(-error) : NULL;
}

static void pong(const char *id)
{
	json_begin("pong");
	json_text("id", id ? id : "");
	json_end();
}

void run_command(struct portreeve_bpf *bpf, struct attached *attached, char *line)
{
	char whole[256], *words[WORDS_MAX] = {}, *rest = NULL;
	const char *refusal = NULL;

	snprintf(whole, sizeof(whole), "%s", line);
	for (int i = 0; i < WORDS_MAX - 1; i++)
		words[i] = strtok_r(i ? NULL : line, " ", &rest);
	if (!words[0])
		return;
	if (!strcmp(words[0], "+") || !strcmp(words[0], "-"))
		refusal = set(bpf, words, words[0][0] == '+');
	else if (!strcmp(words[0], "resets"))
		refusal = set_resets(bpf, attached, words[1]);
	else if (!strcmp(words[0], "ping"))
		pong(words[1]);
	else
		refusal = "no such command";
	if (!refusal)
		return;
	json_begin("refused");
	json_text("line", whole);
	json_text("reason", refusal);
	json_end();
}
