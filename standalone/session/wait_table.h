/* wait_table.h - who waits for something to appear under a key: first come, first served.
 *
 *     waiter w = { .wake = post_to_owner };
 *     wait_table_join(table, &w, n, db, keys);       // then look at the keys once more: they may have come meanwhile
 *     ... wake is called, on any thread, once until it is heard ...
 *     wait_table_heard(table, &w);                   // first this, then look; who finds nothing waits on, in his old place
 *     wait_table_leave(table, &w);
 *
 * Whoever has put something under a key calls wait_table_signal, which wakes the first waiter there that is not awake.
 * A waiter that leaves awake, because he had enough before or his time was over, passes his waking on to the next.
 *
 * Threads    Any. wake runs with the table locked: it may post a message, and nothing else.
 * Cost       wait_table_signal is one load while nobody waits for anything.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_WAIT_TABLE_H
#define KV_STANDALONE_WAIT_TABLE_H

#include "kvstore/kvstore.h"

typedef struct wait_table wait_table;
typedef struct waiter waiter;

struct waiter {
    void (*wake)(waiter *w);

    struct wait_place *places; /* from here on the table's: one for each key, NULL: it is in none */
    size_t count;
    bool awake;
};

/* NULL: memory is out. No waiter may be in it when it ends. */
wait_table *wait_table_new(void);
void wait_table_free(wait_table *t);

/* Puts w at the end of the queue of each of n keys, of one database; the same key may stand twice. KV_ENOMEM: it is in none. */
int wait_table_join(wait_table *t, waiter *w, size_t n, int db, const kv_slice keys[]);
/* Something is there under the key. Returns whether somebody was woken. */
bool wait_table_signal(wait_table *t, int db, kv_slice key);
/* w knows that it was woken, and may be woken again. */
void wait_table_heard(wait_table *t, waiter *w);
/* Takes it out of all queues. */
void wait_table_leave(wait_table *t, waiter *w);
/* Keys that are waited for. */
size_t wait_table_keys(wait_table *t);

#endif
