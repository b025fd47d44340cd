/* aof_race.c - what a log may never tell, whoever writes and takes at the same time.
 *
 * Threads put keys of their own and keys that all of them write, delete some and make acts of several, while another thread
 * takes what was told again and again and carries it out on a copy. Each batch is a moment: of what one thread did one after the other
 * the copy never has the later without the earlier; and in the end it is what the store is. Meant for ThreadSanitizer, useful without.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "aof_buffer.h"
#include "aof_replay.h"

#define THREADS  4
#define SHARED   6 /* keys that all write */
#define NOW      1
#define DIGITS   12
#define MEETINGS (ROUNDS / 5)

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define ROUNDS 3000
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define ROUNDS 3000
#endif
#endif
#ifndef ROUNDS
#define ROUNDS 20000
#endif

static _Thread_local aof_writer *own;

typedef struct race {
    kv_domain *domain;
    kv_store *store, *copy;
    aof_buffer buffer;
    aof_writer writers[THREADS];
    pthread_t threads[THREADS];
    _Atomic int next, ended;
    _Atomic unsigned violations;
    aof_replay replay;
    int64_t seen[THREADS];
} race;

KV_UNDER_LOCK static void note(void *arg, const kv_change *change)
{
    aof_buffer_note(&((race *)arg)->buffer, own, change, 0, 0);
}

KV_UNDER_LOCK static bool note_put(void *arg, const store_put_told *put)
{
    return aof_buffer_note_put(&((race *)arg)->buffer, own, put, 0);
}

/* ---- those who write ---- */

/* Puts n keys as one run: all of them have the same value. */
static void put_run(race *r, size_t n, char keys[][16], const char *value)
{
    kv_slice pairs[2 * 4];
    uint64_t hashes[4];
    map_hint hints[4];

    for (size_t i = 0; i < n; i++) {
        pairs[2 * i] = kv_str(keys[i]);
        pairs[2 * i + 1] = kv_str(value);
        hashes[i] = store_key_of(r->store, pairs[2 * i]).hash;
    }
    if (epoch_enter(r->domain) != 0)
        abort();
    store_prefetch(r->store, n, hashes, hints);
    r->violations += store_put_run(r->store, n, pairs, 2, hashes, hints, 0, NOW) != n;
    epoch_leave(r->domain);
}

static void *write_on(void *arg)
{
    race *r = arg;
    int me = atomic_fetch_add(&r->next, 1);
    char keys[4][16], value[32];

    own = &r->writers[me];
    for (int64_t i = 1; i <= ROUNDS; i++) {
        snprintf(value, sizeof value, "%0*lld", DIGITS, (long long)i);
        snprintf(keys[0], 16, "first%d", me);
        snprintf(keys[1], 16, "shared%d", (int)(i % SHARED));
        snprintf(keys[2], 16, "second%d", me);
        put_run(r, 3, keys, value);
        if (i % 64 == me)
            kv_store_delete(r->store, kv_str(keys[1]), NULL, NOW);
        if (i % 96 == me) /* what comes in another way, between the two */
            kv_store_set(r->store, kv_str(keys[0]), kv_str(value), NULL, NOW, NULL);
    }
    atomic_fetch_add(&r->ended, 1);
    return NULL;
}

/* ---- the one that takes ---- */

static int64_t value_of(kv_store *store, const char *name, int of)
{
    char key[16];
    kv_bytes *bytes;
    int64_t value = 0;

    snprintf(key, sizeof key, "%s%d", name, of);
    bytes = kv_store_get(store, kv_str(key), NOW);
    for (size_t i = 0; bytes && i < kv_bytes_slice(bytes).len; i++)
        value = value * 10 + kv_bytes_slice(bytes).data[i] - '0';
    kv_bytes_unref(bytes);
    return value;
}

static void take(race *r)
{
    aof_queue queue = { 0 };
    uint64_t end;

    assert_int_equal(aof_buffer_take(&r->buffer, &queue, &end), AOF_TAKEN);
    assert_true(end <= aof_buffer_appended(&r->buffer));
    assert_true(aof_replay_run(&r->replay, &queue));
    aof_buffer_give_back(&r->buffer, &queue);
    for (int i = 0; i < THREADS; i++) {
        int64_t first = value_of(r->copy, "first", i), second = value_of(r->copy, "second", i);

        assert_true(first == second || first == second + 1);
        assert_true(second >= r->seen[i]);
        r->seen[i] = second;
    }
}

/* ---- one after the other ---- */

static void begin(race *r)
{
    kv_store_options options = { .domain = kv_domain_new(NULL) };

    assert_non_null(options.domain);
    r->domain = options.domain;
    r->store = kv_store_new(&options);
    r->copy = kv_store_new(&options);
    r->replay.stores = &r->copy;
    aof_buffer_init(&r->buffer);
    kv_store_on_change(r->store, note, r, &r->store);
    store_on_put(r->store, note_put, r);
}

static void end(race *r)
{
    assert_int_equal(r->violations, 0);
    assert_true(aof_buffer_appended(&r->buffer) > atomic_load(&r->buffer.appended)); /* some were staged */
    assert_int_equal(kv_store_count(r->copy), kv_store_count(r->store));
    for (int i = 0; i < THREADS; i++)
        aof_writer_done(&r->writers[i]);
    aof_buffer_done(&r->buffer);
    kv_store_unref(r->store);
    kv_store_unref(r->copy);
    kv_domain_unref(r->domain);
}

static void each_batch_is_a_moment_and_the_last_one_is_the_end(void **state)
{
    static race r;

    (void)state;
    begin(&r);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&r.threads[i], NULL, write_on, &r), 0);
    while (atomic_load(&r.ended) < THREADS)
        take(&r);
    for (int i = 0; i < THREADS; i++)
        pthread_join(r.threads[i], NULL);
    take(&r);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(r.seen[i], ROUNDS);
    for (int i = 0; i < SHARED; i++)
        assert_int_equal(value_of(r.copy, "shared", i), value_of(r.store, "shared", i));
    end(&r);
}

/* ---- the same few keys, for a moment ---- */

typedef struct meeting {
    race *race;
    pthread_barrier_t begin, end;
    _Atomic int busy;
} meeting;

static void *meet(void *arg)
{
    meeting *m = arg;
    int me = atomic_fetch_add(&m->race->next, 1);
    char keys[4][16], value[32];

    own = &m->race->writers[me];
    for (int round = 0; round < MEETINGS; round++) {
        pthread_barrier_wait(&m->begin);
        for (int i = 0; i < 8; i++) {
            snprintf(keys[0], 16, "shared%d", i & 1);
            snprintf(keys[1], 16, "shared%d", i >> 1 & 1);
            snprintf(value, sizeof value, "%d%d%d", round + 1, i, me);
            put_run(m->race, 2, keys, value);
        }
        atomic_fetch_sub(&m->busy, 1);
        pthread_barrier_wait(&m->end);
    }
    return NULL;
}

static void of_a_key_that_several_put_the_last_value_is_told_last(void **state)
{
    static race r;
    meeting m = { .race = &r };

    (void)state;
    begin(&r);
    pthread_barrier_init(&m.begin, NULL, THREADS + 1);
    pthread_barrier_init(&m.end, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&r.threads[i], NULL, meet, &m), 0);
    for (int round = 0; round < MEETINGS; round++) {
        atomic_store(&m.busy, THREADS);
        pthread_barrier_wait(&m.begin);
        while (atomic_load(&m.busy))
            take(&r);
        pthread_barrier_wait(&m.end);
        take(&r);
        for (int i = 0; i < 2; i++)
            assert_int_equal(value_of(r.copy, "shared", i), value_of(r.store, "shared", i));
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(r.threads[i], NULL);
    pthread_barrier_destroy(&m.begin);
    pthread_barrier_destroy(&m.end);
    end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_batch_is_a_moment_and_the_last_one_is_the_end),
        cmocka_unit_test(of_a_key_that_several_put_the_last_value_is_told_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
