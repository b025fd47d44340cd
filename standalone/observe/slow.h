/* slow.h - which commands were slow: from the threads that run them to SLOWLOG and LATENCY.
 *
 * Threads    The functions with stats: the thread whose they are. slow_apply: any.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_SLOW_H
#define KV_STANDALONE_SLOW_H

#include "batch.h"
#include "slowlog.h"
#include "stats.h"

struct server;
struct connection;

/* A counting thread's. */
typedef struct slow_watch {
    struct server *server;
    unsigned version;      /* of what the server asks for */
    int64_t unclear_ms;    /* when a slow call was last not recognised among others */
    int64_t each_until_ms; /* every call is timed until then */
    bool holding;          /* locks are held, so that nothing may be told yet */
    slowlog_entry *held;   /* what is told later: then, and on the state thread, which knows no clients */
} slow_watch;

/* What the server asks for, from its configuration: at the start, after CONFIG SET and RESETSTAT. */
void slow_apply(struct server *s);
/* Takes over what the server asks for. */
void slow_ask_anew(stats *s, int64_t now_ms);
/* The same once a turn, or batch: version is the server's slow_version. */
static inline void slow_ask(stats *s, unsigned version, int64_t now_ms)
{
    if (__builtin_expect(version != s->slow->version || s->each, 0))
        slow_ask_anew(s, now_ms);
}

/* A call took so long, which is s->slow_ticks or more. c: its client, NULL on the state thread. */
void slow_command(stats *s, const kv_command *row, int argc, const kv_slice argv[], uint64_t ticks,
                  struct connection *c);
/* n calls of the row, whose arguments stand one after the other, ran in ticks as one; n may be 1, and then that is known. */
void slow_alike(stats *s, const kv_command *row, int argc, const kv_slice argv[], size_t n, uint64_t ticks,
                struct connection *c);
/* Requests ran in ticks, without what was timed of them one by one; that is s->slow_ticks or more. */
void slow_batch(stats *s, const request requests[], int count, uint64_t ticks, struct connection *c);
/* Back on its worker's thread: the client of what the state thread held. c may be closed. */
void slow_release(struct server *s, slowlog_entry *held, const struct connection *c);

#endif
