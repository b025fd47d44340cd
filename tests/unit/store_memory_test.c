/* store_memory_test.c - a store whose memory is counted, and runs out. SPDX-License-Identifier: MIT */
#include "store_bed.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct failing {
    long countdown; /* allocations that still succeed; negative: all */
    size_t in_use;
};

static void *failing_alloc(void *arg, size_t size_bytes, size_t alignment)
{
    struct failing *f = arg;
    void *memory = NULL;

    if (f->countdown == 0)
        return NULL;
    if (f->countdown > 0)
        f->countdown--;
    if (posix_memalign(&memory, alignment < sizeof(void *) ? sizeof(void *) : alignment, size_bytes) != 0)
        return NULL;
    f->in_use += size_bytes;
    return memory;
}

static void failing_free(void *arg, void *memory, size_t size_bytes)
{
    ((struct failing *)arg)->in_use -= size_bytes;
    free(memory);
}

/* A store whose memory is counted, and runs out when the test says so. */
static kv_store *counted_store(struct failing *f)
{
    kv_allocator allocator = { failing_alloc, failing_free, f };
    kv_domain_options domain_options = { .allocator = &allocator };

    *f = (struct failing){ .countdown = -1 };
    kv_store_options options = { .domain = kv_domain_new(&domain_options) };
    kv_store *store = kv_store_new(&options);

    assert_non_null(store);
    kv_domain_unref(options.domain);
    return store;
}

static void a_value_is_on_the_account_of_its_domain_and_may_outlive_it(void **state)
{
    enum { BIG = 100000 };
    static char text[BIG];
    struct failing f;
    kv_store *store = counted_store(&f);
    kv_slice big = kv_slice_of(text, sizeof text);
    domain_memory before, after;
    kv_bytes *kept, *small;

    (void)state;
    memset(text, 'v', sizeof text);
    assert_int_equal(kv_store_set(store, KV_STR("small"), KV_STR("s"), NULL, NOW, NULL), 0);
    domain_read_memory(kv_store_domain(store), &before);
    assert_int_equal(before.allocated_bytes, f.in_use);
    assert_int_equal(kv_store_set(store, KV_STR("big"), big, NULL, NOW, NULL), 0);
    domain_read_memory(kv_store_domain(store), &after);
    assert_true(after.allocated_bytes - before.allocated_bytes >= BIG);
    assert_int_equal(after.allocated_bytes, f.in_use);

    f.countdown = 0;
    assert_int_equal(kv_store_set(store, KV_STR("big"), big, NULL, NOW, NULL), KV_ENOMEM);
    f.countdown = -1;
    kept = kv_store_get(store, KV_STR("big"), NOW);
    small = kv_store_get(store, KV_STR("small"), NOW);
    kv_store_unref(store);
    assert_true(f.in_use >= BIG);
    assert_true(kv_slice_equal(kv_bytes_slice(kept), big));
    assert_true(kv_slice_equal(kv_bytes_slice(small), KV_STR("s")));
    kv_bytes_unref(kept);
    assert_true(f.in_use > 0 && f.in_use < BIG);
    kv_bytes_unref(small);
    assert_int_equal(f.in_use, 0);
}

enum { run_keys = 100 };

struct run {
    char names[run_keys][16];
    kv_slice pairs[2 * run_keys];
    uint64_t hashes[run_keys];
    map_hint hints[run_keys];
};

static void run_of(struct run *run, kv_store *store, kv_slice value) KV_REQUIRES(kv_epoch_held)
{
    for (int i = 0; i < run_keys; i++) {
        snprintf(run->names[i], sizeof run->names[i], "key:%d", i);
        run->pairs[2 * i] = kv_str(run->names[i]);
        run->pairs[2 * i + 1] = value;
        run->hashes[i] = store_key_of(store, run->pairs[2 * i]).hash;
    }
    store_prefetch(store, run_keys, run->hashes, run->hints);
}

/* The first half of the keys is there, every fourth past its deadline; then memory runs out in the middle of a run. */
static void a_run_stops_where_memory_ends(void **state)
{
    static char big[3000];
    static struct run run;
    const entry *found[run_keys];
    struct failing f;
    kv_store *store = counted_store(&f);
    size_t stored = 0;

    (void)state;
    for (int i = 0; i < run_keys / 2; i++) {
        kv_set_options options = { .deadline_ms = i % 4 == 0 ? NOW + 1 : KV_FOREVER };
        char name[16];

        snprintf(name, sizeof name, "key:%d", i);
        assert_int_equal(kv_store_set(store, kv_str(name), KV_STR("old"), &options, NOW, NULL), 0);
    }
    f.countdown = run_keys / 2 + 10;
    IN_EPOCH(store, {
        run_of(&run, store, kv_slice_of(big, sizeof big));
        stored = store_put_run(store, run_keys, run.pairs, 2, run.hashes, run.hints, 0, NOW + 1);
    });
    f.countdown = -1;
    assert_in_range(stored, 1, run_keys - 1);
    IN_EPOCH(store, {
        run_of(&run, store, KV_STR(""));
        store_find_run(store, run_keys, run.pairs, 2, run.hashes, run.hints, found, NOW + 1);
    });
    for (int i = 0; i < run_keys; i++) {
        bool there = (size_t)i < stored || (i < run_keys / 2 && i % 4 != 0);

        assert_int_equal(found[i] != NULL, there);
        if (there)
            assert_int_equal(entry_value(found[i], NULL).len, (size_t)i < stored ? sizeof big : 3);
    }
    store_check(store);
    kv_store_unref(store);
    assert_int_equal(f.in_use, 0);
}

static void put_many_without_memory_leaves_all_as_it_was(void **state)
{
    enum { N = 400 };
    static char names[N][16];
    kv_slice pairs[2 * N];
    int err = KV_ENOMEM;

    (void)state;
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "key:%d", i);
        pairs[2 * i] = kv_str(names[i]);
        pairs[2 * i + 1] = KV_STR("new");
    }
    for (long n = 0; err == KV_ENOMEM; n++) {
        struct failing f;
        kv_store *store = counted_store(&f);

        assert_int_equal(kv_store_set(store, pairs[0], KV_STR("old"), NULL, NOW, NULL), 0);
        f.countdown = n;
        IN_EPOCH(store,
                 err = store_put_many(store, N, pairs, NULL, STORE_PUT_ALWAYS, KV_FOREVER, false, NOW));
        f.countdown = -1;
        assert_int_equal(kv_store_count(store), err ? 1 : N);
        assert_value(store, names[0], err ? "old" : "new", NOW);
        assert_value(store, names[N - 1], err ? NULL : "new", NOW);
        store_check(store);
        kv_store_unref(store);
        assert_int_equal(f.in_use, 0);
    }
    assert_int_equal(err, 0);
}

/* All or nothing, and the reference is the store's only when it was stored. */
static void a_value_that_is_taken_over_is_not_copied(void **state)
{
    enum { BIG = 100000 };
    int err = KV_ENOMEM;

    (void)state;
    for (long n = 0; err == KV_ENOMEM; n++) {
        struct failing f;
        kv_store *store = counted_store(&f);
        kv_bytes *value = kv_bytes_room(domain_account(kv_store_domain(store)), BIG, 0), *got;
        kv_owned owned = { &value, 1 };
        kv_slice pairs[] = { KV_STR("k"), kv_bytes_slice(value), KV_STR("l"), KV_STR("short") };
        store_puts *puts = NULL;

        memset(kv_bytes_data(value), 'v', BIG);
        f.countdown = n;
        IN_EPOCH(store, {
            puts = store_puts_new(store, 2);
            err = puts ? 0 : KV_ENOMEM;
            while (!err && !store_puts_ready(puts))
                err = store_puts_prepare(puts, 1, pairs, &owned, KV_FOREVER, NOW);
            if (!err)
                err = store_puts_commit(puts, pairs, STORE_PUT_ALWAYS, false, NOW);
        });
        store_puts_free(puts);
        f.countdown = -1;
        got = kv_store_get(store, KV_STR("k"), NOW);
        assert_ptr_equal(got, err ? NULL : value);
        assert_int_equal(kv_store_count(store), err ? 0 : 2);
        kv_bytes_unref(got);
        kv_bytes_unref(value);
        kv_store_unref(store);
        assert_int_equal(f.in_use, 0);
    }
    assert_int_equal(err, 0);
}

/* Until what is on the account is not more than that. */
static void wait_for_memory(kv_domain *domain, size_t most)
{
    struct timespec pause = { .tv_nsec = 1000000 };
    domain_memory now;

    for (int i = 0; i < 60000; i++) {
        domain_read_memory(domain, &now);
        if (now.allocated_bytes <= most)
            return;
        nanosleep(&pause, NULL);
    }
    fail_msg("%zu bytes were not given back", now.allocated_bytes);
}

static void the_helper_gives_large_blocks_back(void **state)
{
    kv_domain_options options = { .helper = true };
    kv_domain *domain = kv_domain_new(&options);
    domain_memory before;
    kv_bytes *large[3];

    (void)state;
    assert_non_null(domain);
    domain_read_memory(domain, &before);
    for (int i = 0; i < 3; i++) {
        large[i] = kv_bytes_room(domain_account(domain), (size_t)5 << 20, 0);
        assert_non_null(large[i]);
    }
    kv_bytes_unref(large[0]);
    wait_for_memory(domain, before.allocated_bytes + ((size_t)11 << 20));
    kv_bytes_unref(large[1]); /* the helper ends what it has begun */
    kv_domain_unref(domain);
    kv_bytes_unref(large[2]); /* and there is none any more */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_is_on_the_account_of_its_domain_and_may_outlive_it),
        cmocka_unit_test(a_run_stops_where_memory_ends),
        cmocka_unit_test(put_many_without_memory_leaves_all_as_it_was),
        cmocka_unit_test(a_value_that_is_taken_over_is_not_copied),
        cmocka_unit_test(the_helper_gives_large_blocks_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
