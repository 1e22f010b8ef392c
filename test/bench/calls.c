/*
 * What one call costs, in nanoseconds: the best of many short rounds, as a busy machine only ever adds. Prints `NAME NANOSECONDS` lines.
 * Built and run by bpf.bench.ts.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 400

static int plain, udp_from, udp_to, tcp_from, tcp_to;
static char bytes[1400];

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e9 + time.tv_nsec;
}

static void measure(const char *name, int calls, void (*call)(void))
{
	double best = 1e18;

	for (int round = 0; round < ROUNDS; round++) {
		double start = now();

		for (int i = 0; i < calls; i++)
			call();
		start = (now() - start) / calls;
		if (start < best)
			best = start;
	}
	printf("%s %.1f\n", name, best);
}

static void call_getppid(void)
{
	getppid();
}

/* Nobody to send to: the call alone. */
static void call_sendmsg(void)
{
	struct iovec part = { bytes, 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	sendmsg(plain, &message, 0);
}

static void call_setsockopt(void)
{
	int one = 1;

	setsockopt(plain, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
}

static void send_udp(void)
{
	send(udp_from, bytes, 32, 0);
	recv(udp_to, bytes, sizeof(bytes), 0);
}

static void send_tcp(void)
{
	send(tcp_from, bytes, 32, 0);
	recv(tcp_to, bytes, sizeof(bytes), 0);
	send(tcp_to, bytes, 32, 0);
	recv(tcp_from, bytes, sizeof(bytes), 0);
}

static void send_long(void)
{
	send(udp_from, bytes, sizeof(bytes), 0);
	recv(udp_to, bytes, sizeof(bytes), 0);
}

static int listening(int type, struct sockaddr_in *address)
{
	socklen_t length = sizeof(*address);
	int file = socket(AF_INET, type, 0);

	address->sin_family = AF_INET;
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	bind(file, (void *)address, length);
	getsockname(file, (void *)address, &length);
	return file;
}

int main(void)
{
	struct sockaddr_in udp = {}, tcp = {};
	int one = 1, server;

	plain = socket(AF_INET, SOCK_DGRAM, 0);
	udp_to = listening(SOCK_DGRAM, &udp);
	udp_from = socket(AF_INET, SOCK_DGRAM, 0);
	connect(udp_from, (void *)&udp, sizeof(udp));
	server = listening(SOCK_STREAM, &tcp);
	listen(server, 1);
	tcp_from = socket(AF_INET, SOCK_STREAM, 0);
	connect(tcp_from, (void *)&tcp, sizeof(tcp));
	tcp_to = accept(server, NULL, NULL);
	setsockopt(tcp_from, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(tcp_to, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	measure("getppid", 2000, call_getppid);
	measure("sendmsg", 2000, call_sendmsg);
	measure("setsockopt", 2000, call_setsockopt);
	measure("udp-short", 500, send_udp);
	measure("udp-long", 500, send_long);
	measure("tcp-short-both-ways", 250, send_tcp);
	return 0;
}
