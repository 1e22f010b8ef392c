// SPDX-License-Identifier: GPL-2.0-or-later
/* `portreeve-bpf watch`: loads and attaches the programs, then waits for records, commands and room on stdout. */
#include "watch.h"
#include "json.h"
#include "portreeve-bpf.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define SWEEP_MS 1000
/* Sweeps that find nothing before waiting for the next record. */
#define QUIET_SWEEPS 3
#define COMMAND_BYTES_MAX 256

struct options {
	long backends;
	long parent;
	bool every_netns;
	enum calls_way calls;
};

static uint32_t own_netns;
static bool heard;

static int usage(const char *word)
{
	fprintf(stderr, "portreeve-bpf watch: %s is not understood; see portreeve-bpf help\n", word);
	return -1;
}

static int read_options(struct options *options, int argc, char **argv)
{
	static const char *const ways[] = { "auto", "kprobe", "tracepoint", "none" };

	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (!strcmp(argv[i], "--every-netns")) {
			options->every_netns = true;
			continue;
		}
		if (!strcmp(argv[i], "--backends") && atol(value) > 0 && atol(value) <= 1000000)
			options->backends = atol(value);
		else if (!strcmp(argv[i], "--parent") && atol(value) > 0)
			options->parent = atol(value);
		else if (!strcmp(argv[i], "--calls"))
			for (options->calls = CALLS_AUTO; options->calls <= CALLS_NONE && strcmp(value, ways[options->calls]); options->calls++)
				;
		else
			return usage(argv[i]);
		if (options->calls > CALLS_NONE)
			return usage(value);
		i++;
	}
	return 0;
}

/* Ends with whoever started it, whatever way that one ends. */
static void end_with_parent(const struct options *options)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (options->parent && getppid() != options->parent)
		exit(0);
}

/* A reader that is slow must not hold this up; only pipes and sockets are changed, as a terminal is shared. */
static void never_wait_for_reader(void)
{
	struct stat status;

	signal(SIGPIPE, SIG_IGN);
	if (!fstat(STDOUT_FILENO, &status) && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode)))
		fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
	fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
}

static int refused(const char *stage, int error, const char *message)
{
	json_begin("refused-start");
	json_text("stage", stage);
	json_text("code", strerrorname_np(error) ? strerrorname_np(error) : "");
	json_text("reason", message);
	json_end();
	json_flush();
	return EXIT_REFUSED;
}

/* Of what root may do, nothing is needed any more but looking at BPF maps and attaching one more program, and names of kernel functions. */
static void drop_privileges(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[2] = {};
	uint64_t kept = 1ull << CAP_BPF | 1ull << CAP_PERFMON | 1ull << CAP_SYSLOG;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (syscall(SYS_capget, &header, sets))
		return;
	for (int i = 0; i < 2; i++) {
		sets[i].permitted &= kept >> (32 * i);
		sets[i].effective &= sets[i].permitted;
		sets[i].inheritable = 0;
	}
	syscall(SYS_capset, &header, sets);
}

static struct portreeve_bpf *load(const struct options *options, int *error)
{
	struct portreeve_bpf *bpf = portreeve_bpf__open();

	if (!bpf) {
		*error = errno;
		return NULL;
	}
	bpf->rodata->own_netns = own_netns;
	bpf->rodata->every_netns = options->every_netns;
	if (libbpf_num_possible_cpus() > MANY_PROCESSORS)
		bpf_map__set_max_entries(bpf->maps.drops, DROP_KEYS_MANY);
	if (options->backends)
		bpf_map__set_max_entries(bpf->maps.backends, options->backends);
	*error = -portreeve_bpf__load(bpf);
	if (!*error)
		return bpf;
	portreeve_bpf__destroy(bpf);
	return NULL;
}

static void print_part(const char *name, const char *reason)
{
	json_text(name, reason[0] ? reason : "ok");
}

static void say_hello(struct portreeve_bpf *bpf, const struct attached *attached)
{
	struct utsname system;

	uname(&system);
	json_begin("hello");
	json_number("version", 1);
	json_text("kernel", system.release);
	json_number("netns", own_netns);
	json_number("backends", bpf_map__max_entries(bpf->maps.backends));
	print_part("drops", attached->drops);
	print_part("exec", attached->exec);
	json_text("callsBy", attached->calls_way);
	print_part("calls", attached->calls);
	print_part("netlink", attached->netlink);
	json_end();
}

static int on_record(void *context, void *data, size_t length)
{
	(void)length;
	heard = true;
	print_record(context, data, own_netns);
	return 0;
}

/* Carries out the whole lines that have come. -1 when there is no more to come. */
static int read_commands(struct portreeve_bpf *bpf, struct attached *attached)
{
	static char text[64 * 1024];
	static size_t length;
	ssize_t got = read(STDIN_FILENO, text + length, sizeof(text) - 1 - length);
	char *line = text, *end;

	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
		return -1;
	if (got < 0)
		return 0;
	length += got;
	text[length] = 0;
	while ((end = memchr(line, '\n', text + length - line))) {
		*end = 0;
		if (end - line < COMMAND_BYTES_MAX)
			run_command(bpf, attached, line);
		line = end + 1;
	}
	length -= line - text;
	memmove(text, line, length);
	/* A line without an end is none. */
	if (length >= COMMAND_BYTES_MAX)
		length = 0;
	find_ipvs_family(bpf);
	return 0;
}

static void want_room(int poll, bool wanted)
{
	static bool waiting;
	struct epoll_event event = { .events = EPOLLOUT, .data.fd = STDOUT_FILENO };

	if (wanted != waiting)
		epoll_ctl(poll, wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, STDOUT_FILENO, &event);
	waiting = wanted;
}

static int run(struct portreeve_bpf *bpf, struct attached *attached, struct ring_buffer *ring)
{
	int poll = epoll_create1(EPOLL_CLOEXEC), quiet = QUIET_SWEEPS;
	struct epoll_event input = { .events = EPOLLIN, .data.fd = STDIN_FILENO };
	struct epoll_event records = { .events = EPOLLIN, .data.fd = ring_buffer__epoll_fd(ring) };
	struct timespec swept, now;

	epoll_ctl(poll, EPOLL_CTL_ADD, STDIN_FILENO, &input);
	epoll_ctl(poll, EPOLL_CTL_ADD, ring_buffer__epoll_fd(ring), &records);
	clock_gettime(CLOCK_MONOTONIC, &swept);
	for (;;) {
		struct epoll_event events[4];
		int count = epoll_wait(poll, events, 4, quiet < QUIET_SWEEPS ? SWEEP_MS : -1);

		for (int i = 0; i < count; i++)
			if (events[i].data.fd == STDIN_FILENO && read_commands(bpf, attached))
				return 0;
		ring_buffer__consume(ring);
		if (heard)
			quiet = 0;
		heard = false;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (quiet < QUIET_SWEEPS && (now.tv_sec - swept.tv_sec) * 1000 + (now.tv_nsec - swept.tv_nsec) / 1000000 >= SWEEP_MS) {
			swept = now;
			quiet = sweep(bpf, own_netns) ? 0 : quiet + 1;
		}
		if (json_flush())
			return 0;
		want_room(poll, json_waits());
	}
}

int watch(int argc, char **argv)
{
	struct options options = {};
	struct attached attached = {};
	struct portreeve_bpf *bpf;
	struct ring_buffer *ring;
	struct stat netns;
	int error;

	if (read_options(&options, argc, argv))
		return EXIT_USAGE;
	end_with_parent(&options);
	never_wait_for_reader();
	hear_libbpf();
	if (stat("/proc/self/ns/net", &netns))
		return refused("netns", errno, "/proc/self/ns/net cannot be read");
	own_netns = netns.st_ino;
	/* Without BTF libbpf says "no such process", which nobody understands. */
	if (access("/sys/kernel/btf/vmlinux", R_OK))
		return refused("btf", errno, "no BTF: /sys/kernel/btf/vmlinux is missing or closed");
	bpf = load(&options, &error);
	if (!bpf)
		return refused("load", error, last_warning());
	attach_all(bpf, options.calls, &attached);
	find_ipvs_family(bpf);
	drop_privileges();
	ring = ring_buffer__new(bpf_map__fd(bpf->maps.ring), on_record, bpf, NULL);
	if (!ring)
		return refused("ring", errno, "the ring buffer cannot be read");
	say_hello(bpf, &attached);
	if (json_flush())
		return 0;
	return run(bpf, &attached, ring);
}
