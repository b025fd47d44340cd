/* map_bed.h - a map beside a sequential dictionary: an array with a place for each key.
 *
 *     model m;
 *     model_start(&m, 20000, 0, NULL);
 *     model_move_to(&m, 128);          // half of the keys are there
 *     model_look_at_all(&m);           // in the map as in the array, and map_check
 *     model_done(&m);                  // no memory is left behind
 *
 * A key is a number; keys are drawn so that their hashes are of a wanted kind (any; all in one bucket; all in
 * one corner of the directory), which works because the secret of the hash is fixed here. What differs between the two fails
 * the running test. SPDX-License-Identifier: MIT */
#ifndef TESTS_MAP_BED_H
#define TESTS_MAP_BED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "map.h"

#define NOW 1000 /* deadlines are drawn around it */

typedef struct cell {
    uint64_t name; /* the key's bytes */
    uint64_t number;
    int64_t deadline_ms;
    uint64_t version;
    bool present, seen;
} cell;

typedef struct model {
    kv_domain *domain;
    map *map;
    cell *cells;
    size_t n, present;
    uint64_t rng;
    size_t bytes, calls, fail_at; /* of the allocator; fail_at 0: never */
    bool fail_on;                 /* all calls from fail_at on */
} model;

/* n keys whose hashes agree with zero in the bits of mask, and an empty map. */
void model_start(model *m, size_t n, uint64_t mask, const map_options *options);
void model_done(model *m);

/* The next number of a random state: SplitMix64. */
uint64_t model_draw(uint64_t *rng);
/* One of the keys; a deadline, or none. */
cell *model_any(model *m);
int64_t model_deadline(model *m);
kv_slice model_key(const cell *c);
uint64_t model_hash(const model *m, const cell *c);

/* An entry for that key, or NULL: memory is out. */
entry *model_build(model *m, const cell *c, uint64_t number, int64_t deadline_ms);
bool model_entry_is(const entry *e, const cell *c);

/* Stores; false when memory was out, and then nothing has changed. */
bool model_put(model *m, cell *c, uint64_t number, int64_t deadline_ms);
void model_take(model *m, cell *c);
/* Fills up to a part of 256 of the keys or empties down to it, at first with some of the contrary in between. */
void model_move_to(model *m, size_t part);
/* Removes what is due at NOW, by calls that see at most so many segments; 0: any number. */
void model_expire_all(model *m, size_t max_segments);

void model_enter(model *m) KV_ACQUIRES(kv_epoch_held);
void model_look_at_all(model *m);
/* For map_scan, with the model: the cell was seen; it had not been before. */
void model_see(void *arg, const entry *e);
void model_see_once(void *arg, const entry *e);
/* For map_expire. */
void model_due(void *arg, map_shard *s, const entry *e);

#endif
