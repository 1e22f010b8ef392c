// SPDX-License-Identifier: GPL-2.0-or-later
/* Attaches the programs, each by the cheapest way that this kernel has, and says why where it has none. */
#include "portreeve-bpf.h"
#include "watch.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void because(char *reason, size_t length, const char *what, int error)
{
	snprintf(reason, length, "%s: %s", what, strerror(error));
}

static struct bpf_link *attach_raw(struct bpf_program *program, char *reason, size_t length)
{
	struct bpf_link *link = bpf_program__attach(program);

	if (!link)
		because(reason, length, bpf_program__section_name(program), errno);
	return link;
}

/*
 * The number of a tracepoint, from tracefs where it is mounted, else from an instance that is mounted nowhere and goes with its file descriptor:
 * the mounts of the host stay as they are.
 */
static int open_tracefs(void)
{
	static const char *const mounted[] = { "/sys/kernel/tracing", "/sys/kernel/debug/tracing" };
	int context, mount;

	for (size_t i = 0; i < sizeof(mounted) / sizeof(mounted[0]); i++) {
		int directory = open(mounted[i], O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (directory < 0)
			continue;
		if (!faccessat(directory, "events", X_OK, 0))
			return directory;
		close(directory);
	}
	context = syscall(SYS_fsopen, "tracefs", 1 /* FSOPEN_CLOEXEC */);
	if (context < 0)
		return -1;
	mount = syscall(SYS_fsconfig, context, 6 /* FSCONFIG_CMD_CREATE */, NULL, NULL, 0);
	if (!mount)
		mount = syscall(SYS_fsmount, context, 1 /* FSMOUNT_CLOEXEC */, 0);
	close(context);
	return mount;
}

static int tracepoint_number(int tracefs, const char *name)
{
	char path[128], text[16] = {};
	int file;

	snprintf(path, sizeof(path), "events/syscalls/%s/id", name);
	file = openat(tracefs, path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return -1;
	if (read(file, text, sizeof(text) - 1) < 0)
		text[0] = 0;
	close(file);
	return atoi(text);
}

static struct bpf_link *attach_syscall(struct bpf_program *program, int tracefs, const char *name)
{
	struct perf_event_attr event = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(event),
		.sample_period = 1,
		.wakeup_events = 1,
	};
	int number = tracepoint_number(tracefs, name), file;
	struct bpf_link *link;

	if (number <= 0)
		return NULL;
	event.config = number;
	file = syscall(SYS_perf_event_open, &event, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	if (file < 0)
		return NULL;
	link = bpf_program__attach_perf_event(program, file);
	if (!link) {
		int error = errno;

		close(file);
		errno = error;
	}
	return link;
}

static bool attach_tracepoints(struct portreeve_bpf *bpf, struct attached *attached)
{
	int tracefs = open_tracefs();
	struct bpf_link *enter, *exit;

	if (tracefs < 0) {
		because(attached->calls, sizeof(attached->calls), "tracefs", errno);
		return false;
	}
	/* The end first: a call that begins before its end is watched would wait for it in vain. */
	exit = attach_syscall(bpf->progs.on_setsockopt_end, tracefs, "sys_exit_setsockopt");
	enter = exit ? attach_syscall(bpf->progs.on_setsockopt, tracefs, "sys_enter_setsockopt") : NULL;
	if (!enter)
		because(attached->calls, sizeof(attached->calls), "tracepoint of setsockopt", errno);
	close(tracefs);
	if (enter)
		return true;
	bpf_link__destroy(exit);
	return false;
}

static bool attach_kprobes(struct portreeve_bpf *bpf, struct attached *attached)
{
	struct bpf_link *exit = bpf_program__attach(bpf->progs.on_nf_setsockopt_end);
	struct bpf_link *enter = exit ? bpf_program__attach(bpf->progs.on_nf_setsockopt) : NULL;

	if (!enter)
		because(attached->calls, sizeof(attached->calls), "kprobe of nf_setsockopt", errno);
	if (enter)
		return true;
	bpf_link__destroy(exit);
	return false;
}

static void attach_calls(struct portreeve_bpf *bpf, enum calls_way way, struct attached *attached)
{
	attached->calls_way = "none";
	if (way == CALLS_NONE) {
		snprintf(attached->calls, sizeof(attached->calls), "not wanted");
		return;
	}
	if (way != CALLS_TRACEPOINT && attach_kprobes(bpf, attached))
		attached->calls_way = "kprobe";
	else if (way != CALLS_KPROBE && attach_tracepoints(bpf, attached))
		attached->calls_way = "tracepoint";
	if (strcmp(attached->calls_way, "none"))
		attached->calls[0] = 0;
}

void attach_all(struct portreeve_bpf *bpf, enum calls_way way, struct attached *attached)
{
	expect_warnings(1);
	attach_raw(bpf->progs.on_drop, attached->drops, sizeof(attached->drops));
	if (attach_raw(bpf->progs.on_exit, attached->exec, sizeof(attached->exec)))
		attach_raw(bpf->progs.on_exec, attached->exec, sizeof(attached->exec));
	/* Without it an end has nobody who caused it, and nothing else is missing. */
	bpf_program__attach(bpf->progs.on_signal);
	attach_calls(bpf, way, attached);
	if (way == CALLS_NONE || way == CALLS_TRACEPOINT)
		snprintf(attached->netlink, sizeof(attached->netlink), "not wanted");
	else if (!bpf_program__attach(bpf->progs.on_netlink))
		because(attached->netlink, sizeof(attached->netlink), "kprobe of netlink_unicast", errno);
	expect_warnings(0);
}

int attach_resets(struct portreeve_bpf *bpf, struct attached *attached, bool on)
{
	if (!on && attached->resets) {
		bpf_link__destroy(attached->resets);
		attached->resets = NULL;
	}
	if (on && !attached->resets) {
		attached->resets = bpf_program__attach(bpf->progs.on_send);
		if (!attached->resets)
			return -errno;
	}
	return 0;
}

struct family_question {
	struct nlmsghdr header;
	struct genlmsghdr generic;
	struct nlattr attribute;
	char name[8];
};

static uint16_t family_in(const uint8_t *answer, ssize_t length)
{
	size_t at = sizeof(struct nlmsghdr) + sizeof(struct genlmsghdr);

	while (length > 0 && at + sizeof(struct nlattr) <= (size_t)length) {
		const struct nlattr *attribute = (const void *)(answer + at);

		if (attribute->nla_type == CTRL_ATTR_FAMILY_ID)
			return *(const uint16_t *)(attribute + 1);
		if (attribute->nla_len < sizeof(*attribute))
			break;
		at += NLA_ALIGN(attribute->nla_len);
	}
	return 0;
}

/* Asking for a family that is not there would make the kernel load its module, so the module is looked for first. */
void find_ipvs_family(struct portreeve_bpf *bpf)
{
	struct family_question question = {
		.header = { .nlmsg_len = sizeof(question) - 3, .nlmsg_type = GENL_ID_CTRL, .nlmsg_flags = NLM_F_REQUEST },
		.generic = { .cmd = CTRL_CMD_GETFAMILY, .version = 1 },
		.attribute = { .nla_len = sizeof(struct nlattr) + 5, .nla_type = CTRL_ATTR_FAMILY_NAME },
		.name = "IPVS",
	};
	__attribute__((aligned(4))) uint8_t answer[4096];
	int file;

	if (access("/proc/net/ip_vs", F_OK)) {
		bpf->bss->ipvs_family = 0;
		return;
	}
	if (bpf->bss->ipvs_family)
		return;
	file = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (file < 0)
		return;
	if (send(file, &question, question.header.nlmsg_len, 0) > 0)
		bpf->bss->ipvs_family = family_in(answer, recv(file, answer, sizeof(answer), 0));
	close(file);
}
