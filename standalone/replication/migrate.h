/* migrate.h - moving keys to another server: MIGRATE, while its worker goes on.
 *
 *     migration *m = ...;                 // what MIGRATE's arguments say
 *     connection_park(c);
 *     migrations_post(s->migrations, m);  // a task moves the keys, then m->back reaches c's worker
 *
 * Threads    migrations_post, migrations_cancel: any. A migration is the task's until it is back.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_MIGRATE_H
#define KV_STANDALONE_MIGRATE_H

#include "worker.h"

struct server;
typedef struct migrations migrations;

typedef struct migration_key {
    kv_slice name;
    uint64_t version; /* the one that was sent; 0: none */
    bool acked;       /* by the target, which has that version */
    bool done;        /* moved, refused, or not there */
} migration_key;

typedef struct migration {
    worker_message back; /* first */
    struct migration *next;
    struct connection *c;
    worker *w;
    int from_db, to_db, port;
    int64_t timeout_ms; /* of each step that waits for the target */
    bool copy, replace;
    char *host, *user, *password; /* user, password: NULL: none */
    char *text;                   /* what the strings and the keys point to; freed with it */
    char reply[300];              /* "+OK", "-IOERR ..." */
    size_t count;
    migration_key keys[];
} migration;

/* NULL: memory or descriptors are out. Threads are started when they are needed. */
migrations *migrations_new(struct server *s);
/* Ends all tasks. NULL is nothing. */
void migrations_free(migrations *all) KV_EXCLUDES(kv_shard_held);
/* False: no thread can be had, and m is still the caller's. */
bool migrations_post(migrations *all, migration *m) KV_EXCLUDES(kv_shard_held);
/* The server stops: what waits for a target gives up. */
void migrations_cancel(migrations *all);
/* Connections to targets that are kept for the next MIGRATE. */
int migrations_sockets(const migrations *all);

#endif
