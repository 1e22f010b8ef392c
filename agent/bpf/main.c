// SPDX-License-Identifier: GPL-2.0-or-later
/* portreeve-bpf: tells the agent what only the kernel sees. A program of its own, without libraries, which ends with whoever started it and leaves nothing. */
#include "portreeve-bpf.h"

#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"usage: portreeve-bpf watch [--parent PID] [--backends N] [--every-netns] [--calls auto|kprobe|tracepoint|none]\n"
	"       portreeve-bpf maps [--dir DIRECTORY] NAME...\n"
	"       portreeve-bpf audit [--parent PID]\n"
	"       portreeve-bpf version\n"
	"\n"
	"watch  prints drops, resets, processes and calls that change the firewall as lines of JSON until stdin ends.\n"
	"       On stdin: + nodeport tcp 4 30080, + backend tcp 10.244.1.5 8080, + tool 1 iptables (- takes it away), resets on, ping TEXT.\n"
	"maps   prints the raw bytes of pinned maps whose names begin with one of those given. They are opened for reading only.\n"
	"audit  prints the records of changed rules, where auditing is on already; it is not switched on. Needs CAP_AUDIT_READ alone.\n"
	"\n"
	"Needs CAP_BPF and CAP_PERFMON, and a kernel with BTF. Changes nothing and pins nothing. GPL-2.0-or-later.\n";

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "";

	if (!strcmp(command, "watch"))
		return watch(argc - 1, argv + 1);
	if (!strcmp(command, "maps"))
		return maps(argc - 1, argv + 1);
	if (!strcmp(command, "audit"))
		return audit(argc - 1, argv + 1);
	if (!strcmp(command, "version")) {
		printf("portreeve-bpf 1, libbpf %u.%u\n", libbpf_major_version(), libbpf_minor_version());
		return 0;
	}
	if (!strcmp(command, "help") || !strcmp(command, "--help")) {
		fputs(usage, stdout);
		return 0;
	}
	fputs(usage, stderr);
	return EXIT_USAGE;
}

static char warning[512];
static int warnings_expected;

static int hear(enum libbpf_print_level level, const char *format, va_list arguments)
{
	char text[sizeof(warning)];

	if (level > LIBBPF_WARN)
		return 0;
	vsnprintf(text, sizeof(text), format, arguments);
	text[strcspn(text, "\n")] = 0;
	if (!warnings_expected)
		fprintf(stderr, "%s\n", text);
	snprintf(warning, sizeof(warning), "%s", text);
	return 0;
}

void hear_libbpf(void)
{
	libbpf_set_print(hear);
}

void expect_warnings(int expected)
{
	warnings_expected = expected;
}

const char *last_warning(void)
{
	return warning;
}
