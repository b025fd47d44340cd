/* contention_test.c - waits for shards are counted, and nothing else is. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "contention.h"
#include "shard.h"

static _Atomic uint64_t clock_value, clock_readings;

/* A clock that stands until it is told to go on; the one global here, since a clock takes no argument. */
static uint64_t standing_clock(void)
{
    atomic_fetch_add(&clock_readings, 1);
    return atomic_load(&clock_value);
}

typedef struct fixture {
    kv_domain *domain;
    map *map;
} fixture;

static fixture begin(size_t max_keys, bool one_lock)
{
    map_options options = { .version_step = 1, .shards = 16, .one_lock = one_lock };
    fixture f = { .domain = kv_domain_new(NULL) };

    assert_non_null(f.domain);
    atomic_store(&clock_value, 1000);
    atomic_store(&clock_readings, 0);
    assert_int_equal(contention_start(f.domain, standing_clock, max_keys), 0);
    f.map = map_new(f.domain, &options);
    assert_non_null(f.map);
    return f;
}

static void end(fixture *f)
{
    map_free(f->map);
    kv_domain_unref(f->domain);
}

static contention_report *report_of(fixture *f)
{
    contention_report *report = contention_read(f->domain, CONTENTION_SHARDS_MAX);

    assert_non_null(report);
    return report;
}

/* ---- one thread that has to wait ---- */

typedef struct waiter {
    fixture *f;
    uint64_t hash;
    pthread_t thread;
    uint64_t hold_ns; /* passes on the clock while it holds */
    bool many;        /* locks the shard after it, too, as one change */
} waiter;

KV_UNCHECKED static void *wait_and_hold(void *arg)
{
    waiter *w = arg;
    map_key keys[2] = { { .map = w->f->map, .hash = w->hash },
                        { .map = w->f->map, .hash = w->hash + ((uint64_t)1 << 60) } };
    map_shard *s, *scratch[2];

    assert_int_equal(epoch_enter(w->f->domain), 0);
    if (w->many) {
        map_lock_many(keys, 2, scratch);
        atomic_fetch_add(&clock_value, w->hold_ns);
        map_unlock_many(keys, 2, scratch);
    } else {
        s = map_lock(w->f->map, w->hash);
        atomic_fetch_add(&clock_value, w->hold_ns);
        map_unlock(s);
    }
    epoch_leave(w->f->domain);
    return NULL;
}

/* Lets a thread wait for the shard of hash for so long on the clock, and then hold it. */
KV_UNCHECKED static void let_thread_wait(fixture *f, uint64_t hash, uint64_t wait_ns, uint64_t hold_ns,
                                         bool many)
{
    waiter w = { .f = f, .hash = hash, .hold_ns = hold_ns, .many = many };
    map_shard *s;

    assert_int_equal(epoch_enter(f->domain), 0);
    s = map_lock(f->map, hash);
    assert_int_equal(pthread_create(&w.thread, NULL, wait_and_hold, &w), 0);
    while (atomic_load(&s->lock->state) != 2) /* until it sleeps */
        sched_yield();
    atomic_fetch_add(&clock_value, wait_ns);
    map_unlock(s);
    pthread_join(w.thread, NULL);
    epoch_leave(f->domain);
}

static void let_wait(fixture *f, uint64_t hash, uint64_t wait_ns, uint64_t hold_ns)
{
    let_thread_wait(f, hash, wait_ns, hold_ns, false);
}

/* A hash of the shard with that index, of 16. */
static uint64_t hash_in(unsigned index, uint64_t number)
{
    return (uint64_t)index << 60 | number;
}

static void who_need_not_wait_reads_no_clock(void **state)
{
    fixture f = begin(8, false);
    contention_report *report;

    (void)state;
    assert_int_equal(epoch_enter(f.domain), 0);
    for (uint64_t i = 0; i < 1000; i++)
        map_unlock(map_lock(f.map, i * 0x9e3779b97f4a7c15u));
    epoch_leave(f.domain);
    assert_int_equal(atomic_load(&clock_readings), 0);
    report = report_of(&f);
    assert_int_equal(report->wait.times.count, 0);
    assert_int_equal(report->shard_count, 0);
    assert_int_equal(report->key_count, 0);
    contention_report_free(report);
    end(&f);
}

static void a_wait_is_counted_with_its_shard_and_key(void **state)
{
    fixture f = begin(8, false);
    contention_report *report;

    (void)state;
    let_wait(&f, hash_in(3, 77), 5000, 700);
    let_wait(&f, hash_in(3, 77), 1000, 300);
    let_wait(&f, hash_in(9, 78), 50, 20);
    report = report_of(&f);
    assert_int_equal(report->wait.times.count, 3);
    assert_int_equal(report->wait.times.total_ns, 6050);
    assert_int_equal(report->wait.times.max_ns, 5000);
    assert_int_equal(report->hold.times.count, 3);
    assert_int_equal(report->hold.times.total_ns, 1020);
    assert_int_equal(report->hold.times.max_ns, 700);
    assert_int_equal(report->unlisted_waits, 0);
    assert_int_equal(report->shards_waited_for, 2);
    assert_int_equal(report->shard_count, 2);
    assert_ptr_equal(report->shards[0].map, f.map);
    assert_int_equal(report->shards[0].index, 3);
    assert_int_equal(report->shards[0].wait.count, 2);
    assert_int_equal(report->shards[0].wait.total_ns, 6000);
    assert_int_equal(report->shards[0].hold.total_ns, 1000);
    assert_int_equal(report->shards[1].index, 9);
    assert_int_equal(report->shards[1].wait.max_ns, 50);
    assert_int_equal(report->key_count, 2);
    assert_int_equal(report->keys[0].hash, hash_in(3, 77));
    assert_int_equal(report->keys[0].waits, 2);
    assert_int_equal(report->keys[0].error, 0);
    contention_report_free(report);
    end(&f);
}

static void a_report_may_be_short(void **state)
{
    fixture f = begin(8, false);
    contention_report *report;

    (void)state;
    for (unsigned i = 0; i < 5; i++)
        let_wait(&f, hash_in(i, i), 10 * (i + 1), 1);
    report = contention_read(f.domain, 2);
    assert_non_null(report);
    assert_int_equal(report->shards_waited_for, 5);
    assert_int_equal(report->shard_count, 2);
    assert_int_equal(report->shards[0].index, 4);
    assert_int_equal(report->shards[1].index, 3);
    assert_int_equal(report->key_count, 2);
    contention_report_free(report);
    end(&f);
}

static void one_lock_is_one_shard(void **state)
{
    fixture f = begin(8, true);
    contention_report *report;

    (void)state;
    let_wait(&f, hash_in(3, 1), 10, 1);
    let_wait(&f, hash_in(12, 2), 10, 1);
    report = report_of(&f);
    assert_int_equal(report->shard_count, 1);
    assert_int_equal(report->shards[0].index, 0);
    assert_int_equal(report->shards[0].wait.count, 2);
    contention_report_free(report);
    end(&f);
}

static void a_reset_counts_from_zero(void **state)
{
    fixture f = begin(8, false);
    contention_report *report;

    (void)state;
    let_wait(&f, hash_in(3, 1), 10, 1);
    contention_reset(f.domain);
    report = report_of(&f);
    assert_int_equal(report->wait.times.count + report->hold.times.count, 0);
    assert_int_equal(report->shard_count + report->key_count, 0);
    contention_report_free(report);
    let_wait(&f, hash_in(3, 2), 30, 1);
    report = report_of(&f);
    assert_int_equal(report->wait.times.max_ns, 30);
    assert_int_equal(report->shards[0].wait.count, 1);
    assert_int_equal(report->keys[0].hash, hash_in(3, 2));
    contention_report_free(report);
    end(&f);
}

/* With fewer places than keys, who comes often stays, and what is claimed is no less than what was. */
static void the_list_of_keys_keeps_the_frequent(void **state)
{
    enum { rounds = 20, places = 4 };
    fixture f = begin(places, false);
    contention_report *report;

    (void)state;
    for (unsigned i = 0; i < rounds; i++) {
        let_wait(&f, hash_in(1, 1000), 10, 1);
        let_wait(&f, hash_in(1, 1001), 10, 1);
        let_wait(&f, hash_in(2, i), 10, 1);
    }
    report = report_of(&f);
    assert_int_equal(report->key_count, places);
    for (size_t i = 0; i < 2; i++) {
        assert_in_range(report->keys[i].hash & 0xffff, 1000, 1001);
        assert_true(report->keys[i].waits >= rounds);
        assert_true(report->keys[i].waits - report->keys[i].error <= rounds);
    }
    contention_report_free(report);
    end(&f);
}

static void changes_of_several_keys_count_for_their_shards(void **state)
{
    fixture f = begin(8, false);
    contention_report *report;

    (void)state;
    let_thread_wait(&f, hash_in(5, 1), 70, 30, true);
    report = report_of(&f);
    assert_int_equal(report->wait.times.count, 1); /* it did not wait for the other one */
    assert_int_equal(report->hold.times.total_ns, 30);
    assert_int_equal(report->shard_count, 1);
    assert_int_equal(report->shards[0].index, 5);
    assert_int_equal(report->key_count, 0);
    contention_report_free(report);
    end(&f);
}

static void a_domain_that_does_not_measure_reports_nothing(void **state)
{
    kv_domain *domain = kv_domain_new(NULL);
    contention_report *report = contention_read(domain, 10);

    (void)state;
    assert_non_null(report);
    assert_int_equal(report->wait.times.count + report->shard_count + report->key_count, 0);
    contention_report_free(report);
    contention_reset(domain);
    assert_int_equal(contention_start(domain, standing_clock, CONTENTION_KEYS_MAX + 1), KV_EINVAL);
    assert_int_equal(contention_start(domain, standing_clock, 0), 0);
    assert_int_equal(contention_start(domain, standing_clock, 0), KV_EINVAL);
    kv_domain_unref(domain);
}

/* ---- many ---- */

enum { hammer_threads = 4, hammer_rounds = 20000 };

KV_UNCHECKED static void *hammer(void *arg)
{
    fixture *f = arg;

    assert_int_equal(epoch_enter(f->domain), 0);
    for (uint64_t i = 0; i < hammer_rounds; i++) {
        map_key keys[2] = { { .map = f->map, .hash = hash_in(1, i % 8) },
                            { .map = f->map, .hash = hash_in(2, i % 8) } };
        map_shard *scratch[2];

        if (i % 4 == 0) {
            map_lock_many(keys, 2, scratch);
            map_unlock_many(keys, 2, scratch);
        } else
            map_unlock(map_lock(f->map, keys[0].hash));
        if (i % 5000 == 0)
            contention_report_free(contention_read(f->domain, 4));
    }
    epoch_leave(f->domain);
    return NULL;
}

static void sums_agree_when_all_is_quiet(void **state)
{
    fixture f = begin(4, false);
    pthread_t threads[hammer_threads];
    contention_report *report;
    uint64_t waits = 0, holds = 0, in_buckets = 0;

    (void)state;
    for (int i = 0; i < hammer_threads; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &f), 0);
    for (int i = 0; i < hammer_threads; i++)
        pthread_join(threads[i], NULL);
    let_wait(&f, hash_in(1, 1), 10, 1);
    report = report_of(&f);
    for (size_t i = 0; i < report->shard_count; i++) {
        waits += report->shards[i].wait.count;
        holds += report->shards[i].hold.count;
    }
    for (size_t i = 0; i < CONTENTION_BUCKETS; i++)
        in_buckets += report->wait.buckets[i];
    assert_true(waits > 0);
    assert_int_equal(waits, report->wait.times.count);
    assert_int_equal(in_buckets, waits);
    assert_int_equal(holds, waits); /* nobody holds more than is noted, here */
    assert_int_equal(report->hold.times.count, holds);
    contention_report_free(report);
    end(&f);
}

/* ---- figures ---- */

static void buckets_grow_by_a_quarter(void **state)
{
    contention_histogram h = { .times = { .max_ns = UINT64_MAX } };

    (void)state;
    for (size_t i = 1; i < CONTENTION_BUCKETS; i++) {
        uint64_t before = contention_bucket_start(i - 1), at = contention_bucket_start(i);

        assert_true(at > before);
        assert_true(i < 5 || at - before <= before / 4 + 1);
    }
    assert_int_equal(contention_percentile(&h, 0.5), 0);
    h.buckets[4] = 90; /* 4 ns */
    h.buckets[24] = 10;
    assert_int_equal(contention_percentile(&h, 0.5), 4);
    assert_int_equal(contention_percentile(&h, 0.9), 4);
    assert_int_equal(contention_percentile(&h, 0.99), contention_bucket_start(25) - 1);
    h.times.max_ns = contention_bucket_start(24) + 1;
    assert_int_equal(contention_percentile(&h, 0.99), h.times.max_ns);
}

static void a_key_is_found_by_its_hash(void **state)
{
    fixture f = begin(0, false);
    char text[32];

    (void)state;
    assert_int_equal(epoch_enter(f.domain), 0);
    for (int i = 0; i < 20000; i++) {
        kv_slice key = kv_slice_of(text, (size_t)snprintf(text, sizeof text, "key:%d", i));
        entry_parts parts = { .key = key, .value = KV_STR("v"), .deadline_ms = KV_FOREVER };
        entry *fresh = entry_new(f.domain, &parts), *before;

        assert_non_null(fresh);
        assert_int_equal(map_put(f.map, key, domain_hash(f.domain, key), NULL, fresh, &before, NULL, NULL),
                         0);
    }
    for (int i = 0; i < 20000; i += 7) {
        kv_slice key = kv_slice_of(text, (size_t)snprintf(text, sizeof text, "key:%d", i));
        const entry *e = map_find_hash(f.map, domain_hash(f.domain, key));

        assert_non_null(e);
        assert_true(kv_slice_equal(entry_key(e), key));
    }
    assert_null(map_find_hash(f.map, domain_hash(f.domain, KV_STR("absent"))));
    epoch_leave(f.domain);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_need_not_wait_reads_no_clock),
        cmocka_unit_test(a_wait_is_counted_with_its_shard_and_key),
        cmocka_unit_test(a_report_may_be_short),
        cmocka_unit_test(one_lock_is_one_shard),
        cmocka_unit_test(a_reset_counts_from_zero),
        cmocka_unit_test(the_list_of_keys_keeps_the_frequent),
        cmocka_unit_test(changes_of_several_keys_count_for_their_shards),
        cmocka_unit_test(a_domain_that_does_not_measure_reports_nothing),
        cmocka_unit_test(sums_agree_when_all_is_quiet),
        cmocka_unit_test(buckets_grow_by_a_quarter),
        cmocka_unit_test(a_key_is_found_by_its_hash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
