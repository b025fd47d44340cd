/* program.h - kvcli and redis-cli as programs: in pipes, and on a terminal.
 *
 *     outcome o = run_kvcli("PING\n", "-s", server_socket(s));      // stdin, words
 *     assert_int_equal(o.status, 0);
 *     assert_string_equal(o.out, "PONG\n");
 *     outcome_done(&o);
 *
 *     terminal *t = terminal_open("-s", server_socket(s));
 *     terminal_sees(t, "> ");
 *     terminal_types(t, "ping\r");
 *     terminal_sees(t, "PONG");
 *     assert_int_equal(terminal_close(t), 0);
 *
 * Everything here fails the running test when it does not succeed in time.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_PROGRAM_H
#define TESTS_PROGRAM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server.h"

/* The path of a program, or the end of the test program with status 77. */
const char *program_or_skip(const char *name);
/* No password, configuration or colour of whoever runs the test; HOME is a new directory, removed by program_leave_home. */
void program_enter_home(void);
void program_leave_home(void);

/* ---- in pipes ---- */

typedef struct outcome {
    int status; /* 128 + signal when killed */
    char *out, *err;
    size_t out_len;
} outcome;

#define run_kvcli(input, ...) \
    program_run(input, (const char *const[]){ program_or_skip("kvcli"), __VA_ARGS__, NULL })
/* The words of argv; input "" is an empty stdin. */
outcome program_run(const char *input, const char *const argv[]);
/* The same, with a signal sent once what it writes to stdout holds text. */
outcome program_run_signalled(const char *const argv[], const char *text, int signal);
void outcome_done(outcome *o);

/* run_kvcli ends with this status, and prints this; err NULL: whatever. */
#define kvcli_ends(expected_status, expected_out, input, ...)                    \
    program_ends(__FILE__, __LINE__, expected_status, expected_out, NULL, input, \
                 (const char *const[]){ program_or_skip("kvcli"), __VA_ARGS__, NULL })
/* The same; something of what it prints on stderr, too. */
#define kvcli_complains(expected_status, expected_err, input, ...)               \
    program_ends(__FILE__, __LINE__, expected_status, NULL, expected_err, input, \
                 (const char *const[]){ program_or_skip("kvcli"), __VA_ARGS__, NULL })
void program_ends(const char *file, int line, int status, const char *out, const char *err, const char *input,
                  const char *const argv[]);

/* ---- on a terminal ---- */

typedef struct terminal terminal;

#define terminal_open(...) \
    terminal_open_program((const char *const[]){ program_or_skip("kvcli"), __VA_ARGS__, NULL })
/* On a new pseudo-terminal of 30 lines and 100 columns. */
terminal *terminal_open_program(const char *const argv[]);
void terminal_types(terminal *t, const char *keys);
/* Waits until what was written since the last call of it holds text. */
#define terminal_sees(t, text) terminal_sees_at(t, __FILE__, __LINE__, text)
void terminal_sees_at(terminal *t, const char *file, int line, const char *text);
/* text is not among what was written since the last terminal_sees, nor comes in the next tenth of a second. */
void terminal_sees_not(terminal *t, const char *text);
/* Waits until the program reads key by key. The prompt is there a moment before; control keys typed by then are the
 * terminal's own. */
void terminal_reads_keys(terminal *t);
/* Waits for its end: its exit status. Frees t. */
int terminal_close(terminal *t);

#endif
