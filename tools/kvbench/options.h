/* options.h - what the command line asked for, and the help that describes it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_OPTIONS_H
#define KVBENCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fault.h"

#define OPTIONS_EXTRA 4 /* servers of the user's own */
#define OPTIONS_SIZES 8 /* map sizes */

typedef enum bench_mode {
    MODE_SERVER,
    MODE_MAP,
    MODE_CONTENTION,
    MODE_CACHE,
    MODE_FANOUT,
    MODE_OVERLOAD,
    MODE_DURABLE,
    MODE_TLS,
    MODE_FLOOR
} bench_mode;

typedef struct options {
    bench_mode mode;
    bool help, version;

    /* all modes */
    bool json;
    const char *chart; /* where the picture goes; NULL: nowhere */
    double seconds;    /* of one measurement */
    uint64_t requests; /* of one measurement at most; 0: only time counts */
    uint64_t seed;
    uint64_t value_size; /* bytes */

    /* server */
    bool callgrind, strategies, strace, memory, idle;
    const char *keep; /* where callgrind's files go; NULL: nowhere */
    const char *only; /* names of servers, separated by commas; NULL: all */
    const char *kvserver, *kvserver_args, *redis_server, *valkey_server, *memcached;
    const char *extra[OPTIONS_EXTRA]; /* name=command line */
    unsigned extra_count;
    const char *sharing; /* of kvserver; NULL: its default */
    uint64_t threads;    /* of every server */
    uint64_t load_threads, connections, depth, rounds;
    uint64_t keys, large_keys, memory_keys, idle_connections;

    /* contention */
    const char *distribution; /* of the keys */
    uint64_t set_percent, top;

    /* map */
    uint64_t sizes[OPTIONS_SIZES]; /* of the maps */
    unsigned size_count;
    bool ttl; /* every key has a deadline */
    double churn_seconds;
    const char *rows; /* only rows whose name contains this */

    /* tls */
    uint64_t handshakes;
    const char *server_args; /* more words for all that speak RESP: the mode sets them */

    /* overload */
    double share; /* of the clients that misbehave; 0: 1 */

    /* floor */
    uint64_t port;
} options;

/* Fills *ret from the words of the command line. On an error the fault says which word is wrong and why. */
int options_parse(options *ret, int argc, char **argv, fault *f);
/* The help of one mode, or with -1 of the program. */
void options_help(int mode);
/* For shells: the name of a mode, and of its options, from 0 on; NULL: there are no more. *ret_value is NULL for a flag. */
const char *options_mode(int mode);
const char *options_row(int mode, int index, const char **ret_value, const char **ret_help);

#endif
