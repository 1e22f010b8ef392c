// SPDX-License-Identifier: GPL-2.0-or-later
#include "json.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES_MAX (16 * 1024)
#define PENDING_BYTES_MAX (256 * 1024)

static char line[LINE_BYTES_MAX];
static size_t line_length;
static bool line_cut, comma, waits_for_reader;

static char pending[PENDING_BYTES_MAX];
static size_t pending_length;
static uint64_t lost;

static void put(const char *text, size_t length)
{
	if (line_length + length > sizeof(line) - 2) {
		line_cut = true;
		return;
	}
	memcpy(line + line_length, text, length);
	line_length += length;
}

static void put_string(const char *text, size_t length)
{
	char escaped[8];

	put("\"", 1);
	for (size_t i = 0; i < length; i++) {
		unsigned char byte = text[i];

		if (byte == '"' || byte == '\\') {
			escaped[0] = '\\';
			escaped[1] = byte;
			put(escaped, 2);
		} else if (byte < 0x20 || byte == 0x7f) {
			put(escaped, snprintf(escaped, sizeof(escaped), "\\u%04x", byte));
		} else {
			put((const char *)&text[i], 1);
		}
	}
	put("\"", 1);
}

static void put_name(const char *name)
{
	if (comma)
		put(",", 1);
	comma = true;
	if (!name)
		return;
	put_string(name, strlen(name));
	put(":", 1);
}

void json_begin(const char *event)
{
	line_length = 0;
	line_cut = false;
	comma = false;
	put("{", 1);
	json_text("ev", event);
}

void json_text_n(const char *name, const char *text, size_t length)
{
	put_name(name);
	put_string(text, length);
}

void json_text(const char *name, const char *text)
{
	json_text_n(name, text, strlen(text));
}

void json_number(const char *name, int64_t number)
{
	char digits[24];

	put_name(name);
	put(digits, snprintf(digits, sizeof(digits), "%lld", (long long)number));
}

void json_bool(const char *name, bool value)
{
	put_name(name);
	put(value ? "true" : "false", value ? 4 : 5);
}

void json_address(const char *name, const uint8_t *address, int family)
{
	char text[INET6_ADDRSTRLEN];

	if (inet_ntop(family == 6 ? AF_INET6 : AF_INET, address, text, sizeof(text)))
		json_text(name, text);
}

void json_hex(const char *name, const uint8_t *bytes, size_t length)
{
	static const char digits[] = "0123456789abcdef";

	put_name(name);
	put("\"", 1);
	for (size_t i = 0; i < length; i++) {
		char pair[2] = { digits[bytes[i] >> 4], digits[bytes[i] & 15] };

		put(pair, 2);
	}
	put("\"", 1);
}

void json_array(const char *name)
{
	put_name(name);
	put("[", 1);
	comma = false;
}

void json_array_end(void)
{
	put("]", 1);
	comma = true;
}

void json_object(void)
{
	put_name(NULL);
	put("{", 1);
	comma = false;
}

void json_object_end(void)
{
	put("}", 1);
	comma = true;
}

void json_end(void)
{
	put("}", 1);
	if (pending_length + line_length + 1 > sizeof(pending))
		json_flush();
	if (line_cut || pending_length + line_length + 1 > sizeof(pending)) {
		lost++;
		return;
	}
	line[line_length++] = '\n';
	memcpy(pending + pending_length, line, line_length);
	pending_length += line_length;
}

int json_flush(void)
{
	size_t done = 0;

	while (done < pending_length) {
		ssize_t written = write(STDOUT_FILENO, pending + done, pending_length - done);

		if (written > 0) {
			done += written;
		} else if (errno == EINTR) {
			continue;
		} else if (errno != EAGAIN) {
			return -1;
		} else if (waits_for_reader) {
			struct pollfd fd = { .fd = STDOUT_FILENO, .events = POLLOUT };

			poll(&fd, 1, -1);
		} else {
			break;
		}
	}
	memmove(pending, pending + done, pending_length - done);
	pending_length -= done;
	return 0;
}

bool json_waits(void)
{
	return pending_length > 0;
}

void json_wait_for_reader(void)
{
	waits_for_reader = true;
}

uint64_t json_lost(void)
{
	return lost;
}
