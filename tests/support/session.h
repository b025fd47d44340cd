/* session.h - one conversation, held at every door.
 *
 *     static void incrby_leaves_a_text_value_untouched(void **state)
 *     {
 *         session *s = *state;
 *
 *         expect(s, "+OK", "SET", "visits", "many");
 *         expect(s, "-ERR value is not an integer or out of range", "INCRBY", "visits", "1");
 *         expect(s, "$many", "GET", "visits");
 *     }
 *     int main(int argc, char **argv)
 *     {
 *         const struct CMUnitTest tests[] = { conversation(incrby_leaves_a_text_value_untouched) };
 *
 *         return run_conversations(argc, argv, tests);
 *     }
 *
 * The program's first argument is the door: "process" (the commands, called directly), "kvserver" (over a
 * socket), "redis" (redis-server, which decides what is right wherever it knows the command), or "module" (the
 * fields of one key in redis-server with our module; what speaks of more than that is skipped there). What follows
 * goes to the server's command line. Every conversation begins with empty databases and a new connection to
 * database 0, in RESP2.
 *
 * Time       is the wall clock at the servers and stands still in process, so conversations use deadlines
 *            far in the future, or long past.
 * Errors     What is not as expected fails the test, with file and line, and ends it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_SESSION_H
#define TESTS_SESSION_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "resp.h"

typedef struct session session;

/* ---- expecting -------------------------------------------------------------------------- */

/* The reply to the command that the C strings make is text, in the compact form of resp.h. Of errors whose
 * end is not to be told, write the beginning and "...". */
#define expect(s, text, ...) \
    session_expect(s, __FILE__, __LINE__, text, (const char *const[]){ __VA_ARGS__, NULL })
/* The same for binary arguments, given as KV_STR("a\0b"). */
#define expect_bytes(s, text, ...)                                                     \
    session_expect_bytes(s, __FILE__, __LINE__, text,                                  \
                         sizeof((const kv_slice[]){ __VA_ARGS__ }) / sizeof(kv_slice), \
                         (const kv_slice[]){ __VA_ARGS__ })
/* The reply's elements come in any order; text gives them sorted by their compact form. */
#define expect_sorted(s, text, ...) \
    session_expect_sorted(s, __FILE__, __LINE__, text, (const char *const[]){ __VA_ARGS__, NULL })
/* The reply is an integer from least to most. */
#define expect_between(s, least, most, ...) \
    session_expect_between(s, __FILE__, __LINE__, least, most, (const char *const[]){ __VA_ARGS__, NULL })
/* The reply's compact form matches the pattern of fnmatch(3). */
#define expect_like(s, pattern, ...) \
    session_expect_like(s, __FILE__, __LINE__, pattern, (const char *const[]){ __VA_ARGS__, NULL })
/* The compact form of the reply, which lives until the end of the conversation. */
#define said(s, ...) session_said(s, __FILE__, __LINE__, (const char *const[]){ __VA_ARGS__, NULL })

void session_expect(session *s, const char *file, int line, const char *text, const char *const args[]);
void session_expect_bytes(session *s, const char *file, int line, const char *text, size_t argc,
                          const kv_slice argv[]);
void session_expect_sorted(session *s, const char *file, int line, const char *text,
                           const char *const args[]);
void session_expect_between(session *s, const char *file, int line, long long least, long long most,
                            const char *const args[]);
void session_expect_like(session *s, const char *file, int line, const char *pattern,
                         const char *const args[]);
const char *session_said(session *s, const char *file, int line, const char *const args[]);

/* The whole reply, for what none of these can say; yours. */
reply *session_reply(session *s, size_t argc, const kv_slice argv[]);

/* ---- raw bytes, where there is a socket ------------------------------------------------- */

/* Sends bytes (a literal) as they are; the replies to come are then expected one by one. */
#define send_raw(s, literal) session_send(s, __FILE__, __LINE__, KV_STR(literal))
#define expect_next(s, text) session_expect_next(s, __FILE__, __LINE__, text)
#define expect_closed(s)     session_expect_closed(s, __FILE__, __LINE__)
void session_send(session *s, const char *file, int line, kv_slice bytes);
void session_expect_next(session *s, const char *file, int line, const char *text);
void session_expect_closed(session *s, const char *file, int line);
/* The connection, borrowed; NULL in process. */
conn *session_conn(session *s);

/* ---- doors ------------------------------------------------------------------------------ */

/* Another client of the same server, for as long as the conversation lasts. */
session *another_client(session *s);
/* Skips the test at the door of redis-server, which is older than what the test is about, or answers in
 * another way for the reason given. */
void not_in_redis(session *s, const char *reason);
/* Skips the test where no server is between: it is about one. */
void needs_server(session *s);
/* The time commands are run at, in ms; at a socket, the wall clock. */
int64_t session_now_ms(session *s);
/* In process, lets ms pass; elsewhere skips the test. */
void let_pass(session *s, int64_t ms);
/* text with a decimal appended; lives until the end of the conversation. */
const char *decimal(session *s, long long value);

/* ---- running ---------------------------------------------------------------------------- */

#define conversation(test) cmocka_unit_test_setup_teardown(test, session_begin, session_end)
int session_begin(void **state);
int session_end(void **state);

/* Opens the door argv names, runs the tests, closes it. Its result is for main to return: 0, 1, or
 * session_skipped when the door's program is not installed. */
#define run_conversations(argc, argv, tests)                                                       \
    (session_open_door(argc, argv) ? session_close_door(cmocka_run_group_tests(tests, NULL, NULL)) \
                                   : session_skipped)
enum { session_skipped = 77 };
bool session_open_door(int argc, char **argv);
int session_close_door(int failures);

#endif
