// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * `portreeve-bpf audit`: where no program may be loaded, changes of rules from the kernel's audit, if that is on already. It is never switched on from
 * here: every process of the node would pay for it until the next boot.
 */
#include "json.h"
#include "portreeve-bpf.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#define GROUP_READLOG 1 /* AUDIT_NLGRP_READLOG */
#define SERIALS 16

/* 1 or 0; -1 when it may not be asked, which needs CAP_AUDIT_CONTROL. */
static int is_enabled(void)
{
	struct {
		struct nlmsghdr header;
		char zero[4];
	} question = { .header = { .nlmsg_len = sizeof(question), .nlmsg_type = AUDIT_GET, .nlmsg_flags = NLM_F_REQUEST } };
	__attribute__((aligned(4))) char answer[1024];
	const struct nlmsghdr *header = (void *)answer;
	int enabled = -1, file = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_AUDIT);
	struct timeval wait = { .tv_sec = 1 };
	ssize_t length;

	if (file < 0)
		return -1;
	setsockopt(file, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	length = send(file, &question, sizeof(question), 0) < 0 ? -1 : recv(file, answer, sizeof(answer), 0);
	if (length >= (ssize_t)(NLMSG_HDRLEN + 2 * sizeof(__u32)) && header->nlmsg_type == AUDIT_GET)
		enabled = ((const __u32 *)NLMSG_DATA(header))[1] != 0;
	close(file);
	return enabled;
}

static int listen_to_records(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 << (GROUP_READLOG - 1) };
	int file = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_AUDIT);

	if (file < 0 || !bind(file, (void *)&address, sizeof(address)))
		return file;
	close(file);
	return -1;
}

/* `audit(1700000000.123:4711): table=…`: seconds, milliseconds, and the number that the records of one event share. */
static int read_stamp(const char *text, double *seconds, unsigned long *serial, int *length)
{
	return sscanf(text, "audit(%lf:%lu): %n", seconds, serial, length) == 2 && *length > 0;
}

/* Of other events than those of netfilter nothing is told: on a node with audit rules they are thousands. */
static int concerns_rules(int type, unsigned long serial)
{
	static unsigned long serials[SERIALS];
	static int next;

	for (int i = 0; i < SERIALS; i++)
		if (serials[i] == serial)
			return 1;
	if (type != AUDIT_NETFILTER_CFG)
		return 0;
	serials[next++ % SERIALS] = serial;
	return 1;
}

static void print_audit(int type, char *text)
{
	unsigned long serial;
	double seconds;
	int start = 0;

	if (type != AUDIT_SYSCALL && type != AUDIT_NETFILTER_CFG && type != AUDIT_PROCTITLE)
		return;
	if (!read_stamp(text, &seconds, &serial, &start) || !concerns_rules(type, serial))
		return;
	json_begin("audit");
	json_number("type", type);
	json_number("serial", serial);
	json_number("at", (int64_t)(seconds * 1000));
	json_text("text", text + start);
	json_end();
}

static void read_records(int file)
{
	static __attribute__((aligned(4))) char bytes[NLMSG_SPACE(9000) + 1];
	const struct nlmsghdr *header = (void *)bytes;
	ssize_t length = recv(file, bytes, sizeof(bytes) - 1, MSG_DONTWAIT);

	if (length < 0 && errno == ENOBUFS) {
		json_begin("lost");
		json_number("events", 1);
		json_number("lines", json_lost());
		json_end();
	}
	if (length < (ssize_t)NLMSG_HDRLEN)
		return;
	bytes[length] = 0;
	/* Records that are sent to listeners say a length without the header; what was received is what counts. */
	print_audit(header->nlmsg_type, NLMSG_DATA(header));
}

static int answer_pings(void)
{
	static char text[4096];
	ssize_t length = read(STDIN_FILENO, text, sizeof(text) - 1);

	if (length <= 0)
		return -1;
	text[length] = 0;
	if (strstr(text, "ping")) {
		json_begin("pong");
		json_text("id", "");
		json_end();
	}
	return 0;
}

static int refuse(const char *code, const char *reason)
{
	json_begin("refused-start");
	json_text("stage", "audit");
	json_text("code", code);
	json_text("reason", reason);
	json_end();
	json_flush();
	return EXIT_REFUSED;
}

int audit(int argc, char **argv)
{
	struct pollfd files[2] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .events = POLLIN } };
	int enabled = is_enabled();

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (argc > 2 && !strcmp(argv[1], "--parent") && getppid() != atoi(argv[2]))
		return 0;
	if (enabled == 0)
		return refuse("", "auditing is off (auditctl -s: enabled 0)");
	files[1].fd = listen_to_records();
	if (files[1].fd < 0)
		return refuse(strerrorname_np(errno) ? strerrorname_np(errno) : "", "its records cannot be read, which needs CAP_AUDIT_READ in the host's network namespace");
	json_begin("audit-hello");
	json_bool("enabled", enabled == 1);
	json_end();
	while (!json_flush()) {
		if (poll(files, 2, -1) < 0 && errno != EINTR)
			return 1;
		if (files[0].revents && answer_pings())
			return 0;
		if (files[1].revents)
			read_records(files[1].fd);
	}
	return 0;
}
