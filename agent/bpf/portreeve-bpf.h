/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PORTREEVE_BPF_H
#define PORTREEVE_BPF_H

/* Exit codes: 0 fine, 2 wrong usage, 3 the kernel refuses. */
#define EXIT_USAGE 2
#define EXIT_REFUSED 3

int watch(int argc, char **argv);
int maps(int argc, char **argv);
int audit(int argc, char **argv);

/* Keeps the reason that libbpf gave last, and writes its warnings to stderr unless they are expected. */
void hear_libbpf(void);
void expect_warnings(int expected);
const char *last_warning(void);

/* The function of the kernel that an address is in; an empty text where the kernel does not tell. */
const char *symbol_of(unsigned long long address);

#endif
