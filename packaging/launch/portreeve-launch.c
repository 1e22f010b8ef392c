/* SPDX-License-Identifier: Apache-2.0 */
/*
 * portreeve-launch: puts a process into the state that a daemon of ours expects, and becomes that daemon.
 *
 *   portreeve-launch PROGRAM ARGUMENT...
 *   portreeve-launch --ask SOCKET          whether the agent that listens there answers within ten seconds: for probes of a kubelet, to which Node.js is heavy
 *
 * Node.js can neither send datagrams to a Unix socket nor hand capabilities to what it starts, so both are done before it is started:
 *
 *   $NOTIFY_SOCKET     is connected and left open as a descriptor whose number is in $PORTREEVE_NOTIFY_FD: what the daemon writes to it are messages to the
 *                      service manager (sd_notify(3)), sent by the main process itself, so NotifyAccess=main is enough, and a message costs one system call.
 *   capabilities       that this program was given by its file (in a container without root) are made ambient, so that the daemon and the programs that it
 *                      starts hold them, and no-new-privileges is set. Under systemd AmbientCapabilities= and NoNewPrivileges= have done so before.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static int fail(const char *what)
{
	fprintf(stderr, "portreeve-launch: %s: %s\n", what, strerror(errno));
	return 126;
}

/* An address that begins with @ is of the abstract namespace: its first byte is then 0. */
static int connect_to(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = strlen(name);
	if (length < 2 || length >= sizeof address.sun_path || (name[0] != '/' && name[0] != '@')) {
		errno = EINVAL;
		return -1;
	}
	memcpy(address.sun_path, name, length);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	int notify = socket(AF_UNIX, SOCK_DGRAM, 0);
	if (notify < 0)
		return -1;
	return connect(notify, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0 ? -1 : notify;
}

static int are_ambient(const struct __user_cap_data_struct *data)
{
	for (unsigned capability = 0; capability < 64; capability++)
		if (data[capability / 32].permitted >> capability % 32 & 1)
			if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 0, 0) != 1)
				return 0;
	return 1;
}

/* What is permitted becomes effective, inheritable and ambient. Processes without capabilities, and kernels without ambient ones, are left as they are. */
static int keep_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	if (syscall(SYS_capget, &header, data) < 0)
		return -1;
	/* Nothing to do where somebody has done it, as systemd does; its services may not change capabilities any more. */
	if (are_ambient(data))
		return 0;
	for (int i = 0; i < 2; i++)
		data[i].effective = data[i].inheritable = data[i].permitted;
	/* What is not in the bounding set may not be made inheritable without CAP_SETPCAP, but then it is not permitted either. */
	if (syscall(SYS_capset, &header, data) < 0)
		return -1;
	for (unsigned capability = 0; capability < 64; capability++)
		if (data[capability / 32].permitted >> capability % 32 & 1)
			if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0 && errno != EINVAL)
				return -1;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static int ask(const char *path)
{
	static const char question[] = "{\"ask\":\"status\"}\n";
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = 10 };
	char answer;
	if (strlen(path) >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		return fail(path);
	}
	strcpy(address.sun_path, path);
	int agent = socket(AF_UNIX, SOCK_STREAM, 0);
	if (agent < 0 || setsockopt(agent, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
	    connect(agent, (struct sockaddr *)&address, sizeof address) < 0 || write(agent, question, sizeof question - 1) < 0 || read(agent, &answer, 1) != 1) {
		fail(path);
		return 1;
	}
	return answer == '{' ? 0 : 1;
}

int main(int count, char **arguments)
{
	if (count == 3 && strcmp(arguments[1], "--ask") == 0)
		return ask(arguments[2]);
	if (count < 2) {
		fprintf(stderr, "usage: portreeve-launch PROGRAM ARGUMENT...\n");
		return 2;
	}
	if (geteuid() != 0 && keep_capabilities() < 0)
		return fail("the capabilities cannot be handed on");
	const char *name = getenv("NOTIFY_SOCKET");
	if (name) {
		char number[16];
		int notify = connect_to(name);
		if (notify < 0)
			return fail("the service manager cannot be reached");
		snprintf(number, sizeof number, "%d", notify);
		/* Programs that the daemon starts have nothing to say to the service manager. */
		unsetenv("NOTIFY_SOCKET");
		setenv("PORTREEVE_NOTIFY_FD", number, 1);
	}
	execvp(arguments[1], arguments + 1);
	return fail(arguments[1]);
}
