/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines of JSON on stdout: composed whole, written without ever waiting for the reader, and counted where there is no room. */
#ifndef PORTREEVE_JSON_H
#define PORTREEVE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Begins a line as an object whose member `ev` is the word given. */
void json_begin(const char *event);
void json_text(const char *name, const char *text);
void json_text_n(const char *name, const char *text, size_t length);
void json_number(const char *name, int64_t number);
void json_bool(const char *name, bool value);
void json_address(const char *name, const uint8_t *address, int family);
void json_hex(const char *name, const uint8_t *bytes, size_t length);
void json_array(const char *name);
void json_array_end(void);
void json_object(void);
void json_object_end(void);
/* Ends the line. It is dropped and counted when it or what waits before it is too long. */
void json_end(void);

/* Writes what it can of what waits. -1 when nobody reads any more. */
int json_flush(void);
bool json_waits(void);
/* Makes writing wait for the reader, for output that is as long as it is and must be whole. */
void json_wait_for_reader(void);
uint64_t json_lost(void);

#endif
