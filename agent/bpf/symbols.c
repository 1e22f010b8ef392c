// SPDX-License-Identifier: GPL-2.0-or-later
/* Where in the kernel a packet was dropped, for kernels that give no reason, or only that they have none. */
#include "portreeve-bpf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Places that drop packets are few; all symbols of the kernel are ten megabytes. */
#define KNOWN_MAX 128

static struct {
	unsigned long long address;
	char name[64];
} known[KNOWN_MAX];
static int known_count;

static void look_up(unsigned long long address, char *name, size_t length)
{
	FILE *symbols = fopen("/proc/kallsyms", "re");
	unsigned long long best = 0;
	char line[512];

	name[0] = 0;
	if (!symbols)
		return;
	while (fgets(line, sizeof(line), symbols)) {
		char *rest;
		unsigned long long at = strtoull(line, &rest, 16);

		if (at < best || at > address || at == 0 || !strchr("tTwW", rest[1]))
			continue;
		best = at;
		rest[strcspn(rest, "\n")] = 0;
		snprintf(name, length, "%s", rest + 3);
	}
	fclose(symbols);
	/* `name [module]` */
	name[strcspn(name, "\t ")] = 0;
}

const char *symbol_of(unsigned long long address)
{
	int slot;

	for (int i = 0; i < known_count; i++)
		if (known[i].address == address)
			return known[i].name;
	slot = known_count < KNOWN_MAX ? known_count++ : (int)(address / 16 % KNOWN_MAX);
	known[slot].address = address;
	look_up(address, known[slot].name, sizeof(known[slot].name));
	return known[slot].name;
}
