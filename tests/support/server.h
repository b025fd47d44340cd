/* server.h - starts a server for a test, and stops it again.
 *
 *     server *s = server_start(server_program("kvserver"), (const char *const[]){ "--threads", "1", NULL });
 *     conn *c = conn_open_unix(server_socket(s));
 *     ...
 *     assert_true(server_stop(s));
 *
 * Each server listens on a unix socket in a directory of its own, where its log lies too. It dies with the
 * test, whatever happens to the test. The directory is removed by server_stop when all went well, and kept
 * (and its log printed) otherwise.
 *
 * Threads    One at a time.
 * Errors     NULL or false, after the reason was printed to stderr.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_SERVER_H
#define TESTS_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

#include "harness/port.h"

/* Where the program is: $KV_<NAME> ("KV_KVSERVER"), else in PATH. NULL when it is not to be found. The result
 * lives as long as the process. */
const char *server_program(const char *name);

/* The redis-server that decides what is right: 7.0, whose replies the project promises. NULL: there is none, or one of another
 * version. */
const char *oracle_program(void);

typedef struct server server;

/* Runs program with a unix socket and args (option, value, ..., NULL; a configuration file may stand first), and
 * waits until it answers. */
server *server_start(const char *program, const char *const args[]);
/* The same, but it may still be loading. */
server *server_start_loading(const char *program, const char *const args[]);
/* The same, listening on 127.0.0.1 as well; server_port tells where. */
server *server_start_tcp(const char *program, const char *const args[]);
const char *server_socket(const server *s);
int server_port(const server *s);
pid_t server_pid(const server *s);
const char *server_directory(const server *s);
/* Everything the server logged so far; yours. */
char *server_log(const server *s);
/* SIGTERM, and the end of it: true when it left with status 0 in time. Frees s. */
bool server_stop(server *s);
/* SIGKILL, as a power cut would; true when it was that what ended it. Frees s, and the directory is gone. */
bool server_kill(server *s);
/* Waits for a server that was told to end otherwise; its wait status, or -1. s is still to be stopped. */
int server_wait(server *s);
/* Frees one that has ended as the test wanted, whatever its status; the directory is gone. */
void server_forget(server *s);

/* Runs argv to its end, in a directory that exists: its exit status (128 + signal when killed), or -1 when
 * it did not end in time. *ret_output is what it wrote to stdout and stderr, yours. */
int run_program(const char *const argv[], const char *directory, char **ret_output);

/* A new directory below $TMPDIR or /tmp, yours; remove_directory removes it and all that is in it. */
char *new_directory(void);
void remove_directory(char *directory);

#endif
