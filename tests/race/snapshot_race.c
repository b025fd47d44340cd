/* snapshot_race.c - a snapshot is one moment, whatever is written while it is taken.
 *
 * Each writer goes through a fixed sequence of operations on two stores of its own: sets, large values, deletions, deadlines
 * that pass, emptying, exchanging. So what its stores hold after n operations is known. When the moment comes, each
 * writer has finished some operations and may have begun another: the snapshot must hold, of every key exactly once, the
 * state before that one or after it. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "snapshot.h"

#define WRITERS 2
#define STORES  (2 * WRITERS)
#define KEYS    3000u
#define LARGE   2000u /* bytes: out of line */
#define PAUSES  64u
#define NOW_MS  1000

typedef struct writer {
    struct arena *arena;
    unsigned index;
    _Atomic uint64_t begun, finished;
    uint64_t begun_then, finished_then; /* at the moment */
    struct model *expected;             /* after so many operations: */
    uint64_t applied;
} writer;

typedef struct arena {
    kv_domain *domain;
    kv_store *stores[STORES];
    writer writers[WRITERS];
    atomic_bool stop;
    atomic_size_t failures;
} arena;

/* ---- the sequence of operations ---- */

typedef enum kind { SET, SET_LARGE, APPEND_, DELETE, EXPIRE, CLEAR, SWAP } kind;

typedef struct operation {
    kind kind;
    unsigned side, key;
} operation;

static operation operation_of(uint64_t n)
{
    uint64_t x = (n + 1) * 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9u;
    x ^= x >> 32;
    operation op = { SET, (unsigned)(x & 1), (unsigned)(x >> 1) % KEYS };

    if (n % 30011 == 30010)
        op.kind = CLEAR;
    else if (n % 9973 == 9972)
        op.kind = SWAP;
    else if (n % 50 == 49)
        op.kind = SET_LARGE;
    else if (n % 50 == 24)
        op.kind = APPEND_;
    else if (n % 4 == 3)
        op.kind = n % 8 == 7 ? DELETE : EXPIRE;
    return op;
}

static int append_step(kv_slot *slot, void *arg)
{
    size_t len;

    return kv_slot_append(slot, *(kv_slice *)arg, 1 << 20, &len);
}

static void write_value(kv_store *store, kv_slice key, uint64_t n, size_t len)
{
    char value[LARGE] = { 0 };

    memcpy(value, &n, sizeof n);
    if (kv_store_set(store, key, kv_slice_of(value, len), NULL, NOW_MS, NULL))
        abort();
}

static void run(writer *w, uint64_t n)
{
    operation op = operation_of(n);
    kv_store **sides = &w->arena->stores[2 * w->index];
    kv_slice key = kv_slice_of(&op.key, sizeof op.key), more = KV_STR("x");

    if (op.kind == SET)
        write_value(sides[op.side], key, n, 8 + op.key % 8);
    else if (op.kind == SET_LARGE)
        write_value(sides[op.side], key, n, LARGE);
    else if (op.kind == APPEND_ && kv_store_update(sides[op.side], key, append_step, &more, NOW_MS))
        abort();
    else if (op.kind == DELETE)
        kv_store_delete(sides[op.side], key, NULL, NOW_MS);
    else if (op.kind == EXPIRE)
        kv_store_expire(sides[op.side], key, NOW_MS - 1, NOW_MS);
    else if (op.kind == CLEAR && store_clear(sides[op.side], n & 1))
        abort();
    else if (op.kind == SWAP)
        store_swap(sides[0], sides[1], 0);
}

/* ---- what they must lead to ---- */

/* A key holds nothing (0), or the value of operation number - 1, with so many bytes. */
typedef struct cell {
    uint64_t number;
    size_t len;
} cell;

typedef struct model {
    cell cells[2][KEYS];
} model;

static void apply(model *m, uint64_t n)
{
    operation op = operation_of(n);
    cell *c = &m->cells[op.side][op.key];

    switch (op.kind) {
    case SET:
    case SET_LARGE:
        *c = (cell){ n + 1, op.kind == SET ? 8 + op.key % 8 : LARGE };
        break;
    case APPEND_: /* to an absent key: a value of its own, told by its length */
        c->len++;
        break;
    case DELETE:
    case EXPIRE:
        *c = (cell){ 0, 0 };
        break;
    case CLEAR:
        memset(m->cells[op.side], 0, sizeof m->cells[0]);
        break;
    case SWAP:
        for (unsigned i = 0; i < KEYS; i++) {
            cell swapped = m->cells[0][i];

            m->cells[0][i] = m->cells[1][i];
            m->cells[1][i] = swapped;
        }
    }
}

typedef struct seen {
    arena *arena;
    model models[WRITERS];
    bool there[STORES][KEYS];
} seen;

static int see(void *arg, const snapshot_record *record)
{
    seen *s = arg;
    unsigned key;

    memcpy(&key, record->key.data, sizeof key);
    if (s->there[record->store][key])
        atomic_fetch_add(&s->arena->failures, 1);
    s->there[record->store][key] = true;
    cell *c = &s->models[record->store / 2].cells[record->store % 2][key];

    c->len = record->value.len;
    c->number = 0;
    if (record->value.len >= 8) {
        memcpy(&c->number, record->value.data, sizeof c->number);
        c->number++;
    }
    return 0;
}

/* Whether what was seen is what was there before or after the operation that was under way then, if one was. */
static bool is_a_moment(writer *w, const model *got)
{
    model *after = malloc(sizeof *after);
    bool found;

    assert_non_null(after);
    for (; w->applied < w->finished_then; w->applied++)
        apply(w->expected, w->applied);
    *after = *w->expected;
    if (w->begun_then > w->finished_then)
        apply(after, w->finished_then);
    found = memcmp(w->expected, got, sizeof *got) == 0 || memcmp(after, got, sizeof *got) == 0;
    free(after);
    return found;
}

/* ---- threads ---- */

static void *write_on(void *arg)
{
    writer *w = arg;

    for (uint64_t n = atomic_load(&w->begun); !atomic_load(&w->arena->stop); n++) {
        atomic_store(&w->begun, n + 1);
        run(w, n);
        atomic_store(&w->finished, n + 1);
        if (n % 512 == 0)
            for (kv_store **s = w->arena->stores; s < w->arena->stores + STORES; s++)
                kv_store_expire_cycle(*s, NOW_MS, 4);
    }
    return NULL;
}

static void note_the_moment(void *arg)
{
    arena *a = arg;

    for (unsigned i = 0; i < WRITERS; i++) {
        a->writers[i].finished_then = atomic_load(&a->writers[i].finished);
        a->writers[i].begun_then = atomic_load(&a->writers[i].begun);
    }
}

/* Takes a snapshot, pausing now and then so that much is overwritten meanwhile. */
static void take_snapshot(arena *a)
{
    snapshot_options options = { .keep_bytes = 64 << 20, .at_moment = note_the_moment, .at_moment_arg = a };
    snapshot *snap = snapshot_new(&options, STORES, a->stores);
    seen *s = calloc(1, sizeof *s);
    int err;

    assert_non_null(snap);
    assert_non_null(s);
    s->arena = a;
    assert_int_equal(snapshot_begin(snap), 0);
    for (unsigned step = 0; (err = snapshot_next(snap, see, s)) > 0; step++)
        if (step < PAUSES)
            sched_yield();
    assert_int_equal(err, 0);
    snapshot_free(snap);
    for (unsigned i = 0; i < WRITERS; i++)
        if (!is_a_moment(&a->writers[i], &s->models[i])) {
            fprintf(stderr, "writer %u: no moment from %llu to %llu\n", i,
                    (unsigned long long)a->writers[i].finished_then,
                    (unsigned long long)a->writers[i].begun_then);
            atomic_fetch_add(&a->failures, 1);
        }
    free(s);
}

static void hammer(kv_sharing sharing, size_t shards, unsigned snapshots)
{
    arena a = { .domain = kv_domain_new(NULL) };
    pthread_t threads[WRITERS];

    for (unsigned i = 0; i < STORES; i++) {
        kv_store_options options = { .domain = a.domain, .sharing = sharing, .shards = shards };

        a.stores[i] = kv_store_new(&options);
        assert_non_null(a.stores[i]);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        a.writers[i].arena = &a;
        a.writers[i].index = i;
        a.writers[i].expected = calloc(1, sizeof(model));
        assert_non_null(a.writers[i].expected);
        assert_int_equal(pthread_create(&threads[i], NULL, write_on, &a.writers[i]), 0);
    }
    for (unsigned i = 0; i < snapshots; i++)
        take_snapshot(&a);
    atomic_store(&a.stop, true);
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        free(a.writers[i].expected);
    }
    assert_int_equal(atomic_load(&a.failures), 0);
    for (unsigned i = 0; i < STORES; i++) {
        store_check(a.stores[i]);
        kv_store_unref(a.stores[i]);
    }
    kv_domain_unref(a.domain);
}

static void a_snapshot_is_one_moment_of_maps_of_many_shards(void **state)
{
    (void)state;
    hammer(KV_SHARING_SHARDED, 16, 10);
}

static void a_snapshot_is_one_moment_of_maps_that_grow_from_one_shard(void **state)
{
    (void)state;
    hammer(KV_SHARING_SHARDED, 0, 12);
}

static void a_snapshot_is_one_moment_behind_one_lock(void **state)
{
    (void)state;
    hammer(KV_SHARING_MUTEX, 0, 4);
}

static void a_snapshot_is_one_moment_of_what_a_thread_owns(void **state)
{
    (void)state;
    hammer(KV_SHARING_ACTOR, 0, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_is_one_moment_of_maps_of_many_shards),
        cmocka_unit_test(a_snapshot_is_one_moment_of_maps_that_grow_from_one_shard),
        cmocka_unit_test(a_snapshot_is_one_moment_behind_one_lock),
        cmocka_unit_test(a_snapshot_is_one_moment_of_what_a_thread_owns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
