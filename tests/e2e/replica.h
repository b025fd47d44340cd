/* replica.h - what tests of replicas have in common: primaries, waiting for a field of INFO, comparing two servers.
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_REPLICA_H
#define TESTS_REPLICA_H

#include <pthread.h>
#include <stdatomic.h>

#include "e2e.h"

/* redis-server 7.0 on 127.0.0.1, with these options; skips the test program when there is none. */
#define begin_redis(...) replica_begin_redis((const char *const[]){ __VA_ARGS__, NULL })
server *replica_begin_redis(const char *const options[]);

/* The value of a field of INFO (everything), yours; NULL: there is no such field. */
char *info_value(conn *c, const char *field);
long long info_number(conn *c, const char *field);
/* Waits until the field begins with value. */
void wait_for_field(conn *c, const char *field, const char *value);
/* REPLICAOF 127.0.0.1 port. */
void follow_port(conn *c, int port);
/* Waits until the replica has applied all that the primary has told, and has a link. */
void wait_for_offset(conn *primary, conn *replica);
/* Every database holds the same keys, values and deadlines. */
void assert_same_content(conn *a, conn *b, int databases);

/* ---- load ---- */

enum { load_databases = 4, load_rounds = 60 };

/* A batch of commands of all shapes that kvserver has, a database chosen before, some of them as a transaction. */
void load_batch(conn *c, unsigned *seed);

/* Batches by a thread, from load_begin, which waits for some, until load_end; load_rounds of them at least. */
typedef struct load {
    server *primary;
    _Atomic int batches;
    _Atomic bool stop;
    pthread_t thread;
} load;

void load_begin(load *l, server *primary);
void load_end(load *l);

#endif
