/* fault.h - why a tool could not do its work: one sentence, carried up to main.
 *
 *     if (connect(fd, ...))
 *         return fault_set(fault, "cannot connect to port %d: %s", port, strerror(errno));
 *
 * Every function of the tools that can fail takes a fault and returns 0, or -1 with the sentence filled in.
 *
 * SPDX-License-Identifier: MIT */
#ifndef HARNESS_FAULT_H
#define HARNESS_FAULT_H

#include <stdbool.h>

typedef struct fault {
    char text[1024];
    bool usage; /* the command line is to blame, not a server or the machine */
} fault;

/* Always -1, so that it can be returned at once. An earlier sentence is replaced. */
int fault_set(fault *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same, for what is wrong with the command line. */
int fault_usage(fault *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts a context in front of the sentence ("redis-server: ..."). Always -1. */
int fault_prefix(fault *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
