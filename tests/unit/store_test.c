/* store_test.c - the public API of the store, on each way of sharing. SPDX-License-Identifier: MIT */
#include "store_bed.h"

#include <stdio.h>
#include <stdlib.h>

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
        cmocka_unit_test(an_older_clock_revives_nothing),
        cmocka_unit_test(reads_remove_what_has_expired_where_asked_to),
        cmocka_unit_test(restored_keys_keep_their_versions),
        cmocka_unit_test(options_out_of_range_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
