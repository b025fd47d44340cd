/* hosts.h - the servers that the module is tested in.
 *
 *     int main(int argc, char **argv)
 *     {
 *         const struct CMUnitTest tests[] = { on_host(acknowledged_fields_survive) };
 *
 *         return run_on_hosts(argc, argv, tests);
 *     }
 *     static void acknowledged_fields_survive(void **state)
 *     {
 *         server *s = host_start((const char *const[]){ "--appendonly", "yes", NULL });
 *         ...
 *
 * Without arguments the program runs once for each server that is found: redis-server in PATH (or $KV_REDIS_SERVER), and those
 * that $KV_MODULE_SERVERS names. With one argument, it is the server.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_HOSTS_H
#define TESTS_HOSTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "resp.h"
#include "server.h"

/* The server under test with the module, without snapshots, DEBUG allowed, and these options. Fails the test when it does not start. */
server *host_start(const char *const options[]);
/* The same in directory, where an earlier one ran that has ended; the directory stays the caller's. */
server *host_start_in(const char *directory, const char *const options[]);
/* The same of redis-server in PATH, whichever server is under test. NULL: there is none, or it is the one under test. */
server *host_start_reference(const char *directory, const char *const options[]);
conn *host_connect(const server *s);

/* The reply's compact form is text (or, ending in "...", begins with it); else the test fails. */
#define expect_reply(c, text, ...) \
    host_expect(c, __FILE__, __LINE__, text, (const char *const[]){ __VA_ARGS__, NULL })
void host_expect(conn *c, const char *file, int line, const char *text, const char *const args[]);
/* The compact form, yours; the test fails when there is none. */
char *host_say(conn *c, const char *const args[]);
#define say(c, ...) host_say(c, (const char *const[]){ __VA_ARGS__, NULL })
/* Asks until the reply is text; fails after some seconds. */
#define wait_for(c, text, ...) \
    host_wait(c, __FILE__, __LINE__, text, (const char *const[]){ __VA_ARGS__, NULL })
void host_wait(conn *c, const char *file, int line, const char *text, const char *const args[]);
/* The number behind name in INFO section. */
long long host_info(conn *c, const char *section, const char *name);

#define run_on_hosts(argc, argv, tests) \
    (hosts_choose(argc, argv) ? cmocka_run_group_tests(tests, NULL, NULL) : hosts_run_each(argv[0]))
bool hosts_choose(int argc, char **argv);
int hosts_run_each(const char *self);

#endif
