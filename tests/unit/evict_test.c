/* evict_test.c - which keys go when memory is short: that the estimates are near the true orders, and that what must
 * stay stays.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "store.h"

enum { minute_ms = 60000 };

static uint64_t random_state;

static double random_real(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (double)(random_state >> 11) * 0x1p-53;
}

static int set_up(void **state)
{
    random_state = 88172645463325252u;
    *state = kv_store_new(NULL);
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    store_check(*state);
    kv_store_unref(*state);
    return 0;
}

/* ---- a trace ---- */

enum { trace_keys = 40000, trace_length = 600000, trace_measured = trace_length / 2 };

/* Keys drawn by Zipf's law with exponent s. */
static uint32_t *make_trace(double s)
{
    double *sums = malloc(trace_keys * sizeof *sums), sum = 0;
    uint32_t *trace = malloc(trace_length * sizeof *trace);

    assert_non_null(sums);
    assert_non_null(trace);
    for (int i = 0; i < trace_keys; i++)
        sums[i] = sum += pow(i + 1, -s);
    for (int i = 0; i < trace_length; i++) {
        double at = random_real() * sum;
        uint32_t low = 0, high = trace_keys - 1;

        while (low < high) {
            uint32_t middle = (low + high) / 2;

            if (sums[middle] < at)
                low = middle + 1;
            else
                high = middle;
        }
        trace[i] = low;
    }
    free(sums);
    return trace;
}

/* Percent of hits in the second half of the trace, of a cache that always drops the key used longest ago. */
static double true_lru(const uint32_t *trace, size_t capacity)
{
    uint32_t *next = malloc((trace_keys + 1) * sizeof *next),
             *before = malloc((trace_keys + 1) * sizeof *before);
    bool *in = calloc(trace_keys, sizeof *in);
    size_t count = 0, hits = 0;

    next[trace_keys] = before[trace_keys] = trace_keys; /* the ring's anchor */
    for (int i = 0; i < trace_length; i++) {
        uint32_t key = trace[i], last = before[trace_keys];

        if (in[key]) {
            hits += i >= trace_measured;
            next[before[key]] = next[key];
            before[next[key]] = before[key];
        } else if (count++ == capacity) {
            next[before[last]] = trace_keys;
            before[trace_keys] = before[last];
            in[last] = false;
            count--;
        }
        in[key] = true;
        next[key] = next[trace_keys];
        before[key] = trace_keys;
        before[next[key]] = key;
        next[trace_keys] = key;
    }
    free(next);
    free(before);
    free(in);
    return 100.0 * (double)hits / (trace_length - trace_measured);
}

/* The same of one that drops the key used least often while it was in the cache: a heap by count. */
typedef struct least {
    uint32_t heap[trace_keys], place[trace_keys], uses[trace_keys];
    size_t count;
} least;

static void swap_up_and_down(least *l, size_t at)
{
    for (;;) {
        size_t up = at ? (at - 1) / 2 : 0, small = at;

        if (at && l->uses[l->heap[at]] < l->uses[l->heap[up]])
            small = up;
        else
            for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < l->count; child++)
                if (l->uses[l->heap[child]] < l->uses[l->heap[small]])
                    small = child;
        if (small == at)
            return;
        uint32_t key = l->heap[at];

        l->heap[at] = l->heap[small];
        l->heap[small] = key;
        l->place[l->heap[at]] = (uint32_t)at;
        l->place[key] = (uint32_t)small;
        at = small;
    }
}

static double true_lfu(const uint32_t *trace, size_t capacity)
{
    least *l = calloc(1, sizeof *l);
    size_t hits = 0;

    assert_non_null(l);
    for (int i = 0; i < trace_length; i++) {
        uint32_t key = trace[i];

        if (l->uses[key]) {
            hits += i >= trace_measured;
        } else {
            if (l->count == capacity) {
                l->uses[l->heap[0]] = 0;
                l->heap[0] = l->heap[--l->count];
                l->place[l->heap[0]] = 0;
                swap_up_and_down(l, 0);
            }
            l->heap[l->count] = key;
            l->place[key] = (uint32_t)l->count++;
        }
        l->uses[key]++;
        swap_up_and_down(l, l->place[key]);
    }
    free(l);
    return 100.0 * (double)hits / (trace_length - trace_measured);
}

#define AT_ONCE 1200 /* bytes: some dozens of keys, so that a whole half goes, as in a server */

/* The store as such a cache, with a clock on which the trace takes ten minutes. */
static double store_hits(kv_store *store, const uint32_t *trace, size_t capacity, store_victim victim,
                         size_t samples)
{
    uint64_t rng = 1, hand = 1;
    size_t hits = 0, bytes;

    for (int i = 0; i < trace_length; i++) {
        int64_t now_ms = 1000000 + i;
        char name[16];
        store_key key = store_key_of(store, kv_slice_of(name, (size_t)sprintf(name, "key:%u", trace[i])));

        if (epoch_enter(kv_store_domain(store)) == 0) {
            const entry *e = store_find(store, key, now_ms);

            if (e && store_counts_uses(store))
                store_note_use(store, e, now_ms, &rng);
            else if (e)
                entry_touch(e, store_access_clock(now_ms));
            hits += e && i >= trace_measured;
            if (!e) {
                entry_parts parts = { .key = key.name,
                                      .value = KV_STR("value"),
                                      .deadline_ms = KV_FOREVER,
                                      .access = store_access_new(store, now_ms) };

                while (store_count(store) >= capacity)
                    assert_true(store_evict(store, victim, false, samples, &hand, now_ms, AT_ONCE, &bytes) >
                                0);
                assert_int_equal(store_put(store, key, &parts, now_ms), 0);
            }
        }
        epoch_leave(kv_store_domain(store));
    }
    return 100.0 * (double)hits / (trace_length - trace_measured);
}

static void hit_rates_are_near_those_of_true_lru(void **state)
{
    static const double exponents[] = { 0.8, 0.99, 1.1 };

    (void)state;
    for (int i = 0; i < 3; i++) {
        uint32_t *trace = make_trace(exponents[i]);
        kv_store *store = kv_store_new(NULL);
        double ours = store_hits(store, trace, trace_keys / 10, STORE_EVICT_LRU, 5);
        double truth = true_lru(trace, trace_keys / 10);

        print_message("zipf %.2f: %.2f %% hits, true LRU %.2f %%\n", exponents[i], ours, truth);
        assert_true(ours > truth - 2);
        kv_store_unref(store);
        free(trace);
    }
}

static void hit_rates_are_near_those_of_true_lfu(void **state)
{
    static const double exponents[] = { 0.8, 0.99, 1.1 };

    (void)state;
    for (int i = 0; i < 3; i++) {
        uint32_t *trace = make_trace(exponents[i]);
        kv_store *store = kv_store_new(NULL);
        double ours, truth = true_lfu(trace, trace_keys / 10);

        store_count_uses(store, true, 10, 1);
        ours = store_hits(store, trace, trace_keys / 10, STORE_EVICT_LFU, 5);
        print_message("zipf %.2f: %.2f %% hits, true LFU %.2f %%\n", exponents[i], ours, truth);
        assert_true(ours > truth - 2);
        kv_store_unref(store);
        free(trace);
    }
}

/* ---- what goes and what stays ---- */

static void put(kv_store *store, int i, int64_t deadline_ms, int64_t now_ms)
{
    char name[16];
    kv_set_options o = { .deadline_ms = deadline_ms };

    sprintf(name, "key:%d", i);
    assert_int_equal(kv_store_set(store, kv_str(name), KV_STR("v"), &o, now_ms, NULL), 0);
}

static bool has(kv_store *store, int i, int64_t now_ms)
{
    char name[16];

    sprintf(name, "key:%d", i);
    return kv_store_copy(store, kv_str(name), NULL, 0, NULL, now_ms) == 0;
}

static void only_keys_with_a_deadline_go_when_asked(void **state)
{
    kv_store *store = *state;
    uint64_t rng = 7;
    size_t bytes, gone = 0, misses = 0;
    kv_stats figures;

    for (int i = 0; i < 5000; i++)
        put(store, i, i % 10 ? KV_FOREVER : 1000000, 1);
    while (misses < 1000) {
        size_t n = store_evict(store, STORE_EVICT_RANDOM, true, 5, &rng, 1, SIZE_MAX, &bytes);

        assert_true((n > 0) == (bytes > 0));
        gone += n;
        misses = n ? 0 : misses + 1;
    }
    assert_int_equal(gone, 500);
    for (int i = 0; i < 5000; i++)
        assert_true(has(store, i, 1) == (i % 10 != 0));
    kv_store_stats(store, &figures, 1);
    assert_int_equal(figures.evicted, 500);
    assert_int_equal(figures.expired, 0);
}

static void the_nearest_deadlines_go_first(void **state)
{
    kv_store *store = *state;
    uint64_t rng = 7;
    size_t bytes, early = 0;

    for (int i = 0; i < 10000; i++)
        put(store, i, 1000000 + i, 1);
    while (store_count(store) > 5000)
        store_evict(store, STORE_EVICT_TTL, true, 10, &rng, 1, SIZE_MAX, &bytes);
    for (int i = 0; i < 5000; i++)
        early += has(store, i, 1);
    assert_true(early < 700); /* of 5000 that should all have gone */
}

static void no_more_goes_than_is_wanted(void **state)
{
    kv_store *store = *state;
    uint64_t rng = 7;
    size_t bytes;

    for (int i = 0; i < 1000; i++)
        put(store, i, 0, 1);
    assert_int_equal(store_evict(store, STORE_EVICT_LRU, false, 5, &rng, 1, 1, &bytes), 1);
    assert_true(bytes >= 1);
    assert_int_equal(store_count(store), 999);
    while (store_count(store) > 0)
        store_evict(store, STORE_EVICT_LRU, false, 1, &rng, 1, SIZE_MAX, &bytes);
    assert_int_equal(store_evict(store, STORE_EVICT_LRU, false, 5, &rng, 1, 1, &bytes), 0);
}

static void note_change(void *arg, const kv_change *change)
{
    int *counts = arg;

    counts[change->kind]++;
}

static void each_eviction_is_told(void **state)
{
    kv_store *store = *state;
    int counts[16] = { 0 };
    uint64_t rng = 7;
    size_t bytes, gone = 0;

    for (int i = 0; i < 100; i++)
        put(store, i, i < 10 ? 5 : KV_FOREVER, 1);
    kv_store_on_change(store, note_change, counts, NULL);
    while (store_count(store) > 0)
        gone += store_evict(store, STORE_EVICT_LRU, false, 5, &rng, 10, SIZE_MAX, &bytes);
    assert_int_equal(gone, 100);
    assert_int_equal(counts[KV_CHANGE_EXPIRE], 10); /* their time was over, which is told as such */
    assert_int_equal(counts[KV_CHANGE_EVICT], 90);
}

/* ---- clocks ---- */

KV_REQUIRES(kv_epoch_held) static const entry *find(kv_store *store, int i, int64_t now_ms)
{
    char name[16];

    sprintf(name, "key:%d", i);
    return store_find(store, store_key_of(store, kv_str(name)), now_ms);
}

static void uses_count_logarithmically_and_decay(void **state)
{
    kv_store *store = *state;
    uint64_t rng = 3;

    store_count_uses(store, true, 10, 1);
    put(store, 1, 0, 0);
    if (epoch_enter(kv_store_domain(store)) == 0) {
        const entry *e = find(store, 1, 0);
        unsigned frequency;

        assert_int_equal(store_frequency(store, e, 0), 5);
        store_note_use(store, e, 0, &rng);
        assert_int_equal(store_frequency(store, e, 0), 6); /* the first use counts always */
        for (int i = 0; i < 100000; i++)
            store_note_use(store, e, 0, &rng);
        frequency = store_frequency(store, e, 0);
        assert_in_range(frequency, 100, 200);
        assert_int_equal(store_frequency(store, e, 10 * minute_ms), frequency - 10);
        assert_int_equal(store_frequency(store, e, 300 * minute_ms), 0);
        store_count_uses(store, true, 10, 0);
        assert_int_equal(store_frequency(store, e, 300 * minute_ms), frequency);
        store_count_uses(store, true, 0, 1); /* every use counts */
        for (int i = 0; i < 300; i++)
            store_note_use(store, e, 0, &rng);
        assert_int_equal(store_frequency(store, e, 0), 255);
    } else
        fail();
    epoch_leave(kv_store_domain(store));
}

static void a_new_value_keeps_the_count(void **state)
{
    kv_store *store = *state;
    uint64_t rng = 3;

    store_count_uses(store, true, 0, 1);
    put(store, 1, 0, 0);
    for (int round = 0; round < 2; round++) {
        if (epoch_enter(kv_store_domain(store)) == 0) {
            for (int i = 0; i < 20; i++)
                store_note_use(store, find(store, 1, 0), 0, &rng);
        }
        epoch_leave(kv_store_domain(store));
        put(store, 1, 0, 0);
    }
    if (epoch_enter(kv_store_domain(store)) == 0)
        assert_int_equal(store_frequency(store, find(store, 1, 0), 0), 5 + 2 * 21);
    epoch_leave(kv_store_domain(store));
}

static void idle_time_is_seen_within_the_clocks_unit(void **state)
{
    kv_store *store = *state;

    put(store, 1, 0, 5000000);
    if (epoch_enter(kv_store_domain(store)) == 0) {
        const entry *e = find(store, 1, 5000000);

        assert_in_range(store_idle_ms(e, 5000000), 0, STORE_ACCESS_MS);
        assert_in_range(store_idle_ms(e, 5010000), 10000 - STORE_ACCESS_MS, 10000 + STORE_ACCESS_MS);
        assert_int_equal(store_idle_ms(e, 4999000), 0); /* a clock that is behind */
    }
    epoch_leave(kv_store_domain(store));
}

/* The clock is coarse; what is told in seconds must not come out as one less. */
static void a_key_is_as_old_as_it_was_said_to_be(void **state)
{
    for (int64_t now_ms = 5000000; now_ms < 5000000 + 2 * STORE_ACCESS_MS; now_ms++) {
        uint32_t used = store_access_known(*state, 1000000, -1, now_ms);
        uint32_t idle = (store_access_clock(now_ms) - used) & 0xffffff;

        assert_in_range(idle * STORE_ACCESS_MS, 1000000, 1000000 + STORE_ACCESS_MS);
    }
}

/* The clock goes round; who looks at the entries every day does not see it. */
static void an_old_key_stays_old(void **state)
{
    const int64_t day_ms = 86400000, begun_ms = 1000 * day_ms;
    kv_store *store = *state;

    put(store, 1, 0, begun_ms);
    put(store, 2, 0, begun_ms);
    for (int day = 1; day < 100; day++) {
        int64_t now_ms = begun_ms + day * day_ms, known = day < 23 ? day : 23;

        assert_int_equal(epoch_enter(kv_store_domain(store)), 0);
        store_age_some(store, 1000, now_ms);
        assert_in_range(store_idle_ms(find(store, 1, now_ms), now_ms), known * day_ms,
                        known * day_ms + STORE_ACCESS_MS);
        if (day % 10 == 0)
            entry_touch(find(store, 2, now_ms), store_access_clock(now_ms));
        assert_in_range(store_idle_ms(find(store, 2, now_ms), now_ms), day % 10 * day_ms,
                        day % 10 * day_ms + STORE_ACCESS_MS);
        epoch_leave(kv_store_domain(store));
    }
}

static void the_walk_comes_to_all_in_small_steps(void **state)
{
    const int64_t old_ms = INT64_C(24) * 86400000, now_ms = 5000000 + old_ms;
    enum { keys = 3000 };
    kv_store *store = *state;
    int walked = 0;

    for (int i = 0; i < keys; i++)
        put(store, i, 0, 5000000);
    assert_int_equal(epoch_enter(kv_store_domain(store)), 0);
    for (int i = 0; i < keys; i++) /* each step comes to one at least */
        store_age_some(store, 1, now_ms);
    for (int i = 0; i < keys; i++)
        walked += store_idle_ms(find(store, i, now_ms), now_ms) < old_ms - STORE_ACCESS_MS;
    epoch_leave(kv_store_domain(store));
    assert_int_equal(walked, keys);
}

static void nobody_is_said_to_be_older_than_the_clock_can_tell(void **state)
{
    const int64_t now_ms = INT64_C(1000) * 86400000;
    uint32_t used = store_access_known(*state, INT64_C(300) * 86400000, -1, now_ms);
    int64_t idle_ms = (int64_t)((store_access_clock(now_ms) - used) & 0xffffff) * STORE_ACCESS_MS;

    assert_in_range(idle_ms, STORE_IDLE_MOST_MS, STORE_IDLE_MOST_MS + STORE_ACCESS_MS);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_key_is_as_old_as_it_was_said_to_be),
        test(an_old_key_stays_old),
        test(the_walk_comes_to_all_in_small_steps),
        test(nobody_is_said_to_be_older_than_the_clock_can_tell),
        test(hit_rates_are_near_those_of_true_lru),
        test(hit_rates_are_near_those_of_true_lfu),
        test(only_keys_with_a_deadline_go_when_asked),
        test(the_nearest_deadlines_go_first),
        test(no_more_goes_than_is_wanted),
        test(each_eviction_is_told),
        test(uses_count_logarithmically_and_decay),
        test(a_new_value_keeps_the_count),
        test(idle_time_is_seen_within_the_clocks_unit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
