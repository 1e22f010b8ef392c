/* SPDX-License-Identifier: Apache-2.0 */
/*
 * portreeve-relay: lets the agent talk to portreeve-bpf across the border of two services, so that the process that reads the network and runs Node.js holds neither
 * CAP_BPF nor CAP_PERFMON, and the one that holds them is a small program without a network of its own.
 *
 *   portreeve-bpf ARGUMENT...          as the agent starts it (this program under another name): connects to the socket of portreeve-bpf.socket, sends the
 *                                      arguments, and is a pipe from then on. Where there is no such socket, it becomes the real program beside it.
 *   portreeve-relay serve PROGRAM      as systemd starts it, with the connection for its streams: takes the arguments and becomes PROGRAM.
 *
 * Arguments are sent as words that end in NUL, and a newline. --parent is left out: across the border the end of the stream says that the agent is gone.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <signal.h>
#include <unistd.h>

#define SOCKET_PATH "/run/portreeve-bpf.sock"
#define ARGUMENTS_MAX 64
#define BYTES_MAX 4096

static int fail(const char *what)
{
	fprintf(stderr, "portreeve-relay: %s: %s\n", what, strerror(errno));
	return 1;
}

static int serve(char *program)
{
	static char words[BYTES_MAX];
	char *arguments[ARGUMENTS_MAX + 2] = { program };
	int count = 1, length = 0, begin = 0;
	for (;; length++) {
		/* One byte at a time: what follows the newline belongs to the program. */
		if (length == BYTES_MAX || count > ARGUMENTS_MAX || read(STDIN_FILENO, words + length, 1) != 1)
			return 2;
		if (words[length] == '\n' && length == begin)
			break;
		if (words[length] == '\0') {
			arguments[count++] = words + begin;
			begin = length + 1;
		}
	}
	execv(program, arguments);
	return fail(program);
}

static int write_all(int to, const char *bytes, ssize_t length)
{
	while (length > 0) {
		ssize_t wrote = write(to, bytes, (size_t)length);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0)
			return -1;
		bytes += wrote;
		length -= wrote;
	}
	return 0;
}

/* Moves what has come; 0 at the end of the stream. */
static int move(int from, int to)
{
	static char buffer[65536];
	ssize_t got = read(from, buffer, sizeof buffer);
	if (got < 0 && errno == EINTR)
		return 1;
	return got > 0 && write_all(to, buffer, got) == 0;
}

static int relay(int connection)
{
	struct pollfd polled[] = { { STDIN_FILENO, POLLIN, 0 }, { connection, POLLIN, 0 } };
	while (poll(polled, 2, -1) >= 0 || errno == EINTR) {
		if (polled[1].revents && !move(connection, STDOUT_FILENO))
			return 0;
		if (polled[0].revents && !move(STDIN_FILENO, connection)) {
			shutdown(connection, SHUT_WR);
			polled[0].fd = -1;
		}
	}
	return fail("poll");
}

/* Beside this file, in bpf/. */
static int become_the_program(char **arguments)
{
	char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof path - 32);
	if (length < 0)
		return fail("/proc/self/exe");
	path[length] = '\0';
	strcpy(strrchr(path, '/'), "/bpf/portreeve-bpf");
	execv(path, arguments);
	return fail(path);
}

int main(int count, char **arguments)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = SOCKET_PATH };
	if (count == 3 && strcmp(arguments[1], "serve") == 0)
		return serve(arguments[2]);
	if (access(SOCKET_PATH, F_OK) < 0)
		return become_the_program(arguments);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connection < 0 || connect(connection, (struct sockaddr *)&address, sizeof address) < 0)
		return fail(SOCKET_PATH);
	for (int i = 1; i < count; i++) {
		if (strcmp(arguments[i], "--parent") == 0) {
			i++;
			continue;
		}
		if (write_all(connection, arguments[i], (ssize_t)strlen(arguments[i]) + 1) < 0)
			return fail(SOCKET_PATH);
	}
	if (write_all(connection, "\n", 1) < 0)
		return fail(SOCKET_PATH);
	return relay(connection);
}
