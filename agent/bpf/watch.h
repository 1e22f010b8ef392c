/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of `portreeve-bpf watch`. */
#ifndef PORTREEVE_WATCH_H
#define PORTREEVE_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "events.h"
#include "portreeve.skel.h"

enum calls_way { CALLS_AUTO, CALLS_KPROBE, CALLS_TRACEPOINT, CALLS_NONE };

/* What is attached, each with the reason why not. An empty reason: it is. */
struct attached {
	char drops[160];
	char exec[160];
	char calls[160];
	char netlink[160];
	/* How calls are seen: `kprobe`, `tracepoint` or `none`. */
	const char *calls_way;
	struct bpf_link *resets;
};

/* attach.c */
void attach_all(struct portreeve_bpf *bpf, enum calls_way way, struct attached *attached);
/* 0, or a negative error number. */
int attach_resets(struct portreeve_bpf *bpf, struct attached *attached, bool on);
/* Finds the number of IPVS' netlink family, once its module is there. */
void find_ipvs_family(struct portreeve_bpf *bpf);

/* commands.c */
/* Carries out one line of stdin; refusals are printed. */
void run_command(struct portreeve_bpf *bpf, struct attached *attached, char *line);

/* records.c */
void print_record(struct portreeve_bpf *bpf, const void *data, uint32_t own_netns);
/* Prints what was counted since it was told, at most once a second for each key. Whether there was anything. */
bool sweep(struct portreeve_bpf *bpf, uint32_t own_netns);
uint64_t count_of(struct portreeve_bpf *bpf, enum counter counter);

#endif
