/* e2e.h - what the tests of kvserver as a process have in common.
 *
 *     server *s = begin("--threads", "4");
 *     conn *c = connect_to(s);
 *     says(c, "+PONG", "PING");
 *     conn_close(c);
 *     end(s);
 *
 * Everything here fails the running test when it does not succeed.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_E2E_H
#define TESTS_E2E_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "resp.h"
#include "server.h"

/* kvserver with these options; it listens on a unix socket, with begin_tcp on 127.0.0.1, too. */
#define begin(...)     e2e_begin(false, (const char *const[]){ __VA_ARGS__, NULL })
#define begin_tcp(...) e2e_begin(true, (const char *const[]){ __VA_ARGS__, NULL })
server *e2e_begin(bool tcp, const char *const options[]);
/* Stops it, which must succeed with status 0. */
void end(server *s);

conn *connect_to(server *s);
/* The reply's compact form begins with text. */
#define says(c, text, ...) e2e_says(c, __FILE__, __LINE__, text, (const char *const[]){ __VA_ARGS__, NULL })
void e2e_says(conn *c, const char *file, int line, const char *text, const char *const args[]);
/* The next reply's compact form begins with text. */
#define next_is(c, text) e2e_next_is(c, __FILE__, __LINE__, text)
void e2e_next_is(conn *c, const char *file, int line, const char *text);

/* Where kvserver is; skips the test program (exit status 77) when it was not built. */
const char *kvserver_path(void);

/* Runs kvserver with options until it ends by itself: its exit status; *ret_output what it said. */
#define run_kvserver(ret_output, directory, ...) \
    run_program((const char *const[]){ kvserver_path(), __VA_ARGS__, NULL }, directory, ret_output)
/* output contains text. */
void assert_says(const char *output, const char *text);

void write_file(const char *path, const char *text);
/* The file name in directory, whose path is put into path. */
void write_file_in(const char *directory, const char *name, const char *text, char path[256]);
/* What a text file holds, which is not nothing; yours. */
char *read_file(const char *path);

/* Resident memory and threads of a process; time it spent in user and kernel mode. */
long long resident_bytes(pid_t pid);
/* The server's memory is what it was before and less than bytes more: a sanitizer, which keeps what was freed for a
 * while, is allowed half a gigabyte. */
void assert_grown_less(const server *s, long long before, long long bytes);
int thread_count(pid_t pid);
long long cpu_ms(pid_t pid);

#endif
