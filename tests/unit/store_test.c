/* store_test.c - the public API of the store, on each way of sharing. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "store.h"

#define NOW 1700000000000

/* ---- a store per test, of each sharing ---- */

static const kv_sharing all_sharings[] = { KV_SHARING_SHARDED, KV_SHARING_MUTEX, KV_SHARING_ACTOR };

static kv_store *new_store(kv_sharing sharing)
{
    kv_store_options options = { .sharing = sharing };
    kv_store *store = kv_store_new(&options);

    assert_non_null(store);
    return store;
}

/* Runs body on a fresh store of each sharing. */
static void on_each_sharing(void (*body)(kv_store *store))
{
    for (size_t i = 0; i < sizeof all_sharings / sizeof all_sharings[0]; i++) {
        kv_store *store = new_store(all_sharings[i]);

        body(store);
        store_check(store);
        kv_store_unref(store);
    }
}

static void assert_value(kv_store *store, const char *key, const char *expected, int64_t now_ms)
{
    kv_bytes *value = kv_store_get(store, kv_str(key), now_ms);

    if (!expected) {
        assert_null(value);
        return;
    }
    assert_non_null(value);
    assert_true(kv_slice_equal(kv_bytes_slice(value), kv_str(expected)));
    kv_bytes_unref(value);
}

static void set(kv_store *store, const char *key, const char *value)
{
    assert_int_equal(kv_store_set(store, kv_str(key), kv_str(value), NULL, NOW, NULL), 0);
}

/* ---- one key ---- */

static void set_get_delete(kv_store *store)
{
    assert_value(store, "k", NULL, NOW);
    set(store, "k", "one");
    assert_value(store, "k", "one", NOW);
    set(store, "k", "two");
    assert_value(store, "k", "two", NOW);
    assert_int_equal(kv_store_count(store), 1);
    assert_int_equal(kv_store_delete(store, KV_STR("k"), NULL, NOW), 0);
    assert_int_equal(kv_store_delete(store, KV_STR("k"), NULL, NOW), KV_ENOKEY);
    assert_value(store, "k", NULL, NOW);
    assert_int_equal(kv_store_count(store), 0);
}

static void a_value_is_what_was_last_set(void **state)
{
    (void)state;
    on_each_sharing(set_get_delete);
}

static void binary_bytes(kv_store *store)
{
    static const char key[] = "a\0b", value[] = "\0\r\n\xff";
    char buffer[8];
    kv_meta meta;

    assert_int_equal(kv_store_set(store, kv_slice_of(key, 3), kv_slice_of(value, 4), NULL, NOW, NULL), 0);
    assert_int_equal(kv_store_set(store, KV_STR(""), KV_STR(""), NULL, NOW, NULL), 0);
    assert_int_equal(kv_store_copy(store, kv_slice_of(key, 3), buffer, sizeof buffer, &meta, NOW), 0);
    assert_int_equal(meta.len, 4);
    assert_memory_equal(buffer, value, 4);
    assert_int_equal(kv_store_copy(store, KV_STR(""), NULL, 0, &meta, NOW), 0);
    assert_int_equal(meta.len, 0);
    assert_int_equal(kv_store_copy(store, KV_STR("a"), buffer, sizeof buffer, &meta, NOW), KV_ENOKEY);
}

static void keys_and_values_are_any_bytes(void **state)
{
    (void)state;
    on_each_sharing(binary_bytes);
}

static void conditions(kv_store *store)
{
    uint64_t first, second;
    kv_set_options absent = { .condition = KV_IF_ABSENT };
    kv_set_options present = { .condition = KV_IF_PRESENT };
    kv_set_options equal = { .condition = KV_IF_EQUAL, .equal = KV_STR("v2") };
    kv_set_options version = { .condition = KV_IF_VERSION };

    assert_int_equal(kv_store_set(store, KV_STR("k"), KV_STR("v"), &present, NOW, NULL), KV_ECOND);
    assert_int_equal(kv_store_set(store, KV_STR("k"), KV_STR("v"), &version, NOW, &first), 0);
    assert_int_equal(kv_store_set(store, KV_STR("k"), KV_STR("x"), &version, NOW, NULL), KV_ECOND);
    assert_int_equal(kv_store_set(store, KV_STR("k"), KV_STR("x"), &absent, NOW, NULL), KV_ECOND);
    version.version = first;
    assert_int_equal(kv_store_set(store, KV_STR("k"), KV_STR("v2"), &version, NOW, &second), 0);
    assert_true(second > first);
    assert_int_equal(kv_store_delete(store, KV_STR("k"), &version, NOW), KV_ECOND);
    assert_int_equal(kv_store_delete(store, KV_STR("k"), &equal, NOW), 0);
    assert_int_equal(kv_store_set(store, KV_STR("k"), KV_STR("v2"), NULL, NOW, &first), 0);
    assert_true(first > second); /* deleted and made again: no version comes back */
}

static void a_condition_that_fails_changes_nothing(void **state)
{
    (void)state;
    on_each_sharing(conditions);
}

static void deadlines(kv_store *store)
{
    kv_set_options soon = { .deadline_ms = NOW + 10 };
    kv_set_options keep = { .keep_deadline = true };
    kv_stats stats;
    kv_meta meta;

    assert_int_equal(kv_store_set(store, KV_STR("k"), KV_STR("v"), &soon, NOW, NULL), 0);
    assert_int_equal(kv_store_set(store, KV_STR("k"), KV_STR("w"), &keep, NOW, NULL), 0);
    assert_value(store, "k", "w", NOW + 9);
    assert_value(store, "k", NULL, NOW + 10);
    assert_int_equal(kv_store_increment(store, KV_STR("k"), 1, NULL, NOW + 10), 0); /* counts from 0 again */
    assert_value(store, "k", "1", NOW + 1000000);
    assert_int_equal(kv_store_expire(store, KV_STR("k"), NOW + 50, NOW), 0);
    assert_int_equal(kv_store_copy(store, KV_STR("k"), NULL, 0, &meta, NOW), 0);
    assert_int_equal(meta.deadline_ms, NOW + 50);
    kv_store_stats(store, &stats, NOW);
    assert_int_equal(stats.keys_with_deadline, 1);
    assert_int_equal(stats.average_ttl_ms, 50);
    assert_int_equal(kv_store_expire_cycle(store, NOW + 49, 0), 0);
    assert_int_equal(kv_store_expire_cycle(store, NOW + 50, 0), 1);
    assert_int_equal(kv_store_count(store), 0);
    assert_int_equal(kv_store_expire(store, KV_STR("k"), NOW + 50, NOW), KV_ENOKEY);
    set(store, "k", "v");
    assert_int_equal(kv_store_expire(store, KV_STR("k"), NOW - 1, NOW), 0);
    assert_int_equal(kv_store_count(store), 0);
}

static void a_key_is_gone_at_its_deadline(void **state)
{
    (void)state;
    on_each_sharing(deadlines);
}

/* Two threads' clocks differ by a millisecond; whoever comes with the older one cannot revive what the other found gone. */
static void gone_for_one_clock_is_gone_for_all(kv_store *store)
{
    const kv_slice keys[] = { KV_STR("one"), KV_STR("two") };
    kv_bytes *values[2];

    set(store, "one", "1");
    set(store, "two", "2");
    set(store, "three", "3");
    assert_int_equal(kv_store_expire(store, KV_STR("one"), NOW + 10, NOW), 0);
    assert_int_equal(kv_store_expire(store, KV_STR("two"), NOW + 20, NOW), 0);
    assert_int_equal(kv_store_expire(store, KV_STR("three"), NOW + 5000, NOW), 0);
    assert_value(store, "one", "1", NOW + 9);
    assert_value(store, "one", NULL, NOW + 10);
    assert_value(store, "one", NULL, NOW + 10);
    assert_int_equal(kv_store_expire(store, KV_STR("one"), KV_FOREVER, NOW + 9), KV_ENOKEY);
    assert_int_equal(kv_store_get_many(store, 2, keys, values, NOW + 20), 0);
    assert_null(values[1]);
    assert_int_equal(kv_store_expire(store, KV_STR("two"), NOW + 30, NOW + 19), KV_ENOKEY);
    assert_value(store, "three", NULL, NOW + 5000);
    /* A clock that is further behind has been set back. */
    assert_int_equal(kv_store_expire(store, KV_STR("three"), KV_FOREVER, NOW + 3999), 0);
    assert_value(store, "three", "3", NOW + 5000);
}

static void expired_keys_go_when_they_are_read(kv_store *store)
{
    const kv_slice keys[] = { KV_STR("a"), KV_STR("b") };
    kv_bytes *values[2];
    kv_stats stats;

    for (int reaping = 0; reaping < 2; reaping++) {
        store_set_reaping(store, reaping);
        set(store, "a", "1");
        set(store, "b", "2");
        assert_int_equal(kv_store_expire(store, KV_STR("a"), NOW + 10, NOW), 0);
        assert_int_equal(kv_store_expire(store, KV_STR("b"), NOW + 10, NOW), 0);
        assert_value(store, "a", NULL, NOW + 10);
        assert_int_equal(kv_store_count(store), reaping ? 1 : 2);
        assert_int_equal(kv_store_get_many(store, 2, keys, values, NOW + 10), 0);
        assert_int_equal(kv_store_count(store), reaping ? 0 : 2);
        set(store, "c", "3");
        assert_int_equal(kv_store_expire(store, KV_STR("c"), NOW + 10, NOW), 0);
        assert_int_equal(kv_store_delete(store, KV_STR("c"), NULL, NOW + 10), KV_ENOKEY);
        assert_int_equal(kv_store_count(store), reaping ? 0 : 3);
        assert_int_equal(kv_store_clear(store), 0);
    }
    kv_store_stats(store, &stats, NOW);
    assert_int_equal(stats.expired, 3);
}

static void reads_remove_what_has_expired_where_asked_to(void **state)
{
    (void)state;
    on_each_sharing(expired_keys_go_when_they_are_read);
}

static void an_older_clock_revives_nothing(void **state)
{
    (void)state;
    on_each_sharing(gone_for_one_clock_is_gone_for_all);
}

static void increments(kv_store *store)
{
    int64_t sum = 77;

    assert_int_equal(kv_store_increment(store, KV_STR("n"), -3, &sum, NOW), 0);
    assert_int_equal(sum, -3);
    set(store, "n", "9223372036854775806");
    assert_int_equal(kv_store_increment(store, KV_STR("n"), 1, &sum, NOW), 0);
    assert_int_equal(kv_store_increment(store, KV_STR("n"), 1, &sum, NOW), KV_ERANGE);
    assert_value(store, "n", "9223372036854775807", NOW);
    for (size_t i = 0; i < 6; i++) {
        static const char *const not_numbers[] = { "", "+1", "01", " 1", "-0", "9223372036854775808" };

        set(store, "n", not_numbers[i]);
        assert_int_equal(kv_store_increment(store, KV_STR("n"), 1, &sum, NOW), KV_ENOTINT);
        assert_value(store, "n", not_numbers[i], NOW);
    }
}

static void increment_is_strict_about_numbers(void **state)
{
    (void)state;
    on_each_sharing(increments);
}

/* ---- values out of line, and appending to them ---- */

struct append {
    kv_slice more;
    size_t max_bytes, len;
};

KV_UNDER_LOCK static int append_step(kv_slot *slot, void *arg)
{
    struct append *append = arg;

    return kv_slot_append(slot, append->more, append->max_bytes, &append->len);
}

static void appending_shows_older_readers_what_they_had(void **state)
{
    kv_store *store = new_store(KV_SHARING_SHARDED);
    struct append append = { .max_bytes = 100000 };
    char *expected = calloc(1, 60001);
    size_t len = 0;

    (void)state;
    assert_non_null(expected);
    for (int i = 0; i < 6000; i++) {
        char piece[11];
        kv_bytes *before = kv_store_get(store, KV_STR("log"), NOW);

        snprintf(piece, sizeof piece, "%010d", i);
        append.more = kv_slice_of(piece, 10);
        assert_int_equal(kv_store_update(store, KV_STR("log"), append_step, &append, NOW), 0);
        if (before)
            assert_true(kv_slice_equal(kv_bytes_slice(before), kv_slice_of(expected, len)));
        kv_bytes_unref(before);
        memcpy(expected + len, piece, 10);
        len += 10;
        assert_int_equal(append.len, len);
    }
    assert_value(store, "log", expected, NOW);
    append.max_bytes = len + 9;
    assert_int_equal(kv_store_update(store, KV_STR("log"), append_step, &append, NOW), KV_ETOOBIG);
    assert_value(store, "log", expected, NOW);
    free(expected);
    kv_store_unref(store);
}

static void a_retained_value_outlives_its_key(void **state)
{
    kv_store *store = new_store(KV_SHARING_SHARDED);
    char *big = malloc(1 << 20);
    kv_bytes *value;

    (void)state;
    assert_non_null(big);
    memset(big, 'x', 1 << 20);
    assert_int_equal(kv_store_set(store, KV_STR("k"), kv_slice_of(big, 1 << 20), NULL, NOW, NULL), 0);
    value = kv_store_get(store, KV_STR("k"), NOW);
    assert_int_equal(kv_store_clear(store), 0);
    kv_store_unref(store);
    assert_int_equal(kv_bytes_slice(value).len, 1 << 20);
    assert_memory_equal(kv_bytes_slice(value).data, big, 1 << 20);
    kv_bytes_unref(value);
    free(big);
}

/* ---- many keys ---- */

static void many_keys(kv_store *store)
{
    kv_slice keys[100];
    kv_bytes *values[100];
    char names[100][8];

    for (int i = 0; i < 100; i++) {
        snprintf(names[i], sizeof names[i], "k%d", i);
        keys[i] = kv_str(names[i]);
        if (i % 2)
            set(store, names[i], names[i]);
    }
    assert_int_equal(kv_store_get_many(store, 100, keys, values, NOW), 50);
    for (int i = 0; i < 100; i++) {
        assert_true((values[i] != NULL) == (i % 2 == 1));
        if (values[i])
            assert_true(kv_slice_equal(kv_bytes_slice(values[i]), keys[i]));
        kv_bytes_unref(values[i]);
    }
    assert_int_equal(kv_store_get_many(store, 0, keys, values, NOW), 0);
}

static void many_keys_are_found_at_once(void **state)
{
    (void)state;
    on_each_sharing(many_keys);
}

static void count_visit(void *arg, kv_slice key, kv_slice value, const kv_meta *meta)
{
    unsigned *seen = arg;

    assert_int_equal(meta->len, value.len);
    seen[strtoul(key.data + 1, NULL, 10)]++;
}

static void scans(kv_store *store)
{
    unsigned seen[5000] = { 0 };
    uint64_t cursor = 0;

    for (int i = 0; i < 5000; i++) {
        char name[16];

        snprintf(name, sizeof name, "k%d", i);
        set(store, name, "v");
    }
    do {
        cursor = kv_store_scan(store, cursor, 10, count_visit, seen, NOW);
    } while (cursor);
    for (int i = 0; i < 5000; i++)
        assert_true(seen[i] >= 1);
}

static void scan_sees_every_key(void **state)
{
    (void)state;
    on_each_sharing(scans);
}

static void clear_takes_all(kv_store *store)
{
    kv_stats stats;

    for (int i = 0; i < 3000; i++) {
        char name[16];

        snprintf(name, sizeof name, "k%d", i);
        set(store, name, "v");
    }
    assert_int_equal(kv_store_clear(store), 0);
    kv_store_stats(store, &stats, NOW);
    assert_int_equal(stats.keys, 0);
    assert_int_equal(stats.entry_bytes, 0);
    set(store, "k", "after");
    assert_value(store, "k", "after", NOW);
}

static void a_cleared_store_is_empty_and_usable(void **state)
{
    (void)state;
    on_each_sharing(clear_takes_all);
}

/* ---- acts on several keys, through the internal verbs ---- */

/* The two ends of an epoch round an expression of the internal interface. */
#define IN_EPOCH(store, expression)                               \
    do {                                                          \
        assert_int_equal(epoch_enter(kv_store_domain(store)), 0); \
        expression;                                               \
        epoch_leave(kv_store_domain(store));                      \
    } while (0)

static void put_many_is_all_or_nothing(void **state)
{
    kv_store *store = new_store(KV_SHARING_SHARDED);
    kv_slice pairs[] = { KV_STR("a"), KV_STR("1"), KV_STR("b"), KV_STR("2"), KV_STR("a"), KV_STR("3") };
    int err = -1;

    (void)state;
    IN_EPOCH(store, err = store_put_many(store, 3, pairs, STORE_PUT_IF_ALL, KV_FOREVER, false, NOW));
    assert_int_equal(err, KV_ECOND);
    assert_int_equal(kv_store_count(store), 0);
    IN_EPOCH(store, err = store_put_many(store, 3, pairs, STORE_PUT_IF_NONE, NOW + 5, false, NOW));
    assert_int_equal(err, 0);
    assert_value(store, "a", "3", NOW);
    assert_value(store, "b", "2", NOW);
    IN_EPOCH(store, err = store_put_many(store, 3, pairs, STORE_PUT_IF_NONE, KV_FOREVER, false, NOW));
    assert_int_equal(err, KV_ECOND);
    IN_EPOCH(store, err = store_put_many(store, 2, pairs, STORE_PUT_ALWAYS, KV_FOREVER, true, NOW));
    assert_int_equal(err, 0);
    assert_value(store, "a", "1", NOW + 4);
    assert_value(store, "a", NULL, NOW + 5); /* the deadline was kept */
    store_check(store);
    kv_store_unref(store);
}

static void pairs_are_made_ready_in_steps_and_put_at_once(void **state)
{
    kv_store *store = new_store(KV_SHARING_SHARDED);
    kv_slice pairs[] = { KV_STR("a"), KV_STR("1"), KV_STR("b"), KV_STR("2"), KV_STR("c"), KV_STR("3") };
    store_puts *puts = store_puts_new(store, 3);
    int err = -1;

    (void)state;
    store_puts_free(puts); /* nobody wants it any more: before anything was done, */
    puts = store_puts_new(store, 3);
    assert_int_equal(store_puts_prepare(puts, 2, pairs, KV_FOREVER, NOW), 0);
    store_puts_free(puts); /* and half done */
    store_puts_free(NULL);
    puts = store_puts_new(store, 3);
    assert_int_equal(store_puts_prepare(puts, 2, pairs, KV_FOREVER, NOW), 0);
    assert_false(store_puts_ready(puts));
    assert_int_equal(kv_store_count(store), 0);
    set(store, "c", "meanwhile");
    assert_int_equal(store_puts_prepare(puts, 2, pairs, KV_FOREVER, NOW), 0);
    assert_true(store_puts_ready(puts));
    IN_EPOCH(store, err = store_puts_commit(puts, pairs, STORE_PUT_IF_NONE, false, NOW));
    assert_int_equal(err, KV_ECOND);
    assert_int_equal(kv_store_count(store), 1);
    IN_EPOCH(store, err = store_puts_commit(puts, pairs, STORE_PUT_ALWAYS, false, NOW));
    assert_int_equal(err, 0);
    store_puts_free(puts);
    assert_value(store, "a", "1", NOW);
    assert_value(store, "c", "3", NOW);
    assert_int_equal(kv_store_count(store), 3);
    store_check(store);
    kv_store_unref(store);
}

static void delete_many_counts_each_key_once(void **state)
{
    kv_store *store = new_store(KV_SHARING_SHARDED);
    kv_slice names[] = { KV_STR("a"), KV_STR("b"), KV_STR("a"), KV_STR("none") };
    size_t removed = 0;

    (void)state;
    set(store, "a", "1");
    set(store, "b", "1");
    IN_EPOCH(store, assert_int_equal(store_delete_many(store, 4, names, &removed, NOW), 0));
    assert_int_equal(removed, 2);
    assert_int_equal(kv_store_count(store), 0);
    kv_store_unref(store);
}

static int transfer(kv_store *from, const char *a, kv_store *to, const char *b, store_transfer how,
                    bool replace)
{
    int err = 0;

    IN_EPOCH(from, err = store_transfer_key(from, store_key_of(from, kv_str(a)), to,
                                            store_key_of(to, kv_str(b)), how, replace, NOW));
    return err;
}

static void transfer_takes_value_and_deadline_along(void **state)
{
    kv_domain *domain = kv_domain_new(NULL);
    kv_store_options options = { .domain = domain };
    kv_store *one = kv_store_new(&options), *two = kv_store_new(&options);

    (void)state;
    assert_non_null(one);
    assert_non_null(two);
    set(one, "a", "1");
    assert_int_equal(kv_store_expire(one, KV_STR("a"), NOW + 5, NOW), 0);
    assert_int_equal(transfer(one, "a", one, "a", STORE_MOVE, true), KV_ESAMEKEY);
    assert_int_equal(transfer(one, "none", one, "b", STORE_MOVE, true), KV_ENOKEY);
    assert_int_equal(transfer(one, "a", one, "b", STORE_MOVE, false), 0);
    assert_value(one, "a", NULL, NOW);
    assert_value(one, "b", "1", NOW + 4);
    assert_int_equal(transfer(one, "b", two, "b", STORE_COPY, false), 0);
    assert_int_equal(transfer(one, "b", two, "b", STORE_MOVE, false), KV_ECOND);
    assert_int_equal(transfer(one, "b", two, "b", STORE_MOVE, true), 0);
    assert_int_equal(kv_store_count(one), 0);
    assert_value(two, "b", "1", NOW);
    store_swap(one, two, 0);
    assert_value(one, "b", "1", NOW);
    assert_value(one, "b", NULL, NOW + 5);
    assert_int_equal(kv_store_count(two), 0);
    kv_store_unref(one);
    kv_store_unref(two);
    kv_domain_unref(domain);
}

/* ---- changes ---- */

struct transcript {
    char text[1024];
    size_t len;
};

KV_UNDER_LOCK static void write_change(void *arg, const kv_change *c)
{
    static const char *const names[] = { "set",   "append", "deadline", "delete", "expire",
                                         "evict", "clear",  "swap",     "begin",  "end" };
    struct transcript *t = arg;

    t->len += (size_t)snprintf(t->text + t->len, sizeof t->text - t->len, "%s %.*s %.*s\n", names[c->kind],
                               (int)c->key.len, c->key.data, (int)c->value.len, c->value.data);
}

static void every_write_tells_the_state_it_reached(void **state)
{
    kv_store *store = new_store(KV_SHARING_SHARDED);
    struct transcript t = { .len = 0 };
    struct append append = { .more = KV_STR("de"), .max_bytes = 100 };
    kv_slice pairs[] = { KV_STR("x"), KV_STR("1"), KV_STR("y"), KV_STR("2") };

    (void)state;
    kv_store_on_change(store, write_change, &t, NULL);
    set(store, "k", "abc");
    assert_int_equal(kv_store_update(store, KV_STR("k"), append_step, &append, NOW), 0);
    assert_int_equal(kv_store_increment(store, KV_STR("n"), 5, NULL, NOW), 0);
    assert_int_equal(kv_store_increment(store, KV_STR("k"), 5, NULL, NOW), KV_ENOTINT);
    assert_int_equal(kv_store_expire(store, KV_STR("n"), NOW + 5, NOW), 0);
    assert_int_equal(kv_store_expire_cycle(store, NOW + 5, 0), 1);
    assert_int_equal(kv_store_delete(store, KV_STR("k"), NULL, NOW), 0);
    IN_EPOCH(store,
             assert_int_equal(store_put_many(store, 2, pairs, STORE_PUT_ALWAYS, KV_FOREVER, false, NOW), 0));
    assert_int_equal(kv_store_clear(store), 0);
    assert_string_equal(t.text, "set k abc\nappend k de\nset n 5\ndeadline n \nexpire n \ndelete k \n"
                                "begin  \nset x 1\nset y 2\nend  \nclear  \n");
    kv_store_unref(store);
}

/* Whether a reader without a lock may have seen what was not told yet. */
struct span {
    _Atomic uint64_t steps; /* odd: within one */
    size_t outside;
};

static _Atomic uint64_t *show_span(void *arg)
{
    return &((struct span *)arg)->steps;
}

KV_UNDER_LOCK static void told_in_span(void *arg, const kv_change *c)
{
    struct span *span = arg;

    (void)c;
    span->outside += span->steps % 2 == 0;
}

static void a_single_change_is_told_within_a_span(void **state)
{
    kv_store *store = new_store(KV_SHARING_SHARDED);
    struct span span = { .outside = 0 };
    entry_parts parts = { .key = KV_STR("r"), .value = KV_STR("1"), .deadline_ms = KV_FOREVER };
    uint64_t rng = 1;
    size_t bytes;

    (void)state;
    kv_store_on_change(store, told_in_span, &span, NULL);
    store_on_span(store, show_span, &span);
    set(store, "k", "abc");
    assert_int_equal(span.steps, 0);
    assert_int_equal(span.outside, 1);
    store_set_spans(store, true);
    set(store, "k", "abd");
    assert_int_equal(kv_store_increment(store, KV_STR("n"), 5, NULL, NOW), 0);
    IN_EPOCH(store,
             assert_int_equal(store_restore(store, store_key_of(store, parts.key), &parts, 9, NOW), 0));
    assert_true(store_evict(store, STORE_EVICT_RANDOM, false, 5, &rng, NOW, 1, &bytes) > 0);
    assert_int_equal(span.steps, 2 * 4);
    assert_int_equal(span.outside, 1);
    kv_store_unref(store);
}

/* ---- options ---- */

/* What came from elsewhere keeps its version; what is written after has a newer one. */
static void restored_keys_keep_their_versions(void **state)
{
    kv_store *store = new_store(KV_SHARING_SHARDED);
    kv_domain *domain = kv_store_domain(store);
    entry_parts parts = { .key = KV_STR("k"), .value = KV_STR("old"), .deadline_ms = NOW + 5 };
    uint64_t version = 0;
    kv_meta meta;

    (void)state;
    assert_int_equal(epoch_enter(domain), 0);
    assert_int_equal(store_restore(store, store_key_of(store, parts.key), &parts, 0, NOW), KV_EINVAL);
    assert_int_equal(store_restore(store, store_key_of(store, parts.key), &parts, 1000, NOW), 0);
    parts.value = KV_STR("older");
    assert_int_equal(store_restore(store, store_key_of(store, parts.key), &parts, 900, NOW), 0);
    assert_true(store_next_deadline(store) == NOW + 5);
    epoch_leave(domain);
    assert_int_equal(kv_store_copy(store, KV_STR("k"), NULL, 0, &meta, NOW), 0);
    assert_true(meta.version == 900 && meta.deadline_ms == NOW + 5);
    assert_value(store, "k", "older", NOW);
    assert_int_equal(kv_store_set(store, KV_STR("k"), KV_STR("new"), NULL, NOW, &version), 0);
    assert_true(version > 1000);
    store_raise_version(store, 5000);
    assert_true(store_version(store) == 5000);
    assert_int_equal(kv_store_set(store, KV_STR("k"), KV_STR("newer"), NULL, NOW, &version), 0);
    assert_true(version > 5000);
    store_check(store);
    kv_store_unref(store);
}

static void options_out_of_range_are_refused(void **state)
{
    kv_store_options three = { .shards = 3 }, many = { .shards = 2048 }, odd = { .sharing = (kv_sharing)7 };

    (void)state;
    assert_null(kv_store_new(&three));
    assert_null(kv_store_new(&many));
    assert_null(kv_store_new(&odd));
    kv_store_unref(NULL);
}

/* ---- memory that runs out ---- */

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
        IN_EPOCH(store, err = store_put_many(store, N, pairs, STORE_PUT_ALWAYS, KV_FOREVER, false, NOW));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_is_what_was_last_set),
        cmocka_unit_test(keys_and_values_are_any_bytes),
        cmocka_unit_test(a_condition_that_fails_changes_nothing),
        cmocka_unit_test(a_key_is_gone_at_its_deadline),
        cmocka_unit_test(increment_is_strict_about_numbers),
        cmocka_unit_test(appending_shows_older_readers_what_they_had),
        cmocka_unit_test(a_retained_value_outlives_its_key),
        cmocka_unit_test(many_keys_are_found_at_once),
        cmocka_unit_test(scan_sees_every_key),
        cmocka_unit_test(a_cleared_store_is_empty_and_usable),
        cmocka_unit_test(put_many_is_all_or_nothing),
        cmocka_unit_test(pairs_are_made_ready_in_steps_and_put_at_once),
        cmocka_unit_test(delete_many_counts_each_key_once),
        cmocka_unit_test(an_older_clock_revives_nothing),
        cmocka_unit_test(reads_remove_what_has_expired_where_asked_to),
        cmocka_unit_test(transfer_takes_value_and_deadline_along),
        cmocka_unit_test(every_write_tells_the_state_it_reached),
        cmocka_unit_test(a_single_change_is_told_within_a_span),
        cmocka_unit_test(restored_keys_keep_their_versions),
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(a_value_is_on_the_account_of_its_domain_and_may_outlive_it),
        cmocka_unit_test(a_run_stops_where_memory_ends),
        cmocka_unit_test(put_many_without_memory_leaves_all_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
