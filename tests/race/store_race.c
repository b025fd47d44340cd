/* store_race.c - invariants of a shared store, hammered by several threads.
 *
 * Each test states what no thread may ever see, on every way of sharing. Bounded by a number of rounds, not
 * by time; meant for ThreadSanitizer, useful without. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "actor.h"
#include "decimal.h"
#include "store.h"

#define NOW     1700000000000
#define THREADS 3

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define ROUNDS 3000
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define ROUNDS 3000
#endif
#endif
#ifndef ROUNDS
#define ROUNDS 30000
#endif

/* What the threads of one test share. Assertions of cmocka belong to the main thread: others count. */
struct race {
    kv_store *store;
    _Atomic bool stop;
    _Atomic unsigned violations;
};

static void *spawn(pthread_t *thread, void *(*body)(void *), struct race *race)
{
    assert_int_equal(pthread_create(thread, NULL, body, race), 0);
    return thread;
}

static void with_each_sharing(void (*test)(struct race *race))
{
    for (int sharing = KV_SHARING_SHARDED; sharing <= KV_SHARING_ACTOR; sharing++) {
        kv_store_options options = { .sharing = (kv_sharing)sharing };
        struct race race = { .store = kv_store_new(&options) };

        assert_non_null(race.store);
        test(&race);
        assert_int_equal(race.violations, 0);
        store_check(race.store);
        kv_store_unref(race.store);
    }
}

/* ---- no increment is lost ---- */

static void *increment_rounds(void *arg)
{
    struct race *race = arg;

    for (int i = 0; i < ROUNDS; i++)
        race->violations += kv_store_increment(race->store, KV_STR("counter"), 1, NULL, NOW) != 0;
    return NULL;
}

static void counters(struct race *race)
{
    pthread_t threads[THREADS];
    int64_t sum;

    for (int i = 0; i < THREADS; i++)
        spawn(&threads[i], increment_rounds, race);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(kv_store_increment(race->store, KV_STR("counter"), 0, &sum, NOW), 0);
    assert_int_equal(sum, THREADS * ROUNDS);
}

static void no_increment_is_lost(void **state)
{
    (void)state;
    with_each_sharing(counters);
}

/* ---- a multi-key write is seen whole, even by two single reads ---- */

#define PAIRS 8

static int64_t read_int(struct race *race, const char *key)
{
    char text[DECIMAL_MAX];
    int64_t value = -1;
    kv_meta meta;

    if (kv_store_copy(race->store, kv_str(key), text, sizeof text, &meta, NOW) != 0)
        return -1;
    if (!decimal_parse(kv_slice_of(text, meta.len), &value))
        race->violations++;
    return value;
}

/* kv_exec is not below this test: one multi-key write per round, as the store's verb inside an epoch. */
static void put_all(struct race *race, int64_t round)
{
    static const char *const names[PAIRS] = { "a", "b", "c", "d", "e", "f", "g", "h" };
    char digits[DECIMAL_MAX];
    kv_slice pairs[2 * PAIRS];
    kv_domain *domain = kv_store_domain(race->store);

    for (int i = 0; i < PAIRS; i++) {
        pairs[2 * i] = kv_str(names[i]);
        pairs[2 * i + 1] = decimal_format(digits, round);
    }
    if (epoch_enter(domain) != 0 ||
        store_put_many(race->store, PAIRS, pairs, NULL, STORE_PUT_ALWAYS, KV_FOREVER, false, NOW) != 0)
        race->violations++;
    epoch_leave(domain);
}

static void *read_pairs(void *arg)
{
    struct race *race = arg;

    while (!race->stop) {
        int64_t first = read_int(race, "a");
        int64_t second = read_int(race, "h");

        if (second < first) /* a new and h old: half of a write was seen */
            race->violations++;
    }
    return NULL;
}

static void *read_snapshots(void *arg)
{
    struct race *race = arg;
    kv_slice keys[] = { KV_STR("h"), KV_STR("c"), KV_STR("a") };
    kv_bytes *values[3];

    while (!race->stop) {
        if (kv_store_get_many(race->store, 3, keys, values, NOW) == 3) {
            race->violations += !kv_slice_equal(kv_bytes_slice(values[0]), kv_bytes_slice(values[1]));
            race->violations += !kv_slice_equal(kv_bytes_slice(values[0]), kv_bytes_slice(values[2]));
        }
        for (int i = 0; i < 3; i++)
            kv_bytes_unref(values[i]);
    }
    return NULL;
}

static void torn_writes(struct race *race)
{
    pthread_t pairs, snapshots;

    spawn(&pairs, read_pairs, race);
    spawn(&snapshots, read_snapshots, race);
    for (int64_t round = 0; round < ROUNDS; round++)
        put_all(race, round);
    race->stop = true;
    pthread_join(pairs, NULL);
    pthread_join(snapshots, NULL);
}

static void a_write_of_many_keys_is_seen_whole(void **state)
{
    (void)state;
    with_each_sharing(torn_writes);
}

/* ---- compare-and-set by version succeeds once per version ---- */

static void *cas_rounds(void *arg)
{
    struct race *race = arg;

    for (int done = 0; done < ROUNDS / 10;) {
        char text[DECIMAL_MAX], digits[DECIMAL_MAX];
        kv_set_options options = { .condition = KV_IF_VERSION };
        int64_t value = 0;
        kv_meta meta = { 0 };
        int err = kv_store_copy(race->store, KV_STR("cas"), text, sizeof text, &meta, NOW);

        if (!err && !decimal_parse(kv_slice_of(text, meta.len), &value))
            race->violations++;
        options.version = err ? 0 : meta.version;
        err =
            kv_store_set(race->store, KV_STR("cas"), decimal_format(digits, value + 1), &options, NOW, NULL);
        if (err == 0)
            done++;
        else if (err != KV_ECOND)
            race->violations++;
    }
    return NULL;
}

static void versions(struct race *race)
{
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        spawn(&threads[i], cas_rounds, race);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(read_int(race, "cas"), THREADS * (ROUNDS / 10));
}

static void compare_and_set_succeeds_once_per_version(void **state)
{
    (void)state;
    with_each_sharing(versions);
}

/* ---- a value is never torn, while keys come, grow, expire and go ---- */

static void *churn(void *arg)
{
    struct race *race = arg;
    unsigned seed = (unsigned)(uintptr_t)&seed;
    char value[3000];

    for (int i = 0; i < ROUNDS; i++) {
        char name[16];
        kv_set_options soon = { .deadline_ms = NOW + 1 };
        size_t len = (size_t)rand_r(&seed) % sizeof value;

        snprintf(name, sizeof name, "k%d", rand_r(&seed) % 2000);
        memset(value, 'a' + rand_r(&seed) % 26, len);
        switch (rand_r(&seed) % 8) {
        case 0:
            kv_store_delete(race->store, kv_str(name), NULL, NOW);
            break;
        case 1:
            kv_store_set(race->store, kv_str(name), kv_slice_of(value, len), &soon, NOW, NULL);
            break;
        case 2:
            if (i % 50 == 0)
                kv_store_expire_cycle(race->store, NOW + 1, 0);
            break;
        case 3:
            if (i % 1000 == 0)
                kv_store_clear(race->store);
            break;
        default:
            kv_store_set(race->store, kv_str(name), kv_slice_of(value, len), NULL, NOW, NULL);
        }
    }
    return NULL;
}

static void *read_churned(void *arg)
{
    struct race *race = arg;
    unsigned seed = 7;

    while (!race->stop) {
        char name[16];
        kv_bytes *value;

        snprintf(name, sizeof name, "k%d", rand_r(&seed) % 2000);
        value = kv_store_get(race->store, kv_str(name), NOW);
        if (!value)
            continue;
        kv_slice bytes = kv_bytes_slice(value);
        for (size_t i = 1; i < bytes.len; i++)
            race->violations += bytes.data[i] != bytes.data[0];
        kv_bytes_unref(value);
    }
    return NULL;
}

static void churns(struct race *race)
{
    pthread_t writers[2], reader;

    spawn(&reader, read_churned, race);
    for (int i = 0; i < 2; i++)
        spawn(&writers[i], churn, race);
    for (int i = 0; i < 2; i++)
        pthread_join(writers[i], NULL);
    race->stop = true;
    pthread_join(reader, NULL);
}

static void a_value_is_never_torn(void **state)
{
    (void)state;
    with_each_sharing(churns);
}

/* ---- emptying all stores is one act ---- */

struct databases {
    kv_store *stores[3];
    _Atomic bool stop;
    _Atomic unsigned violations, emptied;
};

static void *fill_and_clear_all(void *arg)
{
    struct databases *d = arg;
    kv_domain *domain = kv_store_domain(d->stores[0]);

    for (int i = 0; i < ROUNDS / 10; i++) {
        char text[16];

        snprintf(text, sizeof text, "%d", i);
        for (int db = 0; db < 3; db++)
            d->violations += kv_store_set(d->stores[db], KV_STR("k"), kv_str(text), NULL, NOW, NULL) != 0;
        if (epoch_enter(domain) == 0)
            d->violations += store_clear_all(d->stores, 3, i % 2) != 0;
        epoch_leave(domain);
    }
    return NULL;
}

/* What k holds, or -1. */
static int64_t number_in(kv_store *store)
{
    kv_bytes *value = kv_store_get(store, KV_STR("k"), NOW);
    int64_t number = -1;

    if (value && !decimal_parse(kv_bytes_slice(value), &number))
        number = -2;
    kv_bytes_unref(value);
    return number;
}

/* Who finds the first store empty finds nothing in the others that was there before. */
static void *look_at_all(void *arg)
{
    struct databases *d = arg;

    while (!d->stop)
        for (int db = 1; db < 3; db++) {
            int64_t before = number_in(d->stores[db]), first = number_in(d->stores[0]);

            if (first != -1 || before == -1)
                continue;
            d->violations += number_in(d->stores[db]) == before;
            d->emptied++;
        }
    return NULL;
}

static void emptying_all_stores_is_one_act(void **state)
{
    kv_domain_options domain_options = { .helper = true };
    kv_store_options options = { .domain = kv_domain_new(&domain_options) };
    struct databases d = { .stop = false };
    pthread_t writer, reader;

    (void)state;
    for (int db = 0; db < 3; db++) {
        options.shards = db == 1 ? 16 : 0;
        d.stores[db] = kv_store_new(&options);
        assert_non_null(d.stores[db]);
    }
    assert_int_equal(pthread_create(&reader, NULL, look_at_all, &d), 0);
    assert_int_equal(pthread_create(&writer, NULL, fill_and_clear_all, &d), 0);
    pthread_join(writer, NULL);
    d.stop = true;
    pthread_join(reader, NULL);
    assert_int_equal(d.violations, 0);
    for (int db = 0; db < 3; db++) {
        assert_int_equal(kv_store_count(d.stores[db]), 0);
        store_check(d.stores[db]);
        kv_store_unref(d.stores[db]);
    }
    kv_domain_unref(options.domain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_increment_is_lost),
        cmocka_unit_test(a_write_of_many_keys_is_seen_whole),
        cmocka_unit_test(compare_and_set_succeeds_once_per_version),
        cmocka_unit_test(a_value_is_never_torn),
        cmocka_unit_test(emptying_all_stores_is_one_act),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
