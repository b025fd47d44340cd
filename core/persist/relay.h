/* relay.h - blocks of work that go from one thread to others and back, a fixed number of them.
 *
 *     giver:  b = relay_take_empty(r); ... fill ...; relay_give_full(r, b);          waits while all are on their way
 *     takers: while ((b = relay_take_full(r))) { ... run ...; relay_give_back(r, b); }
 *
 * Full blocks are taken in the order in which they were given. A block is to stand for so much work that a lock and a wake-up are
 * nothing beside it.
 *
 * Threads    All functions but relay_init, relay_add and relay_done: any. Ownership: blocks are the caller's, the relay frees none.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_RELAY_H
#define KV_PERSIST_RELAY_H

#include <pthread.h>
#include <stdbool.h>

/* The first member of what goes round. */
typedef struct relay_block {
    struct relay_block *next;
} relay_block;

typedef struct relay {
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    relay_block *full, **full_tail, *empty;
    int busy; /* blocks that are full, or being run */
    bool ended, broken;
} relay;

void relay_init(relay *r);
/* Puts an empty block in, before any thread takes one. */
void relay_add(relay *r, relay_block *b);
void relay_done(relay *r);

/* An empty block; NULL: it is broken. */
relay_block *relay_take_empty(relay *r);
void relay_give_full(relay *r, relay_block *b);
/* A full block; NULL: it has ended and all were taken, or it is broken. */
relay_block *relay_take_full(relay *r);
/* A block that was taken full is empty. */
void relay_give_back(relay *r, relay_block *b);
/* Waits until all that were given were given back. */
void relay_wait_idle(relay *r);
/* No more will be given. */
void relay_end(relay *r);
/* Nothing more is wanted: whoever takes, or waits, gets NULL. */
void relay_break(relay *r);
bool relay_is_broken(relay *r);

#endif
