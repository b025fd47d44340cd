/* map_race.c - what readers of a map may never see, whatever writers do meanwhile.
 *
 * Each test states an invariant and has threads hammer at it; ThreadSanitizer (preset tsan) looks at the
 * memory accesses, the assertions at the answers. Values carry their key and a number, twice, so that a torn or
 * recycled one shows. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "map.h"

#define THREADS 3

typedef struct value {
    uint64_t key, number, number_again;
} value;

typedef struct arena {
    kv_domain *domain;
    map *map, *other;
    uint64_t keys;
    size_t rounds;
    atomic_bool stop;
    atomic_size_t failures, seen;
} arena;

static bool check(arena *a, bool right)
{
    if (!right)
        atomic_fetch_add(&a->failures, 1);
    return right;
}

static uint64_t next_random(uint64_t *rng)
{
    *rng ^= *rng << 13;
    *rng ^= *rng >> 7;
    *rng ^= *rng << 17;
    return *rng;
}

/* ---- one key ---- */

static uint64_t hash_of(const arena *a, uint64_t key)
{
    return domain_hash(a->domain, kv_slice_of(&key, sizeof key));
}

static entry *build(const arena *a, uint64_t key, uint64_t number, int64_t deadline_ms)
{
    value v = { key, number, number };
    entry_parts parts = { .key = kv_slice_of(&key, sizeof key),
                          .value = kv_slice_of(&v, sizeof v),
                          .deadline_ms = deadline_ms };
    entry *e = entry_new(a->domain, &parts);

    if (!e)
        abort();
    return e;
}

static bool read_value(const entry *e, uint64_t key, uint64_t *ret_number)
{
    kv_slice text = entry_value(e, NULL);
    value v;

    if (text.len != sizeof v)
        return false;
    memcpy(&v, text.data, sizeof v);
    *ret_number = v.number;
    return v.key == key && v.number == v.number_again;
}

/* The caller is inside an epoch. */
static bool get(arena *a, const map *m, uint64_t key, uint64_t *ret_number) KV_REQUIRES(kv_epoch_held)
{
    const entry *e = map_find(m, kv_slice_of(&key, sizeof key), hash_of(a, key));

    return e && check(a, read_value(e, key, ret_number));
}

static void put_locked(arena *a, map_shard *s, uint64_t key, uint64_t number, int64_t deadline_ms,
                       entry **ret_old) KV_REQUIRES(kv_shard_held)
{
    uint64_t hash = hash_of(a, key);
    map_place place = shard_find(s, kv_slice_of(&key, sizeof key), hash);
    entry *fresh = build(a, key, number, deadline_ms);

    *ret_old = place.entry;
    if (place.entry)
        shard_replace(s, &place, fresh);
    else if (shard_insert(s, hash, fresh))
        abort();
}

static void put(arena *a, map *m, uint64_t key, uint64_t number, int64_t deadline_ms)
{
    entry *old;
    map_shard *s = map_lock(m, hash_of(a, key));

    put_locked(a, s, key, number, deadline_ms, &old);
    map_unlock(s);
    entry_retire(a->domain, old);
}

static void take(arena *a, map *m, uint64_t key)
{
    uint64_t hash = hash_of(a, key);
    map_shard *s = map_lock(m, hash);
    map_place place = shard_find(s, kv_slice_of(&key, sizeof key), hash);

    if (place.entry)
        shard_remove(s, &place);
    map_unlock(s);
    entry_retire(a->domain, place.entry);
}

/* ---- running ---- */

typedef struct job {
    arena *arena;
    void (*run)(arena *a, uint64_t seed);
    uint64_t seed;
} job;

static void *job_main(void *arg)
{
    job *j = arg;

    j->run(j->arena, j->seed);
    return NULL;
}

/* Runs writer in this thread until it returns, and THREADS readers beside it. */
static void hammer(arena *a, void (*writer)(arena *, uint64_t), void (*reader)(arena *, uint64_t))
{
    pthread_t threads[THREADS];
    job jobs[THREADS];

    atomic_store(&a->stop, false);
    for (size_t i = 0; i < THREADS; i++) {
        jobs[i] = (job){ a, reader, i + 1 };
        assert_int_equal(pthread_create(&threads[i], NULL, job_main, &jobs[i]), 0);
    }
    do /* again, when the readers did not get a look at it */
        writer(a, 99);
    while (atomic_load(&a->seen) == 0);
    atomic_store(&a->stop, true);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&a->failures), 0);
    map_check(a->map);
}

static arena arena_new(size_t shards, uint64_t keys, size_t rounds)
{
    map_options options = { .shards = shards, .version_step = 1 };
    arena a = { .keys = keys, .rounds = rounds };

    a.domain = kv_domain_new(NULL);
    assert_non_null(a.domain);
    a.map = map_new(a.domain, &options);
    a.other = map_new(a.domain, NULL);
    assert_true(a.map && a.other);
    return a;
}

static void arena_done(arena *a)
{
    map_free(a->map);
    map_free(a->other);
    kv_domain_unref(a->domain);
}

/* ---- a value is whole, and numbers of a key never go back ---- */

/* Each key is written by one thread only, with growing numbers; the map grows, shrinks and grows again. */
static void churn(arena *a, uint64_t seed)
{
    uint64_t rng = seed * 7919 + 1;

    for (size_t round = 0; round < a->rounds; round++) {
        bool grow = round / 4 % 2 == 0;

        for (uint64_t i = 0; i < a->keys / 2; i++) {
            uint64_t key = next_random(&rng) % a->keys;

            if (epoch_enter(a->domain))
                abort();
            if (grow || next_random(&rng) % 8 == 0)
                put(a, a->map, key, round + 1, KV_FOREVER);
            else
                take(a, a->map, key);
            epoch_leave(a->domain);
        }
    }
}

static void read_single(arena *a, uint64_t seed)
{
    uint64_t rng = seed;
    uint64_t *last = calloc(a->keys, sizeof *last), number;

    if (!last)
        abort();
    while (!atomic_load(&a->stop)) {
        uint64_t key = next_random(&rng) % a->keys;

        if (epoch_enter(a->domain))
            abort();
        if (get(a, a->map, key, &number)) {
            check(a, number >= last[key]);
            last[key] = number;
            atomic_fetch_add_explicit(&a->seen, 1, memory_order_relaxed);
        }
        epoch_leave(a->domain);
    }
    free(last);
}

static void a_value_is_whole_and_never_goes_back(void **state)
{
    arena a = arena_new(0, 20000, 24);

    (void)state;
    hammer(&a, churn, read_single);
    arena_done(&a);
}

/* The same with readers that are registered and quiesce. */
static void read_registered(arena *a, uint64_t seed)
{
    uint64_t rng = seed, number;

    if (kv_thread_register(a->domain))
        abort();
    while (!atomic_load(&a->stop)) {
        for (int i = 0; i < 50; i++) {
            if (epoch_enter(a->domain))
                abort();
            if (get(a, a->map, next_random(&rng) % a->keys, &number))
                atomic_fetch_add_explicit(&a->seen, 1, memory_order_relaxed);
            epoch_leave(a->domain);
        }
        kv_thread_quiesce(a->domain);
        if (next_random(&rng) % 16 == 0) {
            kv_thread_offline(a->domain);
            kv_thread_online(a->domain);
        }
    }
    kv_thread_unregister(a->domain);
}

static void registered_readers_see_whole_values(void **state)
{
    arena a = arena_new(0, 10000, 24);

    (void)state;
    hammer(&a, churn, read_registered);
    arena_done(&a);
}

/* ---- several writers ---- */

static void write_anything(arena *a, uint64_t seed)
{
    uint64_t rng = seed, number;

    for (size_t i = 0; i < a->rounds * 1000; i++) {
        uint64_t key = next_random(&rng) % a->keys;

        if (epoch_enter(a->domain))
            abort();
        if (next_random(&rng) % 3)
            put(a, a->map, key, i, next_random(&rng) % 4 ? KV_FOREVER : (int64_t)(i % 100));
        else
            take(a, a->map, key);
        if (get(a, a->map, key, &number))
            atomic_fetch_add_explicit(&a->seen, 1, memory_order_relaxed);
        epoch_leave(a->domain);
    }
}

static void count_due(void *arg, map_shard *s, const entry *e)
{
    arena *a = arg;

    (void)s;
    check(a, entry_deadline(e) <= 50);
}

static void expire_all_the_time(arena *a, uint64_t seed)
{
    uint64_t position = 0;

    (void)seed;
    for (size_t i = 0; i < a->rounds * 20; i++)
        map_expire(a->map, &position, 50, 7, count_due, a);
}

static void writers_and_expiry_keep_the_invariants(void **state)
{
    arena a = arena_new(0, 12000, 40);

    (void)state;
    hammer(&a, expire_all_the_time, write_anything);
    arena_done(&a);
}

/* ---- two keys change as one ---- */

static void put_pair(arena *a, map *m, uint64_t x, uint64_t y, uint64_t number, bool present)
{
    map_key keys[2] = { { m, hash_of(a, x), NULL }, { m, hash_of(a, y), NULL } };
    uint64_t names[2] = { x, y };
    map_shard *scratch[2];
    entry *old[2] = { NULL, NULL };

    map_lock_many(keys, 2, scratch);
    for (size_t i = 0; i < 2; i++) {
        if (present) {
            put_locked(a, keys[i].shard, names[i], number, KV_FOREVER, &old[i]);
            continue;
        }
        map_place place = shard_find(keys[i].shard, kv_slice_of(&names[i], 8), keys[i].hash);

        old[i] = place.entry;
        if (place.entry)
            shard_remove(keys[i].shard, &place);
    }
    map_unlock_many(keys, 2, scratch);
    entry_retire(a->domain, old[0]);
    entry_retire(a->domain, old[1]);
}

static void write_pairs(arena *a, uint64_t seed)
{
    uint64_t rng = seed;

    for (uint64_t i = 1; i <= a->rounds * 1000; i++) {
        uint64_t x = next_random(&rng) % a->keys * 2;

        if (epoch_enter(a->domain))
            abort();
        put_pair(a, a->map, x, x + 1, i, true);
        epoch_leave(a->domain);
    }
}

/* y, read after x, is never older; and both at once are equal. */
static void read_pairs(arena *a, uint64_t seed)
{
    uint64_t rng = seed;

    while (!atomic_load(&a->stop)) {
        uint64_t names[2] = { next_random(&rng) % a->keys * 2, 0 }, x = 0, y = 0;

        names[1] = names[0] + 1;
        kv_slice keys[2] = { kv_slice_of(&names[0], 8), kv_slice_of(&names[1], 8) };
        uint64_t hashes[2] = { hash_of(a, names[0]), hash_of(a, names[1]) };
        const entry *found[2];

        if (epoch_enter(a->domain))
            abort();
        if (get(a, a->map, names[0], &x)) {
            check(a, get(a, a->map, names[1], &y) && y >= x);
            atomic_fetch_add_explicit(&a->seen, 1, memory_order_relaxed);
        }
        map_find_many(a->map, 2, keys, hashes, found);
        check(a, !found[0] == !found[1]);
        if (found[0] && found[1])
            check(a, read_value(found[0], names[0], &x) && read_value(found[1], names[1], &y) && x == y);
        epoch_leave(a->domain);
    }
}

static void no_reader_sees_half_of_a_pair(void **state)
{
    arena a = arena_new(64, 8, 30);

    (void)state;
    hammer(&a, write_pairs, read_pairs);
    arena_done(&a);
}

static void no_reader_sees_half_of_a_pair_while_the_map_grows(void **state)
{
    arena a = arena_new(0, 20000, 40);

    (void)state;
    hammer(&a, write_pairs, read_pairs);
    arena_done(&a);
}

/* ---- everything changes as one ---- */

static void read_pairs_at_once(arena *a, uint64_t seed)
{
    uint64_t rng = seed;

    while (!atomic_load(&a->stop)) {
        uint64_t names[2] = { next_random(&rng) % a->keys * 2, 0 }, x = 0, y = 0;

        names[1] = names[0] + 1;
        kv_slice keys[2] = { kv_slice_of(&names[0], 8), kv_slice_of(&names[1], 8) };
        uint64_t hashes[2] = { hash_of(a, names[0]), hash_of(a, names[1]) };
        const entry *found[2];

        if (epoch_enter(a->domain))
            abort();
        map_find_many(next_random(&rng) % 2 ? a->map : a->other, 2, keys, hashes, found);
        check(a, !found[0] == !found[1]);
        if (found[0] && found[1]) {
            check(a, read_value(found[0], names[0], &x) && read_value(found[1], names[1], &y) && x == y);
            atomic_fetch_add_explicit(&a->seen, 1, memory_order_relaxed);
        }
        get(a, a->map, names[0], &x);
        epoch_leave(a->domain);
    }
}

static void write_and_clear(arena *a, uint64_t seed)
{
    uint64_t rng = seed;

    for (uint64_t i = 1; i <= a->rounds * 200; i++) {
        map_debris *debris = NULL;

        if (epoch_enter(a->domain))
            abort();
        for (int j = 0; j < 5; j++) {
            uint64_t x = next_random(&rng) % a->keys * 2;

            put_pair(a, a->map, x, x + 1, i, true);
        }
        epoch_leave(a->domain);
        debris = map_debris_new(a->map);
        while (debris && !map_clear(a->map, debris, NULL, NULL)) {
            map_debris_free(debris, SIZE_MAX);
            debris = map_debris_new(a->map);
        }
        if (!debris)
            abort();
        while (map_debris_free(debris, 1))
            ;
    }
}

static void a_clear_is_one_act(void **state)
{
    arena a = arena_new(0, 8, 20);

    (void)state;
    hammer(&a, write_and_clear, read_pairs_at_once);
    arena_done(&a);
}

/* Swapped back and forth, in both maps the pairs stay pairs. */
static void write_and_swap(arena *a, uint64_t seed)
{
    uint64_t rng = seed;

    for (uint64_t i = 1; i <= a->rounds * 500; i++) {
        uint64_t x = next_random(&rng) % a->keys * 2;

        if (epoch_enter(a->domain))
            abort();
        put_pair(a, next_random(&rng) % 2 ? a->map : a->other, x, x + 1, i, next_random(&rng) % 4 != 0);
        if (i % 3 == 0)
            map_swap(a->map, a->other, 0, NULL, NULL);
        epoch_leave(a->domain);
    }
}

static void a_swap_is_one_act(void **state)
{
    arena a = arena_new(0, 8, 20);

    (void)state;
    hammer(&a, write_and_swap, read_pairs_at_once);
    map_check(a.other);
    arena_done(&a);
}

/* ---- scan ---- */

#define STABLE 500 /* keys that stay: the multiples of keys / STABLE */

static void churn_around_the_stable(arena *a, uint64_t seed)
{
    uint64_t rng = seed, every = a->keys / STABLE;

    for (size_t round = 0; round < a->rounds; round++) {
        for (uint64_t i = 0; i < a->keys; i++) {
            uint64_t key = round % 4 < 2 ? next_random(&rng) % a->keys : i;

            if (key % every == 0)
                continue;
            if (epoch_enter(a->domain))
                abort();
            if (round % 4 < 2)
                put(a, a->map, key, round, KV_FOREVER);
            else
                take(a, a->map, key);
            epoch_leave(a->domain);
        }
    }
}

typedef struct sighting {
    arena *arena;
    bool *seen; /* of each key */
} sighting;

static void sight(void *arg, const entry *e)
{
    sighting *s = arg;
    uint64_t key;

    memcpy(&key, entry_key(e).data, sizeof key);
    check(s->arena, key < s->arena->keys && !s->seen[key]);
    if (key < s->arena->keys)
        s->seen[key] = true;
}

static void scan_all_the_time(arena *a, uint64_t seed)
{
    sighting s = { a, malloc(a->keys) };

    (void)seed;
    if (!s.seen)
        abort();
    while (!atomic_load(&a->stop)) {
        uint64_t cursor = 0;

        memset(s.seen, 0, a->keys);

        do {
            if (epoch_enter(a->domain))
                abort();
            cursor = map_scan(a->map, cursor, sight, &s);
            epoch_leave(a->domain);
        } while (cursor && !atomic_load(&a->stop));
        for (size_t i = 0; cursor == 0 && i < STABLE; i++)
            check(a, s.seen[i * (a->keys / STABLE)]);
        atomic_fetch_add_explicit(&a->seen, cursor == 0, memory_order_relaxed);
    }
    free(s.seen);
}

static void scan_misses_nothing_that_stays_and_sees_nothing_twice(void **state)
{
    arena a = arena_new(0, 20000, 16);

    (void)state;
    for (uint64_t i = 0; i < STABLE; i++)
        put(&a, a.map, i * (a.keys / STABLE), 1, KV_FOREVER);
    hammer(&a, churn_around_the_stable, scan_all_the_time);
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_is_whole_and_never_goes_back),
        cmocka_unit_test(registered_readers_see_whole_values),
        cmocka_unit_test(writers_and_expiry_keep_the_invariants),
        cmocka_unit_test(no_reader_sees_half_of_a_pair),
        cmocka_unit_test(no_reader_sees_half_of_a_pair_while_the_map_grows),
        cmocka_unit_test(a_clear_is_one_act),
        cmocka_unit_test(a_swap_is_one_act),
        cmocka_unit_test(scan_misses_nothing_that_stays_and_sees_nothing_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
